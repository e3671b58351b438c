package walk

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

const (
	workflow   = "wf"
	streamName = "source"
	// retention of the Kinesis source, which no walk changes.
	retention = 24 * time.Hour
	// patience is how long any run may take, in fake time, beyond what holds it up.
	patience = 100 * time.Hour
	keyCount = 7
	// Where nothing happens for hours, answers take their time, so that a walk is short.
	idleWait = 10 * time.Second
	idleCall = 15 * time.Second
)

var workflowKey = bridge.WorkflowKey{1, 2, 3}

// A walk is one migration, and what happens to it.
type walk struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	server *kinesistest.Server

	toKafka   bool // from kinesistest; else from memstream's Kafka
	fromKafka *memstream.Stream
	stream    *kinesistest.Stream
	restores  bool // producers write envelopes with times of their own
	stamp     *bridge.Stamp
	dst       *memstream.Stream
	cps       *memstream.Checkpoints
	keys      keymap.Strategy
	gate      *mirror.Gate
	hazards   map[string]bool

	mu     sync.Mutex
	rough  bool                   // calls of the services fail now and then
	slow   bool                   // hours pass
	hide   bool                   // the next listing leaves a partition out
	orphan bool                   // the next listing leaves the parent of a partition out
	txn    *memstream.Transaction // open
	inTxn  []*row
	worker int

	model
	running                    *running // nil while no mirror runs
	log                        []string // what happened, for people
	found                      []string
	end                        string
	over                       bool // the migration ended with an error
	mirrors, verifies, damaged int
	done                       map[string]int
}

// serviceClock is that of the Kinesis service of a seed: in one of four walks it differs from
// this machine's.
func serviceClock(seed uint64) func() time.Time {
	skew := time.Duration(0)
	if rng := rand.New(rand.NewPCG(seed, 7)); rng.IntN(4) == 0 {
		skew = time.Duration(rng.IntN(40)-20) * time.Minute
	}
	return func() time.Time { return time.Now().Add(skew) }
}

// note writes the story of the walk.
func (w *walk) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "  "+time.Now().Format("01-02 15:04:05.000")+" "+fmt.Sprintf(format, args...))
}

func (w *walk) finds(f finding, format string, args ...any) {
	text := string(f) + ": " + fmt.Sprintf(format, args...)
	w.note("FOUND %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, text)
}

// begin makes both sides.
func (w *walk) begin() {
	w.rng = rand.New(rand.NewPCG(w.seed, 1))
	w.done, w.gate, w.cps = map[string]int{}, &mirror.Gate{}, memstream.NewCheckpoints(nil)
	w.toKafka = w.rng.IntN(2) == 0
	flavour := memstream.Kinesis
	if w.toKafka {
		flavour = memstream.Kafka
		w.restores = w.rng.IntN(3) == 0
		st, err := w.server.CreateStream(streamName, 1+w.rng.IntN(3))
		if err != nil {
			w.t.Fatal(err)
		}
		w.stream = st
	} else {
		w.fromKafka = memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: streamName, Partitions: 1 + w.rng.IntN(3), Seed: w.seed, Wait: idleWait})
	}
	w.dst = memstream.New(memstream.Config{Flavour: flavour, Name: "target", Partitions: 1 + w.rng.IntN(4), Seed: w.seed + 1, Retention: 10_000 * time.Hour, Wait: idleWait})
	w.keys = byHash(0)
	if w.toKafka {
		w.keys = byHash(len(w.dst.Snapshot()))
	}
	from := bridge.Identity{Name: "kafka:first/topic", Incarnation: "1"}
	w.stamp = bridge.NewStamp(bridge.StampConfig{Workflow: "first", Key: workflowKey, Source: from, Target: bridge.Identity{Name: "kinesis:" + streamName, Incarnation: "1"}})
}

// byHash places a key on one of n partitions; 0 leaves it to the target.
type byHash int

func (n byHash) Name() string { return fmt.Sprintf("test(%d)", int(n)) }

