package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// verifyOptions are what a run was asked for; they are kept with it, so that it can be
// resumed.
type verifyOptions struct {
	Quick      bool                       `json:"quick,omitempty"`
	Final      bool                       `json:"final,omitempty"`
	Continuous bool                       `json:"continuous,omitempty"`
	Watch      time.Duration              `json:"watch,omitempty"`
	Drain      time.Duration              `json:"drain,omitempty"`
	From       time.Time                  `json:"from,omitzero"`
	To         time.Time                  `json:"to,omitzero"`
	After      map[string]bridge.Position `json:"after,omitempty"`
	Through    map[string]bridge.Position `json:"through,omitempty"`
	Partitions []string                   `json:"partitions,omitempty"`
	Keys       []string                   `json:"keys,omitempty"`
	Settle     time.Duration              `json:"settle,omitempty"`
	Window     time.Duration              `json:"window,omitempty"`
	SweepEvery time.Duration              `json:"sweep_every,omitempty"`
	SaveEvery  time.Duration              `json:"save_every,omitempty"`
	Samples    int                        `json:"samples,omitempty"`
	MaxRepeats int64                      `json:"max_repeats"` // -1: any number
	Content    bool                       `json:"content,omitempty"`
	Compare    []string                   `json:"compare,omitempty"`
	RecordID   string                     `json:"record_id,omitempty"`
	// Key is that of a content run without a workflow, so that it can be resumed.
	Key string `json:"key,omitempty"`
}

// runFlags are those of verify run.
func runFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "call the run so; by default by its time"},
		&cli.BoolFlag{Name: "quick", Usage: "look at ranges only; takes seconds, and is inconclusive at best"},
		&cli.BoolFlag{Name: "final", Usage: "take a fence of all that is in the source, wait for the mirror, judge, then watch for stragglers"},
		&cli.BoolFlag{Name: "continuous", Usage: "go on beside the mirror until stopped"},
		&cli.DurationFlag{Name: "sweep-every", Value: 6 * time.Hour, Usage: "with --continuous: how long after the last time all that was verified is read again"},
		&cli.DurationFlag{Name: "save-every", Value: 10 * time.Second, Usage: "how often the state of the run is saved; what was read since is read again after a crash"},
		&cli.DurationFlag{Name: "watch-for", Value: 10 * time.Second, Usage: "with --final: how long to watch for records behind the fence"},
		&cli.DurationFlag{Name: "drain-timeout", Value: 10 * time.Minute, Usage: "how long a run waits for a mirror that goes on acknowledging; with --final, for the fence"},
		&cli.StringSliceFlag{Name: "from", Usage: "begin at this `TIME`, or behind PARTITION=POSITION (repeat for more partitions)"},
		&cli.StringSliceFlag{Name: "to", Usage: "end at this `TIME`, or with PARTITION=POSITION (repeat for more partitions)"},
		&cli.StringSliceFlag{Name: "partition", Aliases: []string{"shard"}, Usage: "only this `PARTITION` of the source (repeat for more)"},
		&cli.StringSliceFlag{Name: "key", Usage: "only records of this `KEY` (repeat for more)"},
		&cli.DurationFlag{Name: "settle", Usage: "how long a difference must last before it is reported; goes before verify.settle of the file"},
		&cli.DurationFlag{Name: "window", Usage: "longest time that one window covers; goes before verify.window of the file"},
		&cli.IntFlag{Name: "samples", Value: 1000, Usage: "how many differences of each kind are kept one by one"},
		&cli.Int64Flag{Name: "max-repeats", Value: -1, Usage: "more repeated records than this make the run inconsistent; -1 reports them only"},
		&cli.BoolFlag{Name: "content", Usage: "compare a copy that another program made, whose records carry no coordinates: contents, and the order of each key"},
		&cli.StringSliceFlag{Name: "compare", Usage: "with --content: `PART`s that must be the same beside key and value: time, headers (repeat for both)"},
		&cli.StringFlag{Name: "record-id", Usage: "with --content: header:NAME or a JSON pointer into the value, by which a changed record is told from a lost one"},
	}, showingFlags()...)
}

