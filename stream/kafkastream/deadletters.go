package kafkastream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// LetterHeader is the name of the header that says why a record is a dead letter. It
// stands behind the record's own headers and before the provenance header.
const LetterHeader = "bridge-dead-letter"

// DeadLetters keeps dead letters in the topic that its session names for them: key, value
// and headers are the record's own. Its time stands in the provenance header, because
// brokers refuse some times; the letter itself has that of its own storing. It
// implements bridge.DeadLetters and bridge.Recoverable.
type DeadLetters struct {
	session *Session
	stamp   *bridge.Stamp
}

var (
	_ bridge.DeadLetters = (*DeadLetters)(nil)
	_ bridge.Recoverable = (*DeadLetters)(nil)
)

// DeadLetters returns the place of the session's dead letters, which it must have. The
// Stamp is for that topic.
func (s *Session) DeadLetters(stamp *bridge.Stamp) *DeadLetters { return &DeadLetters{s, stamp} }

// A letterBody is the value of LetterHeader, in JSON.
type letterBody struct {
	Version   int             `json:"v"`
	Stream    string          `json:"stream"`
	Source    string          `json:"source"` // identity and incarnation
	Partition string          `json:"partition"`
	Position  bridge.Position `json:"position"`
	Class     string          `json:"class"`
	Reason    string          `json:"reason"`
	At        time.Time       `json:"at"`
}

// Put appends the letters; those of one source partition go to one partition of the topic.
func (d *DeadLetters) Put(ctx context.Context, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
	topic := d.session.letters
	pieces, places := map[int32]*piece{}, make([]slot, len(letters))
	var order []*piece
	for i := range letters {
		e, err := d.entry(&letters[i])
		if err != nil {
			return nil, err
		}
		n := letterPartition(letters[i].Origin.Partition, topic.Partitions)
		if pieces[n] == nil {
			pieces[n] = newPiece(partitionID{topic.Name, n}, nil)
			order = append(order, pieces[n])
		}
		places[i] = slot{int(n), len(pieces[n].entries)}
		pieces[n].entries = append(pieces[n].entries, e)
	}
	for _, pc := range order {
		pc.offsets, pc.left = make([]int64, len(pc.entries)), len(pc.entries)
	}
	if err := d.session.producer.append(ctx, order...); err != nil {
		return nil, err
	}
	acks := make([]bridge.Ack, len(letters))
	for i, at := range places {
		pc := pieces[int32(at.piece)]
		if pc.err != nil {
			return nil, fmt.Errorf("append to %s partition %d: %w", topic.Name, at.piece, pc.err)
		}
		acks[i] = bridge.Ack{Partition: placeName(topic.Name, int32(at.piece)), Position: bridge.OffsetPosition(pc.offsets[at.entry])}
	}
	return acks, nil
}

func placeName(topic string, n int32) string { return fmt.Sprintf("topic:%s/%d", topic, n) }

func letterPartition(source string, n int) int32 {
	h := fnv.New32a()
	h.Write([]byte(source))
	return int32(h.Sum32() % uint32(max(n, 1)))
}

func (d *DeadLetters) entry(l *bridge.DeadLetter) (entry, error) {
	body, err := json.Marshal(letterBody{
		Version: storeVersion, Stream: l.Stream, Source: l.Origin.Stream, Partition: l.Origin.Partition, Position: l.Origin.Position,
		Class: l.Class, Reason: strings.ToValidUTF8(l.Reason, "?"), At: l.At.UTC(),
	})
	if err != nil {
		return entry{}, fmt.Errorf("encode a dead letter: %w", err)
	}
	var made headerArena
	size := len(l.Headers) + 2
	made.values, made.pointers = make([]sarama.RecordHeader, 0, size), make([]*sarama.RecordHeader, 0, size)
	for _, h := range l.Headers {
		made.add([]byte(h.Key), h.Value)
	}
	made.add([]byte(LetterHeader), body)
	r := bridge.Record{Key: l.Key, Value: l.Value, Time: l.Time, Origin: l.Origin}
	made.add(provenanceName, d.stamp.Append(nil, &r))
	return entry{
		Record: sarama.Record{Key: l.Key, Value: l.Value, Headers: made.pointers},
		time:   l.At.Truncate(time.Millisecond),
	}, nil
}

// Tail yields the letters of this task behind the floor, to the high watermarks of this
// moment. That letters before it were removed is no gap.
func (d *DeadLetters) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		for _, n := range d.session.letters.numbers() {
			r, err := d.span(ctx, n, from)
			if err != nil {
				yield(bridge.Placed{}, err)
				return
			}
			if !d.tail(ctx, n, r, yield) {
				return
			}
		}
		if err := d.session.adopt(ctx); err != nil {
			yield(bridge.Placed{}, err)
		}
	}
}

