package kinesistest

import (
	"sync/atomic"
	"time"
)

// A Call is what a fault or deny function is told about a request, before the server has
// done anything with it.
type Call struct {
	// Op is the operation, such as "PutRecords".
	Op string
	// N counts the calls of this operation on this server, from 1, refused ones included.
	N int
	// Stream is the name of the stream that the call is about; "" for ListStreams and
	// DescribeLimits.
	Stream string
	// Shard is the shard that the call names or whose iterator it carries; "" if it is
	// about no single shard, as PutRecords.
	Shard string
	// AccessKeyID and Region stand in the request's signature.
	AccessKeyID, Region string
	// Entries are the records of PutRecord and PutRecords, in order. They belong to the
	// server and may be used during the call of the function only.
	Entries []Entry
}

// An Entry is one record of a put.
type Entry struct {
	// Key is the partition key.
	Key string
	// ExplicitHashKey is the decimal hash key, "" if there is none.
	ExplicitHashKey string
	// Data is the value.
	Data []byte
}

// A Fault is what goes wrong with one call. The zero Fault is none. The parts happen in
// the order of the fields, each if it is set: a call can be held back, carried out, and
// its answer cut.
type Fault struct {
	// Delay holds the call back before anything is done with it, by the server's clock
	// (Config.After). The operation is carried out even if the client has gone by then: a
	// put that timed out may still land.
	Delay time.Duration
	// Wait holds the call back until the channel is closed or delivers, after Delay.
	Wait <-chan struct{}
	// Error is answered instead of doing anything.
	Error *Error
	// Cut closes the connection instead of doing anything.
	Cut bool

	// FailEntries makes PutRecords refuse the entries with these indexes, with the given
	// error code ("" is ProvisionedThroughputExceededException; the service also knows
	// InternalFailure). Entries before and behind them are stored.
	FailEntries map[int]string
	// Shuffle other than 0 is the seed of the order in which PutRecords stores its
	// entries: the service does not promise the order of the request.
	Shuffle uint64
	// Empty makes GetRecords answer no records although there are some, with an iterator
	// at the same place, as the service may.
	Empty bool

	// LateDelay, LateWait, LateError and LateCut are like those above, but come after the
	// operation was carried out: what was put is stored, whatever the caller is told.
	LateDelay time.Duration
	LateWait  <-chan struct{}
	LateError *Error
	LateCut   bool
	// Truncate sends the head and half of the body of the answer, and closes the
	// connection.
	Truncate bool
}

// isZero says that nothing goes wrong.
func (f *Fault) isZero() bool {
	return !f.holds() && f.Error == nil && !f.Cut && f.FailEntries == nil && f.Shuffle == 0 && !f.Empty &&
		f.LateError == nil && !f.LateCut && !f.Truncate
}

func (f *Fault) holds() bool {
	return f.Delay != 0 || f.Wait != nil || f.LateDelay != 0 || f.LateWait != nil
}

// FaultFunc decides about a call. It is called concurrently.
type FaultFunc func(Call) Fault

// OnNth is a FaultFunc that gives the fault to the n-th call of an operation, counted from
// the server's start (Call.N), and lets all others pass.
func OnNth(op string, n int, f Fault) FaultFunc {
	return func(c Call) Fault {
		if c.Op == op && c.N == n {
			return f
		}
		return Fault{}
	}
}

// Next is a FaultFunc that gives the fault to the next n calls of an operation that come
// after it was set, and lets all others pass.
func Next(op string, n int, f Fault) FaultFunc {
	var used atomic.Int64
	return func(c Call) Fault {
		if c.Op == op && used.Add(1) <= int64(n) {
			return f
		}
		return Fault{}
	}
}
