package kinesistest

// SequenceFields are the fields of a sequence number, for tests of its layout.
type SequenceFields struct {
	Created, Written int64
	Shard            uint32
	Counter          uint64
	Mark             uint8
}

// ParseSequence takes a sequence number apart.
func ParseSequence(text string) (SequenceFields, error) {
	s, err := parseSequence(text)
	return SequenceFields{s.created, s.written, s.shard, s.counter, s.mark}, err
}

// FormatSequence puts one together.
func FormatSequence(f SequenceFields) string {
	return sequence{created: f.Created, written: f.Written, shard: f.Shard, counter: f.Counter, mark: f.Mark}.String()
}

// KeyHash is the hash key of a partition key, in decimal.
func KeyHash(key string) string { return keyHash([]byte(key)).String() }

// HashKeyText parses and formats a hash key.
func HashKeyText(text string) (string, error) {
	h, err := parseHashKey(text)
	return h.String(), err
}

// UniformStart is the first hash key of part i of n.
func UniformStart(i, n int) string { return uniformStart(i, n).String() }

// HalfOf is the point at which [first, last] is cut in two.
func HalfOf(first, last string) string {
	a, _ := parseHashKey(first)
	b, _ := parseHashKey(last)
	return a.half(b).String()
}

// DecodedPut is what a decoder made of a PutRecords request.
type DecodedPut struct {
	StreamName, StreamARN string
	DryRun, Listed        bool
	Count                 int
	Keys, Data, Hashes    []string
	HasKey, HasData       []bool
}

func decoded(in *putRecordsInput) DecodedPut {
	d := DecodedPut{
		StreamName: in.StreamName, StreamARN: in.StreamARN, DryRun: in.dryRun, Listed: in.listed, Count: in.count,
	}
	for _, e := range in.entries {
		d.Keys = append(d.Keys, string(e.key))
		d.Data = append(d.Data, string(e.data))
		d.Hashes = append(d.Hashes, string(e.hash))
		d.HasKey = append(d.HasKey, e.hasKey)
		d.HasData = append(d.HasData, e.hasData)
	}
	return d
}

// DecodePutJSON decodes a PutRecords request in JSON.
func DecodePutJSON(body []byte) (DecodedPut, error) {
	var in putRecordsInput
	err := in.decodeJSON(body)
	return decoded(&in), err
}

// DecodePutCBOR decodes a PutRecords request in CBOR.
func DecodePutCBOR(body []byte) (DecodedPut, error) {
	var in putRecordsInput
	err := in.decodeCBOR(body)
	return decoded(&in), err
}

// AppendJSONString encodes a string.
func AppendJSONString(b []byte, text string) []byte { return appendJSONString(b, text) }

// Operations are the names of all operations.
func Operations() []string {
	return []string{
		"PutRecords", "GetRecords", "PutRecord", "GetShardIterator", "ListShards",
		"CreateStream", "DeleteStream", "DescribeStream", "DescribeStreamSummary", "DescribeLimits", "ListStreams",
		"SplitShard", "MergeShards", "UpdateShardCount",
		"IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod", "UpdateMaxRecordSize", "UpdateStreamMode",
		"UpdateStreamRecordDistributionStrategy", "StartStreamEncryption", "StopStreamEncryption",
		"AddTagsToStream", "RemoveTagsFromStream", "ListTagsForStream",
		"TagResource", "UntagResource", "ListTagsForResource",
	}
}

// DecodeAny decodes a request of any operation as the server would.
func DecodeAny(op string, cbor bool, body []byte) error {
	s := &Server{}
	in := s.newInput(op)
	if in == nil {
		return errBody
	}
	return (&request{srv: s, cbor: cbor}).decode(body, in)
}
