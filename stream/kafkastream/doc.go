// Package kafkastream reads and writes Kafka topics, Amazon MSK's among them, for the
// engines of this module. It is built on the public pieces of IBM/sarama: connections,
// requests, metadata and authentication are sarama's; fetching, producing and retrying
// are this package's own, because a mirror needs the answer to one batch, not to one
// record, and must see every error that could cost order.
//
// A [Client] is one connection to a cluster, shared by everything else. A [Source] reads
// a topic up to its last stable offset, without the records of aborted transactions, and says
// which open transaction keeps it from what stands behind that.
//
//	client, err := kafkastream.Dial(ctx, kafkastream.Config{Brokers: []string{"127.0.0.1:9092"}})
//	...
//	source, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{Client: client, Topic: "orders"})
//
// What it does not promise: brokers older than Kafka 2.8 are refused, because they give
// topics no id, and a topic that was deleted and created anew could then not be told from
// the one that was being read.
//
// # The in-process broker and the real one
//
// The tests run against franz-go's kfake as of 2026-09-18. It differs from a Kafka 4.4
// broker in ways that a test must not lean on: it ignores message.timestamp.type=LogAppendTime,
// it fences an old producer already when its transactional id is initialised (a broker
// only when the partition has seen the new epoch), it refuses a first batch whose
// sequence number is not 0, it answers a wrong SASL password by closing the connection,
// and it never compacts by itself.
package kafkastream
