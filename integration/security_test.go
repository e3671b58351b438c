//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
)

// What can be wrong with a secured listener is one sentence, a way out, and exit 4.
func TestIntegrationSecurity(t *testing.T) {
	type story struct {
		name, listener, protocol, password, ca string
		want                                   int
		says                                   string
	}
	for _, l := range []struct {
		certificate servers.Certificate
		stories     []story
	}{
		{servers.Good, []story{
			{name: "scram", protocol: "sasl_scram_sha_512"},
			{name: "plain", protocol: "sasl_plain"},
			{name: "wrong password, scram", protocol: "sasl_scram_sha_512", password: "wrong", want: 4, says: "password"},
			{name: "wrong password, plain", protocol: "sasl_plain", password: "wrong", want: 4, says: "password"},
			{name: "wrong authority", protocol: "sasl_scram_sha_512", ca: "other", want: 4, says: "authorit"},
		}},
		{servers.WrongName, []story{{name: "wrong name", protocol: "sasl_scram_sha_512", want: 4, says: "another name"}}},
		{servers.Expired, []story{{name: "expired certificate", protocol: "sasl_scram_sha_512", want: 4, says: "expired"}}},
	} {
		k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Secure: true, Certificate: l.certificate})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		for _, s := range l.stories {
			t.Run(s.name, func(t *testing.T) {
				srv := newKinesis(t, noRates)
				if _, err := srv.CreateStream("source", 1); err != nil {
					t.Fatal(err)
				}
				j := newJob(t, toKafka, srv, "source", unique("secured"))
				ca, password := k.CAFile(), servers.Password
				if s.ca != "" {
					ca = k.OtherCAFile()
				}
				if s.password != "" {
					password = s.password
				}
				t.Setenv("BRIDGE_TEST_PASSWORD", password)
				file := filepath.Join(j.dir, "secure.yaml")
				text := fmt.Sprintf(`workflow: %s
direction: kinesis-to-kafka
kinesis: {stream: source, region: us-east-1, endpoint_url: "%s"}
kafka:
  brokers: ["%s"]
  topic: %s
  partitions: 3
  replication_factor: 1
  security: {protocol: %s, username: %s, password: "${env:BRIDGE_TEST_PASSWORD}", ca_file: "%s"}
state: "file:%s"
`, j.workflow, srv.URL(), k.Secure(), j.topic, s.protocol, servers.User, ca, filepath.Join(j.dir, "state"))
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				c := j.start("mirror", "run", "--config", file, "--until-caught-up")
				code := c.wait(time.Minute)
				r := c.result()
				t.Logf("exit %d: %s | hint: %s", code, r.Error.Message, r.Error.Hint)
				if code != s.want {
					t.Fatalf("exit %d, want %d\n%s", code, s.want, c.stderr())
				}
				if s.want != 0 && (r.Error.Hint == "" || strings.Contains(r.Error.Message, "\n") || !strings.Contains(r.Error.Message+r.Error.Hint, s.says)) {
					t.Errorf("not one sentence that says %q, with a hint: %q, %q", s.says, r.Error.Message, r.Error.Hint)
				}
				if strings.Contains(c.stderr()+c.out.String(), password) {
					t.Error("the password was printed")
				}
			})
		}
	}
}
