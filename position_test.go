package bridge_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
)

func TestPositionOrderIsNumeric(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	digits := func() string {
		b := make([]byte, 1+rng.IntN(56))
		for i := range b {
			b[i] = byte('0' + rng.IntN(10))
		}
		return string(b)
	}
	for range 20_000 {
		p := bridge.Position{Seq: digits(), Sub: rng.Uint32N(3)}
		q := bridge.Position{Seq: digits(), Sub: rng.Uint32N(3)}
		if rng.IntN(4) == 0 {
			q.Seq = p.Seq
		}
		a, _ := new(big.Int).SetString(p.Seq, 10)
		b, _ := new(big.Int).SetString(q.Seq, 10)
		want := a.Cmp(b)
		if want == 0 {
			want = int(int64(p.Sub) - int64(q.Sub))
		}
		if got := p.Compare(q); sign(got) != sign(want) {
			t.Fatalf("Compare(%s, %s) = %d, want sign of %d", p, q, got, want)
		}
		if got := q.Compare(p); sign(got) != -sign(want) {
			t.Fatalf("Compare(%s, %s) = %d, want sign of %d", q, p, got, -want)
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestFirstOffsetIsBehindTheBeginning(t *testing.T) {
	if !bridge.OffsetPosition(0).After(bridge.Position{}) {
		t.Error("offset 0 is not behind the zero Position: the first record would never be done")
	}
	for _, n := range []int64{-1, 0, 1, 1<<63 - 1} {
		if got, err := bridge.OffsetPosition(n).Offset(); err != nil || got != n {
			t.Errorf("offset %d came back as %d, %v", n, got, err)
		}
	}
}

func TestPositionText(t *testing.T) {
	for _, p := range []bridge.Position{{}, {Seq: "0"}, {Seq: "49590338271490256608559692538361571095921575989136588898", Sub: 7}} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q bridge.Position
		if err := json.Unmarshal(b, &q); err != nil || q != p {
			t.Errorf("%s came back from %s as %v, %v", p, b, q, err)
		}
	}
	for _, bad := range []string{"x", "1x", "/1", "1/", "1/-1", "1/4294967296", " 1", "-1", strings.Repeat("1", 129)} {
		if p, err := bridge.ParsePosition(bad); !errors.Is(err, bridge.ErrForeignPosition) {
			t.Errorf("ParsePosition(%q) = %v, %v; want ErrForeignPosition", bad, p, err)
		}
	}
}

func TestHintsAndClassesSurviveWrapping(t *testing.T) {
	gap := &bridge.GapError{Stream: "s", Partition: "p", After: bridge.OffsetPosition(4), Reason: "retention passed it"}
	err := bridge.WithHint(gap, "go back")
	if !errors.Is(err, bridge.ErrGap) || bridge.Hint(err) != "go back" || bridge.Retryable(err) {
		t.Errorf("gap with a hint: Is %v, hint %q, retryable %v", errors.Is(err, bridge.ErrGap), bridge.Hint(err), bridge.Retryable(err))
	}
	if want := "s partition p: gap behind 4 up to an unknown position: retention passed it"; err.Error() != want {
		t.Errorf("error says %q, want %q", err, want)
	}
	if bridge.WithHint(nil, "x") != nil {
		t.Error("a hint made an error out of nothing")
	}
}