func (d *DeadLetters) span(ctx context.Context, n int32, floor bridge.Floor) (span, error) {
	topic := d.session.letters.Name
	name := placeName(topic, n)
	first, end, _, err := d.session.client.offsets(ctx, topic, n)
	if err != nil {
		return span{}, err
	}
	at, err := floor.Partitions[name].Offset()
	if err != nil {
		return span{}, fmt.Errorf("floor of %s: %w", name, err)
	}
	lost, err := d.session.marker(ctx, partitionID{topic, n}, at)
	if lost {
		end = at
	}
	switch {
	case err != nil:
		return span{}, err
	case at >= end:
		gap := &bridge.GapError{Stream: "topic " + topic, Partition: fmt.Sprint(n), After: bridge.OffsetPosition(end - 1), Before: floor.Partitions[name],
			Reason: "the topic ends before the checkpoint: it lost dead letters that it had acknowledged"}
		return span{}, bridge.WithHint(gap, "if the topic was deleted on purpose, name another one in dead_letters")
	case floor.Clean && d.session.direct:
		return span{end, end}, nil
	}
	return span{max(at+1, first), end}, nil
}

func (d *DeadLetters) tail(ctx context.Context, n int32, r span, yield func(bridge.Placed, error) bool) bool {
	if r.from >= r.to {
		return true
	}
	s := d.session
	for rec, err := range s.client.scan(ctx, s.letters.Name, n, r.from, r.to, scanAll) {
		if err != nil {
			yield(bridge.Placed{}, err)
			return false
		}
		origin, _, ok := s.mine(d.stamp, rec)
		if !ok {
			continue
		}
		at := bridge.OffsetPosition(rec.Offset)
		digest := bridge.ContentDigest(rec.Key, rec.Value, time.Time{})
		if !yield(bridge.Placed{Partition: placeName(s.letters.Name, n), Position: at, Origin: origin, Digest: digest}, nil) {
			return false
		}
	}
	return true
}

// Digest is that of key and value.
func (d *DeadLetters) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, time.Time{})
}

// Close does nothing: the session owns what is used.
func (d *DeadLetters) Close() error { return nil }

// ReadDeadLetters yields the letters of the stamp's workflow in a topic, each coordinate
// once, for people; it takes nothing over. It yields nothing if there is no such topic.
func ReadDeadLetters(ctx context.Context, c *Client, topic string, stamp *bridge.Stamp) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		t, err := c.lookup(ctx, topic)
		if errors.Is(err, bridge.ErrMissing) {
			return
		}
		seen := map[bridge.Coordinate]bool{}
		for _, n := range t.numbers() {
			_, end, _, e := c.offsets(ctx, topic, n)
			if err = e; err != nil {
				break
			}
			for rec, e := range c.scan(ctx, topic, n, -1, end, scanAll) {
				if e != nil {
					yield(bridge.DeadLetter{}, e)
					return
				}
				l, ok := letterOf(rec, stamp)
				if !ok || seen[l.Origin] {
					continue
				}
				seen[l.Origin] = true
				if !yield(l, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(bridge.DeadLetter{}, err)
		}
	}
}

// letterOf reads a record as a dead letter of the stamp's workflow.
func letterOf(rec fetchedRecord, stamp *bridge.Stamp) (bridge.DeadLetter, bool) {
	at, why := lastHeader(rec, bridge.ProvenanceHeader), lastHeader(rec, LetterHeader)
	if at < 0 || why < 0 {
		return bridge.DeadLetter{}, false
	}
	origin, p, mark := stamp.Judge(rec.Headers[at].Value, rec.Key, rec.Value)
	var b letterBody
	if mark != bridge.Ours || json.Unmarshal(rec.Headers[why].Value, &b) != nil {
		return bridge.DeadLetter{}, false
	}
	if strings.HasPrefix(origin.Stream, "#") {
		origin.Stream = b.Source // the stamp does not know the source by its short name
	}
	l := bridge.DeadLetter{
		Origin: origin,
		Stream: b.Stream, Key: rec.Key, Value: rec.Value, Time: p.Time, Class: b.Class, Reason: b.Reason, At: b.At,
	}
	for i, h := range rec.Headers {
		if i != at && i != why {
			l.Headers = append(l.Headers, bridge.Header{Key: string(h.Key), Value: h.Value})
		}
	}
	return l, true
}
