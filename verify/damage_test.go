package verify_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A damage does harm to one key of a copy, and says what it did. It returns nothing if the
// key does not lend itself to it.
type damage struct {
	name string
	// kafka and ledger: the format carries it only there.
	kafka, noLedger, onlyLedger bool
	do                          func(c *copier, own []*line, i int) []truth
}

// index is where a line is in the copy.
func (c *copier) index(l *line) int { return slices.Index(c.lines, l) }

func (c *copier) insert(at int, lines ...*line) { c.lines = slices.Insert(c.lines, at, lines...) }

// again is a second copy of a line.
func again(l *line) *line {
	d := *l
	d.copyOf = true
	return &d
}

func one(class verify.Class, l *line, at *line) []truth {
	return []truth{{class: class, of: l.was, at: at}}
}

// swap lets two lines change places. They must go to the same partition.
func (c *copier) swap(a, b *line) []truth {
	if a.rec.Partition != b.rec.Partition && c.ledgerless() {
		return nil
	}
	i, j := c.index(a), c.index(b)
	c.lines[i], c.lines[j] = b, a
	return one(verify.Reordered, a, a)
}

func (c *copier) ledgerless() bool { return c.w.to == 0 }

func flip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// changed is a line whose key or value is not what its provenance was made for.
func (c *copier) changed(l *line) []truth {
	if c.w.to == 0 {
		c.claims(l, l.was)
	}
	return one(verify.Corrupt, l, l)
}

func (c *copier) partitions() int {
	seen := map[string]bool{}
	for _, l := range c.lines {
		seen[l.rec.Partition] = true
	}
	return len(seen)
}

