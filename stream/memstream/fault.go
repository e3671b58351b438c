package memstream

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// An OpKind is what is about to be done.
type OpKind string

// The operations that faults are asked about.
const (
	OpIdentity   OpKind = "identity"
	OpPartitions OpKind = "partitions"
	OpEnds       OpKind = "ends"
	OpOpen       OpKind = "open"
	OpRead       OpKind = "read"
	OpBegin      OpKind = "begin"
	// OpAppend is one batch on its way to one partition of a Kafka-like stream.
	OpAppend OpKind = "append"
	// OpPut is one PutRecords call of a Kinesis-like stream, OpPutRecord one record of it.
	OpPut       OpKind = "put"
	OpPutRecord OpKind = "put record"
	OpTail      OpKind = "tail"
	// The stores: Checkpoints, Log and Letters.
	OpLoad         OpKind = "load"
	OpSave         OpKind = "save"
	OpLedgerAppend OpKind = "ledger append"
	OpLedgerRead   OpKind = "ledger read"
	OpLetterPut    OpKind = "letter put"
	OpLetterTail   OpKind = "letter tail"
)

// An Op is one operation that is about to be done.
type Op struct {
	Kind      OpKind
	Partition string // empty if the operation concerns no single one
	N         int    // counts the operations of this kind on this partition, from 1
	Records   int    // that are about to be written; 0 for a read
	Key       []byte // of OpPutRecord
	Worker    string // SinkConfig.Worker of the sink that writes
}

// A Fault is what goes wrong with one operation. The zero Fault is nothing.
type Fault struct {
	// Delay passes before the operation takes effect. It ends early, and the operation
	// fails, if the context ends. Unless the stream is calm, every other write that is
	// given up so takes effect all the same, when the delay is over.
	Delay time.Duration
	// Err is what the operation fails with. A write then fails for these records alone,
	// and the error of each wraps Err.
	Err error
	// Cut makes a write fail as a whole, as if the process had been cut off from the
	// service: the sink is of no more use.
	Cut bool
	// Took says that a write or a save takes effect although it fails. Without Cut, the
	// sink finds that out by itself, as it must, and acknowledges the records.
	Took bool
	// Late, with Took, is how long after the call failed the records arrive.
	Late time.Duration
	// Most bounds the number of records that a read returns; negative is none at all.
	Most int
}

// An injector asks the faults and counts.
type injector struct {
	mu     sync.Mutex
	fn     func(Op) Fault
	counts map[opCounter]int
}

type opCounter struct {
	kind      OpKind
	partition string
}

func newInjector(fn func(Op) Fault) *injector {
	return &injector{fn: fn, counts: map[opCounter]int{}}
}

func (i *injector) set(fn func(Op) Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fn = fn
}

// ask counts the operation and returns its fault. The function is called without the
// lock, so that it may use the stream.
func (i *injector) ask(op Op) Fault {
	i.mu.Lock()
	c := opCounter{op.Kind, op.Partition}
	i.counts[c]++
	op.N = i.counts[c]
	fn := i.fn
	i.mu.Unlock()
	if fn == nil {
		return Fault{}
	}
	return fn(op)
}

// begin asks for the fault and waits out its delay. It fails only if ctx ends.
func (i *injector) begin(ctx context.Context, op Op) (Fault, error) {
	f := i.ask(op)
	if err := sleep(ctx, f.Delay); err != nil {
		return f, fmt.Errorf("%s %s: %w", op.Kind, op.Partition, err)
	}
	return f, nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Rough returns the faults that a stream has unless it is calm. They are retryable ones
// only, and depend on nothing but the seed and the operation: of the reads, a few are
// throttled, fail, are empty or short; of the records and batches that are put, a few are
// refused, and each takes a few milliseconds. A test can call it from a function of its
// own.
func Rough(seed uint64) func(Op) Fault {
	return func(op Op) Fault {
		n := draw(seed, op)
		switch op.Kind {
		case OpRead:
			return roughRead(n)
		case OpPut:
			return Fault{Delay: roughDelay(n)}
		case OpPutRecord, OpAppend:
			var f Fault
			if n%16 == 0 {
				f.Err = fmt.Errorf("%s %d of %s: %w", op.Kind, op.N, op.Partition, bridge.ErrThrottled)
			}
			if op.Kind == OpAppend {
				f.Delay = roughDelay(n)
			}
			return f
		}
		return Fault{}
	}
}

// roughDelay is how long a write is under way, at most 11 ms.
func roughDelay(n uint64) time.Duration { return time.Duration(n/16%12) * time.Millisecond }

func roughRead(n uint64) Fault {
	switch n % 16 {
	case 0:
		return Fault{Err: fmt.Errorf("read: %w", bridge.ErrThrottled)}
	case 1:
		return Fault{Err: fmt.Errorf("read: %w", bridge.ErrTransient)}
	case 2, 3:
		return Fault{Most: -1}
	case 4, 5, 6:
		return Fault{Most: 1 + int(n/16%7)}
	}
	return Fault{}
}

// draw is a number that depends on its arguments alone, whatever else goes on.
func draw(seed uint64, op Op) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %d", seed, op.Kind, op.Partition, op.N)
	// FNV's last steps leave the low bits of similar inputs alike.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
