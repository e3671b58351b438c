package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestCollectorFollowsTheBudget(t *testing.T) {
	wasLimit, wasGrowth := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	defer func() { debug.SetMemoryLimit(wasLimit); debug.SetGCPercent(wasGrowth) }()
	for _, c := range []struct {
		name   string
		budget size
		env    map[string]string
		limit  int64
		growth int
	}{
		{"small", 64 * mebibyte, nil, 96 * mebibyte, 100},
		{"half a GiB", 500 * mebibyte, nil, 418 * mebibyte, 195},
		{"large", 10 << 30, nil, 9<<30 - 32*mebibyte, 200},
		{"limit set by hand", 8 << 30, map[string]string{"GOMEMLIMIT": "1GiB"}, math.MaxInt64, 200},
		{"growth set by hand", 10 << 30, map[string]string{"GOGC": "off"}, 9<<30 - 32*mebibyte, 77},
	} {
		t.Run(c.name, func(t *testing.T) {
			debug.SetMemoryLimit(math.MaxInt64)
			debug.SetGCPercent(77)
			collect(c.budget, func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
			if limit, growth := debug.SetMemoryLimit(-1), debug.SetGCPercent(77); limit != c.limit || growth != c.growth {
				t.Errorf("limit %d and growth %d, want %d and %d", limit, growth, c.limit, c.growth)
			}
		})
	}
}
