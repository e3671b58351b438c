//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// sessionTimeout is what zombies are given. It is longer than put_timeout, for which a
// take-over towards Kinesis waits.
const sessionTimeout = 3 * time.Second

// A haunting is one zombie: a worker is stopped (SIGSTOP), a second one takes over from a
// copy of its state, as after moving to another machine, and the first one wakes.
type haunting struct {
	*figures
	rng         *rand.Rand
	short, busy int
	rewinds     int64
	late        int // records that the old one appended after the take-over
	copies      int
	held        int // stops with a put under way that lands after the take-over
}

// haunt runs one, and returns when the second worker has everything.
// With a Kinesis, every second stop falls while a put is on its way that lands only when
// the second worker has gone on; copies says how many records the stream holds twice.
func (h *haunting) haunt(j *job, total int, target *kinesistest.Server, copies func() int) result {
	t := h.t
	t.Helper()
	j.more += "session_timeout: " + sessionTimeout.String() + "\n"
	first := j.mirror("first")
	moment := 1 + h.rng.Int64N(int64(total)/3)
	// A third of the stops at least must fall between a batch built and acknowledged.
	wantBusy := h.busy*2 < h.runs+1
	first.until("the moment of the stop", func(p progress) bool {
		return p.Read >= moment && (!wantBusy || p.Under > 0 || p.Read > int64(total)*9/10)
	})
	land := func() {}
	if target != nil && h.runs%2 == 1 {
		land = h.holdPut(target, first)
	}
	first.signal(syscall.SIGSTOP)
	stopped := time.Now()
	under := first.at().Under
	if under > 0 {
		h.busy++
	}
	j.copyState("first", "second")
	second := j.mirror("second")
	second.until("the take-over", func(p progress) bool { return p.Read > 0 })
	land()
	// A quarter of the stops last longer than the session, which is all that is waited for.
	if h.runs%4 == 3 {
		<-time.After(time.Until(stopped.Add(sessionTimeout + time.Duration(h.rng.IntN(500))*time.Millisecond)))
	}
	asleep := time.Since(stopped)
	if asleep < sessionTimeout {
		h.short++
	}
	first.signal(syscall.SIGCONT)
	if code := first.wait(30 * time.Second); code != 11 {
		t.Fatalf("the zombie, asleep for %s, ended with %d, want 11\n%s", asleep, code, first.stderr())
	}
	second.until("all records", func(p progress) bool { return p.Read >= int64(total) })
	if target != nil && h.runs%2 == 1 {
		second.until("the copies that landed late", func(p progress) bool { return p.Rewind > 0 })
	}
	if target != nil {
		// A put that was half sent when the process stopped lands late, too.
		n := int64(copies())
		second.until("every copy that landed late", func(p progress) bool { return p.Rewind >= n })
	}
	select {
	case <-second.done:
		t.Fatalf("the owner was evicted: exit %d\n%s", second.code, second.stderr())
	default:
	}
	second.drain()
	h.runs++
	t.Logf("zombie %d: asleep for %s, %d records under way", h.runs, asleep.Round(time.Millisecond), under)
	h.checkOwnTopics(j)
	return j.catchUp("second")
}

// holdPut holds the next put of a worker back and returns when it is on its way. land lets
// it take effect.
func (h *haunting) holdPut(target *kinesistest.Server, first *child) (land func()) {
	held, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	target.SetFault(func(c kinesistest.Call) (f kinesistest.Fault) {
		if c.Op == "PutRecords" {
			once.Do(func() {
				close(held)
				f.Wait = free
			})
		}
		return f
	})
	first.until("a put on its way", func(p progress) bool {
		select {
		case <-held:
			return p.Under > 0
		default:
			return false
		}
	})
	h.held++
	return func() { close(free) }
}

