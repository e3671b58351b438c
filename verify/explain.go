package verify

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Question asks for all records of a key as it stands on the source, or for the record
// at one place of the source.
type Question struct {
	Key       []byte // nil if Partition is given
	Partition string
	Position  bridge.Position
}

// An Explanation is what both sides hold of what was asked for. Contents and keys are
// keyed hashes.
type Explanation struct {
	Expected string `json:"expected_partition,omitempty"`
	OnSource int    `json:"on_source"`
	OnTarget int    `json:"on_target"`
	// Records are in the order of the source, those that it does not hold at the end.
	Records []Explained `json:"records"`
}

// An Explained is one record of the source, or one coordinate at which it holds none.
type Explained struct {
	Source  Place  `json:"source"`
	Content string `json:"content,omitempty"` // empty if the source holds nothing there
	// Class is the difference, empty if a comparison of the key found none.
	Class  Class     `json:"class,omitempty"`
	Target []Sighted `json:"target"`
	Notes  []string  `json:"notes,omitempty"` // of the ledger, the dead letters and the mirror
}

// A Sighted is one place on the target.
type Sighted struct {
	Place
	Content string `json:"content"`
	Note    string `json:"note,omitempty"`
}

// explaining collects what was found.
type explaining struct {
	*run
	q       Question
	records map[coord]*Explained
	order   []coord
	drill   *drill
	// keys are those of the records asked for, as they stand on the target; settled are the
	// records that are not to be there.
	keys    map[string]bool
	own     map[string]bool // the keyed hashes of those of the records of the source
	settled map[*Explained]bool
	outside map[*Explained]bool // from before the scope
	loose   []Explained         // of no record of the source
}

// Explain reads both sides to what they hold now and shows what was asked for: at most
// MaxSamples records. It then compares all records of the keys it met, as Run does, and
// classes each record as that comparison does.
func (v *Verifier) Explain(ctx context.Context, q Question) (*Explanation, error) {
	if err := v.defaults(); err != nil {
		return nil, err
	}
	v.Store = nil
	r, err := v.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	e := &explaining{run: r, q: q, records: map[coord]*Explained{}, drill: &drill{r: r}, keys: map[string]bool{}, own: map[string]bool{}, settled: map[*Explained]bool{}, outside: map[*Explained]bool{}}
	for _, step := range []func(context.Context) error{e.source, e.ledger, e.target, e.claimed, e.letters, e.progress, e.compare} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
	}
	return e.answer(), nil
}

// at is the entry of a coordinate, made if it is new; nil if there are too many.
func (e *explaining) at(c coord) *Explained {
	x := e.records[c]
	if x == nil && len(e.records) < e.v.MaxSamples {
		x = &Explained{Source: Place{Partition: e.Sources[c.Source].ID, Position: bridge.Position{Seq: c.Seq, Sub: c.Sub}}, Target: []Sighted{}}
		e.records[c] = x
		e.order = append(e.order, c)
	}
	return x
}

// everything reads one partition to what it holds now.
func (e *explaining) everything(ctx context.Context, src bridge.Source, partition string, fn func(*bridge.Record)) error {
	began := time.Now()
	return e.drill.scan(ctx, src, partition, bridge.Position{}, time.Time{}, func(b bridge.Batch) bool {
		for i := range b.Records {
			fn(&b.Records[i])
		}
		return b.Ended || b.Behind == 0 && b.Asked.After(began) || e.drill.passed(b, began)
	})
}

