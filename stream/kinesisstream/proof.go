package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
)

// The service skips records that expired before they were read without saying so, whether an
// iterator is new or follows from the page before. So a reader proves each step:
//
//   - between two pages, by time: what stands behind a page is at most as old as the page was
//     behind, so it is still there while the time since then and that lag are together less
//     than the retention. Anybody can lower the retention of a stream to LeastRetention at any
//     moment, so no more than that is counted on.
//   - else, and at a start, by presence: the page is asked for AT the last record. If that is
//     there, nothing behind it has expired.
//   - where the last record itself has expired, by the time at which the shard was last seen to
//     hold nothing behind it: if that was less than the retention ago, everything that came
//     since is there.
//
// What none of these proves is a possible gap, and an error. Times are those of the service's
// clock, because it expires records by that.

// proofMargin is how far times that the service gives may be from what it does: arrival times
// are approximate, the clocks of its hosts differ, and so does that of a machine which noted a
// time while the service did not say its own.
const proofMargin = 5 * time.Minute

// A proof is what a reader knows of the page before the one that it asks for.
type proof struct {
	// at: the iterator stands AT the last record, whose presence is to be proved.
	at bool
	// begins: nothing was read yet, and the start says what held when the workflow began.
	begins bool
	// proved: the caller knows that nothing expired before the first page.
	proved bool
	// lax: records that expire unread are no gap.
	lax bool

	opened  moment        // when the first iterator was given
	page    moment        // of the last page that was accepted, at first opened
	behind  time.Duration // how far that was behind the tip; negative if not known
	stuck   bool          // that page was AT the last record and held nothing behind it
	tip     time.Time     // when the shard was last seen to hold nothing behind the last record
	created time.Time     // the stream's creation
}

// A moment is one call of the service.
type moment struct {
	asked time.Time // by this machine's clock
	clock time.Time // the service's when it answered; zero if it did not say
}

// now is the service's time, or this machine's if the service did not say.
func (m moment) now() time.Time {
	if m.clock.IsZero() {
		return m.asked
	}
	return m.clock
}

// until is how much time passed up to a later call.
func (m moment) until(n moment) time.Duration {
	if !m.clock.IsZero() && !n.clock.IsZero() {
		return n.clock.Sub(m.clock)
	}
	// The monotonic clock stands still while a machine sleeps, which the wall clock does not.
	return max(n.asked.Sub(m.asked), n.asked.Round(0).Sub(m.asked.Round(0)))
}

// opens notes that an iterator was given.
func (p *proof) opens(now moment) {
	if p.opened.asked.IsZero() {
		p.opened, p.page = now, now
	}
}

// within reports whether nothing behind the last page can have expired by now, if records are
// kept for that long.
func (p *proof) within(now moment, retention time.Duration) bool {
	return p.behind >= 0 && p.page.until(now)+p.behind < retention
}

// follows reports whether a page is proved to follow the last one. If not, the next one is
// asked for AT the last record.
func (r *reader) follows(ctx context.Context, page []types.Record, b *bridge.Batch, now moment) (bool, error) {
	switch {
	case r.lax || r.proved:
		return true, nil
	case r.at:
		return true, r.resumes(ctx, page, b, now)
	case r.begins:
		return true, r.untouched(ctx, page, b, now)
	case r.within(now, LeastRetention-proofMargin):
		return true, nil
	case r.stuck:
		return true, r.crawls(ctx, page, now)
	case r.last.IsZero():
		return true, r.sinceTip(ctx, page, now)
	}
	r.at, r.iterator = true, nil
	return false, nil
}

// resumes proves a page that was asked for AT the last record.
func (r *reader) resumes(ctx context.Context, page []types.Record, b *bridge.Batch, now moment) error {
	switch {
	case len(page) > 0 && aws.ToString(page[0].SequenceNumber) == r.last.Seq:
		return nil
	case r.onTheWay(page, b):
		return nil
	}
	return r.sinceTip(ctx, page, now)
}

// untouched proves that nothing expired since the workflow began in the shard: that its first
// record, or an older one, is there, or that the shard held none a short time ago.
func (r *reader) untouched(ctx context.Context, page []types.Record, b *bridge.Batch, now moment) error {
	first := r.start.First
	switch {
	case r.onTheWay(page, b):
		return nil
	case first.IsZero() && now.now().Sub(r.tip) < LeastRetention-proofMargin:
		return nil // without asking for the retention, for every shard of a start
	case first.IsZero():
		return r.sinceTip(ctx, page, now)
	case len(page) > 0 && !(bridge.Position{Seq: aws.ToString(page[0].SequenceNumber)}).After(first):
		return nil
	}
	return r.lost(page, fmt.Sprintf("the workflow begins at %s, which has expired before it was read", first))
}

