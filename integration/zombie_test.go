//go:build integration

package integration

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// sessionTimeout is what zombies are given; it is the shortest that is allowed.
const sessionTimeout = time.Second

// A haunting is one zombie: a worker is stopped (SIGSTOP), a second one takes over from a
// copy of its state, as after moving to another machine, and the first one wakes.
type haunting struct {
	short, busy, runs int
	rewinds           int64
}

// haunt runs one, and returns when the second worker has everything.
func (h *haunting) haunt(t *testing.T, rng *rand.Rand, j *job, total int) result {
	t.Helper()
	j.more += "session_timeout: " + sessionTimeout.String() + "\n"
	first := j.mirror("first")
	target := 1 + rng.Int64N(int64(total)/3)
	// A third of the stops at least must fall between a batch built and acknowledged.
	wantBusy := h.busy*3 < h.runs+1
	first.until("the moment of the stop", func(p progress) bool {
		return p.Read >= target && (!wantBusy || p.Under > 0 || p.Read > int64(total)*9/10)
	})
	first.signal(syscall.SIGSTOP)
	stopped := time.Now()
	if first.at().Under > 0 {
		h.busy++
	}
	h.runs++
	j.copyState("first", "second")
	second := j.mirror("second")
	second.until("the take-over", func(p progress) bool { return p.Read > 0 })
	// Half of the stops are shorter than the session, if the take-over was that quick.
	if rng.IntN(3) == 0 {
		<-time.After(sessionTimeout + time.Duration(rng.IntN(500))*time.Millisecond)
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
	second.signal(syscall.SIGTERM)
	if code := second.wait(30 * time.Second); code != 143 && code != 0 {
		t.Fatalf("the owner ended with %d\n%s", code, second.stderr())
	}
	t.Logf("zombie %d: asleep for %s, %d records under way", h.runs, asleep.Round(time.Millisecond), first.at().Under)
	return j.catchUp("second")
}

func (h *haunting) report(t *testing.T) {
	t.Logf("%d zombies: %d asleep for less than the session, %d between a batch built and acknowledged; rewinds %d", h.runs, h.short, h.busy, h.rewinds)
	if h.short*2 < h.runs {
		t.Errorf("not exercised: only %d of %d stops were shorter than the session", h.short, h.runs)
	}
	if h.busy*3 < h.runs {
		t.Errorf("not exercised: only %d of %d stops fell between a batch built and acknowledged", h.busy, h.runs)
	}
}

func TestIntegrationZombiesToKafka(t *testing.T) {
	const seed = 21
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var h haunting
	for range count(t, 100) {
		rows := rowsOf(t, 3000)
		srv := newKinesis(t, noRates)
		s, err := srv.CreateStream("source", 3)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var feeding sync.WaitGroup
		feeding.Go(func() { feed(ctx, t, s, rows, 900) })
		j := newJob(t, toKafka, srv, "source", unique("haunted"))
		h.haunt(t, rng, j, len(rows))
		feeding.Wait()
		stop()
		arrivals(t, s, rows)
		v, who := judgeTopic(t, bench.kafka.Brokers(), j.topic, rows)
		if !v.Clean() {
			t.Fatalf("zombie %d: %s", h.runs, v)
		}
		if n := late(who); n > 0 {
			t.Fatalf("zombie %d: %d records were appended by the old worker after the take-over", h.runs, n)
		}
	}
	h.report(t)
}

// late counts records of an epoch that stand behind one of a newer epoch of the same
// producer id in a partition.
func late(who []checker.Append) (n int) {
	type producer struct {
		partition int32
		id        int64
	}
	newest := map[producer]int16{}
	for _, a := range who {
		p := producer{a.Partition, a.ProducerID}
		if a.Epoch < newest[p] {
			n++
		}
		newest[p] = max(newest[p], a.Epoch)
	}
	return n
}

// Kinesis refuses nobody: at most the one batch under way lands after the take-over, as
// copies, and the first occurrences of every key stay in order.
func TestIntegrationZombiesToKinesis(t *testing.T) {
	const seed = 22
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var h haunting
	copies := 0
	for range count(t, 100) {
		rows := rowsOf(t, 3000)
		srv := newKinesis(t, noRates)
		topic := unique("source")
		createTopic(t, topic, 4)
		ctx, stop := context.WithCancel(t.Context())
		var feeding sync.WaitGroup
		feeding.Go(func() { produce(ctx, t, topic, rows, 4, 900) })
		j := newJob(t, toKinesis, srv, "target", topic)
		r := h.haunt(t, rng, j, len(rows))
		h.rewinds += r.Result.Counts.Rewind
		feeding.Wait()
		stop()
		v := judgeStream(t, srv, "target", rows)
		copies += v.Duplicated
		if v.Lost+v.Changed+v.Reordered > 0 || v.Duplicated > 500 {
			t.Fatalf("zombie %d: %s", h.runs, v)
		}
	}
	t.Logf("%d copies landed after a take-over", copies)
	h.report(t)
}
