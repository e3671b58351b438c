package kafkastream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// An authority signs certificates for one test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	pair := a.sign(template)
	a.key = pair.PrivateKey.(*ecdsa.PrivateKey)
	a.cert = pair.Leaf
	a.file = a.write("CERTIFICATE", pair.Certificate[0])
	return a
}

func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) write(kind string, der []byte) string {
	a.t.Helper()
	name := filepath.Join(a.t.TempDir(), strings.ToLower(strings.ReplaceAll(kind, " ", "-"))+".pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return name
}

// files writes a certificate and its key in PKCS #8.
func (a *authority) files(pair tls.Certificate) (cert, key string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write("CERTIFICATE", pair.Certificate[0]), a.write("PRIVATE KEY", der)
}

func forLoopback() *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

func secured(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	fake, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake.ListenAddrs()
}

func tlsConfig(t *testing.T, f kafkastream.TLSFiles) *tls.Config {
	t.Helper()
	c, err := kafkastream.NewTLS(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	good := ours.sign(forLoopback())
	otherName := ours.sign(&x509.Certificate{DNSNames: []string{"b-1.example.com"}})
	old := forLoopback()
	old.NotBefore, old.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired := ours.sign(old)
	client := &x509.Certificate{Subject: pkix.Name{CommonName: "mirror"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	cert, key := ours.files(ours.sign(client))
	strangerCert, strangerKey := theirs.files(theirs.sign(client))
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	mutual := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}

	tests := []struct {
		name   string
		server *tls.Config
		client *tls.Config
		says   string // empty if the connection must work
	}{
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file}), ""},
		{"unknown authority", &tls.Config{Certificates: []tls.Certificate{good}}, tlsConfig(t, kafkastream.TLSFiles{CA: theirs.file}), "signed by an unknown authority"},
		{"system's authorities", &tls.Config{Certificates: []tls.Certificate{good}}, tlsConfig(t, kafkastream.TLSFiles{}), "signed by an unknown authority"},
		{"wrong name", &tls.Config{Certificates: []tls.Certificate{otherName}}, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file}), "for another name"},
		{"name given", &tls.Config{Certificates: []tls.Certificate{otherName}}, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file, ServerName: "b-1.example.com"}), ""},
		{"expired", &tls.Config{Certificates: []tls.Certificate{expired}}, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file}), "has expired"},
		{"expired, not looked at", &tls.Config{Certificates: []tls.Certificate{expired}}, tlsConfig(t, kafkastream.TLSFiles{InsecureSkipVerify: true}), ""},
		{"TLS 1.1 only", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11}, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file}), "refused the TLS handshake"},
		{"plaintext client", &tls.Config{Certificates: []tls.Certificate{good}}, nil, "closed the connection without an answer"},
		{"client certificate", mutual, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file, Cert: cert, Key: key}), ""},
		{"no client certificate", mutual, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file}), "refused the TLS handshake"},
		{"stranger's certificate", mutual, tlsConfig(t, kafkastream.TLSFiles{CA: ours.file, Cert: strangerCert, Key: strangerKey}), "refused the TLS handshake"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkDial(t, kafkastream.Config{Brokers: secured(t, kfake.TLS(tt.server)), TLS: tt.client, AnswerTimeout: 2 * time.Second}, tt.says)
		})
	}
}

// A Kafka broker closes a plaintext port on a TLS handshake, which it takes for a request
// of absurd length; other servers may answer in their own words.
func TestTLSOnAPlaintextPort(t *testing.T) {
	for says, answer := range map[string]string{"closed the connection at the TLS handshake": "", "does not speak TLS": "HTTP/1.0 400 Bad Request\r\n\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte(answer))
				_ = conn.Close()
			}
		}()
		checkDial(t, kafkastream.Config{Brokers: []string{l.Addr().String()}, TLS: tlsConfig(t, kafkastream.TLSFiles{}), AnswerTimeout: 2 * time.Second}, says)
	}
}

// checkDial connects and looks a topic up; or is refused with a sentence and a hint.
func checkDial(t *testing.T, c kafkastream.Config, says string) {
	t.Helper()
	client, err := kafkastream.Dial(t.Context(), c)
	if says == "" {
		if err != nil {
			t.Fatalf("Dial: %v", err)
		}
		defer client.Close()
		if _, err := client.Topic(t.Context(), "orders"); err != nil {
			t.Errorf("Topic: %v", err)
		}
		return
	}
	if err == nil {
		client.Close()
		t.Fatalf("Dial succeeded, want it to say %q", says)
	}
	if !errors.Is(err, bridge.ErrDenied) || !strings.Contains(err.Error(), says) || bridge.Hint(err) == "" {
		t.Errorf("Dial: %v (hint %q), want ErrDenied that says %q", err, bridge.Hint(err), says)
	}
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{kafkastream.Plain, kafkastream.ScramSHA256, kafkastream.ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			addrs := secured(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "mirror", "s3cret, with = and ,"))
			sasl := kafkastream.SASL{Mechanism: mechanism, User: "mirror", Password: "s3cret, with = and ,"}
			checkDial(t, kafkastream.Config{Brokers: addrs, SASL: sasl}, "")
		})
	}
}

