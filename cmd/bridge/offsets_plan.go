package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// plan finds where the consumer goes on. It changes nothing.
func (r *relocation) plan(ctx context.Context) (*move, error) {
	m := &move{Schema: moveSchema, Workflow: r.workflow.Name, Consumer: r.consumer.Name, Way: r.way(), Made: time.Now().UTC().Truncate(time.Second)}
	lease := fmt.Sprintf("application %s (lease table %s)", r.consumer.KCLApplication, r.consumer.table())
	group := fmt.Sprintf("group %s of topic %s", r.consumer.Group, r.topic.Name)
	// What the consumer has not consumed by now and is not on the target by now will be
	// behind every position: so the checkpoint is read before the target's ends when the
	// mirror's progress bounds the plan, and the order does not matter otherwise.
	t, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := r.table.Read(ctx)
	if err != nil {
		return nil, err
	}
	g, err := r.readGroup(ctx, r.consumer.Group)
	if err != nil {
		return nil, err
	}
	if m.Way == kclToGroup {
		m.From, m.To = lease, group
		err = r.toGroup(ctx, m, t, snapshot, g)
	} else {
		m.From, m.To = group, lease
		err = r.toKCL(ctx, m, t, snapshot, g)
	}
	if err != nil {
		return nil, err
	}
	if err := r.judgeStores(ctx, m); err != nil {
		return nil, err
	}
	m.Plan.Problems = slices.DeleteFunc(m.Plan.Problems, r.accepted)
	return m, nil
}

// accepted reports whether a problem was accepted by a flag.
func (r *relocation) accepted(p positions.Problem) bool {
	switch p.Kind {
	case positions.DeadLettered:
		return r.options.AcceptDeadLetters
	case positions.Rewind:
		return r.options.AllowRewind
	case positions.OutOfRange:
		return r.options.AcceptOutOfRange
	}
	return false
}

// toGroup translates a lease table into offsets.
func (r *relocation) toGroup(ctx context.Context, m *move, t trail, s *leasetable.Snapshot, g kafkastream.Group) error {
	if len(s.Items) == 0 {
		return gateRefused(bridge.WithHint(fmt.Errorf("lease table %s holds no lease of the stream", r.consumer.table()), "check kcl_application, lease_table and dialect of consumer "+r.consumer.Name))
	}
	shards, err := r.kinesis.Partitions(ctx)
	if err != nil {
		return err
	}
	consumed, problems, err := r.leased(ctx, t, s.Leases(), shards)
	if err != nil {
		return err
	}
	if m.Plan, err = r.translate(ctx, t, consumed, r.topicPartitions()); err != nil {
		return err
	}
	m.Left.Leases, m.Old, m.Cut = s.Leases(), frontierLines(consumed), cutOf(consumed)
	m.Plan.Problems = append(problems, m.Plan.Problems...)
	if r.options.Back {
		extents, err := r.kafka.Extents(ctx, r.topic)
		if err != nil {
			return err
		}
		m.Plan.Problems = append(m.Plan.Problems, arriveOnTopic(m.Plan.Lines, extents)...)
	} else if err := r.beforeStart(ctx, m, consumed, shards, r.saidToBeDone(s.Leases())); err != nil {
		return err
	}
	return r.setOffsets(m, g)
}

// leased says what the leases of the application mean, and what contradicts the stream.
func (r *relocation) leased(ctx context.Context, t trail, leases []positions.Lease, shards []bridge.Partition) (positions.Frontier, []positions.Problem, error) {
	app := positions.Application{Leases: leases, Shards: shards, As: r.options.LatestAs, Missing: r.options.Missing}
	e := positions.Evidence{Shards: shards}
	if r.Config.Direction == kinesisToKafka {
		app.Rows, app.Seen = t.checkpoint.Rows, sourcesOf(t.index)
		e.Rows = app.Rows
	} else {
		app.Seen = targetsOf(t.index)
	}
	e.Known = app.Seen
	consumed, problems, err := positions.Resolve(app)
	if err != nil {
		return nil, nil, gateRefused(bridge.WithHint(err, "check that lease table "+r.consumer.table()+" is the table of the application, and the dialect of consumer "+r.consumer.Name))
	}
	if err := r.byTime(ctx, consumed, shards); err != nil {
		return nil, nil, err
	}
	e.Refused, err = r.refusedNumbers(ctx, leases, shards)
	return consumed, append(positions.Vet(leases, consumed, e), problems...), err
}

