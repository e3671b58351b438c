package report_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

var began = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

// A world is what a fixture is made from.
type world struct {
	shards  int
	hours   int // windows a shard, one an hour
	damage  int // one window in so many differs; 0 for none
	holes   int // one window in so many was not read; 0 for none
	behind  int // so many records of two shards are not mirrored
	trimmed int // one shard in so many lost its head; 0 for none
}

func seq(shard, n int) bridge.Position {
	return bridge.Position{Seq: fmt.Sprintf("4968%012d%040d", shard, n)}
}

func shard(i int) string { return fmt.Sprintf("shardId-%012d", i) }

func hexOf(parts ...any) string {
	h := sha256.Sum256(fmt.Append(nil, parts...))
	return hex.EncodeToString(h[:16])
}

// result makes a result whose figures follow from its windows. Its random numbers have
// the seed of the world.
func (w world) result() verify.Result {
	rng := rand.New(rand.NewPCG(uint64(w.shards), uint64(w.hours)))
	r := verify.Result{
		Schema: verify.Schema, Run: "7f3a", Workflow: "orders", Direction: "kinesis-to-kafka", Kind: "final",
		Mode: "coordinate", State: "done", StartedAt: began.Add(26 * time.Hour), FinishedAt: began.Add(27 * time.Hour),
		Scope: verify.Scope{
			Source:     bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/orders", Incarnation: "1769862615000"},
			Target:     bridge.Identity{Name: "kafka:PjIzoOFVQ0WVFzGfvlBPgA/orders", Incarnation: "s1pQzZ0rQ9y7wS4bYb0cXg"},
			Keymap:     "murmur2",
			Format:     "header",
			From:       "workflow-start",
			To:         "fence",
			Shards:     w.shards,
			Closed:     w.shards / 10,
			Settle:     time.Minute,
			MaxSamples: 10, TargetPartitions: 12, WindowLimit: 15 * time.Minute, ReadShare: 0.5, RecordTime: true,
			Decoders: "stock",
		},
		Fence:     verify.Fence{TakenAt: began.Add(26 * time.Hour), Watched: 10 * time.Minute},
		Order:     verify.Order{Method: "watermark per target partition and shard, with lineage", Coverage: "all", Pairs: int64(w.shards) * 12},
		Algorithm: verify.Algorithm{Digest: "SHA-256, first 128 bits, keyed", Combine: "sum modulo 2^128", FalseMatch: "2^-84"},
	}
	for s := range w.shards {
		w.shard(&r, rng, s)
	}
	w.finish(&r)
	return r
}

// shard adds the windows of one shard: born later or ended earlier than others.
func (w world) shard(r *verify.Result, rng *rand.Rand, s int) {
	from, to := 0, w.hours
	if w.shards > 1 && s%10 == 1 {
		to = w.hours * 2 / 3
	}
	if w.shards > 1 && s%10 > 7 {
		from = w.hours * 2 / 3
	}
	if w.trimmed > 0 && s%w.trimmed == 0 {
		r.Coverage.Uncovered = append(r.Coverage.Uncovered, verify.Uncovered{Side: "source", Partition: shard(s),
			Through: seq(s, (from+2)*1000), Class: verify.Unverifiable, Reason: "retention passed it before it was read"})
		r.Findings.Unverifiable++
		from += 2
	}
	for h := from; h < to; h++ {
		r.Windows = append(r.Windows, w.window(r, rng, s, h))
	}
	r.Fence.Source = append(r.Fence.Source, verify.FenceMark{Partition: shard(s), Position: seq(s, to*1000), Ended: to < w.hours})
}

