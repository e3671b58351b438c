package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	independent "github.com/kinesis-msk-bridge/bridge/integration/checker"
	recorded "github.com/kinesis-msk-bridge/bridge/internal/golden"
)

// This version finishes a migration that an earlier one began: it mirrors the rest, with
// nothing lost and nothing out of order, verifies and reports it, takes the consumer back and
// plans its move again.
func TestGoldenStates(t *testing.T) {
	for _, name := range recorded.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &goldenRun{World: recorded.Load(t, name), Kind: recorded.KindOf(name), t: t}
			g.bridge("bridge.yaml", "status")
			g.takeBack()
			counts := g.mirror("bridge.yaml")
			if killed := strings.HasSuffix(name, "-killed"); killed != (counts.Present > 0) {
				t.Errorf("%d records were there already", counts.Present)
			}
			if counts.Read != recorded.Sent || counts.Written+counts.Present != recorded.Sent || counts.Rewind != 0 {
				t.Errorf("counts %+v, want %d records, each once", counts, recorded.Sent)
			}
			if v := g.judge(); v.Records != recorded.Sent || !v.Clean() {
				t.Errorf("the target: %s", v)
			}
			g.verify()
			g.reports()
			g.plan()
		})
	}
}

// A goldenRun has this version go on from a recording.
type goldenRun struct {
	*recorded.World
	recorded.Kind
	t *testing.T
}

// bridge runs the program to its end, which must be good, and returns what it printed.
func (g *goldenRun) bridge(config string, args ...string) []byte {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), storyPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bridge", append(args, "--config", config, "--output", "json")...)
	cmd.Dir = g.Dir
	cmd.Env = append(os.Environ(), recorded.Env()...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		g.t.Fatalf("bridge %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), talk.String())
	}
	return out.Bytes()
}

// result decodes what a command printed.
func result[T any](g *goldenRun, out []byte) T {
	g.t.Helper()
	var answer struct{ Result T }
	if err := json.Unmarshal(out, &answer); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	return answer.Result
}

type goldenCounts struct {
	Read, Written, Rewind int
	Present               int `json:"already_present"`
}

// mirror carries what is left.
func (g *goldenRun) mirror(config string) goldenCounts {
	g.t.Helper()
	return result[struct{ Counts goldenCounts }](g, g.bridge(config, "mirror", "run", "--until-caught-up")).Counts
}

// judge compares the target with the rows that the source was given.
func (g *goldenRun) judge() independent.Verdict {
	g.t.Helper()
	var rows []independent.Row
	for _, r := range recorded.Rows(g.ToKafka) {
		rows = append(rows, independent.Row{N: r.N, Key: r.Key, Null: r.Null, Value: r.Value})
	}
	topic := recorded.Topic
	switch {
	case g.Raw():
		copies, err := independent.Kinesis(g.t.Context(), g.Kinesis.URL(), recorded.Stream)
		if err != nil {
			g.t.Fatal(err)
		}
		return independent.Judge(rows, copies)
	case !g.ToKafka:
		// The checker does not know the formats: the stream is mirrored into another topic.
		topic = "onward"
		config, err := g.Configure("onward.yaml", g.Onward(topic))
		if err != nil {
			g.t.Fatal(err)
		}
		g.mirror(filepath.Base(config))
	}
	copies, _, err := independent.Kafka(g.t.Context(), g.Kafka.ListenAddrs(), topic)
	if err != nil {
		g.t.Fatal(err)
	}
	return independent.Judge(rows, copies)
}

// verify looks for differences, and must find none.
func (g *goldenRun) verify() {
	g.t.Helper()
	v := result[struct {
		Verdict  string
		Coverage struct{ Percent float64 }
		Totals   struct {
			Source string `json:"source_records"`
		}
	}](g, g.bridge("bridge.yaml", "verify", "run", "--settle", "100ms"))
	if v.Verdict != "consistent" || v.Coverage.Percent != 100 || v.Totals.Source != fmt.Sprint(recorded.Sent) {
		g.t.Errorf("verify says %+v", v)
	}
}

// reports checks the report of the earlier version, and makes one of both its runs and ours.
func (g *goldenRun) reports() {
	g.t.Helper()
	old, err := filepath.Glob(filepath.Join(g.Dir, "r-*.json"))
	if err != nil || len(old) != 1 {
		g.t.Fatalf("reports %v, %v", old, err)
	}
	if c := result[struct{ Intact bool }](g, g.bridge("bridge.yaml", "report", "check", filepath.Base(old[0]))); !c.Intact {
		g.t.Error("the report of the earlier version is not intact")
	}
	g.bridge("bridge.yaml", "report", "create")
}

// takeBack undoes the move of the consumer that the earlier version made.
func (g *goldenRun) takeBack() {
	g.t.Helper()
	g.bridge("bridge.yaml", "offsets", "undo", "--still-for", "1s")
	if g.ToKafka {
		return
	}
	if items := g.Dynamo.Items(recorded.Table); items != "" {
		g.t.Errorf("after undo the lease table holds\n%s", items)
	}
}

// plan says how the consumer would move again.
func (g *goldenRun) plan() {
	g.t.Helper()
	p := result[struct {
		Plan  string
		Exact bool
	}](g, g.bridge("bridge.yaml", "offsets", "plan"))
	if p.Plan == "" || !p.Exact {
		g.t.Errorf("the plan is %+v", p)
	}
}
