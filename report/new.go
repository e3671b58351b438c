package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

// Facts is what a report needs to know beside the result of a verification. Whatever is
// left zero is shown as not known.
type Facts struct {
	Tool, Config, Plan string
	// Now is when the report is made; required.
	Now time.Time
	// ValidFor is how long after its fence a verdict may be acted upon; 24 hours if zero.
	ValidFor     time.Duration
	DeadLetters  DeadLetters
	Mirror       Mirror
	Translations []Translation
	Rollback     Rollback
	// Retention is how long the source keeps a record; zero if it is not known. The headroom
	// of Rollback follows from it.
	Retention time.Duration
	// Gates are conditions beside those of the verification itself.
	Gates   []Gate
	Waivers []Waiver
	Remarks []string
	// Keys names keys in clear by their keyed hash. Nil reveals nothing.
	Keys map[string]string
}

// validFor is how long a verdict holds unless somebody says otherwise.
const validFor = 24 * time.Hour

// ErrContradiction: a result whose verdict does not follow from its own figures.
var ErrContradiction = errors.New("the result contradicts itself")

// ErrNotDone: a run that may still find something.
var ErrNotDone = errors.New("the run is not done")

// New makes the report of one result. A run that is not finished is at best
// inconclusive; one that only has to end is refused (ErrNotDone). New wraps ErrContradiction for a result that no honest run gives.
func New(res verify.Result, f Facts) (*Report, error) {
	if res.Schema != verify.Schema {
		return nil, fmt.Errorf("a result of the form %q cannot be reported by this version, which reads %s", res.Schema, verify.Schema)
	}
	if res.State == "running" && res.Kind != "continuous" {
		return nil, fmt.Errorf("run %s: %w", res.Run, ErrNotDone)
	}
	if res.State != "done" && res.Verdict == verify.Consistent {
		res.Verdict = verify.Inconclusive
		res.Reasons = append(slices.Clone(res.Reasons), "the run was not finished; it is verified only as far as its windows were judged")
	}
	if f.Now.IsZero() {
		return nil, errors.New("a report needs the time")
	}
	r := &Report{
		Schema: Schema, ID: "r-" + f.Now.UTC().Format("20060102-150405") + "-" + res.Run,
		Workflow: res.Workflow, Tool: f.Tool, Config: f.Config, Plan: f.Plan, Keymap: res.Scope.Keymap,
		Verdict: res.Verdict, Reasons: res.Reasons, ExitCode: exitCodes[res.Verdict], CreatedAt: second(f.Now),
		Run: Run{ID: res.Run, Kind: res.Kind, Mode: res.Mode, State: res.State,
			StartedAt: res.StartedAt, FinishedAt: res.FinishedAt, Root: res.Root},
		Direction: res.Direction,
		Scope:     res.Scope, Fence: res.Fence, Coverage: res.Coverage, Totals: res.Totals, Findings: res.Findings,
		Order: res.Order, Algorithm: res.Algorithm, Targets: res.Targets, Through: res.Through, Windows: res.Windows,
		DeadLetters: f.DeadLetters, Mirror: f.Mirror, Translations: f.Translations, Rollback: f.Rollback,
		Waivers: f.Waivers, Remarks: f.Remarks, KeysRevealed: f.Keys != nil,
	}
	if r.Rollback.Ready && r.Verdict != verify.Consistent {
		r.Rollback.Ready = false
		r.Rollback.Reason = "the verdict is " + string(r.Verdict) + ": whether the target may be left is not shown; " + r.Rollback.Reason
	}
	if f.Retention > 0 {
		hours := r.judgedAt().Add(f.Retention).Sub(f.Now).Round(time.Minute).Hours()
		r.Rollback.HeadroomHours = &hours
	}
	r.ValidUntil = second(r.judgedAt().Add(orDefault(f.ValidFor)))
	r.addSamples(res.Samples, f.Keys)
	r.Gates = append(r.ownGates(), f.Gates...)
	r.fillLists()
	if err := r.seal(); err != nil {
		return nil, err
	}
	for _, c := range r.recompute() {
		if !c.Pass {
			return nil, fmt.Errorf("%s: %s: %w", c.Name, c.Message, ErrContradiction)
		}
	}
	return r, nil
}

// exitCodes are those with which bridge verify run ends.
var exitCodes = map[verify.Verdict]int{verify.Consistent: 0, verify.Inconsistent: 5, verify.Inconclusive: 6}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func orDefault(d time.Duration) time.Duration {
	if d == 0 {
		return validFor
	}
	return d
}

// judgedAt is the time that the verdict speaks of: what was written later it has not seen.
func (r *Report) judgedAt() time.Time {
	switch {
	case !r.Fence.TakenAt.IsZero():
		return r.Fence.TakenAt
	case !r.Run.FinishedAt.IsZero():
		return r.Run.FinishedAt
	}
	return r.Run.StartedAt
}

func (r *Report) addSamples(found []verify.Finding, keys map[string]string) {
	for _, f := range found {
		s := Sample{Finding: f}
		if name, ok := keys[f.Key]; ok {
			s.Name = strconv.QuoteToASCII(name)
		}
		r.Samples = append(r.Samples, s)
	}
	slices.SortStableFunc(r.Samples, func(a, b Sample) int {
		return slices.Index(classes, a.Class) - slices.Index(classes, b.Class)
	})
}

// classes in the order of their weight.
var classes = []verify.Class{
	verify.Missing, verify.Extra, verify.Corrupt, verify.Reordered, verify.Misrouted,
	verify.Unread, verify.Unverifiable, verify.Duplicate, verify.Rewind,
}

// fillLists makes nil lists empty ones, as the schema promises.
func (r *Report) fillLists() {
	for _, f := range fieldsOf(r) {
		fillList(f.value)
	}
}
