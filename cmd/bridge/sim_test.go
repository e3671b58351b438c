package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
)

// A sim is a pair of ends that does as the variables SIM_… say, for stories about what
// the command makes of it:
//
//	SIM_CONNECT, SIM_PREPARE, SIM_OPEN, SIM_RUN, SIM_LOOK   the class of error to fail with
//	SIM_CONNECT_WAITS   a file that is made when a connect begins that never ends
//	SIM_SOURCE, SIM_PARTITIONS   who the source is, how many partitions the topic has
//	SIM_KEY      the key found with the checkpoints
//	SIM_DRAIN    "never": a drain does not end; otherwise the run ends when drained
//	SIM_READY    a file that is made when records move
//	SIM_SHARDS   how many shards there are, some of them in trouble; see simShards
type sim struct {
	hooks mirror.Hooks
	drain chan struct{}
	once  sync.Once
	mu    sync.Mutex
	moved bool
}

var simClasses = map[string]error{
	"throttled": bridge.ErrThrottled, "transient": bridge.ErrTransient, "unreachable": bridge.ErrUnreachable,
	"denied": bridge.ErrDenied, "missing": bridge.ErrMissing, "refused": bridge.ErrRefused, "gap": bridge.ErrGap,
	"changed": bridge.ErrChanged, "fenced": bridge.ErrFenced, "locked": bridge.ErrLocked, "state": bridge.ErrState,
	"oversize": bridge.ErrOversize, "foreign": bridge.ErrForeignPosition,
	"inconsistent": errInconsistent, "inconclusive": errInconclusive, "gate": errGate,
	"rolled-back": errRolledBack, "partly": errPartly,
}

func simErr(step string) error {
	name := os.Getenv("SIM_" + step)
	if name == "" {
		return nil
	}
	class, ok := simClasses[name]
	if !ok {
		return fmt.Errorf("no class %q", name)
	}
	return bridge.WithHint(fmt.Errorf("simulated %s: %w", strings.ToLower(step), class), "this is only a test")
}

func simMain() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	a := &app{stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv, signals: signals, adapters: adapters{
		connect: func(ctx context.Context, s settings) (session, error) {
			if file := os.Getenv("SIM_CONNECT_WAITS"); file != "" {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					return nil, err
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &sim{drain: make(chan struct{}), hooks: s.Hooks}, simErr("CONNECT")
		},
		look: simLook,
	}}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

func (s *sim) Prepare(context.Context, state.Pinned) (prepared, error) {
	source, parts := "stream/orders", 12
	if v := os.Getenv("SIM_SOURCE"); v != "" {
		source = v
	}
	if os.Getenv("SIM_PARTITIONS") != "" {
		parts = 13
	}
	name, incarnation, _ := strings.Cut(source, "@")
	p := prepared{Retention: 24 * time.Hour, Pinned: state.Pinned{
		Source:     bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:" + name, Incarnation: "1769862615000" + incarnation},
		Target:     bridge.Identity{Name: "kafka:PjIzoOFVQ0WVFzGfvlBPgA/orders", Incarnation: "abc"},
		Partitions: parts,
	}}
	if k := os.Getenv("SIM_KEY"); k != "" {
		key, err := bridge.ParseWorkflowKey(k)
		if err != nil {
			return p, err
		}
		p.Key = key
	}
	return p, simErr("PREPARE")
}

func (s *sim) Open(context.Context, state.Workflow) (runner, error) { return s, simErr("OPEN") }

func (s *sim) Close() error { return nil }

func (s *sim) Drain() { s.once.Do(func() { close(s.drain) }) }

func (s *sim) Run(ctx context.Context) error {
	if os.Getenv("SIM_MOVED") == "no" {
		return simErr("RUN")
	}
	s.mu.Lock()
	s.moved = true
	s.mu.Unlock()
	if err := simErr("RUN"); err != nil {
		return err
	}
	if n := simShards(); n > 1 {
		for range 12 {
			s.hooks.Retry("read", simShard(1), bridge.ErrThrottled, time.Second)
		}
	}
	ready := os.Getenv("SIM_READY")
	if ready == "" {
		return nil
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		return err
	}
	drained := s.drain
	if os.Getenv("SIM_DRAIN") == "never" {
		drained = nil
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	}
}

func (s *sim) Progress() mirror.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.moved {
		return mirror.Progress{}
	}
	p := mirror.Progress{
		Source: bridge.Identity{Name: "s", Incarnation: "1"},
		Counts: bridge.Counts{Read: 1234, Written: 1200, Present: 34},
		Partitions: []mirror.PartitionProgress{
			{Row: bridge.Row{Partition: "shardId-000000000000", Position: bridge.Position{Seq: "49670000000000000000000000000000000000000000000000000002"}}, Asked: time.Now(), Since: time.Now()},
			{Row: bridge.Row{Partition: "shardId-000000000001", Ended: true}, Lag: -1},
		},
	}
	if os.Getenv("SIM_COUNTS") != "" {
		p.Counts.Written--
	}
	if n := simShards(); n > 0 {
		p.Partitions = simProgress(n, time.Now())
	}
	return p
}

