package servers

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
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

// The ports that servers are given. They lie below those that the kernel gives to connections
// that go out, one of which could otherwise take a port before its server listens there, or
// while that is restarted.
const firstPort, portCount = 20_000, 12_000

// lastPort is how many ports were looked at; each process begins at a place of its own.
var lastPort = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(rand.Int64N(portCount))
	return &n
}()

// freePorts returns loopback addresses that nobody listens on now, and none twice before all
// were given out.
func freePorts(n int) (out []string, err error) {
	for tried := 0; len(out) < n && tried < portCount; tried++ {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+lastPort.Add(1)%portCount)
		l, busy := net.Listen("tcp", addr)
		if busy != nil {
			err = busy
			continue
		}
		l.Close()
		out = append(out, addr)
	}
	if len(out) < n {
		return nil, fmt.Errorf("no free port: %w", err)
	}
	return out, nil
}
