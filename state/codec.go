package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
)

// FormatVersion is the version of the stored form that Encode writes. Decode reads it
// and nothing else.
const FormatVersion = 1

// maxEncoded bounds what is read as a record; a real one is a few kilobytes, and
// DynamoDB keeps no item above 400 KiB.
const maxEncoded = 400 << 10

// frame is the stored form: one line of JSON. The sum is over everything else.
type frame struct {
	Format   int             `json:"bridge_state"`
	Workflow string          `json:"workflow"`
	Version  uint64          `json:"version"`
	Record   json.RawMessage `json:"record"`
	Sum      string          `json:"sha256"`
}

// record is a Workflow as it is stored. It is a type of its own because the key of a
// Workflow hides itself from every encoder.
type record struct {
	Direction Direction  `json:"direction"`
	Key       string     `json:"key"`
	Epoch     uint32     `json:"epoch"`
	Phase     Phase      `json:"phase"`
	Pinned    Pinned     `json:"pinned"`
	Wanted    Wanted     `json:"wanted"`
	Actual    Actual     `json:"actual"`
	Decisions []Decision `json:"decisions"`
}

// Encode returns the stored form of w as version: one line of JSON that ends in a line
// feed. It holds the workflow's key and must be kept as a secret.
func Encode(w Workflow, version uint64) ([]byte, error) {
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("encode state of workflow %q: %w: %w", w.Name, err, bridge.ErrState)
	}
	body, err := json.Marshal(record{
		Direction: w.Direction, Key: w.Key.Reveal(), Epoch: w.Epoch, Phase: w.Phase,
		Pinned: w.Pinned, Wanted: w.Wanted, Actual: w.Actual, Decisions: w.Decisions,
	})
	if err != nil {
		return nil, fmt.Errorf("encode state of workflow %q: %w", w.Name, err)
	}
	f := frame{Format: FormatVersion, Workflow: w.Name, Version: version, Record: body}
	f.Sum = f.sum()
	line, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode state of workflow %q: %w", w.Name, err)
	}
	if len(line) >= maxEncoded {
		return nil, fmt.Errorf("encode state of workflow %q: %d bytes, the limit is %d: %w", w.Name, len(line), maxEncoded, bridge.ErrState)
	}
	return append(line, '\n'), nil
}

func (f *frame) sum() string {
	h := sha256.New()
	fmt.Fprintf(h, "bridge state %d\n%q\n%d\n", f.Format, f.Workflow, f.Version)
	h.Write(f.Record)
	return hex.EncodeToString(h.Sum(nil))
}

// Decode reads the stored form of the workflow called name. It accepts exactly what
// Encode wrote: every other input wraps bridge.ErrState and carries a hint, with a
// sentence that tells damage, a newer program and another workflow apart.
func Decode(b []byte, name string) (Workflow, uint64, error) {
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return corrupt("is not one line of JSON: %v", err)
	}
	// The version is judged first: a newer program may have changed all the rest.
	if f.Format > FormatVersion {
		return newer("has format %d, this program knows format %d", f.Format, FormatVersion)
	}
	if f.Format != FormatVersion || f.Version == 0 {
		return corrupt("has format %d and version %d", f.Format, f.Version)
	}
	if f.Sum != f.sum() {
		return corrupt("does not match its checksum")
	}
	if f.Workflow != name {
		return refuse("give every workflow a name of its own, or point state at another place",
			"belongs to workflow %q, not %q", f.Workflow, name)
	}
	// Only now is it certain that a program wrote the record as it stands, so that what
	// is not understood is news and not damage.
	var r record
	if err := strict(f.Record, &r); err != nil {
		return newer("holds what this program does not know: %v", err)
	}
	return r.workflow(f, b)
}

func (r *record) workflow(f frame, b []byte) (Workflow, uint64, error) {
	key, err := bridge.ParseWorkflowKey(r.Key)
	if err != nil || key == (bridge.WorkflowKey{}) {
		return corrupt("holds no workflow key")
	}
	w := Workflow{
		Name: f.Workflow, Direction: r.Direction, Key: key, Epoch: r.Epoch, Phase: r.Phase,
		Pinned: r.Pinned, Wanted: r.Wanted, Actual: r.Actual, Decisions: r.Decisions,
	}
	if err := w.check(); err != nil {
		return newer("has an %v", err)
	}
	// The one form of a record is the one that Encode writes. Anything else passed the
	// checks above by luck, or was edited by hand.
	again, err := Encode(w, f.Version)
	if err != nil || !bytes.Equal(again, b) {
		return corrupt("is not in the form that this program writes")
	}
	return w, f.Version, nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one value")
	}
	return nil
}

// check refuses what this version cannot mean.
func (w *Workflow) check() error {
	switch {
	case w.Name == "" || !utf8.ValidString(w.Name):
		return fmt.Errorf("bad workflow name %q", w.Name)
	case w.Key == bridge.WorkflowKey{}:
		return errors.New("no workflow key")
	case !slices.Contains([]Direction{KinesisToKafka, KafkaToKinesis}, w.Direction):
		return fmt.Errorf("unknown direction %q", w.Direction)
	case !slices.Contains([]Phase{Created, Mirroring}, w.Phase):
		return fmt.Errorf("unknown phase %q", w.Phase)
	case !slices.Contains([]Mode{Running, Paused}, w.Wanted.Mode):
		return fmt.Errorf("unknown wanted mode %q", w.Wanted.Mode)
	case w.Wanted.RecordsPerSecond < 0 || w.Wanted.BytesPerSecond < 0:
		return fmt.Errorf("wanted rate below zero")
	}
	return nil
}

const (
	hintCorrupt = "restore the state from a copy; without one, begin again under another workflow name"
	hintNewer   = "use the version of bridge that wrote it, or a later one"
)

func corrupt(format string, args ...any) (Workflow, uint64, error) {
	return refuse(hintCorrupt, "is damaged: it "+format, args...)
}

func newer(format string, args ...any) (Workflow, uint64, error) {
	return refuse(hintNewer, "was written by a newer version of bridge: it "+format, args...)
}

func refuse(hint, format string, args ...any) (Workflow, uint64, error) {
	return Workflow{}, 0, bridge.WithHint(fmt.Errorf(format+": %w", append(args, bridge.ErrState)...), hint)
}