var damages = []damage{
	{name: "drop", do: func(c *copier, own []*line, i int) []truth {
		own[i].dropped = true
		return one(verify.Missing, own[i], nil)
	}},
	{name: "duplicate", do: func(c *copier, own []*line, i int) []truth {
		d := again(own[i])
		c.insert(c.index(own[i])+1+c.w.rng.IntN(len(c.lines)-c.index(own[i])), d)
		if c.ledger { // which knows nothing of it: somebody put it
			return []truth{{class: verify.Extra, at: d}}
		}
		return one(verify.Duplicate, own[i], d)
	}},
	{name: "late copy", onlyLedger: true, do: func(c *copier, own []*line, i int) []truth {
		d := again(own[i])
		d.late = true
		c.insert(c.index(own[i])+1+c.w.rng.IntN(len(c.lines)-c.index(own[i])), d)
		return one(verify.Duplicate, own[i], d)
	}},
	{name: "late copy, and another by hand", onlyLedger: true, do: func(c *copier, own []*line, i int) []truth {
		d, e := again(own[i]), again(own[i])
		d.late = true
		c.insert(c.index(own[i])+1, d)
		c.insert(c.index(d)+1+c.w.rng.IntN(len(c.lines)-c.index(d)), e)
		return append(one(verify.Duplicate, own[i], d), truth{class: verify.Extra, at: e})
	}},
	{name: "copy in a wrong partition", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		d := again(own[i])
		d.rec.Partition = fmt.Sprint(c.w.rng.IntN(c.parts))
		if d.rec.Partition == own[i].rec.Partition {
			return nil
		}
		c.insert(c.index(own[i])+c.w.rng.IntN(2), d)
		return one(verify.Misrouted, own[i], d)
	}},
	{name: "swap two of a key", do: func(c *copier, own []*line, i int) []truth {
		if i+1 == len(own) || own[i].was.Partition != own[i+1].was.Partition {
			return nil
		}
		return c.swap(own[i], own[i+1])
	}},
	{name: "swap across windows", do: func(c *copier, own []*line, i int) []truth {
		if i+1 == len(own) || own[i].was.Partition != own[i+1].was.Partition || c.window(own[i]) == c.window(own[i+1]) {
			return nil
		}
		return c.swap(own[i], own[i+1])
	}},
	{name: "swap parent and child", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		if i+1 == len(own) || own[i].was.Partition == own[i+1].was.Partition {
			return nil
		}
		return c.swap(own[i], own[i+1])
	}},
	{name: "flip a bit of the value", do: func(c *copier, own []*line, i int) []truth {
		own[i].rec.Value = flip(append(own[i].rec.Value, 'x'))
		return c.changed(own[i])
	}},
	{name: "flip a bit of the key", do: func(c *copier, own []*line, i int) []truth {
		own[i].rec.Key = flip(own[i].rec.Key)
		return c.changed(own[i])
	}},
	{name: "flip a bit of a header", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		own[i].rec.Headers = append(slices.Clone(own[i].rec.Headers), bridge.Header{Key: "h", Value: []byte("1")})
		return one(verify.Corrupt, own[i], own[i])
	}},
	{name: "wrong time", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		own[i].rec.Time = own[i].rec.Time.Add(1e6)
		return one(verify.Corrupt, own[i], own[i])
	}},
	{name: "empty value to tombstone", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		if own[i].rec.Value == nil {
			own[i].rec.Value = []byte{}
		} else {
			own[i].rec.Value = nil
		}
		return c.changed(own[i])
	}},
	{name: "invent without a coordinate", do: func(c *copier, own []*line, i int) []truth {
		d := again(own[i])
		d.native, d.rec.Value = true, []byte("invented")
		c.insert(c.index(own[i]), d)
		return []truth{{class: verify.Extra, at: d}}
	}},
	{name: "invent a coordinate", do: func(c *copier, own []*line, i int) []truth {
		d := again(own[i])
		d.copyOf, d.was = false, c.unused(own[i].was)
		d.rec.Origin = d.was
		if d.was.IsZero() {
			return nil
		}
		c.insert(c.index(own[i])+1, d)
		return one(verify.Extra, d, d)
	}},
	{name: "misroute", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		to := fmt.Sprint(c.w.rng.IntN(c.parts))
		if to == own[i].rec.Partition {
			return nil
		}
		own[i].rec.Partition = to
		return one(verify.Misrouted, own[i], own[i])
	}},
	{name: "replay a run", noLedger: true, do: (*copier).replay},
	{name: "wrong coordinate", do: func(c *copier, own []*line, i int) []truth {
		other := c.stranger(own[i])
		if other == nil || own[i].taken {
			return nil
		}
		own[i].taken, other.taken = true, true
		own[i].rec.Origin = other.was
		return []truth{{class: verify.Missing, of: own[i].was}, {class: verify.Corrupt, of: other.was, at: own[i]}}
	}},
	{name: "shifted headers", kafka: true, do: func(c *copier, own []*line, i int) []truth {
		if i+1 >= len(own) || string(own[i].rec.Value) == string(own[i+1].rec.Value) {
			return nil
		}
		a, b := own[i], own[i+1]
		c.claims(a, b.was)
		c.claims(b, a.was)
		return []truth{{class: verify.Corrupt, of: b.was, at: a}, {class: verify.Corrupt, of: a.was, at: b}}
	}},
	{name: "contents change places under their coordinates", do: func(c *copier, own []*line, i int) []truth {
		if i+1 >= len(own) || string(own[i].rec.Value) == string(own[i+1].rec.Value) {
			return nil
		}
		a, b := own[i], own[i+1]
		a.rec.Value, b.rec.Value = b.rec.Value, a.rec.Value
		return append(one(verify.Corrupt, a, a), one(verify.Corrupt, b, b)...)
	}},
	{name: "one of two equal ones twice", noLedger: true, do: func(c *copier, own []*line, i int) []truth {
		if i+1 == len(own) || string(own[i].rec.Value) != string(own[i+1].rec.Value) || !own[i].rec.Time.Equal(own[i+1].rec.Time) {
			return nil
		}
		d := again(own[i])
		c.insert(c.index(own[i+1]), d)
		own[i+1].dropped = true
		return append(one(verify.Missing, own[i+1], nil), one(verify.Duplicate, own[i], d)...)
	}},
	{name: "lost dead letter", do: func(c *copier, own []*line, i int) []truth {
		for _, l := range own {
			l.dead = true // all of the key's, and all but one arrive
		}
		own[i].dropped = true
		return one(verify.Missing, own[i], nil)
	}},
}

