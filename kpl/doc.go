// Package kpl reads and writes the aggregated record format of the Kinesis Producer
// Library: several user records inside the data of one Kinesis record.
//
//	F3 89 9A C2 | AggregatedRecord, Protocol Buffers (proto2) | MD5 of the message, 16 bytes
//
//	message AggregatedRecord {
//	  repeated string partition_key_table     = 1;
//	  repeated string explicit_hash_key_table = 2;
//	  repeated Record records                 = 3;
//	}
//	message Record {
//	  required uint64 partition_key_index     = 1;
//	  optional uint64 explicit_hash_key_index = 2;
//	  required bytes  data                    = 3;
//	  repeated Tag    tags                    = 4;
//	}
//	message Tag { required string key = 1; optional string value = 2; }
//
// The format is described in aggregation-format.md of awslabs/amazon-kinesis-producer.
// What a reader makes of bytes that do not keep to it is described nowhere, so this
// package does what the Kinesis Client Library for Java does, down to the way in which
// its protobuf runtime reads malformed messages. That was proved against the library
// itself: see testdata/README.md.
//
// [Expand] turns what GetRecords returned into user records, [Decode] shows what an
// aggregate holds without judging it, [Builder] makes one. A [Decoder] does the first two
// without allocating for every record.
//
//	x, err := kpl.Expand(kpl.KCL, shardRange, partitionKey, data)
//	for _, r := range x.Records { … } // what a KCL consumer of this shard is given
//	for _, d := range x.Drops { … }   // what it is not, one by one, each with its reason
//
// What this package does not promise: that a key is in a shard's range because the
// aggregate is in the shard. Producers other than the KPL mix keys of all shards in one
// aggregate, and in the mode [KCL] such an aggregate is dropped whole, as the KCL does.
package kpl
