// Package servers starts real servers for tests, on this machine, on the loopback
// interface: Apache Kafka from the jars that Maven Central publishes, and kinesis-local
// from npm. It ends only processes that it started.
//
// It needs java, mvn, node and npm; see integration/install.sh. What is started is fetched
// once, into the user's cache directory, or into BRIDGE_CACHE.
package servers
