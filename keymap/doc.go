// Package keymap decides where a record goes: the partition of a Kafka topic for a Kinesis
// partition key, and the partition key for a Kafka record.
//
// A strategy is pure: equal records give equal routes in every process and every version.
// It has a name that holds its parameters, which is stored with the checkpoints, because a
// workflow that resumed under another strategy would split keys over two partitions.
//
// On the way to Kafka the strategy must be the one of the producers that write to the
// topic after the cut-over: see [New]. On the way to Kinesis the partition key says what
// the Kafka key was, exactly: see [PartitionKeys] and [DecodePartitionKey].
//
//	keys, err := keymap.New("murmur2", 12)
//	route, err := keys.Route(&record) // route.Partition is "0" to "11"
//
// What this package does not promise: that keys are spread evenly. That is up to the keys.
package keymap
