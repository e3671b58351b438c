// Command record makes the recordings of internal/golden with a program of an earlier
// version:
//
//	go run ./internal/golden/record -bridge PROGRAM -out internal/golden/testdata
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/internal/golden"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

func main() {
	program := flag.String("bridge", "", "the program that is recorded")
	out := flag.String("out", "", "where the recordings go")
	only := flag.String("only", "", "one recording")
	flag.Parse()
	for _, k := range golden.Kinds {
		for _, end := range []string{"clean", "killed"} {
			name := k.Name + "-" + end
			if *only != "" && *only != name {
				continue
			}
			if err := record(*program, filepath.Join(*out, name+".tar.gz"), k, end == "killed"); err != nil {
				fmt.Fprintf(os.Stderr, "record %s: %v\n", name, err)
				os.Exit(1)
			}
		}
	}
}

// A recorder makes one recording.
type recorder struct {
	*golden.World
	golden.Kind
	ctx     context.Context
	program string
	rows    []golden.Row
	client  *kgo.Client
}

func record(program, file string, k golden.Kind, killed bool) error {
	dir, err := os.MkdirTemp("", "record-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := golden.Start(dir, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r := &recorder{World: w, Kind: k, ctx: ctx, program: program, rows: golden.Rows(k.ToKafka)}
	if r.client, err = kgo.NewClient(kgo.SeedBrokers(w.Kafka.ListenAddrs()...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		return err
	}
	steps := []func() error{r.first, r.second, r.consumer, r.look, r.third}
	if killed {
		steps = append(steps, r.kill)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	r.client.Close()
	return w.Save(dir, file, k)
}

// bridge runs the program to its end.
func (r *recorder) bridge(args ...string) ([]byte, error) {
	cmd := r.command(args...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("bridge %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), talk.String())
	}
	return out.Bytes(), nil
}

func (r *recorder) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(r.ctx, r.program, append(args, "--config", "bridge.yaml", "--output", "json")...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), golden.Env()...)
	return cmd
}

// first mirrors what is there when a migration begins.
func (r *recorder) first() error {
	var err error
	if r.ToKafka {
		_, err = r.Kinesis.CreateStream(golden.Stream, 2)
	} else {
		err = r.Kafka.CreateTopic(golden.Topic, 3, nil)
	}
	if err != nil {
		return err
	}
	if _, err := r.Configure("bridge.yaml", r.Kind.Config()); err != nil {
		return err
	}
	if err := r.put(0, golden.Done/2); err != nil {
		return err
	}
	_, err = r.bridge("mirror", "run", "--until-caught-up")
	return err
}

// second goes on after a reshard.
func (r *recorder) second() error {
	if err := r.hold(); err != nil {
		return err
	}
	if _, _, err := r.Kinesis.Stream(golden.Stream).Split("shardId-000000000001", ""); err != nil {
		return err
	}
	if err := r.put(golden.Done/2, golden.Done); err != nil {
		return err
	}
	_, err := r.bridge("mirror", "run", "--until-caught-up")
	return err
}

// hold asks Kinesis to keep records for as long as it can.
func (r *recorder) hold() error {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodPost, r.Kinesis.URL(),
		strings.NewReader(fmt.Sprintf(`{"StreamName":%q,"RetentionPeriodHours":8760}`, golden.Stream)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.IncreaseStreamRetentionPeriod")
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("keep the records of the stream: %s", answer.Status)
	}
	return nil
}

// put gives the source some rows.
func (r *recorder) put(from, to int) error {
	if r.ToKafka {
		for _, row := range r.rows[from:to] {
			if err := r.Kinesis.Stream(golden.Stream).Put(kinesistest.Entry{Key: row.Key, Data: row.Value}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, row := range r.rows[from:to] {
		rec := &kgo.Record{Topic: golden.Topic, Key: []byte(row.Key), Value: row.Value}
		if row.Null {
			rec.Key = nil
		}
		if !r.Raw() && row.N%3 == 0 {
			rec.Headers = []kgo.RecordHeader{{Key: "trace", Value: fmt.Append(nil, row.N)}}
		}
		if err := r.client.ProduceSync(r.ctx, rec).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// consumer moves the consumer to the other side. It can be taken back.
func (r *recorder) consumer() error {
	r.Dynamo.Create(golden.Table, "leaseKey")
	if r.ToKafka {
		for shard, n := range map[string]int{"shardId-000000000000": 90, "shardId-000000000001": 70} {
			records, err := r.Kinesis.Stream(golden.Stream).Records(shard)
			if err != nil {
				return err
			}
			if err := r.Dynamo.Put(golden.Table, fmt.Sprintf(`{"leaseKey":{"S":%q},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"7"},`+
				`"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":%q},"checkpointSubSequenceNumber":{"N":"0"}}`, shard, records[n].SequenceNumber)); err != nil {
				return err
			}
		}
	} else {
		var offsets kadm.Offsets
		for p, at := range []int64{40, 70, 100} {
			offsets.Add(kadm.Offset{Topic: golden.Topic, Partition: int32(p), At: at, LeaderEpoch: -1})
		}
		if err := kadm.NewClient(r.client).CommitAllOffsets(r.ctx, golden.Consumer, offsets); err != nil {
			return err
		}
	}
	out, err := r.bridge("offsets", "plan")
	if err != nil {
		return err
	}
	var plan struct{ Result struct{ Plan string } }
	if err := json.Unmarshal(out, &plan); err != nil {
		return err
	}
	_, err = r.bridge("offsets", "apply", "--plan", plan.Result.Plan, "--still-for", "1s")
	return err
}

// look verifies what is there, and makes a report of it.
func (r *recorder) look() error {
	if _, err := r.bridge("verify", "run", "--settle", "100ms"); err != nil {
		return err
	}
	_, err := r.bridge("report", "create", "--valid-for", "876000h")
	return err
}

// third leaves rows that nobody has mirrored yet.
func (r *recorder) third() error { return r.put(golden.Done, golden.Sent) }

// kill runs the program until it writes to the target, and ends it while records are under
// way: they land, or some of them, and it never hears of that.
func (r *recorder) kill() error {
	cmd := r.command("mirror", "run")
	var talk bytes.Buffer
	cmd.Stderr = &talk
	shot := sync.OnceFunc(func() { _ = cmd.Process.Kill() })
	if r.ToKafka {
		target := r.Kafka.TopicInfo(golden.Topic).TopicID
		r.Kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			r.Kafka.KeepControl()
			if writes(req.(*kmsg.ProduceRequest), target) {
				shot()
			}
			return nil, nil, false
		})
	} else {
		r.Kinesis.SetFault(func(c kinesistest.Call) kinesistest.Fault {
			if c.Op != "PutRecords" {
				return kinesistest.Fault{}
			}
			shot()
			refused := map[int]string{}
			for i := range c.Entries {
				if i%2 == 1 {
					refused[i] = ""
				}
			}
			return kinesistest.Fault{FailEntries: refused}
		})
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	if r.ctx.Err() != nil || !strings.Contains(fmt.Sprint(err), "killed") {
		return fmt.Errorf("it was not killed: %w\n%s", err, talk.String())
	}
	// A call that was under way is over when the server has no more of it.
	return r.client.Ping(r.ctx)
}

// writes reports whether a request puts records into the target topic.
func writes(req *kmsg.ProduceRequest, target [16]byte) bool {
	for _, t := range req.Topics {
		if t.Topic == golden.Topic || t.TopicID == target {
			return true
		}
	}
	return false
}
