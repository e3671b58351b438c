//go:build integration

package integration

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// Records of exactly what the stream takes, and of a byte less, from a topic through a
// stream in each format and on to another topic. One of a byte more ends the mirror, which
// names it, before anything of it is put.
func TestIntegrationSizes(t *testing.T) {
	f, _, _ := prove(t, "nothing: records at the stream's limit, kafka to kinesis to kafka", 6, 0)
	verdicts := make(chan checker.Verdict, 6)
	t.Run("all", func(t *testing.T) {
		for _, limit := range []int{1 << 20, 10 << 20} {
			for _, format := range []string{"raw", "kpl", "envelope"} {
				t.Run(fmt.Sprint(format, " ", limit>>20, " MiB"), func(t *testing.T) {
					t.Parallel() // they wait more than they work
					s := &sizes{t: t, srv: newKinesis(t, noRates), limit: limit, format: format, topic: unique("sizes")}
					s.run()
					verdicts <- onward(t, s.srv, "packed", s.rows)
				})
			}
		}
	})
	close(verdicts)
	for v := range verdicts {
		f.runs++
		f.judged(v)
	}
	f.print("1 MiB and 10 MiB in raw, kpl and envelope; one of a byte more refused in each")
}

// sizes is one run.
type sizes struct {
	t      *testing.T
	srv    *kinesistest.Server
	limit  int
	format string
	topic  string
	rows   []checker.Row // what was produced and is to arrive
}

func (s *sizes) run() {
	t := s.t
	s.createStream()
	createTopic(t, bench.kafka.Brokers(), s.topic, 1, fmt.Sprint("max.message.bytes=", s.limit+1<<20))
	j := newJob(t, toKinesis, s.srv, "packed", s.topic)
	j.format = s.format
	// What the frame takes is measured on a record that is well below.
	value := s.limit - 1000
	s.produce(s.row(0, value))
	j.catchUp("state")
	value += s.limit - s.stored()[0]
	s.produce(s.row(1, value-1))
	s.produce(s.row(2, value))
	j.catchUp("state")
	if got := s.stored(); !slices.Equal(got[1:], []int{s.limit - 1, s.limit}) {
		t.Fatalf("the records of the stream have %d bytes, want the last two to have %d and a byte less", got, s.limit)
	}
	arrived := s.rows
	s.produce(s.row(3, value+1))
	s.rows = arrived
	c := j.mirror("state", "--until-caught-up")
	c.stops(1, fmt.Sprintf("%s 0 3: the record has %d bytes", s.topic, s.limit+1))
	if got := s.stored(); len(got) != 3 {
		t.Errorf("records of %d bytes are on the stream, the refused one among them", got)
	}
}

func (s *sizes) createStream() {
	sdk := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.srv.URL()), HTTPClient: s.srv.HTTPClient(), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err := sdk.CreateStream(s.t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("packed"), ShardCount: aws.Int32(4), MaxRecordSizeInKiB: aws.Int32(int32(s.limit >> 10))})
	if err != nil {
		s.t.Fatal(err)
	}
}

// row has a key of the n-th of four shards, so that no shard's read budget is used up.
func (s *sizes) row(n, value int) checker.Row {
	for i := 0; ; i++ {
		key := fmt.Sprintf("k%03d", i)
		if h := md5.Sum([]byte(key)); int(h[0]>>6) == n {
			return checker.Row{N: n + 1, Key: key, Value: bytes.Repeat([]byte{byte('a' + n)}, value), Time: time.Now().Truncate(time.Millisecond).UTC()}
		}
	}
}

func (s *sizes) produce(r checker.Row) {
	c := dial(s.t, bench.kafka.Brokers(), kgo.ProducerBatchMaxBytes(16<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err := c.ProduceSync(s.t.Context(), &kgo.Record{Topic: s.topic, Key: []byte(r.Key), Value: r.Value, Timestamp: r.Time}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	if s.format == "raw" {
		r.Time = time.Time{} // which it does not carry
	}
	s.rows = append(s.rows, r)
}

// stored are the sizes of the stream's records, key and data, the largest last.
func (s *sizes) stored() (all []int) {
	st := s.srv.Stream("packed")
	for _, shard := range st.Shards() {
		recs, err := st.Records(shard.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range recs {
			all = append(all, len(r.Key)+len(r.Data))
		}
	}
	slices.Sort(all)
	return all
}
