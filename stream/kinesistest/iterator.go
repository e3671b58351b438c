package kinesistest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// iterator is what a shard iterator stands for. The service's own are opaque too.
type iterator struct {
	stream  string
	born    int64 // creation time of the stream: a recreated one is another
	shard   uint32
	counter uint64 // of the first record that it may answer
	issued  int64  // unix ms
}

const (
	// iteratorLife is how long an iterator may wait for its GetRecords.
	iteratorLife = 5 * time.Minute
	// iteratorHead is the size of the fixed part, iteratorSum that of the checksum.
	iteratorHead = 8 + 8 + 8 + 4 + 8 + 1
	iteratorSum  = 16
	// iteratorSize pads short names, so that iterators are as long as the service's.
	iteratorSize = 140
)

// seal makes the text of an iterator. It is only good on this server.
func (s *Server) seal(it iterator) string {
	b := make([]byte, iteratorHead, iteratorSize+len(it.stream))
	b[7] = 1
	binary.BigEndian.PutUint64(b[8:], uint64(it.issued))
	binary.BigEndian.PutUint64(b[16:], uint64(it.born))
	binary.BigEndian.PutUint32(b[24:], it.shard)
	binary.BigEndian.PutUint64(b[28:], it.counter)
	b[36] = byte(len(it.stream))
	b = append(b, it.stream...)
	for len(b) < iteratorSize-iteratorSum {
		b = append(b, 0)
	}
	return base64.StdEncoding.EncodeToString(append(b, s.checksum(b)...))
}

// unseal reads the text of an iterator; ok is false if it is not one of this server.
func (s *Server) unseal(text string) (it iterator, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) < iteratorSize {
		return it, false
	}
	body, sum := b[:len(b)-iteratorSum], b[len(b)-iteratorSum:]
	if !hmac.Equal(sum, s.checksum(body)) {
		return it, false
	}
	return iterator{
		issued:  int64(binary.BigEndian.Uint64(body[8:])),
		born:    int64(binary.BigEndian.Uint64(body[16:])),
		shard:   binary.BigEndian.Uint32(body[24:]),
		counter: binary.BigEndian.Uint64(body[28:]),
		stream:  string(body[iteratorHead : iteratorHead+int(body[36])]),
	}, true
}

func (s *Server) checksum(b []byte) []byte {
	mac := hmac.New(sha256.New, s.secret[:])
	mac.Write(b)
	return mac.Sum(nil)[:iteratorSum]
}

// getShardIteratorInput is GetShardIterator.
type getShardIteratorInput struct {
	address
	ShardId                string
	ShardIteratorType      string
	StartingSequenceNumber string
	Timestamp              *timestamp
	DryRun                 bool
}

type getShardIteratorOutput struct{ ShardIterator string }

func (in *getShardIteratorInput) describe(_ *Server, c *Call, _ bool) {
	c.Stream, c.Shard = in.nameOf(), in.ShardId
}

func (in *getShardIteratorInput) run(r *request) (any, *Error) {
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	if err := st.writable(); err != nil {
		return nil, err
	}
	sh := st.shard(in.ShardId, r.now)
	if sh == nil {
		return nil, notFound("Shard %s in stream %s under account %s does not exist", in.ShardId, st.name, r.srv.cfg.Account)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.admitIterator(r.now, r.srv.cfg.Limits) {
		return nil, &Error{400, throughputExceeded, st.rateMessage(sh)}
	}
	sh.trim(st.horizon(r.now))
	counter, err := in.position(r, st, sh)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return &getShardIteratorOutput{r.srv.seal(iterator{st.name, st.created, sh.index, counter, r.now})}, nil
}

// position finds the counter of the first record that the iterator may answer. The caller
// holds the shard's lock.
func (in *getShardIteratorInput) position(r *request, st *Stream, sh *shard) (uint64, *Error) {
	kind := in.ShardIteratorType
	switch kind {
	case "TRIM_HORIZON", "LATEST":
		if in.StartingSequenceNumber != "" {
			return 0, in.mismatch("also a StartingSequenceNumber")
		}
		if kind == "LATEST" {
			return sh.counter + 1, nil
		}
		return 0, nil
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		if in.StartingSequenceNumber == "" {
			return 0, in.mismatch("no StartingSequenceNumber")
		}
		return in.sequencePosition(st, sh)
	case "AT_TIMESTAMP":
		if in.Timestamp == nil {
			return 0, invalidArgument("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
		}
		at := int64(*in.Timestamp)
		if at > r.now {
			return 0, invalidArgument("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", at, r.now)
		}
		if counter, ok := sh.synthesis.firstAt(at); ok {
			return counter, nil
		}
		if counter, ok := sh.store.firstAt(at); ok {
			return counter, nil
		}
		return sh.counter + 1, nil
	}
	return 0, invalid("shardIteratorType", kind,
		"satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]")
}

func (in *getShardIteratorInput) mismatch(what string) *Error {
	return invalidArgument("Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "+
		"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified %s and %s.", in.ShardIteratorType, what)
}

// sequencePosition checks that a number is of this very shard. One that was trimmed is
// good, and stands for the oldest record that is left: the service does not tell.
func (in *getShardIteratorInput) sequencePosition(st *Stream, sh *shard) (uint64, *Error) {
	text := in.StartingSequenceNumber
	used := "StartingSequenceNumber " + text + " used in GetShardIterator on shard " + sh.id +
		" in stream " + st.name + " under account " + st.srv.cfg.Account
	seq, err := parseSequence(text)
	if err != nil {
		return 0, invalidArgument("%s is invalid.", used)
	}
	if seq.shard != sh.index {
		return 0, invalidArgument("Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s",
			shardID(seq.shard), sh.id)
	}
	if !sh.issued(seq) {
		return 0, invalidArgument("%s is invalid because it did not come from this stream.", used)
	}
	if in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER" {
		return seq.counter + 1, nil
	}
	return seq.counter, nil
}