func (w world) window(r *verify.Result, rng *rand.Rand, s, h int) verify.Window {
	n := int64(900 + rng.IntN(200))
	digest := hexOf(s, h)
	win := verify.Window{
		Partition: shard(s), After: seq(s, h*1000), Through: seq(s, (h+1)*1000),
		From: began.Add(time.Duration(h) * time.Hour), To: began.Add(time.Duration(h)*time.Hour + 59*time.Minute),
		Source: verify.Sum{Count: n, Bytes: n * 1024, Sum: digest}, Firsts: verify.Sum{Count: n, Bytes: n * 1024, Sum: digest},
		DeadLetters: verify.Sum{Sum: hexOf()}, Repeats: verify.Sum{Sum: hexOf()}, Cells: 1024, Verdict: verify.Consistent,
	}
	if h == 0 {
		win.After = bridge.Position{}
	}
	switch i := len(r.Windows); {
	case w.damage > 0 && i%w.damage == 0:
		win.Verdict, win.Findings = verify.Inconsistent, verify.Findings{Missing: 1, Corrupt: 1, Duplicate: 3, Rewind: 1}
		win.Firsts = verify.Sum{Count: n - 1, Bytes: (n - 1) * 1024, Sum: hexOf(s, h, "x")}
		win.Repeats, win.Drilled = verify.Sum{Count: 3, Bytes: 3072, Sum: hexOf(s, h, "r")}, 2
		r.Samples = append(r.Samples, w.samples(s, h)...)
	case w.holes > 0 && i%w.holes == 1:
		win.Verdict, win.Reason = verify.Inconclusive, "the target partition could not be read in time"
		win.Firsts = verify.Sum{Count: n, Bytes: n * 1024, Sum: hexOf()}
		r.Coverage.Uncovered = append(r.Coverage.Uncovered, verify.Uncovered{Side: "source", Partition: win.Partition,
			After: win.After, Through: win.Through, Class: verify.Unread, Reason: win.Reason})
		r.Findings.Unread += n
	}
	return win
}

func (w world) samples(s, h int) []verify.Finding {
	at := began.Add(time.Duration(h)*time.Hour + 7*time.Minute)
	return []verify.Finding{
		{Class: verify.Missing, Source: verify.Place{Partition: shard(s), Position: seq(s, h*1000+7), Time: at}, Expected: "7",
			Key: hexOf(s, h)[:16], Records: 1, First: at, Confirmed: at.Add(time.Minute)},
		{Class: verify.Corrupt, Source: verify.Place{Partition: shard(s), Position: seq(s, h*1000+9), Time: at},
			Target: verify.Place{Partition: "3", Position: bridge.OffsetPosition(int64(h*1000 + 3)), Time: at},
			Key:    hexOf(h, s)[:16], What: []string{"value", "headers"}, Records: 1, First: at, Confirmed: at.Add(time.Minute)},
		{Class: verify.Rewind, Source: verify.Place{Partition: shard(s), Position: seq(s, h*1000+11)}, Records: 3,
			Target: verify.Place{Partition: "5", Position: bridge.OffsetPosition(int64(h * 1000))}, First: at,
			Other: verify.Place{Partition: "5", Position: bridge.OffsetPosition(int64(h*1000 - 20))}, Reason: "as after a restart"},
	}
}

