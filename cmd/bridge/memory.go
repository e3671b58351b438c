package main

import "runtime/debug"

// mebibyte is the unit in which memory is reckoned.
const mebibyte = 1 << 20

// collect lets the garbage collector follow the byte budget, unless GOGC or GOMEMLIMIT say
// otherwise. It is to keep the whole program below a limit a good quarter above the budget,
// which is for records alone. Below that it trades memory for time the more freely, the
// larger the budget: it waits until the heap has doubled at 256 MiB or less, and until it
// is five times as large at 1 GiB or more.
func collect(budget size, env func(string) (string, bool)) {
	if _, said := env("GOMEMLIMIT"); !said {
		debug.SetMemoryLimit(memoryLimit(budget))
	}
	if _, said := env("GOGC"); !said {
		debug.SetGCPercent(growth(budget))
	}
}

func memoryLimit(budget size) int64 { return int64(budget)*5/4 + 128*mebibyte }

// growth is how many percent of what is in use may be added before it is collected.
func growth(budget size) int { return int(min(max(budget*100/(256*mebibyte), 100), 400)) }