// saidToBeDone names the shards of which the operator said that the consumer has consumed
// all that the mirror carried.
func (r *relocation) saidToBeDone(leases []positions.Lease) map[string]bool {
	out := map[string]bool{}
	for _, l := range leases {
		out[l.Shard] = r.options.LatestAs.End && (l.Checkpoint == positions.Latest || l.Checkpoint == positions.AtTimestamp)
	}
	return out
}

// translate goes with the mirror or, with --back, against it, to the given partitions of
// its source.
func (r *relocation) translate(ctx context.Context, t trail, consumed positions.Frontier, sources []bridge.Partition) (positions.Plan, error) {
	var target positions.Target
	var err error
	if r.Config.Direction == kinesisToKafka {
		target, err = r.topicTarget(ctx, t, r.options.Back)
	} else {
		target, err = r.streamTarget(ctx, t)
	}
	if err != nil {
		return positions.Plan{}, err
	}
	if r.options.Back {
		return r.back(ctx, target, consumed, sources, t)
	}
	return r.onward(ctx, target, consumed, t)
}

// setOffsets says what the group is to commit.
func (r *relocation) setOffsets(m *move, g kafkastream.Group) error {
	m.Offsets = &offsetChange{Group: g.Name, Topic: r.topic.Name, TopicID: r.topic.ID, Before: offsetsText(g.Committed), Beside: besideOf(g.Commits), After: map[string]int64{}}
	for _, line := range m.Plan.Lines {
		if !line.Known {
			continue
		}
		next, err := line.Bound.Offset()
		if err != nil {
			return err
		}
		m.Offsets.After[line.Partition] = next
		if old, ok := m.Offsets.Before[line.Partition]; ok && next < old {
			m.Plan.Problems = append(m.Plan.Problems, rewind("group "+g.Name+": partition "+line.Partition, strconv.FormatInt(old, 10), strconv.FormatInt(next, 10)))
		}
	}
	return nil
}

// toKCL translates offsets into a lease table.
func (r *relocation) toKCL(ctx context.Context, m *move, t trail, s *leasetable.Snapshot, g kafkastream.Group) error {
	consumed, problems := r.committed(g)
	shards, err := r.kinesis.Partitions(ctx)
	if err != nil {
		return err
	}
	extents, err := r.kafka.Extents(ctx, r.topic)
	if err != nil {
		return err
	}
	problems = append(vetOffsets(g, extents), problems...)
	if m.Plan, err = r.translate(ctx, t, consumed, shards); err != nil {
		return err
	}
	m.Left.Group, m.Old = offsetsText(g.Committed), frontierLines(consumed)
	m.Plan.Problems = append(problems, m.Plan.Problems...)
	if !r.options.Back {
		if err := r.beforeStart(ctx, m, consumed, r.topicPartitions(), nil); err != nil {
			return err
		}
	}
	gone, err := r.arriveOnStream(ctx, m.Plan.Lines, shards, t.checkpoint.Rows)
	if err != nil {
		return err
	}
	m.Plan.Problems = append(m.Plan.Problems, gone...)
	return r.setLeases(m, s, shards)
}

// setLeases says what the lease table is to hold.
func (r *relocation) setLeases(m *move, s *leasetable.Snapshot, shards []bridge.Partition) error {
	bounds := positions.Frontier{}
	for _, line := range m.Plan.Lines {
		bounds[line.Partition] = line.Bound
	}
	leases, problem, err := positions.Seeds(shards, bounds)
	if err != nil {
		return err
	}
	if problem != nil {
		m.Plan.Problems = append(m.Plan.Problems, *problem)
		return nil
	}
	for _, it := range s.Items {
		next, planned := bounds[it.Shard]
		if old, err := it.Bound(); planned && err == nil && next.Before(old) {
			m.Plan.Problems = append(m.Plan.Problems, rewind("shard "+it.Shard, old.String(), next.String()))
		}
	}
	changes, err := r.table.Changes(s, leases)
	m.Leases = &changes
	if p := r.unsaid(leases); p != nil {
		m.Plan.Problems = append(m.Plan.Problems, *p)
	}
	return gateRefused(err)
}

// unsaid is the problem of leases at the beginning of their shards in a dialect that has no
// word for that: such an application begins them where its configuration says.
func (r *relocation) unsaid(leases []positions.Lease) *positions.Problem {
	if r.consumer.Dialect != string(leasetable.VMwareGoKCL) || r.options.Missing.Start {
		return nil
	}
	i := slices.IndexFunc(leases, func(l positions.Lease) bool { return l.Checkpoint == positions.TrimHorizon })
	if i < 0 {
		return nil
	}
	return &positions.Problem{
		Kind: positions.NoPosition, Partition: leases[i].Shard,
		Text: fmt.Sprintf("shard %s is to be read from its beginning, which vmware-go-kcl cannot be told: it begins where InitialPositionInStream says, or at LATEST", leases[i].Shard),
		Hint: "set InitialPositionInStream to TRIM_HORIZON in the application, then say --missing-as start",
	}
}

