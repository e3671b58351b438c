//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/positions/filter"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A consumption is what one run of a consumer processed: the numbers of the rows, and of
// Kafka what else was there.
type consumption struct {
	rows    []int
	headers [][]byte
	last    map[string]string // of Kinesis, the last sequence number of each shard
	users   []user            // of Kinesis, where keys were asked for
}

// A user is a user record, and where it stood on the stream.
type user struct {
	shard, seq string
	sub        uint32
	key, value string
}

func (c consumption) set() map[int]bool {
	out := map[int]bool{}
	for _, n := range c.rows {
		out[n] = true
	}
	return out
}

// rowNumber is the number that a value begins with.
func rowNumber(t *testing.T, value string) int {
	t.Helper()
	head, _, _ := strings.Cut(value, "|")
	n, err := strconv.Atoi(head)
	if err != nil {
		t.Fatalf("value %.40q has no number", value)
	}
	return n
}

// A moving is a consumer of a job that moves to and fro.
type moving struct {
	t      *testing.T
	j      *job
	dynamo *servers.DynamoDB
	stream *kinesistest.Stream // that the application reads
	app    string
	group  string
}

// newMoving gives the job a consumer.
func newMoving(t *testing.T, j *job, d *servers.DynamoDB) *moving {
	m := &moving{t: t, j: j, dynamo: d, app: unique("app"), group: unique("group")}
	j.more += fmt.Sprintf("dynamodb: {endpoint_url: \"%s\"}\nconsumers:\n- {name: billing, kcl_application: %s, group: %s}\n", d.URL(), m.app, m.group)
	return m
}

// A planned is what the offsets commands print.
type planned struct {
	Result struct {
		Plan    string
		Replays int64
		Copies  int64
		Exact   bool
		Cut     map[string]string
		New     []struct{ Partition, Position string }
		Read    int64 `json:"records_read"`
		Counted int64 `json:"records_read_to_count"`
	}
	Error *struct{ Message, Hint string }
}

// offsets runs a command and expects its exit code.
func (m *moving) offsets(code int, args ...string) (p planned) {
	m.t.Helper()
	c := m.j.start(append([]string{"offsets", args[0], "--config", m.j.config("state")}, args[1:]...)...)
	if got := c.wait(2 * time.Minute); got != code {
		m.t.Fatalf("offsets %v: exit %d, want %d\n%s\n%s", args, got, code, c.out.String(), c.stderr())
	}
	if err := json.Unmarshal(c.out.Bytes(), &p); err != nil {
		m.t.Fatalf("offsets %v: %v\n%s", args, err, c.out.String())
	}
	return p
}

// stillFor is three times the failover time of the applications of these tests.
const stillFor = "9s"

// move plans and applies.
func (m *moving) move(args ...string) planned {
	m.t.Helper()
	p := m.offsets(0, append([]string{"plan"}, args...)...)
	m.offsets(0, "apply", "--plan", p.Result.Plan, "--still-for", stillFor)
	return p
}

// program is a Java source beside the tests.
func program(name string) string { return filepath.Join("consumers", name) }

// kcl runs an application on the stream until it was idle, or has processed what it may of
// each shard.
func (m *moving) kcl(version string, limits map[string]int) consumption {
	m.t.Helper()
	a := m.begin(version, limits)
	a.quiet()
	return a.end()
}

// A running is an application that runs.
type running struct {
	m     *moving
	cmd   *exec.Cmd
	began time.Time
	in    io.Closer     // ending it ends the application
	said  chan string   // what it says, closed once it has ended
	errs  *bytes.Buffer // to be read once it has ended
	out   string        // file of what it processed
	hex   bool          // with keys
}

// kclUsers is kcl for rows without numbers: what it was given, with the keys, of so many in
// all.
func (m *moving) kclUsers(version string, limits map[string]int, all int) consumption {
	m.t.Helper()
	limits = maps.Clone(limits)
	if limits == nil {
		limits = map[string]int{}
	}
	limits["hex"], limits["all"] = 1, all
	a := m.begin(version, limits)
	a.quiet()
	return a.end()
}

