package checker_test

import (
	"slices"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// A KPL aggregate of two keys, as its public definition has it, and an envelope of two records,
// one with a header, as its layout is documented; a record that is neither stays.
func TestUnpack(t *testing.T) {
	aggregate := []byte("\xf3\x89\x9a\xc2" + "\x0a\x01a\x0a\x08~b:n:0:7" + "\x1a\x05\x08\x00\x1a\x01x" + "\x1a\x05\x08\x01\x1a\x01y" +
		"\x2f\xf6\x13\x72\x50\x0e\x61\x94\xe4\xf5\x16\x84\x42\xba\xbe\x68")
	envelope := []byte("\xc5BRG\x01\x02" + "\x00\x00\x00\x01p" + "\x00\x01q\x01\x01h\x03vv\x01z" + "\x70\x0c\xcb\x07")
	got, err := checker.Unpack([]checker.Copy{{Key: "k", Value: aggregate}, {Key: "k", Value: []byte("plain")}, {Key: "k", Value: envelope}})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, c := range got {
		key := c.Key
		if c.Null {
			key = "null"
		}
		told = append(told, key+"="+string(c.Value))
	}
	if want := []string{"a=x", "null=y", "k=plain", "k=p", "k=z"}; !slices.Equal(told, want) {
		t.Errorf("unpacked %q, want %q", told, want)
	}
	for _, b := range [][]byte{aggregate, envelope} {
		b = slices.Clone(b)
		b[7] ^= 1
		if _, err := checker.Unpack([]checker.Copy{{Value: b}}); err == nil {
			t.Errorf("%q with a changed byte is unpacked", b)
		}
	}
}
