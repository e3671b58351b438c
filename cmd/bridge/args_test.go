package main

import (
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// testApp has every command, as a wired program has.
func testApp() *app {
	a := &app{stdout: io.Discard, stderr: io.Discard, env: func(string) (string, bool) { return "", false }}
	a.adapters = adapters{connect: nilConnect}
	return a
}

func TestArrange(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"mirror run", "bridge mirror run"},
		{"mirror run --config x --until-caught-up", "bridge --config=x mirror run --until-caught-up=true"},
		{"--until-caught-up mirror --config=x run", "bridge --config=x mirror run --until-caught-up=true"},
		{"mirror --until-caught-up=false run -c x", "bridge --config=x mirror run --until-caught-up=false"},
		{"completion bash --output json", "bridge --output=json completion -- bash"},
		{"--output json completion bash", "bridge --output=json completion -- bash"},
		{"completion -o json -- --bash", "bridge --output=json completion -- --bash"},
		{"completion -", "bridge completion -- -"},
		{"help mirror run", "bridge mirror run --help"},
		{"mirror run -h", "bridge mirror run --help"},
		{"-h mirror", "bridge mirror --help"},
		{"help", "bridge --help"},
		{"", "bridge"},
		{"--config a --config b version", "bridge --config=a --config=b version"},
		{"--config a=b version", "bridge --config=a=b version"},
		{"mirror run --shutdown-timeout -5s", "bridge mirror run --shutdown-timeout=-5s"},
	} {
		t.Run(c.in, func(t *testing.T) {
			a, err := arrange(testApp().cli(), strings.Fields(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(a.line("bridge"), " "); got != c.want {
				t.Errorf("arranged as %q, want %q", got, c.want)
			}
		})
	}
}

func TestArrangeRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"mirror", "bridge mirror needs one more word: run"},
		{"config", "needs one more word: show or validate"},
		{"mirror run now", `unknown argument "now"`},
		{"completion", "bridge completion needs SHELL"},
		{"completion bash zsh", `unknown argument "zsh"`},
		{"mirror run --config", "flag --config needs a value"},
		{"mirror run --config --until-caught-up", "flag --config needs a value"},
		{"mirror run --config= ", "flag --config needs a value"},
		{"mirror run --until-caught-up=", ""},
		{"version --until-caught-up", "flag --until-caught-up is not one of bridge version"},
		{"--verbose version", "unknown flag --verbose"},
		{"mirror run --secret=canary", "unknown flag --secret"},
		{"config show --orign", "did you mean --origin?"},
		{"verison", "did you mean version?"},
		{"mirror stop", `unknown command "bridge mirror stop"`},
		{"mirror pause --x=1", "bridge mirror pause is not available in this version"},
		{"reverse producers", "bridge reverse producers is not available in this version"},
		{"reverse everything", "bridge reverse is not available in this version"},
		{"help switch", "bridge switch is not available in this version"},
	} {
		t.Run(c.in, func(t *testing.T) {
			_, err := arrange(testApp().cli(), strings.Fields(c.in))
			if c.want == "" {
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || exitCode(err) != exitUsage {
				t.Errorf("%v with code %d, want a usage error that says %q", err, exitCode(err), c.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the value of an unknown flag is printed: %v", err)
			}
		})
	}
}

// Wherever flags stand between the words, they mean the same.
func TestFlagsMayStandAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	flags := [][]string{{"--config", "x.yaml"}, {"-o", "json"}, {"--until-caught-up"}, {"--shutdown-timeout=5s"}, {"--log-level", "debug"}}
	words := []string{"mirror", "run"}
	for range 500 {
		line := slices.Clone(words)
		for _, f := range flags {
			// A flag and its value stay together, the words in their order.
			at := r.IntN(len(line) + 1)
			for at > 0 && at < len(line) && takesNext(line[at-1]) {
				at--
			}
			line = slices.Insert(line, at, f...)
		}
		a, err := arrange(testApp().cli(), line)
		if err != nil {
			t.Fatalf("%v: %v", line, err)
		}
		slices.Sort(a.global)
		slices.Sort(a.own)
		got := strings.Join(a.line("bridge"), " ")
		want := "bridge --config=x.yaml --log-level=debug --output=json mirror run --shutdown-timeout=5s --until-caught-up=true"
		if got != want {
			t.Fatalf("%v is arranged as %q, want %q", line, got, want)
		}
	}
}

func takesNext(arg string) bool {
	return slices.Contains([]string{"--config", "-o", "--log-level"}, arg)
}

// cli v2 gives a flag that stands in two places an empty value, and arrange asks for a
// flag's kind by name alone.
func TestFlagNamesAreUnique(t *testing.T) {
	root := testApp().cli()
	kinds := map[string]bool{}
	global := map[string]bool{}
	for _, f := range root.Flags {
		for _, n := range f.Names() {
			global[n] = true
		}
	}
	for _, f := range everyFlag(root) {
		for _, n := range f.Names() {
			if kind, seen := kinds[n]; seen && kind != isSwitch(f) {
				t.Errorf("flag --%s takes a value in one place and none in another", n)
			}
			kinds[n] = isSwitch(f)
		}
	}
	for _, f := range everyFlag(root)[len(root.Flags):] {
		for _, n := range f.Names() {
			if global[n] {
				t.Errorf("flag --%s of a command hides the program's", n)
			}
		}
	}
}

// Everything that the documentation names is either there or refused as not available.
func TestVocabulary(t *testing.T) {
	root := testApp().cli()
	for verb, subs := range vocabulary {
		lines := [][]string{{verb}}
		for _, s := range subs {
			lines = append(lines, []string{verb, s})
		}
		for _, line := range lines {
			_, err := arrange(root, line)
			if err != nil && !strings.Contains(err.Error(), "is not available in this version") && !strings.Contains(err.Error(), " needs ") {
				t.Errorf("bridge %s: %v", strings.Join(line, " "), err)
			}
		}
	}
}

// Every command says in plain words what it does, and shows examples.
func TestHelpIsComplete(t *testing.T) {
	var walk func(path string, level []*cli.Command)
	walk = func(path string, level []*cli.Command) {
		for _, c := range level {
			name := path + " " + c.Name
			if c.Usage == "" {
				t.Errorf("%s has no usage line", name)
			}
			if len(c.Subcommands) == 0 && (!strings.Contains(c.Description, "Examples:\n") || !strings.Contains(c.Description, name)) {
				t.Errorf("the help of %s has no example of it", name)
			}
			for _, f := range c.Flags {
				if d, ok := f.(cli.DocGenerationFlag); !ok || d.GetUsage() == "" {
					t.Errorf("%s: flag %v is not explained", name, f.Names())
				}
			}
			walk(name, c.Subcommands)
		}
	}
	walk("bridge", testApp().cli().Commands)
}

func FuzzArrange(f *testing.F) {
	f.Add("mirror run --config x")
	f.Add("-- - --= -c")
	f.Add("help help -h --output=json --")
	f.Fuzz(func(t *testing.T, line string) {
		root := testApp().cli()
		a, err := arrange(root, strings.Fields(line))
		if err != nil {
			if exitCode(err) != exitUsage {
				t.Fatalf("%q: %v has code %d", line, err, exitCode(err))
			}
			return
		}
		// What was arranged means the same when it is arranged again.
		again, err := arrange(root, a.line("bridge")[1:])
		if err != nil {
			t.Fatalf("%q became %q: %v", line, a.line("bridge"), err)
		}
		if got, want := again.line("bridge"), a.line("bridge"); !slices.Equal(got, want) {
			t.Fatalf("%q became %q, then %q", line, want, got)
		}
	})
}
