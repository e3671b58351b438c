package bridgetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Workflow is the workflow that sinks under test write for.
const Workflow = "bridgetest"

// Patience bounds each test. What was not seen by then is taken as missing.
const Patience = time.Minute

// gapPatience is the same for a test that is known to fail, which often means that
// something never comes.
const gapPatience = Patience / 10

// A Gap is something that a server is known to do otherwise than the contract says. The
// test of that name must then fail; if it passes, the gap is closed and must be struck
// out, and the run fails.
type Gap struct {
	Server    string // as in the harness
	Test      string // the name of the subtest, such as "gap"
	Behaviour string // what the server does instead
	Version   string // of the server in which this was seen
}

// Carries says what a stream keeps of a record besides a key and a value that are not
// nil. What it does not carry must be refused with bridge.ErrUnmappable, not left out.
type Carries struct {
	NullKeys   bool
	NullValues bool
	Headers    bool
	// Time says that Record.Time is kept; if not, the stream sets its own and nothing is
	// refused.
	Time bool
	// Origin says that a record carries the coordinate that a sink wrote it with, so that
	// a source sees it. If not, nothing is refused, and a Tail knows it from elsewhere.
	Origin bool
}

// Damage is what can be done to a stream behind the adapter's back. A nil func says that
// this server cannot do it, and the tests that need it are left out.
type Damage struct {
	// Trim drops everything up to and including a position.
	Trim func(ctx context.Context, partition string, upTo bridge.Position) error
	// LoseTail drops everything behind a position.
	LoseTail func(ctx context.Context, partition string, behind bridge.Position) error
	// Copy is a producer that reads the record at a place and puts it again into the same
	// partition with all that it carries, but for the value if that is not nil.
	Copy func(ctx context.Context, partition string, at bridge.Position, value []byte) error
}

// A part is one test of a suite.
type part[S any] struct {
	name string
	fn   func(t *env, s S)
}

// env is what a test of a suite is given: where to report to, and until when.
type env struct {
	testing.TB
	ctx context.Context
}

// runParts runs each part as a subtest on a server of its own.
func runParts[S any](t *testing.T, server string, known []Gap, start func(t testing.TB) S, parts []part[S]) {
	t.Helper()
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			gap, patience := find(known, server, p.name), Patience
			if gap != nil {
				patience = gapPatience
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if gap == nil {
				p.fn(&env{t, ctx}, start(t))
				return
			}
			r := &recorder{TB: t}
			r.run(func() { p.fn(&env{r, ctx}, start(r)) })
			if !r.Failed() {
				t.Errorf("known gap of %s %s is closed, strike it out: %s", gap.Server, gap.Version, gap.Behaviour)
				return
			}
			t.Logf("known gap of %s %s: %s\n%s", gap.Server, gap.Version, gap.Behaviour, r.first)
		})
	}
}

func find(known []Gap, server, test string) *Gap {
	for i := range known {
		if known[i].Server == server && known[i].Test == test {
			return &known[i]
		}
	}
	return nil
}

// A recorder keeps failures to itself.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
	first  string
}

// run calls fn and returns when it ended, even by FailNow.
func (r *recorder) run(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}

func (r *recorder) note(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed {
		r.first = message
	}
	r.failed = true
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Fail()                        { r.note("") }
func (r *recorder) FailNow()                     { r.note(""); runtime.Goexit() }
func (r *recorder) Error(args ...any)            { r.note(fmt.Sprintln(args...)) }
func (r *recorder) Errorf(f string, args ...any) { r.note(fmt.Sprintf(f, args...)) }
func (r *recorder) Fatal(args ...any)            { r.note(fmt.Sprintln(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(f string, args ...any) { r.note(fmt.Sprintf(f, args...)); runtime.Goexit() }

// retry calls fn until it succeeds or fails for good. Between two tries it pauses a
// little, as a caller of an adapter does.
func retry[T any](t *env, what string, fn func() (T, error)) T {
	t.Helper()
	v, err := try(t, fn)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// try is retry for what may fail for good.
func try[T any](t *env, fn func() (T, error)) (T, error) {
	pause := time.Millisecond
	for {
		v, err := fn()
		if err == nil || !bridge.Retryable(err) {
			return v, err
		}
		if t.pause(pause) != nil {
			return v, err
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
}

// pause waits a little, and fails if the test's time is up.
func (t *env) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}

// fatal ends the test if there is an error.
func (t *env) fatal(err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
