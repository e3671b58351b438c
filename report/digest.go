package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// A Part names one field of the report and the digest of its JSON.
type Part struct {
	Name   string `json:"part"`
	SHA256 string `json:"sha256"`
}

// unsealed are the fields that the manifest cannot hold: itself, and what is made later.
var unsealed = []string{"manifest", "root", "approvals"}

// manifest makes the digests of all other fields.
func (r *Report) manifest() ([]Part, error) {
	var out []Part
	for _, f := range fieldsOf(r) {
		if slices.Contains(unsealed, f.name) {
			continue
		}
		text, err := f.encode()
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		out = append(out, Part{f.name, hex.EncodeToString(sum[:])})
	}
	return out, nil
}

// rootOf is the digest over a manifest.
func rootOf(m []Part) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s root\n", Schema)
	for _, p := range m {
		fmt.Fprintf(h, "%s %s\n", p.Name, p.SHA256)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// seal makes manifest and root, and drops approvals, which were of another root.
func (r *Report) seal() error {
	m, err := r.manifest()
	if err != nil {
		return err
	}
	r.Manifest, r.Root, r.Approvals = m, rootOf(m), []Approval{}
	return nil
}