// begin starts an application of that version.
func (m *moving) begin(version string, limits map[string]int) *running {
	m.t.Helper()
	m.forgetLeader()
	a := &running{m: m, began: time.Now(), said: make(chan string, 10), errs: &bytes.Buffer{}, out: filepath.Join(m.t.TempDir(), "kcl.out"), hex: limits["hex"] > 0}
	idle := "12"
	if limits["all"] > 0 {
		idle = "45" // how long nothing may come before all has
	}
	args := []string{m.app, m.j.stream, m.j.endpoint, m.dynamo.URL(), a.out, idle}
	for _, shard := range slices.Sorted(maps.Keys(limits)) {
		args = append(args, fmt.Sprintf("%s=%d", shard, limits[shard]))
	}
	source := "KclConsumer.java"
	if version == servers.KCL1 {
		source = "Kcl1Consumer.java"
	}
	var err error
	if a.cmd, err = servers.KCLCommand(m.t.Context(), version, program(source), args...); err != nil {
		m.t.Fatal(err)
	}
	a.cmd.Env, a.cmd.Stderr = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true"), a.errs
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err1 := a.cmd.StdoutPipe()
	in, err2 := a.cmd.StdinPipe()
	if err := errors.Join(err1, err2, a.cmd.Start()); err != nil {
		m.t.Fatal(err)
	}
	a.in = in
	go func() {
		defer close(a.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "quiet" {
				a.said <- "quiet"
			}
		}
	}()
	return a
}

// quiet returns once it has nothing to do any more, and renews its leases.
func (a *running) quiet() {
	a.m.t.Helper()
	if _, ok := <-a.said; !ok {
		err := a.cmd.Wait()
		said := a.errs.Bytes()
		a.m.t.Fatalf("%v\n%s", err, said[max(0, len(said)-6000):])
	}
	a.m.t.Logf("%s was quiet after %s", a.cmd.Args[5], time.Since(a.began).Round(time.Second))
}

// end ends it as a machine ends that loses its power, and returns what it processed.
func (a *running) end() consumption {
	a.m.t.Helper()
	a.in.Close()
	for range a.said { // until it is gone
	}
	if err := a.cmd.Wait(); err != nil {
		a.m.t.Fatal(err)
	}
	c := consumption{last: map[string]string{}}
	for f := range fields(a.m.t, a.out) {
		c.last[f[0]] = f[1]
		if a.hex {
			c.users = append(c.users, userOf(a.m.t, f))
		} else {
			c.rows = append(c.rows, rowNumber(a.m.t, f[3]))
		}
	}
	return c
}

// userOf reads a line with a key.
func userOf(t *testing.T, f []string) user {
	t.Helper()
	head, tail, _ := strings.Cut(f[3], ":")
	sub, err := strconv.ParseUint(f[2], 10, 32)
	key, err2 := hex.DecodeString(head)
	value, err3 := hex.DecodeString(tail)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatalf("the application said %q: %v", f, err)
	}
	return user{shard: f[0], seq: f[1], sub: uint32(sub), key: string(key), value: string(value)}
}

func (m *moving) run(cmd *exec.Cmd) {
	m.t.Helper()
	began := time.Now()
	if said, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, said[max(0, len(said)-6000):])
	}
	m.t.Logf("%s ran %s", cmd.Args[5], time.Since(began).Round(time.Second))
}

// fields yields the tab-separated fields of a file's lines.
func fields(t *testing.T, file string) func(func([]string) bool) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func([]string) bool) {
		lines := bufio.NewScanner(bytes.NewReader(b))
		lines.Buffer(nil, 8<<20)
		for lines.Scan() {
			if !yield(strings.SplitN(lines.Text(), "\t", 4)) {
				return
			}
		}
	}
}

