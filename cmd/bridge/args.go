package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// urfave/cli v2 takes flags of the program only before the verb and flags of a verb only
// before its arguments, and what stands elsewhere it swallows as an argument. People
// write them anywhere, so the arguments are put in order once, before cli sees them, and
// everything that is wrong with them is found here.

// vocabulary is every verb that the documentation names. One that is here and is not a
// command belongs to another version of this program.
var vocabulary = map[string][]string{
	"demo": nil, "assess": nil, "size": nil, "cost": nil, "checklist": nil,
	"init": nil, "plan": nil, "preflight": nil,
	"mirror":       {"run", "pause", "resume", "throttle"},
	"status":       nil,
	"verify":       {"run", "show", "list", "stop", "resume", "diff", "explain"},
	"dead-letters": {"list", "show", "export"},
	"offsets":      {"plan", "apply", "undo"},
	"switch":       {"consumers", "producers"},
	"reverse":      {"consumers", "producers"},
	"complete":     nil, "cancel": nil,
	"fence": {"check"}, "doctor": nil, "repair": nil,
	"report": {"create", "check", "sign"},
	"render": {"iam", "alarms", "dashboard", "target", "helm", "ecs", "systemd"},
	"config": {"show", "validate"},
	"keymap": {"explain", "vectors"},
	"bench":  {"mirror", "verify"}, "version": nil,
}

// completionFlag ends the arguments of a shell that asks for words.
const completionFlag = "--generate-bash-completion"

// An arrangement is what the arguments mean.
type arrangement struct {
	commands []*cli.Command // the path, from the outside in; empty for the program itself
	global   []string       // flags of the program, each "--name=value"
	own      []string       // flags of the command
	words    []string       // arguments of the command
	help     bool
}

// arrange puts the arguments (without the program's name) in the order that cli wants.
// The names of a program's flags and of its commands' must differ. Errors are usage errors.
func arrange(root *cli.App, args []string) (arrangement, error) {
	var a arrangement
	flags, words, err := splitArgs(root, args)
	if err != nil {
		return a, err
	}
	a.help = slices.ContainsFunc(flags, given.asksHelp)
	if len(words) > 0 && words[0] == "help" {
		a.help, words = true, words[1:]
	}
	if words, err = a.find(root.Commands, words); err != nil {
		return a, err
	}
	for _, f := range flags {
		if err := a.place(root, f); err != nil {
			return a, err
		}
	}
	if a.help {
		return a, nil
	}
	return a, a.accept(words)
}

// A given flag, as it was written.
type given struct {
	name, value string
	hasValue    bool
}

func (g given) asksHelp() bool { return g.name == "help" || g.name == "h" }

// splitArgs parts flags from words. Which flag takes a value is asked of all commands at
// once, since the verb may come later.
func splitArgs(root *cli.App, args []string) (flags []given, words []string, err error) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return flags, append(words, args[i+1:]...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			words = append(words, arg)
			continue
		}
		var g given
		g.name, g.value, g.hasValue = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if f := findFlag(everyFlag(root), g.name); f != nil && !isSwitch(f) && !g.hasValue {
			if i+1 == len(args) || looksLikeFlag(root, args[i+1]) {
				return nil, nil, usage(fmt.Errorf("flag --%s needs a value", f.Names()[0]))
			}
			i++
			g.value, g.hasValue = args[i], true
		}
		flags = append(flags, g)
	}
	return flags, words, nil
}

func looksLikeFlag(root *cli.App, arg string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return len(arg) > 1 && arg[0] == '-' && (name == "" || findFlag(everyFlag(root), name) != nil)
}

// find walks from the program to the command that the words name, and returns the rest.
func (a *arrangement) find(level []*cli.Command, words []string) ([]string, error) {
	for len(words) > 0 && len(level) > 0 {
		i := slices.IndexFunc(level, func(c *cli.Command) bool { return c.HasName(words[0]) })
		if i < 0 {
			return nil, a.unknown(level, words)
		}
		a.commands = append(a.commands, level[i])
		level, words = level[i].Subcommands, words[1:]
	}
	if len(level) > 0 && len(a.commands) > 0 && !a.help {
		return nil, usageHint(fmt.Errorf("bridge %s needs one more word: %s", a.name(), orList(namesOf(level))),
			"bridge "+a.name()+" --help")
	}
	return words, nil
}

