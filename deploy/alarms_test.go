package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
)

// alarms are the rules of alarms.yaml, read as Prometheus reads them.
func alarms(t *testing.T) []rulefmt.Rule {
	t.Helper()
	file, faults := rulefmt.ParseFile("alarms.yaml", false, model.LegacyValidation)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if len(file.Groups) != 1 || file.Groups[0].Name != "bridge" || time.Duration(file.Groups[0].Interval) != step || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("alarms.yaml is not one group bridge of many rules, run every minute: %+v", file.Groups)
	}
	return file.Groups[0].Rules
}

// Each alarm says how bad it is, what it means, and what to do: in a runbook that is there,
// or by itself.
func TestAlarmsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range alarms(t) {
		if seen[r.Alert] || !regexp.MustCompile(`^Bridge[A-Z]\w+$`).MatchString(r.Alert) {
			t.Errorf("%q is no name, or that of two", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; len(r.Labels) != 1 || s != "page" && s != "ticket" {
			t.Errorf("%s: labels are %v, want a severity of page or ticket", r.Alert, r.Labels)
		}
		for name := range r.Annotations {
			if !slices.Contains([]string{"summary", "description", "runbook"}, name) {
				t.Errorf("%s: annotation %s", r.Alert, name)
			}
		}
		if r.Annotations["summary"] == "" || !strings.Contains(r.Annotations["description"], "Do:") {
			t.Errorf("%s: does not say what it is and what to do", r.Alert)
		}
		page, has := r.Annotations["runbook"]
		if !has {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", page)); err != nil || !strings.HasPrefix(page, "runbooks/") {
			t.Errorf("%s: there is no runbook %s", r.Alert, page)
		}
	}
}

// What docs/metrics.md says is worth an alarm has one: the page lists every alarm with its
// severity, and no other, and every metric of that chapter is in one of them.
func TestAlarmsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, found := strings.Cut(string(page), "\n## Worth an alarm\n")
	if !found {
		t.Fatal("docs/metrics.md does not say what is worth an alarm")
	}
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	rules := alarms(t)
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(Bridge\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(chapter, -1) {
		documented[m[1]] = m[2]
	}
	all, asked := exported(t), map[string]bool{}
	for _, r := range rules {
		if documented[r.Alert] != r.Labels["severity"] {
			t.Errorf("%s is a %s, and in docs/metrics.md %q", r.Alert, r.Labels["severity"], documented[r.Alert])
		}
		names, _, err := checkExpr(all, r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		for _, name := range names {
			asked[name] = true
		}
	}
	if len(documented) != len(rules) {
		t.Errorf("%d alarms are documented, there are %d", len(documented), len(rules))
	}
	metrics := regexp.MustCompile(`\bbridge_[a-z_]+\b`).FindAllString(chapter, -1)
	if len(metrics) < 10 {
		t.Errorf("only %d metrics are named as worth an alarm", len(metrics))
	}
	for _, name := range metrics {
		if !asked[name] {
			t.Errorf("%s is worth an alarm and has none", name)
		}
	}
}
