package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
)

const flagReveal = "reveal"

func (a *app) deadLettersCommand() *cli.Command {
	reveal := &cli.BoolFlag{Name: flagReveal, Usage: "print keys, values and headers instead of what identifies them"}
	return group("dead-letters", "look at records that could not be carried",
		command(cli.Command{
			Name:  "list",
			Usage: "list the dead letters of the workflow",
			Description: `Lists each record that was kept as a dead letter, once, with the coordinate that "show"
takes. It changes nothing.

Examples:
   bridge dead-letters list
   bridge dead-letters list --class oversize --output json`,
			Flags: []cli.Flag{&cli.StringFlag{Name: "class", Usage: "only this `CLASS`: oversize, undecodable or unmappable"}},
		}, a.listLetters),
		command(cli.Command{
			Name:      "show",
			Usage:     "show one dead letter",
			ArgsUsage: "COORDINATE",
			Description: `Shows the letter of one coordinate: a partition, a colon and a position. Keys, values and
headers are shown as hashes unless --reveal is given.

Examples:
   bridge dead-letters show 3:1071
   bridge dead-letters show shardId-000000000000:4967/2 --reveal`,
			Flags: []cli.Flag{reveal},
		}, a.showLetter),
		command(cli.Command{
			Name:  "export",
			Usage: "write all dead letters as JSON, one a line",
			Description: `Writes every dead letter in full, keys and values as base64, one JSON object a line, so
that they can be mended and put back. Needs --reveal, because it prints payloads.

Examples:
   bridge dead-letters export --reveal > letters.jsonl`,
			Flags: []cli.Flag{reveal},
		}, a.exportLetters),
	)
}

// A letterRow is a dead letter as commands print it. What would show a key or payload is
// nil unless it was asked for.
type letterRow struct {
	Coordinate string        `json:"coordinate"`
	Class      string        `json:"class"`
	Reason     string        `json:"reason"`
	At         time.Time     `json:"at"`
	Stream     string        `json:"stream"`
	Source     string        `json:"source"`
	Time       time.Time     `json:"time"`
	Key        letterBytes   `json:"key"`
	Value      letterBytes   `json:"value"`
	Headers    []letterField `json:"headers"`
}

// letterBytes are bytes that can be told apart without being shown.
type letterBytes struct {
	Null   bool    `json:"null"`
	Bytes  int     `json:"bytes"`
	SHA256 string  `json:"sha256,omitempty"`
	Base64 *[]byte `json:"base64,omitempty"`
}

type letterField struct {
	Name  string      `json:"name,omitempty"`
	Value letterBytes `json:"value"`
}

func bytesOf(b []byte, reveal bool) letterBytes {
	out := letterBytes{Null: b == nil, Bytes: len(b)}
	switch {
	case b == nil:
	case reveal:
		out.Base64 = &b
	default:
		sum := sha256.Sum256(b)
		out.SHA256 = hex.EncodeToString(sum[:])
	}
	return out
}

func coordinateOf(l bridge.DeadLetter) string {
	return l.Origin.Partition + ":" + l.Origin.Position.String()
}

func letterRowOf(l bridge.DeadLetter, reveal bool) letterRow {
	row := letterRow{
		Coordinate: coordinateOf(l), Class: l.Class, Reason: l.Reason, At: l.At.UTC(), Stream: l.Stream, Source: l.Origin.Stream,
		Time: l.Time.UTC(), Key: bytesOf(l.Key, reveal), Value: bytesOf(l.Value, reveal), Headers: []letterField{},
	}
	for _, h := range l.Headers {
		f := letterField{Value: bytesOf(h.Value, reveal)}
		if reveal {
			f.Name = h.Key
		}
		row.Headers = append(row.Headers, f)
	}
	return row
}

// eachLetter calls take with each dead letter of the workflow that the flags name.
func (a *app) eachLetter(c *cli.Context, take func(bridge.DeadLetter) error) (*loaded, error) {
	log, err := a.logger(c)
	if err != nil {
		return nil, err
	}
	l, err := a.load(c)
	if err != nil {
		return nil, err
	}
	s := settings{Config: l, Log: log.With("workflow", l.Workflow)}
	w, _, err := s.loadState(c.Context, openState(l))
	if err != nil || w.Name == "" {
		return l, err // a workflow that was never started has none
	}
	for letter, err := range a.adapters.letters(c.Context, s, w) {
		if err == nil {
			err = take(letter)
		}
		if err != nil {
			return l, startError{err}
		}
	}
	return l, nil
}

