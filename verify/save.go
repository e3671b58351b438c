package verify

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"sync"

	"github.com/kinesis-msk-bridge/bridge"
)

// saving runs fn and saves the state beside it from time to time.
func (r *run) saving(ctx context.Context, fn func(context.Context) error) error {
	if r.v.Store == nil {
		return fn(ctx)
	}
	work, cancel := context.WithCancelCause(ctx)
	beside, stop := context.WithCancel(ctx)
	var saver sync.WaitGroup
	saver.Go(func() {
		for pause(beside, r.v.SaveEvery) == nil {
			if err := r.save(beside); err != nil && beside.Err() == nil {
				cancel(err)
				return
			}
		}
	})
	err := fn(work)
	stop()
	saver.Wait()
	if cause := context.Cause(work); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	return err
}

// save writes all that is known at one moment: what was read, and up to where.
func (r *run) save(ctx context.Context) error {
	if r.v.Store == nil {
		return nil
	}
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := r.v.Store.Save(ctx, b); err != nil {
		return fmt.Errorf("save the run: %w", err)
	}
	if r.v.Hooks.Saved != nil {
		r.v.Hooks.Saved()
	}
	return nil
}

func (r *run) encode() ([]byte, error) {
	raw, err := r.freeze()
	if err != nil {
		return nil, fmt.Errorf("save the run: %w", err)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("save the run: %w", err)
	}
	_, err = z.Write(raw)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("save the run: %w", err)
	}
	return out.Bytes(), nil
}

// freeze is the book at one moment. It is as large as all tables together, and nobody keeps it:
// the collector lets the heap grow by a multiple of what it finds in use.
func (r *run) freeze() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.Sources {
		if s.seen != nil {
			r.Bitmaps[s.ID], r.Tables[s.ID] = s.seen, s.last
		}
	}
	var frozen bytes.Buffer
	err := gob.NewEncoder(&frozen).Encode(&r.book)
	return frozen.Bytes(), err
}

// load takes up what an earlier process left.
func (r *run) load(ctx context.Context) error {
	if r.v.Store == nil {
		return nil
	}
	b, err := r.v.Store.Load(ctx)
	if err != nil || b == nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("stored run: %w: %w", bridge.ErrState, err)
	}
	var kept book
	if err := gob.NewDecoder(z).Decode(&kept); err != nil {
		return fmt.Errorf("stored run: %w: %w", bridge.ErrState, err)
	}
	if kept.Version != bookVersion {
		return bridge.WithHint(fmt.Errorf("stored run has version %d, this program knows %d: %w", kept.Version, bookVersion, bridge.ErrState),
			"begin a new run")
	}
	if kept.Source != r.source || kept.Target != r.target {
		return bridge.WithHint(fmt.Errorf("the run compared %s with %s: %w", kept.Source, kept.Target, bridge.ErrChanged),
			"source or target was created anew: begin a new run")
	}
	r.adopt(kept)
	return nil
}

// adopt makes a stored book the run's own.
func (r *run) adopt(kept book) {
	blank := r.book
	r.book = kept
	r.Heads = orMap(r.Heads, blank.Heads)
	r.Marks = orMap(r.Marks, blank.Marks)
	r.Bitmaps, r.Tables = orMap(r.Bitmaps, blank.Bitmaps), orMap(r.Tables, blank.Tables)
	r.Sampled, r.Told = orMap(r.Sampled, blank.Sampled), orMap(r.Told, blank.Told)
	r.Farthest, r.BeforeOf = orMap(r.Farthest, blank.Farthest), orMap(r.BeforeOf, blank.BeforeOf)
	r.Overflow, r.Unknown = orMap(r.Overflow, blank.Overflow), orMap(r.Unknown, blank.Unknown)
	for _, s := range r.Sources {
		r.index(s)
		s.seen, s.last = r.Bitmaps[s.ID], r.Tables[s.ID]
		for _, w := range s.Windows {
			r.cells += len(w.Cells)
			r.spans += len(w.Spans)
			if w.Spans == nil && !w.Wide {
				w.Spans = map[int]span{}
			}
		}
	}
	for _, t := range r.Targets {
		t.ready = make(chan struct{})
		if t.HeadLost && len(t.Holes) == 0 { // by an earlier version
			t.Holes = []*hole{{}}
			for p, low := range r.Lows {
				if p.Target == t.Index {
					t.Holes[0].note(p.Source, low, false)
				}
			}
		}
		if t.Done {
			t.finish()
		}
		r.trace(t)
	}
}

func orMap[M ~map[K]V, K comparable, V any](m, otherwise M) M {
	if m == nil {
		return otherwise
	}
	return m
}
