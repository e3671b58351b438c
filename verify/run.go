package verify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/clock"
)

// A targetPart is one partition of the target.
type targetPart struct {
	ID      string
	Index   int // parents before their children
	Parents []string
	hash    hashRange

	// Begun says that the first page was read, and First is its first record.
	Begun         bool
	First, Last   bridge.Position
	Through       bridge.Position
	Records       int64
	Bytes         int64
	SeenAt        time.Time // everything that came before was read
	Tip           time.Time // the same by the service's clock
	Ended, Done   bool
	Lost          string        // why the rest could not be read
	HeadLost      bool          // its oldest records are gone
	Holes         []*hole       // in order
	ready         chan struct{} // closed when it is read to the end of the scope
	readyIsClosed bool
	reading       bool
	walk          *walk // if the target is read in step with a ledger
	pace          pace
	page          []placed // of the page that is booked, used again for the next

	// Heads is, by source partition, one more than the greatest offset met here, where a
	// bitmap tells repeats. line are this partition and all that it descends from.
	Heads []int64
	line  []*targetPart
}

// A run is one comparison. The lock guards all that both sides change.
type run struct {
	v     *Verifier
	canon *canon
	// source and target are the identities that were found, and their names.
	source, target         bridge.Identity
	sourceName, targetName string
	// keyed: the target places by the hash of the key. bitmapped: its records are told
	// apart by a bitmap.
	keyed, bitmapped bool
	tagger           *bridge.Tagger // of the ledger's digests

	judged sync.Mutex // held while Hooks.Judged is called, taken before mu

	mu   sync.Mutex
	cond *sync.Cond
	book

	sourceByID   map[string]*sourcePart
	targetByID   map[string]*targetPart
	acked        map[string]bridge.Row // nil: everything
	keys         map[uint64]bool       // chosen ones; nil: all
	cells        int                   // of all windows
	spans        int
	until        time.Time   // the target is read until then; zero: not known yet
	lists        int         // how often the source was listed
	readingSince time.Time   // by this process
	clock        clock.Clock // of the source
	deadLost     bool        // the dead letters cannot be read
	main         *run        // whose sweep this is; nil for a run of its own
	again        *run        // the sweep at work; nil if there is none
	targetEnds   map[string]bridge.Position
	entries      *entries          // of the ledger; nil if it is to be read anew
	checkpoint   bridge.Checkpoint // as it was last read, without its rows
}

// A book is what a run knows, as it is saved.
type book struct {
	Version   int
	Source    bridge.Identity
	Target    bridge.Identity
	ID        string
	StartedAt time.Time
	FenceAt   time.Time
	FenceTip  time.Time // FenceAt by the source's clock, once it was read
	Until     time.Time
	Acked     map[string]bridge.Row
	Sources   []*sourcePart
	Targets   []*targetPart
	Marks     watermarks
	Lows      map[pair]bridge.Position // the first of each pair, in runs of earlier versions
	Heads     map[pair]head            // where the target is a stream that forgets
	Bitmaps   map[string]*bitmap
	Tables    map[string]*orderTable
	All       *contentBook    // in content mode
	Unknown   map[string]bool // source partitions that the target knows and nobody listed
	Strays    []stray
	Foreign   int64
	Ahead     int64
	Gaps      []Uncovered
	Confirmed []Finding
	Sampled   map[Class]int // how many of each class are among them
	Loose     Findings      // those of no window
	Overflow  map[Class]int64
	Drilled   int64
	Suspects  int64
	Join      *joinState
	SourceGot int64 // bytes read
	TargetGot int64
	Phase     string
	Straggled int64
	Judged    int             // rounds of a continuous run
	Told      map[uint64]bool // differences that a continuous run has told
	Swept     sweepState
	// Beyond is what the source held behind the scope at SurveyedAt. Before counts records
	// of the target from before the scope.
	Beyond     Beyond
	SurveyedAt time.Time
	Before     int64
	BeforeOf   map[string]int64           // records by partitions of the source that are not listed
	Farthest   map[string]bridge.Position // behind the scope, named by the target
}

// A stray is a record of the target without a coordinate of this workflow's source.
type stray struct {
	Target   int
	After    bridge.Position
	Position bridge.Position
	Key      uint64
	Time     time.Time
	Cell     int
	Tag      uint64 // keyed, over key and value: as a ledger notes it
}

const bookVersion = 2

// maxStrays bounds how many are kept by their places; more are only counted.
const maxStrays = 1 << 16

func (v *Verifier) begin(ctx context.Context) (*run, error) {
	r := &run{
		v: v, canon: newCanon(v.Key, v.Keeps, v.Content), tagger: bridge.NewTagger(v.Key, "digest"),
		sourceByID: map[string]*sourcePart{}, targetByID: map[string]*targetPart{},
	}
	r.cond = sync.NewCond(&r.mu)
	r.book = book{
		Version: bookVersion, ID: v.ID, StartedAt: time.Now().UTC(), Marks: watermarks{},
		Bitmaps: map[string]*bitmap{}, Tables: map[string]*orderTable{}, Overflow: map[Class]int64{}, Unknown: map[string]bool{}, BeforeOf: map[string]int64{}, Sampled: map[Class]int{},
		Told: map[uint64]bool{}, Heads: map[pair]head{}, Farthest: map[string]bridge.Position{},
	}
	for _, k := range v.Select.Keys {
		if r.keys == nil {
			r.keys = map[uint64]bool{}
		}
		r.keys[r.canon.keyHash(k)] = true
	}
	var err error
	if r.source, err = ask(ctx, v, "the source", v.Source.Identity); err != nil {
		return nil, err
	}
	if r.target, err = ask(ctx, v, "the target", v.Target.Identity); err != nil {
		return nil, err
	}
	r.Source, r.Target = r.source, r.target
	r.sourceName, r.targetName = r.source.String(), r.target.String()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if err := r.listSource(ctx); err != nil {
		return nil, err
	}
	if err := r.listTarget(ctx); err != nil {
		return nil, err
	}
	r.nature()
	return r, nil
}

