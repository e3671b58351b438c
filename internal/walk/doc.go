// Package walk searches for inputs at which a record is lost in silence, a verdict is false, an
// error is reported although nothing is wrong, or a call never ends.
//
// A walk is a random sequence, drawn from a seed, of what happens to a migration: records
// come, time passes, shards split, transactions stay open, logs are cut, calls are throttled or
// get no answer, clocks differ, processes are killed. It runs in fake time, on mirror.Mirror and
// verify.Verifier, with the Kinesis source adapter on kinesistest and both sides of Kafka on
// memstream. A model that knows what was put where, and shares nothing with the engines,
// judges each run.
package walk
