//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// A recorder stands between the program and DynamoDB: it notes what the program changes,
// and can hold it back. Applications do not go through it.
type recorder struct {
	mu      sync.Mutex
	changes []string
	before  func() // called before the next change is passed on
}

// record puts a recorder in the way of the program.
func (m *moving) record() *recorder {
	m.t.Helper()
	to, err := url.Parse(m.dynamo.URL())
	if err != nil {
		m.t.Fatal(err)
	}
	r := &recorder{}
	pass := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, op, _ := strings.Cut(q.Header.Get("X-Amz-Target"), ".")
		if !slices.Contains([]string{"GetItem", "Scan", "Query", "DescribeTable"}, op) {
			r.noted(op)
		}
		pass.ServeHTTP(w, q)
	}))
	m.t.Cleanup(srv.Close)
	m.j.more = strings.Replace(m.j.more, m.dynamo.URL(), srv.URL, 1)
	return r
}

func (r *recorder) noted(op string) {
	r.mu.Lock()
	r.changes = append(r.changes, op)
	before := r.before
	r.before = nil
	r.mu.Unlock()
	if before != nil {
		before()
	}
}

// take returns what was changed since it was last called.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.changes
	r.changes = nil
	return out
}

// holdNext calls fn before the next change is passed on.
func (r *recorder) holdNext(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = fn
}

// renewals are the attributes of a lease that change while an application holds it and
// processes nothing; items that are no leases are its own altogether.
var renewals = []string{"leaseCounter", "leaseOwner", "ownerSwitchesSinceCheckpoint", "throughputKBps"}

// leases is the lease table, each lease as JSON without what renewing it changes, one a
// line; and with it.
func (m *moving) leases() (without, with string) {
	m.t.Helper()
	page, err := m.api().Scan(m.t.Context(), &dynamodb.ScanInput{TableName: &m.app})
	if err != nil {
		m.t.Fatal(err)
	}
	var bare, full []string
	for _, it := range page.Items {
		var item map[string]any
		if err := attributevalue.UnmarshalMap(it, &item); err != nil {
			m.t.Fatal(err)
		}
		if kind, ok := item["entityType"]; ok && kind != "LEASE" {
			continue
		}
		full = append(full, lineOf(m.t, item))
		maps.DeleteFunc(item, func(name string, _ any) bool { return slices.Contains(renewals, name) })
		bare = append(bare, lineOf(m.t, item))
	}
	slices.Sort(bare)
	slices.Sort(full)
	return strings.Join(bare, "\n"), strings.Join(full, "\n")
}

func lineOf(t *testing.T, item map[string]any) string {
	t.Helper()
	for _, v := range item {
		if set, ok := v.([]string); ok {
			slices.Sort(set)
		}
	}
	b, err := json.Marshal(item)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	isRunning = "the application of lease table %s is running: "
	isChanged = "of table %s changed since the plan was made"
)

// refused applies a plan, which is refused with 7 and one sentence, has changed nothing,
// and asked for no change.
func (m *moving) refused(what string, r *recorder, says, plan string) {
	m.t.Helper()
	without, _ := m.leases()
	group := fmt.Sprint(m.committed())
	r.take()
	p := m.offsets(7, "apply", "--plan", plan, "--still-for", "3s") // a lease is renewed each second
	now, _ := m.leases()
	asked := r.take()
	if says == isRunning && len(asked) > 0 || len(asked) > 1 {
		m.t.Errorf("%s: the program asked DynamoDB for %v", what, asked)
	}
	if now != without || fmt.Sprint(m.committed()) != group {
		m.t.Errorf("%s: the leases are\n%s\nand were\n%s\nthe group is at %v and was at %s", what, now, without, m.committed(), group)
	}
	says = fmt.Sprintf(says, m.app)
	if p.Error == nil || !strings.Contains(p.Error.Message, says) || strings.Contains(p.Error.Message, "\n") || p.Error.Hint == "" {
		m.t.Fatalf("%s: not one sentence with %q, and a way out: %+v", what, says, p.Error)
	}
	m.t.Logf("%s: exit 7: %s | hint: %s", what, p.Error.Message, p.Error.Hint)
}

// refusedWhileRunning makes plans both ways while the application runs, which does nothing to
// it, and applies them. It returns how often that was refused.
func (m *moving) refusedWhileRunning(r *recorder) int {
	m.t.Helper()
	for _, args := range [][]string{{"plan"}, {"plan", "--back", "--missing-as", "start", "--allow-rewind"}} {
		without, with := m.leases()
		plan := m.offsets(0, args...).Result.Plan
		if now, _ := m.leases(); now != without || len(r.take()) > 0 {
			m.t.Errorf("offsets %v changed\n%s\ninto\n%s", args, without, now)
		}
		m.refused(fmt.Sprintf("running, offsets %v", args), r, isRunning, plan)
		if _, now := m.leases(); now == with {
			m.t.Error("the application did not renew its leases")
		}
	}
	return 2
}

// refusedWhenStarted has the application start in the middle of apply: it was seen to be
// stopped, and takes its leases before the first of them is written. Nothing is, and the
// plan is as it was.
func (m *moving) refusedWhenStarted(version string, r *recorder) int {
	m.t.Helper()
	plan := m.offsets(0, "plan", "--back", "--allow-rewind").Result.Plan
	none := map[string]int{}
	var application *running
	for _, s := range m.stream.Shards() {
		none[s.ID] = 0
	}
	r.holdNext(func() {
		owned := m.owners()
		application = m.begin(version, none)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for limit := time.Now().Add(2 * time.Minute); ; <-tick.C {
			left := 0
			for lease, owner := range m.owners() {
				if owned[lease] == owner {
					left++
				}
			}
			if left == 0 {
				return
			}
			if time.Now().After(limit) {
				m.t.Errorf("the application left %d leases in 2 minutes", left)
				return
			}
		}
	})
	m.refused("started inside apply", r, isChanged, plan)
	application.end()
	// This plan was not applied. Undo finds no move, or an earlier one, which it refuses
	// because the consumer has moved on since.
	undo := m.j.start("offsets", "undo", "--config", m.j.config("state"), "--still-for", "1s")
	if code := undo.wait(2 * time.Minute); code != 2 && code != 7 {
		m.t.Fatalf("undo after a refused apply: exit %d\n%s", code, undo.stderr())
	}
	return 1
}

// owners are the workers that hold the leases of shards that are not consumed to their end.
func (m *moving) owners() map[string]string {
	page, err := m.api().Scan(m.t.Context(), &dynamodb.ScanInput{TableName: &m.app})
	if err != nil {
		m.t.Error(err)
		return nil
	}
	out := map[string]string{}
	for _, it := range page.Items {
		var row struct {
			Key        string `dynamodbav:"leaseKey"`
			Owner      string `dynamodbav:"leaseOwner"`
			Checkpoint string `dynamodbav:"checkpoint"`
		}
		if err := attributevalue.UnmarshalMap(it, &row); err != nil {
			m.t.Error(err)
		}
		if row.Checkpoint != "" && row.Checkpoint != "SHARD_END" {
			out[row.Key] = row.Owner
		}
	}
	return out
}