func (a *app) listLetters(c *cli.Context) error {
	class := c.String("class")
	switch class {
	case "", bridge.ClassOversize, bridge.ClassUndecodable, bridge.ClassUnmappable:
	default:
		return usage(fmt.Errorf("--class %q is not oversize, undecodable or unmappable", class))
	}
	rows := []letterRow{}
	l, err := a.eachLetter(c, func(letter bridge.DeadLetter) error {
		if class == "" || class == letter.Class {
			rows = append(rows, letterRowOf(letter, false))
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.answer = &answer{
		result: struct {
			Workflow string      `json:"workflow"`
			Place    string      `json:"place"`
			Letters  []letterRow `json:"letters"`
		}{l.Workflow, l.DeadLetters, rows},
		text: func(w io.Writer) error { return writeLetters(w, l, rows) },
	}
	return nil
}

func writeLetters(w io.Writer, l *loaded, rows []letterRow) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintf(w, "%s: no dead letters in %s\n", l.Workflow, l.DeadLetters)
		return err
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = 0
	t.AppendHeader(table.Row{"class", "coordinate", "given up", "reason"})
	for _, r := range rows {
		t.AppendRow(table.Row{r.Class, r.Coordinate, stamp(r.At), r.Reason})
	}
	_, err := fmt.Fprintf(w, "%s\n%s: %s in %s\n", t.Render(), l.Workflow, counted(len(rows)), l.DeadLetters)
	return err
}

func counted(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return grouped(int64(n)) + " dead letters"
}

// errFound ends a search.
var errFound = errors.New("found")

func (a *app) showLetter(c *cli.Context) error {
	want := c.Args().First()
	if c.NArg() != 1 || !strings.Contains(want, ":") {
		return usageHint(errors.New("show takes one coordinate, such as 3:1071"), "bridge dead-letters list prints them")
	}
	var found *bridge.DeadLetter
	l, err := a.eachLetter(c, func(letter bridge.DeadLetter) error {
		if coordinateOf(letter) != want {
			return nil
		}
		found = &letter
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	if found == nil {
		return bridge.WithHint(fmt.Errorf("no dead letter of %s in %s", want, l.DeadLetters), "bridge dead-letters list prints the coordinates of all")
	}
	row := letterRowOf(*found, c.Bool(flagReveal))
	a.answer = &answer{result: row, text: func(w io.Writer) error { return row.write(w, c.Bool(flagReveal)) }}
	return nil
}

func (r letterRow) write(w io.Writer, reveal bool) error {
	var b strings.Builder
	line := func(label, text string) { writeWrapped(&b, label, text) }
	line(r.Coordinate, "")
	line("class", r.Class)
	line("reason", r.Reason)
	line("given up", stamp(r.At))
	line("stream", r.Stream)
	line("source", r.Source)
	line("time", stamp(r.Time))
	line("key", r.Key.String())
	line("value", r.Value.String())
	for _, h := range r.Headers {
		name := "header"
		if reveal {
			name = "header " + h.Name
		}
		line(name, h.Value.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shownBytes is how much of a value show prints.
const shownBytes = 4096

func (v letterBytes) String() string {
	size := grouped(int64(v.Bytes)) + " bytes"
	switch {
	case v.Null:
		return "null"
	case v.Base64 == nil:
		return size + ", SHA-256 " + v.SHA256
	case !utf8.Valid(*v.Base64):
		b := *v.Base64
		return size + ", hexadecimal " + hex.EncodeToString(b[:min(len(b), shownBytes)])
	}
	b := *v.Base64
	return size + ": " + string(b[:min(len(b), shownBytes)])
}

// An exportResult says where the lines went, for --output json, where the lines themselves
// are the list.
type exportResult struct {
	Letters []letterRow `json:"letters"`
}

func (a *app) exportLetters(c *cli.Context) error {
	if !c.Bool(flagReveal) {
		return usageHint(errors.New("export prints keys and payloads"), "say --reveal if that is meant; show and list do not print them")
	}
	res := exportResult{Letters: []letterRow{}}
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	_, err := a.eachLetter(c, func(letter bridge.DeadLetter) error {
		row := letterRowOf(letter, true)
		if a.json {
			res.Letters = append(res.Letters, row)
			return nil
		}
		return enc.Encode(row)
	})
	if err != nil {
		return err
	}
	a.answer = &answer{result: res}
	return nil
}
