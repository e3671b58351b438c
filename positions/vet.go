package positions

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
)

// An Evidence is what a lease table is compared with: the stream as it is now, and what
// the mirror knows of it.
type Evidence struct {
	// Shards are those that the stream lists now.
	Shards []bridge.Partition
	// Rows are the mirror's, if it reads the stream.
	Rows []bridge.Row
	// Known names further shards that the mirror has read or written.
	Known []string
	// Refused names the shards of which the service refused the number in the lease: it gave
	// that number to no record of the shard.
	Refused map[string]bool
}

// Vet compares leases, and the bounds that Resolve made of them, with the stream. Each
// contradiction is a Problem of kind Foreign: a lease of a shard that the stream never had,
// a shard that is consumed to its end but open, a number that is not one of the shard, and
// parents, children or hash keys that are not those of the shard.
func Vet(leases []Lease, consumed Frontier, e Evidence) []Problem {
	v := vetting{Evidence: e, listed: map[string]bridge.Partition{}, known: map[string]bool{}, rows: map[string]bridge.Row{}, youngest: -1}
	v.learn()
	var out []Problem
	judged := map[string]bool{}
	for _, l := range leases {
		if what := v.contradiction(l); what != "" {
			judged[l.Shard] = true
			out = append(out, foreignLease(l.Shard, what))
		}
	}
	for _, s := range e.Shards {
		if consumed[s.ID].All && !s.Closed && !judged[s.ID] {
			out = append(out, foreignLease(s.ID, "a lease of a descendant says that the shard was consumed to its end, but the shard is open"))
		}
	}
	return out
}

func foreignLease(shard, what string) Problem {
	return Problem{
		Kind: Foreign, Partition: shard, Text: fmt.Sprintf("shard %s: %s", shard, what),
		Hint: "the leases belong to another stream, or to an earlier stream of the same name: check kcl_application and lease_table of the consumer",
	}
}

// A vetting compares leases with what is known.
type vetting struct {
	Evidence
	listed   map[string]bridge.Partition
	known    map[string]bool
	rows     map[string]bridge.Row
	youngest int64 // greatest number of a shard that the stream lists or the mirror knows
}

func (v *vetting) learn() {
	note := func(names ...string) {
		for _, name := range names {
			v.known[name] = true
			if n, ok := shardNumber(name); ok {
				v.youngest = max(v.youngest, n)
			}
		}
	}
	for _, s := range v.Shards {
		v.listed[s.ID] = s
		note(s.ID)
		note(s.Parents...)
	}
	for _, r := range v.Rows {
		v.rows[r.Partition] = r
		note(r.Partition)
		note(r.Parents...)
	}
	note(v.Known...)
}

// shardNumber is the number in the name of a shard. The service counts up, so that a shard
// with a number below that of another one of the stream was there once.
func shardNumber(name string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, "shardId-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil
}

// contradiction says what is wrong with a lease, and nothing if it can be true.
func (v *vetting) contradiction(l Lease) string {
	s, listed := v.listed[l.Shard]
	if what := v.lineage(l, s, listed); what != "" {
		return what
	}
	b, err := l.Bound()
	if err != nil {
		return "" // no position at all, which Resolve judges
	}
	switch {
	case b.All && listed && !s.Closed:
		return "the lease says SHARD_END, but the shard is open"
	case b.All || b.At.IsZero():
		return ""
	case listed && !s.From.IsZero() && s.From.Compare(bridge.Position{Seq: b.At.Seq}) > 0:
		return fmt.Sprintf("the lease says %s, but the numbers of the shard begin at %s", b.At, s.From)
	case listed && !s.To.IsZero() && b.At.Compare(bridge.Position{Seq: s.To.Seq, Sub: math.MaxUint32}) > 0:
		return fmt.Sprintf("the lease says %s, but the numbers of the shard end at %s", b.At, s.To)
	case v.Refused[l.Shard]:
		return fmt.Sprintf("the lease says %s, which the service refuses: it is no number of the shard", b.At)
	}
	// The row of a shard that was read to its end is at its last record.
	if r, ok := v.rows[l.Shard]; ok && r.Ended && !r.Position.IsZero() && b.At.Compare(bridge.Position{Seq: r.Position.Seq, Sub: math.MaxUint32}) > 0 {
		return fmt.Sprintf("the lease says %s, but the last record of the shard was %s", b.At, r.Position)
	}
	return ""
}

// lineage judges which shard a lease means.
func (v *vetting) lineage(l Lease, s bridge.Partition, listed bool) string {
	if !listed {
		n, ok := shardNumber(l.Shard)
		if v.known[l.Shard] || ok && n < v.youngest {
			return ""
		}
		return "the table has a lease of it, but the stream never had such a shard"
	}
	for _, p := range l.Parents {
		if len(s.Parents) > 0 && !slices.Contains(s.Parents, p) {
			return fmt.Sprintf("the lease names the parent %s, but the parents of the shard are %s", p, strings.Join(s.Parents, " and "))
		}
	}
	for _, name := range l.Children {
		if child, ok := v.listed[name]; ok && !slices.Contains(child.Parents, l.Shard) {
			return fmt.Sprintf("the lease names the child %s, which is no child of the shard", name)
		}
	}
	if l.FirstHash != "" && s.FirstHash != "" && (l.FirstHash != s.FirstHash || l.LastHash != s.LastHash) {
		return fmt.Sprintf("the lease covers the hash keys %s to %s, the shard %s to %s", l.FirstHash, l.LastHash, s.FirstHash, s.LastHash)
	}
	return ""
}

// A Log is where a Kafka partition begins and ends now: First is its oldest offset, Stable
// and End are those behind the last stable offset and the high watermark.
type Log struct {
	Partition          string
	First, Stable, End int64
}

// VetOffset compares the committed offset of a group with the log. It is nil if the log has
// the offset.
func VetOffset(group string, at int64, l Log) *Problem {
	p := &Problem{Kind: Foreign, Partition: l.Partition}
	switch {
	case at > l.End:
		p.Text = fmt.Sprintf("group %s is at offset %d of partition %s, but the partition ends at %d", group, at, l.Partition, l.End)
		p.Hint = "the offsets belong to another topic, or the log was cut: check the consumer's group, and reset its offsets to records that it has not consumed"
	case at > l.Stable:
		p.Kind = Undecided
		p.Text = fmt.Sprintf("group %s is at offset %d of partition %s, behind a transaction that is open since offset %d", group, at, l.Partition, l.Stable)
		p.Hint = "wait until the transaction ends, or end it with kafka-transactions.sh abort; then plan again"
	case at < l.First:
		p.Kind, p.After, p.Through = OutOfRange, bridge.OffsetPosition(at-1), bridge.OffsetPosition(l.First-1)
		p.Text = fmt.Sprintf("group %s is at offset %d of partition %s, but the topic begins at %d: the offsets %d to %d are gone from it", group, at, l.Partition, l.First, at, l.First-1)
		p.Hint = "if the other side has these records, or the consumer does not need them, say --accept-out-of-range"
	default:
		return nil
	}
	return p
}
