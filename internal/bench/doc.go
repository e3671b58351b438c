// Package bench measures a mirror against the least that a program can spend: it makes the
// records, serves them, proves that they arrived, and holds the bare clients that a mirror
// and verify are compared with.
//
// The bare clients keep no order through failures, retry nothing, store no progress and
// stop at the first error. Nobody should use them for anything else.
package bench
