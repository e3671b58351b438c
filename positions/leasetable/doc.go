// Package leasetable reads and writes the table in DynamoDB in which a consumer
// application keeps how far it is in each shard: the lease table of the Kinesis Client
// Library 1.x, 2.x and 3.x, also in the single-table format of 3.5 and with leases of
// several streams, and the checkpoint table of vmware-go-kcl.
//
// A table is only written while its application stands still, which [Table.Still] proves
// by lease counters that do not move. Every write says exactly what it replaces and is
// refused if that is not what is there; nothing but leases is touched, and what a lease
// holds beside its position stays.
//
// What it does not promise: a write that the application makes between the proof and the
// last write of Apply is noticed only if it is on a lease that is still to be written, or
// when the table is read back.
package leasetable
