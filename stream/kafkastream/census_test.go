package kafkastream_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// With any one of three brokers down, the others tell what settings there are, at the first
// try, and the one that is away is named.
func TestSettingsWithABrokerDown(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	addrs := fake.ListenAddrs()
	var down atomic.Value
	down.Store("")
	for _, away := range addrs {
		down.Store("")
		client := dial(t, kafkastream.Config{Brokers: addrs, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == down.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}})
		all, err := client.Brokers(t.Context())
		if err != nil || all.Up != 3 || all.Known != 3 || len(all.Away) != 0 {
			t.Errorf("all are up: %+v, %v", all, err)
		}
		down.Store(away)
		for range 20 {
			if _, err := client.Topic(t.Context(), "orders"); err != nil {
				t.Fatalf("without %s: %v", away, err)
			}
			if expiry, err := client.ExpiryOfIDs(t.Context()); err != nil || expiry <= 0 {
				t.Fatalf("without %s: %s, %v", away, expiry, err)
			}
		}
		all, err = client.Brokers(t.Context())
		if err != nil || all.Up != 2 || all.Known != 3 || !slices.Equal(all.Away, []string{away}) {
			t.Errorf("without %s: %+v, %v", away, all, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := client.Brokers(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a census that was stopped: %v", err)
		}
	}
}
