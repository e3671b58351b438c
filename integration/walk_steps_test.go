//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

type kinesisShard = kinesistest.ShardInfo

// A walkStep is one thing that happens. Hazard names what must have been drawn for the walk to
// take it; without one it is always possible. Alone says that it disturbs the brokers, and so
// the other walks.
type walkStep struct {
	name   string
	hazard string
	weight int
	alone  bool
	can    func(w *realWalk) bool
	do     func(w *realWalk)
}

var walkSteps = []walkStep{
	{name: "put", weight: 5, do: func(w *realWalk) { w.put(5 + w.rng.IntN(120)) }},
	{name: "wait", weight: 3, can: walkRuns, do: func(w *realWalk) { w.progresses(1 + w.rng.IntN(20)) }},
	{name: "start", weight: 6, can: walkStopped, do: (*realWalk).startMirror},
	{name: "drain", weight: 3, can: walkRuns, do: (*realWalk).drain},
	{name: "kill", hazard: "kills", weight: 3, can: walkRuns, do: (*realWalk).kill},
	{name: "pause", weight: 2, can: walkRuns, do: (*realWalk).pause},
	{name: "verify", weight: 1, can: walkBegun, do: func(w *realWalk) {
		w.verify(w.rng.IntN(3) == 0 && (w.proc != nil || w.clean)) // else it waits for a mirror
	}},
	{name: "status", weight: 1, can: walkBegun, do: (*realWalk).status},
	{name: "reshard", hazard: "reshard", weight: 3, can: func(w *realWalk) bool { return w.toKafka || w.begun }, do: (*realWalk).reshard},
	{name: "throttle", hazard: "rough", weight: 3, do: (*realWalk).throttle},
	{name: "skew", hazard: "skew", weight: 1, can: func(w *realWalk) bool { return !w.toKafka || !w.kinesis.Now().After(time.Now().Add(20*time.Minute)) }, do: (*realWalk).skew},
	{name: "cut kinesis", hazard: "cuts", weight: 2, can: walkRuns, do: (*realWalk).cutKinesis},
	{name: "cut kafka", hazard: "cuts", weight: 2, alone: true, can: walkRuns, do: (*realWalk).cutKafka},
	{name: "restart a broker", hazard: "brokers", weight: 2, alone: true, can: once("restart a broker"), do: (*realWalk).restartBroker},
	// Not of a target: what the mirror notes of one is by this machine's clock, which stands.
	{name: "age", hazard: "age", weight: 4, can: func(w *realWalk) bool {
		return w.toKafka && w.provableStart() && w.aging < agedAtMost
	}, do: (*realWalk).age},
	{name: "trim", hazard: "trim", weight: 3, can: (*realWalk).provableStart, do: (*realWalk).trim},
	{name: "recreate", hazard: "recreate", weight: 4, can: func(w *realWalk) bool { return w.sure && w.txn == nil }, do: (*realWalk).recreate},
	// Not after a kill: copies of records that were cut, and that no checkpoint covers, may then be
	// on the target under the coordinates of new ones.
	{name: "truncate", hazard: "truncate", weight: 10, alone: true, can: func(w *realWalk) bool {
		return !w.toKafka && w.txn == nil && w.sure && (w.proc != nil || w.clean) && w.done["truncate"] == 0
	}, do: (*realWalk).truncate},
	{name: "open transaction", hazard: "transactions", weight: 4, can: func(w *realWalk) bool {
		return !w.toKafka && w.txn == nil && !w.hazards["truncate"]
	}, do: (*realWalk).beginTransaction},
	{name: "end transaction", hazard: "transactions", weight: 2, can: func(w *realWalk) bool { return w.txn != nil }, do: (*realWalk).endTransaction},
}

// once is for steps that take long.
func once(name string) func(*realWalk) bool {
	return func(w *realWalk) bool { return w.done[name] == 0 }
}

func walkRuns(w *realWalk) bool    { return w.proc != nil }
func walkStopped(w *realWalk) bool { return w.proc == nil }
func walkBegun(w *realWalk) bool   { return w.begun }

// provableStart reports whether it is known what the workflow must tell: no mirror has run, or
// the checkpoints of one that stopped in order name every partition.
func (w *realWalk) provableStart() bool { return !w.begun || w.sure }

// startMirror starts a mirror that follows the source.
func (w *realWalk) startMirror() {
	w.begins()
	w.clean = false
	w.proc = w.runs()
	w.progresses(1 + w.rng.IntN(10))
}

