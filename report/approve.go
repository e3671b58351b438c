package report

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Approval is a person's signature over the root. It covers everything in the report
// but other approvals.
type Approval struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
	// Tool is the program that signed and made the renderings with this approval in them;
	// empty in reports of earlier versions, which did not say so.
	Tool string `json:"tool,omitempty"`
	// Key is "ed25519:" and the public key in base64. It says which key signed, not whose
	// it is: that must be known from elsewhere.
	Key       string `json:"key"`
	Over      string `json:"over"` // always "root"
	Signature string `json:"signature"`
}

// ErrSignature: an approval that its key did not make over this root.
var ErrSignature = errors.New("the signature does not hold")

// ErrApprover: the name or the note of an approval cannot be stored or printed as it is.
var ErrApprover = errors.New("not a name or note for an approval")

const (
	maxApprover = 200   // bytes of a name
	maxNote     = 2_000 // bytes of a note
)

// CheckApprover wraps ErrApprover if Approve refuses this name or note: a name is missing
// or blank, one of them is too long, is not UTF-8, or holds control characters. A report
// stores JSON and prints lines; neither could keep such a text.
func CheckApprover(by, note string) error {
	if strings.TrimSpace(by) == "" {
		return fmt.Errorf("the name is empty: %w", ErrApprover)
	}
	for _, t := range []struct {
		what, text string
		most       int
	}{{"name", by, maxApprover}, {"note", note, maxNote}} {
		switch {
		case !utf8.ValidString(t.text):
			return fmt.Errorf("the %s is not UTF-8: %w", t.what, ErrApprover)
		case len(t.text) > t.most:
			return fmt.Errorf("the %s has %d bytes, more than %d: %w", t.what, len(t.text), t.most, ErrApprover)
		case strings.ContainsFunc(t.text, unprintable):
			return fmt.Errorf("the %s holds a control character: %w", t.what, ErrApprover)
		}
	}
	return nil
}

// unprintable holds for what no name needs: controls, line breaks and characters that
// change the direction of a whole line. Letters of every script are fine.
func unprintable(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
		unicode.In(r, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
}

const keyPrefix = "ed25519:"

// KeyText is how approvals name a public key.
func KeyText(k ed25519.PublicKey) string { return keyPrefix + base64.StdEncoding.EncodeToString(k) }

// Approve signs an approval, of which By, At, Note and Tool are given, and adds it. The
// report must be sealed, as New and Decode leave it. It wraps ErrApprover, and adds nothing,
// if CheckApprover refuses the name or the note.
func (r *Report) Approve(a Approval, key ed25519.PrivateKey) error {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return errors.New("an approval needs an ed25519 key")
	}
	if err := CheckApprover(a.By, a.Note); err != nil {
		return err
	}
	a.At, a.Key, a.Over = a.At.UTC().Truncate(time.Second), KeyText(public), "root"
	text, err := a.message(r.Root)
	if err != nil {
		return err
	}
	a.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, text))
	r.Approvals = append(r.Approvals, a)
	return nil
}

// RenderedBy is the program that made the other forms of the report last: the one that added
// the last approval, or else the one that made the report. It is empty if that is not known.
func (r *Report) RenderedBy() string {
	if n := len(r.Approvals); n > 0 {
		return r.Approvals[n-1].Tool
	}
	return r.Tool
}

// strict refuses a base64 text of which one character could be another.
func strict(s string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(s) }

// message is what is signed: the root, and the approval without its signature.
func (a Approval) message(root string) ([]byte, error) {
	a.Signature = ""
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode the approval of %s: %w", a.By, err)
	}
	return fmt.Appendf(nil, "%s approval\n%s\n%s\n", Schema, root, text), nil
}

// verify wraps ErrSignature if the approval is not one of root by its key.
func (a Approval) verify(root string) error {
	text, err := a.message(root)
	if err != nil {
		return err
	}
	b64, ok := strings.CutPrefix(a.Key, keyPrefix)
	public, err := strict(b64)
	if !ok || err != nil || len(public) != ed25519.PublicKeySize {
		return fmt.Errorf("approval of %s: the key is not an ed25519 key: %w", a.By, ErrSignature)
	}
	signature, err := strict(a.Signature)
	if err != nil || a.Over != "root" || !ed25519.Verify(public, text, signature) {
		return fmt.Errorf("approval of %s: %w", a.By, ErrSignature)
	}
	return nil
}
