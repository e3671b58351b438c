package kinesisstream

import (
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func (p *page) readCBOR(s *cborScanner) {
	n := s.begin(cborMap)
	for i := uint64(0); s.more(i, n); i++ {
		name := s.name()
		if s.null() {
			continue
		}
		switch string(name) {
		case "Records":
			p.listed, p.records = true, p.records[:0]
			p.readRecordsCBOR(s)
		case "NextShardIterator":
			p.hasNext, p.next = true, s.keep()
		case "MillisBehindLatest":
			p.hasBehind, p.behind = true, s.integer()
		case "ChildShards":
			p.childShards = s.childShards()
		default:
			s.skip(0)
		}
	}
}

func (p *page) readRecordsCBOR(s *cborScanner) {
	n := s.begin(cborArray)
	for i := uint64(0); s.more(i, n); i++ {
		if i == maxRecords {
			s.bad = true // more than the service gives
			return
		}
		p.records = append(p.records, recordSpans{})
		if !s.null() {
			p.records[i].readCBOR(s)
		}
	}
}

func (r *recordSpans) readCBOR(s *cborScanner) {
	n := s.begin(cborMap)
	for i := uint64(0); s.more(i, n); i++ {
		name := s.name()
		if s.null() {
			continue
		}
		switch string(name) {
		case "SequenceNumber":
			r.has, r.sequence = r.has|hasSequence, s.keep()
		case "PartitionKey":
			r.has, r.key = r.has|hasKey, s.keep()
		case "Data":
			r.has, r.data = r.has|hasData, s.bytes(cborBytes)
		case "ApproximateArrivalTimestamp":
			r.has, r.arrival = r.has|hasArrival, s.millis()
		case "EncryptionType":
			r.encryption = s.keep()
		default:
			s.skip(0)
		}
	}
}

// childShards takes the children that the last page of a shard names.
func (s *cborScanner) childShards() []types.ChildShard {
	out := []types.ChildShard{}
	n := s.begin(cborArray)
	for i := uint64(0); s.more(i, n); i++ {
		var c types.ChildShard
		s.members(func(name string) bool {
			switch name {
			case "ShardId":
				c.ShardId = s.string()
			case "ParentShards":
				c.ParentShards = s.strings()
			case "HashKeyRange":
				c.HashKeyRange = s.hashKeyRange()
			default:
				return false
			}
			return true
		})
		out = append(out, c)
	}
	return out
}

func (s *cborScanner) hashKeyRange() *types.HashKeyRange {
	var r types.HashKeyRange
	s.members(func(name string) bool {
		switch name {
		case "StartingHashKey":
			r.StartingHashKey = s.string()
		case "EndingHashKey":
			r.EndingHashKey = s.string()
		default:
			return false
		}
		return true
	})
	return &r
}

// members calls take for every member that is not null; what it does not take is skipped.
func (s *cborScanner) members(take func(name string) bool) {
	n := s.begin(cborMap)
	for i := uint64(0); s.more(i, n); i++ {
		if name := s.name(); !s.null() && !take(string(name)) {
			s.skip(0)
		}
	}
}

// string takes a text without keeping it.
func (s *cborScanner) string() *string {
	at := s.keep()
	v := string(at.of(s.text))
	s.text = s.text[:at.from]
	return &v
}

func (s *cborScanner) strings() []string {
	out := []string{}
	n := s.begin(cborArray)
	for i := uint64(0); s.more(i, n); i++ {
		out = append(out, *s.string())
	}
	return out
}

func (a *putAnswer) readCBOR(s *cborScanner) {
	s.members(func(name string) bool {
		switch name {
		case "Records":
			a.listed, a.results = true, a.results[:0]
			a.readResultsCBOR(s)
		case "FailedRecordCount":
			a.hasFailed, a.failed = true, s.integer()
			s.bad = s.bad || a.failed != int64(int32(a.failed))
		case "EncryptionType":
			a.encryption = s.keep()
		default:
			return false
		}
		return true
	})
}

func (a *putAnswer) readResultsCBOR(s *cborScanner) {
	n := s.begin(cborArray)
	for i := uint64(0); s.more(i, n); i++ {
		if i == maxPutRecords {
			s.bad = true // more than were asked for
			return
		}
		a.results = append(a.results, resultSpans{})
		if !s.null() {
			a.results[i].readCBOR(s)
		}
	}
}

func (r *resultSpans) readCBOR(s *cborScanner) {
	n := s.begin(cborMap)
	for i := uint64(0); s.more(i, n); i++ {
		name := s.name()
		if s.null() {
			continue
		}
		if at, bit := r.field(string(name)); at != nil {
			r.has |= bit
			*at = s.keep()
		} else {
			s.skip(0)
		}
	}
}

// errorAsJSON makes of an error in CBOR the one that the SDK's decoder reads. The service
// may answer in JSON even then, which stays as it is.
func errorAsJSON(body []byte) []byte {
	s := &cborScanner{b: body}
	said := map[string]string{}
	s.members(func(name string) bool {
		if name != "__type" && name != "code" && name != "message" && name != "Message" {
			return false
		}
		said[name] = *s.string()
		return true
	})
	if s.bad {
		return body
	}
	out, err := json.Marshal(said)
	if err != nil {
		return body
	}
	return out
}
