//go:build integration

package servers_test

import (
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
)

func TestIntegrationKafkaStarts(t *testing.T) {
	began := time.Now()
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Secure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	t.Logf("one node up in %.1f s at %v", time.Since(began).Seconds(), k.Brokers())
	began = time.Now()
	k.Kill(0)
	if err := k.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %.1f s", time.Since(began).Seconds())
}
