package report_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// worlds are reports of every verdict with few and many shards.
func worlds() []world {
	var out []world
	for _, w := range []world{fine, damaged, doubtful} {
		out = append(out, small(w), w.with(1), w.with(50))
	}
	return append(out, world{shards: 1}, world{shards: 2000, hours: 2, damage: 700, holes: 900})
}

// key is the same in every run, so that golden files can hold signatures.
func key(name string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

func sign(t testing.TB, r *report.Report, name string) {
	t.Helper()
	if err := r.Approve(report.Approval{By: name, At: began.Add(29 * time.Hour)}, key(name)); err != nil {
		t.Fatal(err)
	}
}

// refused says why a file is no intact report, or nil.
func refused(b []byte) error {
	r, err := report.Decode(b)
	if err != nil {
		return err
	}
	controls, err := r.Check()
	if err != nil {
		return err
	}
	for _, c := range controls {
		if !c.Pass {
			return fmt.Errorf("%s: %s", c.Name, c.Message)
		}
	}
	return nil
}

func TestIntactReportsPass(t *testing.T) {
	for _, w := range worlds() {
		r := reportOf(t, w)
		if err := refused(render(t, r, report.JSON)); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
		sign(t, r, "Ada Byron")
		sign(t, r, "Charles Babbage")
		if err := refused(render(t, r, report.JSON)); err != nil {
			t.Errorf("%+v, signed: %v", w, err)
		}
	}
}

// A report in which any one byte is another is refused, whatever the byte becomes.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	r := reportOf(t, small(world{damage: 5, holes: 7}))
	sign(t, r, "Ada Byron")
	good := render(t, r, report.JSON)
	if err := refused(good); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	flips := 0
	for i := 0; i < len(good); i += 1 + rng.IntN(2*stride(t)-1) {
		bad := append([]byte(nil), good...)
		bad[i] ^= byte(1 + rng.IntN(255))
		flips++
		if refused(bad) == nil {
			t.Errorf("seed %d: byte %d from %q to %q goes unnoticed", seed, i, good[i], bad[i])
		}
	}
	t.Logf("seed %d: %d of %d bytes flipped, every one refused", seed, flips, len(good))
	if flips < 200 {
		t.Errorf("only %d bytes were flipped", flips)
	}
}

// stride thins out the bytes unless the full count is asked for.
func stride(t *testing.T) int {
	if s := os.Getenv("RUNS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			t.Fatalf("RUNS=%q is not a percentage", s)
		}
		return max(1, 100/n)
	}
	return 10
}

// Cut, lengthened and reordered files are refused.
func TestOtherDamageIsRefused(t *testing.T) {
	r := reportOf(t, small(fine))
	sign(t, r, "Ada Byron")
	sign(t, r, "Charles Babbage")
	good := string(render(t, r, report.JSON))
	lines := strings.SplitAfter(good, "\n")
	for name, bad := range map[string]string{
		"cut":               good[:len(good)/2],
		"one byte short":    good[:len(good)-1],
		"a blank more":      good + " ",
		"a second document": good + good,
		"a blank inside":    strings.Replace(good, `"id": `, `"id":  `, 1),
		"a line less":       strings.Replace(good, lines[3], "", 1),
		"a field twice":     strings.Replace(good, lines[3], lines[3]+lines[3], 1),
		"lines swapped":     strings.Replace(good, lines[3]+lines[4], lines[4]+lines[3], 1),
		"an unknown field":  strings.Replace(good, `{"partition"`, `{"x":1,"partition"`, 1),
		"another case":      strings.Replace(good, `"id"`, `"ID"`, 1),
		"an escape":         strings.Replace(good, `"orders"`, `"\u006frders"`, 1),
		"a name of another": strings.Replace(good, `"by":"Ada Byron"`, `"by":"Eda Byron"`, 1),
		"empty":             "",
		"no report":         "{}\n",
	} {
		if bad == good {
			t.Fatalf("%s changed nothing", name)
		}
		if err := refused([]byte(bad)); err == nil {
			t.Errorf("%s goes unnoticed", name)
		} else if name != "a name of another" && !errors.Is(err, report.ErrAltered) {
			t.Errorf("%s: %v does not wrap ErrAltered", name, err)
		}
	}
}

func TestNewerReportIsState(t *testing.T) {
	good := string(render(t, reportOf(t, small(fine)), report.JSON))
	_, err := report.Decode([]byte(strings.Replace(good, report.Schema, "bridge.report/v2", 1)))
	if !errors.Is(err, bridge.ErrState) || bridge.Hint(err) == "" {
		t.Errorf("got %v, want an ErrState with a hint", err)
	}
}

