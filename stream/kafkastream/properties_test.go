package kafkastream_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// The first cases are those of the documentation of java.util.Properties.load.
func TestParseProperties(t *testing.T) {
	tests := []struct {
		text string
		want map[string]string
	}{
		{"Truth = Beauty\n Truth:Beauty\nTruth\t\t\t:Beauty", map[string]string{"Truth": "Beauty"}},
		{"fruits    apple, banana, pear, \\\n          cantaloupe, watermelon, \\\n          kiwi, mango\n", map[string]string{"fruits": "apple, banana, pear, cantaloupe, watermelon, kiwi, mango"}},
		{"cheeses", map[string]string{"cheeses": ""}},
		{`\:\==\u0041\\\t\q`, map[string]string{":=": "A\\\tq"}},
		{"# a comment \\\na=1\n! another\n  # indented\n\n\r\n \t\n", map[string]string{"a": "1"}},
		{"a=1\\\n# no comment\nb=2", map[string]string{"a": "1# no comment", "b": "2"}},
		{"a=1\\\n\nb=2", map[string]string{"a": "1", "b": "2"}},
		{"a=1\\\\\nb=2", map[string]string{"a": `1\`, "b": "2"}},
		{"a=1\rb=2\r\nc=3", map[string]string{"a": "1", "b": "2", "c": "3"}},
		{"a=1\na=2", map[string]string{"a": "2"}},
		{"a b=c = d ", map[string]string{"a": "b=c = d "}},
		{"a\\ b=c", map[string]string{"a b": "c"}},
		{"p=\xe4", map[string]string{"p": "ä"}},
		{`p=\uD83D\uDE00`, map[string]string{"p": "😀"}},
		{"=v", map[string]string{"": "v"}},
		{`a=b\`, map[string]string{"a": "b"}},
		{"", map[string]string{}},
	}
	for _, tt := range tests {
		got, err := kafkastream.ParseProperties([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("ParseProperties(%q): %v (-want +got):\n%s", tt.text, err, diff)
		}
	}
	for _, text := range []string{`secret=\u00`, `secret=\uZZZZ`, `\u12`} {
		if _, err := kafkastream.ParseProperties([]byte(text)); !errors.Is(err, bridge.ErrRefused) || strings.Contains(err.Error(), "ZZZZ") {
			t.Errorf("ParseProperties(%q) = %v, want ErrRefused that shows no value", text, err)
		}
	}
}

func properties(t *testing.T, text string) (kafkastream.ClientProperties, error) {
	t.Helper()
	p, err := kafkastream.ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return kafkastream.FromProperties(p)
}

func TestFromProperties(t *testing.T) {
	tests := []struct {
		name, text string
		want       kafkastream.ClientProperties
		tls        bool
	}{
		{"plaintext", "bootstrap.servers=a:1, b:2,\nclient.id=me\nrequest.timeout.ms=1500\nsocket.connection.setup.timeout.ms=200\nacks=all\nlinger.ms=5",
			kafkastream.ClientProperties{
				Config:  kafkastream.Config{Brokers: []string{"a:1", "b:2"}, ClientID: "me", AnswerTimeout: 1500 * time.Millisecond, ConnectTimeout: 200 * time.Millisecond},
				Ignored: []string{"acks", "linger.ms"},
			}, false},
		{"TLS settings without TLS", "ssl.truststore.location=/none", kafkastream.ClientProperties{Ignored: []string{"ssl.truststore.location"}}, false},
		{"TLS", "security.protocol=SSL\nssl.protocol=TLSv1.3\nssl.endpoint.identification.algorithm=https", kafkastream.ClientProperties{Ignored: []string{"ssl.protocol"}}, true},
		{"TLS, names unchecked", "security.protocol=ssl\nssl.endpoint.identification.algorithm=", kafkastream.ClientProperties{NameUnchecked: true}, true},
		{"SCRAM", "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n" +
			`sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \` + "\n" + `  username="alice" \` + "\n" + `  password="a;\\"b'=c" tokenauth="true";`,
			kafkastream.ClientProperties{
				Config:  kafkastream.Config{SASL: kafkastream.SASL{Mechanism: kafkastream.ScramSHA512, User: "alice", Password: `a;"b'=c`}},
				Ignored: []string{"sasl.jaas.config tokenauth"},
			}, true},
		{"PLAIN", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=bob password='p w' ;",
			kafkastream.ClientProperties{Config: kafkastream.Config{SASL: kafkastream.SASL{Mechanism: kafkastream.Plain, User: "bob", Password: "p w"}}}, false},
		{"IAM", "bootstrap.servers=b-1.orders.x1.c2.kafka.eu-central-1.amazonaws.com:9098\nsecurity.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\n" +
			`sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName="dev" awsRoleArn="arn:aws:iam::1:role/r";` +
			"\nsasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler",
			kafkastream.ClientProperties{
				Config:  kafkastream.Config{Brokers: []string{"b-1.orders.x1.c2.kafka.eu-central-1.amazonaws.com:9098"}, SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: "eu-central-1"}},
				Profile: "dev", Role: "arn:aws:iam::1:role/r",
			}, true},
		{"IAM by OAUTHBEARER", "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;\n" +
			"sasl.login.callback.handler.class=software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler",
			kafkastream.ClientProperties{Config: kafkastream.Config{SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM}}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := properties(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if (got.Config.TLS != nil) != tt.tls {
				t.Errorf("TLS = %v, want %v", got.Config.TLS != nil, tt.tls)
			}
			got.Config.TLS = nil
			if diff := cmp.Diff(fmt.Sprintf("%+v", tt.want), fmt.Sprintf("%+v", got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Config.SASL.Password.Reveal() != tt.want.Config.SASL.Password.Reveal() {
				t.Errorf("password %q, want %q", got.Config.SASL.Password.Reveal(), tt.want.Config.SASL.Password.Reveal())
			}
		})
	}
}

func TestFromPropertiesRefuses(t *testing.T) {
	dir := t.TempDir()
	jks := filepath.Join(dir, "trust.jks")
	if err := os.WriteFile(jks, []byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2}, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t)
	cert, key := a.files(a.sign(forLoopback()))
	locked := a.write("ENCRYPTED PRIVATE KEY", []byte("x"))
	scram := "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config="
	tests := []struct{ name, text, says string }{
		{"protocol", "security.protocol=TLS", "security.protocol"},
		{"Kerberos", "security.protocol=SASL_SSL", "GSSAPI"},
		{"OAUTHBEARER", "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER", "OAUTHBEARER"},
		{"JKS by type", "security.protocol=SSL\nssl.truststore.type=JKS\nssl.truststore.location=" + jks, "only PEM"},
		{"JKS by content", "security.protocol=SSL\nssl.truststore.location=" + jks, "Java key store"},
		{"PKCS12", "security.protocol=SSL\nssl.keystore.type=PKCS12\nssl.keystore.location=" + jks, "PKCS12"},
		{"no file", "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=" + filepath.Join(dir, "none"), "no such file"},
		{"trust without certificate", "security.protocol=SSL\nssl.truststore.location=" + key, "no PEM certificate"},
		{"key store without key", "security.protocol=SSL\nssl.keystore.location=" + cert, "no private key"},
		{"encrypted key", "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=" + locked + "\nssl.key.password=canary", "is encrypted"},
		{"name check", "security.protocol=SSL\nssl.endpoint.identification.algorithm=ldaps", "neither https nor empty"},
		{"providers", "config.providers=file", "config.providers"},
		{"time", "request.timeout.ms=soon", "request.timeout.ms"},
		{"jaas missing", scram, "login module"},
		{"jaas without end", scram + `a.ScramLoginModule required username="u" password="canary"`, "semicolon"},
		{"jaas not closed", scram + `a.ScramLoginModule required username="u" password="canary;`, "not closed"},
		{"jaas of another mechanism", scram + `a.PlainLoginModule required username="u" password="canary";`, "PlainLoginModule"},
		{"two modules", scram + `a.ScramLoginModule required username="u"; a.ScramLoginModule required password="canary";`, "more than one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := properties(t, tt.text)
			if !errors.Is(err, bridge.ErrRefused) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v, want ErrRefused that says %q and no secret", err, tt.says)
			}
		})
	}
}

