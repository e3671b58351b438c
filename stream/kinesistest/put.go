package kinesistest

import (
	"math/rand/v2"
	"unicode/utf8"
)

// putEntry is one record of a put, as decoded. Its bytes belong to the request.
type putEntry struct {
	key, data, hash []byte
	hasKey, hasData bool
	hasHash         bool
}

// putResult is what became of an entry: a place, or an error.
type putResult struct {
	shard    *shard
	sequence sequence
	code     string
	message  string
}

// checkEntry holds the rules that refuse a whole request because of one entry; index is -1
// for the only record of a PutRecord.
func (st *Stream) checkEntry(e *putEntry, index int) (hashKey, *Error) {
	if !e.hasData {
		return hashKey{}, invalid(memberField(index, "data"), "null", "not be null")
	}
	if !e.hasKey && st.strategy != Auto {
		return hashKey{}, invalid(memberField(index, "partitionKey"), "null", "not be null")
	}
	if n := keyLength(e.key); e.hasKey && n == 0 {
		return hashKey{}, invalid(memberField(index, "partitionKey"), "", "have length greater than or equal to 1")
	} else if n > MaxKeyChars {
		return hashKey{}, invalid(memberField(index, "partitionKey"), string(e.key), "have length less than or equal to 256")
	}
	if n := len(e.key) + len(e.data); n > st.recordKiB<<10 {
		return hashKey{}, clientError("ValidationException",
			"Record size, data and partition key, of %d bytes at '%s' exceeds the maximum of %d KiB of stream %s", n, memberField(index, "data"), st.recordKiB, st.name)
	}
	if st.strategy == Auto {
		return hashKey{}, nil
	}
	if !e.hasHash {
		return keyHash(e.key), nil
	}
	h, err := parseHashKey(string(e.hash))
	if err != nil {
		return hashKey{}, invalidArgument(
			"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", e.hash)
	}
	return h, nil
}

// keyLength is the length of a key in UTF-16 units, as the service, which is written in
// Java, counts characters.
func keyLength(key []byte) int {
	n := utf8.RuneCount(key)
	for _, c := range key {
		if c >= 0xf0 { // leads a character beyond the basic plane: two units
			n++
		}
	}
	return n
}

// place finds the shard of a record. The caller holds mu, if only for reading.
func (st *Stream) place(h hashKey, strategy string, turn int) *shard {
	if strategy == Auto {
		return st.open[turn%len(st.open)]
	}
	return st.shardFor(h)
}

// put stores one record in a shard, or refuses it because of its rates.
func (st *Stream) put(now int64, sh *shard, e *putEntry, after uint64) putResult {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.admit(now, len(e.key)+len(e.data), st.srv.cfg.Limits) {
		return putResult{shard: sh, code: throughputExceeded, message: st.rateMessage(sh)}
	}
	return st.store(now, sh, e, after)
}

// append stores one record in a shard, whatever its rates.
func (st *Stream) append(now int64, sh *shard, e *putEntry, after uint64) putResult {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return st.store(now, sh, e, after)
}

// store gives a record its number. The caller holds the shard's lock.
func (st *Stream) store(now int64, sh *shard, e *putEntry, after uint64) putResult {
	sh.trim(st.horizon(now))
	sh.counter = max(sh.counter, after)
	v := view{counter: sh.nextCounter(), arrival: now, key: e.key, data: e.data}
	if !e.hasKey {
		v.flags |= flagNoKey
	}
	if st.keyID != "" {
		v.flags |= flagKMS
	}
	if st.discard != nil {
		st.discard(sh.id, sh.record(v))
	} else {
		sh.store.append(v)
	}
	return putResult{shard: sh, sequence: sh.sequence(v.counter, now)}
}

func (st *Stream) rateMessage(sh *shard) string {
	return "Rate exceeded for shard " + sh.id + " in stream " + st.name + " under account " + st.srv.cfg.Account + "."
}

// writable refuses puts and reads while a stream is not there yet.
func (st *Stream) writable() *Error {
	if st.status == statusCreating || len(st.open) == 0 {
		return notFound("Stream %s under account %s not found.", st.name, st.srv.cfg.Account)
	}
	return nil
}

// putRecordsInput is PutRecords, decoded by hand into memory that is used again.
type putRecordsInput struct {
	address
	entries []putEntry
	count   int  // how many entries the request had; more than 500 are not kept
	listed  bool // the request has a list of records at all
	dryRun  bool
	arena   []byte
	hashes  []hashKey
	results []putResult
	order   []int
	srv     *Server
}

func (in *putRecordsInput) release() {
	srv := in.srv
	if srv == nil || cap(in.arena) > 4<<20 {
		return
	}
	clear(in.entries)
	clear(in.results)
	*in = putRecordsInput{
		entries: in.entries[:0], arena: in.arena[:0], hashes: in.hashes[:0],
		results: in.results[:0], order: in.order[:0],
	}
	srv.puts.Put(in)
}

func (in *putRecordsInput) describe(_ *Server, c *Call, entries bool) {
	c.Stream = in.nameOf()
	if !entries {
		return
	}
	c.Entries = make([]Entry, len(in.entries))
	for i := range in.entries {
		c.Entries[i] = in.entries[i].public()
	}
}

func (e *putEntry) public() Entry {
	return Entry{Key: string(e.key), ExplicitHashKey: string(e.hash), Data: e.data}
}

