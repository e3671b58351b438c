package kinesistest_test

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// seeded returns a generator whose seed is printed with the test.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func bigOf(t testing.TB, text string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		t.Fatalf("%q is not a number", text)
	}
	return n
}

// TestSequenceOfTheService takes a number apart that AWS has published.
func TestSequenceOfTheService(t *testing.T) {
	const text = "49590338271490256608559692538361571095921575989136588898"
	f, err := kinesistest.ParseSequence(text)
	if err != nil {
		t.Fatal(err)
	}
	created := time.Unix(f.Created, 0).UTC().Format(time.DateOnly)
	written := time.Unix(f.Written, 0).UTC().Format(time.DateTime)
	if created != "2018-11-21" || written != "2018-12-17 22:10:50" || f.Shard != 6 {
		t.Errorf("got shard %d, created %s, written %s", f.Shard, created, written)
	}
	if back := kinesistest.FormatSequence(f); back != text {
		t.Errorf("put together again: got %s, want %s", back, text)
	}
}

// TestSequenceLayout compares the arithmetic with math/big, field by field.
func TestSequenceLayout(t *testing.T) {
	r := seeded(t)
	for range 2000 {
		f := kinesistest.SequenceFields{
			Created: r.Int64N(16025175000), Written: r.Int64N(1 << 36),
			Shard: r.Uint32N(1 << 31), Counter: r.Uint64N(1 << 63), Mark: uint8(r.Uint32()),
		}
		want := new(big.Int)
		for _, part := range []struct {
			v     uint64
			width uint
		}{{2, 4}, {uint64(f.Created), 36}, {uint64(f.Shard & 15), 4}, {f.Counter, 64}, {uint64(f.Mark), 8}, {uint64(f.Written), 36}, {uint64(f.Shard), 32}, {2, 4}} {
			want.Lsh(want, part.width).Or(want, new(big.Int).SetUint64(part.v))
		}
		text := kinesistest.FormatSequence(f)
		if text != want.String() || len(text) != 56 || want.BitLen() != 186 {
			t.Fatalf("%+v: got %s, want %s of 186 bits", f, text, want)
		}
		back, err := kinesistest.ParseSequence(text)
		if err != nil || back != f {
			t.Fatalf("%s: got %+v (%v), want %+v", text, back, err, f)
		}
	}
}

func TestSequenceRefused(t *testing.T) {
	good := kinesistest.FormatSequence(kinesistest.SequenceFields{Created: 1, Written: 1, Shard: 3, Counter: 9})
	plus := func(d int64) string {
		return new(big.Int).Add(bigOf(t, good), big.NewInt(d)).String()
	}
	for name, text := range map[string]string{
		"empty": "", "short": good[1:], "long": good + "0", "letters": "x" + good[1:],
		"another version": plus(1), "lower version": plus(-1),
		"nibble of another shard": plus(16), "zeros": "00000000000000000000000000000000000000000000000000000000",
		"nines": "99999999999999999999999999999999999999999999999999999999",
	} {
		if _, err := kinesistest.ParseSequence(text); err == nil {
			t.Errorf("%s: %q was accepted", name, text)
		}
	}
}

func TestKeyHashVectors(t *testing.T) {
	for key, want := range map[string]string{
		"a":        "16955237001963240173058271559858726497",
		"user-123": "250018372642977770877286195909578633128",
	} {
		if got := kinesistest.KeyHash(key); got != want {
			t.Errorf("hash of %q: got %s, want %s", key, got, want)
		}
	}
}

func TestHashKeys(t *testing.T) {
	r := seeded(t)
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	for range 2000 {
		n := new(big.Int).Add(new(big.Int).Lsh(new(big.Int).SetUint64(r.Uint64()), 64), new(big.Int).SetUint64(r.Uint64()))
		n.Rsh(n, uint(r.IntN(129)))
		got, err := kinesistest.HashKeyText(n.String())
		if err != nil || got != n.String() {
			t.Fatalf("got %s (%v), want %s", got, err, n)
		}
		parts := 1 + r.IntN(10000)
		i := r.IntN(parts)
		want := new(big.Int).Mul(new(big.Int).Div(limit, big.NewInt(int64(parts))), big.NewInt(int64(i)))
		if got := kinesistest.UniformStart(i, parts); got != want.String() {
			t.Fatalf("part %d of %d: got %s, want %s", i, parts, got, want)
		}
		lo := new(big.Int).Rsh(n, 1)
		if lo.Cmp(n) < 0 {
			half := new(big.Int).Sub(n, lo)
			half.Add(lo, half.Rsh(half, 1)).Add(half, big.NewInt(1))
			if got := kinesistest.HalfOf(lo.String(), n.String()); got != half.String() {
				t.Fatalf("half of [%s, %s]: got %s, want %s", lo, n, got, half)
			}
		}
	}
	for _, text := range []string{"", "-1", "01", "x", limit.String(), "1" + limit.String(), "3402823669209384634633746074317682114560"} {
		if _, err := kinesistest.HashKeyText(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	top := new(big.Int).Sub(limit, big.NewInt(1)).String()
	if got, err := kinesistest.HashKeyText(top); err != nil || got != top {
		t.Errorf("2^128-1: got %s (%v)", got, err)
	}
}