// A file as MSK users have it must be enough to connect.
func TestPropertiesConnect(t *testing.T) {
	a := newAuthority(t)
	elsewhere := forLoopback()
	elsewhere.IPAddresses, elsewhere.DNSNames = nil, []string{"b-1.example.com"}
	user := kfake.Superuser(kafkastream.ScramSHA512, "mirror", "pass")
	text := "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\nssl.truststore.location=" + a.file +
		"\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"mirror\" password=\"pass\";\n"
	for _, tt := range []struct {
		name, text, says string
		cert             tls.Certificate
	}{
		{"good", text, "", a.sign(forLoopback())},
		{"wrong name", text, "for another name", a.sign(elsewhere)},
		{"names unchecked", text + "ssl.endpoint.identification.algorithm=\n", "", a.sign(elsewhere)},
		{"names unchecked, unknown authority", text + "ssl.endpoint.identification.algorithm=\n", "unknown authority", newAuthority(t).sign(elsewhere)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := properties(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			p.Config.Brokers = secured(t, kfake.EnableSASL(), user, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{tt.cert}}))
			checkDial(t, p.Config, tt.says)
		})
	}
}

func TestPropertiesInlinePEM(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile := a.files(a.sign(forLoopback()))
	// Line ends are escaped, or a backslash continues the line, as KIP-651 writes it, which
	// leaves none.
	for _, end := range []string{"\\n", " \\\n", " \\\n    ", "\\n\\\n"} {
		read := func(name string) string {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", end)
		}
		got, err := properties(t, "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates="+read(a.file)+
			"\nssl.keystore.type=PEM\nssl.keystore.certificate.chain="+read(certFile)+"\nssl.keystore.key="+read(keyFile))
		if err != nil || len(got.Config.TLS.Certificates) != 1 || got.Config.TLS.RootCAs == nil {
			t.Errorf("inline PEM with lines that end in %q: %+v, %v", end, got, err)
		}
	}
}

