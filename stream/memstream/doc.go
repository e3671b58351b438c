// Package memstream is a stream in memory, for tests of everything that knows only
// package bridge. It comes in two flavours that behave as the two services do where it
// matters to a mirror:
//
//   - [Kinesis]: shards that own ranges of MD5, with [Stream.Split] and [Stream.Merge];
//     records placed by key; sequence numbers of 56 digits with gaps; puts that refuse
//     single records and store their successors; retention; no fence and no way to ask
//     where a shard ends.
//   - [Kafka]: a fixed number of partitions; records placed by their Partition; offsets
//     with holes, since transaction markers take one each; transactions of producers,
//     which hold readers back while they are open; a fence that a new worker puts
//     up with one marker in every partition; compaction.
//
// It is no kinder than the services: unless [Config] says Calm, reads are throttled and
// come back empty while there is more, pages are cut short, and writes fail here and
// there, all drawn from Config.Seed. [Fault] adds whatever a test needs.
//
//	src := memstream.New(memstream.Config{Flavour: memstream.Kinesis, Partitions: 4})
//	dst := memstream.New(memstream.Config{Flavour: memstream.Kafka, Partitions: 12})
//	m := &mirror.Mirror{Source: src.Source(""), Sink: dst.Sink(memstream.SinkConfig{}), …}
//
// All waiting is done with package time and on channels, never while a lock is held, so
// that everything here works in a testing/synctest bubble. What a bubble uses must be made
// in it.
//
// What this package does not promise: anything about the speed of the services, and a
// fence for Kinesis, which has none.
package memstream
