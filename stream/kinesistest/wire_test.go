package kinesistest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

const (
	jsonType  = "application/x-amz-json-1.1"
	cborType  = "application/x-amz-cbor-1.1"
	signature = "AWS4-HMAC-SHA256 Credential=AKIA/20260301/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00"
)

// wire is a plain HTTP client.
type wire struct {
	t    testing.TB
	url  string
	kind string
	auth string
}

func (w wire) do(op string, body []byte) (*http.Response, []byte) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.kind)
	req.Header.Set("X-Amz-Target", op)
	if w.auth != "" {
		req.Header.Set("Authorization", w.auth)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, b
}

// call encodes in, in the client's codec, and decodes the answer into a map.
func (w wire) call(op string, in any) (int, map[string]any) {
	w.t.Helper()
	marshal, unmarshal := json.Marshal, json.Unmarshal
	if w.kind == cborType {
		marshal, unmarshal = cbor.Marshal, anyMap(w.t).Unmarshal
	}
	body, err := marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	res, b := w.do("Kinesis_20131202."+op, body)
	if got := res.Header.Get("Content-Type"); got != w.kind {
		w.t.Fatalf("%s: answered in %s: %s", op, got, b)
	}
	out := map[string]any{}
	if len(b) > 0 {
		if err := unmarshal(b, &out); err != nil {
			w.t.Fatalf("%s: %v in %x", op, err, b)
		}
	}
	return res.StatusCode, out
}

