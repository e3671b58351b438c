package positions_test

// The oracle walks all records of a world and counts. It knows no bounds, no index and no
// positions: which record is consumed is a fact of the world.

// wantOnward is where in a target partition the first unconsumed record stands that can be
// read, how many consumed ones stand behind it, how many unconsumed ones stand there
// twice, and whether an unconsumed one is gone. len(stood) says that there is none.
func wantOnward(stood []stand, from, to int) (at int, replays, copies int64, lost bool) {
	at = to
	seen := map[*fact]bool{}
	for i, s := range stood {
		switch {
		case s.r == nil || i >= to:
		case i < from:
			lost = lost || !s.r.consumed
		case !s.r.consumed && seen[s.r]:
			copies++
		case !s.r.consumed:
			at, seen[s.r] = min(at, i), true
		case at < to:
			replays++
		}
	}
	return at, replays, copies, lost
}

// wantBack is which record of a source partition a consumer must get first: the first that
// was not consumed or that the mirror may not have carried yet; and how many behind it are
// consumed. A dead letter that the consumer has come past does not count.
func wantBack(facts []*fact, carried int) (at int, replays int64) {
	at, last := len(facts), -1
	for i, r := range facts {
		if r.consumed {
			last = i
		}
	}
	for i, r := range facts {
		if i < at && (i >= carried || !r.consumed && !(r.dead && i < last)) {
			at = i
		}
		if i >= at && r.consumed {
			replays++
		}
	}
	return at, replays
}
