package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	letter "github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A packer takes Kinesis records of one format apart and makes them again.
type packer struct {
	open func(data []byte) ([]letter.Record, error)
	seal func(key string, recs []letter.Record) []byte
}

var packers = map[string]packer{
	"kpl": {openAggregate, sealAggregate},
	"envelope": {letter.Decode, func(_ string, recs []letter.Record) []byte {
		return letter.Append(nil, recs)
	}},
}

func openAggregate(data []byte) ([]letter.Record, error) {
	a, err := kpl.Decode(data, kpl.Limits{})
	if err != nil {
		return nil, err
	}
	var out []letter.Record
	for i := range a.Len() {
		u, err := a.Record(i)
		if err != nil {
			return nil, err
		}
		r := letter.Record{Value: append([]byte{}, u.Data...)}
		for _, t := range u.Tags {
			b, err := t.AppendBytes([]byte{})
			if err != nil {
				return nil, err
			}
			switch name, isHeader := strings.CutPrefix(string(t.Key), "bridge.h."); {
			case isHeader:
				r.Headers = append(r.Headers, bridge.Header{Key: name, Value: b})
			case string(t.Key) == "bridge.null":
				r.Value = nil
			default:
				r.Provenance = b
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func sealAggregate(key string, recs []letter.Record) []byte {
	var b kpl.Builder
	for i := range recs {
		if err := b.Add([]byte(key), nil, recs[i].Value, tagsOf(&recs[i])); err != nil {
			return nil
		}
	}
	return b.Finish(nil)
}

func tagsOf(r *letter.Record) []kpl.Tag {
	var tags []kpl.Tag
	if r.Provenance != nil {
		tags = append(tags, kpl.Tag{Key: []byte("bridge"), Value: kpl.AppendTagBytes(nil, r.Provenance)})
	}
	if r.Value == nil {
		tags = append(tags, kpl.Tag{Key: []byte("bridge.null")})
	}
	for _, h := range r.Headers {
		tags = append(tags, kpl.Tag{Key: []byte("bridge.h." + h.Key), Value: kpl.AppendTagBytes(nil, h.Value)})
	}
	return tags
}

// A pack is one Kinesis record of a key and what is in it.
type pack struct {
	shard string
	index int
	rec   kinesistest.Record
	recs  []letter.Record
}

// A rack is a bookcase whose stream holds packs.
type rack struct {
	*bookcase
	packer
}

// newRack mirrors eight records of each key in two runs, those of one run of a key side by
// side, with headers and times, and a tombstone and an empty value in the second.
func newRack(t *testing.T, format string, keys int) *bookcase {
	s := openShelf(t, format, "[]")
	for run := range 2 {
		var recs []*kgo.Record
		for i := range keys * 4 {
			r := &kgo.Record{
				Topic: "orders", Key: fmt.Append(nil, "key-", i/4), Value: fmt.Append(nil, "value ", run, i),
				Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
				Headers:   []kgo.RecordHeader{{Key: "a", Value: fmt.Append(nil, "header ", i)}, {Key: "b", Value: []byte{}}},
			}
			if run == 1 && i%4 == 1 {
				r.Value = nil
			} else if run == 1 && i%4 == 2 {
				r.Value = []byte{}
			}
			recs = append(recs, r)
		}
		s.mirror(recs)
		if code := s.program("verify", "run", "--settle", "50ms"); code != 0 {
			t.Fatalf("before any damage: %s", s.out.String())
		}
	}
	return s
}

// packs are those of one key, in order.
func (s *rack) packs(key string) (out []pack) {
	shard := s.stream.ShardFor(key)
	list, err := s.stream.Records(shard)
	proceed(s.t, err)
	for i, r := range list {
		if r.Key != key {
			continue
		}
		recs, err := s.open(r.Data)
		proceed(s.t, err)
		for _, rec := range recs {
			rec.Headers = slices.Clone(rec.Headers)
		}
		out = append(out, pack{shard, i, r, recs})
	}
	if len(out) < 2 || len(out[0].recs) < 3 || len(out[1].recs) < 3 {
		s.t.Fatalf("key %s stands in %d packs: too few", key, len(out))
	}
	return out
}

// put writes a pack back.
func (s *rack) put(p pack) {
	data := s.seal(p.rec.Key, p.recs)
	proceed(s.t, s.stream.Change(p.shard, p.index, func(r *kinesistest.Record) { r.Data = data }))
}

// behind writes data as a Kinesis record of its own behind a pack, and says where.
func (s *rack) behind(p pack, data []byte) kinesistest.Record {
	proceed(s.t, s.stream.Insert(p.shard, p.index+1, kinesistest.Record{Key: p.rec.Key, Data: data, Arrival: p.rec.Arrival}))
	list, err := s.stream.Records(p.shard)
	proceed(s.t, err)
	return list[p.index+1]
}

// from is where a record stood in the topic, by its provenance.
func (s *rack) from(r letter.Record) string {
	p, err := bridge.DecodeProvenance(r.Provenance)
	proceed(s.t, err)
	return p.Partition + "/" + p.Position.String()
}

// at is the place of a record in a pack.
func at(p pack, sub int) string { return placeOf(p.shard, p.rec.SequenceNumber, sub) }

func placeOf(shard, seq string, sub int) string {
	return shard + "/" + bridge.Position{Seq: seq, Sub: uint32(sub)}.String()
}

func lie(class verify.Class, source, target string, what ...string) string {
	return fmt.Sprintf("%s source %s target %s %v", class, source, target, what)
}

// lost is that all records of a pack are missing.
func (s *rack) lost(p pack) (out []string) {
	for _, r := range p.recs {
		out = append(out, lie(verify.Missing, s.from(r), "-"))
	}
	return out
}

func flipped(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[(i+len(b))%len(b)] ^= 2
	return b
}

// claiming is a provenance header of this workflow with another offset.
func claiming(provenance []byte, offset byte) []byte {
	// The digits stand behind version, workflow, epoch, source, and partition.
	b := slices.Clone(provenance)
	n := b[12]
	return slices.Concat(b[:12], []byte{4, 0x90 | offset, 0x99}, b[13+(n+1)/2:])
}

// elsewhere is one with a partition that the topic does not have.
func elsewhere(provenance []byte) []byte {
	b := slices.Clone(provenance)
	b[11] = 99
	return b
}

// The damages to a record in a pack: sub is neither the first nor the last.
var packedDamages = map[string]func(s *rack, p pack, sub int) []string{
	"drop a Kinesis record": func(s *rack, p pack, _ int) []string {
		proceed(s.t, s.stream.Drop(p.shard, p.index))
		return s.lost(p)
	},
	"drop one": func(s *rack, p pack, sub int) []string {
		gone := p.recs[sub]
		p.recs = slices.Delete(p.recs, sub, sub+1)
		s.put(p)
		return []string{lie(verify.Missing, s.from(gone), "-")}
	},
	"duplicate one": func(s *rack, p pack, sub int) []string {
		p.recs = slices.Insert(p.recs, sub, p.recs[sub])
		s.put(p)
		return []string{lie(verify.Duplicate, s.from(p.recs[sub]), at(p, sub+1))}
	},
	"swap two of a pack": func(s *rack, p pack, sub int) []string {
		p.recs[sub], p.recs[sub+1] = p.recs[sub+1], p.recs[sub]
		s.put(p)
		return []string{lie(verify.Reordered, s.from(p.recs[sub+1]), at(p, sub+1))}
	},
	"swap two of two packs": func(s *rack, p pack, _ int) []string {
		q := s.packs(p.rec.Key)[1]
		a, b := &p.recs[len(p.recs)-1], &q.recs[0]
		*a, *b = *b, *a
		s.put(p)
		s.put(q)
		return []string{lie(verify.Reordered, s.from(*b), at(q, 0))}
	},
	"swap two Kinesis records": func(s *rack, p pack, _ int) (out []string) {
		q := s.packs(p.rec.Key)[1]
		proceed(s.t, s.stream.Swap(p.shard, p.index, q.index))
		for i, r := range p.recs {
			out = append(out, lie(verify.Reordered, s.from(r), at(q, i)))
		}
		return out
	},
	"flip a bit of a value": changed("value", func(r *letter.Record) { r.Value = flipped(r.Value, 0) }),
	"flip a bit of a header": changed("headers", func(r *letter.Record) {
		r.Headers = slices.Clone(r.Headers)
		r.Headers[0].Value = flipped(r.Headers[0].Value, 0)
	}),
	"lose a header":       changed("headers", func(r *letter.Record) { r.Headers = r.Headers[1:] }),
	"flip a bit of a tag": changed("provenance", func(r *letter.Record) { r.Provenance = flipped(r.Provenance, -1) }),
	"change the time":     changed("time", func(r *letter.Record) { r.Provenance = flipped(r.Provenance, -8-6) }),
	"tombstone to empty":  nulled(true),
	"empty to tombstone":  nulled(false),
	"another workflow": func(s *rack, p pack, sub int) []string {
		return s.estranged(p, sub, flipped(p.recs[sub].Provenance, 1))
	},
	"another version": func(s *rack, p pack, sub int) []string {
		return s.estranged(p, sub, flipped(p.recs[sub].Provenance, 0))
	},
	"another source": func(s *rack, p pack, sub int) []string {
		return s.estranged(p, sub, flipped(p.recs[sub].Provenance, 6))
	},
	"no provenance": func(s *rack, p pack, sub int) []string { return s.estranged(p, sub, nil) },
	"a place that the source never had": func(s *rack, p pack, sub int) []string {
		return s.estranged(p, sub, claiming(p.recs[sub].Provenance, 9))
	},
	"a partition that the source never had": func(s *rack, p pack, sub int) []string {
		return append(s.estranged(p, sub, elsewhere(p.recs[sub].Provenance))[:1], "99 is not known")
	},
	"exchange the provenance of two": func(s *rack, p pack, sub int) []string {
		a, b := &p.recs[sub], &p.recs[sub+1]
		a.Provenance, b.Provenance = b.Provenance, a.Provenance
		s.put(p)
		return []string{
			lie(verify.Corrupt, s.from(*a), at(p, sub), "value", "headers"),
			lie(verify.Corrupt, s.from(*b), at(p, sub+1), "value", "headers"),
		}
	},
	"put into another shard": func(s *rack, p pack, _ int) (out []string) {
		proceed(s.t, s.stream.Drop(p.shard, p.index))
		for _, shard := range s.stream.Shards() {
			if shard.ID == p.shard {
				continue
			}
			place := min(p.index, shard.Records-1)
			proceed(s.t, s.stream.Insert(shard.ID, place, kinesistest.Record{Key: p.rec.Key, Data: p.rec.Data}))
			list, err := s.stream.Records(shard.ID)
			proceed(s.t, err)
			for i, r := range p.recs {
				out = append(out, lie(verify.Misrouted, s.from(r), placeOf(shard.ID, list[place].SequenceNumber, i)))
			}
			return out
		}
		return nil
	},
	"invent one": func(s *rack, p pack, sub int) []string {
		return s.invented(p, sub, letter.Record{Value: []byte("invented")}, "-")
	},
	"invent one under a copied provenance": func(s *rack, p pack, sub int) []string {
		return s.invented(p, sub, letter.Record{Provenance: p.recs[sub].Provenance, Value: []byte("invented")}, s.from(p.recs[sub]))
	},
	"invent one of a place to come": func(s *rack, p pack, sub int) []string {
		return s.invented(p, sub, letter.Record{Provenance: claiming(p.recs[sub].Provenance, 9), Value: []byte("invented")}, "-")
	},
	"invent a Kinesis record": func(s *rack, p pack, _ int) []string {
		r := s.behind(p, []byte("invented"))
		return []string{lie(verify.Extra, "-", placeOf(p.shard, r.SequenceNumber, 0))}
	},
	"replay a run": func(s *rack, p pack, _ int) []string {
		r := s.behind(p, p.rec.Data)
		return []string{lie(verify.Rewind, s.from(p.recs[0]), placeOf(p.shard, r.SequenceNumber, 0))}
	},
	"a wrong checksum":     spoiled(func(data []byte) []byte { return flipped(data, -1) }),
	"a flipped bit inside": spoiled(func(data []byte) []byte { return flipped(data, len(data)/2) }),
	"a flipped magic":      spoiled(func(data []byte) []byte { return flipped(data, 0) }),
	"cut in half":          spoiled(func(data []byte) []byte { return data[:len(data)/2] }),
}

func changed(what string, change func(*letter.Record)) func(s *rack, p pack, sub int) []string {
	return func(s *rack, p pack, sub int) []string {
		if len(p.recs[sub].Value) == 0 {
			s.t.Fatal("no value to change")
		}
		change(&p.recs[sub])
		s.put(p)
		return []string{lie(verify.Corrupt, s.from(p.recs[sub]), at(p, sub), what)}
	}
}

// nulled turns a tombstone into an empty value, or back.
func nulled(was bool) func(s *rack, p pack, _ int) []string {
	return func(s *rack, p pack, _ int) []string {
		q := s.packs(p.rec.Key)[1]
		for i := range q.recs {
			if len(q.recs[i].Value) > 0 || (q.recs[i].Value == nil) != was {
				continue
			}
			q.recs[i].Value = nil
			if was {
				q.recs[i].Value = []byte{}
			}
			s.put(q)
			return []string{lie(verify.Corrupt, s.from(q.recs[i]), at(q, i), "null")}
		}
		s.t.Fatal("none is empty")
		return nil
	}
}

func spoiled(spoil func([]byte) []byte) func(s *rack, p pack, _ int) []string {
	return func(s *rack, p pack, _ int) []string {
		proceed(s.t, s.stream.Change(p.shard, p.index, func(r *kinesistest.Record) { r.Data = spoil(r.Data) }))
		return append(s.lost(p), lie(verify.Extra, "-", at(p, 0)))
	}
}

// estranged gives one record a provenance that leads nowhere.
func (s *rack) estranged(p pack, sub int, provenance []byte) []string {
	out := []string{lie(verify.Missing, s.from(p.recs[sub]), "-"), lie(verify.Extra, "-", at(p, sub))}
	p.recs[sub].Provenance = provenance
	s.put(p)
	return out
}

func (s *rack) invented(p pack, sub int, r letter.Record, claims string) []string {
	p.recs = slices.Insert(p.recs, sub+1, r)
	s.put(p)
	return []string{lie(verify.Extra, claims, at(p, sub+1))}
}

// The damages that only aggregates can have: consumers built on the KCL place user records
// by keys of their own.
var aggregateDamages = map[string]func(s *rack, p pack, sub int) []string{
	"an explicit hash key": func(s *rack, p pack, sub int) []string {
		var b kpl.Builder
		for i := range p.recs {
			var hash []byte
			if i == sub {
				hash = []byte("1")
			}
			proceed(s.t, b.Add([]byte(p.rec.Key), hash, p.recs[i].Value, tagsOf(&p.recs[i])))
		}
		proceed(s.t, s.stream.Change(p.shard, p.index, func(r *kinesistest.Record) { r.Data = b.Finish(nil) }))
		return []string{lie(verify.Corrupt, s.from(p.recs[sub]), at(p, sub), "provenance")}
	},
	"another key of one": func(s *rack, p pack, sub int) []string {
		var b kpl.Builder
		for i := range p.recs {
			key := p.rec.Key
			if i == sub {
				key = "another"
			}
			proceed(s.t, b.Add([]byte(key), nil, p.recs[i].Value, tagsOf(&p.recs[i])))
		}
		proceed(s.t, s.stream.Change(p.shard, p.index, func(r *kinesistest.Record) { r.Data = b.Finish(nil) }))
		return []string{lie(verify.Corrupt, s.from(p.recs[sub]), at(p, sub), "key")}
	},
	"another key of the whole": func(s *rack, p pack, _ int) (out []string) {
		proceed(s.t, s.stream.Change(p.shard, p.index, func(r *kinesistest.Record) { r.Key = "another" }))
		for i, r := range p.recs {
			out = append(out, lie(verify.Corrupt, s.from(r), at(p, i), "provenance"))
		}
		return out
	},
}

// told is every difference that a run reports.
func (s *bookcase) told() (got []string) {
	var answer struct {
		Result verify.Result `json:"result"`
	}
	proceed(s.t, json.Unmarshal(s.out.Bytes(), &answer))
	for _, f := range answer.Result.Samples {
		source, target := "-", "-"
		if !f.Source.IsZero() {
			source = f.Source.Partition + "/" + f.Source.Position.String()
		}
		if !f.Target.IsZero() {
			target = f.Target.Partition + "/" + f.Target.Position.String()
		}
		got = append(got, lie(f.Class, source, target, f.What...))
	}
	for _, u := range answer.Result.Coverage.Uncovered {
		got = append(got, u.Partition+" is not known")
	}
	slices.Sort(got)
	return got
}

// A stream that the program wrote itself, in the formats that carry everything, is
// consistent; then it is damaged ten times in every way, and each is told.
func TestDamagedPacks(t *testing.T) {
	const each = 10
	for format, how := range packers {
		t.Run(format, func(t *testing.T) {
			damages := maps.Clone(packedDamages)
			if format == "kpl" {
				maps.Copy(damages, aggregateDamages)
			}
			names := slices.Sorted(maps.Keys(damages))
			s := &rack{newRack(t, format, each*len(names)), how}
			s.invents(func(b []byte) []byte { return claiming(b, 9) }, exitInconsistent)
			s.invents(elsewhere, exitInconclusive)
			var want []string
			for i := range each * len(names) {
				key := "key-" + strconv.Itoa(i)
				for _, p := range s.packs(key) {
					if !bytes.Equal(p.rec.Data, s.seal(key, p.recs)) {
						t.Fatal("made again, a record is another")
					}
				}
				p := s.packs(key)[0]
				want = append(want, damages[names[i%len(names)]](s, p, 1+i/len(names)%(len(p.recs)-2))...)
			}
			if code := s.program("verify", "run", "--settle", "50ms", "--samples", "10000", "--output", "json"); code != exitInconsistent {
				t.Fatalf("exit code %d", code)
			}
			slices.Sort(want)
			got := s.told()
			if slices.Contains(want, "99 is not known") { // which is told once for all of them
				want = slices.Compact(want)
			}
			if !slices.Equal(want, got) {
				t.Fatal(differing(want, got))
			}
			t.Logf("%d lies of %d kinds, all found", len(want), len(names))
		})
	}
}

// invents puts in one record that claims a place which cannot be looked at, alone, and
// takes it out again: it is not passed over.
func (s *rack) invents(provenance func([]byte) []byte, code int) {
	p := s.packs("key-1")[0]
	whole := p.recs
	p.recs = slices.Insert(slices.Clone(whole), 1, letter.Record{Provenance: provenance(whole[0].Provenance), Value: []byte("invented")})
	s.put(p)
	if got := s.program("verify", "run", "--settle", "50ms"); got != code {
		s.t.Errorf("exit code %d, want %d: %s", got, code, s.out.String())
	}
	p.recs = whole
	s.put(p)
}

func differing(want, got []string) string {
	var b strings.Builder
	for _, l := range want {
		if !slices.Contains(got, l) {
			fmt.Fprintf(&b, "\nnot told: %s", l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			fmt.Fprintf(&b, "\nnot done: %s", l)
		}
	}
	return b.String()
}