func (w *realWalk) runs(more ...string) *child {
	c := w.start(append([]string{"mirror", "run", "--config", w.config("state"), "--progress-interval", "50ms"}, more...)...)
	w.procs = append(w.procs, c)
	w.note("mirror %d", len(w.procs))
	return c
}

// progresses waits until the mirror has said so many times how far it is, or has ended, or
// seconds have passed in which it had nothing to say.
func (w *realWalk) progresses(times int) {
	last := w.proc.last.Load()
	limit := time.After(8 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for times > 0 {
		select {
		case <-tick.C:
			if now := w.proc.last.Load(); now != last {
				last = now
				times--
			}
		case <-w.proc.done:
			return
		case <-limit:
			return
		}
	}
}

// watch notices a mirror that ended by itself.
func (w *realWalk) watch() {
	if w.proc == nil {
		return
	}
	select {
	case <-w.proc.done:
		c := w.proc
		w.proc = nil
		w.gaveUp(c)
	default:
	}
}

// drain stops the mirror as an operator does.
func (w *realWalk) drain() {
	c := w.proc
	w.proc = nil
	c.signal(syscall.SIGTERM)
	code, ok := w.ends(c, stopPatience, "a mirror that was told to stop")
	switch {
	case !ok:
	case code == 143 || code == 0:
		w.clean, w.sure = true, true
	default:
		w.gaveUp(c)
	}
}

func (w *realWalk) kill() {
	w.proc.kill()
	w.proc = nil
}

// pause stops the process for a while, in which other things happen.
func (w *realWalk) pause() {
	w.proc.signal(syscall.SIGSTOP)
	for range 1 + w.rng.IntN(3) {
		s := w.draw()
		for s.alone || !slices.Contains([]string{"put", "reshard", "throttle", "skew", "age", "trim", "open transaction", "end transaction"}, s.name) {
			s = w.draw()
		}
		w.note("while the process stands still: %s", s.name)
		w.done[s.name]++
		s.do(w)
	}
	w.proc.signal(syscall.SIGCONT)
	w.progresses(1 + w.rng.IntN(4))
}

// catchUp runs a mirror until everything is on the target. A transaction that is open holds
// it up, until somebody ends it.
func (w *realWalk) catchUp() {
	w.begins()
	w.clean = false
	c := w.runs("--until-caught-up")
	w.proc = c
	asked := time.Now()
	if w.txn != nil {
		w.progresses(40)
		select {
		case <-c.done:
			if s := w.standing(asked); c.code == 0 && s.missing > 0 {
				w.finds(silentLoss, "caught up, it says, and %d rows stand behind an open transaction", s.missing)
			}
		default:
		}
		w.endTransaction()
	}
	w.proc = nil
	code, ok := w.ends(c, runPatience, "a run until caught up")
	switch {
	case !ok:
	case code == 0:
		w.clean, w.sure, w.aged = true, true, 0
		w.judgeTarget(asked, "caught up, it says")
	default:
		w.gaveUp(c)
	}
}

// reshard splits or merges on the Kinesis side.
func (w *realWalk) reshard() {
	st := w.kinesis.Stream(w.stream)
	if st == nil {
		return // the mirror has not made it yet
	}
	var open []string
	for _, s := range st.Shards() {
		if !s.Closed {
			open = append(open, s.ID)
		}
	}
	if w.rng.IntN(2) == 0 && len(open) < 6 {
		_, _, err := st.Split(open[w.rng.IntN(len(open))], "")
		w.note("split: %v", err)
		return
	}
	for _, a := range open {
		for _, b := range open {
			if a == b {
				continue
			}
			if _, err := st.Merge(a, b); err == nil {
				w.note("merged %s and %s", a, b)
				return
			}
		}
	}
}

// throttle makes calls of Kinesis fail now and then, or no longer.
func (w *realWalk) throttle() {
	if w.kinesis.rough.Load() > 0 {
		w.kinesis.rough.Store(0)
		return
	}
	w.kinesis.rough.Store(int64(5 + w.rng.IntN(30)))
}

// skew corrects the service's clock against this machine's by some minutes.
func (w *realWalk) skew() {
	d := min(time.Duration(1+w.rng.IntN(300))*time.Second, skewedAtMost-w.skewed)
	w.skewed += d
	w.kinesis.ahead.Add(int64(d))
	w.note("by %s", d)
}

// cutKinesis cuts Kinesis off until calls have failed, or leaves calls unanswered.
func (w *realWalk) cutKinesis() {
	w.kinesis.hit.Store(0)
	if w.rng.IntN(2) == 0 {
		w.kinesis.away.Store(true)
		w.put(w.rng.IntN(50))
		w.until(&w.kinesis.hit, 1+w.rng.Int64N(20))
		w.kinesis.away.Store(false)
		return
	}
	hole := make(chan struct{})
	w.kinesis.hole.Store(&hole)
	w.put(w.rng.IntN(50))
	w.until(&w.kinesis.hit, 1+w.rng.Int64N(3))
	w.progresses(w.rng.IntN(60)) // put_timeout passes, or does not
	if w.kinesis.hole.CompareAndSwap(&hole, nil) {
		close(hole)
	}
}

// cutKafka cuts the brokers off until requests have failed, or leaves requests unanswered.
func (w *realWalk) cutKafka() {
	w.put(w.rng.IntN(50))
	var hole chan struct{}
	if w.rng.IntN(2) == 0 {
		hole = make(chan struct{})
	}
	refused := w.cluster.cut(hole)
	w.until(refused, 1+w.rng.Int64N(30))
	w.progresses(w.rng.IntN(60))
	w.cluster.mend()
	if hole != nil {
		close(hole)
	}
}

// until waits until a number is reached, or ten seconds have passed.
func (w *realWalk) until(n *atomic.Int64, least int64) {
	limit := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n.Load() < least {
		select {
		case <-tick.C:
		case <-w.proc.done:
			return
		case <-limit:
			return
		}
	}
}

// restartBroker stops one of the brokers, or kills it, and starts it again.
func (w *realWalk) restartBroker() {
	i, k := w.rng.IntN(3), w.cluster.kafka
	if w.rng.IntN(2) == 0 {
		k.Stop(i)
	} else {
		k.Kill(i)
	}
	if !w.hazards["truncate"] { // such a topic stands on two brokers, and takes what one of them has
		w.put(w.rng.IntN(50))
	}
	if err := k.Restart(w.t.Context(), i); err != nil {
		w.t.Fatal(err)
	}
	w.inSync()
}

// inSync waits until every partition has all its replicas.
func (w *realWalk) inSync() {
	adm := kadm.NewClient(dial(w.t, w.direct))
	waitForEach(w.t, "replicas in sync", 100*time.Millisecond, func() bool {
		m, err := adm.Metadata(w.t.Context())
		if err != nil {
			return false
		}
		for _, topic := range m.Topics {
			for _, p := range topic.Partitions {
				if len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
					return false
				}
			}
		}
		return true
	})
}

