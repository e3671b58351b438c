package bridge

import (
	"encoding/binary"
	"fmt"
)

// A Stamp writes and judges the provenance headers of one workflow on one target topic.
// It is immutable and safe for concurrent use.
type Stamp struct {
	tagger   *Tagger
	workflow uint32
	epoch    uint32
	target   []byte
	sources  map[uint32]string
	own      uint32
}

// A StampConfig says for whom a Stamp is made.
type StampConfig struct {
	Workflow string
	Key      WorkflowKey
	Epoch    uint32   // of the direction
	Source   Identity // where records to be stamped come from; zero for a Stamp that only judges
	Target   Identity // the topic whose records are stamped or judged
	Known    []Identity
}

// NewStamp makes a Stamp. Known lists further sources whose identity a header is to be
// spelled out as.
func NewStamp(c StampConfig) *Stamp {
	s := &Stamp{
		tagger:   NewTagger(c.Key, "provenance"),
		workflow: WorkflowID(c.Workflow),
		epoch:    c.Epoch,
		target:   []byte(c.Target.String()),
		sources:  map[uint32]string{},
		own:      SourceID(c.Source),
	}
	for _, i := range append(c.Known, c.Source) {
		s.sources[SourceID(i)] = i.String()
	}
	return s
}

// Known is the source that a header names, spelled out, if it is one of StampConfig.Known; else
// empty.
func (s *Stamp) Known(p Provenance) string {
	if p.Source == s.own {
		return ""
	}
	return s.sources[p.Source]
}

// Append writes the header value for r, whose Origin must not be zero, behind dst.
func (s *Stamp) Append(dst []byte, r *Record) []byte {
	p := Provenance{
		Workflow:  s.workflow,
		Epoch:     s.epoch,
		Source:    s.own,
		Partition: r.Origin.Partition,
		Position:  r.Origin.Position,
		Subs:      r.Subs,
		Time:      r.Time,
	}
	start := len(dst)
	dst = p.append(dst)
	return binary.BigEndian.AppendUint64(dst, s.tag(dst[start:], r.Key, r.Value))
}

func (s *Stamp) tag(body, key, value []byte) uint64 {
	return s.tagger.Sum(s.target, body, key, value)
}

// A Mark is what a Stamp makes of a header.
type Mark int

const (
	// NotProvenance: the bytes are no provenance header but some user's header of that
	// name. It is data.
	NotProvenance Mark = iota
	// OtherWorkflow: provenance of another workflow. It is not copied on.
	OtherWorkflow
	// Copied: it names this workflow, but the tag does not hold: somebody copied the
	// header onto another record or topic. The record is data.
	Copied
	// Ours: this workflow wrote this very key and value to this very topic.
	Ours
)

// Judge reads a header found on a record of the target with this key and value. The
// coordinate is meaningful for every Mark but NotProvenance; only that of Ours may be
// trusted.
func (s *Stamp) Judge(header, key, value []byte) (Coordinate, Provenance, Mark) {
	p, err := DecodeProvenance(header)
	if err != nil {
		return Coordinate{}, p, NotProvenance
	}
	stream, ok := s.sources[p.Source]
	if !ok {
		stream = fmt.Sprintf("#%08x", p.Source)
	}
	c := Coordinate{Stream: stream, Partition: p.Partition, Position: p.Position}
	switch {
	case p.Workflow != s.workflow:
		return c, p, OtherWorkflow
	case s.tag(header[:len(header)-tagSize], key, value) != p.Tag:
		return c, p, Copied
	}
	return c, p, Ours
}

// Traces is what a look at a target found of a workflow.
type Traces struct {
	Records bool   // the target holds records, of anybody
	Ours    bool   // a record that the workflow wrote: its tag holds
	Copied  bool   // a record that names the workflow and whose tag does not hold
	At      Placed // of the first record that names the workflow
}

// Add notes one record, and reports whether more need not be looked at: nothing is learned
// behind a record of Ours, and if first is set behind the first that names the workflow.
func (t *Traces) Add(at Placed, mark Mark, first bool) (enough bool) {
	t.Records = true
	if mark != Ours && mark != Copied {
		return false
	}
	if !t.Ours && !t.Copied {
		t.At = at
	}
	t.Ours, t.Copied = t.Ours || mark == Ours, t.Copied || mark == Copied
	return t.Ours || first
}
