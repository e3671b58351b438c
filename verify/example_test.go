package verify_test

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A topic holds two of three records of a stream, one of them changed. There are no
// coordinates: another program made the copy.
func ExampleVerifier() {
	ctx := context.Background()
	source := memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "orders", Calm: true, Wait: time.Millisecond})
	target := memstream.New(memstream.Config{Name: "orders", Calm: true, Wait: time.Millisecond})
	_, _ = source.Put(ctx,
		bridge.Record{Key: []byte("a"), Value: []byte("one")},
		bridge.Record{Key: []byte("b"), Value: []byte("two")},
		bridge.Record{Key: []byte("c"), Value: []byte("three")})
	_, _ = target.Put(ctx,
		bridge.Record{Key: []byte("a"), Value: []byte("one"), Partition: "0"},
		bridge.Record{Key: []byte("b"), Value: []byte("TWO"), Partition: "0"})

	keys, _ := keymap.New("murmur2", 1)
	key, _ := bridge.NewWorkflowKey()
	v := &verify.Verifier{
		Source: source.Source(""), Target: target.Source(""), Keys: keys, Key: key,
		Content: true, Settle: time.Millisecond,
	}
	result, err := v.Run(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Verdict)
	for _, why := range result.Reasons {
		fmt.Println(why)
	}
	// Output:
	// inconsistent
	// 2 records are missing on the target
	// 1 records are on the target that the source never had
}
