package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A board is what is looked at of dashboard.json.
type board struct {
	Schema     int `json:"schemaVersion"`
	Templating struct {
		List []struct {
			Name, Type, Query string
			Datasource        struct{ UID string }
		}
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID  string
		Expr   string
		Legend string `json:"legendFormat"`
	}
}

func dashboard(t *testing.T) board {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Panels) < 20 {
		t.Fatalf("only %d panels found", len(b.Panels))
	}
	return b
}

// Every panel has a name, says what to do, has a unit and something to show, and a place
// of its own.
func TestPanels(t *testing.T) {
	b := dashboard(t)
	var rows []string
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range b.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q has no title, or another one has its number", p.ID, p.Title)
		}
		ids[p.ID] = true
		place(t, p, taken)
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if len(p.Description) < 40 || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%s: needs a description, a unit and a target", p.Title)
		}
		for _, page := range regexp.MustCompile(`runbooks/[a-z0-9-]+\.md`).FindAllString(p.Description, -1) {
			if _, err := os.Stat("../" + page); err != nil {
				t.Errorf("%s: there is no %s", p.Title, page)
			}
		}
		if p.Datasource.Type != "prometheus" || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: its source is not the one that was chosen", p.Title)
		}
		refs := map[string]bool{"": true}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Expr == "" {
				t.Errorf("%s: target %q has no expression, no name, or that of another", p.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
	if want := []string{"Is it safe", "How far", "What holds it up", "Verify"}; !slices.Equal(rows, want) {
		t.Errorf("rows are %q, want %q", rows, want)
	}
	if b.Schema != 42 {
		t.Errorf("schemaVersion is %d", b.Schema)
	}
}

// place holds that a panel is inside the 24 columns and on no other one.
func place(t *testing.T, p panel, taken map[[2]int]string) {
	t.Helper()
	g := p.GridPos
	if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
		t.Errorf("%s: has no place: %+v", p.Title, g)
	}
	for x := g.X; x < g.X+g.W; x++ {
		for y := g.Y; y < g.Y+g.H; y++ {
			if other := taken[[2]int{x, y}]; other != "" {
				t.Fatalf("%s lies on %s", p.Title, other)
			}
			taken[[2]int{x, y}] = p.Title
		}
	}
}

// Every target shows something once everything is known.
func TestPanelsShow(t *testing.T) {
	h, begin := history{}, time.UnixMilli(0).Add(24*time.Hour)
	for i, c := range informed() {
		for minute := range 10 {
			h.scrape(t, fmt.Sprint("job", i), c, begin.Add(time.Duration(minute)*step))
		}
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$direction", ends.Direction, "$stream", ".*", "$topic", ends.Topic)
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			if len(h.query(t, fill.Replace(target.Expr), begin.Add(9*step), begin.Add(9*step))) == 0 {
				t.Errorf("%s shows nothing: %s", p.Title, target.Expr)
			}
		}
	}
}

// Every variable that is used is there, is one of a metric and a label that are exported,
// and every panel obeys all of them.
func TestVariables(t *testing.T) {
	all, b := exported(t), dashboard(t)
	have := []string{"__rate_interval"}
	for _, v := range b.Templating.List {
		have = append(have, v.Name)
		if v.Type == "datasource" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(v.Query)
		if m == nil || v.Datasource.UID != "${datasource}" {
			t.Errorf("variable %s does not ask the chosen source for the values of a label: %s", v.Name, v.Query)
		} else if _, ok := all[m[1]].labels[m[2]]; !ok {
			t.Errorf("variable %s: nothing exports %s with %s", v.Name, m[1], m[2])
		}
	}
	name := regexp.MustCompile(`\$\{?(\w+)`)
	selected := regexp.MustCompile(`bridge_\w+(\{[^}]*\})?`)
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			for _, m := range name.FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(have, m[1]) {
					t.Errorf("%s: there is no variable %s", p.Title, m[1])
				}
			}
			for _, m := range selected.FindAllStringSubmatch(target.Expr, -1) {
				if !strings.HasPrefix(m[1], `{direction=~"$direction",stream=~"$stream",topic=~"$topic"`) {
					t.Errorf("%s: %s is of any workflow", p.Title, m[0])
				}
			}
		}
	}
}
