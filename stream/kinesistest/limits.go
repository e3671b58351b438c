package kinesistest

import "cmp"

// The sizes that a request may have. They are part of the protocol and cannot be switched
// off.
const (
	// MaxRecords is the most records that one PutRecords may carry.
	MaxRecords = 500
	// MaxRequestBytes bounds data and partition keys of one PutRecords, and what one
	// GetRecords answers.
	MaxRequestBytes = 10 << 20
	// MaxKeyChars is the longest partition key, in UTF-16 units.
	MaxKeyChars = 256
	// MaxPage is the most records that one GetRecords answers.
	MaxPage = 10_000
)

// Limits are the rates and quotas that the service enforces. Every field that is zero
// stands for the value of the service. Rates are token buckets that hold one second's
// worth, per shard, on the server's clock.
type Limits struct {
	// Off switches every rate and quota of this struct off, and those of the control
	// plane (calls a second per operation, changes a day). The sizes of requests and
	// records stay.
	Off bool

	// WriteRecords a second a shard: 1,000.
	WriteRecords int
	// WriteBytes a second a shard, keys included: 1 MiB. A record larger than that is
	// taken while anything is left, and then blocks the shard until it is paid for.
	WriteBytes int
	// ReadCalls is GetRecords calls a second a shard: 5.
	ReadCalls int
	// ReadBytes a second a shard: 2 MiB. An answer of more blocks the shard for as long as
	// it takes to pay for all of it: 10 MiB for 5 s.
	ReadBytes int
	// IteratorCalls is GetShardIterator calls a second a shard: 5.
	IteratorCalls int
	// Shards is how many open shards the account may have: 20,000.
	Shards int
	// StreamShards is how many shards UpdateShardCount may reach: 10,000.
	StreamShards int
	// OnDemandStreams is how many streams in on-demand mode the account may have: 50.
	OnDemandStreams int
}

func (l Limits) withDefaults() Limits {
	l.WriteRecords = cmp.Or(l.WriteRecords, 1000)
	l.WriteBytes = cmp.Or(l.WriteBytes, 1<<20)
	l.ReadCalls = cmp.Or(l.ReadCalls, 5)
	l.ReadBytes = cmp.Or(l.ReadBytes, 2<<20)
	l.IteratorCalls = cmp.Or(l.IteratorCalls, 5)
	l.Shards = cmp.Or(l.Shards, 20_000)
	l.StreamShards = cmp.Or(l.StreamShards, 10_000)
	l.OnDemandStreams = cmp.Or(l.OnDemandStreams, 50)
	return l
}

// bucket is a token bucket that holds one second's worth. It counts in thousandths, so
// that a millisecond's worth is a whole number. The zero bucket is full.
type bucket struct {
	used int64 // thousandths taken and not yet given back; more than the rate is a debt
	last int64 // unix ms of the last look
}

// left gives back what time has earned and returns how many tokens there are; not more
// than rate, and negative while a debt is being paid.
func (b *bucket) left(now int64, rate int) int64 {
	if now > b.last {
		if d := now - b.last; d > b.used/int64(rate) {
			b.used = 0
		} else {
			b.used -= d * int64(rate)
		}
	}
	b.last = now
	free := int64(rate)*1000 - b.used
	if free < 0 {
		return -((-free + 999) / 1000)
	}
	return free / 1000
}

// take removes n tokens, whether they are there or not.
func (b *bucket) take(n int) { b.used += int64(n) * 1000 }

// takeAll leaves a debt of n tokens whatever was there before.
func (b *bucket) takeAll(n, rate int) { b.used = int64(n+rate) * 1000 }

// controlRate is how many calls a second the service allows for an operation of the
// control plane, per account; 0 if it is limited per shard or not at all.
func controlRate(op string) int {
	switch op {
	case "DescribeLimits":
		return 1
	case "CreateStream", "DeleteStream", "ListStreams", "SplitShard", "MergeShards",
		"AddTagsToStream", "RemoveTagsFromStream", "ListTagsForStream",
		"TagResource", "UntagResource", "ListTagsForResource",
		"IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod",
		"StartStreamEncryption", "StopStreamEncryption",
		"UpdateStreamMode", "UpdateMaxRecordSize", "UpdateStreamRecordDistributionStrategy":
		return 5
	case "DescribeStream", "UpdateShardCount":
		return 10
	case "DescribeStreamSummary":
		return 20
	case "ListShards":
		return 1000
	}
	return 0
}
