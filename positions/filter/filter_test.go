package filter_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions/filter"
)

func header(shard, seq string, sub uint32) []byte {
	s := bridge.NewStamp(bridge.StampConfig{Workflow: "orders", Key: bridge.WorkflowKey{1}})
	return s.Append(nil, &bridge.Record{Time: time.UnixMilli(1), Subs: 9, Origin: bridge.Coordinate{
		Stream: "kinesis:x@1", Partition: shard, Position: bridge.Position{Seq: seq, Sub: sub},
	}})
}

func ExampleFilter() {
	f, err := filter.New(map[string]string{"shardId-000000000000": "17/2", "shardId-000000000001": "end"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Consumed(header("shardId-000000000000", "17", 2)))
	fmt.Println(f.Consumed(header("shardId-000000000000", "17", 3)))
	// Output:
	// true
	// false
}

func TestConsumed(t *testing.T) {
	f, err := filter.New(map[string]string{
		"shardId-000000000000": "100/2", "shardId-000000000001": "end", "shardId-000000000002": "<100", "text": "5",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shard, seq string
		sub        uint32
		want       bool
	}{
		{"shardId-000000000000", "99", 7, true},
		{"shardId-000000000000", "100", 0, true},
		{"shardId-000000000000", "100", 2, true},
		{"shardId-000000000000", "100", 3, false},
		{"shardId-000000000000", "1000", 0, false},
		{"shardId-000000000001", "1000", 0, true},
		{"shardId-000000000002", "99", 0, true},
		{"shardId-000000000002", "100", 0, false},
		{"shardId-000000000003", "1", 0, false},
		{"text", "5", 0, true},
		{"text", "10", 0, false},
	} {
		if got := f.Consumed(header(c.shard, c.seq, c.sub)); got != c.want {
			t.Errorf("%s %s/%d: %v, want %v", c.shard, c.seq, c.sub, got, c.want)
		}
	}
	if f.Consumed(nil) || f.Consumed([]byte("somebody's own header")) {
		t.Error("a record without provenance was dropped")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, text := range []string{"", "-", "<", "x", "1/2/3", "end "} {
		if _, err := filter.New(map[string]string{"s": text}); !errors.Is(err, bridge.ErrForeignPosition) {
			t.Errorf("%q: %v, want ErrForeignPosition", text, err)
		}
	}
}
