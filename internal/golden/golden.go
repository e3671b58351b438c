// Package golden holds what earlier versions of the program left behind: the state
// directory, the topics, the stream and the lease tables of an unfinished migration, in each
// direction and format, after a clean stop and after kill -9. [Load] brings one back on
// servers of its own, so that a test can have this version go on from it.
//
// internal/golden/record made the files under testdata; see the README there.
package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A World is the services of one migration, and the directory that the program runs in.
type World struct {
	Kinesis *kinesistest.Server
	Kafka   *kfake.Cluster
	Dynamo  *dynamotest.Server
	// Dir holds bridge.yaml and what the program keeps: its state, plans and reports.
	Dir string
}

// What every recording has in common.
const (
	Stream   = "orders"
	Topic    = "orders"
	Consumer = "billing"
	Table    = "billing-app" // the lease table of the consumer
)

// The rows of a recording, as they were put: the first Done were mirrored by a run that
// ended, those up to Sent are in the source.
const (
	Done = 600
	Sent = 700
)

// A Row is one record of the source.
type Row struct {
	N     int
	Key   string
	Null  bool // the key is null: of Kafka only
	Value []byte
}

// Rows are all rows that the source of a recording holds.
func Rows(toKafka bool) []Row {
	rows := make([]Row, Sent)
	for i := range rows {
		rows[i] = Row{N: i, Key: fmt.Sprint("key", i%17), Value: fmt.Append(nil, "value ", i)}
		if !toKafka && i%25 == 24 {
			rows[i].Null, rows[i].Key = true, ""
		}
	}
	return rows
}

// Start makes an empty world whose directory is dir. Kafka keeps its data in dir/kafka.
// The clock of Kinesis shows now, and goes on from there.
func Start(dir string, now time.Time) (*World, error) {
	w := &World{Dir: filepath.Join(dir, "home")}
	began := time.Now()
	var err error
	if w.Kinesis, err = kinesistest.Start(kinesistest.Config{
		Limits: kinesistest.Limits{Off: true},
		Clock:  func() time.Time { return now.Add(time.Since(began)) },
	}); err != nil {
		return nil, err
	}
	if w.Dynamo, err = dynamotest.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if w.Kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(dir, "kafka"))); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, os.MkdirAll(w.Dir, 0o700)
}

// Close ends the services.
func (w *World) Close() error {
	if w.Kafka != nil {
		w.Kafka.Close()
	}
	var err error
	if w.Dynamo != nil {
		err = w.Dynamo.Close()
	}
	return errors.Join(err, w.Kinesis.Close())
}

// Configure writes the configuration with the addresses of the services in the places of
// $KINESIS, $KAFKA, $DYNAMO and $DIR.
func (w *World) Configure(name, text string) (string, error) {
	text = os.Expand(text, func(name string) string {
		return map[string]string{
			"KINESIS": w.Kinesis.URL(), "KAFKA": strings.Join(w.Kafka.ListenAddrs(), `","`), "DYNAMO": w.Dynamo.URL(), "DIR": w.Dir,
		}[name]
	})
	file := filepath.Join(w.Dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// Env is what a process of the program needs beside the environment of this one.
func Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true"}
}

// Names are the recordings, one for each kind of migration and end.
func Names() []string {
	var names []string
	for _, k := range Kinds {
		names = append(names, k.Name+"-clean", k.Name+"-killed")
	}
	return names
}

// Load brings a recording back. Kinesis has the clock of that day. The services end with
// the test.
func Load(t testing.TB, name string) *World {
	t.Helper()
	dir := t.TempDir()
	if err := unpack(name, dir); err != nil {
		t.Fatal(err)
	}
	stream, err := os.ReadFile(filepath.Join(dir, kinesisFile))
	if err != nil {
		t.Fatal(err)
	}
	at, err := kinesistest.Dumped(stream)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Start(dir, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if err := w.restore(dir, stream); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *World) restore(dir string, stream []byte) error {
	if err := w.Kinesis.Restore(stream); err != nil {
		return err
	}
	items, err := os.ReadFile(filepath.Join(dir, dynamoFile))
	if err != nil {
		return err
	}
	w.Dynamo.Create(Table, "leaseKey")
	for line := range strings.Lines(string(items)) {
		if err := w.Dynamo.Put(Table, line); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	_, err = w.Configure("bridge.yaml", string(text))
	return err
}
