// Package verify compares a source stream with what a mirror made of it, and says
// consistent, inconsistent or inconclusive. It is an independent witness: it reads both
// systems itself, knows no service, and writes to neither.
package verify