func TestBrokerRegion(t *testing.T) {
	for addr, want := range map[string]string{
		"b-1.orders.x1y2z3.c2.kafka.us-east-1.amazonaws.com:9098":         "us-east-1",
		"boot-abc123.c1.kafka-serverless.eu-west-1.amazonaws.com:9098":    "eu-west-1",
		"b-2-public.orders.x1.c3.kafka.ap-southeast-2.amazonaws.com:9198": "ap-southeast-2",
		"b-1.orders.x1.c2.kafka.cn-north-1.amazonaws.com.cn:9098":         "cn-north-1",
		"kafka.example.com:9092": "", "127.0.0.1:9092": "", "": "", "kafka.us-east-1": "",
	} {
		if got := kafkastream.BrokerRegion(addr); got != want {
			t.Errorf("BrokerRegion(%q) = %q, want %q", addr, got, want)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("a=b\\\n c\nd:e\\u0041"))
	f.Add([]byte("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x.PlainLoginModule required username=\"u\" password='p';"))
	f.Add([]byte("security.protocol=SSL\nssl.keystore.key=-----BEGIN"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := kafkastream.ParseProperties(text)
		if err != nil {
			return
		}
		for name := range p {
			if strings.HasSuffix(name, ".location") {
				delete(p, name) // reads files
			}
		}
		got, err := kafkastream.FromProperties(p)
		if err != nil && !errors.Is(err, bridge.ErrRefused) {
			t.Errorf("FromProperties: %v, want ErrRefused", err)
		}
		if err == nil && got.Config.SASL.Mechanism == "" && got.Config.SASL.Password != "" {
			t.Error("a password without a mechanism")
		}
	})
}
