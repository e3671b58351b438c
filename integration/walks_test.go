//go:build integration

package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

const (
	allWalks = 100
	// walksAtOnce is how many run beside each other: each mostly waits.
	walksAtOnce = 3
	// exercised is how many walks take every step.
	exercised = 100
)

// A finding is one thing that must not happen.
type finding string

const (
	silentLoss     finding = "lost in silence"
	falseVerdict   finding = "false consistent"
	falseAlarm     finding = "false alarm"
	hang           finding = "hang"
	brokenPromises finding = "changed, out of order or twice"
)

// On real servers, random walks through everything that the two services do lose nothing in
// silence, get no false verdict and no false alarm, and end. WALK runs one seed alone.
func TestIntegrationWalks(t *testing.T) {
	first, runs := uint64(0), count(allWalks)
	if seed, err := strconv.ParseUint(os.Getenv("WALK"), 10, 64); err == nil {
		first, runs = seed, 1
	}
	brokers := startWalkCluster(t)
	f := &walkFigures{done: map[string]int{}, found: map[finding]int{}, ends: map[string]int{}}
	began := time.Now()
	slots := make(chan struct{}, walksAtOnce)
	t.Run("walks", func(t *testing.T) {
		for seed := first; seed < first+uint64(runs); seed++ {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel() // a walk mostly waits
				slots <- struct{}{}
				defer func() { <-slots }()
				f.add(walkReal(t, brokers, seed))
			})
		}
	})
	t.Logf("figures: random walks on three real brokers and a Kinesis with a movable clock | walks %d of %d | seeds %d..%d | took %s | commit %s | %s",
		f.walks, allWalks, first, first+uint64(runs)-1, time.Since(began).Round(time.Second), commit(), f)
	if f.walks < exercised {
		return
	}
	for _, s := range walkSteps {
		if f.done[s.name] == 0 {
			t.Errorf("not exercised: %s", s.name)
		}
	}
	if f.ends[endGap] == 0 || f.ends[endDone] == 0 || f.damaged == 0 {
		t.Errorf("not exercised: walks ended %v, %d damaged targets", f.ends, f.damaged)
	}
}

// walkReal makes one walk, and reports what it found with its whole story.
func walkReal(t *testing.T, brokers *walkCluster, seed uint64) *realWalk {
	w := &realWalk{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), cluster: brokers, steps: walkSteps, done: map[string]int{}, began: time.Now()}
	w.run()
	w.note("ended %s, after %s", w.end, time.Since(w.began).Round(time.Millisecond))
	if len(w.found) > 0 {
		for i, c := range w.procs {
			w.note("mirror %d said:\n%s", i+1, c.stderr())
		}
		t.Errorf("seed %d (WALK=%d): %d findings\n%s", seed, seed, len(w.found), strings.Join(w.log, "\n"))
	} else {
		t.Log(strings.Join(w.log, "\n"))
	}
	return w
}

// walkFigures are what all walks did.
type walkFigures struct {
	mu                                                  sync.Mutex
	walks, records, mirrors, verifies, damaged, repeats int
	done                                                map[string]int // steps, by name
	ends                                                map[string]int // walks, by how they ended
	found                                               map[finding]int
}

func (f *walkFigures) add(w *realWalk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walks++
	f.records += len(w.rows)
	f.mirrors += len(w.procs)
	f.verifies += w.verifies
	f.damaged += w.damaged
	f.repeats += w.repeats
	for name, n := range w.done {
		f.done[name] += n
	}
	f.ends[w.end]++
	for _, kind := range w.found {
		f.found[kind]++
	}
}

// String is what the walks did and found, in one line.
func (f *walkFigures) String() string {
	return fmt.Sprintf("records %d | mirrors %d | verify runs %d | damaged targets %d | repeats on streams %d | steps: %s | ended: %s | "+
		"lost in silence %d | false consistent %d | false alarms %d | hangs %d | changed, out of order or twice %d",
		f.records, f.mirrors, f.verifies, f.damaged, f.repeats, listed(f.done), listed(f.ends),
		f.found[silentLoss], f.found[falseVerdict], f.found[falseAlarm], f.found[hang], f.found[brokenPromises])
}

func listed(m map[string]int) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(out, ", ")
}

// How a walk ends.
const (
	endDone = "with everything mirrored"
	endGap  = "with data gone, and told"
	endBad  = "with a finding"
)

