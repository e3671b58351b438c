package kinesisstream_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// sameBase64 encodes b, and decodes it as it is, as the standard library does.
func sameBase64(t testing.TB, b []byte) {
	t.Helper()
	text := base64.StdEncoding.EncodeToString(b)
	if got := kinesisstream.AppendBase64([]byte("before"), b); string(got) != "before"+text {
		t.Fatalf("%x was encoded as %s", b, got)
	}
	exact := make([]byte, len(b))
	if n, err := kinesisstream.DecodeBase64(exact, []byte(text)); err != nil || n != len(b) || !bytes.Equal(exact, b) {
		t.Fatalf("%s was decoded as %x, %d, %v", text, exact, n, err)
	}
	got, want := make([]byte, len(b)), make([]byte, len(b))
	n, err := kinesisstream.DecodeBase64(got, b)
	m, wantErr := base64.StdEncoding.Decode(want, b)
	if n != m || (err == nil) != (wantErr == nil) || !bytes.Equal(got[:n], want[:m]) {
		t.Fatalf("%q was decoded as %q, %v, want %q, %v", b, got[:n], err, want[:m], wantErr)
	}
}

func TestBase64IsTheStandardLibrarys(t *testing.T) {
	const seed = 46
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 20_000 {
		b := make([]byte, i%100)
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		sameBase64(t, b)
		text := []byte(base64.StdEncoding.EncodeToString(b))
		if len(text) > 0 { // a character that is none, or one too few, somewhere
			text[rng.IntN(len(text))] = "\x00\n=-_ Az\xff"[rng.IntN(9)]
			sameBase64(t, text)
			sameBase64(t, text[:rng.IntN(len(text))])
		}
	}
}

func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "AAAA", "QUJDREVGR0hJSktM", "QUJDREVGR0hJSktM\nQUJD", "QUI=QUJDREVGR0hJSktM", "===="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameBase64(t, b) })
}

func ExampleCodecs() {
	fmt.Println(kinesisstream.Codecs())
	// Output: [json cbor sdk]
}