// showingFlags say how a run shows itself while it lasts.
func showingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "progress-interval", Value: 30 * time.Second, Usage: "how often progress is logged; 0s is never"},
		&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` of this machine, such as 127.0.0.1:9465, that answers /metrics (Prometheus) and /healthz while the run lasts"},
	}
}

// verifyOptionsOf reads the flags.
func verifyOptionsOf(c *cli.Context, l *loaded) (verifyOptions, error) {
	o := verifyOptions{
		Quick: c.Bool("quick"), Final: c.Bool("final"), Continuous: c.Bool("continuous"),
		Watch: c.Duration("watch-for"), Drain: c.Duration("drain-timeout"),
		Partitions: c.StringSlice("partition"), Keys: c.StringSlice("key"),
		Settle: time.Duration(l.Verify.Settle), Window: time.Duration(l.Verify.Window), SweepEvery: c.Duration("sweep-every"), SaveEvery: c.Duration("save-every"),
		Samples: c.Int("samples"), MaxRepeats: c.Int64("max-repeats"),
		Content: c.Bool("content"), Compare: c.StringSlice("compare"), RecordID: c.String("record-id"),
	}
	if err := o.checkContent(); err != nil {
		return o, err
	}
	kinds := 0
	for _, set := range []bool{o.Quick, o.Final, o.Continuous} {
		if set {
			kinds++
		}
	}
	if kinds > 1 {
		return o, usage(errors.New("--quick, --final and --continuous exclude each other"))
	}
	for name, d := range map[string]*time.Duration{"settle": &o.Settle, "window": &o.Window} {
		if c.IsSet(name) {
			*d = c.Duration(name)
		}
		if *d <= 0 {
			return o, usage(fmt.Errorf("--%s takes a positive duration", name))
		}
	}
	if o.Samples < 1 || o.Watch < 0 || o.Drain <= 0 || o.SweepEvery <= 0 || o.SaveEvery <= 0 {
		return o, usage(errors.New("--samples, --drain-timeout, --sweep-every and --save-every take positive values, --watch-for none below 0"))
	}
	var err error
	if o.From, o.After, err = bound("from", c.StringSlice("from")); err != nil {
		return o, err
	}
	o.To, o.Through, err = bound("to", c.StringSlice("to"))
	if err == nil && (o.Final || o.Continuous) && len(c.StringSlice("to")) > 0 {
		err = usage(errors.New("--to does not go with --final or --continuous"))
	}
	return o, err
}

// bound reads one end of a range: a time, or positions.
func bound(flag string, texts []string) (at time.Time, positions map[string]bridge.Position, err error) {
	for _, text := range texts {
		partition, position, ok := strings.Cut(text, "=")
		if !ok {
			if at, err = time.Parse(time.RFC3339, text); err != nil || len(texts) > 1 {
				return at, nil, usage(fmt.Errorf("--%s %q is not one time such as 2026-01-31T00:00:00Z, and not PARTITION=POSITION", flag, text))
			}
			continue
		}
		p, err := bridge.ParsePosition(position)
		if err != nil || partition == "" {
			return at, nil, usage(fmt.Errorf("--%s %q is not PARTITION=POSITION", flag, text))
		}
		if positions == nil {
			positions = map[string]bridge.Position{}
		}
		positions[partition] = p
	}
	return at, positions, nil
}

// apply gives a verifier what was asked for.
func (o verifyOptions) apply(v *verify.Verifier) {
	v.Quick, v.Final, v.Continuous, v.Watch, v.Drain = o.Quick, o.Final, o.Continuous, o.Watch, o.Drain
	v.Select = verify.Selection{From: o.From, To: o.To, After: o.After, Through: o.Through, Partitions: o.Partitions}
	for _, k := range o.Keys {
		v.Select.Keys = append(v.Select.Keys, []byte(k))
	}
	v.Settle, v.Window, v.MaxSamples = o.Settle, o.Window, o.Samples
	v.SweepEvery, v.SaveEvery = o.SweepEvery, o.SaveEvery
	if v.Content = o.Content; o.Content {
		v.Acknowledged, v.Checkpoint, v.Ledger, v.Format = nil, nil, nil, "none"
		v.Start = time.Time{}
		v.Keeps = verify.Keeps{Nulls: v.Keeps.Nulls, Time: slices.Contains(o.Compare, "time"), Headers: slices.Contains(o.Compare, "headers")}
		v.RecordID = recordID(o.RecordID)
	}
}

// checkContent judges the flags of content mode.
func (o verifyOptions) checkContent() error {
	if !o.Content {
		if len(o.Compare) > 0 || o.RecordID != "" {
			return usage(errors.New("--compare and --record-id go with --content"))
		}
		return nil
	}
	if o.Quick || o.Final || o.Continuous {
		return usage(errors.New("--content does not go with --quick, --final or --continuous"))
	}
	for _, part := range o.Compare {
		if part != "time" && part != "headers" {
			return usage(fmt.Errorf("--compare %q is not time or headers", part))
		}
	}
	if id := o.RecordID; id != "" && !strings.HasPrefix(id, "header:") && !strings.HasPrefix(id, "/") {
		return usage(fmt.Errorf("--record-id %q is not header:NAME and not a JSON pointer such as /id", id))
	}
	return nil
}

// recordID is how a record is known, nil if no way was given.
func recordID(how string) func(*bridge.Record) []byte {
	if name, ok := strings.CutPrefix(how, "header:"); ok {
		return func(r *bridge.Record) []byte {
			for _, h := range slices.Backward(r.Headers) {
				if h.Key == name {
					return h.Value
				}
			}
			return nil
		}
	}
	if how == "" {
		return nil
	}
	steps := strings.Split(how, "/")[1:]
	for i, s := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return func(r *bridge.Record) []byte { return pointed(r.Value, steps) }
}

// pointed is the JSON at a path, nil if there is none.
func pointed(value []byte, steps []string) []byte {
	at := json.RawMessage(value)
	for _, step := range steps {
		var object map[string]json.RawMessage
		if json.Unmarshal(at, &object) == nil {
			at = object[step]
			continue
		}
		var list []json.RawMessage
		i, err := strconv.Atoi(step)
		if err != nil || json.Unmarshal(at, &list) != nil || i < 0 || i >= len(list) {
			return nil
		}
		at = list[i]
	}
	return at
}
