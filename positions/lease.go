package positions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// The words that a KCL lease can hold instead of a sequence number.
const (
	TrimHorizon = "TRIM_HORIZON"
	Latest      = "LATEST"
	AtTimestamp = "AT_TIMESTAMP"
	ShardEnd    = "SHARD_END"
)

// A Lease is what a KCL application knows of one shard.
type Lease struct {
	Shard string `json:"shard"`
	// Checkpoint is a sequence number or one of the words above. The record there, with
	// index Sub in its aggregate, is the last that was processed; a Sub of -1 says that
	// not even the first user record was.
	Checkpoint string   `json:"checkpoint"`
	Sub        int64    `json:"sub"`
	Parents    []string `json:"parents,omitempty"`
	Children   []string `json:"children,omitempty"`
	// FirstHash and LastHash bound the hash keys, inclusive; empty if the lease does not
	// say.
	FirstHash string `json:"first_hash,omitempty"`
	LastHash  string `json:"last_hash,omitempty"`
}

// Bound is what l says is consumed. It is an error if it stores no position: LATEST and
// AT_TIMESTAMP, or something that is no checkpoint at all.
func (l Lease) Bound() (Bound, error) {
	switch l.Checkpoint {
	case ShardEnd:
		return Everything(), nil
	case TrimHorizon:
		return Bound{}, nil
	case Latest, AtTimestamp:
		return Bound{}, fmt.Errorf("shard %s: the lease says %s, which is no position: %w", l.Shard, l.Checkpoint, bridge.ErrForeignPosition)
	}
	at, err := bridge.ParsePosition(l.Checkpoint)
	if err != nil || at.IsZero() || at.Sub != 0 || strings.Contains(l.Checkpoint, "/") || l.Sub < -1 || l.Sub > 1<<31 {
		return Bound{}, fmt.Errorf("shard %s: checkpoint %q with sub-sequence number %d: %w", l.Shard, l.Checkpoint, l.Sub, bridge.ErrForeignPosition)
	}
	if l.Sub == -1 {
		return Next(at), nil
	}
	at.Sub = uint32(l.Sub)
	return Through(at), nil
}

// SetBound makes l say that b is consumed. It is an error if b is a bound by time.
func (l *Lease) SetBound(b Bound) error {
	l.Sub = 0
	switch {
	case b.All:
		l.Checkpoint = ShardEnd
	case !b.Until.IsZero():
		return fmt.Errorf("shard %s: a lease cannot hold %s: %w", l.Shard, b, bridge.ErrForeignPosition)
	case b.At.IsZero():
		l.Checkpoint = TrimHorizon
	default:
		l.Checkpoint, l.Sub = b.At.Seq, int64(b.At.Sub)
		if !b.Done {
			l.Sub--
		}
	}
	return nil
}

// An As says what to take LATEST and AT_TIMESTAMP for.
type As struct {
	// Start: nothing is consumed. End: everything that the mirror is known to have carried
	// is. Time: what arrived before it is. At most one is set.
	Start, End bool
	Time       time.Time
}

// An Application is what is known of a consumer application on Kinesis.
type Application struct {
	Leases []Lease
	// Shards are those that the stream lists now.
	Shards []bridge.Partition
	// Rows are the mirror's.
	Rows []bridge.Row
	// Seen names further shards whose records stand on the target.
	Seen []string
	// As says what to take leases without a position for. If zero they are a Problem.
	As As
	// Missing says what to take shards for that have no lease and no relative with one. End
	// is for those that have expired: all of them is consumed. If zero they are a Problem.
	Missing As
}

// Resolve finds the bound of every shard of which a record can be on the target. It wraps
// bridge.ErrForeignPosition if a lease holds something that is no checkpoint.
//
// A shard without a lease is consumed to its end if one of its descendants has a lease,
// for the KCL deletes leases that are done with; if not it is not begun.
func Resolve(a Application) (Frontier, []Problem, error) {
	r := resolver{Application: a, leases: map[string]Lease{}, rows: map[string]bridge.Row{}, listed: map[string]bool{}, parents: map[string][]string{}, begun: map[string]bool{}}
	r.learn()
	out := Frontier{}
	var problems []Problem
	for _, name := range r.names() {
		b, p, err := r.bound(name)
		if err != nil {
			return nil, nil, err
		}
		out[name] = b
		if p != nil {
			problems = append(problems, *p)
		}
	}
	return out, problems, nil
}

