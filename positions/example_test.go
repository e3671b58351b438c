package positions_test

import (
	"context"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// Two shards were mirrored into one partition. Of shard a the application has consumed
// record 1, of shard b record 2: the group goes on at the second record of a, and gets one
// record of b again.
func ExampleOnward() {
	plan, err := positions.Onward(context.Background(), positions.Forward{
		Target: small("a:1 b:1 a:2 b:2 a:3"),
		Consumed: positions.Frontier{
			"a": positions.Through(bridge.Position{Seq: "1"}),
			"b": positions.Through(bridge.Position{Seq: "2"}),
		},
		CountLimit: -1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	next, _ := plan.Lines[0].Bound.Offset()
	fmt.Println("offset", next, "again", plan.Lines[0].Replays)
	// Output: offset 2 again 1
}

// And back: the group has consumed the first three records.
func ExampleBack() {
	plan, err := positions.Back(context.Background(), positions.Backward{
		Target:     small("a:1 b:1 a:2 b:2 a:3"),
		Consumed:   positions.Frontier{"0": positions.Offset(3)},
		Rows:       []bridge.Row{{Partition: "a", Position: bridge.Position{Seq: "3"}}, {Partition: "b", Position: bridge.Position{Seq: "2"}}},
		CountLimit: -1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, line := range plan.Lines {
		l := positions.Lease{Shard: line.Partition}
		if err := l.SetBound(line.Bound); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(l.Shard, l.Checkpoint, l.Sub)
	}
	// Output:
	// a 3 -1
	// b 2 -1
}
