// Package verify compares a source stream with what a mirror made of it, and says
// consistent, inconsistent or inconclusive. It is an independent witness: it reads both
// systems itself, knows no service, and writes to neither.
//
//	v := &verify.Verifier{Source: source, Target: target, Keys: keys, Key: key}
//	result, err := v.Run(ctx)
//
// Records are joined by the coordinates that those of the target carry, or that a ledger
// has for them; without either, contents are compared as multisets. The source is cut into
// windows, and each window into cells by key; a cell holds a sum of digests, source minus
// target. Only cells that differ, or in which order or repeats are in doubt, are read again
// and joined record by record, twice, the settle time apart. Memory does not grow with the
// number of records.
//
// What this package does not promise: that what it did not read is right. Whatever could
// not be read, is gone, or has not arrived makes a result inconclusive and stands in it
// with its reason.
package verify
