package mirror

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	defaultMemory   = 1 << 30
	defaultReadMost = 16 << 20 // a page of 10 MiB, and what it takes to decode it
	// recordOverhead is what a record takes beside its bytes.
	recordOverhead = 256
)

// A memory is the byte budget of a run. How large an answer is shows only when it is
// there, so the worst case is reserved before it is asked for; with many partitions fewer
// of them read at a time.
type memory struct {
	left *semaphore.Weighted
	all  int64
	most int64 // of one read
}

func newMemory(m *Mirror) memory {
	most := orElse(m.ReadMost, defaultReadMost)
	all := max(orElse(m.Memory, defaultMemory), most)
	return memory{semaphore.NewWeighted(all), all, most}
}

// read reads when there is room for the largest answer, and returns with it how many bytes
// it holds, which the caller must release. What a reader only waits for takes no room.
func (m memory) read(ctx context.Context, r bridge.Reader) (p page, err error) {
	if w, ok := r.(bridge.Waiter); ok {
		if err := w.Wait(ctx); err != nil {
			return page{}, err
		}
	}
	if err := m.left.Acquire(ctx, m.most); err != nil {
		return page{}, err
	}
	if p.batch, err = r.Read(ctx); err == nil {
		p.held = min(size(p.batch.Records), m.all)
	}
	if p.held <= m.most {
		m.left.Release(m.most - p.held)
		return p, err
	}
	// A compressed batch can be larger than any answer. It waits for its room, holding none
	// meanwhile: two that held some and waited for more could wait for each other.
	m.left.Release(m.most)
	if err := m.left.Acquire(ctx, p.held); err != nil {
		return page{}, err
	}
	return p, nil
}

func (m memory) release(p page) { m.left.Release(p.held) }

func size(recs []bridge.Record) (n int64) {
	for i := range recs {
		n += int64(recs[i].Size()) + recordOverhead
	}
	return n
}