// checkOwnTopics proves that the old worker wrote nothing into the workflow's own topics
// after the take-over: no checkpoint went back.
func (h *haunting) checkOwnTopics(j *job) {
	h.t.Helper()
	for _, own := range []string{"checkpoints", "ledger", "index"} {
		_, who, err := checker.Kafka(h.t.Context(), j.brokers, fmt.Sprintf("bridge.%s.%s", j.workflow, own))
		if err != nil {
			h.t.Fatal(err)
		}
		if n := checker.Late(who); n > 0 {
			h.t.Fatalf("zombie %d: %d records of topic %s are the old worker's, after the take-over", h.runs, n, own)
		}
	}
}

func (h *haunting) report() {
	h.print("shorter than the session %d, between a batch built and acknowledged %d, appended after the take-over %d, checkpoint regress 0, owner evicted 0, puts that landed late %d, copies on kinesis %d, counted as rewind %d",
		h.short, h.busy, h.late, h.held, h.copies, h.rewinds)
	if h.short*2 < h.runs {
		h.t.Errorf("not exercised: only %d of %d stops were shorter than the session", h.short, h.runs)
	}
	if h.busy*3 < h.runs {
		h.t.Errorf("not exercised: only %d of %d stops fell between a batch built and acknowledged", h.busy, h.runs)
	}
}

func TestIntegrationZombiesToKafka(t *testing.T) {
	f, zombies, rng := prove(t, "SIGSTOP, take-over, SIGCONT, kinesis to kafka", 100, 21)
	h := haunting{figures: f, rng: rng}
	for range zombies {
		rows := rowsOf(t, 3000)
		srv := newKinesis(t, noRates)
		s, err := srv.CreateStream("source", 3)
		if err != nil {
			t.Fatal(err)
		}
		j := newJob(t, toKafka, srv, "source", unique("haunted"))
		var r result
		underFeed(t, func(ctx context.Context) { feed(ctx, t, s, rows, 1000) }, func() { r = h.haunt(j, len(rows), nil, nil) })
		arrivals(t, s, rows)
		v, who := judgeTopic(t, bench.kafka.Brokers(), j.topic, rows)
		h.judgedRun(v, r, len(rows))
		if h.late += checker.Late(who); h.late > 0 {
			t.Fatalf("zombie %d: %d records were appended by the old worker after the take-over", h.runs, h.late)
		}
	}
	h.report()
}

// mostCopies is how many records one PutRecords holds: what can land after a take-over.
const mostCopies = 500

// Kinesis refuses nobody: at most the one batch under way lands after the take-over, as
// copies, and the first occurrences of every key stay in order.
func TestIntegrationZombiesToKinesis(t *testing.T) {
	f, zombies, rng := prove(t, "SIGSTOP, take-over, SIGCONT, kafka to kinesis", 100, 22)
	h := haunting{figures: f, rng: rng}
	for range zombies {
		rows := rowsOf(t, 3000)
		srv := newKinesis(t, noRates)
		topic := unique("source")
		createTopic(t, bench.kafka.Brokers(), topic, 4)
		j := newJob(t, toKinesis, srv, "target", topic)
		var r result
		underFeed(t, func(ctx context.Context) { produce(ctx, t, bench.kafka.Brokers(), topic, rows, 4, 1000) }, func() {
			r = h.haunt(j, len(rows), srv, func() int { return judgeStream(t, srv.URL(), "target", rows).Duplicated })
		})
		v := judgeStream(t, srv.URL(), "target", rows)
		if v.Duplicated > mostCopies {
			t.Fatalf("zombie %d: %d copies landed after the take-over, more than one batch: %s", h.runs, v.Duplicated, v)
		}
		h.copies += v.Duplicated
		h.rewinds += r.Result.Counts.Rewind
		v.Duplicated = 0
		h.judged(v)
	}
	h.report()
	if h.copies == 0 {
		t.Error("not exercised: no put landed after a take-over")
	}
	if h.rewinds != int64(h.copies) {
		t.Errorf("%d copies landed after a take-over, %d were counted as rewind", h.copies, h.rewinds)
	}
}
