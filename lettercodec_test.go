package bridge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/memtest"
)

func testLetters() []bridge.DeadLetter {
	at := time.UnixMilli(1357034400123).UTC()
	return []bridge.DeadLetter{
		{
			Origin: bridge.Coordinate{Stream: source.String(), Partition: "shardId-000000000012", Position: bridge.Position{Seq: "42", Sub: 3}},
			Stream: "orders", Key: []byte("N14228"), Value: []byte{0, 0xff}, Time: at, Class: bridge.ClassOversize, Reason: "too large", At: at,
			Headers: []bridge.Header{{Key: "h", Value: []byte("v")}, {Key: "null"}, {Key: "\xff", Value: []byte{}}},
		},
		{Origin: bridge.Coordinate{Partition: "7", Position: bridge.OffsetPosition(41)}, Time: at, At: at},
	}
}

// FuzzLetter holds that a line that is not of this workflow, whole and unchanged, is never
// taken for a letter of it, and that memory is bounded.
func FuzzLetter(f *testing.F) {
	codec := bridge.NewLetterCodec("orders", testKey())
	other := bridge.NewLetterCodec("orders", bridge.WorkflowKey{1})
	for _, l := range testLetters() {
		for _, c := range []*bridge.LetterCodec{codec, other} {
			line, err := c.Encode(l)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(line)
			f.Add(line[:len(line)-1])
			f.Add(bytes.Replace(line, []byte(`"v":1`), []byte(`"v":2`), 1))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var l bridge.DeadLetter
		var ours bool
		var err error
		memtest.Bounded(t, len(line), 200, func() { l, ours, err = codec.Decode(line) })
		switch {
		case err != nil && (ours || !errors.Is(err, bridge.ErrState)):
			t.Fatalf("ours %t: %v", ours, err)
		case !ours:
			return
		}
		again, err := codec.Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		var was, is struct{ Tag string }
		if err := errors.Join(json.Unmarshal(line, &was), json.Unmarshal(again, &is)); err != nil || was != is {
			t.Errorf("%s comes back as %s, %v", line, again, err)
		}
	})
}

// FuzzLetterRoundTrip holds that every letter comes back as it was.
func FuzzLetterRoundTrip(f *testing.F) {
	for _, l := range testLetters() {
		f.Add(l.Origin.Partition, l.Origin.Position.Seq, l.Origin.Position.Sub, l.Key, l.Value, l.Reason, l.Time.UnixMilli(), "name", []byte("v"), l.Key == nil)
	}
	codec := bridge.NewLetterCodec("orders", testKey())
	f.Fuzz(func(t *testing.T, partition, seq string, sub uint32, key, value []byte, reason string, ms int64, header string, content []byte, null bool) {
		at := bridge.Position{Seq: seq, Sub: sub}
		if parsed, err := bridge.ParsePosition(at.String()); err != nil || parsed != at {
			return // no position of any stream
		}
		if null {
			value, content = nil, nil
		}
		l := bridge.DeadLetter{
			Origin: bridge.Coordinate{Stream: source.String(), Partition: string(bytes.ToValidUTF8([]byte(partition), nil)), Position: at},
			Stream: "orders", Key: key, Value: value, Time: time.UnixMilli(ms), Class: bridge.ClassUnmappable, Reason: string(bytes.ToValidUTF8([]byte(reason), []byte("?"))),
			At: time.UnixMilli(0).UTC(), Headers: []bridge.Header{{Key: header, Value: content}},
		}
		line, err := codec.Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		got, ours, err := codec.Decode(line)
		if err != nil || !ours || !reflect.DeepEqual(got, l) {
			t.Fatalf("%+v comes back as %+v, %t, %v", l, got, ours, err)
		}
		if bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("%q is more than one line", line)
		}
	})
}

// FuzzPosition holds that a text is a position in one way only, but for its zeros.
func FuzzPosition(f *testing.F) {
	for _, s := range []string{"", "-", "0", "41", "007/0", "41/4294967295", "41/4294967296", "/1", "1/", "x", "1/1/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := bridge.ParsePosition(s)
		if err != nil {
			if !errors.Is(err, bridge.ErrForeignPosition) {
				t.Error(err)
			}
			return
		}
		again, err := bridge.ParsePosition(p.String())
		if err != nil || again != p || p.Compare(again) != 0 {
			t.Errorf("%q is %+v, which is %+v, %v", s, p, again, err)
		}
	})
}