// age lets hours pass on the service's clock, while records come now and then.
func (w *realWalk) age() {
	d := time.Duration(1+w.rng.IntN(30))*time.Hour + time.Duration(w.rng.IntN(3600))*time.Second
	if w.rng.IntN(3) == 0 { // about as long as records are kept
		d = 24*time.Hour + time.Duration(w.rng.IntN(40)-20)*time.Minute
	}
	n := 1 + w.rng.IntN(3)
	w.note("%s pass", d)
	for range n {
		w.put(w.rng.IntN(12))
		w.kinesis.ahead.Add(int64(d) / int64(n))
	}
	w.aged += d
	w.aging += d
	if w.aged > provable && w.begun {
		w.gone = "records were not read for longer than it can be proved that they were kept"
	}
}

// trim deletes the first records of a partition of the topic.
func (w *realWalk) trim() {
	if w.toKafka && !w.begun {
		return
	}
	list := w.copies(false)
	if len(list) == 0 {
		return
	}
	at := list[w.rng.IntN(len(list))]
	var offset int64
	if _, err := fmt.Sscanf(at.Where, "partition %d offset %d", new(int), &offset); err != nil {
		w.t.Fatal(err)
	}
	w.note("deleted up to %s", at.Where)
	offsets := kadm.Offsets{}
	offsets.AddOffset(w.topic, int32(at.Partition), offset+1, -1)
	if _, err := kadm.NewClient(dial(w.t, w.direct)).DeleteRecords(w.t.Context(), offsets); err != nil {
		w.t.Fatal(err)
	}
	if !w.toKafka {
		if w.begun {
			w.gone = "the first records of the source were deleted"
		}
		return
	}
	w.hurt = "the first records of the target were deleted"
	for _, c := range list {
		var o int64
		if _, err := fmt.Sscanf(c.Where, "partition %d offset %d", new(int), &o); err != nil {
			w.t.Fatal(err)
		}
		if n := w.rowIn(c.Value); n >= 0 && c.Partition == at.Partition && o <= offset {
			w.rows[n].taken = true
		}
	}
}

