//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// percent is how much of each check's full count is run: RUNS, 10 if it is not set.
func percent() int {
	if p, err := strconv.Atoi(os.Getenv("RUNS")); err == nil && p > 0 {
		return p
	}
	return 10
}

// count is how many runs of a check are made, of so many in full: not below 10, or all.
func count(full int) int { return max(full*percent()/100, min(full, 10)) }

// scaled is how many records a check uses, of so many in full.
func scaled(full int) int { return min(full, full*percent()/100) }

// Figures are what one check has proved. They are printed in one line.
type figures struct {
	t      *testing.T
	broken string // what was broken
	full   int    // runs of the full count
	runs   int
	seed   uint64
	sum    checker.Verdict
}

// prove begins a check of so many runs in full, and says how many to make now and what to
// choose by.
func prove(t *testing.T, broken string, full int, seed uint64) (f *figures, runs int, rng *rand.Rand) {
	t.Helper()
	f = &figures{t: t, broken: broken, full: full, seed: seed}
	return f, count(full), rand.New(rand.NewPCG(seed, 0))
}

// judged adds what became of one run of a check, and fails if it is not clean.
func (f *figures) judged(v checker.Verdict) {
	f.t.Helper()
	f.sum.Add(v)
	if !v.Clean() {
		f.t.Fatalf("%s, run %d: %s", f.broken, f.runs, v)
	}
}

// print is the one line; more is what this check counts besides.
func (f *figures) print(format string, more ...any) {
	f.t.Helper()
	bound := "none"
	if f.runs > 0 {
		// With no failure in n runs, fewer than 3/n of all runs fail (95 %).
		bound = fmt.Sprintf("%.2g", 3/float64(f.runs))
	}
	f.t.Logf("figures: %s | runs %d of %d | seed %d | records %d | lost %d | changed %d | reordered %d | duplicates %d | 3/n %s | commit %s | %s",
		f.broken, f.runs, f.full, f.seed, f.sum.Records, f.sum.Lost, f.sum.Changed, f.sum.Reordered, f.sum.Duplicated, bound, commit(), fmt.Sprintf(format, more...))
}

// commit is what is tested; "unknown" outside of a repository.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