func TestSASLRefused(t *testing.T) {
	addrs := secured(t, kfake.EnableSASL(), kfake.Superuser(kafkastream.ScramSHA512, "mirror", "right"))
	for _, sasl := range []kafkastream.SASL{
		{Mechanism: kafkastream.ScramSHA512, User: "mirror", Password: "wrong"},
		{Mechanism: kafkastream.ScramSHA512, User: "nobody", Password: "right"},
		{Mechanism: kafkastream.Plain, User: "mirror", Password: "right"},
		{},
	} {
		t.Run(sasl.Mechanism+" "+sasl.User, func(t *testing.T) {
			checkDial(t, kafkastream.Config{Brokers: addrs, SASL: sasl, AnswerTimeout: 2 * time.Second}, "the broker closed the connection")
		})
	}
}

func TestDialFaults(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	creds := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")
	tests := []struct {
		name   string
		config kafkastream.Config
		want   error
	}{
		{"no brokers", kafkastream.Config{}, bridge.ErrRefused},
		{"nobody listens", kafkastream.Config{Brokers: []string{gone.Addr().String()}}, bridge.ErrUnreachable},
		{"nobody answers", kafkastream.Config{Brokers: []string{silent.Addr().String()}, AnswerTimeout: 20 * time.Millisecond}, bridge.ErrUnreachable},
		{"no such name", kafkastream.Config{Brokers: []string{"no-such-broker.invalid:9092"}}, bridge.ErrUnreachable},
		{"no port", kafkastream.Config{Brokers: []string{"127.0.0.1"}}, bridge.ErrUnreachable},
		{"no such mechanism", kafkastream.Config{Brokers: []string{"b:1"}, SASL: kafkastream.SASL{Mechanism: "GSSAPI"}}, bridge.ErrRefused},
		{"no password", kafkastream.Config{Brokers: []string{"b:1"}, SASL: kafkastream.SASL{Mechanism: "PLAIN", User: "u"}}, bridge.ErrRefused},
		{"IAM without region", kafkastream.Config{Brokers: []string{"b:1"}, TLS: &tls.Config{}, SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Credentials: creds}}, bridge.ErrRefused},
		{"IAM without credentials", kafkastream.Config{Brokers: []string{"b:1"}, TLS: &tls.Config{}, SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: "eu-west-1"}}, bridge.ErrRefused},
		{"IAM without TLS", kafkastream.Config{Brokers: []string{"b:1"}, SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: "eu-west-1", Credentials: creds}}, bridge.ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, err := kafkastream.Dial(t.Context(), tt.config)
			if err == nil {
				client.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("Dial = %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("one of two answers", func(t *testing.T) {
		checkDial(t, kafkastream.Config{Brokers: append([]string{gone.Addr().String()}, secured(t)...)}, "")
	})
}

// The token is a presigned URL for kafka-cluster:Connect in the region, in base64.
func TestMSKIAMToken(t *testing.T) {
	asked := 0
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		asked++
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "canary", SessionToken: "session"}, nil
	})
	provider, err := kafkastream.IAMTokens(t.Context(), kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: "eu-west-1", Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		token, err := provider.Token()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(token.Token)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Host != "kafka.eu-west-1.amazonaws.com" || q.Get("Action") != "kafka-cluster:Connect" ||
			!strings.HasPrefix(q.Get("X-Amz-Credential"), "AKIDEXAMPLE/") || q.Get("X-Amz-Expires") != "900" || q.Get("X-Amz-Security-Token") != "session" {
			t.Errorf("token says %s", raw)
		}
		if strings.Contains(string(raw), "canary") {
			t.Error("the token holds the secret")
		}
	}
	if asked != 2 {
		t.Errorf("credentials were asked %d times for 2 tokens", asked)
	}
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no role") })
	provider, err = kafkastream.IAMTokens(t.Context(), kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: "eu-west-1", Credentials: none})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Token(); !errors.Is(err, bridge.ErrDenied) || bridge.Hint(err) == "" {
		t.Errorf("Token without credentials = %v, want ErrDenied and a hint", err)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	const canary = "canary-7b1f"
	c := kafkastream.SASL{Mechanism: kafkastream.Plain, User: "u", Password: canary}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "sasl", c, "password", c.Password)
	js, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.Password, c.Password), fmt.Sprintf("%x", c.Password), log.String(), string(js),
		fmt.Sprintf("%+v %#v", kafkastream.Config{SASL: c}, kafkastream.Config{SASL: c}),
	} {
		if strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
			t.Errorf("the secret shows in %s", s)
		}
	}
	if c.Password.Reveal() != canary {
		t.Error("Reveal does not")
	}
}

func TestNewTLSRefusesBadFiles(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.files(a.sign(forLoopback()))
	_, otherKey := a.files(a.sign(forLoopback()))
	for _, f := range []kafkastream.TLSFiles{
		{CA: "no/such/file"}, {CA: key}, {Cert: cert}, {Key: key}, {Cert: cert, Key: otherKey}, {Cert: key, Key: cert},
	} {
		if _, err := kafkastream.NewTLS(f); !errors.Is(err, bridge.ErrRefused) {
			t.Errorf("NewTLS(%+v) = %v, want ErrRefused", f, err)
		}
	}
	c := tlsConfig(t, kafkastream.TLSFiles{CA: a.file, Cert: cert, Key: key, ServerName: "b"})
	if c.MinVersion < tls.VersionTLS12 || c.ServerName != "b" || len(c.Certificates) != 1 || c.InsecureSkipVerify {
		t.Errorf("NewTLS = %+v", c)
	}
}
