package kinesistest_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// request is PutRecords as encoding/json sees it.
type request struct {
	StreamName string
	Records    []requestEntry
}

type requestEntry struct {
	PartitionKey    string
	ExplicitHashKey *string `json:",omitempty"`
	Data            []byte
}

// FuzzPutJSON decodes anything without harm, and agrees with encoding/json about what that
// package would decode from an object with the same names.
func FuzzPutJSON(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"StreamName":"s","Records":[{"PartitionKey":"k","Data":"YQ=="}]}`, `{"Records":null}`, `{"Records":[null]}`,
		`{"Records":[{"Data":"","PartitionKey":"\u00e9\ud83d\ude42"}],"x":{"y":[1,-2.5e3,true,null,"\\"]}}`,
		`{"Records":[{"Data":"*"}]}`, `[`, `{"a":`, `{"Records":[{"PartitionKey":"` + "\xff" + `"}]}`, `{"StreamName":"a"} x`, `{"StreamName":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := kinesistest.DecodePutJSON(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted what is not JSON: %q", body)
		}
		for i, key := range got.Keys {
			if !utf8.ValidString(key) {
				t.Fatalf("entry %d has the key %q", i, key)
			}
		}
		if got.Count != len(got.Keys) && got.Count <= 500 {
			t.Fatalf("%d entries, %d kept", got.Count, len(got.Keys))
		}
	})
}

// FuzzPutJSONRoundTrip decodes what encoding/json has encoded.
func FuzzPutJSONRoundTrip(f *testing.F) {
	f.Add("s", "key", []byte("data"), "12", true)
	f.Add("", "\"\\\n\u2028<&>", []byte{}, "", false)
	f.Fuzz(func(t *testing.T, stream, key string, data []byte, hash string, hasHash bool) {
		if !utf8.ValidString(key) || !utf8.ValidString(stream) || !utf8.ValidString(hash) {
			return
		}
		in := request{stream, []requestEntry{{PartitionKey: key, Data: append([]byte{}, data...)}, {PartitionKey: "k", Data: []byte{1}}}}
		if hasHash {
			in.Records[0].ExplicitHashKey = &hash
		} else {
			hash = ""
		}
		want := kinesistest.DecodedPut{StreamName: stream, Listed: true, Count: 2, Keys: []string{key, "k"}, Data: []string{string(data), "\x01"},
			Hashes: []string{hash, ""}, HasKey: []bool{true, true}, HasData: []bool{true, true}}
		for name, codec := range map[string]struct {
			encode func(any) ([]byte, error)
			decode func([]byte) (kinesistest.DecodedPut, error)
		}{"JSON": {json.Marshal, kinesistest.DecodePutJSON}, "CBOR": {cbor.Marshal, kinesistest.DecodePutCBOR}} {
			body, err := codec.encode(in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := codec.decode(body)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s of %s: got %+v (%v), want %+v", name, body, got, err, want)
			}
		}
	})
}

// FuzzPutCBOR decodes anything without harm.
func FuzzPutCBOR(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0xa0})
	f.Add(must(cbor.Marshal(request{"s", []requestEntry{{PartitionKey: "k", Data: []byte("d")}}})))
	f.Add([]byte("\xbfgRecords\x9f\xbfdData\x5f\x41a\xff\xff\xff\xff")) // indefinite lengths, as Jackson writes them
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := kinesistest.DecodePutCBOR(body)
		if err == nil && got.Count <= 500 && got.Count != len(got.Keys) {
			t.Fatalf("%d entries, %d kept", got.Count, len(got.Keys))
		}
	})
}

// FuzzRequests decodes anything as a request of any operation.
func FuzzRequests(f *testing.F) {
	f.Add(uint8(0), false, []byte(`{"StreamName":"s","Timestamp":1.7E9,"ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1}}`))
	f.Add(uint8(4), true, []byte("\xa1iTimestamp\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x00"))
	f.Add(uint8(5), false, []byte(`{"ShardCount":-1,"Tags":{"a":null}}`))
	f.Fuzz(func(t *testing.T, op uint8, inCBOR bool, body []byte) {
		ops := kinesistest.Operations()
		// Errors are as good as results; panics are not.
		_ = kinesistest.DecodeAny(ops[int(op)%len(ops)], inCBOR, body)
	})
}

// FuzzSequence parses any text, and formats what it took to the same text.
func FuzzSequence(f *testing.F) {
	f.Add("49590338271490256608559692538361571095921575989136588898")
	f.Add("99999999999999999999999999999999999999999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := kinesistest.ParseSequence(text)
		if err != nil {
			return
		}
		if got := kinesistest.FormatSequence(s); got != text {
			t.Fatalf("%q: got %+v, which is %q", text, s, got)
		}
	})
}

// FuzzJSONString encodes any text so that encoding/json reads it back.
func FuzzJSONString(f *testing.F) {
	f.Add("a\"\\\x00\x1f\u2028ü")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		b := kinesistest.AppendJSONString([]byte("x"), text)
		var back string
		if err := json.Unmarshal(bytes.TrimPrefix(b, []byte("x")), &back); err != nil || back != text {
			t.Fatalf("%q: got %q (%v)", text, back, err)
		}
	})
}
