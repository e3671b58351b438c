// Package mirror is the engine that carries records from a source to a sink, in order
// and without loss. It knows no service: a Kinesis shard and a Kafka partition are both a
// [bridge.Partition], and the direction is a choice of two fields.
//
//	m := &mirror.Mirror{Source: src, Sink: dst, Checkpoints: store, Keys: keys}
//	err := m.Run(ctx)
//
// There is one flow for each source partition. A flow reads a page (the next one is read
// while this one is written), routes its records, leaves out what is on the target
// already, writes the rest until every record is acknowledged, and only then lets the
// page count as done. A checkpoint holds what is done, never more. Partitions have
// parents in Kinesis: a flow begins only when the checkpoint says that every parent
// ended.
//
// After a start that was not clean the engine asks the sink what stands on the target
// behind the checkpoint (see [bridge.Recoverable]) and writes only what does not.
//
// What this package does not promise: anything about a target that another program
// changes, and order between records of different lanes.
package mirror
