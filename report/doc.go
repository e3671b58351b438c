// Package report turns what a verification found, and what a workflow knows about itself,
// into something that a person can sign: one model with a versioned schema, and four
// renderings of it, text, JSON, Markdown and one self-contained HTML file.
//
//	r, err := report.New(result, report.Facts{Tool: "bridge 1.0.0", …})
//	err = report.Write(w, r, report.HTML)
//
// JSON is the report; the others are made from it and from nothing else, so that [Check]
// can make them again. Every part of it has a digest, the root is the digest over those,
// and an approval is an ed25519 signature over the root.
//
// What comes from outside (stream names, keys, error texts) is harmless in every
// rendering. Keys and values are not in a report at all: keys stand there as keyed hashes
// unless the caller names them (see [Facts]).
//
// What is not promised: Check reads neither system. It says that the report is what was
// made and that its figures follow from its windows, not that the windows are true.
package report