// replay writes a run of a partition again, at its end.
func (c *copier) replay(own []*line, i int) []truth {
	var mine []*line
	for _, l := range c.lines {
		if l.rec.Partition == own[i].rec.Partition && !l.copyOf {
			mine = append(mine, l)
		}
	}
	at := slices.Index(mine, own[i])
	run := mine[at:min(at+2+c.w.rng.IntN(5), len(mine))]
	if run[0].taken || len(run) < 2 {
		return nil
	}
	for _, l := range mine {
		l.taken = true // one run a partition
	}
	end := c.index(mine[len(mine)-1]) + 1
	var out []truth
	for j, l := range run {
		d := again(l)
		c.insert(end+j, d)
		out = append(out, one(verify.Duplicate, l, d)...)
	}
	return out
}

// runs joins copies that stand behind each other in their old order to the rewind that
// they are. What a ledger knows nothing of is a rewind each.
func (c *copier) runs(list []truth) []truth {
	last := map[string]*line{} // of each partition
	head := map[*line]int{}
	var out []truth
	for _, l := range list {
		if l.class != verify.Duplicate {
			out = append(out, l)
		}
	}
	for _, l := range c.lines {
		if l.dropped || l.dead {
			continue
		}
		prev := last[l.place.Partition]
		last[l.place.Partition] = l
		i := slices.IndexFunc(list, func(t truth) bool { return t.at == l && t.class == verify.Duplicate })
		switch {
		case i < 0:
		case c.ledger:
			out = append(out, truth{class: verify.Rewind, at: l, n: 1})
		case prev != nil && prev.copyOf && prev.was.Partition == l.was.Partition && l.was.Position.After(prev.was.Position):
			head[l] = head[prev]
			out[head[l]].n++
			out[head[l]].class = verify.Rewind
		default:
			head[l] = len(out)
			out = append(out, truth{class: verify.Duplicate, of: l.was, at: l, n: 1})
		}
	}
	return out
}

// unused is a coordinate near another one at which the source has nothing.
func (c *copier) unused(near bridge.Coordinate) bridge.Coordinate {
	var list []bridge.Position
	for _, l := range c.lines {
		if l.was.Partition == near.Partition {
			list = append(list, l.was.Position)
		}
	}
	slices.SortFunc(list, bridge.Position.Compare)
	taken := map[string]bool{}
	for _, p := range list {
		taken[p.Seq] = true
	}
	for _, p := range list[:len(list)-1] {
		if near.Position.After(p) {
			continue
		}
		at := between(verify.Place{Position: p}, taken).Position
		if at.After(near.Position) && list[len(list)-1].After(at) {
			near.Position = at
			return near
		}
	}
	return bridge.Coordinate{}
}

// stranger is a line of another key, with another content.
func (c *copier) stranger(l *line) *line {
	keys := c.strangers
	if keys == nil {
		keys = slices.Sorted(maps.Keys(c.byKey))
	}
	for range 20 {
		list := c.byKey[keys[c.w.rng.IntN(len(keys))]]
		other := list[c.w.rng.IntN(len(list))]
		if string(other.rec.Key) != string(l.rec.Key) && !other.dropped && !other.taken {
			return other
		}
	}
	return nil
}

// window is which window of the source a line falls into.
func (c *copier) window(l *line) int {
	n := 0
	for _, o := range c.lines {
		if o.was.Partition == l.was.Partition && l.was.Position.After(o.was.Position) && !o.copyOf {
			n++
		}
	}
	return n / windowRecords
}
