//go:build integration

package integration

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// putUsers puts rows, every fourth of them with the two that follow it as one aggregate of
// the KPL under one key.
func (l *local) putUsers(rows []checker.Row) {
	l.t.Helper()
	for len(rows) > 0 {
		data, n := rows[0].Value, 1
		if rows[0].N%4 == 0 && len(rows) >= 3 {
			var b kpl.Builder
			for _, u := range rows[:3] {
				if err := b.Add([]byte(rows[0].Key), nil, u.Value, nil); err != nil {
					l.t.Fatal(err)
				}
			}
			data, n = b.Finish(nil), 3
		}
		if _, err := l.sdk.PutRecord(l.t.Context(), &kinesis.PutRecordInput{StreamName: &l.stream, PartitionKey: &rows[0].Key, Data: data}); err != nil {
			l.t.Fatal(err)
		}
		rows = rows[n:]
	}
}

// The same equality on a Kinesis that is not the module's own: a real application stops in
// the middle of each shard, a group goes on, and the application again where that stopped.
// The stream is not resharded: to ListShards AT_TRIM_HORIZON this server answers with
// children, too, and the library then does not start.
func TestIntegrationConsumersOnKinesisLocal(t *testing.T) {
	t.Parallel() // it mostly waits
	rows := numbered(t, 2000)
	l := newLocal(t, servers.StartKinesisLocal, "source", 3)
	l.putUsers(rows)
	j := newJob(t, toKafka, l.server, "source", unique("local"))
	m := newMoving(t, j, sharedDynamoDB(t))
	j.catchUp("state")
	limits := map[string]int{"shardId-000000000000": 100, "shardId-000000000001": 250, "shardId-000000000002": 400}
	before := m.kcl(servers.KCL3, limits).set()
	if len(before) != 750 {
		t.Fatalf("the application processed %d records, want 750", len(before))
	}
	there := m.move()
	topic := m.topic()
	if least := leastReplays(topic, before); least != there.Result.Replays || least == 0 {
		t.Errorf("announced %d replays, the least there can be is %d", there.Result.Replays, least)
	}
	after := m.java("look", nil)
	m.equation("kinesis-local to Kafka", before, after, rows, there.Result.Replays)
	m.equation("kinesis-local to Kafka, filtered", before, filtered(t, after, there.Result.Cut), rows, 0)
	m.java("commit", m.halfBehind(topic))
	consumed := m.consumedOf(topic)
	back := m.move("--back", "--allow-rewind")
	m.equation("and back to kinesis-local", consumed, m.kcl(servers.KCL3, nil), rows, back.Result.Replays)
}
