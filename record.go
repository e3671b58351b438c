package bridge

import "time"

// A Header is one named value beside a record's payload. A stream may hold several of
// one name; their order is kept.
type Header struct {
	Key   string
	Value []byte // nil and empty differ
}

// A Record is one message, whichever service it came from. Its slices belong to whoever
// made it and must not be changed by those who are handed it.
type Record struct {
	// Key is what order is promised by: among equal non-nil keys. A nil key is a
	// Kafka null key and carries no order; Kinesis knows none. To write into Kinesis it
	// holds the partition key, already mapped.
	Key []byte
	// Value is the payload. Nil is a Kafka tombstone, which an empty value is not.
	Value   []byte
	Headers []Header
	// Time is the record timestamp of Kafka (CreateTime) or Kinesis'
	// ApproximateArrivalTimestamp, in whole milliseconds.
	Time time.Time
	// Arrived is when the service took the record, by the service's clock: Kinesis'
	// ApproximateArrivalTimestamp, or the timestamp of a Kafka topic with LogAppendTime.
	// Zero if the service does not say. Only a source sets it, no format restores it and a
	// sink ignores it. Goals, limits and lag use it; Time is only carried.
	Arrived time.Time
	// Partition is, on a record that was read, where it stood, and on one to be written
	// where it must go. Empty lets the service place it by Key.
	Partition string
	// Position is where a record that was read stood. A sink ignores it.
	Position Position
	// Origin is the coordinate that the record carries. On a record that was read it is
	// set only if the record was written by the reader's own workflow and its tag holds;
	// on one to be written it is what the sink makes durable beside the record.
	Origin Coordinate
	// CameFrom is the stream that the provenance of another workflow names as its source, the
	// String of its Identity. A source sets it only if it knows that stream (StampConfig.Known)
	// and the format leaves it to mirrors alone to write provenance: kpl and envelope. A Kafka
	// header can be one that a consumer copied, so there it stays empty.
	CameFrom string
	// Foreign says that the record carried a provenance header that names the reader's
	// own workflow but whose tag does not hold: somebody copied it. Such a record is data.
	Foreign bool
	// Refused, on a record that was read, says why it is not to be carried like others. It
	// wraps ErrUndecodable if what stood there is damaged, or ErrDropped if the stream's
	// own readers are never given it. Key and Value are what could be read of it.
	Refused error
	// Subs is the number of user records in the Kinesis record that this one came in,
	// 1 for a plain one.
	Subs uint32
}

// IsBack reports whether the record came from the stream or topic named, and a mirror that
// writes there must not carry it: its own workflow or another one brought it from there.
func (r *Record) IsBack(target string) bool {
	return target != "" && (r.Origin.Stream == target || r.CameFrom == target)
}

// Size is the number of bytes of key, value and headers, the measure of byte budgets.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
