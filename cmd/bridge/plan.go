package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

var sampleFlag = &cli.IntFlag{Name: "sample", Value: 1000, Usage: "read at most `N` records of each partition, 1 to 10000"}

func (a *app) preflightCommand() *cli.Command {
	return command(cli.Command{
		Name:  "preflight",
		Usage: "check access, limits and settings of both ends before anything moves",
		Description: `Reaches both ends, reads a sample of the source, and judges what would hurt later:
each check with what was found and what to do. Nothing is changed. Ends with 4 if a check
failed.

Examples:
   bridge preflight
   bridge preflight --sample 5000 --output json`,
		Flags: []cli.Flag{sampleFlag},
	}, a.preflight)
}

func (a *app) planCommand() *cli.Command {
	return command(cli.Command{
		Name:  "plan",
		Usage: "show what would move where, how, and what cannot be carried",
		Description: `Reads a sample of the source and prints the topology, the key mapping, what each format
could carry of these records, and the hash that names this plan. Nothing is changed.

Examples:
   bridge plan
   bridge plan --sample 5000 --output json`,
		Flags: []cli.Flag{sampleFlag},
	}, a.plan)
}

// survey looks at both ends for a command.
func (a *app) survey(c *cli.Context) (*survey, error) {
	n := c.Int(sampleFlag.Name)
	if n < 1 || n > 10_000 {
		return nil, usage(fmt.Errorf("--sample %d is not in the range 1 to 10000", n))
	}
	log, err := a.logger(c)
	if err != nil {
		return nil, err
	}
	l, err := a.load(c)
	if err != nil {
		return nil, err
	}
	a.warn(l)
	s := &survey{settings: settings{Config: l, Log: log, HTTP: a.adapters.http}}
	if err := s.look(c.Context, n); err != nil {
		return nil, startError{err}
	}
	return s, nil
}

func (a *app) preflight(c *cli.Context) error {
	s, err := a.survey(c)
	if err != nil {
		return err
	}
	made := s.checks()
	a.answer = &answer{
		result: struct {
			Checks checks `json:"checks"`
			Sample sample `json:"sample"`
		}{made, s.sample},
		text: made.write,
	}
	for _, k := range made {
		a.answer.gates = append(a.answer.gates, gate{Name: k.ID, Pass: k.Level != levelFail, Text: k.Evidence})
	}
	if n := made.failed(); n > 0 {
		err := classed{fmt.Errorf("%d of %d checks failed", n, len(made)), bridge.ErrRefused}
		return startError{bridge.WithHint(err, "nothing was changed; what to do stands beside each check")}
	}
	return nil
}

func (c checks) write(w io.Writer) error {
	for _, k := range c {
		if _, err := fmt.Fprintf(w, "%-4s  %-24s %s\n", k.Level, k.ID, clean(k.Evidence)); err != nil {
			return err
		}
		if k.Fix == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "      %-24s %s\n", "", clean(k.Fix)); err != nil {
			return err
		}
	}
	return nil
}

// A planResult is what plan prints.
type planResult struct {
	Hash       string      `json:"plan_hash"`
	Workflow   string      `json:"workflow"`
	Direction  string      `json:"direction"`
	Source     string      `json:"source"`
	Target     string      `json:"target"`
	Created    bool        `json:"target_is_created"`
	Shards     int         `json:"open_shards"`
	Partitions int         `json:"partitions"`
	Keymap     string      `json:"keymap"`
	Format     string      `json:"format,omitempty"`
	Backlog    int64       `json:"backlog_records,omitempty"`
	Sample     sample      `json:"sample"`
	Formats    []formatRow `json:"formats,omitempty"`
	Lost       []string    `json:"accepted_losses"`
	Latency    planLatency `json:"latency"`
	Checks     checks      `json:"failed_checks"`
}

type planLatency struct {
	KinesisMs float64 `json:"kinesis_ms"`
	KafkaMs   float64 `json:"kafka_ms"`
}

// A formatRow is what one format of Kinesis records could carry of the sample.
type formatRow struct {
	Format  string   `json:"format"`
	Chosen  bool     `json:"chosen"`
	HotKey  float64  `json:"hot_key_records_per_second"` // that it can carry
	Cannot  []string `json:"cannot_carry,omitempty"`
	Readers string   `json:"readers"`
}

func (a *app) plan(c *cli.Context) error {
	s, err := a.survey(c)
	if err != nil {
		return err
	}
	if err := cmp.Or(s.unreached(), s.unread); err != nil {
		return startError{err}
	}
	r, err := s.plan()
	if err != nil {
		return err
	}
	a.answer = &answer{result: r, text: r.write, nextSteps: []string{"bridge preflight", "bridge mirror run"}}
	return nil
}