func (e *explaining) source(ctx context.Context) error {
	d := e.canon.digester()
	for _, s := range e.Sources {
		if e.q.Key == nil && s.ID != e.q.Partition {
			continue
		}
		err := e.everything(ctx, e.v.Source, s.ID, func(rec *bridge.Record) {
			if e.q.Key == nil && rec.Position != e.q.Position || e.q.Key != nil && string(rec.Key) != string(e.q.Key) {
				return
			}
			if e.q.Key == nil {
				e.q.Key = append([]byte{}, rec.Key...) // its copies are looked for by key, too
				e.q.Partition = s.ID
			}
			p := e.prepare(d, s.ID, rec)
			e.own[keyText(p.key)] = true
			e.choose(rec)
			if x := e.at(coordOf(s.Index, rec.Position.Clone())); x != nil {
				e.hold(x, rec, &p)
			}
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", s.ID, err)
		}
		if e.q.Partition == s.ID {
			break
		}
	}
	return nil
}

// hold notes what the source holds at a coordinate.
func (e *explaining) hold(x *Explained, rec *bridge.Record, p *prepared) {
	x.Source.Time, x.Content = rec.Time, contentText(p.content)
	if p.dropped {
		e.settled[x] = true
		x.Notes = append(x.Notes, "the mirror does not carry it: it came from the target, or the policy drops it")
	}
	if arrival(rec).Before(e.v.Start) {
		e.outside[x] = true
		x.Notes = append(x.Notes, "it arrived before the workflow began to read")
	}
}

// choose lets a record be compared.
func (e *explaining) choose(rec *bridge.Record) {
	if route, err := e.v.Keys.Route(rec); err == nil {
		e.keys[string(route.Key)] = true
	}
}

// claimed reads what the source holds under other keys at coordinates that the target names.
func (e *explaining) claimed(ctx context.Context) error {
	d := e.canon.digester()
	for _, s := range e.Sources {
		if !slices.ContainsFunc(e.order, func(c coord) bool { return c.Source == s.Index && e.records[c].Content == "" }) {
			continue
		}
		err := e.everything(ctx, e.v.Source, s.ID, func(rec *bridge.Record) {
			if x := e.records[coordOf(s.Index, rec.Position)]; x != nil && x.Content == "" {
				p := e.prepare(d, s.ID, rec)
				e.choose(rec)
				e.hold(x, rec, &p)
			}
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", s.ID, err)
		}
	}
	return nil
}

func contentText(d digest) string { return fmt.Sprintf("%016x", d.Hi) }

// ledger notes where the ledger says that the records stand.
func (e *explaining) ledger(ctx context.Context) error {
	if e.v.Ledger == nil {
		return nil
	}
	e.drill.spots = map[spot]ledgerSpot{}
	intents := openEntries{}
	after := bridge.Position{}
	read := func(ctx context.Context) iter.Seq2[bridge.LedgerEntry, error] { return e.v.Ledger.Read(ctx, after) }
	err := each(ctx, e.v, "the ledger", read, func(entry bridge.LedgerEntry, err error) (bool, error) {
		if head, gone := bridge.LedgerHead(err, after); gone {
			after = head
			return true, fmt.Errorf("the ledger begins later: %w", bridge.ErrTransient)
		}
		if err != nil {
			return false, fmt.Errorf("read the ledger: %w", err)
		}
		for i := range entry.Settled {
			s := &entry.Settled[i]
			intent, ok := intents.settle(s)
			if ok && s.Stored {
				e.drill.spots[spotOf(s.Partition, s.Position)] = ledgerSpot{intent.Origin, []byte(intent.Key), false}
				e.note(intent.Origin, "the ledger says that it stands at "+s.Partition+":"+s.Position.String())
			}
		}
		intents.add(&entry, e.wants)
		after = entry.At
		return true, nil
	})
	if err != nil {
		return err
	}
	for intent := range intents.all {
		e.note(intent.Origin, "the ledger says that it was about to be put, and not what came of it")
	}
	return nil
}

// wants reports whether an intent is of a record that was asked for, or of its key: the ledger
// can name a record of another key there.
func (e *explaining) wants(i *bridge.Intent) bool {
	if s := e.sourceByID[i.Origin.Partition]; s != nil && e.q.Partition == "" && i.Key == string(e.q.Key) {
		e.at(coordOf(s.Index, i.Origin.Position.Clone()))
	}
	return e.asked(i.Origin) != nil
}

// asked is the entry of a coordinate, nil if it was not asked for.
func (e *explaining) asked(c bridge.Coordinate) *Explained {
	s := e.sourceByID[c.Partition]
	if s == nil {
		return nil
	}
	return e.records[coordOf(s.Index, c.Position)]
}

func (e *explaining) note(c bridge.Coordinate, text string) {
	if x := e.asked(c); x != nil {
		x.Notes = append(x.Notes, text)
	}
}

func (e *explaining) target(ctx context.Context) error {
	d := e.canon.digester()
	for _, t := range e.Targets {
		err := e.everything(ctx, e.v.Target, t.ID, func(rec *bridge.Record) {
			if known, ok := e.drill.spots[spotOf(t.ID, rec.Position)]; ok {
				rec.Origin = known.origin
			}
			e.sight(t, e.place(d, t, rec), rec)
		})
		if err != nil {
			return fmt.Errorf("read target partition %s: %w", t.ID, err)
		}
	}
	return nil
}

// sight keeps a record of the target that was asked for, by its coordinate or its key.
func (e *explaining) sight(t *targetPart, p placed, rec *bridge.Record) {
	x := e.asked(p.origin)
	if s := e.sourceByID[p.origin.Partition]; x == nil && s != nil && e.q.Partition == "" && string(rec.Key) == string(e.q.Key) {
		x = e.at(coordOf(s.Index, p.at.Clone()))
	}
	if x == nil {
		return
	}
	e.keys[string(rec.Key)] = true
	at := Sighted{Place: Place{Partition: t.ID, Position: p.position.Clone(), Time: rec.Time}, Content: contentText(p.content)}
	switch {
	case p.foreign:
		at.Note = "copied provenance: the mirror did not write it"
	case x.Content != "" && at.Content != x.Content:
		at.Note = "another content"
	case !p.right:
		at.Note = "the key does not belong here"
	case len(x.Target) > 0:
		at.Note = "again"
	}
	x.Target = append(x.Target, at)
}

func (e *explaining) letters(ctx context.Context) error {
	return e.eachDead(ctx, func(s *sourcePart, p prepared) {
		if x := e.records[coordOf(s.Index, p.at)]; x != nil {
			e.settled[x] = x.Content == contentText(p.content)
			x.Notes = append(x.Notes, "it is among the dead letters")
		}
	})
}

// progress notes what the mirror has not acknowledged yet.
func (e *explaining) progress(ctx context.Context) error {
	if !e.v.asksMirror() {
		return nil
	}
	rows, err := e.rows(ctx)
	if err != nil {
		return err
	}
	for _, x := range e.records {
		if x.Source.Position.After(rows[x.Source.Partition].Position) {
			x.Notes = append(x.Notes, notAcknowledged)
		}
	}
	return nil
}

func (e *explaining) answer() *Explanation {
	out := &Explanation{Records: []Explained{}}
	if route, err := e.v.Keys.Route(&bridge.Record{Key: e.q.Key}); err == nil && e.q.Key != nil {
		out.Expected = route.Partition
	}
	slices.SortFunc(e.order, func(a, b coord) int {
		x, y := bridge.Position{Seq: a.Seq, Sub: a.Sub}, bridge.Position{Seq: b.Seq, Sub: b.Sub}
		return cmp.Or(cmp.Compare(a.Source, b.Source), x.Compare(y))
	})
	for _, c := range e.order {
		x := e.records[c]
		if x.Content != "" {
			out.OnSource++
		}
		out.OnTarget += len(x.Target)
		out.Records = append(out.Records, *x)
	}
	out.OnTarget += len(e.loose)
	out.Records = append(out.Records, e.loose...)
	return out
}
