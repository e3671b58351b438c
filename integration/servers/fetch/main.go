// Command fetch brings what the real servers of the integration tests consist of into the
// user's cache directory, or into BRIDGE_CACHE: jars from Maven, and the other
// Kinesis servers from npm and PyPI.
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