func (s *survey) plan() (planResult, error) {
	k := s.Config
	r := planResult{
		Workflow: k.Workflow, Direction: k.Direction, Source: orName(s.stream.ARN, k.Kinesis.Stream), Target: k.Kafka.Topic,
		Created: s.topic.Name == "", Shards: s.shards, Partitions: s.topic.Partitions, Backlog: s.backlog, Sample: s.sample,
		Lost: append([]string{}, k.AcceptLoss...), Checks: checks{},
		Latency: planLatency{float64(s.kinesisRTT.Microseconds()) / 1000, float64(s.kafkaRTT.Microseconds()) / 1000},
	}
	if r.Partitions == 0 {
		r.Partitions = k.Kafka.Partitions
	}
	if k.Direction == kafkaToKinesis {
		r.Source, r.Target, r.Format = r.Target, r.Source, string(k.Kinesis.writes())
		r.Created = s.stream.ARN == ""
		r.Formats = s.formats()
	}
	keys, err := k.strategy(r.Partitions)
	if err != nil {
		return r, usage(err)
	}
	r.Keymap = keys.Name()
	for _, c := range s.checks() {
		if c.Level == levelFail {
			r.Checks = append(r.Checks, c)
		}
	}
	// What names the plan is what was decided, not what a sample happened to show.
	b, err := json.Marshal([]any{k.hash(), r.Source, r.Target, s.topic.ID, s.stream.Created, r.Partitions, r.Keymap, r.Format})
	if err != nil {
		return r, fmt.Errorf("hash the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	r.Hash = hex.EncodeToString(sum[:6])
	return r, nil
}

func orName(arn, name string) string {
	if arn != "" {
		return arn
	}
	return name
}

// formats says what each format could carry.
func (s *survey) formats() []formatRow {
	m := &s.sample
	var lost []string
	for _, l := range []struct {
		n    int64
		what string
	}{{m.WithHeaders, "headers"}, {m.Tombstones, "null values"}} {
		if l.n > 0 {
			lost = append(lost, fmt.Sprintf("%s (%d of %d)", l.what, l.n, m.Records))
		}
	}
	single := s.rawCapacity()
	// A packed record takes the place of one: as many as fit into what is packed at a time.
	packed := float64(time.Second) / float64(max(orLatency(s.kinesisRTT), time.Microsecond)) * float64(min(packRecords, packBytes/max(m.Median, 1)))
	chosen := s.Config.Kinesis.writes()
	return []formatRow{
		{"raw", chosen == kinesisstream.Raw, single, append(lost, "timestamps"), "any consumer"},
		{"kpl", chosen == kinesisstream.KPL, packed, nil, "consumers that de-aggregate, as the KCL does; a null value reads as an empty one there"},
		{"kpl, aggregate: shard", chosen == kinesisstream.KPLShard, packed, nil, "consumers on the KCL only: Lambda, Firehose and other de-aggregators read records twice after a reshard"},
		{"envelope", chosen == kinesisstream.Envelope, packed, nil, "consumers that know the envelope"},
	}
}

const (
	packRecords = 1000
	packBytes   = 256 << 10
)

func orLatency(d time.Duration) time.Duration {
	if d == 0 {
		return assumedPut
	}
	return d
}

func (r planResult) write(w io.Writer) error {
	made := ""
	if r.Created {
		made = "  (will be created)"
	}
	m := &r.Sample
	backlog := ""
	if r.Backlog > 0 {
		backlog = fmt.Sprintf(", %s records to begin with", grouped(r.Backlog))
	}
	_, err := fmt.Fprintf(w, `plan %s of workflow %s
  from      %s%s
  to        %s%s
  topology  %d open shards, %d partitions
  keymap    %s
  sample    %s records of %d partitions: %d bytes in the middle, %d at 99 %%, %d at most
  keys      %s, the hottest has %.1f %% (%.0f records/s); without a key %s
  latency   Kinesis %.1f ms, Kafka %.1f ms
`, r.Hash, r.Workflow, clean(r.Source), backlog, clean(r.Target), made, r.Shards, r.Partitions, r.Keymap,
		grouped(m.Records), m.Partitions, m.Median, m.P99, m.Largest,
		grouped(int64(m.Keys)), 100*m.hottestShare(), m.hottestShare()*m.rate(), grouped(m.NullKeys), r.Latency.KinesisMs, r.Latency.KafkaMs)
	if err == nil && len(r.Formats) > 0 {
		err = r.writeFormats(w)
	}
	for _, l := range r.Lost {
		if err == nil {
			_, err = fmt.Fprintf(w, "  accepted as lost: %s\n", l)
		}
	}
	if err == nil && len(r.Checks) > 0 {
		_, err = fmt.Fprintf(w, "%d checks of preflight fail:\n", len(r.Checks))
	}
	if err == nil {
		err = r.Checks.write(w)
	}
	return err
}

func (r planResult) writeFormats(w io.Writer) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"format", "one key, records/s", "cannot carry", "for"})
	for _, f := range r.Formats {
		name, cannot := f.Format, "-"
		if f.Chosen {
			name += " *"
		}
		for i, c := range f.Cannot {
			if cannot += ", " + c; i == 0 {
				cannot = c
			}
		}
		t.AppendRow(table.Row{name, fmt.Sprintf("%.0f", f.HotKey), cannot, f.Readers})
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, WidthMax: 24}, {Number: 4, WidthMax: 30}})
	_, err := fmt.Fprintln(w, t.Render())
	return err
}
