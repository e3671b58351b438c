package kinesistest

import (
	"maps"
	"strconv"
	"time"
)

// createStreamInput is CreateStream.
type createStreamInput struct {
	StreamName                 string
	ShardCount                 *int
	StreamModeDetails          *modeDetails
	MaxRecordSizeInKiB         *int
	RecordDistributionStrategy string
	Tags                       map[string]string
}

func (in *createStreamInput) describe(_ *Server, c *Call, _ bool) { c.Stream = in.StreamName }

func (in *createStreamInput) mode() string {
	if in.StreamModeDetails == nil {
		return Provisioned
	}
	return in.StreamModeDetails.StreamMode
}

func (in *createStreamInput) shards() int {
	if in.mode() == OnDemand {
		return onDemandShards
	}
	return *in.ShardCount
}

// check holds the rules about the request alone.
func (in *createStreamInput) check() *Error {
	if !validName(in.StreamName) {
		return invalid("streamName", in.StreamName, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	}
	switch in.mode() {
	case Provisioned:
		if in.ShardCount == nil {
			return invalid("shardCount", "null", "not be null")
		}
		if *in.ShardCount < 1 {
			return invalid("shardCount", strconv.Itoa(*in.ShardCount), "have value greater than or equal to 1")
		}
	case OnDemand:
		if in.ShardCount != nil {
			return clientError("ValidationException", "ShardCount must not be specified for a stream in mode ON_DEMAND")
		}
	default:
		return invalid("streamModeDetails.streamMode", in.mode(), "satisfy enum value set: [PROVISIONED, ON_DEMAND]")
	}
	if in.MaxRecordSizeInKiB != nil {
		if err := checkRecordSize(*in.MaxRecordSizeInKiB); err != nil {
			return err
		}
	}
	if err := checkStrategy(in.RecordDistributionStrategy, in.mode()); err != nil {
		return err
	}
	return checkTags(in.Tags, len(in.Tags))
}

func checkRecordSize(kib int) *Error {
	if kib < minRecordKiB || kib > maxRecordKiB {
		return invalid("maxRecordSizeInKiB", strconv.Itoa(kib), "have value between 1024 and 10240")
	}
	return nil
}

func checkStrategy(strategy, mode string) *Error {
	switch strategy {
	case "", UserPartitionKey, Auto:
		if strategy == Auto && mode != OnDemand {
			return invalidArgument("The record distribution strategy AUTO is only supported for streams in mode ON_DEMAND")
		}
		return nil
	}
	return invalid("recordDistributionStrategy", strategy, "satisfy enum value set: [AUTO, USER_PARTITION_KEY]")
}

func (in *createStreamInput) run(r *request) (any, *Error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := in.quota(r); err != nil {
		return nil, err
	}
	st, err := r.srv.register(in, r.now)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.later(r.now, statusCreating, func() { st.populate(r.now, in.shards()) })
	return nil, nil
}

// quota holds the account's limits.
func (in *createStreamInput) quota(r *request) *Error {
	l := r.srv.cfg.Limits
	if l.Off {
		return nil
	}
	u := r.srv.usage(r.now)
	if u.creating >= 5 {
		return limitExceeded("Account %s already has %d streams in the state CREATING", r.srv.cfg.Account, u.creating)
	}
	if in.mode() == OnDemand && u.onDemand >= l.OnDemandStreams {
		return limitExceeded("Account %s already has %d streams in mode ON_DEMAND", r.srv.cfg.Account, u.onDemand)
	}
	return r.srv.shardQuota(u.shards, in.shards())
}

// shardQuota refuses more shards than the account may have.
func (s *Server) shardQuota(have, more int) *Error {
	if s.cfg.Limits.Off || have+more <= s.cfg.Limits.Shards {
		return nil
	}
	return limitExceeded("This request would exceed the shard limit for the account %s in %s. Current shard count for the account: %d. Limit: %d. "+
		"Number of additional shards that would have resulted from this request: %d.", s.cfg.Account, s.cfg.Region, have, s.cfg.Limits.Shards, more)
}

// usage is what the account has.
type usage struct{ shards, onDemand, creating int }

func (s *Server) usage(now int64) usage {
	var u usage
	for _, st := range s.all(now) {
		st.mu.RLock()
		u.shards += len(st.open)
		if st.mode == OnDemand {
			u.onDemand++
		}
		if st.status == statusCreating {
			u.creating++
		}
		st.mu.RUnlock()
	}
	return u
}

// register makes a stream without shards under a free name.
func (s *Server) register(in *createStreamInput, now int64) (*Stream, *Error) {
	s.stream(in.StreamName, now) // lets a deletion that is due take place
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[in.StreamName] != nil {
		return nil, inUse("Stream %s under account %s already exists.", in.StreamName, s.cfg.Account)
	}
	created := floorSeconds(now) * 1000
	if last, ok := s.last[in.StreamName]; ok {
		created = max(created, last+time.Second.Milliseconds())
	}
	st := &Stream{
		srv: s, name: in.StreamName, created: created, mode: in.mode(), status: statusCreating,
		retention: minRetentionHours, recordKiB: minRecordKiB, strategy: UserPartitionKey,
		tags: maps.Clone(in.Tags),
	}
	if st.tags == nil {
		st.tags = map[string]string{}
	}
	if in.MaxRecordSizeInKiB != nil {
		st.recordKiB = *in.MaxRecordSizeInKiB
	}
	if in.RecordDistributionStrategy != "" {
		st.strategy = in.RecordDistributionStrategy
	}
	st.mark = s.marks
	s.marks++
	s.streams[st.name], s.last[st.name] = st, created
	return st, nil
}

// deleteStreamInput is DeleteStream.
type deleteStreamInput struct{ address }

func (in *deleteStreamInput) run(r *request) (any, *Error) {
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	if st.status != statusActive {
		st.mu.Unlock()
		return nil, st.busy()
	}
	st.later(r.now, statusDeleting, func() { st.gone = true })
	st.mu.Unlock()
	r.srv.stream(st.name, r.now) // takes it off the list if it is gone already
	return nil, nil
}

// busy is the refusal to change a stream that is not active.
func (st *Stream) busy() *Error {
	return inUse("Stream %s under account %s not ACTIVE, instead in state %s", st.name, st.srv.cfg.Account, st.status)
}

// listStreamsInput is ListStreams.
type listStreamsInput struct {
	ExclusiveStartStreamName string
	NextToken                string
	Limit                    *int
}

type listStreamsOutput struct {
	HasMoreStreams  bool
	NextToken       string `json:",omitempty"`
	StreamNames     []string
	StreamSummaries []streamSummary
}

type streamSummary struct {
	StreamARN               string
	StreamName              string
	StreamStatus            string
	StreamCreationTimestamp timestamp
	StreamModeDetails       modeDetails
}

func (in *listStreamsInput) describe(*Server, *Call, bool) {}

func (in *listStreamsInput) run(r *request) (any, *Error) {
	limit := 100
	if in.Limit != nil {
		if *in.Limit < 1 || *in.Limit > 10_000 {
			return nil, invalid("limit", strconv.Itoa(*in.Limit), "have value between 1 and 10000")
		}
		limit = min(limit, *in.Limit)
	}
	start := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		token, ok := r.srv.openToken(in.NextToken)
		if !ok {
			return nil, invalidArgument("NextToken is invalid.")
		}
		start = token.after
	}
	out := &listStreamsOutput{StreamNames: []string{}, StreamSummaries: []streamSummary{}}
	for _, st := range r.srv.all(r.now) {
		if st.name <= start {
			continue
		}
		if len(out.StreamNames) == limit {
			out.HasMoreStreams = true
			out.NextToken = r.srv.sealToken(pageToken{after: out.StreamNames[limit-1], issued: r.now})
			break
		}
		st.mu.RLock()
		out.StreamNames = append(out.StreamNames, st.name)
		out.StreamSummaries = append(out.StreamSummaries, streamSummary{
			st.ARN(), st.name, st.status, timestamp(st.created), modeDetails{st.mode}})
		st.mu.RUnlock()
	}
	return out, nil
}

// describeLimitsInput is DescribeLimits.
type describeLimitsInput struct{}

type describeLimitsOutput struct {
	OnDemandStreamCount, OnDemandStreamCountLimit int
	OpenShardCount, ShardLimit                    int
}

func (in *describeLimitsInput) describe(*Server, *Call, bool) {}

func (in *describeLimitsInput) run(r *request) (any, *Error) {
	u, l := r.srv.usage(r.now), r.srv.cfg.Limits
	return &describeLimitsOutput{u.onDemand, l.OnDemandStreams, u.shards, l.Shards}, nil
}
