package kafkastream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/IBM/sarama"
	"github.com/aws/aws-msk-iam-sasl-signer-go/signer"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/xdg-go/scram"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// A Secret is a password. It shows itself to nobody: fmt, slog, JSON and YAML print "***".
type Secret string

// Reveal is the password itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the password from fmt.
func (s Secret) String() string { return "***" }

// GoString hides the password from %#v.
func (s Secret) GoString() string { return `kafkastream.Secret("***")` }

// LogValue hides the password from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText hides the password from JSON and YAML; see Reveal.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// The SASL mechanisms, named as Kafka's own configuration names them. The zero SASL has
// none and does not authenticate.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512" // the one that MSK offers
	MSKIAM      = "AWS_MSK_IAM"
)

// A SASL says how to authenticate.
type SASL struct {
	// Mechanism is one of the constants, or empty.
	Mechanism string
	// User and Password are those of Plain and the Scram mechanisms.
	User     string
	Password Secret
	// Region and Credentials are those of MSKIAM; it needs TLS, too. Credentials are
	// asked anew for each connection and each re-authentication.
	Region      string
	Credentials aws.CredentialsProvider
}

// apply writes the mechanism into sarama's configuration. Tokens are signed under life.
func (s SASL) apply(life context.Context, conf *sarama.Config) error {
	if s.Mechanism == "" {
		return nil
	}
	sasl := &conf.Net.SASL
	sasl.Enable = true
	sasl.User, sasl.Password = s.User, s.Password.Reveal()
	switch s.Mechanism {
	case Plain:
		sasl.Mechanism = sarama.SASLTypePlaintext
	case ScramSHA256:
		sasl.Mechanism = sarama.SASLTypeSCRAMSHA256
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case ScramSHA512:
		sasl.Mechanism = sarama.SASLTypeSCRAMSHA512
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	case MSKIAM:
		return s.applyIAM(life, conf)
	default:
		return bridge.WithHint(fmt.Errorf("SASL mechanism %q is not known: %w", s.Mechanism, bridge.ErrRefused),
			"use PLAIN, SCRAM-SHA-512 or AWS_MSK_IAM")
	}
	if s.User == "" || s.Password == "" {
		return bridge.WithHint(fmt.Errorf("SASL %s without user or password: %w", s.Mechanism, bridge.ErrRefused),
			"give both, the password by file or environment")
	}
	return nil
}

func (s SASL) applyIAM(life context.Context, conf *sarama.Config) error {
	switch {
	case s.Region == "":
		return bridge.WithHint(fmt.Errorf("MSK IAM without a region: %w", bridge.ErrRefused), "set the region that the cluster is in")
	case s.Credentials == nil:
		return bridge.WithHint(fmt.Errorf("MSK IAM without AWS credentials: %w", bridge.ErrRefused), "configure a profile, role or environment credentials")
	case !conf.Net.TLS.Enable:
		return bridge.WithHint(fmt.Errorf("MSK IAM without TLS: %w", bridge.ErrRefused), "switch TLS on; the IAM ports speak nothing else")
	}
	conf.Net.SASL.Mechanism = sarama.SASLTypeOAuth
	conf.Net.SASL.TokenProvider = tokenFunc(func() (*sarama.AccessToken, error) {
		ctx, cancel := context.WithTimeout(life, conf.Net.ReadTimeout)
		defer cancel()
		token, _, err := signer.GenerateAuthTokenFromCredentialsProvider(ctx, s.Region, s.Credentials)
		if err != nil {
			return nil, bridge.WithHint(&classified{fmt.Errorf("sign an MSK IAM token: %w", awsapi.Plain(err)), awsapi.ClassOfCredentials(err)},
				"check that this machine has valid AWS credentials")
		}
		return &sarama.AccessToken{Token: token}, nil
	})
	return nil
}

// tokenFunc is sarama's AccessTokenProvider.
type tokenFunc func() (*sarama.AccessToken, error)

func (f tokenFunc) Token() (*sarama.AccessToken, error) { return f() }

// scramClient is sarama's SCRAMClient: one conversation.
type scramClient struct {
	hash scram.HashGeneratorFcn
	conv *scram.ClientConversation
}

func (s *scramClient) Begin(user, password, authz string) error {
	client, err := s.hash.NewClient(user, password, authz)
	if err != nil {
		return fmt.Errorf("prepare SCRAM: %w", err)
	}
	s.conv = client.NewConversation()
	return nil
}

// Step answers a challenge. A server that cannot prove that it knows the password is
// refused here, too.
func (s *scramClient) Step(challenge string) (string, error) {
	answer, err := s.conv.Step(challenge)
	if err != nil {
		return "", bridge.WithHint(&classified{fmt.Errorf("SCRAM conversation: %w", err), bridge.ErrDenied},
			"check user and password")
	}
	return answer, nil
}

func (s *scramClient) Done() bool { return s.conv.Done() }

// TLSFiles says what a TLS connection is checked with; the zero value trusts the system's
// authorities. All files are PEM.
type TLSFiles struct {
	// CA holds the authorities to trust instead of the system's.
	CA string
	// Cert and Key are the client's own, for mutual TLS: both or none.
	Cert, Key string
	// ServerName is what the brokers' certificates are for, if not the name dialled.
	ServerName string
	// InsecureSkipVerify takes any certificate from anybody.
	InsecureSkipVerify bool
}

// NewTLS reads the files. The result asks for TLS 1.2 at least. It wraps ErrRefused if a
// file cannot be read or does not hold what it should.
func NewTLS(f TLSFiles) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName, InsecureSkipVerify: f.InsecureSkipVerify}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, refused("read CA file", err)
		}
		if c.RootCAs, err = certPool(pem); err != nil {
			return nil, refused("read CA file "+f.CA, err)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, refused("read client certificate", errors.New("certificate and key belong together, one is missing"))
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, refused("read client certificate "+f.Cert, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func certPool(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no PEM certificate in it")
	}
	return pool, nil
}

func refused(what string, err error) error {
	return fmt.Errorf("%s: %w", what, &classified{err, bridge.ErrRefused})
}
