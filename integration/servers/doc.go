// Package servers starts real servers for tests, on this machine, on the loopback
// interface: Apache Kafka from the jars that Maven Central publishes, kinesis-local and
// kinesalite from npm, and ministack from PyPI. It ends only processes that it started.
//
// It needs java, mvn, node, npm and python3; see integration/install.sh. What is started is fetched
// once, into the user's cache directory, or into BRIDGE_CACHE.
package servers
