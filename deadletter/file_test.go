package deadletter_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/deadletter"
)

func codec(workflow string) *bridge.LetterCodec {
	return bridge.NewLetterCodec(workflow, bridge.WorkflowKey{1, 2, 3})
}

func TestFileKeepsTheContract(t *testing.T) {
	bridgetest.TestDeadLetters(t, bridgetest.DeadLettersHarness{
		Server: "file",
		New: func(t testing.TB) bridgetest.LettersPlace {
			path := filepath.Join(t.TempDir(), "letters.jsonl")
			return bridgetest.LettersPlace{
				Open: func(_ context.Context, workflow string) (bridge.DeadLetters, error) {
					f, err := deadletter.OpenFile(path, codec(workflow))
					if err == nil {
						t.Cleanup(func() { f.Close() })
					}
					return f, err
				},
				Read: func(ctx context.Context, workflow string) iter.Seq2[bridge.DeadLetter, error] {
					return deadletter.ReadFile(ctx, path, codec(workflow))
				},
				Lose: func(context.Context) error { return os.Truncate(path, 0) },
				Cut:  func(context.Context) error { return appendTo(path, `{"v":1,"workflow":"bridget`) },
			}
		},
	})
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// A file that holds something else is left as it is.
func TestFileOfSomebodyElse(t *testing.T) {
	for name, text := range map[string]string{
		"text without an end":  "my notes",
		"text":                 "my notes\n",
		"notes behind letters": `{"v":1}` + "\nmy notes",
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := deadletter.OpenFile(path, codec("w"))
		if !errors.Is(err, bridge.ErrState) || bridge.Hint(err) == "" {
			t.Errorf("%s: %v and %v, want ErrState with a hint", name, f, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%s became %q, %v", name, now, err)
		}
	}
}

// A crash can cut the last line anywhere, and what is put afterwards is whole.
func TestFileIsRepairedWhereverItWasCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters")
	letter := func(n string) bridge.DeadLetter {
		return bridge.DeadLetter{Origin: bridge.Coordinate{Stream: "s@1", Partition: "0", Position: bridge.Position{Seq: n}}, Value: []byte("v"), Class: bridge.ClassOversize}
	}
	f, err := deadletter.OpenFile(path, codec("w"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put(t.Context(), []bridge.DeadLetter{letter("1"), letter("2")}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	places := 0
	for cut := 0; cut < len(whole); cut += 5 {
		places++
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := deadletter.OpenFile(path, codec("w"))
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, err := f.Put(t.Context(), []bridge.DeadLetter{letter("3")}); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		want := []string{"3"}
		if cut >= len(whole)/2 {
			want = []string{"1", "3"}
		}
		var have []string
		for l, err := range deadletter.ReadFile(t.Context(), path, codec("w")) {
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			have = append(have, l.Origin.Position.Seq)
		}
		if len(have) != len(want) || have[0] != want[0] {
			t.Fatalf("cut at %d of %d: %v, want %v", cut, len(whole), have, want)
		}
	}
	t.Logf("cut at %d places", places)
}

func TestFileHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters")
	f, err := deadletter.OpenFile(path, codec("w"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deadletter.OpenFile(path, codec("w")); !errors.Is(err, bridge.ErrLocked) || bridge.Hint(err) == "" {
		t.Errorf("a second owner: %v, want ErrLocked with a hint", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = deadletter.OpenFile(path, codec("w")); err != nil {
		t.Fatalf("after the first has closed it: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := deadletter.OpenFile(filepath.Join(path, "x"), codec("w")); err == nil || !errors.Is(err, bridge.ErrRefused) {
		t.Errorf("a file in a file: %v, want ErrRefused", err)
	}
}