func anyMap(t testing.TB) cbor.DecMode {
	t.Helper()
	// Tag 1 is kept as it is: what is inside are milliseconds, not the seconds of the standard.
	mode, err := cbor.DecOptions{DefaultMapType: nil, TagsMd: cbor.TagsAllowed, TimeTagToAny: cbor.TimeTagToTime}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

// rawPage is a GetRecords answer with its times left alone.
type rawPage struct {
	Records []struct {
		SequenceNumber, PartitionKey string
		ApproximateArrivalTimestamp  cbor.RawTag
		Data                         []byte
	}
	MillisBehindLatest int64
	NextShardIterator  *string
}

// TestCBOR goes through a stream's life in CBOR.
func TestCBOR(t *testing.T) {
	srv, _, clock := standing(t, 1, unlimited())
	w := wire{t, srv.URL(), cborType, signature}
	type m = map[string]any
	if status, out := w.call("CreateStream", m{"StreamName": "c", "ShardCount": 1}); status != 200 || len(out) != 0 {
		t.Fatalf("create: got %d %v", status, out)
	}
	data := bytes.Repeat([]byte{0, 255, 1}, 100)
	status, out := w.call("PutRecords", m{"StreamName": "c", "Records": []m{
		{"PartitionKey": "k", "Data": data}, {"PartitionKey": "ü", "Data": []byte{}, "ExplicitHashKey": "12"}}})
	if status != 200 || fmt.Sprint(out["FailedRecordCount"]) != "0" {
		t.Fatalf("put: got %d %v", status, out)
	}
	stored, err := srv.Stream("c").Records(first)
	if err != nil || len(stored) != 2 || !bytes.Equal(stored[0].Data, data) {
		t.Fatalf("stored %v (%v)", stored, err)
	}
	if got := out["Records"].([]any)[1].(map[any]any); got["SequenceNumber"] != stored[1].SequenceNumber || got["ShardId"] != first {
		t.Errorf("result: got %v", got)
	}
	clock.Advance(1500 * time.Millisecond)
	// The Java SDK sends times as tag 1 around milliseconds.
	at := cbor.RawTag{Number: 1, Content: must(cbor.Marshal(birth.UnixMilli()))}
	_, out = w.call("GetShardIterator", m{"StreamName": "c", "ShardId": first, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at})
	page := w.page(out["ShardIterator"])
	if len(page.Records) != 2 || page.NextShardIterator == nil || page.MillisBehindLatest != 0 {
		t.Fatalf("page: got %+v", page)
	}
	rec := page.Records[0]
	var ms int64
	if err := cbor.Unmarshal(rec.ApproximateArrivalTimestamp.Content, &ms); err != nil || ms != birth.UnixMilli() || rec.ApproximateArrivalTimestamp.Number != 1 {
		t.Errorf("time: got tag %d around %x", rec.ApproximateArrivalTimestamp.Number, rec.ApproximateArrivalTimestamp.Content)
	}
	if !bytes.Equal(rec.Data, data) || rec.PartitionKey != "k" || rec.SequenceNumber != stored[0].SequenceNumber || page.Records[1].PartitionKey != "ü" {
		t.Errorf("record: got %+v", rec)
	}
	status, out = w.call("GetRecords", m{"ShardIterator": "x"})
	if status != 400 || out["__type"] != "InvalidArgumentException" || out["message"] == "" {
		t.Errorf("error: got %d %v", status, out)
	}
	if _, out := w.call("DescribeStreamSummary", m{"StreamName": "c"}); out["StreamDescriptionSummary"].(map[any]any)["StreamName"] != "c" {
		t.Errorf("summary: got %v", out)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		return nil
	}
	return b
}

// page reads once, in CBOR.
func (w wire) page(it any) rawPage {
	w.t.Helper()
	body, err := cbor.Marshal(map[string]any{"ShardIterator": it})
	if err != nil {
		w.t.Fatal(err)
	}
	_, b := w.do("Kinesis_20131202.GetRecords", body)
	var page rawPage
	if err := cbor.Unmarshal(b, &page); err != nil {
		w.t.Fatalf("%v in %x", err, b)
	}
	return page
}

// TestEndOfShardInCBOR has what the JSON form of the same answer has.
func TestEndOfShardInCBOR(t *testing.T) {
	srv, _, _ := standing(t, 1, unlimited())
	for _, kind := range []string{jsonType, cborType} {
		w := wire{t, srv.URL(), kind, signature}
		_, out := w.call("GetShardIterator", map[string]any{"StreamName": "s", "ShardId": first, "ShardIteratorType": "LATEST"})
		if kind == jsonType {
			if _, _, err := srv.Stream("s").Split(first, "12345678901234567890"); err != nil {
				t.Fatal(err)
			}
		}
		_, out = w.call("GetRecords", map[string]any{"ShardIterator": out["ShardIterator"]})
		got := fmt.Sprint(out)
		for _, part := range []string{"NextShardIterator:<nil>", "ShardId:shardId-000000000001", "EndingHashKey:12345678901234567889", "ParentShards:[shardId-000000000000]", "Records:[]"} {
			if !strings.Contains(got, part) {
				t.Errorf("%s: no %q in %s", kind, part, got)
			}
		}
	}
}

func TestRefusedBeforeTheOperation(t *testing.T) {
	srv, _, _ := standing(t, 1, unlimited())
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	const put = "Kinesis_20131202.PutRecords"
	for _, tc := range []struct{ name, kind, auth, target, body, want string }{
		{"unknown operation", jsonType, signature, "Kinesis_20131202.Frobnicate", "{}", "UnknownOperationException"},
		{"not offered", jsonType, signature, "Kinesis_20131202.SubscribeToShard", "{}", "UnknownOperationException"},
		{"another service", jsonType, signature, "DynamoDB_20120810.PutItem", "{}", "UnknownOperationException"},
		{"no target", jsonType, signature, "", "{}", "UnknownOperationException"},
		{"no signature", jsonType, "", put, "{}", "MissingAuthenticationTokenException"},
		{"no signature, in CBOR", cborType, "", put, "\xa0", "MissingAuthenticationTokenException"},
		{"a bare token", jsonType, "Bearer x", put, "{}", "IncompleteSignatureException"},
		{"a short scope", jsonType, "AWS4-HMAC-SHA256 Credential=AKIA/20260301, Signature=0", put, "{}", "IncompleteSignatureException"},
		{"not JSON", jsonType, signature, put, "{", "SerializationException"},
		{"another type", jsonType, signature, put, `{"Records":"x"}`, "SerializationException"},
		{"data that is not base64", jsonType, signature, put, `{"StreamName":"s","Records":[{"PartitionKey":"k","Data":"*"}]}`, "SerializationException"},
		{"a key that is not UTF-8", jsonType, signature, put, "{\"StreamName\":\"s\",\"Records\":[{\"PartitionKey\":\"\xff\",\"Data\":\"\"}]}", "SerializationException"},
		{"no records", jsonType, signature, put, `{"StreamName":"s"}`, "ValidationException"},
		{"no key", jsonType, signature, put, `{"StreamName":"s","Records":[{"Data":""}]}`, "ValidationException"},
		{"no data", jsonType, signature, put, `{"StreamName":"s","Records":[{"PartitionKey":"k"}]}`, "ValidationException"},
		{"no stream", jsonType, signature, put, `{"Records":[]}`, "InvalidArgumentException"},
		{"number as text", jsonType, signature, "Kinesis_20131202.GetRecords", `{"Limit":"1"}`, "SerializationException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, b := wire{t, srv.URL(), tc.kind, tc.auth}.do(tc.target, []byte(tc.body))
			var out struct {
				Type string `json:"__type"`
			}
			if err := json.Unmarshal(b, &out); err != nil || res.StatusCode != 400 || out.Type != tc.want {
				t.Errorf("got %d %s (%v), want %s", res.StatusCode, b, err, tc.want)
			}
			if id := res.Header.Get("x-amzn-RequestId"); !uuid.MatchString(id) {
				t.Errorf("request id: got %q", id)
			}
		})
	}
	if got := len(srv.Stream("s").Shards()); got != 1 {
		t.Errorf("shards: %d", got)
	}
}

