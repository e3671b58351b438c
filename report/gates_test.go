package report_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// What nobody has looked at is not known, and no gate that holds; and a way back is ready
// only where the verdict is consistent.
func TestWhatWasNotLookedAtIsNotKnown(t *testing.T) {
	gate := func(r *report.Report, name string) report.Gate {
		return r.Gates[slices.IndexFunc(r.Gates, func(g report.Gate) bool { return g.Name == name })]
	}
	for _, c := range []struct {
		name         string
		world        world
		change       func(r *verify.Result)
		gate         string
		pass, cannot bool
		ready        bool
	}{
		{"watched", small(fine), func(*verify.Result) {}, "stragglers", true, false, true},
		{"not watched", small(fine), func(r *verify.Result) { r.Fence.Watched = 0 }, "stragglers", false, true, true},
		{"stragglers", small(fine), func(r *verify.Result) { r.Fence.Stragglers = 3 }, "stragglers", false, false, true},
		{"nothing beyond", small(fine), func(*verify.Result) {}, "scope", true, false, true},
		{"not asked for", small(fine), func(r *verify.Result) { r.Coverage.Beyond = verify.Beyond{} }, "scope", false, true, true},
		{"not mirrored", world{hours: 4, behind: 20_000}.with(3), func(*verify.Result) {}, "scope", false, false, false},
		{"differences", small(damaged), func(*verify.Result) {}, "differences", false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := c.world.result()
			c.change(&res)
			r, err := report.New(res, facts())
			if err != nil {
				t.Fatal(err)
			}
			if g := gate(r, c.gate); g.Pass != c.pass || g.CannotTell != c.cannot || !g.Data {
				t.Errorf("%+v", g)
			}
			if r.Rollback.Ready != c.ready || !c.ready && !strings.Contains(r.Rollback.Reason, string(r.Verdict)) {
				t.Errorf("way back ready: %t (%s), want %t", r.Rollback.Ready, r.Rollback.Reason, c.ready)
			}
			for _, f := range report.Forms() {
				if f != report.JSON && c.world.behind > 0 && !strings.Contains(strings.Join(strings.Fields(string(render(t, r, f))), " "), "20,000 and 1 partition not yet mirrored") {
					t.Errorf("%s does not say what is not mirrored", f)
				}
			}
		})
	}
}