type resolver struct {
	Application
	leases  map[string]Lease
	rows    map[string]bridge.Row
	listed  map[string]bool
	parents map[string][]string
	begun   map[string]bool // shards that have a descendant with a lease
}

func (r *resolver) learn() {
	for _, s := range r.Shards {
		r.listed[s.ID] = true
		r.parents[s.ID] = append(r.parents[s.ID], s.Parents...)
	}
	for _, row := range r.Rows {
		r.rows[row.Partition] = row
		r.parents[row.Partition] = append(r.parents[row.Partition], row.Parents...)
	}
	for _, l := range r.Leases {
		r.leases[l.Shard] = l
		r.parents[l.Shard] = append(r.parents[l.Shard], l.Parents...)
		for _, c := range l.Children {
			r.parents[c] = append(r.parents[c], l.Shard)
		}
	}
	for name := range r.leases {
		r.markAncestors(name)
	}
}

func (r *resolver) markAncestors(name string) {
	for _, p := range r.parents[name] {
		if !r.begun[p] {
			r.begun[p] = true
			r.markAncestors(p)
		}
	}
}

func (r *resolver) names() []string {
	all := map[string]bool{}
	for _, n := range r.Seen {
		all[n] = true
	}
	for _, m := range []map[string]bool{r.listed, r.begun} {
		maps.Copy(all, m)
	}
	for n := range r.rows {
		all[n] = true
	}
	for n := range r.leases {
		all[n] = true
	}
	return sortedKeys(all)
}

func (r *resolver) bound(name string) (Bound, *Problem, error) {
	l, has := r.leases[name]
	switch {
	case has && (l.Checkpoint == Latest || l.Checkpoint == AtTimestamp):
		b, p := r.noPosition(l)
		return b, p, nil
	case has:
		b, err := l.Bound()
		return b, nil, err
	case r.begun[name]:
		return Everything(), nil, nil
	case r.ancestorBegun(name):
		return Bound{}, nil, nil
	case !r.listed[name] && r.Missing.End:
		return Everything(), nil, nil
	case r.Missing.Start:
		return Bound{}, nil, nil
	}
	what := "is listed, but neither it nor a relative of it has a lease"
	hint := "start the application once so that it takes leases; or, if it is to read this shard from its beginning, say --missing-as start"
	if !r.listed[name] {
		what = "has expired without a lease"
		hint = "if the application had consumed it, say --missing-as end; if it is to read all of it, say --missing-as start"
	}
	return Bound{}, &Problem{
		Kind: NoLease, Partition: name, Hint: hint,
		Text: fmt.Sprintf("shard %s %s: it counts as not consumed", name, what),
	}, nil
}

func (r *resolver) ancestorBegun(name string) bool {
	return slices.ContainsFunc(r.parents[name], func(p string) bool {
		_, has := r.leases[p]
		return has || r.begun[p] || r.ancestorBegun(p)
	})
}

// noPosition judges LATEST and AT_TIMESTAMP.
func (r *resolver) noPosition(l Lease) (Bound, *Problem) {
	switch {
	case r.As.Start:
		return Bound{}, nil
	case r.As.End:
		return Through(r.rows[l.Shard].Position), nil
	case !r.As.Time.IsZero():
		return Bound{Until: r.As.Time}, nil
	}
	return Bound{}, &Problem{
		Kind: NoPosition, Partition: l.Shard,
		Text: fmt.Sprintf("shard %s: the lease says %s, which is no position", l.Shard, l.Checkpoint),
		Hint: "let the application consume one record of each shard, or say what it means: --latest-as time:2026-01-31T00:00:00Z, start or end",
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