// finish adds up the windows and judges.
func (w world) finish(r *verify.Result) {
	t, f, c := &r.Totals, &r.Findings, &r.Coverage
	var judged int64
	for _, win := range r.Windows {
		t.SourceRecords += win.Source.Count
		t.SourceBytes += win.Source.Bytes
		t.TargetFirsts += win.Firsts.Count
		t.TargetFirstBytes += win.Firsts.Bytes
		t.Repeats += win.Repeats.Count
		f.Missing += win.Findings.Missing
		f.Corrupt += win.Findings.Corrupt
		f.Duplicate += win.Findings.Duplicate
		f.Rewind += win.Findings.Rewind
		r.Algorithm.Cells += int64(win.Cells)
		r.Algorithm.Drilled += int64(win.Drilled)
		c.Windows++
		switch win.Verdict {
		case verify.Consistent:
			c.Consistent++
			judged += win.Source.Count
		case verify.Inconsistent:
			c.Inconsistent++
			judged += win.Source.Count
		default:
			c.Inconclusive++
		}
	}
	t.Missing, t.TargetRecords = f.Missing, t.TargetFirsts+t.Repeats
	t.SourceRead, t.TargetRead = t.SourceBytes+4096, t.TargetFirstBytes+8192
	t.Balanced = t.SourceRecords == t.TargetFirsts+t.Missing
	t.Balance = fmt.Sprintf("source %d = target firsts %d + dead letters 0 + dropped 0 + missing %d", t.SourceRecords, t.TargetFirsts, t.Missing)
	c.Independent, c.Percent = 100, 100
	c.Beyond = verify.Beyond{Known: true, Count: verify.CountExact}
	if w.behind > 0 {
		c.Beyond.Records, c.Beyond.Partitions, c.Beyond.Unseen, c.Beyond.Behind = int64(w.behind), 2, 1, 90*time.Second
		for i := range 2 {
			c.Beyond.Parts = append(c.Beyond.Parts, verify.BeyondPart{Partition: shard(i), After: seq(i, 0), Last: seq(i, 9), Seen: i == 0,
				Records: int64(w.behind) / 2, Count: verify.CountExact})
		}
	}
	if open := len(c.Uncovered); open > 0 {
		c.Percent = 100 * float64(judged) / float64(t.SourceRecords+int64(open)*1000)
	}
	for p := range r.Scope.TargetPartitions {
		n := t.TargetRecords / 12
		if p == 0 {
			n += t.TargetRecords % 12
		}
		r.Targets = append(r.Targets, verify.Range{Partition: fmt.Sprint(p), From: bridge.OffsetPosition(0),
			To: bridge.OffsetPosition(max(n-1, 0)), Records: n, Bytes: n * 1024})
		r.Fence.Target = append(r.Fence.Target, verify.FenceMark{Partition: fmt.Sprint(p), Position: bridge.OffsetPosition(n - 1)})
	}
	root, err := verify.RootOf(r.Windows)
	if err != nil {
		panic(err)
	}
	r.Root = root
	switch {
	case f.Missing+f.Corrupt > 0:
		r.Verdict, r.Reasons = verify.Inconsistent, []string{fmt.Sprintf("%d records are missing", f.Missing), fmt.Sprintf("%d records are corrupt", f.Corrupt)}
	case c.Windows == 0:
		r.Verdict, r.Reasons, c.Percent = verify.Inconclusive, []string{"nothing was read"}, 0
	case w.behind > 0:
		r.Verdict, r.Reasons = verify.Inconclusive, []string{fmt.Sprintf("the source held %d records behind the scope", w.behind)}
	case len(c.Uncovered) > 0:
		r.Verdict, r.Reasons = verify.Inconclusive, []string{fmt.Sprintf("%d ranges were not judged", len(c.Uncovered))}
	default:
		r.Verdict = verify.Consistent
	}
	r.Samples = slices.Clone(r.Samples[:min(len(r.Samples), 30)])
}

func facts() report.Facts {
	lag := 0.6
	return report.Facts{
		Tool: "bridge v1.0.0 revision 0123abc go1.26.0 linux/amd64", Config: "sha256:" + hexOf("config") + hexOf(),
		Now: began.Add(28 * time.Hour),
		Mirror: report.Mirror{Known: true, Phase: "mirroring", Counts: bridge.Counts{Read: 10, Written: 9, Present: 1}, Balanced: true,
			CheckpointAt: began.Add(27 * time.Hour), Fenced: true, LagSeconds: &lag},
		Rollback: report.Rollback{Ready: true, Reason: "the source is only read: stopping the mirror leaves it as it was"}, Retention: 168 * time.Hour,
		Translations: []report.Translation{
			{Consumer: "billing", From: "application billing-app (lease table billing-app)", To: "group billing of topic orders", Status: "applied",
				Plan: "sha256:" + hexOf("plan"), At: began.Add(26 * time.Hour), Exact: true},
			{Consumer: "search", From: "application search (lease table search)", To: "group search of topic orders", Status: "planned",
				Plan: "sha256:" + hexOf("search"), At: began.Add(27 * time.Hour), Replayed: 1204, Unconsumed: 2, Reason: "2 dead letters are not consumed"},
		},
		Waivers: []report.Waiver{{Gate: "loss of timestamp", By: "accept_loss of the configuration", Reason: "the target does not keep it, and it was not compared"}},
	}
}

// The worlds that reports are made of: few and many shards, every verdict.
var (
	fine     = world{hours: 24}
	damaged  = world{hours: 24, damage: 19, holes: 23}
	doubtful = world{hours: 24, holes: 11, trimmed: 7}
)

func (w world) with(shards int) world { w.shards = shards; return w }

// small is a world that a person can read in whole.
func small(w world) world { w.hours = 4; return w.with(3) }

func reportOf(t testing.TB, w world) *report.Report {
	t.Helper()
	r, err := report.New(w.result(), facts())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