// name is the command as it is typed, without the program's own name.
func (a *arrangement) name() string {
	var names []string
	for _, c := range a.commands {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func namesOf(level []*cli.Command) []string {
	var names []string
	for _, c := range level {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

func (a *arrangement) unknown(level []*cli.Command, words []string) error {
	verbs, known := vocabulary[words[0]]
	typed := words[0]
	switch {
	case len(a.commands) == 0 && known && len(words) > 1 && slices.Contains(verbs, words[1]):
		typed += " " + words[1]
	case len(a.commands) == 1:
		known = slices.Contains(vocabulary[a.commands[0].Name], words[0])
		typed = a.name() + " " + words[0]
	}
	if known {
		return usageHint(errUnavailable{"bridge " + typed}, "bridge help shows what this version does")
	}
	return usageHint(fmt.Errorf("unknown command %q%s", "bridge "+typed, suggest(words[0], namesOf(level))),
		"bridge help shows what there is")
}

// place gives a flag to the program or to the command.
func (a *arrangement) place(root *cli.App, g given) error {
	if g.asksHelp() {
		return nil
	}
	var own []cli.Flag
	if len(a.commands) > 0 {
		own = a.commands[len(a.commands)-1].Flags
	}
	f, list := findFlag(own, g.name), &a.own
	if f == nil {
		f, list = findFlag(root.Flags, g.name), &a.global
	}
	if f == nil {
		return a.foreignFlag(root, own, g)
	}
	if isSwitch(f) && !g.hasValue {
		g.value = "true"
	}
	if g.value == "" {
		return usage(fmt.Errorf("flag --%s needs a value", f.Names()[0]))
	}
	*list = append(*list, "--"+f.Names()[0]+"="+g.value)
	return nil
}

func (a *arrangement) foreignFlag(root *cli.App, own []cli.Flag, g given) error {
	command := strings.TrimSpace("bridge " + a.name())
	if findFlag(everyFlag(root), g.name) != nil {
		return usageHint(fmt.Errorf("flag --%s is not one of %s", g.name, command), command+" --help")
	}
	var names []string
	for _, f := range append(slices.Clone(own), root.Flags...) {
		names = append(names, f.Names()[0])
	}
	return usageHint(fmt.Errorf("unknown flag --%s%s", g.name, strings.Replace(suggest(g.name, names), "mean ", "mean --", 1)), command+" --help")
}

// accept takes the arguments if the command has that many.
func (a *arrangement) accept(words []string) error {
	want, optional := 0, 0
	if len(a.commands) > 0 {
		words := a.commands[len(a.commands)-1].ArgsUsage // [IN BRACKETS] may be left out
		want, optional = len(strings.Fields(words)), strings.Count(words, "[")
	}
	switch {
	case len(words) > want:
		return usageHint(fmt.Errorf("unknown argument %q", words[want]), strings.TrimSpace("bridge "+a.name())+" --help")
	case len(words) < want-optional:
		return usage(fmt.Errorf("bridge %s needs %s", a.name(), a.commands[len(a.commands)-1].ArgsUsage))
	}
	a.words = words
	return nil
}

// line is the arguments in cli's order, with the program's name.
func (a *arrangement) line(program string) []string {
	line := append([]string{program}, a.global...)
	for _, c := range a.commands {
		line = append(line, c.Name)
	}
	if a.help {
		return append(line, "--help")
	}
	line = append(line, a.own...)
	if len(a.words) > 0 {
		line = append(append(line, "--"), a.words...)
	}
	return line
}

func everyFlag(root *cli.App) []cli.Flag {
	out := slices.Clone(root.Flags)
	var walk func(level []*cli.Command)
	walk = func(level []*cli.Command) {
		for _, c := range level {
			out = append(out, c.Flags...)
			walk(c.Subcommands)
		}
	}
	walk(root.Commands)
	return out
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// isSwitch reports whether a flag stands alone.
func isSwitch(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}
