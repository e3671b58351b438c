//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

const (
	lieKeys       = 60
	lieRows       = 10 // of each key
	liePartitions = 12 // that job configures
)

// A tampered topic is one that a mirror wrote, whose log segments are rewritten while the
// broker is stopped.
type tampered struct {
	*job
	segments []*segment
	origin   map[string]string // where the record of each value stands in the stream
	byKey    map[string][]*logged
	keys     []string // that no lie was told of, in a fixed order
	told     []string // what verify must report
	trimmed  map[int]int64
}

// next is a key that no lie was told of, with its records in order.
func (x *tampered) next() []*logged {
	for len(x.keys) > 0 {
		own := x.byKey[x.keys[0]]
		x.keys = x.keys[1:]
		if first, gone := x.trimmed[own[0].in.partition]; !gone || own[0].offset >= first {
			return own
		}
	}
	x.t.Fatal("no key is left")
	return nil
}

// neighbours are two records of different keys that stand beside each other.
func (x *tampered) neighbours() (a, b *logged) {
	for _, s := range x.segments {
		recs := s.records()
		for i := 1; i < len(recs); i++ {
			a, b = recs[i-1], recs[i]
			of := func(key string) bool { return key == string(a.key) || key == string(b.key) }
			if left := slices.DeleteFunc(slices.Clone(x.keys), of); !bytes.Equal(a.key, b.key) && len(left) == len(x.keys)-2 {
				x.keys = left
				return a, b
			}
		}
	}
	x.t.Fatal("no neighbours are left")
	return nil, nil
}

// says notes what verify must report: the class, the coordinate in the source of a record
// that was written by the mirror (nil: none), and where it stands on the target.
func (x *tampered) says(class string, of, at *logged) {
	source, target := "-", "-"
	if of != nil {
		source = x.origin[string(of.value)]
	}
	if at != nil {
		target = fmt.Sprintf("%d/%d", at.in.partition, at.offset)
	}
	x.told = append(x.told, fmt.Sprintf("%s source %s target %s", class, source, target))
}

// corrupts changes a record and notes that.
func (x *tampered) corrupts(r *logged, change func(r *logged)) {
	x.says("corrupt", r, r)
	change(r)
}

// The lies of the truth table in docs/verify.md that a topic can tell.
var lies = []struct {
	name string
	tell func(x *tampered)
}{
	{"a record is left out", func(x *tampered) {
		r := x.next()[3]
		x.says("missing", r, nil)
		r.in.remove(r)
	}},
	{"a record stands there again", func(x *tampered) {
		r := x.next()[2]
		x.says("duplicate", r, r.in.add(*r)[0])
	}},
	{"two records of a key change places", func(x *tampered) {
		own := x.next()
		a, b := own[4], own[5]
		x.says("reordered", a, b) // stands where the other one stood, which overtook it
		a.time, b.time = b.time, a.time
		a.value, b.value = b.value, a.value
		a.headers, b.headers = b.headers, a.headers
	}},
	{"two records of different keys change places", func(x *tampered) {
		a, b := x.neighbours()
		a.time, b.time = b.time, a.time
		a.key, b.key = b.key, a.key
		a.value, b.value = b.value, a.value
		a.headers, b.headers = b.headers, a.headers
	}},
	{"a bit of the value changes", func(x *tampered) {
		x.corrupts(x.next()[1], func(r *logged) { r.value = flipped(r.value) })
	}},
	{"a bit of the key changes", func(x *tampered) {
		x.corrupts(x.next()[1], func(r *logged) { r.key = flipped(r.key) })
	}},
	{"a header more", func(x *tampered) {
		x.corrupts(x.next()[1], func(r *logged) {
			r.headers = slices.Insert(slices.Clone(r.headers), 0, kmsg.Header{Key: "h", Value: []byte("1")})
		})
	}},
	{"a value becomes null", func(x *tampered) {
		x.corrupts(x.next()[1], func(r *logged) { r.value = nil })
	}},
	{"another time", func(x *tampered) {
		x.corrupts(x.next()[1], func(r *logged) { r.time++ })
	}},
	{"two contents change places under their coordinates", func(x *tampered) {
		own := x.next()
		a, b := own[6], own[7]
		x.says("corrupt", a, a)
		x.says("corrupt", b, b)
		a.value, b.value = b.value, a.value
	}},
	{"headers are shifted from record to record", func(x *tampered) {
		own := x.next()
		a, b := own[6], own[7]
		x.says("corrupt", b, a)
		x.says("corrupt", a, b)
		a.headers, b.headers = b.headers, a.headers
	}},
	{"a record without a coordinate", func(x *tampered) {
		r := *x.next()[0]
		r.value, r.headers = []byte("invented"), nil
		x.says("extra", nil, x.segments[0].add(r)[0])
	}},
	{"a copied header on a record that the mirror did not write", func(x *tampered) {
		own := x.next()
		r := *own[0]
		r.key, r.value = []byte("another key"), []byte("another value")
		x.says("extra", own[0], x.segments[1].add(r)[0])
	}},
	{"a record in a partition where its key does not belong", func(x *tampered) {
		own := x.next()
		r, to := own[8], x.segments[(own[8].in.partition+1)%len(x.segments)]
		r.in.remove(r)
		x.says("misrouted", r, to.add(*r)[0])
	}},
	{"the tail is cut", func(x *tampered) {
		r := x.next()[lieRows-1]
		for _, o := range r.in.records() {
			if o.offset >= r.offset && bytes.Equal(o.key, r.key) {
				x.says("missing", o, nil)
				r.in.remove(o)
			}
		}
	}},
}

