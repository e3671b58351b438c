// Package bridge holds the words that every part of the toolkit speaks: records,
// positions, sources, sinks, and the stores that let a mirror be stopped and resumed.
// It imports the standard library only.
//
// Five ideas carry the design.
//
// A [Coordinate] says where a record stood in its source. Whatever the mirror writes
// carries it, so that what is on the target can always be told from what is not.
//
// A lane is what must stay in order on its way: for a Kafka target one source partition
// on its way to one target partition, for a Kinesis target one partition key. Lanes are
// independent of each other; inside a lane there is at most one record under way whose
// fate is unknown.
//
// A fence makes sure that a worker that lost its task can append nothing more
// ([ErrFenced]).
//
// A [Ledger], where the target cannot carry coordinates, is written ahead of the data:
// what was intended is durable before it is tried.
//
// Contiguous acknowledgement: a [Checkpoint] covers a record only if it and everything
// before it in its source partition was acknowledged.
//
// What this package does not promise: it moves nothing by itself. See package mirror
// for the engine, and stream/kinesisstream and stream/kafkastream for the adapters.
package bridge
