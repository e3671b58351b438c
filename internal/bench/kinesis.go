package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// SourceStream is the stream that holds the rows. What a client of a name writes goes to
// the stream of that name.
const SourceStream = "bench-source"

// A Served is what a server has to say, one line of JSON each time: first where it
// listens, then an answer to every line that it reads.
type Served struct {
	Address string         `json:"address,omitempty"`
	Calls   map[string]Ops `json:"calls,omitempty"`
	Verdict *Verdict       `json:"verdict,omitempty"`
	// Unanswered is the most records of one partition key that were put and not answered at
	// one time.
	Unanswered int    `json:"unanswered,omitempty"`
	Error      string `json:"error,omitempty"`
}

// Ops are the calls of one operation so far, and the records that they carried.
type Ops struct {
	Calls   int `json:"calls"`
	Records int `json:"records"`
}

// Streams are what a Kinesis of a benchmark holds.
type Streams struct {
	// Proved are streams into which clients put: what arrives is proved and dropped. If there
	// are none, and Kept is empty, the source is there, which makes its records when they are
	// read.
	Proved []string
	// Kept is a stream whose records stay, in a file of Dir.
	Kept, Dir string
}

// ServeKinesis runs a Kinesis without rates until in ends. A line of in is the name of a
// stream whose verdict is wanted, or of nothing.
func ServeKinesis(ctx context.Context, l Load, streams Streams, in io.Reader, out io.Writer) error {
	conf := kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Latency: l.Latency, LogSize: 1, SpillDir: streams.Dir}
	srv, err := kinesistest.Start(conf)
	if err != nil {
		return err
	}
	defer srv.Close()
	proofs, err := streams.create(srv, l.Rows())
	if err != nil {
		return err
	}
	say := json.NewEncoder(out)
	if err := say.Encode(Served{Address: srv.URL()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		s := Served{Calls: map[string]Ops{}}
		for _, op := range []string{"GetRecords", "PutRecords"} {
			n := srv.Counts(op)
			s.Calls[op] = Ops{n.Calls, n.Served + n.Stored}
		}
		if p := proofs[lines.Text()]; p != nil {
			v := p.Verdict()
			s.Verdict = &v
			s.Unanswered = srv.Stream(lines.Text()).MostUnanswered()
		}
		if err := say.Encode(s); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// create makes the streams, and what judges those that are proved.
func (s Streams) create(srv *kinesistest.Server, rows *Rows) (map[string]*Proof, error) {
	switch {
	case s.Kept != "":
		_, err := srv.CreateStream(s.Kept, rows.Shards)
		return nil, err
	case len(s.Proved) == 0:
		return nil, synthesize(srv, rows)
	}
	proofs := map[string]*Proof{}
	for _, name := range s.Proved {
		st, err := srv.CreateStream(name, rows.Shards)
		if err != nil {
			return nil, err
		}
		p := NewProof(rows)
		proofs[name] = p
		st.CountUnanswered()
		st.Discard(func(_ string, r kinesistest.Record) { p.AddPacked(r.Key, r.Data) })
	}
	return proofs, nil
}

// synthesize makes the source stream.
func synthesize(srv *kinesistest.Server, rows *Rows) error {
	st, err := srv.CreateStream(SourceStream, rows.Shards)
	if err != nil {
		return err
	}
	byShard := rows.byShard()
	for i, sh := range st.Shards() {
		of := byShard[i]
		err := st.Synthesize(sh.ID, len(of), func(i int) kinesistest.Entry {
			row := int(of[i])
			return kinesistest.Entry{Key: rows.Key(row), Data: rows.AppendValue(make([]byte, 0, rows.Size), row)}
		})
		if err != nil {
			return fmt.Errorf("make the records of shard %s: %w", sh.ID, err)
		}
	}
	return nil
}
