package memstream

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A part is one shard or partition. The stream's lock guards it.
type part struct {
	id      string
	index   int
	parents []string
	bounds  bounds

	closed   bool
	closedAt time.Time
	expired  bool

	log     []entry         // in the order of positions
	trimmed bridge.Position // everything up to here is gone
	next    int64           // the next offset, or the count behind a sequence number
	epoch   int32           // of the leader: grows when the tail is lost
}

// An entry takes one position. A marker is no record; what is gone was one.
type entry struct {
	Stored
	marker, gone bool
	arrived      time.Time
	txn          *Transaction // that it was written in; nil outside of one
	epoch        int32        // of the leader that appended it
}

func (e *entry) at() bridge.Position { return e.Record.Position }

// seqDigits is the number of digits of a Kinesis sequence number.
const seqDigits = 56

// shardDigits begins all sequence numbers of a shard, so that those of two shards are
// told apart, as they are by the service.
func (p *part) shardDigits() string { return fmt.Sprintf("49%06d", p.index) }

// position turns a count into a position.
func (p *part) position(n int64, f Flavour) bridge.Position {
	if f == Kafka {
		return bridge.OffsetPosition(n)
	}
	head := p.shardDigits()
	return bridge.Position{Seq: head + fmt.Sprintf("%0*d", seqDigits-len(head), n)}
}

// owns reports whether a position has the form of those of this partition.
func (p *part) owns(at bridge.Position, f Flavour) bool {
	if f == Kafka {
		_, err := at.Offset()
		return err == nil && at.Sub == 0
	}
	return len(at.Seq) == seqDigits && strings.HasPrefix(at.Seq, p.shardDigits())
}

// behind is the index of the first entry behind a position.
func (p *part) behind(at bridge.Position) int {
	return sort.Search(len(p.log), func(i int) bool { return p.log[i].at().After(at) })
}

// ahead is the last position before one.
func (p *part) ahead(at bridge.Position) bridge.Position {
	i := sort.Search(len(p.log), func(i int) bool { return !at.After(p.log[i].at()) })
	if i == 0 {
		return p.trimmed
	}
	return p.log[i-1].at()
}

// has reports whether an entry with this sequence number is there.
func (p *part) has(seq string) bool {
	i := p.behind(bridge.Position{Seq: seq})
	if i > 0 && p.log[i-1].at().Seq == seq {
		return !p.log[i-1].gone
	}
	return i < len(p.log) && p.log[i].at().Seq == seq && !p.log[i].gone
}

// end is the last position that was taken, zero if none ever was.
func (p *part) end() bridge.Position {
	if n := len(p.log); n > 0 {
		return p.log[n-1].at()
	}
	return p.trimmed
}

// drop removes the first n entries.
func (p *part) drop(n int) {
	if n == 0 {
		return
	}
	p.trimmed = p.log[n-1].at()
	p.log = p.log[n:]
}

func (p *part) trim(upTo bridge.Position) {
	// All user records of one Kinesis record go together.
	upTo.Sub = 1<<32 - 1
	p.drop(p.behind(upTo))
}

func (p *part) age(old time.Time) {
	p.drop(sort.Search(len(p.log), func(i int) bool { return !p.log[i].arrived.Before(old) }))
}

func (p *part) loseTail(behind bridge.Position, f Flavour) {
	p.epoch++
	p.log = p.log[:p.behind(behind)]
	if f != Kafka {
		return
	}
	p.next = 0
	if end := p.end(); !end.IsZero() {
		n, _ := end.Offset()
		p.next = n + 1
	}
}

func (p *part) compact() {
	last := map[string]int{}
	for i := range p.log {
		if e := &p.log[i]; !e.marker && e.Record.Key != nil {
			last[string(e.Record.Key)] = i
		}
	}
	for i := range p.log {
		if e := &p.log[i]; !e.marker && e.Record.Key != nil && last[string(e.Record.Key)] != i && i+1 < len(p.log) {
			e.gone = true
		}
	}
}

func (p *part) remove(at bridge.Position) {
	for i := range p.log {
		if p.log[i].at() == at {
			p.log[i].gone = true
		}
	}
}

func (p *part) marker(now time.Time) {
	e := entry{marker: true, arrived: now, epoch: p.epoch}
	e.Record.Position = bridge.OffsetPosition(p.next)
	p.next++
	p.log = append(p.log, e)
}

// batch identifies the entry at or before a position, which is a batch of its own. It is
// not known if no such entry is left.
func (p *part) batch(at bridge.Position) bridge.BatchID {
	i := p.behind(at)
	if i == 0 {
		return bridge.BatchID{}
	}
	base, _ := p.log[i-1].at().Offset()
	return bridge.BatchID{Epoch: p.log[i-1].epoch, Base: base, Known: true}
}

// holds reports whether a batch is still there, or was trimmed since.
func (p *part) holds(was bridge.BatchID) bool {
	at := bridge.OffsetPosition(was.Base)
	return !was.Known || !at.After(p.trimmed) || p.batch(at) == was
}

// common is the last position that was appended under an epoch or an earlier one.
func (p *part) common(epoch int32) bridge.Position {
	at := p.trimmed
	for i := range p.log {
		if p.log[i].epoch <= epoch {
			at = p.log[i].at()
		}
	}
	return at
}
