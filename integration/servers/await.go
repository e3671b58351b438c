package servers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// awaitPort waits until a server of that name answers at addr. If it ends or takes too
// long before, the error holds the end of its log.
func awaitPort(ctx context.Context, name, addr, log string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
			continue
		case <-ended:
		case <-ctx.Done():
		}
		said, _ := os.ReadFile(log)
		return fmt.Errorf("%s is not up: %w\n%s", name, context.Cause(ctx), tail(bytes.TrimSpace(said)))
	}
}
