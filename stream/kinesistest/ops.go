package kinesistest

// newInput is an empty request of an operation, or nil if there is no such operation.
func (s *Server) newInput(op string) input {
	switch op {
	case "PutRecords":
		in, ok := s.puts.Get().(*putRecordsInput)
		if !ok {
			in = &putRecordsInput{}
		}
		in.srv = s
		return in
	case "GetRecords":
		return &getRecordsInput{}
	case "PutRecord":
		return &putRecordInput{}
	case "GetShardIterator":
		return &getShardIteratorInput{}
	case "ListShards":
		return &listShardsInput{}
	}
	return newControl(op)
}

// newControl is the rest of newInput: operations on whole streams.
func newControl(op string) input {
	switch op {
	case "CreateStream":
		return &createStreamInput{}
	case "DeleteStream":
		return &deleteStreamInput{}
	case "DescribeStream":
		return &describeStreamInput{}
	case "DescribeStreamSummary":
		return &describeSummaryInput{}
	case "DescribeLimits":
		return &describeLimitsInput{}
	case "ListStreams":
		return &listStreamsInput{}
	case "SplitShard":
		return &splitShardInput{}
	case "MergeShards":
		return &mergeShardsInput{}
	case "UpdateShardCount":
		return &updateShardCountInput{}
	}
	return newSetting(op)
}
