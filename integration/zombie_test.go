//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
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
}

// haunt runs one, and returns when the second worker has everything.
func (h *haunting) haunt(j *job, total int) result {
	t := h.t
	t.Helper()
	j.more += "session_timeout: " + sessionTimeout.String() + "\n"
	first := j.mirror("first")
	target := 1 + h.rng.Int64N(int64(total)/3)
	// A third of the stops at least must fall between a batch built and acknowledged.
	wantBusy := h.busy*2 < h.runs+1
	first.until("the moment of the stop", func(p progress) bool {
		return p.Read >= target && (!wantBusy || p.Under > 0 || p.Read > int64(total)*9/10)
	})
	first.signal(syscall.SIGSTOP)
	stopped := time.Now()
	under := first.at().Under
	if under > 0 {
		h.busy++
	}
	j.copyState("first", "second")
	second := j.mirror("second")
	second.until("the take-over", func(p progress) bool { return p.Read > 0 })
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
	h.print("shorter than the session %d, between a batch built and acknowledged %d, appended after the take-over %d, checkpoint regress 0, owner evicted 0, copies on kinesis %d, counted as rewind %d",
		h.short, h.busy, h.late, h.copies, h.rewinds)
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
		underFeed(t, func(ctx context.Context) { feed(ctx, t, s, rows, 1000) }, func() { r = h.haunt(j, len(rows)) })
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
		underFeed(t, func(ctx context.Context) { produce(ctx, t, bench.kafka.Brokers(), topic, rows, 4, 1000) }, func() { r = h.haunt(j, len(rows)) })
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
}
