// Package bridgetest holds the tests that every [bridge.Source], [bridge.Sink],
// [bridge.Recoverable], [bridge.CheckpointStore] and [bridge.Ledger] passes. They test the
// sentences of the contracts in package bridge, over whatever stands behind the adapter: a
// stream in memory, a server in the same process, or a real one.
//
//	func TestConformance(t *testing.T) {
//		bridgetest.TestSource(t, bridgetest.SourceHarness{
//			Server: "mem",
//			New:    newSourceServer, // an empty stream, and the adapter to it
//		})
//	}
//
// Nothing here sleeps to wait for a server: the tests read until they see what they wait
// for, and fail when Patience ends. What a server cannot do is left out of the harness;
// what it does wrongly is listed as a [Gap], which fails the test as soon as it is closed.
//
// What this package does not promise: anything about speed, and about crashes of the
// process, for which see the engine's own tests.
package bridgetest