// A walkRow is one record that a producer put. The embedded Row is what the checker is given.
type walkRow struct {
	checker.Row
	at      time.Time // when it was acknowledged
	pending bool      // in a transaction that is open
	aborted bool
	cut     bool // the source's log was cut below it
	early   bool // it was gone before a mirror first ran
	taken   bool // its copy was removed from the target behind the mirror's back
}

// wanted reports whether the target must hold a row.
func (r *walkRow) wanted() bool { return !r.pending && !r.aborted && !r.cut && !r.early && !r.taken }

// A realWalk is one migration, and what happens to it.
type realWalk struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	cluster *walkCluster
	steps   []walkStep
	began   time.Time

	*job
	direct  []string // brokers as no proxy cuts them off
	toKafka bool
	packed  bool // producers of the stream aggregate
	hazards map[string]bool
	kinesis *walkKinesis
	parts   int // of the topic
	txn     *openTransaction
	proc    *child // nil while no mirror runs

	rows   []*walkRow
	begun  bool          // a mirror has run
	sure   bool          // one has stopped in order, so that its checkpoints name every partition
	clean  bool          // the last one stopped in order, and nothing ran since
	aged   time.Duration // of the service's clock, since everything was seen to be mirrored
	gone   string        // why something of the source is gone, or cannot be proved to be there
	hurt   string        // why something of the target is gone
	over   bool          // the mirror ended and told that data is gone
	end    string
	log    []string
	found  []finding
	done   map[string]int
	aging  time.Duration // of the service's clock, in all
	skewed time.Duration // so far

	procs                      []*child // every mirror that ran
	verifies, damaged, repeats int
}

// note writes the story of the walk.
func (w *realWalk) note(format string, args ...any) {
	w.log = append(w.log, "  "+time.Now().Format("15:04:05.000")+" "+fmt.Sprintf(format, args...))
}

func (w *realWalk) finds(f finding, format string, args ...any) {
	w.note("FOUND %s: %s", f, fmt.Sprintf(format, args...))
	w.found = append(w.found, f)
}

// sound reports whether nothing was done that may be told as lost.
func (w *realWalk) sound() bool { return w.gone == "" && w.hurt == "" }

// Hazards are drawn for each walk, so that walks without one show false alarms: each is in one
// of so many walks.
var walkHazards = map[string]int{
	"reshard": 2, "rough": 2, "kills": 2, "transactions": 2, "times": 2, "skew": 2, "brokers": 4, "cuts": 3,
	"age": 2, "trim": 4, "recreate": 5, "truncate": 4,
}

func (w *realWalk) run() {
	w.step(walkStep{name: "begin", do: (*realWalk).begin})
	for range 10 + w.rng.IntN(14) {
		if w.over {
			break
		}
		w.step(w.draw())
	}
	w.finish()
}

// step takes one step. Steps that disturb the brokers are taken while no other walk is in one.
func (w *realWalk) step(s walkStep) {
	w.note("%s", s.name)
	w.done[s.name]++
	if s.alone {
		w.cluster.steps.Lock()
		defer w.cluster.steps.Unlock()
	} else {
		w.cluster.steps.RLock()
		defer w.cluster.steps.RUnlock()
	}
	s.do(w)
	w.watch()
}

// draw chooses a step that can be taken.
func (w *realWalk) draw() walkStep {
	var can []walkStep
	for _, s := range w.steps {
		if (s.hazard == "" || w.hazards[s.hazard]) && (s.can == nil || s.can(w)) {
			for range s.weight {
				can = append(can, s)
			}
		}
	}
	return can[w.rng.IntN(len(can))]
}

// finish ends what is open, mirrors everything, and verifies.
func (w *realWalk) finish() {
	w.cluster.steps.RLock()
	defer w.cluster.steps.RUnlock()
	w.kinesis.calm()
	if !w.over && w.proc != nil {
		if w.rng.IntN(2) == 0 {
			w.drain()
		} else {
			w.kill()
		}
	}
	if !w.over {
		w.catchUp()
	}
	if w.txn != nil {
		w.endTransaction()
	}
	if w.over {
		w.askAgain()
	} else {
		w.lastVerify()
	}
	switch {
	case len(w.found) > 0:
		w.end = endBad
	case w.over:
		w.end = endGap
	default:
		w.end = endDone
	}
	w.tidy()
}
