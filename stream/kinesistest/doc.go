// Package kinesistest is an Amazon Kinesis Data Streams service in the process of a test,
// on a real socket of the loopback interface.
//
//	srv, err := kinesistest.Start(kinesistest.Config{})
//	...
//	defer srv.Close()
//	client := kinesis.New(kinesis.Options{
//		BaseEndpoint: aws.String(srv.URL()),
//		Region:       srv.Region(),
//		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
//		HTTPClient:   srv.HTTPClient(),
//	})
//
// It speaks JSON 1.1 and CBOR 1.1, keeps records by hash ranges in shards that split and
// merge, numbers them in the service's layout, trims them when their retention has passed,
// and refuses what the service refuses: its limits are on unless [Limits] says otherwise.
// Time is that of [Config].Clock, so that a day passes when a test says so ([Clock]).
//
// # Breaking things
//
// A [Fault] function sees every call and decides what goes wrong with it: throttling,
// failures before or after the data was stored, cut connections, truncated answers, delays,
// single entries of a PutRecords refused. [Server.Log] and [Server.Counts] tell what has
// really happened, so that a test can prove that it met the fault it was written for.
// [Server.Stream] gives the inside of a stream: everything stored, and damage to it that
// the service would never do, for tools that must find such damage.
//
// # Where the service is not specific
//
// Rates are token buckets that hold one second's worth. A PutRecords stores its entries in
// their order unless a fault shuffles them. MillisBehindLatest is 0 in an answer behind
// which nothing is left, or at the end of a closed shard the time since it was closed;
// otherwise it is the age of the last record in the answer. Times in JSON alternate between the two notations that the
// service's documentation shows (1700000000.123 and 1.700000000123E9). What is refused
// before an operation is reached, such as a missing signature, is told in JSON even to a
// caller that speaks CBOR. Signatures are read for their scope but not verified.
//
// # A race in the Go SDK
//
// With a server that answers within about 100 µs, one or two of a hundred calls of the AWS
// SDK for Go fail with "use of closed network connection" and are tried again after a
// back-off. The SDK closes the body of a request as soon as it has the answer, while the
// write loop of net/http is still making sure that the body has ended; the body's WriteTo
// then reports an end of file, for which the connection is closed while the answer is being
// read. A real region is too far away to meet this. Use [Server.HTTPClient] or
// [HideWriterTo], or set [Config].Latency to a millisecond.
//
// # What is left out
//
// Enhanced fan-out, channels, resource policies, enhanced monitoring and account settings
// are not there; their operations are unknown. Nothing is kept on disk.
package kinesistest