func (m *moving) api() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(m.dynamo.URL()), Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// forgetLeader takes away what a process of the KCL 3.x that was killed leaves behind, and
// on which its successor would wait for minutes: no lease.
func (m *moving) forgetLeader() {
	api := m.api()
	page, err := api.Scan(m.t.Context(), &dynamodb.ScanInput{TableName: &m.app})
	if err != nil {
		return // there is no table yet
	}
	for _, it := range page.Items {
		kind, ok := it["entityType"].(*types.AttributeValueMemberS)
		if !ok || kind.Value != "LEADER" {
			continue
		}
		_, err := api.DeleteItem(m.t.Context(), &dynamodb.DeleteItemInput{TableName: &m.app, Key: map[string]types.AttributeValue{"leaseKey": it["leaseKey"]}})
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// java consumes the topic as the group with Kafka's own client.
func (m *moving) java(mode string, limits map[int]int) consumption {
	m.t.Helper()
	out := filepath.Join(m.t.TempDir(), "kafka.out")
	args := []string{strings.Join(m.j.brokers, ","), m.group, m.j.topic, out, "5", mode, "classic"}
	for p, n := range limits {
		args = append(args, fmt.Sprintf("%d=%d", p, n))
	}
	cmd, err := servers.KafkaCommand(m.t.Context(), program("KafkaReader.java"), args...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.run(cmd)
	var c consumption
	for f := range fields(m.t, out) {
		header, _ := hex.DecodeString(f[2])
		c.headers = append(c.headers, header)
		c.rows = append(c.rows, rowNumber(m.t, f[3]))
	}
	return c
}

// A place is a record of the topic.
type place struct {
	offset int64
	row    int
}

// topic reads the whole topic with a client of its own, each partition in its order.
func (m *moving) topic() map[int][]place {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(m.j.brokers...), kgo.ConsumeTopics(m.j.topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, m.j.topic)
	if err != nil {
		m.t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	out := map[int][]place{}
	for len(left) > 0 && ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			out[int(r.Partition)] = append(out[int(r.Partition)], place{r.Offset, rowNumber(m.t, string(r.Value))})
			if r.Offset+1 >= left[r.Partition]-1 { // the last offset can be a marker's
				delete(left, r.Partition)
			}
		})
		if n := c.BufferedFetchRecords(); n == 0 && len(out) == len(left) {
			break
		}
	}
	return out
}

// committed is what the group has committed.
func (m *moving) committed() map[int]int64 {
	m.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(m.j.brokers...))
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	got, err := kadm.NewClient(c).FetchOffsets(m.t.Context(), m.group)
	if err != nil {
		m.t.Fatal(err)
	}
	out := map[int]int64{}
	got.Each(func(o kadm.OffsetResponse) { out[int(o.Partition)] = o.At })
	return out
}

// equation holds that what was consumed before and after is everything, and that what was
// consumed twice is exactly what was announced.
func (m *moving) equation(what string, before map[int]bool, after consumption, all []checker.Row, announced int64) {
	m.t.Helper()
	again, once := int64(0), map[int]bool{}
	for _, n := range after.rows {
		if before[n] || once[n] {
			again++
		}
		once[n] = true
	}
	missing := 0
	for _, r := range all {
		if !before[r.N] && !once[r.N] {
			missing++
		}
	}
	m.t.Logf("%s: %d rows, %d consumed before, %d after: missing %d, again %d, announced %d", what, len(all), len(before), len(after.rows), missing, again, announced)
	if missing != 0 || again != announced {
		m.t.Errorf("%s: %d rows were skipped, %d came again, %d were announced", what, missing, again, announced)
	}
}

