package report

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// Schema names the form of a Report. A field may be added under the same name; one that
// goes or changes its meaning gives a new one.
const Schema = "bridge.report/v1"

// A Report is everything that is known about one verification of one workflow. Its lists
// are never nil.
type Report struct {
	Schema   string `json:"schema"`
	ID       string `json:"id"`
	Workflow string `json:"workflow"`
	// Tool is the program that made the report, with its version and revision.
	Tool string `json:"tool"`
	// Config and Plan are "sha256:" and the digest of the configuration and of the plan
	// that were in force; empty if there was none.
	Config string `json:"config"`
	Plan   string `json:"plan"`
	Keymap string `json:"keymap"`

	Direction string `json:"direction"` // kinesis-to-kafka or kafka-to-kinesis

	Verdict verify.Verdict `json:"verdict"`
	// Reasons says in sentences why the verdict is not consistent.
	Reasons  []string `json:"reasons"`
	ExitCode int      `json:"exit_code"` // 0, 5 or 6, as bridge verify run ended

	CreatedAt time.Time `json:"created_at"`
	// ValidUntil: nobody should act on the verdict after this time.
	ValidUntil time.Time `json:"valid_until"`

	Run       Run              `json:"run"`
	Scope     verify.Scope     `json:"scope"`
	Fence     verify.Fence     `json:"fence"`
	Coverage  verify.Coverage  `json:"coverage"`
	Totals    verify.Totals    `json:"totals"`
	Findings  verify.Findings  `json:"findings"`
	Order     verify.Order     `json:"order"`
	Algorithm verify.Algorithm `json:"algorithm"`
	Targets   []verify.Range   `json:"targets"`
	Through   []verify.Through `json:"verified_through"`
	Samples   []Sample         `json:"samples"`
	// KeysRevealed: keys were named on request and stand in the samples in clear.
	KeysRevealed bool `json:"keys_revealed"`

	DeadLetters  DeadLetters   `json:"dead_letters"`
	Mirror       Mirror        `json:"mirror"`
	Translations []Translation `json:"translations"`
	Rollback     Rollback      `json:"rollback"`
	Gates        []Gate        `json:"gates"`
	Waivers      []Waiver      `json:"waivers"`
	// Remarks must be known by whoever signs: an endpoint that is not AWS's own, a mirror
	// that ran without a fence, tuned decoders.
	Remarks []string `json:"remarks"`

	Windows []verify.Window `json:"windows"`

	Manifest  []Part     `json:"manifest"`
	Root      string     `json:"root"` // "sha256:" and the digest over the manifest
	Approvals []Approval `json:"approvals"`
}

// A Run says which verification it was.
type Run struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`  // once, quick, final or continuous
	Mode       string    `json:"mode"`  // coordinate or content
	State      string    `json:"state"` // running, stopped or done
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	// Root is the run's own digest over its windows.
	Root string `json:"root"`
}

// A Sample is one finding, with the key's name if it was revealed.
type Sample struct {
	verify.Finding
	// Name is the key in clear, as Go quotes it; only if keys were revealed.
	Name string `json:"name,omitempty"`
}

// DeadLetters says where records went that the target could not take.
type DeadLetters struct {
	Place  string `json:"place"` // as configured; empty if there is none
	Policy string `json:"policy"`
}

// A Mirror is the mirror's own account. It is shown beside the verdict and is no part of
// its proof.
type Mirror struct {
	Known        bool          `json:"known"` // false: nobody could be asked
	Phase        string        `json:"phase"`
	Counts       bridge.Counts `json:"counts"`
	Balanced     bool          `json:"balanced"`
	CheckpointAt time.Time     `json:"checkpoint_at,omitzero"`
	Fenced       bool          `json:"fenced"`
	// Unfenced says why a second mirror could have appended; empty if Fenced.
	Unfenced string `json:"unfenced_reason,omitempty"`
	// LagSeconds is that of the partition furthest behind; nil if it is not known.
	LagSeconds *float64 `json:"lag_seconds"`
}

// A Translation is one consumer whose positions were carried over to the other side, or
// planned to be.
type Translation struct {
	Consumer string `json:"consumer"`
	// From and To say where the consumer reads before and after.
	From string `json:"from"`
	To   string `json:"to"`
	// Status is how far it is: planned, applying, applied, undoing or undone.
	Status string    `json:"status"`
	Plan   string    `json:"plan"` // the hash of the plan
	At     time.Time `json:"at"`   // when it was made
	// Exact: every position is certain, and Replayed is the number and not the least one.
	Exact bool `json:"exact"`
	// Replayed is how many records the consumer gets that it has consumed before.
	Replayed int64 `json:"replayed"`
	// Unconsumed is how many dead letters it has not consumed and does not find on the
	// other side.
	Unconsumed int64  `json:"unconsumed_dead_letters"`
	Reason     string `json:"reason,omitempty"` // why it is not exact
}

// Rollback says whether there is a way back, and for how long.
type Rollback struct {
	Ready bool `json:"ready"`
	// HeadroomHours is what is left, when the report was made, until the source forgets the
	// first record that the run did not judge; nil if its retention is not known.
	HeadroomHours *float64 `json:"source_retention_headroom_h"`
	Reason        string   `json:"reason,omitempty"` // what there is of it, or why there is none
}

// A Gate is one condition for going on that was evaluated.
type Gate struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	// CannotTell: nobody has looked. Then Pass is false.
	CannotTell bool   `json:"cannot_tell,omitempty"`
	Value      string `json:"value"`
	Limit      string `json:"limit"`
	Data       bool   `json:"guards_data"` // it cannot be waived
	Message    string `json:"message,omitempty"`
}

// A Waiver is a refusal that somebody has lifted by name, such as that of a loss.
type Waiver struct {
	Gate   string    `json:"gate"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at,omitzero"` // zero if it is not known
}
