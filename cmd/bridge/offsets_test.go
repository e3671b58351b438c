package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// fullMove is a plan with every field set.
func fullMove(t *testing.T) move {
	t.Helper()
	var changes leasetable.Changes
	err := json.Unmarshal([]byte(`{"table":"billing-app","dialect":"kcl","create":true,"items":[
		{"key":"shardId-000000000001","before":{"leaseKey":{"S":"shardId-000000000001"},"leaseCounter":{"N":"7"},"parentShardId":{"SS":["shardId-000000000000"]},"pendingCheckpointState":{"B":"AAE="}},
		"after":{"leaseKey":{"S":"shardId-000000000001"},"leaseCounter":{"N":"9"}}},{"key":"shardId-000000000002","before":null,"after":{"leaseKey":{"S":"shardId-000000000002"}}}],
		"want":[{"shard":"shardId-000000000001","checkpoint":"17","sub":-1,"parents":["shardId-000000000000"],"first_hash":"0","last_hash":"9"}]}`), &changes)
	if err != nil {
		t.Fatal(err)
	}
	return move{
		Schema: moveSchema, Workflow: "orders", Consumer: "billing", Way: groupToKCL, From: "a", To: "b",
		Made: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		Old:  []positions.Line{{Partition: "0", Bound: positions.Offset(3), Known: true}},
		Plan: positions.Plan{
			Lines: []positions.Line{{Partition: "shardId-000000000001", Bound: positions.Next(bridge.Position{Seq: "17"}), Known: true, Replays: 2, Copies: 1, Counted: true},
				{Partition: "shardId-000000000002", Bound: positions.Everything(), Known: true}, {Partition: "x", Bound: positions.Bound{Until: time.Unix(1, 0).UTC()}}},
			Problems:   []positions.Problem{{Kind: positions.Removed, Partition: "1", Text: "t", Hint: "h", Through: bridge.OffsetPosition(4)}},
			Unconsumed: []bridge.Coordinate{{Stream: "s", Partition: "1", Position: bridge.OffsetPosition(2)}}, Read: 10, Counted: 20,
		},
		Cut:  map[string]string{"shardId-000000000001": "<17"},
		Left: side{Group: map[string]int64{"0": 3}, Leases: []positions.Lease{{Shard: "s", Checkpoint: "TRIM_HORIZON"}}},
		Offsets: &offsetChange{
			Group: "g", Topic: "t", TopicID: "id", Before: map[string]int64{"0": 1}, After: map[string]int64{"0": 2},
			Beside: map[string]extras{"0": {Epoch: 4, Metadata: "m"}},
		},
		BeforeStart: 5,
		Leases:      &changes,
	}
}

// What is kept of a plan must be readable by every later version.
func TestKeptPlanGolden(t *testing.T) {
	m := fullMove(t)
	h, err := m.hash()
	if err != nil {
		t.Fatal(err)
	}
	old := kept{Move: m, Hash: h, Status: moveApplied}
	got, err := json.MarshalIndent(kept{Move: m, Hash: h, Status: moveApplying, Applied: &old}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/offsets-v1.json"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("kept as %s\nwant %s, %v", got, want, err)
	}
	k, err := decodeKept(want)
	if err != nil || jsonOf(k.Move) != jsonOf(m) || k.Status != moveApplying {
		t.Errorf("decoded %+v, %v", k, err)
	}
	if first, err := os.ReadFile("testdata/offsets-v1-first.json"); err != nil {
		t.Error(err)
	} else if k, err := decodeKept(first); err != nil || k.Applied != nil || k.Move.Offsets.Before["0"] != 1 {
		t.Errorf("a plan of an earlier version: %+v, %v", k, err)
	}
	for what, bad := range map[string]string{
		"cut":     string(want[:len(want)/2]),
		"changed": strings.Replace(string(want), `"17"`, `"18"`, 1),
		"newer":   strings.Replace(string(want), "bridge.offsets/v1", "bridge.offsets/v2", 1),
	} {
		if _, err := decodeKept([]byte(bad)); !errors.Is(err, bridge.ErrState) {
			t.Errorf("%s: %v, want ErrState", what, err)
		}
	}
}

// An aggregate that was forwarded whole is consumed with its last user record, by entry and
// by index; where aggregates are taken apart each user record is for itself.
func TestOpaqueAggregates(t *testing.T) {
	w := kafkastream.Written{Placed: bridge.Placed{Origin: bridge.Coordinate{Position: bridge.Position{Seq: "9"}}}, Subs: 3}
	half, all := positions.Through(bridge.Position{Seq: "9", Sub: 1}), positions.Through(bridge.Position{Seq: "9", Sub: 2})
	if e := entryOf(w, true); half.Consumed(e) || !all.Consumed(e) {
		t.Errorf("whole: %+v", e)
	}
	if e := entryOf(w, false); !half.Consumed(e) {
		t.Errorf("taken apart: %+v", e)
	}
	index := wholeRecords([]bridge.IndexEntry{{Below: map[string]bridge.Position{"a": {Seq: "9"}, "b": {}}}})
	if below := index[0].Below; all.Covers(below["a"]) || !below["b"].IsZero() {
		t.Errorf("index: %v", below)
	}
}

// Records of a workflow that is older than the retention may have expired, also where this
// machine's clock is ahead of the service's or behind it.
func TestWhatMayHaveExpired(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	for _, ahead := range []time.Duration{-40 * time.Minute, 0, 40 * time.Minute} {
		if !mayHaveExpired(now.Add(-day-10*time.Minute), now, ahead, day) {
			t.Errorf("clock %s ahead: nothing has expired after a day and ten minutes", ahead)
		}
		if mayHaveExpired(now.Add(-day+time.Hour), now, ahead, day) {
			t.Errorf("clock %s ahead: records may have expired after 23 hours", ahead)
		}
	}
}