func simShards() int {
	n, err := strconv.Atoi(os.Getenv("SIM_SHARDS"))
	if err != nil {
		return 0
	}
	return n
}

func simShard(i int) string { return fmt.Sprintf("shardId-%012d", i) }

// simProgress has shards that follow what comes, but: the second is throttled, the third
// waits for the first, the fourth is 20 hours behind, and each tenth of the rest a minute.
func simProgress(n int, at time.Time) []mirror.PartitionProgress {
	out := make([]mirror.PartitionProgress, n)
	for i := range out {
		out[i] = mirror.PartitionProgress{Row: bridge.Row{Partition: simShard(i), Position: simPosition(i)}, Asked: at, Since: at, Left: -1}
		if i%10 == 9 {
			out[i].Lag = time.Duration(i) * time.Second
		}
	}
	if n > 3 {
		out[1].Asked, out[1].Since = at.Add(-10*time.Minute), at.Add(-10*time.Minute)
		out[2].Position, out[2].Waiting, out[2].Lag, out[2].Since = bridge.Position{}, []string{simShard(0)}, -1, time.Time{}
		out[3].Lag = 20 * time.Hour
	}
	return out
}

func simPosition(i int) bridge.Position {
	return bridge.Position{Seq: fmt.Sprintf("496700000000000000000000000000000000000000000000%08d", i)}
}

func simLook(_ context.Context, s settings, w state.Workflow) (sighting, error) {
	at := time.Now()
	if n := simShards(); n > 0 {
		return simSighting(n, at), simErr("LOOK")
	}
	return sighting{
		Fenced: true,
		Checkpoint: bridge.Checkpoint{
			At: at, Counts: bridge.Counts{Read: 1234567, Written: 1234500, Present: 67, Rewind: 3}, Clean: true,
			Rows: []bridge.Row{
				{Partition: "shardId-000000000010", Position: bridge.Position{Seq: "49670000000000000000000000000000000000000000000000000002", Sub: 7}, Tip: at},
				{Partition: "shardId-000000000009", Ended: true},
			},
		},
	}, simErr("LOOK")
}

// simSighting is the checkpoint of simProgress, an hour old: the first was never seen
// empty, the fourth not for long.
func simSighting(n int, at time.Time) sighting {
	cp := bridge.Checkpoint{At: at.Add(-time.Hour), Counts: bridge.Counts{Read: 1234567, Written: 1234567}}
	for i := range n {
		row := bridge.Row{Partition: simShard(i), Position: simPosition(i), Tip: at.Add(-time.Minute)}
		switch i {
		case 0:
			row.Tip = time.Time{}
		case 3:
			row.Tip = at.Add(-20 * time.Hour)
		}
		cp.Rows = append(cp.Rows, row)
	}
	return sighting{Fenced: true, Checkpoint: cp}
}

// nilConnect makes the commands that move records exist, for tests that only look at them.
func nilConnect(context.Context, settings) (session, error) {
	return nil, errors.New("not connected")
}
