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
		most   int
	}{
		{"small", 64 * mebibyte, nil, 96 * mebibyte, 100, mirrorGrowth},
		{"half a GiB", 500 * mebibyte, nil, 418 * mebibyte, 195, mirrorGrowth},
		{"large", 10 << 30, nil, 9<<30 - 32*mebibyte, 400, mirrorGrowth},
		{"large, of verify", 10 << 30, nil, 9<<30 - 32*mebibyte, 200, verifyGrowth},
		{"limit set by hand", 8 << 30, map[string]string{"GOMEMLIMIT": "1GiB"}, math.MaxInt64, 400, mirrorGrowth},
		{"growth set by hand", 10 << 30, map[string]string{"GOGC": "off"}, 9<<30 - 32*mebibyte, 77, mirrorGrowth},
	} {
		t.Run(c.name, func(t *testing.T) {
			debug.SetMemoryLimit(math.MaxInt64)
			debug.SetGCPercent(77)
			collect(c.budget, c.most, func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
			if limit, growth := debug.SetMemoryLimit(-1), debug.SetGCPercent(77); limit != c.limit || growth != c.growth {
				t.Errorf("limit %d and growth %d, want %d and %d", limit, growth, c.limit, c.growth)
			}
		})
	}
}
