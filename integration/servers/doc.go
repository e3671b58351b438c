// Package servers starts real servers for tests: Apache Kafka, on this machine, on the
// loopback interface, from the jars that Maven Central publishes. It ends only processes
// that it started.
//
// It needs java and mvn; see integration/install.sh. The jars are fetched once, into the
// user's cache directory, or into BRIDGE_CACHE.
package servers
