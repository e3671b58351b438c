package walk

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// The walks of a plain run, and those at full count.
const (
	fewWalks = 48
	allWalks = 6000
	// exercised is how many walks take every step.
	exercised = 500
)

// runs is how many seeds a test takes: n, or what RUNS says in percent of full.
func runs(n, full int) int {
	if p, err := strconv.Atoi(os.Getenv("RUNS")); err == nil {
		return max(n, full*p/100)
	}
	return n
}

// firstSeed is where the seeds begin: WALK repeats one that failed.
func firstSeed() (first uint64, one bool) {
	n, err := strconv.ParseUint(os.Getenv("WALK"), 10, 64)
	return n, err == nil
}

// A finding is one thing that must not happen.
type finding string

const (
	silentLoss     finding = "lost in silence"
	falseVerdict   finding = "false consistent"
	missedDamage   finding = "damage not named"
	falseAlarm     finding = "false alarm"
	hang           finding = "hang"
	brokenPromises finding = "out of order or twice"
)

// In fake time, random walks through everything that the two services do lose nothing in
// silence, get no false verdict and no false alarm, and end.
func TestWalks(t *testing.T) {
	var total totals
	first, one := firstSeed()
	last := first + uint64(runs(fewWalks, allWalks))
	if one {
		last = first + 1
	}
	for seed := first; seed < last; seed++ {
		total.add(walkOnce(t, seed))
	}
	total.report(t, first, last)
}

func walkOnce(t *testing.T, seed uint64) *walk {
	srv, err := kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Clock: serviceClock(seed)})
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{seed: seed, server: srv}
	synctest.Test(t, func(t *testing.T) {
		defer srv.Close() // it waits for calls of this bubble
		w.t = t
		w.run()
	})
	for _, f := range w.found {
		t.Errorf("seed %d: %s\n%s", seed, f, strings.Join(w.log, "\n"))
	}
	return w
}

// totals are what all walks did.
type totals struct {
	walks, records, mirrors, verifies, damaged int
	done                                       map[string]int // steps, by name
	ends                                       map[string]int // walks, by how they ended
	found                                      map[string]int
}

func (a *totals) add(w *walk) {
	if a.done == nil {
		a.done, a.ends, a.found = map[string]int{}, map[string]int{}, map[string]int{}
	}
	a.walks++
	a.records += len(w.rows)
	a.mirrors += w.mirrors
	a.verifies += w.verifies
	a.damaged += w.damaged
	for name, n := range w.done {
		a.done[name] += n
	}
	a.ends[w.end]++
	for _, f := range w.found {
		kind, _, _ := strings.Cut(f, ":")
		a.found[kind]++
	}
}

// report prints what was exercised, and fails if it was not.
func (a *totals) report(t *testing.T, first, last uint64) {
	t.Logf("figures: random walks in fake time: %d walks, seeds %d..%d, %d records, %d mirrors, %d verify runs, %d damaged targets; steps %s; ended %s; "+
		"lost in silence %d, false consistent %d, damage not named %d, false alarms %d, hangs %d, out of order or twice %d",
		a.walks, first, last-1, a.records, a.mirrors, a.verifies, a.damaged, counts(a.done), counts(a.ends),
		a.found[string(silentLoss)], a.found[string(falseVerdict)], a.found[string(missedDamage)], a.found[string(falseAlarm)], a.found[string(hang)], a.found[string(brokenPromises)])
	if a.walks < exercised {
		return
	}
	for _, s := range steps {
		if a.done[s.name] == 0 {
			t.Errorf("not exercised: %s", s.name)
		}
	}
	if a.ends[endGap] == 0 || a.ends[endDone] == 0 || a.damaged == 0 {
		t.Errorf("not exercised: walks ended %v, %d damaged targets", a.ends, a.damaged)
	}
}

func counts(m map[string]int) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(out, ", ")
}
