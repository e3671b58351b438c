package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A besideMirror is a mirror of this program that runs beside a test, from the topic orders
// to the stream orders. What it prints is to be read when it has ended.
type besideMirror struct {
	signals chan os.Signal
	ended   chan int
	out     bytes.Buffer
}

func mirrorBeside(t *testing.T, srv *kinesistest.Server, cluster *kfake.Cluster) *besideMirror {
	t.Helper()
	env := map[string]string{
		"BRIDGE_WORKFLOW": "orders", "BRIDGE_DIRECTION": kafkaToKinesis, "BRIDGE_KINESIS_STREAM": "orders", "BRIDGE_KINESIS_REGION": srv.Region(),
		"BRIDGE_KINESIS_ENDPOINT_URL": srv.URL(), "BRIDGE_KINESIS_FORMAT": "raw", "BRIDGE_ACCEPT_LOSS": "timestamp", "BRIDGE_KAFKA_TOPIC": "orders",
		"BRIDGE_KAFKA_BROKERS": strings.Join(cluster.ListenAddrs(), ","), "BRIDGE_KAFKA_REPLICATION_FACTOR": "1", "BRIDGE_STATE": "file:" + t.TempDir(),
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	m := &besideMirror{signals: make(chan os.Signal, 1), ended: make(chan int, 1)}
	a := &app{stdout: &m.out, stderr: &m.out, signals: m.signals, adapters: realAdapters(), env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	config := emptyConfig(t)
	go func() {
		m.ended <- a.run(context.WithoutCancel(t.Context()), []string{"mirror", "run", "--config", config})
	}()
	return m
}

// idlePartitions is how many partitions have no records while one has.
const idlePartitions = 255

// Partitions without records do not hold up one that has some: it is carried within a
// second, however many wait beside it.
func TestIdlePartitionsHoldUpNobody(t *testing.T) {
	srv, err := kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	if _, err := srv.CreateStream("orders", 2); err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(idlePartitions+1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	carried := make(chan string, 10_000)
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		for _, e := range c.Entries {
			carried <- string(e.Data)
		}
		return kinesistest.Fault{}
	})
	m := mirrorBeside(t, srv, cluster)
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	send := func(partition int, value string) {
		t.Helper()
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: int32(partition), Key: []byte(value), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	await := func(value string) {
		t.Helper()
		for limit := time.After(time.Minute); ; {
			select {
			case v := <-carried:
				if strings.HasPrefix(v, value) {
					return
				}
			case code := <-m.ended:
				t.Fatalf("the mirror ended with %d\n%s", code, m.out.String())
			case <-limit:
				t.Fatalf("%s was not carried in a minute", value)
			}
		}
	}
	var took []time.Duration
	for n := range 3 {
		for p := range idlePartitions + 1 { // all of them are read, and become idle
			send(p, fmt.Sprint("burst ", n))
		}
		for range idlePartitions + 1 {
			await(fmt.Sprint("burst ", n))
		}
		for i := range 3 {
			began := time.Now()
			value := fmt.Sprint("record ", n, ".", i)
			send(7, value)
			await(value)
			took = append(took, time.Since(began))
		}
	}
	m.signals <- syscall.SIGTERM
	if code := <-m.ended; code != exitSignal+int(syscall.SIGTERM) && code != exitDone {
		t.Errorf("exit code %d\n%s", code, m.out.String())
	}
	t.Logf("carried in %s", took)
	slices.Sort(took)
	if m := took[len(took)/2]; m > time.Second {
		t.Errorf("a record is carried after %s", m)
	}
}

// A target stream that is deleted and created again while puts are under way, so quickly that
// no put meets the gap, takes records until the mirror asks it again who it is: for five
// seconds and as long as that answer takes.
func TestRecreatedTargetTakesRecordsForSeconds(t *testing.T) {
	srv, err := kinesistest.Start(kinesistest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	if _, err := srv.CreateStream("orders", 4); err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	var backlog []*kgo.Record
	for n := range 60_000 { // more than four shards take in a quarter of a minute
		backlog = append(backlog, &kgo.Record{Topic: "orders", Key: fmt.Append(nil, "key", n), Value: []byte("value")})
	}
	if err := producer.ProduceSync(t.Context(), backlog...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	underWay, recreated := make(chan struct{}, 1), make(chan struct{})
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "PutRecords" || c.N < 5 {
			return kinesistest.Fault{}
		}
		select {
		case underWay <- struct{}{}:
		default:
		}
		return kinesistest.Fault{Wait: recreated}
	})
	m := mirrorBeside(t, srv, cluster)
	<-underWay
	if err := callKinesis(srv.URL(), "DeleteStream", `{"StreamName":"orders"}`); err != nil {
		t.Fatal(err)
	}
	st, err := srv.CreateStream("orders", 4)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	close(recreated)
	code := <-m.ended
	if code != exitGone || !strings.Contains(m.out.String(), "was recreated") {
		t.Errorf("exit code %d\n%s", code, m.out.String())
	}
	var landed int
	var last time.Duration
	for _, shard := range st.Shards() {
		records, err := st.Records(shard.ID)
		if err != nil {
			t.Fatal(err)
		}
		landed += len(records)
		for _, r := range records {
			last = max(last, r.Arrival.Sub(began))
		}
	}
	t.Logf("%d records landed, the last after %s", landed, last.Round(time.Millisecond))
	if landed == 0 || last > 10*time.Second {
		t.Errorf("%d records landed, the last after %s", landed, last)
	}
}