func rewind(what, old, next string) positions.Problem {
	return positions.Problem{
		Kind: positions.Rewind, Text: fmt.Sprintf("%s would go back, from %s to %s", what, old, next),
		Hint: "if the consumer may get these records again, say --allow-rewind",
	}
}

func (r *relocation) onward(ctx context.Context, target positions.Target, consumed positions.Frontier, t trail) (positions.Plan, error) {
	f := positions.Forward{
		Target: target, Consumed: consumed, Rows: t.checkpoint.Rows, DeadLetters: t.letters,
		LatestValueOnly: r.options.LatestValueOnly, CountLimit: r.options.CountLimit,
	}
	r.announce(f.Target, f.Starts())
	return positions.Onward(ctx, f)
}

func (r *relocation) back(ctx context.Context, target positions.Target, consumed positions.Frontier, sources []bridge.Partition, t trail) (positions.Plan, error) {
	b := positions.Backward{
		Target: target, Consumed: consumed, Sources: sources, Rows: t.checkpoint.Rows, DeadLetters: t.letters,
		LatestValueOnly: r.options.LatestValueOnly, CountLimit: r.options.CountLimit,
	}
	from := map[string]bridge.Position{}
	if len(target.Index) > 0 {
		for p, c := range consumed {
			from[p] = c.At
		}
	}
	r.announce(b.Target, from)
	return positions.Back(ctx, b)
}

// manyRecords is how many records are read without a word.
const manyRecords = 100_000

// announce says how much there is to read before it is read, if the target counts.
func (r *relocation) announce(t positions.Target, from map[string]bridge.Position) {
	if t.Keyed {
		return
	}
	most := int64(0)
	for _, x := range t.Extents {
		end, err1 := x.Through.Offset()
		begin, err2 := from[x.Partition].Offset()
		if err1 == nil && err2 == nil && end > begin {
			most += end - begin
		}
	}
	if most > manyRecords {
		r.Log.Info("reads the target to find positions and to count what comes again", "records_at_most", most, "index_entries", len(t.Index))
	}
}

// committed are the bounds of a group. A partition without an offset is a problem, unless
// the flag says that nothing of it is consumed.
func (r *relocation) committed(g kafkastream.Group) (positions.Frontier, []positions.Problem) {
	out := positions.Frontier{}
	var missing []string
	for _, p := range r.topicPartitions() {
		n, _ := strconv.Atoi(p.ID)
		offset, ok := g.Committed[int32(n)]
		if !ok {
			missing = append(missing, p.ID)
		}
		out[p.ID] = positions.Offset(offset)
	}
	if len(missing) == 0 || r.options.MissingOffset {
		return out, nil
	}
	return out, []positions.Problem{{
		Kind: positions.NoOffset, Partition: missing[0],
		Text: fmt.Sprintf("group %s has committed no offset for %d of %d partitions, %s first", g.Name, len(missing), r.topic.Partitions, missing[0]),
		Hint: "check the name of the group; if it has consumed nothing of them, say --missing-as start",
	}}
}

func (r *relocation) topicPartitions() []bridge.Partition {
	out := make([]bridge.Partition, r.topic.Partitions)
	for i := range out {
		out[i].ID = strconv.Itoa(i)
	}
	return out
}

// targetsOf are all target partitions that the index names.
func targetsOf(index []bridge.IndexEntry) []string {
	names := map[string]bool{}
	for _, e := range index {
		names[e.Partition] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// sourcesOf are all source partitions that the index names.
func sourcesOf(index []bridge.IndexEntry) []string {
	names := map[string]bool{}
	for _, e := range index {
		for s := range e.Below {
			names[s] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func frontierLines(f positions.Frontier) []positions.Line {
	var out []positions.Line
	for _, name := range slices.Sorted(maps.Keys(f)) {
		out = append(out, positions.Line{Partition: name, Bound: f[name], Known: true})
	}
	return out
}

func cutOf(f positions.Frontier) map[string]string {
	out := map[string]string{}
	for name, b := range f {
		if c := b.Cut(); c != "" {
			out[name] = c
		}
	}
	return out
}