// onTheWay reports whether an answer says nothing: it is empty although more is there.
func (r *reader) onTheWay(page []types.Record, b *bridge.Batch) bool {
	return len(page) == 0 && !b.Ended && b.Behind != 0
}

// sinceTip proves that nothing expired since the shard held nothing behind the last record, or
// where nothing was ever read since the reader was opened.
func (r *reader) sinceTip(ctx context.Context, page []types.Record, now moment) error {
	info, err := r.describe(ctx)
	if err != nil {
		return err
	}
	since, seen := r.tip, "was never seen to end there"
	if !since.IsZero() {
		seen = "was last seen to end there at " + since.UTC().Format(time.RFC3339)
	} else if r.last.IsZero() {
		since = r.opened.now()
		seen = "was opened at " + since.UTC().Format(time.RFC3339)
	}
	if !since.IsZero() && now.now().Sub(since) < info.Retention-proofMargin {
		return nil
	}
	return r.lost(page, fmt.Sprintf("possible gap: the record at the position has expired, the shard %s, and the retention is %s", seen, info.Retention))
}

// crawls proves a page behind one that held only the last record, so that asking for it again
// would lead nowhere: it was a moment ago that the record was there.
func (r *reader) crawls(ctx context.Context, page []types.Record, now moment) error {
	info, err := r.describe(ctx)
	if err != nil || r.within(now, info.Retention-time.Minute) {
		return err
	}
	return r.lost(page, fmt.Sprintf("possible gap: the reader is %s behind, and the retention is %s", r.behind, info.Retention))
}

// lost is the error for records that may have expired unread before a page.
func (r *reader) lost(page []types.Record, reason string) error {
	gap := &bridge.GapError{Stream: "stream " + r.client.name(), Partition: r.shard, After: r.last, Reason: reason}
	if len(page) > 0 {
		gap.Before = bridge.Position{Seq: aws.ToString(page[0].SequenceNumber)}
	}
	return bridge.WithHint(gap, "raise the stream's retention for the next time; what is gone must come from the producers")
}

// describe asks for the retention, which may have been changed, and proves that the stream is
// the one that the reader was opened on.
func (r *reader) describe(ctx context.Context) (Info, error) {
	info, err := r.client.Describe(ctx)
	if err == nil && !r.created.IsZero() && !info.Created.Equal(r.created) {
		err = fmt.Errorf("stream %s was recreated: it was created at %s, and was read since one of %s: %w",
			r.client.name(), info.Created.UTC().Format(time.RFC3339), r.created.UTC().Format(time.RFC3339), bridge.ErrChanged)
		err = bridge.WithHint(err, "the records behind the checkpoint are gone with the old one; begin a new workflow under another name")
	}
	return info, err
}

// gone finds out what it means that a shard that was opened is not there, or does not know its
// own sequence numbers.
func (r *reader) gone(ctx context.Context, err error) error {
	missing := errors.Is(err, bridge.ErrMissing)
	if !missing && !errors.Is(err, bridge.ErrForeignPosition) {
		return err
	}
	if _, e := r.describe(ctx); e != nil {
		return e
	}
	if !missing || r.opened.asked.IsZero() || r.lax {
		return err
	}
	return r.lost(nil, "the shard expired before it was read to its end")
}

// accept notes a page that follows the last one; new says that it holds records behind it.
func (r *reader) accept(page []types.Record, b *bridge.Batch, now moment, isNew bool) {
	if (r.at || r.begins) && r.onTheWay(page, b) {
		return // the record whose presence is the proof is still to come
	}
	r.begins = false
	r.stuck = r.at && len(page) > 0 && !isNew && b.Behind != 0
	r.at, r.proved = false, false
	r.page, r.behind = now, b.Behind
	if b.Behind == 0 {
		r.tip = now.now()
		return
	}
	if n := len(page); n > 0 && page[n-1].ApproximateArrivalTimestamp != nil {
		r.behind = max(r.behind, now.now().Sub(*page[n-1].ApproximateArrivalTimestamp))
	}
	// The next page could not be proved by time, however soon it is asked for.
	if !r.lax && !b.Ended && !r.last.IsZero() && !r.stuck && !r.within(now, LeastRetention-proofMargin) {
		r.at, r.iterator = true, nil
	}
}