func flipped(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// What somebody does to the log segments of a topic while its broker is stopped is reported,
// each lie at its coordinate: alone, all of them at once, and beside a partition whose head
// was deleted. Two reshards lie behind each topic.
func TestIntegrationRewrittenSegments(t *testing.T) {
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f, _, _ := prove(t, "log segments rewritten on a stopped broker", len(lies)+2, 0)
	all := func(x *tampered) {
		for _, l := range lies {
			l.tell(x)
		}
	}
	cases := map[string]func(*tampered){"all at once": all, "all at once, and a head is gone": all}
	for _, l := range lies {
		cases[l.name] = l.tell
	}
	worlds := map[string]*tampered{}
	side(t, slices.Sorted(maps.Keys(cases)), func(name string, lock *sync.Mutex) {
		x := mirroredTopic(t, k, strings.HasSuffix(name, "gone"))
		lock.Lock()
		defer lock.Unlock()
		worlds[name] = x
	})
	k.Stop(0)
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		worlds[name].open(k.DataDir(0))
		cases[name](worlds[name])
		for _, s := range worlds[name].segments {
			if err := s.write(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	side(t, slices.Sorted(maps.Keys(cases)), func(name string, _ *sync.Mutex) { worlds[name].judge(name) })
	f.runs = len(cases)
	f.print("%d lies, each named at its coordinate", len(lies))
}

// side does something for each name, four at a time.
func side(t *testing.T, names []string, do func(name string, lock *sync.Mutex)) {
	t.Helper()
	var lock sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, name := range names {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			do(name, &lock)
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// mirroredTopic makes a topic that a mirror wrote while the stream was split and merged.
func mirroredTopic(t *testing.T, k *servers.Kafka, headless bool) *tampered {
	srv := newKinesis(t, noRates)
	st, err := srv.CreateStream("orders", 2)
	if err != nil {
		t.Error(err)
		return nil
	}
	j := newJob(t, toKafka, srv, "orders", unique("tampered"))
	j.brokers = k.Brokers()
	x := &tampered{job: j, origin: map[string]string{}, byKey: map[string][]*logged{}, trimmed: map[int]int64{}}
	put := func(from, to int) {
		for i := from; i < to; i++ {
			for key := range lieKeys {
				if err := st.Put(kinesistest.Entry{Key: fmt.Sprintf("key-%02d", key), Data: fmt.Appendf(nil, "row %d of %d", i, key)}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	put(0, lieRows/3)
	low, _, err := st.Split("shardId-000000000000", "")
	if err != nil {
		t.Error(err)
		return nil
	}
	put(lieRows/3, 2*lieRows/3)
	if _, err := st.Merge(low, "shardId-000000000003"); err != nil {
		t.Error(err)
	}
	put(2*lieRows/3, lieRows)
	if c := j.mirror("state", "--until-caught-up"); c.wait(2*time.Minute) != 0 {
		t.Errorf("mirror: exit %d\n%s", c.code, c.stderr())
	}
	x.places(st)
	if headless {
		x.behead()
	}
	return x
}

// places notes where each value stands in the stream.
func (x *tampered) places(st *kinesistest.Stream) {
	for _, s := range st.Shards() {
		recs, err := st.Records(s.ID)
		if err != nil {
			x.t.Error(err)
		}
		for _, r := range recs {
			x.origin[string(r.Data)] = s.ID + "/" + r.SequenceNumber
		}
	}
}

// behead deletes the first records of the last partition.
func (x *tampered) behead() {
	const partition, first = liePartitions - 1, 9
	offsets := kadm.Offsets{}
	offsets.AddOffset(x.topic, partition, first, -1)
	if _, err := kadm.NewClient(dial(x.t, x.brokers)).DeleteRecords(x.t.Context(), offsets); err != nil {
		x.t.Error(err)
	}
	x.trimmed[partition] = first
}

// behindTheHead is what verify may say of the records that were deleted with a head: that they
// cannot be checked.
func (x *tampered) behindTheHead() (said []string) {
	for _, list := range x.byKey {
		for _, r := range list {
			if r.offset < x.trimmed[r.in.partition] {
				said = append(said, fmt.Sprintf("unverifiable source %s target -", x.origin[string(r.value)]))
			}
		}
	}
	return said
}

// open reads the segments of the topic.
func (x *tampered) open(data string) {
	for p := range liePartitions {
		s, err := openSegment(data, x.topic, p)
		if err != nil {
			x.t.Fatal(err)
		}
		x.segments = append(x.segments, s)
		for _, r := range s.records() {
			x.byKey[string(r.key)] = append(x.byKey[string(r.key)], r)
		}
	}
	x.keys = slices.Sorted(maps.Keys(x.byKey))
	for _, key := range x.keys {
		if n := len(x.byKey[key]); n != lieRows {
			x.t.Fatalf("key %s has %d records on the topic, want %d", key, n, lieRows)
		}
	}
}

// A place is where verify says that something stands.
type saidPlace struct{ Partition, Position string }

func (p saidPlace) String() string {
	if p.Partition == "" {
		return "-"
	}
	return p.Partition + "/" + strings.TrimPrefix(p.Position, "offset ")
}

// judge runs verify and compares what it reports with what was done.
func (x *tampered) judge(name string) {
	c := x.start("verify", "run", "--config", x.config("state"), "--settle", "1s")
	code := c.wait(3 * time.Minute)
	var v struct {
		Result struct {
			Verdict string
			Samples []struct {
				Class          string
				Source, Target saidPlace
			}
		}
	}
	if err := json.Unmarshal(c.out.Bytes(), &v); err != nil {
		x.t.Errorf("%s: %v\n%s", name, err, c.stderr())
		return
	}
	var said []string
	damage := false
	for _, s := range v.Result.Samples {
		said = append(said, fmt.Sprintf("%s source %s target %s", s.Class, s.Source, s.Target))
	}
	for _, s := range x.told {
		damage = damage || !strings.HasPrefix(s, "duplicate")
		if !slices.Contains(said, s) {
			x.t.Errorf("%s: not reported: %s", name, s)
		}
	}
	gone := x.behindTheHead()
	for _, s := range said {
		if !slices.Contains(x.told, s) && !slices.Contains(gone, s) {
			x.t.Errorf("%s: not true: %s", name, s)
		}
	}
	if want := map[bool]int{true: 5, false: 0}[damage]; code != want {
		x.t.Errorf("%s: exit %d, want %d: %s\n%s", name, code, want, v.Result.Verdict, c.out.String())
	}
}
