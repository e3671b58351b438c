package kafkastream

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// Kafka keeps the time of a record as a base in the header of its batch and a delta in the
// record, both in milliseconds since 1970 and both of 64 bits; -1 is no time at all. sarama
// holds the base as a time that it encodes by its nanoseconds, and the delta as a
// time.Duration. This file is what lies between.

const (
	noTime = -1
	// mostNanos is the largest number of milliseconds that sarama encodes: as a base, from
	// 1970 to 2262, and as a delta, either way.
	mostNanos = math.MaxInt64 / int64(time.Millisecond)
)

// millisOf is the time as Kafka keeps it.
func millisOf(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.UnixMilli()
}

// timeOf is the time that Kafka keeps as ms; zero if it is none.
func timeOf(ms int64) time.Time {
	if ms == noTime {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// checkTime reports a time that no batch of ours can hold.
func checkTime(t time.Time, recompressed bool) error {
	switch ms := millisOf(t); {
	case ms < -mostNanos || ms > 2*mostNanos:
		return bridge.WithHint(fmt.Errorf("record time %s (%d ms): only the years 1677 to 2554 can be written to Kafka: %w", t.UTC().Format(time.RFC3339), ms, bridge.ErrUnmappable),
			"let the policy for unmappable records move it to the dead letters")
	case ms < noTime && recompressed:
		return bridge.WithHint(fmt.Errorf("record time %s: brokers cannot store a time before 1970 in a topic that they compress anew: %w", t.UTC().Format(time.RFC3339), bridge.ErrUnmappable),
			"set compression.type=producer on the topic")
	}
	return nil
}

// baseOf is the base for a batch that begins with a record of this time.
func baseOf(t time.Time) time.Time { return time.UnixMilli(min(max(millisOf(t), 0), mostNanos)) }

// deltaOf is the delta of a time, and whether it can be encoded with this base.
func deltaOf(t, base time.Time) (time.Duration, bool) {
	ms := millisOf(t) - base.UnixMilli()
	return time.Duration(ms) * time.Millisecond, ms >= -mostNanos && ms <= mostNanos
}

// deltaMillis is the delta of a record as it was read. sarama multiplies it by a million,
// which overflows for deltas above 292 years: what is left of it modulo 2^64 determines it,
// because a million is 64 times an odd number.
func deltaMillis(d time.Duration) int64 {
	const inverse = 76480200929599801 // of 15625 modulo 2^58
	return int64(uint64(d)>>6*inverse<<6) >> 6
}

// time is when record r was produced, or appended on a topic that says so. It is zero if
// the record has no timestamp.
func (b *batch) time(r *sarama.Record) time.Time {
	if b.LogAppendTime {
		return b.MaxTimestamp.UTC()
	}
	return timeOf(b.base() + deltaMillis(r.TimestampDelta))
}

// base is the base of the record times. sarama reads a negative one as none; the broker's
// maximum of all times then tells what it was. If that is negative, too, the base is that
// of a batch whose first record has no time.
func (b *batch) base() int64 {
	switch {
	case !b.FirstTimestamp.IsZero():
		return b.FirstTimestamp.UnixMilli()
	case b.MaxTimestamp.IsZero() || len(b.Records) == 0:
		return noTime
	case !b.based:
		most := int64(math.MinInt64)
		for _, r := range b.Records {
			most = max(most, deltaMillis(r.TimestampDelta))
		}
		b.first, b.based = b.MaxTimestamp.UnixMilli()-most, true
	}
	return b.first
}

// timesLost reports whether the records have times before 1970 that sarama does not tell:
// all of them are, and they differ.
func (b *batch) timesLost() bool {
	if b.Version != 2 || b.LogAppendTime || !b.FirstTimestamp.IsZero() || !b.MaxTimestamp.IsZero() {
		return false
	}
	return slices.ContainsFunc(b.Records, func(r *sarama.Record) bool { return r.TimestampDelta != 0 })
}

var errTimesLost = bridge.WithHint(fmt.Errorf("a batch whose record times are all before 1970 and differ: they cannot be read: %w", bridge.ErrUndecodable),
	"let the policy for undecodable records move it to the dead letters")

// trim cuts from a piece the first entry that cannot be encoded, which is refused, and what
// stands behind it, which is held back.
func (pc *piece) trim(recompressed bool) {
	for i := range pc.entries {
		if err := checkTime(pc.entries[i].time, recompressed); err != nil {
			pc.err, pc.refused = err, i
			for j := i; j < len(pc.entries); j++ {
				pc.offsets[j] = -1
			}
			pc.left -= len(pc.entries) - i
			pc.entries = pc.entries[:i]
			return
		}
	}
}

// unencodable reports whether err says that a request was never sent, because something in
// it cannot be encoded.
func unencodable(err error) bool {
	var encode sarama.PacketEncodingError
	return errors.As(err, &encode)
}
