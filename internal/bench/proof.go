package bench

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// A Proof finds out whether all rows arrived, as they were and in the order of each key.
// It is safe for concurrent use.
type Proof struct {
	rows    *Rows
	mu      sync.Mutex
	seen    []uint64
	last    []int32 // of each key, plus one
	scratch []byte
	v       Verdict
}

// A Verdict is what a Proof found.
type Verdict struct {
	Distinct  int `json:"distinct"`  // rows that arrived
	Repeated  int `json:"repeated"`  // copies of them
	Changed   int `json:"changed"`   // what is no row, or not as it was
	Reordered int `json:"reordered"` // first copies that came behind a later row of their key
	Missing   int `json:"missing"`
}

// Err is nil if everything is there once, unchanged and in order.
func (v Verdict) Err() error {
	if v.Repeated+v.Changed+v.Reordered+v.Missing == 0 {
		return nil
	}
	return fmt.Errorf("of the rows %d are missing, %d repeated, %d changed and %d out of order", v.Missing, v.Repeated, v.Changed, v.Reordered)
}

// NewProof begins a proof that all rows arrive.
func NewProof(rows *Rows) *Proof {
	return &Proof{rows: rows, seen: make([]uint64, (rows.Records+63)/64), last: make([]int32, rows.Keys)}
}

// Add takes one record in the order in which it stands on the target.
func (p *Proof) Add(key string, value []byte) {
	row := RowOf(value)
	p.mu.Lock()
	defer p.mu.Unlock()
	if row < 0 || row >= p.rows.Records || key != p.rows.Key(row) {
		p.v.Changed++
		return
	}
	p.scratch = p.rows.AppendValue(p.scratch[:0], row)
	if !bytes.Equal(p.scratch, value) {
		p.v.Changed++
		return
	}
	if bit := uint64(1) << (row % 64); p.seen[row/64]&bit != 0 {
		p.v.Repeated++
		return
	} else {
		p.seen[row/64] |= bit
	}
	p.v.Distinct++
	last := &p.last[p.rows.KeyOf(row)]
	if int32(row) < *last {
		p.v.Reordered++
	}
	*last = max(*last, int32(row)+1)
}

// AddPacked takes a Kinesis record that may hold several, as the formats kpl and envelope
// put them together.
func (p *Proof) AddPacked(key string, data []byte) {
	if rest, err := envelope.Decode(data); err == nil {
		for i := range rest {
			p.Add(key, rest[i].Value)
		}
		return
	}
	whole, err := kpl.Decode(data, kpl.Limits{})
	if err != nil {
		p.Add(key, data) // a plain record, or what is found to be none
		return
	}
	for i := range whole.Len() {
		r, err := whole.Record(i)
		if err != nil {
			r = kpl.UserRecord{} // is no row
		}
		p.Add(string(r.Key), r.Data)
	}
}

// Verdict is what was found so far.
func (p *Proof) Verdict() Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.v
	v.Missing = p.rows.Records - v.Distinct
	return v
}
