//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// How long anything may take. Other walks take steps meanwhile, in which brokers restart.
const (
	stopPatience  = time.Minute
	runPatience   = 3 * time.Minute
	agedAtMost    = 60 * time.Hour
	skewedAtMost  = 10 * time.Minute // in one walk, beside what the clocks differ from its beginning
	provable      = 22 * time.Hour   // a reader away for longer cannot prove that it missed nothing
	statusTimeout = time.Minute
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// rowIn is the number of the row that a value holds, -1 if it is no row of this walk.
func (w *realWalk) rowIn(value []byte) int {
	text, ok := strings.CutPrefix(string(value), "row ")
	text, of, found := strings.Cut(text, " of walk ")
	n, err := strconv.Atoi(text)
	if !ok || !found || err != nil || of != fmt.Sprint(w.seed) || n >= len(w.rows) {
		return -1
	}
	return n
}

// copies reads one side as the checker does. A side that was deleted holds nothing.
func (w *realWalk) copies(stream bool) []checker.Copy {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if !stream {
		list, _, err := checker.Kafka(ctx, w.direct, w.topic)
		if err != nil {
			w.t.Fatalf("seed %d: read the topic: %v", w.seed, err)
		}
		return list
	}
	st := w.kinesis.Stream(w.stream)
	if st == nil {
		return nil // a target that was never made
	}
	var list []checker.Copy
	for _, sh := range st.Shards() { // parents stand before their children
		if sh.Expired {
			continue
		}
		recs, err := st.Records(sh.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range recs {
			list = append(list, checker.FromStream(sh.ID, r.SequenceNumber, r.Key, r.Data, r.Arrival))
		}
	}
	list, err := checker.Unpack(list)
	if err != nil {
		w.t.Fatalf("seed %d: read the stream: %v", w.seed, err)
	}
	return list
}

func (w *realWalk) inSource() map[int]bool { return w.rowsAmong(w.copies(w.toKafka)) }

// onTarget are the rows of the target; it is empty before a mirror made it.
func (w *realWalk) onTarget() map[int]bool {
	if !w.begun {
		return nil
	}
	return w.rowsAmong(w.copies(!w.toKafka))
}

func (w *realWalk) rowsAmong(list []checker.Copy) map[int]bool {
	there := map[int]bool{}
	for _, c := range list {
		there[w.rowIn(c.Value)] = true
	}
	return there
}

// A standing is how the two sides stand to each other.
type standing struct {
	missing int // in the source, and not on the target
	lost    int // on neither side
	expired int // on the target alone
	first   int // the first that is not on the target
}

// standing compares both sides, as far as rows were acknowledged before a time.
func (w *realWalk) standing(before time.Time) standing {
	src, dst, s := w.inSource(), w.onTarget(), standing{first: -1}
	for _, r := range w.rows {
		switch {
		case !r.wanted() || r.at.After(before):
			continue
		case dst[r.N]:
			if !src[r.N] {
				s.expired++
			}
			continue
		case src[r.N]:
			s.missing++
		default:
			s.lost++
		}
		if s.first < 0 {
			s.first = r.N
		}
	}
	return s
}

// begins notes which rows are gone before a mirror first runs: they were never in its scope.
func (w *realWalk) begins() {
	if w.begun {
		return
	}
	there := w.inSource()
	for _, r := range w.rows {
		r.early = !there[r.N] && !r.pending && !r.aborted
	}
	w.begun = true
}

// judgeTarget holds a run that says that everything put before a time is on the target.
func (w *realWalk) judgeTarget(before time.Time, what string) {
	if s := w.standing(before); s.missing+s.lost > 0 {
		w.finds(silentLoss, "%s, and %d of %d rows are not on the target, %d of which the source holds; the first is row %d",
			what, s.missing+s.lost, len(w.rows), s.missing, s.first)
	}
	var rows []checker.Row
	for _, r := range w.rows {
		if !r.aborted {
			rows = append(rows, r.Row)
		}
	}
	v := checker.Judge(rows, w.copies(!w.toKafka))
	w.note("the checker says: %s", strings.SplitN(v.String(), "\n", 2)[0])
	if !w.toKafka {
		w.repeats += v.Duplicated
		v.Duplicated = 0 // what a killed process has put may land twice; verify counts it
	}
	if !w.sound() {
		v.Duplicated, v.Reordered = 0, 0
	}
	if v.Changed+v.Duplicated+v.Reordered+v.Misplaced > 0 {
		w.finds(brokenPromises, "%s", v)
	}
}

// ends waits for a process to end. One that does not is a hang, and is killed.
func (w *realWalk) ends(c *child, patience time.Duration, what string) (code int, ok bool) {
	select {
	case <-c.done:
		return c.code, true
	case <-time.After(patience):
		c.signal(syscall.SIGQUIT) // to see what every goroutine waits for
		select {
		case <-c.done:
		case <-time.After(stopPatience):
			c.kill()
		}
		w.finds(hang, "%s did not end in %s\n%s", what, patience, c.stderr())
		w.over = true
		return -1, false
	}
}

// said is the error that a process ended with.
func said(c *child) string {
	var r result
	_ = json.Unmarshal(c.out.Bytes(), &r)
	return fmt.Sprintf("exit %d: %s", c.code, r.Error.Message)
}

// gaveUp judges a mirror that ended by itself. That data is gone must be told, with exit code
// 8; anything else is a false alarm.
func (w *realWalk) gaveUp(c *child) {
	w.over = true
	w.note("ended: %s", said(c))
	if s := w.standing(time.Now()); c.code != 8 || w.sound() && s.lost == 0 {
		w.finds(falseAlarm, "a mirror ended: %s\n%s", said(c), c.stderr())
	}
}

// verdict is what a verify run says.
type verdict struct {
	code int
	word string
	read int64 // of the source
	text string
}

// compare runs verify, and returns nil if it ended with an error.
func (w *realWalk) compare(more ...string) *verdict {
	w.verifies++
	c := w.start(append([]string{"verify", "run", "--config", w.config("state"), "--settle", "1s", "--watch-for", "1s", "--drain-timeout", "20s"}, more...)...)
	code, ok := w.ends(c, runPatience, "verify")
	if !ok {
		return nil
	}
	var r struct {
		Result struct {
			Verdict  string
			Reasons  []string
			Findings map[string]int64
			Totals   struct {
				Source int64 `json:"source_records,string"`
			}
		}
	}
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil || r.Result.Verdict == "" {
		w.note("verify %v ended: %s", more, said(c))
		if w.sound() || code != 8 {
			w.finds(falseAlarm, "verify %v ended: %s\n%s%s", more, said(c), c.out.String(), c.stderr())
		}
		return nil
	}
	v := &verdict{code: code, word: r.Result.Verdict, read: r.Result.Totals.Source}
	v.text = fmt.Sprintf("%s, %d records of the source, findings %v, reasons %q", v.word, v.read, r.Result.Findings, r.Result.Reasons)
	w.note("verify %v: exit %d: %s", more, code, v.text)
	if want, ok := map[string]int{"consistent": 0, "inconsistent": 5, "inconclusive": 6}[v.word]; !ok || want != code {
		w.finds(falseVerdict, "exit %d of a run that says %s", code, v.word)
	}
	return v
}

// verify compares the two sides, and judges what is said. Nothing is put meanwhile.
func (w *realWalk) verify(final bool) {
	before := time.Now()
	var more []string
	if final {
		more = append(more, "--final")
	}
	v := w.compare(more...)
	if v == nil {
		return
	}
	s := w.standing(before)
	switch v.word {
	case "consistent":
		if s.missing+s.lost > 0 || w.taken() > 0 {
			w.finds(falseVerdict, "verify (final %t): %d rows of the source and %d that nobody has are not on the target, the first is row %d; %d copies were removed",
				final, s.missing, s.lost, s.first, w.taken())
		}
		if n := w.held(before); final && w.sound() && v.read < int64(n) {
			w.finds(falseVerdict, "a final run read %d of the %d records that the source holds", v.read, n)
		}
	case "inconsistent":
		if w.sound() && s.missing == 0 {
			w.finds(falseAlarm, "verify (final %t): %s", final, v.text)
		}
	case "inconclusive":
		if w.sound() && s.missing+s.lost+s.expired == 0 && w.txn == nil && w.held(before) > 0 && (final || w.clean) {
			w.finds(falseAlarm, "verify (final %t): %s", final, v.text)
		}
	}
}

// held counts the rows that the source holds since before a time.
func (w *realWalk) held(before time.Time) (n int) {
	src := w.inSource()
	for _, r := range w.rows {
		if r.wanted() && src[r.N] && r.at.Before(before) {
			n++
		}
	}
	return n
}

// taken counts the rows that the source still holds, and whose copies were removed.
func (w *realWalk) taken() (n int) {
	src, dst := w.inSource(), w.onTarget()
	for _, r := range w.rows {
		if r.taken && src[r.N] && !dst[r.N] {
			n++
		}
	}
	return n
}

// status asks how far the workflow is.
func (w *realWalk) status() {
	c := w.start("status", "--config", w.config("state"))
	if code, ok := w.ends(c, statusTimeout, "status"); ok && code != 0 && w.sound() {
		w.finds(falseAlarm, "status: %s\n%s%s", said(c), c.out.String(), c.stderr())
	}
}

// lastVerify verifies after everything was mirrored: beside a mirror to which more rows come,
// or by itself. A target that is right until then is damaged, and verified again.
func (w *realWalk) lastVerify() {
	if w.rng.IntN(2) == 0 {
		w.startMirror()
		w.put(1 + w.rng.IntN(40))
	}
	w.verify(true)
	if w.proc != nil {
		w.watch()
	}
	if w.proc != nil {
		w.drain()
	}
	if w.over || w.toKafka || !w.sound() || len(w.found) > 0 || w.rng.IntN(2) == 0 {
		return
	}
	w.damage()
}

// damage removes one record of the target stream.
func (w *realWalk) damage() {
	st := w.kinesis.Stream(w.stream)
	shards := st.Shards()
	slices.SortFunc(shards, func(a, b kinesisShard) int { return b.Records - a.Records })
	if shards[0].Records == 0 {
		return
	}
	i := w.rng.IntN(shards[0].Records)
	if err := st.Drop(shards[0].ID, i); err != nil {
		w.t.Fatal(err)
	}
	w.damaged++
	w.note("record %d of %d of %s is removed from the target", i, shards[0].Records, shards[0].ID)
	s := w.standing(time.Now())
	v := w.compare()
	switch {
	case v == nil:
	case s.missing > 0 && v.word == "consistent":
		w.finds(falseVerdict, "%d rows were removed from the target", s.missing)
	case s.missing > 0 && v.word == "inconclusive":
		w.finds(falseVerdict, "%d rows were removed from the target, and verify does not name them: %s", s.missing, v.text)
	}
}

// askAgain checks that the next start and verify report a loss again that was reported once.
func (w *realWalk) askAgain() {
	if len(w.found) > 0 {
		return
	}
	w.over = false
	w.catchUp()
	if !w.over {
		w.note("the next start does not tell it again")
	}
	w.over = true
	if w.rng.IntN(2) == 0 {
		w.verify(false)
	}
}
