package kinesistest

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The states, modes and strategies of a stream, in the service's words.
const (
	statusCreating = "CREATING"
	statusActive   = "ACTIVE"
	statusUpdating = "UPDATING"
	statusDeleting = "DELETING"

	// Provisioned and OnDemand are the capacity modes.
	Provisioned = "PROVISIONED"
	OnDemand    = "ON_DEMAND"

	// UserPartitionKey and Auto are the record distribution strategies.
	UserPartitionKey = "USER_PARTITION_KEY"
	Auto             = "AUTO"

	encryptionNone = "NONE"
	encryptionKMS  = "KMS"
)

const (
	minRetentionHours = 24
	maxRetentionHours = 8760
	minRecordKiB      = 1024
	maxRecordKiB      = 10240
	onDemandShards    = 4 // what a stream in on-demand mode starts with
)

// A Stream is the inside of one stream of a server: what a test looks at and damages
// without going through the service's protocol. It stays usable after the stream was
// deleted, and shows then what was there. It is safe for concurrent use.
type Stream struct {
	srv     *Server
	name    string
	created int64 // unix ms, whole seconds as the service gives them
	mark    uint8 // tells its sequence numbers from those of other streams

	due atomic.Int64 // when the first pending change is due, unix ms; 0 for never

	mu         sync.RWMutex // guards what follows; held over a whole put, so that no reshard comes in between
	mode       string
	status     string
	gone       bool
	shards     []*shard // all that ever were, by index
	open       []*shard // sorted by hash range, without holes
	retention  int      // hours
	recordKiB  int
	keyID      string // KMS key; "" while not encrypted
	strategy   string
	tags       map[string]string
	pending    []change
	countTimes []int64                      // when UpdateShardCount was called, unix ms
	modeTimes  []int64                      // when the mode was changed
	discard    func(shard string, r Record) // takes what is put, instead of storing it
	unanswered *unanswered                  // nil if nobody asks
}

// change is what an asynchronous call will have done at a time.
type change struct {
	at int64
	do func()
}

// Name is the stream's name.
func (st *Stream) Name() string { return st.name }

// ARN is the stream's Amazon resource name.
func (st *Stream) ARN() string {
	return "arn:aws:kinesis:" + st.srv.cfg.Region + ":" + st.srv.cfg.Account + ":stream/" + st.name
}

// Created is the creation time as DescribeStreamSummary tells it, in whole seconds. A
// stream that takes the name of a deleted one is always younger than that one.
func (st *Stream) Created() time.Time { return time.UnixMilli(st.created).UTC() }

// settle carries out the asynchronous changes that are due by now.
func (st *Stream) settle(now int64) {
	if due := st.due.Load(); due == 0 || now < due {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.settleLocked(now)
}

func (st *Stream) settleLocked(now int64) {
	for len(st.pending) > 0 && st.pending[0].at <= now {
		c := st.pending[0]
		st.pending = st.pending[1:]
		c.do()
	}
	if len(st.pending) == 0 {
		st.due.Store(0)
		return
	}
	st.due.Store(st.pending[0].at)
}

// later does something after the server's status delay; at once if there is none. Until
// then the stream shows the given status. The caller holds mu.
func (st *Stream) later(now int64, status string, do func()) {
	delay := st.srv.cfg.StatusDelay.Milliseconds()
	if delay <= 0 {
		do()
		return
	}
	st.status = status
	st.pending = append(st.pending, change{now + delay, do})
	st.due.Store(st.pending[0].at)
}

// populate makes n shards of equal size. The caller holds mu.
func (st *Stream) populate(now int64, n int) {
	for i := range n {
		last := maxHashKey()
		if i < n-1 {
			last = uniformStart(i+1, n).prev()
		}
		st.addShard(now, uniformStart(i, n), last, nil)
	}
	st.status = statusActive
}

// addShard opens a shard. The caller holds mu and has closed its parents.
func (st *Stream) addShard(now int64, first, last hashKey, parents []*shard) *shard {
	created := st.created / 1000
	if len(parents) > 0 {
		// Every number of the child must lie behind every number of its parents.
		created = floorSeconds(now)
		for _, p := range parents {
			created = max(created, p.createdSec+1)
		}
	}
	sh := &shard{
		index: uint32(len(st.shards)), id: shardID(uint32(len(st.shards))),
		first: first, last: last, parents: parents,
		createdSec: created, createdMs: now, mark: st.mark,
	}
	sh.store.spill = st.srv.spill
	sh.gaps.Seed(uint64(sh.index), uint64(created))
	st.shards = append(st.shards, sh)
	i := sort.Search(len(st.open), func(i int) bool { return st.open[i].first.cmp(first) > 0 })
	st.open = slices.Insert(st.open, i, sh)
	for _, p := range parents {
		p.children = append(p.children, sh)
	}
	return sh
}

// closeShard ends a shard. The caller holds mu.
func (st *Stream) closeShard(now int64, sh *shard) {
	sh.closed, sh.closedMs = true, now
	st.open = slices.DeleteFunc(st.open, func(o *shard) bool { return o == sh })
}

// shardFor is the open shard whose range holds the hash key. The caller holds mu.
func (st *Stream) shardFor(h hashKey) *shard {
	i := sort.Search(len(st.open), func(i int) bool { return st.open[i].first.cmp(h) > 0 })
	return st.open[i-1]
}

// shard finds a shard by its id; nil if it never was, or has expired. The caller holds mu.
func (st *Stream) shard(id string, now int64) *shard {
	digits, _ := strings.CutPrefix(id, "shardId-")
	index, err := strconv.Atoi(digits)
	if err != nil || index < 0 || index >= len(st.shards) {
		return nil
	}
	if sh := st.shards[index]; sh.id == id && !st.hasExpired(sh, now) {
		return sh
	}
	return nil
}

// horizon is the time before which records are gone.
func (st *Stream) horizon(now int64) int64 {
	return now - int64(st.retention)*time.Hour.Milliseconds()
}

// hasExpired says that a shard was closed before the horizon: nothing of it can be read,
// and nothing brings it back. The caller holds mu, if only for reading.
func (st *Stream) hasExpired(sh *shard, now int64) bool {
	return sh.expired || sh.closed && sh.closedMs < st.horizon(now)
}

// sweep makes final what the retention has taken, before a longer one could seem to bring
// it back. The caller holds mu.
func (st *Stream) sweep(now int64) {
	for _, sh := range st.shards {
		sh.expired = st.hasExpired(sh, now)
		sh.mu.Lock()
		sh.trim(st.horizon(now))
		sh.mu.Unlock()
	}
}

// encryption is the stream's encryption type. The caller holds mu.
func (st *Stream) encryption() string {
	if st.keyID != "" {
		return encryptionKMS
	}
	return encryptionNone
}

// tagKeys are the keys of the tags, sorted. The caller holds mu.
func (st *Stream) tagKeys() []string { return slices.Sorted(maps.Keys(st.tags)) }
