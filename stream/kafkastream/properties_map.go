package kafkastream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A ClientProperties is what a Java client.properties comes to.
type ClientProperties struct {
	Config Config
	// Profile and Role are the AWS profile and role that IAMLoginModule names, for whoever
	// makes Config.SASL.Credentials; both may be empty.
	Profile, Role string
	// NameUnchecked says that ssl.endpoint.identification.algorithm was emptied: any
	// certificate of a trusted authority is taken, whatever name it is for.
	NameUnchecked bool
	// Ignored are the names that have no effect here, in order.
	Ignored []string
}

// FromProperties maps properties, as ParseProperties gives them, and reads the PEM files
// that they name. It wraps ErrRefused if something that bears on how to connect cannot be
// honoured: Java key stores, Kerberos, configuration providers. Errors show no secret.
// For IAM the region is taken from the brokers' names; it can be empty.
func FromProperties(p map[string]string) (ClientProperties, error) {
	m := mapping{in: maps.Clone(p)}
	m.general()
	protocol := strings.ToUpper(m.take("security.protocol"))
	switch protocol {
	case "", "PLAINTEXT":
	case "SSL":
		m.tls()
	case "SASL_SSL":
		m.tls()
		m.sasl()
	case "SASL_PLAINTEXT":
		m.sasl()
	default:
		m.refuse("security.protocol is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL", "")
	}
	m.out.Ignored = slices.Sorted(maps.Keys(m.in))
	if m.err != nil {
		return ClientProperties{}, m.err
	}
	return m.out, nil
}

// A mapping takes properties out of in as they are used; the first error stands.
type mapping struct {
	in  map[string]string
	out ClientProperties
	err error
}

func (m *mapping) take(name string) string {
	v := m.in[name]
	delete(m.in, name)
	return strings.TrimSpace(v)
}

func (m *mapping) refuse(what, hint string) {
	if m.err != nil {
		return
	}
	m.err = fmt.Errorf("client properties: %s: %w", what, bridge.ErrRefused)
	if hint != "" {
		m.err = bridge.WithHint(m.err, hint)
	}
}

func (m *mapping) general() {
	if m.take("config.providers") != "" {
		m.refuse("config.providers is not supported", "write the values into the file, or give passwords by file or environment")
	}
	for _, addr := range strings.Split(m.take("bootstrap.servers"), ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			m.out.Config.Brokers = append(m.out.Config.Brokers, addr)
		}
	}
	m.out.Config.ClientID = m.take("client.id")
	m.out.Config.AnswerTimeout = m.millis("request.timeout.ms")
	m.out.Config.ConnectTimeout = m.millis("socket.connection.setup.timeout.ms")
}

func (m *mapping) millis(name string) time.Duration {
	v := m.take(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n <= 0 {
		m.refuse(name+" is not a positive number of milliseconds", "")
	}
	return time.Duration(n) * time.Millisecond
}

func (m *mapping) sasl() {
	mechanism := m.take("sasl.mechanism")
	handlers := m.take("sasl.client.callback.handler.class") + m.take("sasl.login.callback.handler.class")
	if mechanism == "OAUTHBEARER" && strings.Contains(handlers, "IAMOAuthBearer") {
		mechanism = MSKIAM // the same tokens by another of AWS's plug-ins
	}
	if mechanism != Plain && mechanism != ScramSHA256 && mechanism != ScramSHA512 && mechanism != MSKIAM {
		if mechanism == "" {
			mechanism = "GSSAPI, which is the default,"
		}
		m.refuse("sasl.mechanism "+mechanism+" is not supported", "use PLAIN, SCRAM-SHA-512 or AWS_MSK_IAM")
		return
	}
	login, err := parseJAAS(m.take("sasl.jaas.config"))
	if err != nil {
		m.refuse("sasl.jaas.config: "+err.Error(), "")
		return
	}
	want := map[string][]string{
		Plain: {"PlainLoginModule"}, ScramSHA256: {"ScramLoginModule"}, ScramSHA512: {"ScramLoginModule"},
		MSKIAM: {"IAMLoginModule", "OAuthBearerLoginModule"},
	}[mechanism]
	if !slices.Contains(want, login.class) {
		m.refuse(fmt.Sprintf("sasl.jaas.config names %s, but sasl.mechanism %s takes %s", login.class, mechanism, want[0]), "")
		return
	}
	m.out.Config.SASL = SASL{Mechanism: mechanism}
	if mechanism != MSKIAM {
		m.out.Config.SASL.User = login.options["username"]
		m.out.Config.SASL.Password = Secret(login.options["password"])
		m.ignoreOptions(login, "username", "password")
		return
	}
	m.out.Profile, m.out.Role = login.options["awsProfileName"], login.options["awsRoleArn"]
	m.ignoreOptions(login, "awsProfileName", "awsRoleArn")
	for _, addr := range m.out.Config.Brokers {
		if m.out.Config.SASL.Region = BrokerRegion(addr); m.out.Config.SASL.Region != "" {
			break
		}
	}
}

func (m *mapping) ignoreOptions(login loginModule, known ...string) {
	for name := range login.options {
		if !slices.Contains(known, name) {
			m.in["sasl.jaas.config "+name] = ""
		}
	}
}

// BrokerRegion is the AWS region in the name of an MSK broker, empty if there is none:
// b-1.orders.x1y2z3.c2.kafka.us-east-1.amazonaws.com:9098 is in us-east-1.
func BrokerRegion(addr string) string {
	host, _, _ := strings.Cut(addr, ":")
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if (label == "kafka" || label == "kafka-serverless") && i+2 < len(labels) && strings.HasPrefix(labels[i+2], "amazonaws") {
			return labels[i+1]
		}
	}
	return ""
}

