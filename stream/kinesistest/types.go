package kinesistest

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// timestamp is unix milliseconds. JSON carries it as seconds with a fraction, CBOR as tag 1
// around whole milliseconds: what the service's Java SDK sends and expects, although the
// tag itself means seconds.
type timestamp int64

// MarshalJSON writes seconds with three decimals.
func (t timestamp) MarshalJSON() ([]byte, error) { return appendSeconds(nil, int64(t)), nil }

// UnmarshalJSON reads seconds, with or without a fraction or an exponent.
func (t *timestamp) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return err
	}
	return t.set(v * 1000)
}

// MarshalCBOR writes tagged milliseconds.
func (t timestamp) MarshalCBOR() ([]byte, error) {
	return cbor.Marshal(cbor.Tag{Number: 1, Content: int64(t)})
}

// UnmarshalCBOR reads milliseconds, with or without the tag.
func (t *timestamp) UnmarshalCBOR(b []byte) error {
	if len(b) > 0 && b[0] == 0xc1 {
		b = b[1:]
	}
	var v float64
	if err := cbor.Unmarshal(b, &v); err != nil {
		return err
	}
	return t.set(v)
}

func (t *timestamp) set(ms float64) error {
	if ms = math.Round(ms); ms != ms || math.Abs(ms) > 1<<53 {
		return errBody
	}
	*t = timestamp(ms)
	return nil
}

// appendSeconds writes unix milliseconds as seconds with three decimals.
func appendSeconds(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	f := ms % 1000
	return append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
}

// address is how a request names its stream.
type address struct {
	StreamName string
	StreamARN  string
}

// nameOf is the stream's name, from whichever the caller gave.
func (a address) nameOf() string {
	if a.StreamName != "" {
		return a.StreamName
	}
	_, name, _ := strings.Cut(a.StreamARN, ":stream/")
	return name
}

// describe is the part of input that most operations share.
func (a address) describe(_ *Server, c *Call, _ bool) { c.Stream = a.nameOf() }

// find checks the address and finds the stream.
func (a address) find(r *request) (*Stream, *Error) {
	if a.StreamARN != "" {
		if err := a.checkARN(r.srv); err != nil {
			return nil, err
		}
	}
	name := a.nameOf()
	if name == "" && a.StreamARN == "" {
		return nil, invalidArgument("Either StreamName or StreamARN must be provided.")
	}
	if !validName(name) {
		return nil, invalid("streamName", name, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	}
	if st := r.srv.stream(name, r.now); st != nil {
		return st, nil
	}
	return nil, notFound("Stream %s under account %s not found.", name, r.srv.cfg.Account)
}

// checkARN refuses what names another service, region or account, or contradicts the name.
func (a address) checkARN(s *Server) *Error {
	parts := strings.SplitN(a.StreamARN, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kinesis" || !strings.HasPrefix(parts[5], "stream/") {
		return invalid("streamARN", a.StreamARN, `satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+`)
	}
	if parts[4] != s.cfg.Account {
		return AccessDenied("No resource-based policy of " + a.StreamARN + " allows the action")
	}
	if parts[3] != s.cfg.Region {
		return invalidArgument("Stream ARN %s is not in region %s.", a.StreamARN, s.cfg.Region)
	}
	if a.StreamName != "" && parts[5] != "stream/"+a.StreamName {
		return invalidArgument("StreamName %s and StreamARN %s are not the same stream.", a.StreamName, a.StreamARN)
	}
	return nil
}

// validName holds the service's rule for names of streams.
func validName(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// The structures of the protocol that several operations answer.
type (
	modeDetails struct{ StreamMode string }

	shardJSON struct {
		ShardId               string
		ParentShardId         string `json:",omitempty"`
		AdjacentParentShardId string `json:",omitempty"`
		HashKeyRange          hashRange
		SequenceNumberRange   sequenceRange
	}

	hashRange struct{ StartingHashKey, EndingHashKey string }

	sequenceRange struct {
		StartingSequenceNumber string
		EndingSequenceNumber   string `json:",omitempty"`
	}

	childShard struct {
		ShardId      string
		ParentShards []string
		HashKeyRange hashRange
	}

	tagJSON struct{ Key, Value string }

	enhancedMetrics struct{ ShardLevelMetrics []string }
)

// describe renders a shard. The caller holds the stream's lock.
func (sh *shard) describe() shardJSON {
	out := shardJSON{
		ShardId:             sh.id,
		HashKeyRange:        hashRange{sh.first.String(), sh.last.String()},
		SequenceNumberRange: sequenceRange{StartingSequenceNumber: sh.starting().String()},
	}
	if len(sh.parents) > 0 {
		out.ParentShardId = sh.parents[0].id
	}
	if len(sh.parents) > 1 {
		out.AdjacentParentShardId = sh.parents[1].id
	}
	if sh.closed {
		out.SequenceNumberRange.EndingSequenceNumber = sh.ending().String()
	}
	return out
}

// childrenOf renders the children of a closed shard. The caller holds the stream's lock.
func childrenOf(sh *shard) []childShard {
	var out []childShard
	for _, c := range sh.children {
		var parents []string
		for _, p := range c.parents {
			parents = append(parents, p.id)
		}
		out = append(out, childShard{c.id, parents, hashRange{c.first.String(), c.last.String()}})
	}
	return out
}

var (
	_ json.Marshaler   = timestamp(0)
	_ json.Unmarshaler = (*timestamp)(nil)
	_ cbor.Marshaler   = timestamp(0)
	_ cbor.Unmarshaler = (*timestamp)(nil)
)
