package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A bookcase is a topic that was mirrored into a stream by the program itself.
type bookcase struct {
	t      *testing.T
	dir    string
	stream *kinesistest.Stream
	// origin is where the record of each value stood in the topic.
	origin  map[string]string
	brokers []string
	out     bytes.Buffer
}

const (
	shelfKeys    = 60
	shelfRecords = 6 // of each key
)

// program runs the program in this process.
func (s *bookcase) program(args ...string) int {
	s.out.Reset()
	var errs bytes.Buffer
	a := &app{stdout: &s.out, stderr: &errs, env: os.LookupEnv, adapters: realAdapters()}
	code := a.run(s.t.Context(), append([]string{"--config", filepath.Join(s.dir, "bridge.yaml")}, args...))
	if code != 0 && code != exitInconsistent && code != exitInconclusive {
		s.t.Fatalf("bridge %s: exit code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return code
}

func newShelf(t *testing.T) *bookcase {
	s := openShelf(t, "raw", "[timestamp]")
	var recs []*kgo.Record
	for i := range shelfKeys * shelfRecords {
		recs = append(recs, &kgo.Record{Topic: "orders", Key: fmt.Appendf(nil, "key-%d", i%shelfKeys), Value: fmt.Append(nil, "value ", i)})
	}
	s.mirror(recs)
	return s
}

// openShelf makes an empty stream, an empty topic, and a configuration that leads from one
// to the other.
func openShelf(t *testing.T, format, loss string) *bookcase {
	s := &bookcase{t: t, dir: t.TempDir(), origin: map[string]string{}}
	srv, err := kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	proceed(t, err)
	t.Cleanup(func() { proceed(t, srv.Close()) })
	s.stream, err = srv.CreateStream("orders", 3)
	proceed(t, err)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "orders"))
	proceed(t, err)
	t.Cleanup(cluster.Close)
	s.brokers = cluster.ListenAddrs()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	proceed(t, os.WriteFile(filepath.Join(s.dir, "bridge.yaml"), fmt.Appendf(nil, `workflow: bookcase
direction: kafka-to-kinesis
kinesis: {stream: orders, region: us-east-1, endpoint_url: %q, format: %s}
kafka: {brokers: [%q], topic: orders, replication_factor: 1}
accept_loss: %s
checkpoint_interval: 100ms
put_timeout: 1s
state: %q
`, srv.URL(), format, s.brokers[0], loss, "file:"+filepath.Join(s.dir, "state")), 0o600))
	return s
}

// mirror produces records and lets the program carry them over.
func (s *bookcase) mirror(recs []*kgo.Record) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
	proceed(s.t, err)
	defer client.Close()
	proceed(s.t, client.ProduceSync(context.Background(), recs...).FirstErr())
	for _, r := range recs {
		s.origin[string(r.Value)] = fmt.Sprintf("%d/%d", r.Partition, r.Offset)
	}
	if code := s.program("mirror", "run", "--until-caught-up"); code != 0 {
		s.t.Fatalf("mirror: %d", code)
	}
}

// find is where the n-th record of a key stands now.
func (s *bookcase) find(key string, n int) (shard string, index int, r kinesistest.Record) {
	shard = s.stream.ShardFor(key)
	list, err := s.stream.Records(shard)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, r := range list {
		if r.Key == key {
			if n == 0 {
				return shard, i, r
			}
			n--
		}
	}
	s.t.Fatalf("key %s has too few records", key)
	return "", 0, kinesistest.Record{}
}

func (s *bookcase) lie(class verify.Class, r kinesistest.Record, value string, shard string) string {
	source, target := "-", "-"
	if value != "" {
		source = s.origin[value]
	}
	if shard != "" {
		target = shard + "/" + r.SequenceNumber
	}
	return fmt.Sprintf("%s source %s target %s", class, source, target)
}

