// Command fetch brings what the real servers of the integration tests consist of into the
// user's cache directory, or into BRIDGE_CACHE: the jars of Apache Kafka, and
// kinesis-local from npm.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
)

func main() {
	if err := servers.Fetch(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}
