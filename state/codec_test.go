package state_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/statetest"
)

var update = flag.Bool("update", false, "write golden files")

// minimal is a record with nothing that is optional.
func minimal() state.Workflow {
	return state.Workflow{
		Name: "small", Direction: state.KafkaToKinesis, Key: bridge.WorkflowKey{31: 1},
		Phase: state.Created, Wanted: state.Wanted{Mode: state.Running},
	}
}

// The golden files are what version 1 looks like for good: a later program must read them.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		file    string
		w       state.Workflow
		version uint64
	}{
		{"testdata/v1-full.state", statetest.Workflow("orders"), 42},
		{"testdata/v1-minimal.state", minimal(), 1},
	} {
		t.Run(c.file, func(t *testing.T) {
			got, err := state.Encode(c.w, c.version)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(c.file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("Encode = %s\nwant %s", got, want)
			}
			w, version, err := state.Decode(want, c.w.Name)
			if err != nil || version != c.version {
				t.Fatalf("Decode = version %d, %v", version, err)
			}
			if d := cmp.Diff(c.w, w); d != "" {
				t.Errorf("Decode differs (-want +got):\n%s", d)
			}
		})
	}
}

// reseal gives a changed record a checksum that holds, as a newer program would.
func reseal(t *testing.T, old, changed string) []byte {
	t.Helper()
	b, err := state.Encode(minimal(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s does not hold %s", b, old)
	}
	return statetest.Reseal(t, bytes.Replace(b, []byte(old), []byte(changed), 1))
}

func TestDecodeRefuses(t *testing.T) {
	whole, err := state.Encode(minimal(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "damaged"},
		{"cut", whole[:len(whole)-2], "damaged"},
		{"no line feed", whole[:len(whole)-1], "damaged"},
		{"two lines", append(whole, whole...), "damaged"},
		{"spaces", append([]byte(" "), whole...), "damaged"},
		{"version 0", reseal(t, `"version":1`, `"version":0`), "damaged"},
		{"format 0", reseal(t, `"bridge_state":1`, `"bridge_state":0`), "damaged"},
		{"format 2", reseal(t, `"bridge_state":1`, `"bridge_state":2`), "newer version"},
		{"phase of tomorrow", reseal(t, `"phase":"created"`, `"phase":"soak"`), "newer version"},
		{"mode of tomorrow", reseal(t, `"mode":"running"`, `"mode":"dozing"`), "newer version"},
		{"field of tomorrow", reseal(t, `"epoch":0`, `"epoch":0,"era":1`), "newer version"},
		{"short key", reseal(t, `00000001"`, `01"`), "damaged"},
		{"zero key", reseal(t, `00000001"`, `00000000"`), "damaged"},
		{"other workflow", reseal(t, `"small"`, `"large"`), `workflow "large", not "small"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := state.Decode(c.in, "small")
			if !errors.Is(err, bridge.ErrState) || !strings.Contains(err.Error(), c.want) || bridge.Hint(err) == "" {
				t.Errorf("Decode = %v (hint %q), want ErrState that says %q", err, bridge.Hint(err), c.want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*state.Workflow){
		"no name":   func(w *state.Workflow) { w.Name = "" },
		"no key":    func(w *state.Workflow) { w.Key = bridge.WorkflowKey{} },
		"direction": func(w *state.Workflow) { w.Direction = "sideways" },
		"phase":     func(w *state.Workflow) { w.Phase = "" },
		"mode":      func(w *state.Workflow) { w.Wanted.Mode = "" },
		"records":   func(w *state.Workflow) { w.Wanted.RecordsPerSecond = -1 },
		"bytes":     func(w *state.Workflow) { w.Wanted.BytesPerSecond = -1 },
		"too large": func(w *state.Workflow) { w.Actual.Reason = strings.Repeat("x", 400<<10) },
	} {
		w := minimal()
		spoil(&w)
		if _, err := state.Encode(w, 1); !errors.Is(err, bridge.ErrState) {
			t.Errorf("%s: Encode = %v, want ErrState", name, err)
		}
	}
}

// The key must stand in the stored form and nowhere else.
func TestKeyDoesNotLeak(t *testing.T) {
	w := statetest.Workflow("orders")
	secret := w.Key.Reveal()
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, w); strings.Contains(s, secret) {
			t.Errorf("%s prints the key: %s", format, s)
		}
	}
}

func TestPinnedCheck(t *testing.T) {
	began := statetest.Workflow("orders").Pinned
	for _, c := range []struct {
		name   string
		change func(*state.Pinned)
		want   error
	}{
		{"the same", func(*state.Pinned) {}, nil},
		{"nothing known now", func(p *state.Pinned) { *p = state.Pinned{} }, nil},
		{"another configuration hash", func(p *state.Pinned) { p.ConfigHash = "sha256:01" }, nil},
		{"source recreated", func(p *state.Pinned) { p.Source.Incarnation = "1" }, bridge.ErrChanged},
		{"target recreated", func(p *state.Pinned) { p.Target.Incarnation = "1" }, bridge.ErrChanged},
		{"partitions", func(p *state.Pinned) { p.Partitions++ }, bridge.ErrChanged},
		{"another source", func(p *state.Pinned) { p.Source.Name = "kinesis:other" }, bridge.ErrState},
		{"another target", func(p *state.Pinned) { p.Target.Name = "kafka:other" }, bridge.ErrState},
		{"keymap", func(p *state.Pinned) { p.Keymap = "crc32" }, bridge.ErrState},
		{"format", func(p *state.Pinned) { p.Format = "kpl" }, bridge.ErrState},
		{"start", func(p *state.Pinned) { p.Start = "trim-horizon" }, bridge.ErrState},
		{"tasks", func(p *state.Pinned) { p.Tasks = 2 }, bridge.ErrState},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := began
			c.change(&now)
			err := began.Check(now)
			if !errors.Is(err, c.want) || (err != nil && bridge.Hint(err) == "") {
				t.Errorf("Check = %v (hint %q), want %v", err, bridge.Hint(err), c.want)
			}
		})
	}
	if err := (state.Pinned{}).Check(began); err != nil {
		t.Errorf("Check of a first start = %v", err)
	}
}

// FuzzDecode holds that nothing but what Encode wrote is accepted, and nothing panics.
func FuzzDecode(f *testing.F) {
	for _, w := range []state.Workflow{minimal(), statetest.Workflow("small")} {
		b, err := state.Encode(w, 3)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"bridge_state":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, version, err := state.Decode(b, "small")
		if err != nil {
			if !errors.Is(err, bridge.ErrState) || bridge.Hint(err) == "" {
				t.Fatalf("error %v with hint %q", err, bridge.Hint(err))
			}
			return
		}
		again, err := state.Encode(w, version)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %q, which is encoded as %q (%v)", b, again, err)
		}
	})
}

// FuzzRoundTrip holds that any text and time survives.
func FuzzRoundTrip(f *testing.F) {
	f.Add("orders", "why <not>", int64(0), uint64(0))
	f.Add("o\x00", "\u2028\\\"", int64(-1), uint64(1<<63))
	f.Fuzz(func(t *testing.T, name, text string, nanos int64, version uint64) {
		w := minimal()
		w.Name, w.Actual.Reason = name, strings.ToValidUTF8(text, "?")
		w.Actual.At = time.Unix(0, nanos).UTC()
		w.Decisions = []state.Decision{{At: w.Actual.At, Kind: "k", Detail: w.Actual.Reason}}
		b, err := state.Encode(w, max(version, 1))
		if err != nil {
			return // a name that is not text, or too much of it
		}
		got, v, err := state.Decode(b, name)
		if err != nil || v != max(version, 1) {
			t.Fatalf("Decode = %d, %v", v, err)
		}
		if d := cmp.Diff(w, got); d != "" {
			t.Fatal(d)
		}
		if err := state.CheckSuccessor(w, got); err != nil {
			t.Fatal(err)
		}
	})
}

// Every flipped bit is told as damage, and never as the word of a newer program, unless
// it is in the number of the format itself.
func TestFlippedBits(t *testing.T) {
	whole, err := state.Encode(statetest.Workflow("orders"), 7)
	if err != nil {
		t.Fatal(err)
	}
	digit := bytes.Index(whole, []byte(`:1,`)) + 1
	for i := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			_, _, err := state.Decode(bad, "orders")
			if !errors.Is(err, bridge.ErrState) || i != digit && !strings.Contains(err.Error(), "is damaged") {
				t.Fatalf("bit %d of byte %d (%q): %v", bit, i, whole[i], err)
			}
		}
	}
}