// recreate deletes one side and makes it anew.
func (w *realWalk) recreate() {
	target := w.rng.IntN(2) == 0
	w.note("the target: %t", target)
	if target {
		for n := range w.onTarget() {
			if n >= 0 {
				w.rows[n].taken = true
			}
		}
		w.hurt = "the target was deleted and created again"
	} else {
		w.gone = "the source was deleted and created again"
	}
	if target == w.toKafka {
		w.recreateTopic()
	} else {
		if err := w.kinesis.drop(w.t.Context(), w.stream); err != nil {
			w.note("%v", err) // a fault of this walk hit the call
			w.kinesis.calm()
			if err := w.kinesis.drop(w.t.Context(), w.stream); err != nil {
				w.t.Fatal(err)
			}
		}
		if _, err := w.kinesis.CreateStream(w.stream, 1+w.rng.IntN(3)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.put(w.rng.IntN(30))
}

func (w *realWalk) recreateTopic() {
	adm := kadm.NewClient(dial(w.t, w.direct))
	if _, err := adm.DeleteTopics(w.t.Context(), w.topic); err != nil {
		w.t.Fatal(err)
	}
	waitFor(w.t, "deletion of the topic", func() bool {
		m, err := adm.Metadata(w.t.Context(), w.topic)
		return err == nil && m.Topics[w.topic].Err != nil
	})
	if w.hazards["truncate"] && !w.toKafka {
		uncleanTopic(w.t, w.direct, w.topic)
		return
	}
	w.makeTopic()
}

// truncate has the source's leader die while its follower lacks what was put last. The
// follower leads, and producers write on from there.
func (w *realWalk) truncate() {
	leader := w.leader()
	follower := 1 - leader // it stands on the first two brokers
	k := w.cluster.kafka
	k.Kill(follower)
	w.put(5 + w.rng.IntN(40))
	if w.proc != nil {
		w.progresses(w.rng.IntN(20))
	}
	there := w.inSource()
	k.Kill(leader)
	if err := k.Restart(w.t.Context(), follower); err != nil {
		w.t.Fatal(err)
	}
	waitForEach(w.t, "the other leader", 100*time.Millisecond, func() bool {
		return w.leader() == follower
	})
	left := w.inSource()
	cut := 0
	for _, r := range w.rows {
		if there[r.N] && !left[r.N] {
			r.cut = true
			cut++
		}
	}
	w.note("%d rows were cut from the source", cut)
	w.gone = "the source lost its last records"
	w.put(w.rng.IntN(80))
	if err := k.Restart(w.t.Context(), leader); err != nil {
		w.t.Fatal(err)
	}
	w.inSync()
	if cut == 0 {
		w.t.Errorf("seed %d: not exercised: no record was cut from the source", w.seed)
	}
}

// leader is the node that leads the only partition of the source, -1 if there is none.
func (w *realWalk) leader() int {
	m, err := kadm.NewClient(dial(w.t, w.direct)).Metadata(w.t.Context(), w.topic)
	if err != nil || len(m.Topics[w.topic].Partitions) == 0 {
		return -1
	}
	return int(m.Topics[w.topic].Partitions[0].Leader) - 1
}

// uncleanTopic makes a topic of one partition on the first two brokers that takes any leader.
func uncleanTopic(t *testing.T, brokers []string, name string) {
	t.Helper()
	one, yes := "1", "true"
	q := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	a.Partition, a.Replicas = 0, []int32{1, 2}
	topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "min.insync.replicas", Value: &one}, {Name: "unclean.leader.election.enable", Value: &yes}}
	q.Topics = append(q.Topics, topic)
	client := dial(t, brokers)
	r, err := q.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(r.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(name, err)
	}
	waitFor(t, "brokers that know the topic", func() bool {
		ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), name)
		return err == nil && ends.Error() == nil
	})
}

// beginTransaction begins one, with rows in it and others behind them.
func (w *realWalk) beginTransaction() {
	c := w.producer(kgo.TransactionalID(strings.ReplaceAll(w.topic, "walk", "producer")), kgo.TransactionTimeout(10*time.Minute))
	if err := c.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	w.txn = &openTransaction{client: c}
	for range 1 + w.rng.IntN(4) {
		r := w.newRow()
		r.pending = true
		w.txn.rows = append(w.txn.rows, r)
	}
	w.produce(c, w.txn.rows)
	w.put(w.rng.IntN(40))
}

func (w *realWalk) endTransaction() {
	commit := w.rng.IntN(3) > 0
	w.note("the transaction ends, committed: %t", commit)
	if err := w.txn.client.EndTransaction(w.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range w.txn.rows {
		r.pending, r.aborted, r.at = false, !commit, time.Now()
	}
	w.txn.client.Close()
	w.txn = nil
}