func (n byHash) Route(r *bridge.Record) (keymap.Route, error) {
	if n == 0 {
		return keymap.Route{Key: r.Key}, nil
	}
	h := md5.Sum(r.Key)
	return keymap.Route{Key: r.Key, Partition: strconv.Itoa(int(binary.BigEndian.Uint32(h[4:]) % uint32(n)))}, nil
}

// A wire carries the calls of the Kinesis adapter to the server without a socket, so that
// fake time passes. Now and then a call fails before or after it had its effect.
type wire struct {
	w   *walk
	rng *rand.Rand
	mu  sync.Mutex
}

var errCut = errors.New("connection reset by peer")

func (c *wire) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	n := c.rng.IntN(100)
	c.mu.Unlock()
	c.w.mu.Lock()
	rough, took := c.w.rough, time.Duration(5+n%7)*time.Millisecond
	if c.w.slow {
		took = idleCall
	}
	c.w.mu.Unlock()
	if !rough {
		n = 50
	}
	select {
	case <-time.After(took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	switch {
	case n < 8:
		return answered(r, 400, `{"__type":"ProvisionedThroughputExceededException","message":"slow down"}`), nil
	case n < 12:
		return answered(r, 503, `{"__type":"ServiceUnavailable","message":"later"}`), nil
	case n < 16:
		return nil, errCut
	case n == 20 && c.w.hazards["silence"]:
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	rec := httptest.NewRecorder()
	c.w.server.ServeHTTP(rec, r)
	if n < 20 {
		return nil, errCut
	}
	out := rec.Result()
	out.Request = r
	out.Header.Set("Date", c.w.server.Now().UTC().Format(http.TimeFormat))
	return out, nil
}

func answered(r *http.Request, status int, body string) *http.Response {
	h := http.Header{"Content-Type": {"application/x-amz-json-1.1"}}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewBufferString(body)), ContentLength: int64(len(body)), Request: r, ProtoMajor: 1, ProtoMinor: 1}
}

// source opens the source as a new process does.
func (w *walk) source(ctx context.Context, page int) (bridge.Source, error) {
	if !w.toKafka {
		src := w.fromKafka.Source(workflow)
		return &listedEnder{listed{src, w}, src.(bridge.Ender)}, nil
	}
	w.worker++
	conf := kinesisstream.Config{
		Stream: streamName, Region: w.server.Region(), EndpointURL: "http://kinesis.test",
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
		HTTP:        &wire{w: w, rng: rand.New(rand.NewPCG(w.seed, uint64(100+w.worker)))},
	}
	var client *kinesisstream.Client
	var err error
	for range 50 {
		if client, err = kinesisstream.Dial(ctx, conf); err == nil || !bridge.Retryable(err) {
			break
		}
		pause(ctx, time.Second)
	}
	if err != nil {
		return nil, err
	}
	sc := kinesisstream.SourceConfig{PageRecords: page}
	if w.restores {
		sc.Restore, sc.Stamp = true, w.stamp
	}
	return &listed{client.Source(sc), w}, nil
}

// A listed source leaves a partition out of one listing when it is told to.
type listed struct {
	bridge.Source
	w *walk
}

type listedEnder struct {
	listed
	bridge.Ender
}

func (l *listed) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	list, err := l.Source.Partitions(ctx)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if err == nil && l.w.orphan {
		l.w.orphan = false
		parents := map[string]bool{}
		for _, p := range list {
			for _, parent := range p.Parents {
				parents[parent] = true
			}
		}
		return slices.DeleteFunc(list, func(p bridge.Partition) bool { return parents[p.ID] && l.w.drop(p.ID) }), nil
	}
	if err != nil || !l.w.hide || len(list) < 2 {
		return list, err
	}
	l.w.hide = false
	return list[:len(list)-1], nil
}

// drop chooses partitions by their name and the walk's seed.
func (w *walk) drop(id string) bool {
	h := md5.Sum(fmt.Appendf(nil, "%d %s", w.seed, id))
	return h[0]%2 == 0
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