func (in *putRecordsInput) run(r *request) (any, *Error) {
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	if err := st.writable(); err != nil {
		return nil, err
	}
	if err := in.check(st); err != nil {
		return nil, err
	}
	if in.dryRun {
		return nil, dryRun()
	}
	if st.unanswered != nil {
		r.answering = st.unanswered.come(in.entries)
	}
	in.sequence(r.fault.Shuffle)
	in.results = append(in.results[:0], make([]putResult, len(in.entries))...)
	turn := r.call.N
	for _, i := range in.order {
		res := &in.results[i]
		e := &in.entries[i]
		sh := st.place(in.hashes[i], st.strategy, turn+i)
		if code, fail := r.fault.FailEntries[i]; fail {
			*res = st.refused(sh, code)
		} else if *res = st.put(r.now, sh, e, 0); res.code != "" {
			r.event.Throttled++
		}
		if res.code != "" {
			r.event.Failed++
			continue
		}
		r.event.Stored++
		r.event.Bytes += len(e.key) + len(e.data)
	}
	return &putRecordsOutput{results: in.results, failed: r.event.Failed, encrypted: st.keyID != ""}, nil
}

// refused is the result of an entry that a fault has chosen.
func (st *Stream) refused(sh *shard, code string) putResult {
	switch code {
	case "", throughputExceeded:
		return putResult{shard: sh, code: throughputExceeded, message: st.rateMessage(sh)}
	case internalFailure:
		return putResult{shard: sh, code: code, message: "Internal Service Failure"}
	}
	return putResult{shard: sh, code: code, message: code}
}

// sequence fills order with the order of storing.
func (in *putRecordsInput) sequence(seed uint64) {
	in.order = in.order[:0]
	for i := range in.entries {
		in.order = append(in.order, i)
	}
	if seed != 0 {
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(in.order), func(i, j int) {
			in.order[i], in.order[j] = in.order[j], in.order[i]
		})
	}
}

// check holds the rules that refuse the request as a whole, and finds the hash keys. The
// caller holds the stream's lock.
func (in *putRecordsInput) check(st *Stream) *Error {
	switch {
	case !in.listed:
		return invalid("records", "null", "not be null")
	case in.count == 0:
		return invalid("records", "[]", "have length greater than or equal to 1")
	case in.count > MaxRecords:
		return invalid("records", "[...]", "have length less than or equal to 500")
	}
	total := 0
	in.hashes = in.hashes[:0]
	for i := range in.entries {
		e := &in.entries[i]
		h, err := st.checkEntry(e, i)
		if err != nil {
			return err
		}
		in.hashes = append(in.hashes, h)
		total += len(e.key) + len(e.data)
	}
	if total > MaxRequestBytes {
		return invalidArgument("Records size exceeds 10 MiB limit")
	}
	return nil
}

func dryRun() *Error {
	return &Error{400, "DryRunOperationException", "Request would have succeeded, but DryRun flag is set."}
}

// putRecordInput is PutRecord.
type putRecordInput struct {
	address
	Data                      []byte
	PartitionKey              *string
	ExplicitHashKey           *string
	SequenceNumberForOrdering string
	DryRun                    bool
}

func (in *putRecordInput) entry() putEntry {
	e := putEntry{data: in.Data, hasData: in.Data != nil}
	if in.PartitionKey != nil {
		e.key, e.hasKey = []byte(*in.PartitionKey), true
	}
	if in.ExplicitHashKey != nil {
		e.hash, e.hasHash = []byte(*in.ExplicitHashKey), true
	}
	return e
}

func (in *putRecordInput) describe(_ *Server, c *Call, entries bool) {
	c.Stream = in.nameOf()
	if entries {
		e := in.entry()
		c.Entries = []Entry{e.public()}
	}
}

type putRecordOutput struct {
	ShardId        string
	SequenceNumber string
	EncryptionType string `json:",omitempty"`
}

func (in *putRecordInput) run(r *request) (any, *Error) {
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	if err := st.writable(); err != nil {
		return nil, err
	}
	e := in.entry()
	h, err := st.checkEntry(&e, -1)
	if err != nil {
		return nil, err
	}
	sh := st.place(h, st.strategy, r.call.N)
	after, err := in.ordering(st, sh)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	res := st.put(r.now, sh, &e, after)
	if res.code != "" {
		return nil, &Error{400, res.code, res.message}
	}
	r.call.Shard = sh.id
	r.event.Stored, r.event.Bytes = 1, len(e.key)+len(e.data)
	out := &putRecordOutput{ShardId: sh.id, SequenceNumber: res.sequence.String()}
	if st.keyID != "" {
		out.EncryptionType = encryptionKMS
	}
	return out, nil
}

// ordering is the counter that SequenceNumberForOrdering asks to stay behind. A number of
// another shard asks for nothing: its records are before or beside ours.
func (in *putRecordInput) ordering(st *Stream, sh *shard) (uint64, *Error) {
	if in.SequenceNumberForOrdering == "" {
		return 0, nil
	}
	if st.strategy == Auto {
		return 0, invalidArgument("SequenceNumberForOrdering cannot be used with the record distribution strategy AUTO")
	}
	seq, err := parseSequence(in.SequenceNumberForOrdering)
	if err == nil && int(seq.shard) < len(st.shards) && st.shards[seq.shard].issued(seq) {
		from := st.shards[seq.shard]
		from.mu.Lock()
		defer from.mu.Unlock()
		if seq.counter <= from.counter {
			if from == sh {
				return seq.counter, nil
			}
			return 0, nil
		}
	}
	return 0, invalidArgument("ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
		in.SequenceNumberForOrdering, st.name, st.srv.cfg.Account)
}
