// Package positions translates where a consumer stands from one side of a mirror to the
// other: a KCL checkpoint into committed offsets of a consumer group, and back.
//
// [Onward] goes with the mirror. Each source partition has a [Bound], up to which its
// records are consumed; each target partition gets the greatest position below which
// nothing unconsumed stands: the first record beyond the bound of its source partition,
// or the end of what can be read. A later position would skip that record.
//
// [Back] goes against it. Each target partition has a bound; each source partition gets
// the position of the first of its records of which no copy was consumed, and never one
// beyond what the mirror is known to have carried.
//
// Both read what stands on the target, by the coordinates that the mirror wrote there,
// and nothing else is believed: the position index only says from where to read. What
// cannot be said for certain is a [Problem], never a guess.
//
// [Resolve] says what the leases of a KCL application mean for every shard, and
// [Seeds] which leases make a KCL application begin at given bounds.
//
// What this package does not promise: it does not stop consumers, and does not know
// whether they are stopped. It reads and writes no service; packages leasetable and
// kafkastream do.
package positions
