package kinesistest

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// tokenLife is how long a NextToken is good.
const tokenLife = 300 * time.Second

// pageToken is what a NextToken stands for.
type pageToken struct {
	after  string // the last name or shard id that was listed
	issued int64  // unix ms
	stream string
	born   int64
	filter *shardFilter
}

// sealedToken is its form on the wire, before it is signed.
type sealedToken struct {
	After, Stream string
	Issued, Born  int64
	Filter        *shardFilter
}

func (s *Server) sealToken(t pageToken) string {
	b, err := json.Marshal(sealedToken{t.after, t.stream, t.issued, t.born, t.filter})
	if err != nil {
		return "" // strings and numbers always encode
	}
	return base64.StdEncoding.EncodeToString(append(b, s.checksum(b)...))
}

// openToken reads a token; ok is false if it is not one of this server.
func (s *Server) openToken(text string) (t pageToken, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) < iteratorSum {
		return t, false
	}
	body, sum := b[:len(b)-iteratorSum], b[len(b)-iteratorSum:]
	var w sealedToken
	if !hmac.Equal(sum, s.checksum(body)) || json.Unmarshal(body, &w) != nil {
		return t, false
	}
	return pageToken{w.After, w.Issued, w.Stream, w.Born, w.Filter}, true
}

// listShardsInput is ListShards.
type listShardsInput struct {
	address
	NextToken               string
	ExclusiveStartShardId   string
	MaxResults              *int
	StreamCreationTimestamp *timestamp
	ShardFilter             *shardFilter

	token pageToken
	valid bool
}

// shardFilter selects shards by when they were open.
type shardFilter struct {
	Type      string
	ShardId   string
	Timestamp *timestamp
}

type listShardsOutput struct {
	NextToken string `json:",omitempty"`
	Shards    []shardJSON
}

func (in *listShardsInput) describe(s *Server, c *Call, _ bool) {
	c.Stream = in.nameOf()
	if in.NextToken == "" {
		return
	}
	if in.token, in.valid = s.openToken(in.NextToken); in.valid {
		c.Stream = in.token.stream
	}
}

func (in *listShardsInput) run(r *request) (any, *Error) {
	limit := 1000
	if in.MaxResults != nil {
		if *in.MaxResults < 1 || *in.MaxResults > 10_000 {
			return nil, invalid("maxResults", strconv.Itoa(*in.MaxResults), "have value between 1 and 10000")
		}
		limit = min(limit, *in.MaxResults)
	}
	if err := in.resume(r); err != nil {
		return nil, err
	}
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	if err := in.ShardFilter.check(r.now); err != nil {
		return nil, err
	}
	if in.StreamCreationTimestamp != nil && int64(*in.StreamCreationTimestamp) != st.created {
		return nil, notFound("Stream %s under account %s with that creation time not found.", st.name, r.srv.cfg.Account)
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.status == statusCreating {
		return nil, inUse("Stream %s under account %s is in state CREATING.", st.name, r.srv.cfg.Account)
	}
	return in.list(r, st, limit), nil
}

// resume replaces the request by what its NextToken stands for.
func (in *listShardsInput) resume(r *request) *Error {
	if in.NextToken == "" {
		return nil
	}
	if in.nameOf() != "" || in.ExclusiveStartShardId != "" || in.StreamCreationTimestamp != nil || in.ShardFilter != nil {
		return invalidArgument("NextToken and StreamName, StreamARN, StreamCreationTimestamp, ExclusiveStartShardId or ShardFilter cannot be provided together.")
	}
	if !in.valid || in.token.stream == "" {
		return invalidArgument("NextToken is invalid.")
	}
	if r.now-in.token.issued > tokenLife.Milliseconds() {
		return clientError("ExpiredNextTokenException", "NextToken has expired: it is older than %d seconds.", int(tokenLife.Seconds()))
	}
	in.StreamName, in.ExclusiveStartShardId, in.ShardFilter = in.token.stream, in.token.after, in.token.filter
	in.StreamCreationTimestamp = (*timestamp)(&in.token.born)
	return nil
}

// list takes one page. The caller holds the stream's lock.
func (in *listShardsInput) list(r *request, st *Stream, limit int) *listShardsOutput {
	out := &listShardsOutput{Shards: []shardJSON{}}
	for _, sh := range st.shards {
		sh.mu.Lock()
		sh.trim(st.horizon(r.now)) // what nobody reads must not stay for ever
		sh.mu.Unlock()
		if sh.id <= in.ExclusiveStartShardId || st.hasExpired(sh, r.now) || !in.ShardFilter.selects(st, sh, r.now) {
			continue
		}
		if len(out.Shards) == limit {
			out.NextToken = r.srv.sealToken(pageToken{
				after: out.Shards[limit-1].ShardId, issued: r.now,
				stream: st.name, born: st.created, filter: in.ShardFilter,
			})
			break
		}
		out.Shards = append(out.Shards, sh.describe())
	}
	return out
}

// check holds the rules about a filter; nil is one that selects all.
func (f *shardFilter) check(now int64) *Error {
	if f == nil {
		return nil
	}
	switch f.Type {
	case "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST":
		if f.ShardId != "" || f.Timestamp != nil {
			return invalidArgument("ShardFilter of type %s takes neither ShardId nor Timestamp.", f.Type)
		}
	case "AFTER_SHARD_ID":
		if f.ShardId == "" || f.Timestamp != nil {
			return invalidArgument("ShardFilter of type %s takes a ShardId and no Timestamp.", f.Type)
		}
	case "AT_TIMESTAMP", "FROM_TIMESTAMP":
		if f.Timestamp == nil || f.ShardId != "" {
			return invalidArgument("ShardFilter of type %s takes a Timestamp and no ShardId.", f.Type)
		}
		if int64(*f.Timestamp) > now {
			return invalidArgument("The Timestamp of the ShardFilter cannot be in the future.")
		}
	default:
		return invalid("shardFilter.type", f.Type,
			"satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, AT_TIMESTAMP, FROM_TIMESTAMP]")
	}
	return nil
}

// selects says whether a shard that has not expired passes. The caller holds the stream's
// lock.
func (f *shardFilter) selects(st *Stream, sh *shard, now int64) bool {
	if f == nil {
		return true
	}
	switch f.Type {
	case "AT_LATEST":
		return !sh.closed
	case "AT_TRIM_HORIZON":
		// Open at the horizon are those of which no parent is left to read.
		for _, p := range sh.parents {
			if !st.hasExpired(p, now) {
				return false
			}
		}
		return true
	case "AFTER_SHARD_ID":
		return sh.id > f.ShardId
	case "AT_TIMESTAMP":
		at := int64(*f.Timestamp)
		return sh.createdMs <= at && (!sh.closed || sh.closedMs >= at)
	case "FROM_TIMESTAMP":
		return !sh.closed || sh.closedMs >= int64(*f.Timestamp)
	}
	return true
}
