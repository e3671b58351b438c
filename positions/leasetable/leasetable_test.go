package leasetable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
)

const app = "billing-app"

func server(t *testing.T) (*dynamotest.Server, *dynamodb.Client) {
	t.Helper()
	s, err := dynamotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(s.URL()), Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

var orders = leasetable.Stream{Account: "123456789012", Name: "orders", Created: time.Unix(1_700_000_000, 5)}

// The items of one application, as each version of the library leaves them: a shard that
// was split and is done, and its two children.
var formats = map[string][]string{
	"KCL 1.x": {
		`{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"40"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"}}`,
		`{"leaseKey":{"S":"shardId-000000000001"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"41"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"17"},"checkpointSubSequenceNumber":{"N":"2"},"parentShardId":{"SS":["shardId-000000000000"]}}`,
		`{"leaseKey":{"S":"shardId-000000000002"},"leaseCounter":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"parentShardId":{"SS":["shardId-000000000000"]}}`,
	},
	"KCL 2.x": {
		`{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"40"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"},"childShardIds":{"SS":["shardId-000000000001","shardId-000000000002"]},"startingHashKey":{"S":"0"},"endingHashKey":{"S":"340282366920938463463374607431768211455"}}`,
		`{"leaseKey":{"S":"shardId-000000000001"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"41"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"17"},"checkpointSubSequenceNumber":{"N":"2"},"parentShardId":{"SS":["shardId-000000000000"]},"startingHashKey":{"S":"0"},"endingHashKey":{"S":"99"},"pendingCheckpoint":{"S":"30"},"pendingCheckpointSubSequenceNumber":{"N":"0"},"pendingCheckpointState":{"N":"0"}}`,
		`{"leaseKey":{"S":"shardId-000000000002"},"leaseOwner":{"S":"w2"},"leaseCounter":{"N":"3"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"parentShardId":{"SS":["shardId-000000000000"]},"pendingCheckpoint":{"S":"12"},"pendingCheckpointState":{"B":"AAE="}}`,
	},
	"KCL 3.x": {
		`{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"40"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"},"childShardIds":{"SS":["shardId-000000000001","shardId-000000000002"]},"throughputKBps":{"N":"0.0"}}`,
		`{"leaseKey":{"S":"shardId-000000000001"},"leaseOwner":{"S":"w1"},"checkpointOwner":{"S":"w0"},"leaseCounter":{"N":"41"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"17"},"checkpointSubSequenceNumber":{"N":"2"},"parentShardId":{"SS":["shardId-000000000000"]},"throughputKBps":{"N":"1.25E1"},"somethingNew":{"M":{"a":{"L":[{"BOOL":true},{"NULL":true}]}}}}`,
		`{"leaseKey":{"S":"shardId-000000000002"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"3"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"parentShardId":{"SS":["shardId-000000000000"]}}`,
	},
	"KCL 3.5, single table": {
		`{"leaseKey":{"S":"shardId-000000000000"},"entityType":{"S":"LEASE"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"40"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"},"childShardIds":{"SS":["shardId-000000000001","shardId-000000000002"]}}`,
		`{"leaseKey":{"S":"shardId-000000000001"},"entityType":{"S":"LEASE"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"41"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"17"},"checkpointSubSequenceNumber":{"N":"2"},"parentShardId":{"SS":["shardId-000000000000"]}}`,
		`{"leaseKey":{"S":"shardId-000000000002"},"leaseCounter":{"N":"3"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"parentShardId":{"SS":["shardId-000000000000"]}}`,
		`{"leaseKey":{"S":"Leader"},"entityType":{"S":"LEADER"},"ownerName":{"S":"w1"}}`,
		`{"leaseKey":{"S":"Migration3.0"},"entityType":{"S":"CLIENT_VERSION_MIGRATION"},"cv":{"S":"CLIENT_VERSION_3X"}}`,
		`{"leaseKey":{"S":"w1"},"entityType":{"S":"WORKER_METRIC_STATS"},"lut":{"N":"1700000000"}}`,
		`{"leaseKey":{"S":"x"},"entityType":{"S":"SOMETHING_NEWER"}}`,
	},
	"several streams": {
		`{"leaseKey":{"S":"123456789012:orders:1700000000:shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"40"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"},"childShardIds":{"SS":["shardId-000000000001","shardId-000000000002"]},"streamName":{"S":"123456789012:orders:1700000000"},"shardId":{"S":"shardId-000000000000"}}`,
		`{"leaseKey":{"S":"123456789012:orders:1700000000:shardId-000000000001"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"41"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"17"},"checkpointSubSequenceNumber":{"N":"2"},"parentShardId":{"SS":["shardId-000000000000"]},"streamName":{"S":"123456789012:orders:1700000000"},"shardId":{"S":"shardId-000000000001"}}`,
		`{"leaseKey":{"S":"123456789012:orders:1700000000:shardId-000000000002"},"leaseCounter":{"N":"3"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"parentShardId":{"SS":["shardId-000000000000"]}}`,
		`{"leaseKey":{"S":"123456789012:orders:1600000000:shardId-000000000001"},"leaseCounter":{"N":"3"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"99"},"checkpointSubSequenceNumber":{"N":"0"}}`,
		`{"leaseKey":{"S":"123456789012:payments:1700000000:shardId-000000000001"},"leaseCounter":{"N":"3"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":"98"},"checkpointSubSequenceNumber":{"N":"0"}}`,
	},
}

func fill(t *testing.T, s *dynamotest.Server, items []string) {
	t.Helper()
	s.Create(app, "leaseKey")
	for _, it := range items {
		if err := s.Put(app, it); err != nil {
			t.Fatal(err)
		}
	}
}

func at(seq string, sub uint32) bridge.Position { return bridge.Position{Seq: seq, Sub: sub} }

func show(leases []positions.Lease) string {
	var out []string
	for _, l := range leases {
		out = append(out, fmt.Sprintf("%s %s/%d %v", strings.TrimPrefix(l.Shard, "shardId-00000000000"), l.Checkpoint, l.Sub, len(l.Parents)))
	}
	return strings.Join(out, ", ")
}

func TestReadsEveryFormat(t *testing.T) {
	for name, items := range formats {
		t.Run(name, func(t *testing.T) {
			s, api := server(t)
			fill(t, s, items)
			s.Page = 2
			got, err := leasetable.New(api, app, leasetable.KCL, orders).Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := "0 SHARD_END/0 0, 1 17/2 1, 2 TRIM_HORIZON/0 1"; show(got.Leases()) != want {
				t.Errorf("read %s, want %s", show(got.Leases()), want)
			}
			if got.SingleTable != strings.Contains(name, "single table") || got.Multi != (name == "several streams") {
				t.Errorf("single table %v, multi %v", got.SingleTable, got.Multi)
			}
		})
	}
}

// As that library's source writes them: a lease that is held and claimed by another worker,
// one that was released at the end of its shard, and one that was taken and has no checkpoint.
var vmware = []string{
	`{"ShardID":{"S":"shardId-000000000001"},"AssignedTo":{"S":"w1"},"LeaseTimeout":{"S":"2026-01-31T00:00:00.123456789Z"},"Checkpoint":{"S":"17"},"ClaimRequest":{"S":"w2"}}`,
	`{"ShardID":{"S":"shardId-000000000002"},"LeaseTimeout":{"S":"2026-01-31T00:00:00Z"},"Checkpoint":{"S":"SHARD_END"},"ParentShardId":{"S":"shardId-000000000001"}}`,
	`{"ShardID":{"S":"shardId-000000000003"},"AssignedTo":{"S":"w1"},"LeaseTimeout":{"S":"2026-01-31T00:00:00Z"}}`,
}

// vmware-go-kcl knows no user records inside an aggregate: its checkpoint is the whole one.
func TestVMwareGoKCL(t *testing.T) {
	s, api := server(t)
	s.Create(app, "ShardID")
	for _, it := range vmware {
		if err := s.Put(app, it); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Items(app)
	table := leasetable.New(api, app, leasetable.VMwareGoKCL, orders)
	got, err := table.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bound, err := got.Items[0].Bound()
	if err != nil || !bound.Covers(at("17", 500)) || bound.Covers(at("18", 0)) || show(got.Leases()[1:]) != "2 SHARD_END/0 1, 3 TRIM_HORIZON/0 0" {
		t.Errorf("read %s, %v", show(got.Leases()), err)
	}
	if _, err := table.Changes(got, []positions.Lease{{Shard: "shardId-000000000001", Checkpoint: "20", Sub: -1}}); !errors.Is(err, bridge.ErrForeignPosition) || bridge.Hint(err) == "" {
		t.Errorf("a position that it cannot express: %v", err)
	}
	c, err := table.Changes(got, []positions.Lease{{Shard: "shardId-000000000001", Checkpoint: "20", Sub: 3}, {Shard: "shardId-000000000004", Checkpoint: "TRIM_HORIZON"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if now := s.Items(app); !strings.Contains(now, `{"Checkpoint":{"S":"20"},"ShardID":{"S":"shardId-000000000001"}}`) || !strings.Contains(now, `{"ShardID":{"S":"shardId-000000000004"}}`) {
		t.Errorf("wrote\n%s", now)
	}
	if err := table.Undo(t.Context(), c); err != nil || s.Items(app) != before {
		t.Errorf("undo: %v\n%s", err, s.Items(app))
	}
}

// A worker of that library is noticed, too, by what it renews and by what it claims.
func TestStillVMwareGoKCL(t *testing.T) {
	for name, change := range map[string]string{
		"renewed": strings.Replace(vmware[0], "00.123", "30.123", 1), "claimed": strings.Replace(vmware[0], `"w2"`, `"w3"`, 1),
	} {
		s, api := server(t)
		s.Create(app, "ShardID")
		for _, it := range vmware {
			if err := s.Put(app, it); err != nil {
				t.Fatal(err)
			}
		}
		_, err := leasetable.New(api, app, leasetable.VMwareGoKCL, orders).Still(t.Context(), func(context.Context) error { return s.Put(app, change) })
		if !errors.Is(err, bridge.ErrLocked) {
			t.Errorf("%s: Still = %v", name, err)
		}
	}
}

func noPause(context.Context) error { return nil }

// A worker that runs is noticed by whatever it does.
func TestStill(t *testing.T) {
	for name, change := range map[string]string{
		"nothing":                  "",
		"a lease is renewed":       strings.Replace(formats["KCL 3.5, single table"][1], `"N":"41"`, `"N":"42"`, 1),
		"a lease is taken":         strings.Replace(formats["KCL 3.5, single table"][2], `"leaseCounter"`, `"leaseOwner":{"S":"w3"},"leaseCounter"`, 1),
		"a checkpoint is written":  strings.Replace(formats["KCL 3.5, single table"][1], `"S":"17"`, `"S":"18"`, 1),
		"a lease appears":          strings.Replace(formats["KCL 3.5, single table"][1], "shardId-000000000001", "shardId-000000000009", 1),
		"a worker reports metrics": `{"leaseKey":{"S":"w1"},"entityType":{"S":"WORKER_METRIC_STATS"},"lut":{"N":"1700000060"}}`,
		"a worker appears":         `{"leaseKey":{"S":"w2"},"entityType":{"S":"WORKER_METRIC_STATS"},"lut":{"N":"1700000060"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, api := server(t)
			fill(t, s, formats["KCL 3.5, single table"])
			paused := 0
			_, err := leasetable.New(api, app, leasetable.KCL, orders).Still(t.Context(), func(context.Context) error {
				paused++
				if change == "" {
					return nil
				}
				return s.Put(app, change)
			})
			running := errors.Is(err, bridge.ErrLocked) && bridge.Hint(err) != ""
			if paused != 1 || s.Writes() != 0 || change == "" && err != nil || change != "" && !running {
				t.Errorf("Still = %v after %d pauses and %d writes", err, paused, s.Writes())
			}
		})
	}
}

var seeds = []positions.Lease{
	{Shard: "shardId-000000000000", Checkpoint: "9", Sub: -1},
	{Shard: "shardId-000000000001", Checkpoint: "TRIM_HORIZON", Parents: []string{"shardId-000000000000"}},
	{Shard: "shardId-000000000002", Checkpoint: "TRIM_HORIZON", Parents: []string{"shardId-000000000000"}},
	{Shard: "shardId-000000000003", Checkpoint: "5", Sub: 1, FirstHash: "0", LastHash: "9"},
}

// What a worker that starts would take is written first: it refuses the write, and nothing
// was written by then.
func TestTakenLeasesComeFirst(t *testing.T) {
	s, api := server(t)
	fill(t, s, formats["KCL 3.x"])
	before := s.Items(app)
	table := leasetable.New(api, app, leasetable.KCL, orders)
	c := planned(t, table)
	started := ""
	s.SetHook(func(op string, _ []byte) dynamotest.Fault {
		if op == "PutItem" && started == "" {
			s.Update(app, func(it dynamotest.Item) {
				if it["checkpoint"]["S"] != "SHARD_END" {
					it["leaseOwner"] = map[string]any{"S": "w9"}
				}
			})
			started = s.Items(app)
		}
		return dynamotest.None
	})
	untouched := func() bool {
		ok, err := table.Untouched(t.Context(), c)
		return err == nil && ok
	}
	if err := table.Apply(t.Context(), c); !errors.Is(err, bridge.ErrConflict) || s.Items(app) != started || started == before || !untouched() {
		t.Errorf("Apply = %v, untouched %v; the table is\n%s\nwant\n%s", err, untouched(), s.Items(app), started)
	}
	s.SetHook(nil)
	c = planned(t, table)
	if err := table.Apply(t.Context(), c); err != nil || untouched() {
		t.Errorf("Apply = %v, untouched %v", err, untouched())
	}
}

func planned(t *testing.T, table *leasetable.Table) leasetable.Changes {
	t.Helper()
	snapshot, err := table.Still(t.Context(), noPause)
	if err != nil {
		t.Fatal(err)
	}
	c, err := table.Changes(snapshot, seeds)
	if err != nil {
		t.Fatal(err)
	}
	// What is kept is what is applied.
	stored, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var kept leasetable.Changes
	if err := json.Unmarshal(stored, &kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// Apply changes checkpoints and nothing else, and Undo brings back every byte.
func TestApplyAndUndo(t *testing.T) {
	for name, items := range formats {
		t.Run(name, func(t *testing.T) {
			s, api := server(t)
			fill(t, s, items)
			before := s.Items(app)
			table := leasetable.New(api, app, leasetable.KCL, orders)
			c := planned(t, table)
			if err := table.Apply(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			got, err := table.Read(t.Context())
			if want := "0 9/-1 0, 1 TRIM_HORIZON/0 1, 2 TRIM_HORIZON/0 1, 3 5/1 0"; err != nil || show(got.Leases()) != want {
				t.Errorf("applied %s, %v; want %s", show(got.Leases()), err, want)
			}
			now := s.Items(app)
			for _, text := range []string{`"somethingNew"`, `"throughputKBps"`, `"WORKER_METRIC_STATS"`, `"SOMETHING_NEWER"`, `"payments`, `"98"`, `"99"`} {
				if strings.Count(now, text) != strings.Count(before, text) {
					t.Errorf("%s was there %d times and is now %d times", text, strings.Count(before, text), strings.Count(now, text))
				}
			}
			if name == "KCL 3.5, single table" && strings.Count(now, `"LEASE"`) != 3 {
				t.Errorf("the new lease is not marked as one:\n%s", now)
			}
			if name == "several streams" && !strings.Contains(now, `123456789012:orders:1700000000:shardId-000000000003"`) {
				t.Errorf("the new lease does not name its stream:\n%s", now)
			}
			if err := table.Apply(t.Context(), c); err != nil || s.Items(app) != now {
				t.Errorf("applied twice: %v", err)
			}
			if err := table.Undo(t.Context(), c); err != nil || s.Items(app) != before {
				t.Errorf("undo: %v\n%s\nwant\n%s", err, s.Items(app), before)
			}
			if err := table.Undo(t.Context(), c); err != nil || s.Items(app) != before {
				t.Errorf("undone twice: %v", err)
			}
		})
	}
}

// Without a table Apply makes one, and Undo takes it away.
func TestApplyMakesATable(t *testing.T) {
	s, api := server(t)
	table := leasetable.New(api, app, leasetable.KCL, orders)
	c := planned(t, table)
	if err := table.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(s.Items(app), "leaseKey"); n != len(seeds) {
		t.Errorf("%d leases, want %d:\n%s", n, len(seeds), s.Items(app))
	}
	if err := table.Undo(t.Context(), c); err != nil || s.Items(app) != "" {
		t.Errorf("undo: %v\n%s", err, s.Items(app))
	}
	if _, err := leasetable.New(api, app, leasetable.VMwareGoKCL, orders).Read(t.Context()); err != nil {
		t.Errorf("no table: %v", err)
	}
	s.Create(app, "leaseKey")
	if _, err := leasetable.New(api, app, leasetable.VMwareGoKCL, orders).Read(t.Context()); !errors.Is(err, bridge.ErrState) || bridge.Hint(err) == "" {
		t.Errorf("a table of another dialect: %v", err)
	}
}

// An apply that is cut at any call is finished by the next one, or taken back; whether or
// not the call took effect.
func TestCutAtEveryCall(t *testing.T) {
	cuts := 0
	for _, fault := range []dynamotest.Fault{dynamotest.Before, dynamotest.After} {
		for _, finish := range []bool{true, false} {
			for call := 0; ; call++ {
				s, api := server(t)
				fill(t, s, formats["KCL 3.x"])
				before := s.Items(app)
				table := leasetable.New(api, app, leasetable.KCL, orders)
				c := planned(t, table)
				n := 0
				s.SetHook(func(string, []byte) dynamotest.Fault {
					if n++; n > call {
						return fault // this call and, as the program is dead, all behind it
					}
					return dynamotest.None
				})
				err := table.Apply(t.Context(), c)
				s.SetHook(nil)
				if err == nil {
					break
				}
				cuts++
				if finish {
					if err := table.Apply(t.Context(), c); err != nil {
						t.Fatalf("cut at call %d: apply again: %v", call, err)
					}
					got, err := table.Read(t.Context())
					if err != nil || show(got.Leases()) != "0 9/-1 0, 1 TRIM_HORIZON/0 1, 2 TRIM_HORIZON/0 1, 3 5/1 0" {
						t.Fatalf("cut at call %d: %s, %v", call, show(got.Leases()), err)
					}
				}
				if err := table.Undo(t.Context(), c); err != nil || s.Items(app) != before {
					t.Fatalf("cut at call %d: undo: %v\n%s\nwant\n%s", call, err, s.Items(app), before)
				}
			}
		}
	}
	t.Logf("%d cuts", cuts)
	if cuts < 30 {
		t.Error("apply was cut too seldom")
	}
}

// What was not read is not overwritten, whatever of it changed, even between the look and
// the write.
func TestChangedSincePlanned(t *testing.T) {
	for name, change := range map[string]string{
		"the counter":         strings.Replace(formats["KCL 3.x"][1], `"N":"41"`, `"N":"42"`, 1),
		"the owner":           strings.Replace(formats["KCL 3.x"][1], `"w1"`, `"w7"`, 1),
		"the checkpoint":      strings.Replace(formats["KCL 3.x"][1], `"17"`, `"18"`, 1),
		"the sub-sequence":    strings.Replace(formats["KCL 3.x"][1], `"N":"2"`, `"N":"3"`, 1),
		"a pending one":       strings.Replace(formats["KCL 3.x"][1], `"checkpoint"`, `"pendingCheckpoint":{"S":"19"},"checkpoint"`, 1),
		"a new lease in ours": `{"leaseKey":{"S":"shardId-000000000003"},"leaseCounter":{"N":"0"},"checkpoint":{"S":"LATEST"},"checkpointSubSequenceNumber":{"N":"0"}}`,
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " late ", late), func(t *testing.T) {
				s, api := server(t)
				fill(t, s, formats["KCL 3.x"])
				table := leasetable.New(api, app, leasetable.KCL, orders)
				c := planned(t, table)
				var changed string
				put := func() {
					if err := s.Put(app, change); err != nil {
						t.Error(err)
					}
					changed = change[:strings.Index(change, "},")]
				}
				if late { // after the look, before the write
					s.SetHook(func(op string, body []byte) dynamotest.Fault {
						var in struct{ Item dynamotest.Item }
						if op == "PutItem" && changed == "" && json.Unmarshal(body, &in) == nil && strings.HasPrefix(change, fmt.Sprintf(`{"leaseKey":{"S":%q}`, in.Item["leaseKey"]["S"])) {
							put()
						}
						return dynamotest.None
					})
				} else {
					put()
				}
				err := table.Apply(t.Context(), c)
				if !errors.Is(err, bridge.ErrConflict) || bridge.Hint(err) == "" {
					t.Errorf("Apply = %v, want ErrConflict", err)
				}
				if changed == "" {
					t.Fatal("the lease was not written meanwhile")
				}
				var want, got any
				if json.Unmarshal([]byte(strings.ReplaceAll(change, "1.25E1", "12.5")), &want) != nil {
					t.Fatal("bad item")
				}
				for line := range strings.SplitSeq(s.Items(app), "\n") {
					key := change[1 : strings.Index(change, `"},`)+2]
					if strings.Contains(line, key) && json.Unmarshal([]byte(line), &got) == nil {
						break
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("the lease is now %v, want %v", got, want)
				}
			})
		}
	}
}

func TestDeniedAndUnreachable(t *testing.T) {
	s, api := server(t)
	fill(t, s, formats["KCL 3.x"])
	s.SetHook(func(string, []byte) dynamotest.Fault { return dynamotest.Denied })
	table := leasetable.New(api, app, leasetable.KCL, orders)
	if _, err := table.Read(t.Context()); !errors.Is(err, bridge.ErrDenied) || bridge.Hint(err) == "" {
		t.Errorf("denied: %v", err)
	}
	s.Close()
	// A connection that was kept open is cut first, which passes.
	_, err := table.Read(t.Context())
	for n := 0; n < 10 && errors.Is(err, bridge.ErrTransient); n++ {
		_, err = table.Read(t.Context())
	}
	if !errors.Is(err, bridge.ErrUnreachable) || bridge.Hint(err) == "" {
		t.Errorf("unreachable: %v", err)
	}
}
