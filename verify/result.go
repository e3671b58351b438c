package verify

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Schema names the form of a Result. A field may be added under the same name; one that
// goes or changes its meaning gives a new one.
const Schema = "bridge.verify/v1"

// A Verdict is what a run ended with.
type Verdict string

// The verdicts.
const (
	// Consistent: everything in scope was read on both sides and agrees.
	Consistent Verdict = "consistent"
	// Inconsistent: at least one difference survived a second read.
	Inconsistent Verdict = "inconsistent"
	// Inconclusive: no difference was confirmed, but not everything could be judged.
	Inconclusive Verdict = "inconclusive"
)

// A Class is a kind of difference.
type Class string

// The classes. Missing, Extra, Corrupt, Reordered and Misrouted make a run inconsistent,
// Unread and Unverifiable inconclusive; Duplicate and Rewind are counted and shown, and
// make a run inconsistent only under a limit that was asked for.
const (
	// Missing: on the source, and nowhere on the target or in the dead letters.
	Missing Class = "missing"
	// Extra: on the target with a coordinate at which the source holds nothing, or with
	// none that belongs to this workflow.
	Extra Class = "extra"
	// Corrupt: the same coordinate, another content; What names what differs.
	Corrupt Class = "corrupt"
	// Duplicate: a coordinate that is there again.
	Duplicate Class = "duplicate"
	// Reordered: first occurrences of one key stand in another order than on the source.
	Reordered Class = "reordered"
	// Misrouted: in another partition than the one where its key belongs.
	Misrouted Class = "misrouted"
	// Rewind: a run of records is there again in its old order, as after a restart.
	Rewind Class = "rewind"
	// Unread: a range that should have been read and was not.
	Unread Class = "unread"
	// Unverifiable: what the judgement needed is gone: trimmed, compacted away.
	Unverifiable Class = "unverifiable"
)