// The damages to a stream whose records carry nothing: each is done to one key, and says
// what must be told.
var streamDamages = []struct {
	name string
	do   func(s *bookcase, key string, n int) []string
}{
	{"drop", func(s *bookcase, key string, n int) []string {
		shard, i, r := s.find(key, n)
		proceed(s.t, s.stream.Drop(shard, i))
		return []string{s.lie(verify.Missing, r, string(r.Data), "")}
	}},
	{"change the value", func(s *bookcase, key string, n int) []string {
		shard, i, r := s.find(key, n)
		proceed(s.t, s.stream.Change(shard, i, func(r *kinesistest.Record) { r.Data = []byte("changed") }))
		return []string{s.lie(verify.Corrupt, r, string(r.Data), shard)}
	}},
	{"change the key", func(s *bookcase, key string, n int) []string {
		shard, i, r := s.find(key, n)
		proceed(s.t, s.stream.Change(shard, i, func(r *kinesistest.Record) { r.Key = "another" }))
		return []string{s.lie(verify.Corrupt, r, string(r.Data), shard)}
	}},
	{"swap two of a key", func(s *bookcase, key string, n int) []string {
		n = min(n, shelfRecords-2)
		shard, i, a := s.find(key, n)
		_, j, b := s.find(key, n+1)
		proceed(s.t, s.stream.Swap(shard, i, j))
		return []string{s.lie(verify.Corrupt, a, string(a.Data), shard), s.lie(verify.Corrupt, b, string(b.Data), shard)}
	}},
	{"a copy that no put of the mirror explains", func(s *bookcase, key string, n int) []string {
		shard, _, r := s.find(key, n)
		list, err := s.stream.Records(shard)
		proceed(s.t, err)
		proceed(s.t, s.stream.Insert(shard, len(list), kinesistest.Record{Key: r.Key, Data: r.Data, Arrival: list[len(list)-1].Arrival}))
		list, err = s.stream.Records(shard)
		proceed(s.t, err)
		return []string{s.lie(verify.Extra, list[len(list)-1], "", shard)}
	}},
	{"invent", func(s *bookcase, key string, n int) []string {
		shard, i, r := s.find(key, n)
		proceed(s.t, s.stream.Insert(shard, i+1, kinesistest.Record{Key: key, Data: []byte("invented"), Arrival: r.Arrival}))
		list, err := s.stream.Records(shard)
		proceed(s.t, err)
		return []string{s.lie(verify.Extra, list[i+1], "", shard)}
	}},
}

func proceed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A stream that the program wrote itself, in the format that carries no coordinates, is
// consistent; then it is damaged ten times in every way, and each is told.
func TestDamagedStream(t *testing.T) {
	s := newShelf(t)
	if code := s.program("verify", "run", "--settle", "50ms"); code != 0 {
		t.Fatalf("before any damage: %s", s.out.String())
	}
	var want []string
	for i := range shelfKeys {
		d := streamDamages[i%len(streamDamages)]
		// Not the first of a key: that of a shard would look as if it had expired.
		want = append(want, d.do(s, "key-"+strconv.Itoa(i), 1+i%(shelfRecords-1))...)
	}
	if code := s.program("verify", "run", "--settle", "50ms", "--output", "json"); code != exitInconsistent {
		t.Fatalf("exit code %d", code)
	}
	var answer struct {
		Result verify.Result `json:"result"`
	}
	proceed(t, json.Unmarshal(s.out.Bytes(), &answer))
	var got []string
	for _, f := range answer.Result.Samples {
		source, target := "-", "-"
		if !f.Source.IsZero() {
			source = f.Source.Partition + "/" + f.Source.Position.String()
		}
		if !f.Target.IsZero() {
			target = f.Target.Partition + "/" + f.Target.Position.String()
		}
		got = append(got, fmt.Sprintf("%s source %s target %s", f.Class, source, target))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Fatalf("done:\n%s\ntold:\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	t.Logf("%d lies of %d kinds, found %d", len(want), len(streamDamages), len(got))
	if bytes.Contains(s.out.Bytes(), []byte("key-1")) || bytes.Contains(s.out.Bytes(), []byte("invented")) {
		t.Error("the result shows keys or values")
	}
}

// Beside a mirror that works on, with records whose ledger entries are still to come, a
// run raises no alarm: neither over what is on its way, nor over what came since it began.
func TestVerifyBesideAMirror(t *testing.T) {
	s := newShelf(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
	proceed(t, err)
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// A process of its own: this test's program under the name that makes it bridge.
	var log bytes.Buffer
	mirror := exec.CommandContext(t.Context(), os.Args[0])
	mirror.Args = []string{"bridge", "--config", filepath.Join(s.dir, "bridge.yaml"), "mirror", "run"}
	mirror.Stderr = &log
	proceed(t, mirror.Start())
	var working sync.WaitGroup
	working.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-tick.C
			r := &kgo.Record{Topic: "orders", Key: fmt.Append(nil, "key-", i%shelfKeys), Value: fmt.Append(nil, "later ", i)}
			if err := client.ProduceSync(ctx, r).FirstErr(); err != nil && ctx.Err() == nil {
				t.Errorf("produce: %v", err)
				return
			}
		}
	})
	read := int64(0)
	for i := range 4 {
		if code := s.program("verify", "run", "--settle", "700ms", "--output", "json"); code != 0 {
			t.Errorf("run %d: exit code %d: %s", i, code, s.out.String())
			break
		}
		var answer struct {
			Result verify.Result `json:"result"`
		}
		proceed(t, json.Unmarshal(s.out.Bytes(), &answer))
		read = answer.Result.Totals.SourceRecords
	}
	if read <= shelfKeys*shelfRecords {
		t.Errorf("the last run read %d records: the mirror did not move", read)
	}
	cancel()
	working.Wait()
	proceed(t, mirror.Process.Signal(os.Interrupt))
	if err := mirror.Wait(); mirror.ProcessState.ExitCode() != 130 {
		t.Errorf("the mirror ended with %v: %s", err, log.String())
	}
}
