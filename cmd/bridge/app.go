package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"
)

// An app is one run of the program, with everything that it takes from the world.
type app struct {
	stdout, stderr io.Writer
	env            func(string) (string, bool)
	signals        <-chan os.Signal
	adapters       adapters

	stoppers atomic.Int32 // how many watch signals themselves

	json   bool
	answer *answer // of the command that ran
}

// The program's flags that are not settings of the configuration.
const (
	flagConfig    = "config"
	flagOutput    = "output"
	flagLogLevel  = "log-level"
	flagLogFormat = "log-format"
)

// settingFlags are the flags that go before the configuration.
var settingFlags = []struct{ name, path, usage string }{
	{"workflow", "workflow", "name of the workflow"},
	{"state", "state", "where the workflow's state is kept"},
	{"profile", "kinesis.profile", "profile of the shared AWS configuration"},
	{"region", "kinesis.region", "AWS region"},
	{"endpoint-url", "kinesis.endpoint_url", "another address of Kinesis"},
	{"role-arn", "kinesis.role_arn", "AWS role to assume"},
}

func (a *app) flags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: flagConfig, Aliases: []string{"c"}, Value: "bridge.yaml", Usage: "configuration `FILE`", EnvVars: []string{"BRIDGE_CONFIG"}},
		&cli.StringFlag{Name: flagOutput, Aliases: []string{"o"}, Value: "text", Usage: "`FORM` of results on stdout: text or json", EnvVars: []string{"BRIDGE_OUTPUT"}},
		&cli.StringFlag{Name: flagLogLevel, Value: "info", Usage: "least `LEVEL` that is logged: debug, info, warn or error", EnvVars: []string{"BRIDGE_LOG_LEVEL"}},
		&cli.StringFlag{Name: flagLogFormat, Value: "auto", Usage: "`FORM` of the log on stderr: text, json, or auto for text on a terminal", EnvVars: []string{"BRIDGE_LOG_FORMAT"}},
	}
	for _, f := range settingFlags {
		flags = append(flags, &cli.StringFlag{Name: f.name, Usage: f.usage + "; goes before " + f.path + " of the file"})
	}
	return flags
}

func (a *app) cli() *cli.App {
	var moving []*cli.Command
	if a.adapters.connect != nil {
		moving = []*cli.Command{a.initCommand(), a.planCommand(), a.preflightCommand(), a.mirrorCommand(), a.statusCommand(), a.deadLettersCommand(), a.verifyCommand(), a.demoCommand(), a.benchCommand()}
	}
	return &cli.App{
		Name:                 "bridge",
		Usage:                "move live streams between Amazon Kinesis and Kafka (MSK), and prove that nothing was lost",
		Description:          appDescription,
		Flags:                a.flags(),
		HideVersion:          true,
		HideHelpCommand:      true,
		EnableBashCompletion: true,
		Writer:               a.stdout,
		ErrWriter:            a.stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // exit codes are made in one place
		OnUsageError:         func(_ *cli.Context, err error, _ bool) error { return usage(err) },
		Commands: append(moving,
			a.offsetsCommand(),
			a.reportCommand(),
			a.configCommand(),
			a.keymapCommand(),
			a.versionCommand(),
			a.completionCommand(),
		),
	}
}

const appDescription = `One configuration file describes one workflow: a stream, a topic, and which of them
records come from. See "bridge mirror run --help" to begin.

Settings are taken from flags, then from BRIDGE_* variables (kinesis.endpoint_url is
BRIDGE_KINESIS_ENDPOINT_URL), then from the file, then from defaults; "bridge config show
--origin" says which. Paths in the file start at the working directory. Flags may stand
anywhere. Results are printed on stdout, everything else on stderr.

Exit codes: 0 done; 1 failed; 2 wrong arguments, configuration or state; 4 preflight or access
refused; 5 inconsistent; 6 inconclusive; 7 refused, nothing changed; 8 data of the source or target is
gone; 10 partly applied; 11 lock or task lost to another process; 75 could
not stop in time; 130 or 143 stopped by a signal, with the checkpoint saved.`

// run is the whole program but the end of the process. It returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.cli()
	if len(args) > 0 && args[len(args)-1] == completionFlag {
		return exitCode(root.RunContext(ctx, append([]string{root.Name}, args...)))
	}
	a.json = wantsJSON(args, a.env)
	line, err := arrange(root, args)
	if err == nil {
		err = a.settle(root, &line)
	}
	if err != nil {
		return a.print(line.name(), nil, err)
	}
	if line.help || len(line.commands) == 0 {
		line.help = true
		return exitCode(root.RunContext(ctx, line.line(root.Name)))
	}
	ctx, done := a.listen(ctx)
	defer done()
	err = root.RunContext(ctx, line.line(root.Name))
	return a.print(line.name(), a.answer, interruption(ctx, err))
}

// settle judges --output, before anything is done that would have to be printed.
func (a *app) settle(root *cli.App, line *arrangement) error {
	form, from := valueOf(line.global, flagOutput), "--output"
	if form == "" {
		if form, _ = a.env("BRIDGE_OUTPUT"); form == "" {
			return nil
		}
		from = "BRIDGE_OUTPUT"
	}
	if form != "text" && form != "json" {
		return usage(fmt.Errorf("%s %q is not text or json", from, form))
	}
	a.json = form == "json"
	return nil
}

func valueOf(flags []string, name string) string {
	value := ""
	for _, f := range flags {
		if v, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			value = v
		}
	}
	return value
}

// wantsJSON looks for --output json in arguments that may be wrong otherwise, so that a
// script gets its object even then.
func wantsJSON(args []string, env func(string) (string, bool)) bool {
	form, _ := env("BRIDGE_OUTPUT")
	for i, arg := range args {
		name, value, inline := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if arg == "--" {
			break
		}
		if !strings.HasPrefix(arg, "-") || name != flagOutput && name != "o" {
			continue
		}
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		form = value
	}
	return form == "json"
}

// load reads the configuration that the flags name.
func (a *app) load(c *cli.Context) (*loaded, error) {
	var flags []override
	for _, f := range settingFlags {
		if c.IsSet(f.name) {
			flags = append(flags, override{f.path, c.String(f.name), origin("--" + f.name)})
		}
	}
	// A pipe without a writer can hold up a read for ever.
	type result struct {
		l   *loaded
		err error
	}
	done := make(chan result, 1)
	go func() {
		l, err := load(c.String(flagConfig), a.env, flags)
		done <- result{l, err}
	}()
	select {
	case r := <-done:
		return r.l, r.err
	case <-c.Context.Done():
		return nil, context.Cause(c.Context)
	}
}

func (a *app) logger(c *cli.Context) (*slog.Logger, error) {
	return a.loggerTo(c, a.stderr)
}

func (a *app) loggerTo(c *cli.Context, w io.Writer) (*slog.Logger, error) {
	return newLogger(w, c.String(flagLogFormat), c.String(flagLogLevel), a.env)
}

// group is a command that only holds others.
func group(name, usage string, verbs ...*cli.Command) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, Subcommands: verbs, HideHelpCommand: true,
		Action: func(*cli.Context) error { return errors.New("a group has no action of its own") }}
}

// command is a command that does something. Its description begins with plain words and
// ends with examples.
func command(c cli.Command, action cli.ActionFunc) *cli.Command {
	c.Action, c.HideHelpCommand = action, true
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usage(err) }
	c.Flags = slices.Clone(c.Flags)
	return &c
}
