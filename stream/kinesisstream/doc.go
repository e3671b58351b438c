// Package kinesisstream is Amazon Kinesis Data Streams as a [bridge.Source] and, in the
// format raw, as a [bridge.Sink], on the AWS SDK for Go.
//
//	client, err := kinesisstream.Dial(ctx, kinesisstream.Config{Stream: "orders", Region: "us-east-1"})
//	src := client.Source(kinesisstream.SourceConfig{})
//
// Order on the way out. PutRecords may store the fifth record of a call after it refused
// the third, so a call holds at most one record of each key, one call is under way at a
// time, and nothing more of a key is put before the fate of its last record is in the
// [bridge.Ledger]. A call whose fate is unknown is not repeated: its keys wait until it
// can take effect no more, and the shards are read for what is there.
//
// Order on the way in is that of the shard. Whoever reads must read parents before
// children.
//
// What this package does not promise: to keep another program from putting records, and
// order for producers that choose hash keys themselves.
package kinesisstream
