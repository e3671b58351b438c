package verify

import (
	"context"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// maxGaps is how often in a row a walk may meet a gap without a record between.
const maxGaps = 10

// A walk reads one partition in order, and continues behind what was removed before it came
// there.
type walk struct {
	r       *run
	src     bridge.Source
	side    string // source or target
	id      string
	start   bridge.Start
	through bridge.Position // up to where it was read
	pace    *pace

	reader bridge.Reader
	gaps   int
}

// next returns the next page. If there is a gap before it, next returns the gap alone, and
// the page at the next call.
func (w *walk) next(ctx context.Context) (bridge.Batch, *bridge.GapError, error) {
	b, err := w.read(ctx)
	if gap, ok := gapOf(err, w.through); ok && w.gaps < maxGaps {
		w.gaps++
		w.start = bridge.Start{} // the oldest that is there
		return bridge.Batch{}, gap, w.close()
	}
	if err != nil {
		return b, nil, err
	}
	if w.side == "source" {
		w.r.noteClock(&b)
	}
	for len(b.Records) > 0 && !b.Records[0].Position.After(w.through) {
		b.Records = b.Records[1:] // read before the gap
	}
	if len(b.Records) > 0 {
		w.gaps = 0
	}
	if b.Through.After(w.through) {
		w.through = b.Through.Clone()
	}
	return b, nil, nil
}

func (w *walk) read(ctx context.Context) (bridge.Batch, error) {
	if w.reader == nil {
		reader, err := w.r.open(ctx, w.src, w.side+" "+w.id, w.id, w.start, w.pace)
		if err != nil {
			return bridge.Batch{}, fmt.Errorf("open %s: %w", w.id, err)
		}
		w.reader = reader
	}
	b, err := w.r.readOn(ctx, w.reader, w.pace)
	if err != nil {
		return b, fmt.Errorf("read %s: %w", w.id, err)
	}
	return b, nil
}

func (w *walk) close() error {
	if w.reader == nil {
		return nil
	}
	err := w.reader.Close()
	w.reader = nil
	return err
}
