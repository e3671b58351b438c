package kinesistest

import (
	"strconv"
	"time"
)

// splitShardInput is SplitShard.
type splitShardInput struct {
	address
	ShardToSplit       string
	NewStartingHashKey string
}

func (in *splitShardInput) describe(_ *Server, c *Call, _ bool) {
	c.Stream, c.Shard = in.nameOf(), in.ShardToSplit
}

func (in *splitShardInput) run(r *request) (any, *Error) {
	at, perr := parseHashKey(in.NewStartingHashKey)
	if perr != nil {
		return nil, invalid("newStartingHashKey", in.NewStartingHashKey, "satisfy regular expression pattern: 0|([1-9]\\d{0,38})")
	}
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	have := r.srv.usage(r.now).shards
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.reshardable(); err != nil {
		return nil, err
	}
	sh, err := st.openShard(in.ShardToSplit, r.now)
	if err != nil {
		return nil, err
	}
	if err := r.srv.shardQuota(have, 1); err != nil {
		return nil, err
	}
	if at.cmp(sh.first.next()) <= 0 || at.cmp(sh.last) >= 0 {
		return nil, invalidArgument("NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than one plus "+
			"the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.", at, sh.id, st.name, r.srv.cfg.Account, sh.first, sh.last)
	}
	st.later(r.now, statusUpdating, func() {
		st.split(st.changedAt(r.now), sh, at)
		st.status = statusActive
	})
	return nil, nil
}

// changedAt is when a change that was asked for at asked takes place.
func (st *Stream) changedAt(asked int64) int64 {
	return asked + max(0, st.srv.cfg.StatusDelay.Milliseconds())
}

// reshardable refuses what only an active stream in provisioned mode can do. The caller
// holds the stream's lock, as for openShard.
func (st *Stream) reshardable() *Error {
	if st.status != statusActive {
		return st.busy()
	}
	if st.mode != Provisioned {
		return clientError("ValidationException", "Request is invalid. Stream %s under account %s is in On-Demand mode.", st.name, st.srv.cfg.Account)
	}
	return nil
}

// openShard finds an open shard, or says why it cannot be resharded.
func (st *Stream) openShard(id string, now int64) (*shard, *Error) {
	sh := st.shard(id, now)
	if sh == nil {
		return nil, notFound("Could not find shard %s in stream %s under account %s.", id, st.name, st.srv.cfg.Account)
	}
	if sh.closed {
		return nil, invalidArgument("Shard %s in stream %s under account %s is not open.", id, st.name, st.srv.cfg.Account)
	}
	return sh, nil
}

// mergeShardsInput is MergeShards.
type mergeShardsInput struct {
	address
	ShardToMerge         string
	AdjacentShardToMerge string
}

func (in *mergeShardsInput) describe(_ *Server, c *Call, _ bool) {
	c.Stream, c.Shard = in.nameOf(), in.ShardToMerge
}

func (in *mergeShardsInput) run(r *request) (any, *Error) {
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.reshardable(); err != nil {
		return nil, err
	}
	a, err := st.openShard(in.ShardToMerge, r.now)
	if err != nil {
		return nil, err
	}
	b, err := st.openShard(in.AdjacentShardToMerge, r.now)
	if err != nil {
		return nil, err
	}
	if !adjoin(a, b) {
		return nil, invalidArgument("Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging",
			a.id, b.id, st.name, r.srv.cfg.Account)
	}
	st.later(r.now, statusUpdating, func() {
		st.merge(st.changedAt(r.now), a, b)
		st.status = statusActive
	})
	return nil, nil
}

// updateShardCountInput is UpdateShardCount.
type updateShardCountInput struct {
	address
	TargetShardCount *int
	ScalingType      string
}

type updateShardCountOutput struct {
	StreamName        string
	StreamARN         string
	CurrentShardCount int
	TargetShardCount  int
}

func (in *updateShardCountInput) run(r *request) (any, *Error) {
	if in.TargetShardCount == nil || *in.TargetShardCount < 1 {
		return nil, invalid("targetShardCount", "null", "have value greater than or equal to 1")
	}
	if in.ScalingType != "UNIFORM_SCALING" {
		return nil, invalid("scalingType", in.ScalingType, "satisfy enum value set: [UNIFORM_SCALING]")
	}
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	have := r.srv.usage(r.now).shards
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.reshardable(); err != nil {
		return nil, err
	}
	now, target := len(st.open), *in.TargetShardCount
	if err := st.scalable(r, target, have); err != nil {
		return nil, err
	}
	st.countTimes = append(st.countTimes, r.now)
	st.later(r.now, statusUpdating, func() {
		st.scale(st.changedAt(r.now), target)
		st.status = statusActive
	})
	return &updateShardCountOutput{st.name, st.ARN(), now, target}, nil
}

// scalable holds the limits of UpdateShardCount. The caller holds the stream's lock.
func (st *Stream) scalable(r *request, target, have int) *Error {
	now, l := len(st.open), r.srv.cfg.Limits
	if target == now {
		return invalidArgument("TargetShardCount %d is the current open shard count of stream %s.", target, st.name)
	}
	if l.Off {
		return nil
	}
	if target > 2*now {
		return invalidArgument("UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: %d Target shard count: %d", now, target)
	}
	if 2*target < now {
		return invalidArgument("UpdateShardCount cannot scale down below half your current open shard count. Current open shard count: %d Target shard count: %d", now, target)
	}
	if target > l.StreamShards {
		return limitExceeded("TargetShardCount %d is more than the limit of %d shards in a stream.", target, l.StreamShards)
	}
	st.countTimes = within(st.countTimes, r.now, 24*time.Hour)
	if len(st.countTimes) >= 10 {
		return limitExceeded("UpdateShardCount of stream %s was called %s times within the last 24 hours.", st.name, strconv.Itoa(len(st.countTimes)))
	}
	return r.srv.shardQuota(have, target-now)
}

// within drops the times that are not within d before now.
func within(times []int64, now int64, d time.Duration) []int64 {
	for len(times) > 0 && times[0] <= now-d.Milliseconds() {
		times = times[1:]
	}
	return times
}
