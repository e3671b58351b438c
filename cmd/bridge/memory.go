package main

import "runtime/debug"

// mebibyte is the unit in which memory is reckoned.
const mebibyte = 1 << 20

// collect lets the garbage collector follow the budget, unless GOGC or GOMEMLIMIT say
// otherwise: what the whole program has is to stay within it. Below that the collector
// trades memory for time the more freely, the larger the budget: it waits until the heap
// has doubled at 256 MiB or less, and until it is three times as large at 512 MiB or more.
func collect(budget size, env func(string) (string, bool)) {
	if _, said := env("GOMEMLIMIT"); !said {
		debug.SetMemoryLimit(memoryLimit(budget))
	}
	if _, said := env("GOGC"); !said {
		debug.SetGCPercent(growth(budget))
	}
}

// memoryLimit leaves room for what the collector does not see, and is never so low that it
// would do nothing but collect.
func memoryLimit(budget size) int64 {
	return max(int64(budget)*9/10-32*mebibyte, 96*mebibyte)
}

// recordMemory is the part of the budget for records that are held. A page takes more while
// it is decoded, and what became of its records stands beside them for a while, as does what
// tells copies that land late on a stream, kinesisstream.LateMemory at most.
func recordMemory(budget size) int64 { return int64(budget) / 2 }

// growth is how many percent of what is in use may be added before it is collected.
func growth(budget size) int { return int(min(max(budget*100/(256*mebibyte), 100), 200)) }