// A Result is what a run found, whole: a report is rendered from it, and Totals,
// Findings, Coverage and Root can be computed from Windows again.
type Result struct {
	Schema    string `json:"schema"`
	Run       string `json:"run"` // the run's id
	Workflow  string `json:"workflow"`
	Direction string `json:"direction"` // kinesis-to-kafka or kafka-to-kinesis
	Kind      string `json:"kind"`      // once, quick, final or continuous
	Mode      string `json:"mode"`      // coordinate or content
	State     string `json:"state"`     // running, stopped or done

	Verdict Verdict `json:"verdict"`
	// Reasons says in sentences why the verdict is not consistent; empty if it is.
	Reasons []string `json:"reasons,omitempty"`

	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`

	Scope     Scope     `json:"scope"`
	Fence     Fence     `json:"fence"`
	Coverage  Coverage  `json:"coverage"`
	Totals    Totals    `json:"totals"`
	Findings  Findings  `json:"findings"`
	Order     Order     `json:"order"`
	Algorithm Algorithm `json:"algorithm"`

	// Samples holds up to Scope.MaxSamples findings of each class, in no promised order.
	Samples []Finding `json:"samples,omitempty"`
	// Windows is the ledger of the run, by source partition and then by position.
	Windows []Window `json:"windows"`
	// Targets is what was read of each target partition.
	Targets []Range `json:"targets"`
	// Through is, for a continuous run, up to where each source partition is verified.
	Through []Through `json:"verified_through,omitempty"`
	// Sweep is, for a continuous run, how far it is with reading again what it has judged.
	Sweep *Sweep `json:"sweep,omitempty"`
	// Root is "sha256:" and the digest over all Windows; see RootOf.
	Root string `json:"root"`

	open int64 // records that are not judged
}

// A Scope says what a run was asked to look at.
type Scope struct {
	Source     bridge.Identity `json:"source"`
	Target     bridge.Identity `json:"target"`
	Keymap     string          `json:"keymap"`
	Format     string          `json:"format"`     // of the target: header, raw, kpl, envelope, none
	From       string          `json:"from"`       // beginning, workflow-start, a time, or positions
	To         string          `json:"to"`         // fence, a time, or positions
	Partitions []string        `json:"partitions"` // of the source; empty means all
	Keys       int             `json:"keys"`       // how many keys were chosen; 0 means all
	// Start is when the workflow began to read: what arrived before is out of scope. Zero
	// if it read all that there was.
	Start time.Time `json:"start,omitzero"`
	// Shards counts the source partitions in scope, Closed those that ended in it,
	// TargetPartitions those of the target.
	Shards           int           `json:"shards"`
	Closed           int           `json:"shards_closed_in_scope"`
	TargetPartitions int           `json:"target_partitions"`
	Settle           time.Duration `json:"settle_ns"`
	WindowLimit      time.Duration `json:"window_ns"`
	ReadShare        float64       `json:"read_share"`
	MaxSamples       int           `json:"max_samples"`
	// RecordTime says that the record time is part of the digest.
	RecordTime bool `json:"record_time"`
	// AcceptLoss repeats what the configuration says may be lost.
	AcceptLoss []string `json:"accept_loss,omitempty"`
	// Decoders names how each side was decoded: stock or tuned.
	Decoders string `json:"decoders"`
}

// A Fence is up to where both sides are judged.
type Fence struct {
	TakenAt time.Time   `json:"taken_at,omitzero"`
	Source  []FenceMark `json:"source"`
	Target  []FenceMark `json:"target"`
	// Stragglers were found behind the fence within Watched; only a final run looks.
	Stragglers int64         `json:"stragglers_after"`
	Watched    time.Duration `json:"watched_ns"`
}

// A FenceMark is the last position judged of one partition; zero if it held nothing.
type FenceMark struct {
	Partition string          `json:"partition"`
	Position  bridge.Position `json:"position"`
	Ended     bool            `json:"ended,omitempty"`
}

// Coverage says how much of what was in scope was judged.
type Coverage struct {
	Windows      int `json:"windows"`
	Consistent   int `json:"consistent"`
	Inconsistent int `json:"inconsistent"`
	Inconclusive int `json:"inconclusive"`
	// Percent is the share of the records in scope that were judged; 100 only if it is all of
	// them, and nothing in scope is gone.
	Percent float64 `json:"percent"`
	// Independent is the share of records in scope that verify read itself from both
	// systems; 100 only if nothing in scope is gone.
	Independent float64 `json:"independent_pct"`
	// Uncovered lists every range that was not judged, with its reason.
	Uncovered []Uncovered `json:"uncovered,omitempty"`
	// Beyond is what the source held behind the scope when the run began.
	Beyond Beyond `json:"beyond,omitzero"`
	// BeforeStart counts records of the target that stood before the scope in the source.
	BeforeStart int64 `json:"target_records_before_start,omitempty"`
}

// An Uncovered is a range that could not be judged.
type Uncovered struct {
	Side      string          `json:"side"` // source, target, dead-letters or ledger
	Partition string          `json:"partition"`
	After     bridge.Position `json:"after"`
	Through   bridge.Position `json:"through"` // zero if the end is not known
	Class     Class           `json:"class"`   // unread or unverifiable
	Reason    string          `json:"reason"`
	// Records is how many records of the source in it were not judged, 0 if that is not
	// known. All others of a source range were.
	Records int64 `json:"records,omitempty"`
	// Counted says that its records are counted as findings of source ranges.
	Counted bool `json:"-"`
}

// Totals is the arithmetic. Whatever can exceed 2^53 is a string in JSON.
type Totals struct {
	SourceRecords    int64 `json:"source_records,string"`
	SourceBytes      int64 `json:"source_bytes,string"`
	TargetRecords    int64 `json:"target_records,string"` // all that was read, repeats too
	TargetFirsts     int64 `json:"target_firsts,string"`  // first occurrences
	TargetFirstBytes int64 `json:"target_first_bytes,string"`
	Repeats          int64 `json:"repeats,string"`
	DeadLetters      int64 `json:"dead_letters,string"` // coordinates, each counted once
	Dropped          int64 `json:"dropped,string"`      // declared drops
	// Foreign counts target records without provenance of this workflow.
	Foreign int64 `json:"foreign,string"`
	// Missing and Extra repeat the findings. Extra is in no other figure but TargetRecords.
	Missing int64 `json:"missing,string"`
	Extra   int64 `json:"extra,string"`
	// Balance is the sum in words and figures:
	// "source 10 = target firsts 8 + dead letters 1 + dropped 0 + missing 1".
	Balance  string `json:"balance"`
	Balanced bool   `json:"balanced"`
	// BytesRead is what was fetched from each side, drills and second reads included.
	SourceRead int64 `json:"source_bytes_read,string"`
	TargetRead int64 `json:"target_bytes_read,string"`
}

// Findings counts records by class; Rewinds counts runs, not records.
type Findings struct {
	Missing      int64 `json:"missing"`
	Extra        int64 `json:"extra"`
	Corrupt      int64 `json:"corrupt"`
	Duplicate    int64 `json:"duplicate"`
	Reordered    int64 `json:"reordered"`
	Misrouted    int64 `json:"misrouted"`
	Rewind       int64 `json:"rewind"`
	Unread       int64 `json:"unread"`
	Unverifiable int64 `json:"unverifiable"`
}

// A Finding is one difference.
type Finding struct {
	Class Class `json:"class"`
	// Source is where the record stands, or should stand, in the source.
	Source Place `json:"source,omitzero"`
	// Target is where it was found on the target, zero for a missing one.
	Target Place `json:"target,omitzero"`
	// Other is the second place: of the first copy of a duplicate, of the record that
	// overtook a reordered one.
	Other Place `json:"other,omitzero"`
	// Expected is the target partition where the key belongs, for missing and misrouted.
	Expected string `json:"expected_partition,omitempty"`
	// Key is a keyed hash of the record's key, 16 hexadecimal digits.
	Key string `json:"key,omitempty"`
	// What names what differs: key, value, headers, time, null; provenance if none of them
	// does, and yet the mirror did not write the record as it stands there.
	What []string `json:"what,omitempty"`
	// Records is how many records the finding stands for: 1, or those of a rewind.
	Records int64 `json:"records"`
	// First and Confirmed are when it was seen and when it survived the second read.
	First     time.Time `json:"first_seen"`
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Reason is a sentence for people, without keys or values.
	Reason string `json:"reason,omitempty"`

	change tally  // of what counted as a first occurrence, had it been right before
	hole   *hole  // of the target, because of which it cannot be verified
	in     string // the target partition of the hole
	forgot bool   // it cannot be verified because the ledger has forgotten entries
}

// A Place is where a record stands on one side.
type Place struct {
	Partition string          `json:"partition"`
	Position  bridge.Position `json:"position"`
	Time      time.Time       `json:"time,omitzero"`
}

// IsZero reports whether p names no place.
func (p Place) IsZero() bool { return p.Partition == "" && p.Position.IsZero() }

// Order says how order was judged, and how much of it.
type Order struct {
	Method     string `json:"method"`
	Coverage   string `json:"coverage"` // "all", or "k/16" in content mode
	Pairs      int64  `json:"pairs"`    // watermarks, or keys looked at
	Suspects   int64  `json:"suspects_drilled"`
	Violations int64  `json:"violations"`
	// Unordered counts source records whose key has no order to keep: null keys, and records
	// in a shard where their key does not belong, since their producer chose it.
	Unordered int64 `json:"unordered"`
}

// Algorithm names how contents were compared.
type Algorithm struct {
	Digest     string `json:"digest"`
	Combine    string `json:"combine"`
	Cells      int64  `json:"cells"`
	Drilled    int64  `json:"cells_drilled"`
	FalseMatch string `json:"false_match_bound"`
}

// A Range is what was read of one target or dead-letter partition.
type Range struct {
	Partition string          `json:"partition"`
	From      bridge.Position `json:"from"` // first record read
	To        bridge.Position `json:"to"`   // last one
	Records   int64           `json:"records,string"`
	Bytes     int64           `json:"bytes,string"`
}

// A Through is up to where a source partition is verified.
type Through struct {
	Partition string          `json:"partition"`
	Position  bridge.Position `json:"position"`
	Time      time.Time       `json:"time,omitzero"` // of the record there
	// Oldest is when the oldest record known behind it arrived; zero if there is none.
	Oldest time.Time `json:"oldest_unverified,omitzero"`
	// Ended: the partition gets no more records, and all of them are verified.
	Ended bool `json:"ended,omitempty"`
}

// Lag is how old the oldest record is that is not verified; zero if all are.
func (t *Through) Lag(now time.Time) time.Duration {
	if t.Oldest.IsZero() {
		return 0
	}
	return max(now.Sub(t.Oldest), 0)
}

// A Sweep is how far a continuous run is with reading again all that it has judged. What
// is lost behind the watermark is told at the end of the first round that began later.
type Sweep struct {
	Rounds  int       `json:"rounds"`            // that came to their end
	Since   time.Time `json:"since,omitzero"`    // when the last of them began
	EndedAt time.Time `json:"ended_at,omitzero"` // and when it ended
	Records int64     `json:"records,string"`    // of the source, that it read
	// BeganAt is when the round at work began; zero if there is none.
	BeganAt time.Time `json:"began_at,omitzero"`
	Found   int64     `json:"found"` // differences that no look before had shown
}

// A Window is a run of records of one source partition, behind After up to Through, and
// all that was found of them.
type Window struct {
	Partition string          `json:"partition"`
	After     bridge.Position `json:"after"`
	Through   bridge.Position `json:"through"`
	// From and To are the record times of its first and last record.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`

	Source      Sum   `json:"source"`
	Firsts      Sum   `json:"firsts"`       // first occurrences on the target
	DeadLetters Sum   `json:"dead_letters"` // first occurrences there
	Dropped     int64 `json:"dropped,omitempty"`
	Repeats     Sum   `json:"repeats"`

	Cells    int      `json:"cells"`
	Drilled  int      `json:"drilled"`
	Findings Findings `json:"findings"`
	Verdict  Verdict  `json:"verdict"`
	Reason   string   `json:"reason,omitempty"` // why it is inconclusive
}

// A Sum is a multiset of records: how many, how long, and the sum of their digests.
type Sum struct {
	Count int64  `json:"count"`
	Bytes int64  `json:"bytes"`
	Sum   string `json:"sum"` // 32 hexadecimal digits: the sum modulo 2^128
}
