package kinesistest

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"
)

// getRecordsInput is GetRecords.
type getRecordsInput struct {
	ShardIterator string
	StreamARN     string
	Limit         *int
	DryRun        bool

	it    iterator
	valid bool
}

func (in *getRecordsInput) describe(s *Server, c *Call, _ bool) {
	if in.it, in.valid = s.unseal(in.ShardIterator); in.valid {
		c.Stream, c.Shard = in.it.stream, shardID(in.it.shard)
	}
}

// check holds the rules about the request alone.
func (in *getRecordsInput) check(r *request) *Error {
	if in.Limit != nil && (*in.Limit < 1 || *in.Limit > MaxPage) {
		return invalidArgument("Limit %d is not in the range [1, %d]", *in.Limit, MaxPage)
	}
	if !in.valid || in.it.issued > r.now+time.Minute.Milliseconds() {
		return invalidArgument("Invalid ShardIterator.")
	}
	if in.StreamARN != "" {
		if err := (address{in.it.stream, in.StreamARN}).checkARN(r.srv); err != nil {
			return err
		}
	}
	if r.now-in.it.issued > iteratorLife.Milliseconds() {
		return clientError("ExpiredIteratorException",
			"Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
			serviceTime(in.it.issued), serviceTime(r.now), iteratorLife.Milliseconds())
	}
	return nil
}

func serviceTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("Mon Jan 02 15:04:05 MST 2006")
}

