package kinesistest

import "strconv"

// describeStreamInput is DescribeStream.
type describeStreamInput struct {
	address
	ExclusiveStartShardId string
	Limit                 *int
}

type streamDescription struct {
	StreamName              string
	StreamARN               string
	StreamStatus            string
	StreamModeDetails       modeDetails
	Shards                  []shardJSON
	HasMoreShards           bool
	RetentionPeriodHours    int
	StreamCreationTimestamp timestamp
	EnhancedMonitoring      []enhancedMetrics
	EncryptionType          string
	KeyId                   string `json:",omitempty"`
}

type describeStreamOutput struct{ StreamDescription streamDescription }

func (in *describeStreamInput) run(r *request) (any, *Error) {
	limit := 100
	if in.Limit != nil {
		if *in.Limit < 1 || *in.Limit > 10_000 {
			return nil, invalid("limit", strconv.Itoa(*in.Limit), "have value between 1 and 10000")
		}
		limit = min(limit, *in.Limit)
	}
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	d := st.description()
	for _, sh := range st.shards {
		if sh.id <= in.ExclusiveStartShardId || st.hasExpired(sh, r.now) {
			continue
		}
		if len(d.Shards) == limit {
			d.HasMoreShards = true
			break
		}
		d.Shards = append(d.Shards, sh.describe())
	}
	return &describeStreamOutput{d}, nil
}

// description is the part of DescribeStream without the shards. The caller holds the
// stream's lock.
func (st *Stream) description() streamDescription {
	return streamDescription{
		StreamName: st.name, StreamARN: st.ARN(), StreamStatus: st.status,
		StreamModeDetails: modeDetails{st.mode}, Shards: []shardJSON{},
		RetentionPeriodHours: st.retention, StreamCreationTimestamp: timestamp(st.created),
		EnhancedMonitoring: []enhancedMetrics{{[]string{}}},
		EncryptionType:     st.encryption(), KeyId: st.keyID,
	}
}

// describeSummaryInput is DescribeStreamSummary.
type describeSummaryInput struct{ address }

type streamDescriptionSummary struct {
	StreamName                 string
	StreamARN                  string
	StreamStatus               string
	StreamModeDetails          modeDetails
	RetentionPeriodHours       int
	StreamCreationTimestamp    timestamp
	EnhancedMonitoring         []enhancedMetrics
	EncryptionType             string
	KeyId                      string `json:",omitempty"`
	OpenShardCount             int
	ConsumerCount              int
	MaxRecordSizeInKiB         int
	RecordDistributionStrategy string `json:",omitempty"`
}

type describeSummaryOutput struct {
	StreamDescriptionSummary streamDescriptionSummary
}

func (in *describeSummaryInput) run(r *request) (any, *Error) {
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	d := streamDescriptionSummary{
		StreamName: st.name, StreamARN: st.ARN(), StreamStatus: st.status,
		StreamModeDetails:    modeDetails{st.mode},
		RetentionPeriodHours: st.retention, StreamCreationTimestamp: timestamp(st.created),
		EnhancedMonitoring: []enhancedMetrics{{[]string{}}},
		EncryptionType:     st.encryption(), KeyId: st.keyID,
		OpenShardCount: len(st.open), MaxRecordSizeInKiB: st.recordKiB,
	}
	if st.mode == OnDemand {
		d.RecordDistributionStrategy = st.strategy
	}
	return &describeSummaryOutput{d}, nil
}
