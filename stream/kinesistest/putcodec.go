package kinesistest

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// memberField names a field of an entry as the service's validation does.
func memberField(index int, name string) string {
	if index < 0 {
		return name
	}
	return "records." + strconv.Itoa(index+1) + ".member." + name
}

// decodeJSON reads the request in one pass. Keys without escapes are slices of the body;
// data is decoded into one arena.
func (in *putRecordsInput) decodeJSON(body []byte) error {
	if cap(in.arena) < len(body) {
		in.arena = make([]byte, 0, len(body))
	}
	s := &scanner{b: body}
	if err := s.begin('{'); err != nil {
		return err
	}
	for n := 0; ; n++ {
		name, ok, err := s.field(n)
		if err != nil {
			return err
		}
		if !ok {
			return s.end()
		}
		if err := in.jsonField(s, string(name)); err != nil {
			return err
		}
	}
}

func (in *putRecordsInput) jsonField(s *scanner, name string) error {
	switch name {
	case "Records":
		return in.jsonRecords(s)
	case "StreamName":
		return s.text(&in.StreamName)
	case "StreamARN":
		return s.text(&in.StreamARN)
	case "DryRun":
		return s.bool(&in.dryRun)
	}
	return s.skip()
}

func (in *putRecordsInput) jsonRecords(s *scanner) error {
	if s.null() {
		return nil
	}
	in.listed, in.count, in.entries = true, 0, in.entries[:0]
	if err := s.begin('['); err != nil {
		return err
	}
	for ; ; in.count++ {
		if ok, err := s.more(in.count, ']'); err != nil || !ok {
			return err
		}
		if in.count >= MaxRecords { // will be refused
			if err := s.skip(); err != nil {
				return err
			}
			continue
		}
		in.entries = append(in.entries, putEntry{})
		if err := in.jsonEntry(s, &in.entries[in.count]); err != nil {
			return err
		}
	}
}

func (in *putRecordsInput) jsonEntry(s *scanner, e *putEntry) error {
	if err := s.begin('{'); err != nil {
		return err
	}
	for n := 0; ; n++ {
		name, ok, err := s.field(n)
		if err != nil || !ok {
			return err
		}
		switch string(name) {
		case "Data":
			e.data, e.hasData, err = in.jsonData(s)
		case "PartitionKey":
			e.key, e.hasKey, err = s.string()
			if err == nil && !utf8.Valid(e.key) {
				err = errBody
			}
		case "ExplicitHashKey":
			e.hash, e.hasHash, err = s.string()
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
}

// jsonData decodes base64 into the arena, which has room for all of the body.
func (in *putRecordsInput) jsonData(s *scanner) ([]byte, bool, error) {
	text, ok, err := s.string()
	if err != nil || !ok {
		return nil, false, err
	}
	off := len(in.arena)
	n, err := base64.StdEncoding.Decode(in.arena[off:cap(in.arena)][:base64.StdEncoding.DecodedLen(len(text))], text)
	if err != nil {
		return nil, false, errBody
	}
	in.arena = in.arena[:off+n]
	return in.arena[off : off+n : off+n], true, nil
}

// cborPut is PutRecords in CBOR.
type cborPut struct {
	StreamName string
	StreamARN  string
	DryRun     bool
	Records    []cborEntry
}

type cborEntry struct {
	Data            []byte
	PartitionKey    *string
	ExplicitHashKey *string
}

func (in *putRecordsInput) decodeCBOR(body []byte) error {
	var raw cborPut
	if err := cbor.Unmarshal(body, &raw); err != nil {
		return err
	}
	in.StreamName, in.StreamARN, in.dryRun = raw.StreamName, raw.StreamARN, raw.DryRun
	in.listed, in.count = raw.Records != nil, len(raw.Records)
	for _, c := range raw.Records[:min(len(raw.Records), MaxRecords)] {
		one := putRecordInput{Data: c.Data, PartitionKey: c.PartitionKey, ExplicitHashKey: c.ExplicitHashKey}
		in.entries = append(in.entries, one.entry())
	}
	return nil
}

// putRecordsOutput is the answer of PutRecords.
type putRecordsOutput struct {
	results   []putResult
	failed    int
	encrypted bool
}

func (o *putRecordsOutput) appendJSON(b []byte) []byte {
	b = append(b, `{"FailedRecordCount":`...)
	b = strconv.AppendInt(b, int64(o.failed), 10)
	if o.encrypted {
		b = append(b, `,"EncryptionType":"KMS"`...)
	}
	b = append(b, `,"Records":[`...)
	for i := range o.results {
		res := &o.results[i]
		if i > 0 {
			b = append(b, ',')
		}
		if res.code != "" {
			b = append(b, `{"ErrorCode":`...)
			b = appendJSONString(b, res.code)
			b = append(b, `,"ErrorMessage":`...)
			b = appendJSONString(b, res.message)
			b = append(b, '}')
			continue
		}
		b = append(b, `{"SequenceNumber":"`...)
		b = res.sequence.appendTo(b)
		b = append(b, `","ShardId":"`...)
		b = append(b, res.shard.id...)
		b = append(b, `"}`...)
	}
	return append(b, `]}`...)
}

func (o *putRecordsOutput) appendCBOR(b []byte) []byte {
	fields := 2
	if o.encrypted {
		fields++
	}
	b = appendCBORHead(b, cborMap, uint64(fields))
	b = appendCBORText(b, "FailedRecordCount")
	b = appendCBORHead(b, cborUint, uint64(o.failed))
	if o.encrypted {
		b = appendCBORText(appendCBORText(b, "EncryptionType"), encryptionKMS)
	}
	b = appendCBORText(b, "Records")
	b = appendCBORHead(b, cborArray, uint64(len(o.results)))
	for i := range o.results {
		res := &o.results[i]
		b = appendCBORHead(b, cborMap, 2)
		if res.code != "" {
			b = appendCBORText(appendCBORText(b, "ErrorCode"), res.code)
			b = appendCBORText(appendCBORText(b, "ErrorMessage"), res.message)
			continue
		}
		b = appendCBORText(b, "SequenceNumber")
		b = res.sequence.appendTo(appendCBORHead(b, cborString, sequenceDigits))
		b = appendCBORText(appendCBORText(b, "ShardId"), res.shard.id)
	}
	return b
}