// listSource adds partitions that are new. The caller does not hold the lock.
func (r *run) listSource(ctx context.Context) error {
	parts, err := ask(ctx, r.v, "the list of the source", r.v.Source.Partitions)
	if err != nil {
		return fmt.Errorf("list the source: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	for _, p := range parts {
		if s := r.sourceByID[p.ID]; s != nil {
			s.Closed, s.hash = p.Closed, parseRange(p.FirstHash, p.LastHash)
			continue
		}
		s := &sourcePart{hash: parseRange(p.FirstHash, p.LastHash), ID: p.ID, Index: len(r.Sources), Parents: p.Parents, Closed: p.Closed}
		r.Sources = append(r.Sources, s)
		r.index(s)
	}
	return nil
}

// index makes what is not saved of a source partition. Its parents were indexed before.
func (r *run) index(s *sourcePart) {
	s.ancestors = map[int]bool{}
	for _, id := range s.Parents {
		if p := r.sourceByID[id]; p != nil {
			s.ancestors[p.Index] = true
			for a := range p.ancestors {
				s.ancestors[a] = true
			}
		}
	}
	for a := range s.ancestors {
		r.Sources[a].descendants = append(r.Sources[a].descendants, s.Index)
	}
	r.sourceByID[s.ID] = s
}

// chosen reports whether a source partition is in scope.
func (r *run) chosen(s *sourcePart) bool {
	return len(r.v.Select.Partitions) == 0 || slices.Contains(r.v.Select.Partitions, s.ID)
}

// listTarget adds partitions that are new, and returns an error only if it cannot list.
func (r *run) listTarget(ctx context.Context) error {
	parts, err := ask(ctx, r.v, "the list of the target", r.v.Target.Partitions)
	if err != nil {
		return fmt.Errorf("list the target: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		t := r.targetByID[p.ID]
		if t == nil {
			t = &targetPart{ID: p.ID, Index: len(r.Targets), Parents: p.Parents, ready: make(chan struct{})}
			r.Targets = append(r.Targets, t)
			r.trace(t)
		}
		if !t.hash.known && p.FirstHash != "" {
			t.hash = parseRange(p.FirstHash, p.LastHash)
		}
	}
	return nil
}

// trace makes what is not saved of a partition's descent. Its parents were traced before.
// Each ancestor counts once, however often shards were split and merged again between. The
// lock is held.
func (r *run) trace(t *targetPart) {
	r.targetByID[t.ID] = t
	t.line = []*targetPart{t}
	met := map[*targetPart]bool{t: true}
	for _, id := range t.Parents {
		p := r.targetByID[id]
		if p == nil {
			continue
		}
		for _, a := range p.line {
			if !met[a] {
				met[a] = true
				t.line = append(t.line, a)
			}
		}
	}
}

// targets are all partitions of the target that were listed so far.
func (r *run) targets() []*targetPart {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.Targets)
}

// nature finds out how the target places records, which does not change.
func (r *run) nature() {
	_, offsets := r.v.Source.(bridge.Ender)
	r.keyed = slices.ContainsFunc(r.Targets, func(t *targetPart) bool { return t.hash.known })
	r.bitmapped = r.keyed && offsets && !r.v.noBitmap
}

// finish marks a target partition as read to the end of the scope. The lock is held.
func (t *targetPart) finish() {
	t.Done = true
	if !t.readyIsClosed {
		t.readyIsClosed = true
		close(t.ready)
	}
}

// uncovered notes a range that cannot be judged, and says so in the log. The lock is held.
func (r *run) uncovered(u Uncovered) {
	for i := range r.Gaps {
		g := &r.Gaps[i]
		// One range that continues another is the same.
		if g.Side == u.Side && g.Partition == u.Partition && g.Class == u.Class && g.Reason == u.Reason && !u.After.After(g.Through) {
			if u.Through.After(g.Through) {
				g.Through = u.Through
			}
			g.Records += u.Records
			return
		}
	}
	r.Gaps = append(r.Gaps, u)
	r.v.Logger.Warn("not judged", "side", u.Side, "partition", u.Partition, "after", u.After.String(), "through", u.Through.String(),
		"class", string(u.Class), "records", u.Records, "reason", u.Reason)
}

// unjudged counts the ranges whose records nobody could count: one each. The lock is held.
func (r *run) unjudged() (f Findings) {
	for i := range r.Gaps {
		if g := &r.Gaps[i]; g.Records == 0 && !g.Counted {
			f.add(g.Class, 1)
		}
	}
	return f
}