// aggregates puts rows, every fourth of them with the two that follow it as one aggregate
// of the KPL under one key. It returns how many user records each shard holds.
func aggregates(t *testing.T, s *kinesistest.Stream, rows []checker.Row) {
	t.Helper()
	for i := 0; i < len(rows); {
		r := rows[i]
		if i%4 != 0 || i+3 > len(rows) {
			if err := s.Put(kinesistest.Entry{Key: r.Key, Data: r.Value}); err != nil {
				t.Fatal(err)
			}
			i++
			continue
		}
		var b kpl.Builder
		for _, u := range rows[i : i+3] {
			if err := b.Add([]byte(r.Key), nil, u.Value, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Put(kinesistest.Entry{Key: r.Key, Data: b.Finish(nil)}); err != nil {
			t.Fatal(err)
		}
		i += 3
	}
}

// users counts the user records of a shard.
func users(t *testing.T, s *kinesistest.Stream, shard string) int {
	t.Helper()
	records, err := s.Records(shard)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range records {
		if kpl.HasMagic(r.Data) {
			n += 3
		} else {
			n++
		}
	}
	return n
}

// numbered are flights whose values begin with their number.
func numbered(t *testing.T, n int) []checker.Row {
	rows := rowsOf(t, n)
	for i := range rows {
		rows[i].N = i
		rows[i].Value = append(fmt.Appendf(nil, "%d|", i), rows[i].Value...)
	}
	return rows
}

// sharedDynamoDB is the one DynamoDB of all tests, started by the first that asks; their
// tables have names of their own.
func sharedDynamoDB(t *testing.T) *servers.DynamoDB {
	t.Helper()
	d, err := bench.dynamo()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A real application on the KCL consumes a part of each shard while reshards are under way
// and stops; a group of the Java client goes on where it stood, and is moved back in the
// middle.
func TestIntegrationConsumersMoveThereAndBack(t *testing.T) {
	t.Parallel() // it mostly waits
	d := sharedDynamoDB(t)
	for _, version := range []string{servers.KCL3, servers.KCL2, servers.KCL1} {
		t.Run("KCL "+version, func(t *testing.T) {
			t.Parallel() // an application mostly waits
			rows := numbered(t, 3000)
			srv := newKinesis(t, noRates)
			s, err := srv.CreateStream("source", 3)
			if err != nil {
				t.Fatal(err)
			}
			aggregates(t, s, rows[:1800])
			for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
				if _, _, err := s.Split(shard, ""); err != nil {
					t.Fatal(err)
				}
			}
			aggregates(t, s, rows[1800:])
			j := newJob(t, toKafka, srv, "source", unique("moved"))
			m := newMoving(t, j, d)
			m.stream = s
			j.catchUp("state")
			// The first shard is read to its end, of all others a part: the second is closed, so
			// that its children are not begun.
			limits := map[string]int{}
			for i, shard := range s.Shards()[1:] {
				limits[shard.ID] = users(t, s, shard.ID) * (30 + 10*i) / 100
			}
			through := m.record()
			application := m.begin(version, limits)
			application.quiet()
			refused := m.refusedWhileRunning(through)
			before := application.end().set()
			there := m.move()
			topic := m.topic()
			if least := leastReplays(topic, before); least != there.Result.Replays {
				t.Errorf("announced %d replays, the least there can be is %d", there.Result.Replays, least)
			}
			after := m.java("look", nil)
			m.equation("to Kafka", before, after, rows, there.Result.Replays)
			m.equation("to Kafka, filtered", before, filtered(t, after, there.Result.Cut), rows, 0)

			m.java("commit", m.halfBehind(topic))
			consumed := m.consumedOf(topic)
			refused += m.refusedWhenStarted(version, through)
			back := m.move("--back", "--allow-rewind")
			again := m.offsets(0, "plan", "--allow-rewind").Result.Plan
			application = m.begin(version, nil)
			application.quiet()
			m.refused("the application started behind the plan", through, isRunning, again)
			m.equation("back to Kinesis", consumed, application.end(), rows, back.Result.Replays)
			t.Logf("figures: apply beside a running KCL %s: %d refused, nothing written", version, refused+1)
		})
	}
}

// halfBehind is half of what the group has not consumed of each partition.
func (m *moving) halfBehind(topic map[int][]place) map[int]int {
	m.t.Helper()
	start, half := m.committed(), map[int]int{}
	for p, list := range topic {
		behind := 0
		for _, r := range list {
			if r.offset >= start[p] {
				behind++
			}
		}
		half[p] = behind / 2
	}
	return half
}

// consumedOf is what the group has consumed.
func (m *moving) consumedOf(topic map[int][]place) map[int]bool {
	m.t.Helper()
	next, consumed := m.committed(), map[int]bool{}
	for p, list := range topic {
		for _, r := range list {
			if r.offset < next[p] {
				consumed[r.row] = true
			}
		}
	}
	return consumed
}

// leastReplays walks the topic: behind the first unconsumed record of each partition, what
// was consumed comes again, and nothing can be done about it with one offset.
func leastReplays(topic map[int][]place, consumed map[int]bool) (n int64) {
	for _, list := range topic {
		first := slices.IndexFunc(list, func(r place) bool { return !consumed[r.row] })
		if first < 0 {
			continue
		}
		for _, r := range list[first:] {
			if consumed[r.row] {
				n++
			}
		}
	}
	return n
}

// filtered is what the cut-over filter leaves.
func filtered(t *testing.T, c consumption, cut map[string]string) (out consumption) {
	t.Helper()
	f, err := filter.New(cut)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.rows {
		if !f.Consumed(c.headers[i]) {
			out.rows = append(out.rows, n)
		}
	}
	return out
}

// A topic is mirrored to a new stream in a format that the KCL reads; its group stops in
// the middle, and a real application begins on the new stream. It is moved back, too.
func TestIntegrationConsumersMoveToANewStream(t *testing.T) {
	t.Parallel() // it mostly waits
	d := sharedDynamoDB(t)
	for _, format := range []string{"raw", "kpl", "kpl, aggregate: shard"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			m, before, plan, rows := toNewStream(t, d, format)
			m.equation("to a new stream", before, m.kcl(servers.KCL3, nil), rows, plan.Result.Replays)
		})
	}
	t.Run("raw and back", func(t *testing.T) {
		t.Parallel()
		m, _, _, rows := toNewStream(t, d, "raw")
		limits := map[string]int{}
		for i, shard := range m.stream.Shards() {
			limits[shard.ID] = 40 + 50*i
		}
		// What the application has consumed of a shard is all up to its last record there.
		consumed := map[int]bool{}
		for shard, last := range m.kcl(servers.KCL3, limits).last {
			records, err := m.stream.Records(shard)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				consumed[rowNumber(t, string(r.Data))] = true
				if r.SequenceNumber == last {
					break
				}
			}
		}
		back := m.move("--back", "--allow-rewind")
		m.equation("and back to the topic", consumed, m.java("look", nil), rows, back.Result.Replays)
	})
}

