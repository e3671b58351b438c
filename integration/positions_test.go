//go:build integration

package integration

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// The lease table of a real application is checked against the stream that the workflow
// reads: it moves where it is the table of that stream, and is refused, with nothing
// written, where it is that of another one. Undo holds across later plans, and the way back
// is closed once the stream has lost what the group has not consumed.
func TestIntegrationPositionsAreChecked(t *testing.T) {
	t.Parallel() // it mostly waits
	var ahead atomic.Int64
	srv := newKinesis(t, kinesistest.Config{
		Limits: kinesistest.Limits{Off: true}, Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	rows := numbered(t, 600)
	s, err := srv.CreateStream("source", 3)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, rows[:400], 0)
	if _, _, err := s.Split("shardId-000000000000", ""); err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, rows[400:], 0)
	other, err := srv.CreateStream("other", 3)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, other, rows, 0)

	j := newJob(t, toKafka, srv, "source", unique("checked"))
	m := newMoving(t, j, sharedDynamoDB(t))
	m.stream = s
	j.catchUp("state")
	m.kcl(servers.KCL3, map[string]int{"shardId-000000000001": 20, "shardId-000000000002": 30, "shardId-000000000003": 10, "shardId-000000000004": 5})

	// The same application, named in the workflow of another stream.
	foreign := newJob(t, toKafka, srv, "other", unique("foreign"))
	foreign.more = j.more
	n := &moving{t: t, j: foreign, dynamo: m.dynamo, app: m.app, group: m.group, stream: other}
	foreign.catchUp("state")
	if p := n.offsets(7, "plan"); p.Error == nil || !strings.Contains(p.Error.Message, "shard shardId-") || !strings.Contains(p.Error.Hint, "another stream") {
		t.Errorf("the leases of another stream: %+v", p.Error)
	}

	m.move()
	moved := m.committed()
	m.offsets(0, "plan", "--back", "--allow-rewind")
	m.offsets(0, "undo")
	if left := m.committed(); len(left) != 0 || len(moved) == 0 {
		t.Errorf("the group was at %v, and after undo is at %v", moved, left)
	}

	// The retention passes while the group has consumed nothing more.
	m.move()
	ahead.Store(int64(25 * time.Hour))
	if p := m.offsets(8, "plan", "--back", "--allow-rewind"); p.Error == nil || !strings.Contains(p.Error.Message, "gone from the side that the consumer goes to") {
		t.Errorf("back to a stream whose records have expired: %+v", p.Error)
	}
}
