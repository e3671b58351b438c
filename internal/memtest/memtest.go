// Package memtest bounds the memory that code under test claims.
package memtest

import (
	"runtime"
	"testing"
)

// slack is what a call may allocate whatever it is given, in bytes: errors, and what other
// goroutines of the process do meanwhile.
const slack = 64 << 10

// Bounded runs f, and fails the test if f allocated more than factor times n bytes beside
// a fixed slack, freed or not. What the whole process allocates is counted, so a failure
// counts only if f, run again, has it three times in a row.
func Bounded(t testing.TB, n, factor int, f func()) {
	t.Helper()
	limit := uint64(factor)*uint64(n) + slack
	var least uint64
	for try := range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		if used <= limit {
			return
		}
		if least == 0 || used < least {
			least = used
		}
		if try == 2 {
			t.Fatalf("%d bytes of input made it allocate %d bytes, more than %d times as many", n, least, factor)
		}
	}
}