// toNewStream mirrors a topic and moves its group, which has consumed a part of it.
func toNewStream(t *testing.T, d *servers.DynamoDB, format string) (m *moving, before map[int]bool, plan planned, rows []checker.Row) {
	t.Helper()
	rows = numbered(t, 3000)
	srv := newKinesis(t, noRates)
	topic := unique("leaving")
	createTopic(t, bench.kafka.Brokers(), topic, 6)
	produce(t.Context(), t, bench.kafka.Brokers(), topic, rows, 6, 0)
	j := newJob(t, toKinesis, srv, unique("new"), topic)
	j.format = format
	if kind, of, ok := strings.Cut(format, ", aggregate: "); ok {
		j.format, j.aggregate = kind, of
	}
	m = newMoving(t, j, d)
	j.catchUp("state")
	m.stream = srv.Stream(j.stream)
	part, zero := map[int]int{}, map[int32]int64{}
	for p, list := range m.topic() {
		part[p], zero[int32(p)] = len(list)*(20+10*p)/100, 0
	}
	commitOffsets(t, j.brokers, m.group, topic, zero)
	before = m.java("commit", part).set()
	return m, before, m.move(), rows
}

func commitOffsets(t *testing.T, brokers []string, group, topic string, next map[int32]int64) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var offsets kadm.Offsets
	for p, at := range next {
		offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: -1})
	}
	if err := kadm.NewClient(c).CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}