// TestOddJSON puts what no SDK sends and the service understands all the same.
func TestOddJSON(t *testing.T) {
	srv, _, _ := standing(t, 1, unlimited())
	w := wire{t, srv.URL(), jsonType + "; charset=utf-8", signature}
	res, b := w.do("Kinesis_20131202.PutRecords", []byte(` { "Unknown" : [ { "a" : null , "b":-1.5e3}, "\"]" ] ,
		"Records":[ {"Data":"YWI\u003d","PartitionKey":"\u00fc\"\\\/","ExplicitHashKey":null, "More":{}} ], "StreamARN":null, "StreamName":"s" } `))
	if res.StatusCode != 200 {
		t.Fatalf("got %d %s", res.StatusCode, b)
	}
	all := records(t, srv, first)
	if len(all) != 1 || all[0].Key != `ü"\/` || string(all[0].Data) != "ab" {
		t.Errorf("stored %+v", all)
	}
}

// TestTimesAlternate shows both notations of a time to a reader, and both are exact.
func TestTimesAlternate(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	clock.Set(time.UnixMilli(1441215410867))
	putAt(t, srv, clock, "a")
	w := wire{t, srv.URL(), jsonType, signature}
	it := *iteratorAt(t, client, "TRIM_HORIZON")
	seen := ""
	for range 2 {
		_, b := w.do("Kinesis_20131202.GetRecords", fmt.Appendf(nil, `{"ShardIterator":%q}`, it))
		seen += string(b)
	}
	for _, form := range []string{`"ApproximateArrivalTimestamp":1441215410.867,`, `"ApproximateArrivalTimestamp":1.441215410867E9,`} {
		if strings.Count(seen, form) != 1 {
			t.Errorf("%s is not there once: %s", form, seen)
		}
	}
}

// TestBodyTooLarge refuses what no operation takes.
func TestBodyTooLarge(t *testing.T) {
	srv, _, _ := standing(t, 1, unlimited())
	res, _ := wire{t, srv.URL(), jsonType, signature}.do("Kinesis_20131202.PutRecords", make([]byte, 20<<20+1))
	if res.StatusCode != 413 {
		t.Errorf("got %d", res.StatusCode)
	}
	if c := srv.Counts(""); c != (kinesistest.Counts{}) {
		t.Errorf("counts: got %+v", c)
	}
}