func (in *getRecordsInput) run(r *request) (any, *Error) {
	if err := in.check(r); err != nil {
		return nil, err
	}
	st := r.srv.stream(in.it.stream, r.now)
	if st == nil || st.created != in.it.born {
		return nil, notFound("Shard %s in stream %s under account %s does not exist", r.call.Shard, in.it.stream, r.srv.cfg.Account)
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	sh := st.shard(r.call.Shard, r.now)
	if sh == nil {
		return nil, notFound("Shard %s in stream %s under account %s does not exist", r.call.Shard, st.name, r.srv.cfg.Account)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.admitRead(r.now, r.srv.cfg.Limits) {
		return nil, &Error{400, throughputExceeded, st.rateMessage(sh)}
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return in.read(r, st, sh)
}

// read takes the next page. The caller holds the locks of stream and shard.
func (in *getRecordsInput) read(r *request, st *Stream, sh *shard) (any, *Error) {
	sh.trim(st.horizon(r.now))
	limit := MaxPage
	if in.Limit != nil {
		limit = *in.Limit
	}
	out := &getRecordsOutput{shard: sh, srv: r.srv, exponent: r.call.N%2 == 0}
	if !r.fault.Empty {
		var err error
		if out.views, out.size, err = sh.page(r.srv.page(), in.it.counter, limit); err != nil {
			return nil, InternalFailure()
		}
	}
	sh.served(out.size, r.srv.cfg.Limits)
	r.event.Served, r.event.Bytes = len(out.views), out.size
	next := in.it
	next.issued = r.now
	if n := len(out.views); n > 0 {
		next.counter = out.views[n-1].counter + 1
	}
	ahead, more := sh.peek(next.counter)
	out.behind = behind(r.now, sh, out.views, ahead, more)
	if sh.closed && !more && (len(out.views) == 0 || r.srv.cfg.EndWithRecords) {
		out.children = childrenOf(sh)
		return out, nil
	}
	out.next = r.srv.seal(next)
	return out, nil
}

// page takes records from a counter on, as many as one answer may hold. The caller holds
// mu, as for peek.
func (sh *shard) page(dst []view, from uint64, limit int) ([]view, int, error) {
	if sh.synthesis.left(from) {
		dst, size := sh.synthesis.views(dst, from, limit, MaxRequestBytes)
		return dst, size, nil
	}
	return sh.store.page(dst, sh.store.find(from), limit, MaxRequestBytes)
}

// peek is when the first record from a counter on arrived; ok is false if there is none.
func (sh *shard) peek(from uint64) (arrival int64, ok bool) {
	if sh.synthesis.left(from) {
		return sh.synthesis.arrival, true
	}
	if p := sh.store.find(from); p.block < len(sh.store.blocks) {
		return sh.store.blocks[p.block].entries[p.entry].arrival, true
	}
	return 0, false
}

// behind is MillisBehindLatest. If nothing is left it is 0, or in a closed shard the time
// since nothing more could come. Else it is how old the last record of this answer is, or
// without one the record ahead; at least 1, because it is not the tip.
func behind(now int64, sh *shard, views []view, ahead int64, more bool) int64 {
	if !more {
		if sh.closed {
			return max(0, now-sh.closedMs)
		}
		return 0
	}
	if len(views) > 0 {
		ahead = views[len(views)-1].arrival
	}
	return max(1, now-ahead)
}

// getRecordsOutput is the answer of GetRecords. Its views stay valid without any lock.
type getRecordsOutput struct {
	srv      *Server
	shard    *shard
	views    []view
	size     int
	next     string // "" for null
	behind   int64
	children []childShard
	exponent bool // write times as the service's documentation does, 1.441215410867E9
}

// page returns an empty list for views.
func (s *Server) page() []view {
	if v, ok := s.pages.Get().(*[]view); ok {
		return (*v)[:0]
	}
	return nil
}

func (o *getRecordsOutput) release() {
	clear(o.views)
	o.srv.pages.Put(&o.views)
}

func (o *getRecordsOutput) appendJSON(b []byte) []byte {
	if need := o.size*3/2 + len(o.views)*256; cap(b) < need {
		b = make([]byte, 0, need)
	}
	b = append(b, `{"MillisBehindLatest":`...)
	b = strconv.AppendInt(b, o.behind, 10)
	if o.next == "" {
		b = append(b, `,"NextShardIterator":null`...)
	} else {
		b = append(append(append(b, `,"NextShardIterator":"`...), o.next...), '"')
	}
	b = o.appendChildrenJSON(b)
	b = append(b, `,"Records":[`...)
	for i := range o.views {
		if i > 0 {
			b = append(b, ',')
		}
		b = o.appendRecordJSON(b, &o.views[i])
	}
	return append(b, `]}`...)
}

func (o *getRecordsOutput) appendRecordJSON(b []byte, v *view) []byte {
	b = append(b, `{"SequenceNumber":"`...)
	b = o.shard.sequence(v.counter, v.arrival).appendTo(b)
	b = append(b, `","ApproximateArrivalTimestamp":`...)
	if o.exponent {
		b = appendExponent(b, v.arrival)
	} else {
		b = appendSeconds(b, v.arrival)
	}
	b = append(b, `,"Data":"`...)
	b = base64.StdEncoding.AppendEncode(b, v.data)
	b = append(b, '"')
	if v.flags&flagNoKey == 0 {
		b = appendJSONString(append(b, `,"PartitionKey":`...), v.key)
	}
	if v.flags&flagKMS != 0 {
		b = append(b, `,"EncryptionType":"KMS"`...)
	}
	return append(b, '}')
}

func (o *getRecordsOutput) appendChildrenJSON(b []byte) []byte {
	if len(o.children) == 0 {
		return b
	}
	b = append(b, `,"ChildShards":[`...)
	for i, c := range o.children {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"ShardId":"`...), c.ShardId...), `","ParentShards":["`...)
		for j, p := range c.ParentShards {
			if j > 0 {
				b = append(b, `","`...)
			}
			b = append(b, p...)
		}
		b = append(append(append(b, `"],"HashKeyRange":{"StartingHashKey":"`...), c.HashKeyRange.StartingHashKey...), `","EndingHashKey":"`...)
		b = append(append(b, c.HashKeyRange.EndingHashKey...), `"}}`...)
	}
	return append(b, ']')
}

// appendExponent writes unix milliseconds as seconds in scientific notation, as Java does:
// 1.441215410867E9.
func appendExponent(b []byte, ms int64) []byte {
	var text [32]byte
	mantissa, exponent, _ := bytes.Cut(strconv.AppendFloat(text[:0], float64(ms)/1000, 'E', -1, 64), []byte("E"))
	b = append(append(b, mantissa...), 'E')
	if exponent[0] == '-' {
		b = append(b, '-')
	}
	return append(b, bytes.TrimLeft(exponent, "+-0")...)
}

func (o *getRecordsOutput) appendCBOR(b []byte) []byte {
	if need := o.size + len(o.views)*200; cap(b) < need {
		b = make([]byte, 0, need)
	}
	fields := uint64(3)
	if len(o.children) > 0 {
		fields++
	}
	b = appendCBORHead(b, cborMap, fields)
	b = appendCBORHead(appendCBORText(b, "MillisBehindLatest"), cborUint, uint64(o.behind))
	b = appendCBORText(b, "NextShardIterator")
	if o.next == "" {
		b = append(b, cborNull)
	} else {
		b = appendCBORText(b, o.next)
	}
	if len(o.children) > 0 {
		b = o.appendChildrenCBOR(b)
	}
	b = appendCBORHead(appendCBORText(b, "Records"), cborArray, uint64(len(o.views)))
	for i := range o.views {
		b = o.appendRecordCBOR(b, &o.views[i])
	}
	return b
}

func (o *getRecordsOutput) appendRecordCBOR(b []byte, v *view) []byte {
	fields := uint64(3)
	if v.flags&flagNoKey == 0 {
		fields++
	}
	if v.flags&flagKMS != 0 {
		fields++
	}
	b = appendCBORText(appendCBORHead(b, cborMap, fields), "SequenceNumber")
	b = o.shard.sequence(v.counter, v.arrival).appendTo(appendCBORHead(b, cborString, sequenceDigits))
	b = appendCBORTime(appendCBORText(b, "ApproximateArrivalTimestamp"), v.arrival)
	b = append(appendCBORHead(appendCBORText(b, "Data"), cborBytes, uint64(len(v.data))), v.data...)
	if v.flags&flagNoKey == 0 {
		b = append(appendCBORHead(appendCBORText(b, "PartitionKey"), cborString, uint64(len(v.key))), v.key...)
	}
	if v.flags&flagKMS != 0 {
		b = appendCBORText(appendCBORText(b, "EncryptionType"), encryptionKMS)
	}
	return b
}

func (o *getRecordsOutput) appendChildrenCBOR(b []byte) []byte {
	b = appendCBORHead(appendCBORText(b, "ChildShards"), cborArray, uint64(len(o.children)))
	for _, c := range o.children {
		b = appendCBORText(appendCBORText(appendCBORHead(b, cborMap, 3), "ShardId"), c.ShardId)
		b = appendCBORHead(appendCBORText(b, "ParentShards"), cborArray, uint64(len(c.ParentShards)))
		for _, p := range c.ParentShards {
			b = appendCBORText(b, p)
		}
		b = appendCBORHead(appendCBORText(b, "HashKeyRange"), cborMap, 2)
		b = appendCBORText(appendCBORText(b, "StartingHashKey"), c.HashKeyRange.StartingHashKey)
		b = appendCBORText(appendCBORText(b, "EndingHashKey"), c.HashKeyRange.EndingHashKey)
	}
	return b
}

// appendCBORTime writes a time as the service does: tag 1 around whole milliseconds.
func appendCBORTime(b []byte, ms int64) []byte {
	b = append(b, cborTag|1)
	if ms < 0 {
		return appendCBORHead(b, cborUint|1<<5, uint64(-1-ms))
	}
	return appendCBORHead(b, cborUint, uint64(ms))
}