// Whoever can compute digests can seal a lie; the sums and the verdict still tell.
func TestFiguresAreComputedAgain(t *testing.T) {
	for name, lie := range map[string]func(*verify.Result){
		"more source records":     func(r *verify.Result) { r.Totals.SourceRecords++ },
		"fewer bytes":             func(r *verify.Result) { r.Totals.TargetFirstBytes-- },
		"a hidden repeat":         func(r *verify.Result) { r.Totals.Repeats-- },
		"a dead letter more":      func(r *verify.Result) { r.Totals.DeadLetters++ },
		"a drop more":             func(r *verify.Result) { r.Totals.Dropped++ },
		"balance":                 func(r *verify.Result) { r.Totals.Balanced = !r.Totals.Balanced },
		"a loss less":             func(r *verify.Result) { r.Findings.Missing-- },
		"a figure in a window":    func(r *verify.Result) { r.Windows[0].Cells++ },
		"a window less":           func(r *verify.Result) { r.Windows = r.Windows[1:] },
		"a window judged well":    func(r *verify.Result) { r.Windows[0].Verdict = verify.Consistent },
		"a better verdict":        func(r *verify.Result) { r.Verdict = verify.Consistent },
		"an uncertain verdict":    func(r *verify.Result) { r.Verdict = verify.Inconclusive },
		"an unknown verdict":      func(r *verify.Result) { r.Verdict = "match" },
		"more coverage":           func(r *verify.Result) { r.Coverage.Consistent++; r.Coverage.Inconclusive-- },
		"all of it":               func(r *verify.Result) { r.Coverage.Percent = 100 },
		"more than all of it":     func(r *verify.Result) { r.Coverage.Percent = 101 },
		"another number of cells": func(r *verify.Result) { r.Coverage.Windows++ },
	} {
		res := small(world{damage: 5, holes: 7}).result()
		if _, err := report.New(res, facts()); err != nil {
			t.Fatal(err)
		}
		lie(&res)
		if _, err := report.New(res, facts()); !errors.Is(err, report.ErrContradiction) {
			t.Errorf("%s: got %v, want ErrContradiction", name, err)
		}
	}
	for name, lie := range map[string]func(*verify.Result){
		"a quick run":        func(r *verify.Result) { r.Kind = "quick" },
		"nothing read":       func(r *verify.Result) { *r = world{shards: 1}.result(); r.Verdict = verify.Consistent },
		"broken order":       func(r *verify.Result) { r.Order.Violations = 1 },
		"an uncovered range": func(r *verify.Result) { r.Coverage.Uncovered = []verify.Uncovered{{}} },
		"something unread":   func(r *verify.Result) { r.Findings.Unread = 1 },
		"almost all of it":   func(r *verify.Result) { r.Coverage.Percent = 99.999 },
	} {
		res := small(fine).result()
		lie(&res)
		if _, err := report.New(res, facts()); !errors.Is(err, report.ErrContradiction) {
			t.Errorf("consistent with %s: got %v, want ErrContradiction", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	res := small(fine).result()
	res.State = "running"
	if _, err := report.New(res, facts()); !errors.Is(err, report.ErrNotDone) {
		t.Errorf("a running run: %v", err)
	}
	for _, unfinished := range [][2]string{{"final", "stopped"}, {"continuous", "running"}, {"continuous", "stopped"}} {
		res.Kind, res.State = unfinished[0], unfinished[1]
		if r, err := report.New(res, facts()); err != nil || r.Verdict != verify.Inconclusive || r.ExitCode != 6 || len(r.Reasons) != 1 {
			t.Errorf("%v: %+v, %v", unfinished, r, err)
		}
	}
	res = small(fine).result()
	res.Schema = "bridge.verify/v2"
	if _, err := report.New(res, facts()); err == nil {
		t.Error("a newer result was taken")
	}
	if _, err := report.New(small(fine).result(), report.Facts{}); err == nil {
		t.Error("a report without a time was made")
	}
}

// A signature holds for its root, its name, its time and its key, and for nothing else.
func TestSignatures(t *testing.T) {
	a, b := reportOf(t, small(fine)), reportOf(t, small(world{damage: 5}))
	sign(t, a, "Ada Byron")
	b.Approvals = a.Approvals
	if err := refused(render(t, b, report.JSON)); err == nil {
		t.Error("a signature under another report holds")
	}
	for name, change := range map[string]func(*report.Approval){
		"name":   func(a *report.Approval) { a.By = "Eve" },
		"time":   func(a *report.Approval) { a.At = a.At.Add(time.Second) },
		"note":   func(a *report.Approval) { a.Note = "all is well" },
		"key":    func(a *report.Approval) { a.Key = report.KeyText(key("Eve").Public().(ed25519.PublicKey)) },
		"no key": func(a *report.Approval) { a.Key = "ed25519:" },
		"over":   func(a *report.Approval) { a.Over = "nothing" },
		"cut":    func(a *report.Approval) { a.Signature = a.Signature[4:] },
	} {
		r := reportOf(t, small(fine))
		sign(t, r, "Ada Byron")
		if err := refused(render(t, r, report.JSON)); err != nil {
			t.Fatal(err)
		}
		change(&r.Approvals[0])
		if refused(render(t, r, report.JSON)) == nil {
			t.Errorf("%s: the signature still holds", name)
		}
	}
	if err := a.Approve(report.Approval{At: began}, key("x")); err == nil {
		t.Error("nobody signed")
	}
}
