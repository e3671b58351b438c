package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// notAcknowledged is the note on a record behind what the mirror has acknowledged.
const notAcknowledged = "the mirror has not acknowledged it yet"

// compare judges the records that were asked for. An explanation has no rules of its own: it
// shows what a run over the same keys finds.
func (e *explaining) compare(ctx context.Context) error {
	if len(e.records) == 0 {
		return nil
	}
	v := *e.v
	v.Select, v.Store, v.Hooks, v.ID = Selection{}, nil, Hooks{}, ""
	v.Quick, v.Final, v.Continuous = false, false, false
	v.MaxSamples, v.SurveyFor, v.Lag = maxFindings, time.Second, -1
	for _, k := range slices.Sorted(maps.Keys(e.keys)) {
		v.Select.Keys = append(v.Select.Keys, []byte(k))
	}
	res, err := v.Run(ctx)
	if err != nil {
		return err
	}
	classed := map[*Explained]bool{}
	for i := range res.Samples {
		f := &res.Samples[i]
		if !e.class(f, classed) && f.Class == Extra && e.q.Partition == "" && e.own[f.Key] && len(e.loose) < e.v.MaxSamples {
			e.loose = append(e.loose, Explained{Source: f.Source, Class: Extra, Target: []Sighted{{Place: f.Target, Note: f.Reason}}})
		}
	}
	for _, x := range e.records {
		if !classed[x] {
			e.unclassed(x, res)
		}
	}
	return nil
}

// class gives the records that a finding speaks of its class. Of several findings the most
// serious one counts. It reports whether there is such a record.
func (e *explaining) class(f *Finding, classed map[*Explained]bool) (met bool) {
	for _, x := range e.records {
		if !x.meant(f) {
			continue
		}
		if met = true; !classed[x] || slices.Index(bySeverity, f.Class) < slices.Index(bySeverity, x.Class) {
			classed[x], x.Class = true, f.Class
		}
		switch {
		case f.Class == Reordered:
			x.Notes = append(x.Notes, fmt.Sprintf("out of order: on the target it stands behind %s:%s, which is later on the source", f.Other.Partition, f.Other.Position))
		case f.Reason != "" && !slices.Contains(x.Notes, f.Reason):
			x.Notes = append(x.Notes, f.Reason)
		}
	}
	return met
}

// bySeverity are the classes, the most serious first.
var bySeverity = []Class{Missing, Corrupt, Extra, Misrouted, Reordered, Unread, Unverifiable, Rewind, Duplicate}

// meant reports whether a finding speaks of the record: by its place on the source, or, in a run
// that stands on the target again, by one of its places there.
func (x *Explained) meant(f *Finding) bool {
	if f.Source.Partition == x.Source.Partition && f.Source.Position == x.Source.Position {
		return true
	}
	return slices.ContainsFunc(x.Target, func(s Sighted) bool {
		at := s.Position
		switch {
		case s.Partition != f.Target.Partition:
			return false
		case f.Class == Extra:
			return at == f.Target.Position
		}
		return f.Class == Rewind && f.Other.Partition == s.Partition && !f.Target.Position.After(at) && !at.After(f.Other.Position)
	})
}

// unclassed judges a record that no finding speaks of. It is equal on both sides only if its
// window was judged.
func (e *explaining) unclassed(x *Explained, res *Result) {
	i := slices.IndexFunc(res.Windows, func(w Window) bool { return w.holds(x.Source) })
	switch {
	case x.Content == "":
		x.Class = Unverifiable
		x.Notes = append(x.Notes, "the source does not hold it, or no longer")
	case e.settled[x] && len(x.Target) == 0:
	case e.outside[x] || slices.Contains(x.Notes, notAcknowledged):
		x.Class = Unread
	case i < 0:
		x.Class = Unread
		x.Notes = append(x.Notes, "it is out of the scope of a comparison")
	case len(x.Target) == 0:
		x.Class = Unread
		x.Notes = append(x.Notes, "it was met on no side at the same time: run explain again")
	case res.Windows[i].Verdict == Inconclusive && !slices.ContainsFunc(res.Samples, func(f Finding) bool { return f.open() && res.Windows[i].holds(f.Source) }):
		x.Class = Unread
		x.Notes = append(x.Notes, res.Windows[i].Reason)
	}
}

// holds reports whether a record of the source is of the window.
func (w *Window) holds(p Place) bool {
	return w.Partition == p.Partition && p.Position.After(w.After) && !p.Position.After(w.Through)
}
