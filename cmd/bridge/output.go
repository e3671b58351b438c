package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/hashicorp/go-multierror"

	"github.com/kinesis-msk-bridge/bridge"
)

// schemaName names the form of the JSON output.
const schemaName = "bridge/v1"

// An envelope is what every command prints with --output json: one object, on stdout.
type envelope struct {
	Schema    string    `json:"schema"`
	Command   string    `json:"command"`
	OK        bool      `json:"ok"`
	ExitCode  int       `json:"exit_code"`
	Error     *problem  `json:"error,omitempty"`
	Result    any       `json:"result"` // an object; empty if the command failed early
	Findings  []finding `json:"findings"`
	Gates     []gate    `json:"gates"`
	NextSteps []string  `json:"next_steps"`
}

// A problem is the sentence and the way out that people get on stderr.
type problem struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// A finding is one thing that a command found out, such as a fault of a configuration.
type finding struct {
	Kind string `json:"kind"`
	fault
}

// A gate is one condition that was evaluated.
type gate struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	Text string `json:"message,omitempty"`
}

// An answer is what a command has to say when it is done, in either form.
type answer struct {
	result    any
	text      func(w io.Writer) error // for people
	findings  []finding
	gates     []gate
	nextSteps []string
}

// print writes the answer and the error of a command. Results go to stdout, what is said
// about them to stderr.
func (a *app) print(command string, ans *answer, err error) int {
	code := exitCode(err)
	if ans == nil {
		ans = &answer{}
	}
	if a.json {
		if failed := a.printJSON(command, ans, err, code); failed != nil {
			a.complain(fmt.Errorf("write the result: %w", failed))
			return exitFailed
		}
	} else if ans.text != nil {
		if failed := ans.text(cleanWriter{a.stdout}); failed != nil {
			a.complain(fmt.Errorf("write the result: %w", failed))
			return exitFailed
		}
	}
	if err != nil {
		a.complain(err)
	}
	return code
}

func (a *app) printJSON(command string, ans *answer, err error, code int) error {
	e := envelope{
		Schema: schemaName, Command: command, OK: code == exitDone, ExitCode: code,
		Result: ans.result, Findings: append(ans.findings, faultFindings(err)...),
		Gates: ans.gates, NextSteps: ans.nextSteps,
	}
	if e.Result == nil {
		e.Result = struct{}{}
	}
	if err != nil {
		e.Error = &problem{Message: err.Error(), Hint: bridge.Hint(err)}
	}
	// Scripts may count on lists being lists.
	if e.Findings == nil {
		e.Findings = []finding{}
	}
	if e.Gates == nil {
		e.Gates = []gate{}
	}
	if e.NextSteps == nil {
		e.NextSteps = []string{}
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(e)
}

// faultFindings lists the faults of a configuration one by one.
func faultFindings(err error) []finding {
	var all *multierror.Error
	if !errors.As(err, &all) {
		return nil
	}
	var out []finding
	for _, e := range all.Errors {
		var f fault
		if errors.As(e, &f) {
			out = append(out, finding{Kind: "config", fault: f})
		}
	}
	return out
}

// complain tells a person what is wrong, and what to do about it.
func (a *app) complain(err error) {
	fmt.Fprintln(a.stderr, "bridge: "+clean(err.Error()))
	if h := bridge.Hint(err); h != "" {
		fmt.Fprintln(a.stderr, "hint: "+clean(h))
	}
}

// clean keeps what came from a file or a service from steering the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r)) {
			return '?'
		}
		return r
	}, s)
}

// A cleanWriter cleans whole writes; text results are written line by line.
type cleanWriter struct{ w io.Writer }

func (c cleanWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(c.w, clean(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
