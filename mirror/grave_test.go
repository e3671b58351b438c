package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A grave decides by the number of a row what becomes of it, and keeps what is dead. A
// nil grave carries everything.
type grave struct {
	letters *memstream.Letters
	policy  mirror.Policy

	mu     sync.Mutex
	hooked map[bridge.Coordinate]int // letters that hooks told of
	drops  map[bridge.Coordinate]bool
}

const (
	carried   = ""
	isDropped = "dropped"
	// graveSize is what the target takes; oversize rows are padded with blanks.
	graveSize = 200
)

func newGrave(letters *memstream.Letters) *grave {
	return &grave{
		letters: letters,
		policy:  mirror.Policy{Oversize: mirror.DeadLetter, Undecodable: mirror.DeadLetter, Unmappable: mirror.DeadLetter},
		hooked:  map[bridge.Coordinate]int{}, drops: map[bridge.Coordinate]bool{},
	}
}

func (g *grave) fate(row int) string {
	switch {
	case g == nil:
		return carried
	case row%13 == 5:
		return bridge.ClassOversize
	case row%17 == 3:
		return bridge.ClassUndecodable
	case row%19 == 2:
		return isDropped
	case row%23 == 7:
		return bridge.ClassUnmappable
	}
	return carried
}

func (g *grave) value(row int) []byte {
	v := []byte(strconv.Itoa(row))
	if g.fate(row) == bridge.ClassOversize {
		v = append(v, bytes.Repeat([]byte(" "), graveSize)...)
	}
	return v
}

func rowOf(value []byte) (int, error) { return strconv.Atoi(string(bytes.TrimRight(value, " "))) }

// into makes a mirror that carries what this grave lets pass.
func (g *grave) into(m *mirror.Mirror) *mirror.Mirror {
	if g == nil {
		return m
	}
	m.Source, m.Keys = graveSource{m.Source, g}, graveKeys{m.Keys, g}
	m.Policy, m.DeadLetters = g.policy, g.letters.Open("wf")
	m.Hooks.DeadLettered = func(l bridge.DeadLetter) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.hooked[l.Origin]++
	}
	m.Hooks.Dropped = func(at bridge.Coordinate, reason error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.drops[at] = errors.Is(reason, bridge.ErrDropped)
	}
	return m
}

// A graveSource refuses records as a source does that takes aggregates apart.
type graveSource struct {
	bridge.Source
	g *grave
}

func (s graveSource) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	r, err := s.Source.Open(ctx, partition, from)
	return graveReader{r, s.g}, err
}

type graveReader struct {
	bridge.Reader
	g *grave
}

func (r graveReader) Read(ctx context.Context) (bridge.Batch, error) {
	b, err := r.Reader.Read(ctx)
	for i := range b.Records {
		row, bad := rowOf(b.Records[i].Value)
		if bad != nil {
			return b, bad
		}
		switch r.g.fate(row) {
		case bridge.ClassUndecodable:
			b.Records[i].Refused = fmt.Errorf("row %d is damaged: %w", row, bridge.ErrUndecodable)
		case isDropped:
			b.Records[i].Refused = fmt.Errorf("row %d is in the wrong shard: %w", row, bridge.ErrDropped)
		}
	}
	return b, err
}

type graveKeys struct {
	keymap.Strategy
	g *grave
}

func (k graveKeys) Route(r *bridge.Record) (keymap.Route, error) {
	if row, err := rowOf(r.Value); err != nil || k.g.fate(row) == bridge.ClassUnmappable {
		return keymap.Route{}, fmt.Errorf("row %d: %w", row, bridge.ErrUnmappable)
	}
	return k.Strategy.Route(r)
}