func (m *mapping) tls() {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	trust := m.store("ssl.truststore", m.take("ssl.truststore.certificates"))
	if trust != nil {
		pool, err := certPool(trust)
		if err != nil {
			m.refuse("ssl.truststore: "+err.Error(), "")
		}
		c.RootCAs = pool
	}
	own := m.store("ssl.keystore", joinPEM(m.take("ssl.keystore.certificate.chain"), m.take("ssl.keystore.key")))
	m.take("ssl.key.password") // an encrypted key is refused below, with or without it
	if own != nil {
		pair, err := keyPair(own)
		if err != nil {
			m.refuse("ssl.keystore: "+err.Error(), "decrypt the key: openssl pkcs8 -in key.pem -out plain.pem; the file holds key, certificate and chain")
		} else {
			c.Certificates = []tls.Certificate{pair}
		}
	}
	algorithm, given := m.in["ssl.endpoint.identification.algorithm"]
	delete(m.in, "ssl.endpoint.identification.algorithm")
	switch strings.ToLower(strings.TrimSpace(algorithm)) {
	case "https":
	case "":
		if given {
			m.out.NameUnchecked = true
			uncheckName(c)
		}
	default:
		m.refuse("ssl.endpoint.identification.algorithm is neither https nor empty", "")
	}
	m.out.Config.TLS = c
}

func joinPEM(parts ...string) string { return strings.TrimSpace(strings.Join(parts, "\n")) }

// store is the PEM of a trust or key store: inline, or in a file. It is nil if neither is
// given.
func (m *mapping) store(name, inline string) []byte {
	location, kind := m.take(name+".location"), strings.ToUpper(m.take(name+".type"))
	m.take(name + ".password") // of a Java store; PEM has none
	if inline != "" {
		return unfoldPEM(inline)
	}
	if location == "" {
		return nil
	}
	const hint = "convert it to PEM: keytool -importkeystore -srckeystore STORE -destkeystore s.p12 -deststoretype PKCS12, then openssl pkcs12 -in s.p12 -nodes -out s.pem"
	if kind != "" && kind != "PEM" {
		m.refuse(name+".type "+kind+" is not supported, only PEM", hint)
		return nil
	}
	text, err := os.ReadFile(location)
	if err != nil {
		m.refuse(name+".location: "+err.Error(), "")
		return nil
	}
	if block, _ := pem.Decode(text); block == nil {
		m.refuse(name+".location "+location+" is not a PEM file but, it seems, a Java key store", hint)
		return nil
	}
	return text
}

// folded is a PEM block whose lines were joined.
var folded = regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END ([A-Z0-9 ]+)-----`)

// unfoldPEM gives PEM that stands in a properties file the line ends that it lost there: a
// value goes over several lines by a backslash at the end of each, which joins them.
func unfoldPEM(text string) []byte {
	return []byte(folded.ReplaceAllStringFunc(text, func(block string) string {
		m := folded.FindStringSubmatch(block)
		out := "-----BEGIN " + m[1] + "-----\n"
		for line := range slices.Chunk([]byte(strings.Join(strings.Fields(m[2]), "")), 64) {
			out += string(line) + "\n"
		}
		return out + "-----END " + m[3] + "-----\n"
	}))
}

// keyPair takes key, certificate and chain from one PEM text, in any order.
func keyPair(text []byte) (tls.Certificate, error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return tls.Certificate{}, errors.New("the private key is encrypted")
		}
	}
	if !bytes.Contains(text, []byte("PRIVATE KEY")) {
		return tls.Certificate{}, errors.New("there is no private key in it")
	}
	return tls.X509KeyPair(text, text)
}

// uncheckName makes c verify who signed the broker's certificate, but not for which name.
func uncheckName(c *tls.Config) {
	roots := c.RootCAs
	c.InsecureSkipVerify = true // replaced by the check below
	c.VerifyConnection = func(s tls.ConnectionState) error {
		o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(o)
		return err
	}
}
