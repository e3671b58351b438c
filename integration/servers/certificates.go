package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A Certificate is what the secure listener shows.
type Certificate int

const (
	// Good is for localhost and 127.0.0.1, and valid.
	Good Certificate = iota
	// WrongName is for another host.
	WrongName
	// Expired was valid until yesterday.
	Expired
)

// Certificates are PEM files.
type Certificates struct {
	CA      string // signed what the listener shows
	OtherCA string // did not
	broker  string // key, certificate and CA in one file
}

func (c Certificates) properties() map[string]string {
	const l = "listener.name.secure."
	scram := `org.apache.kafka.common.security.scram.ScramLoginModule required;`
	plain := fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, User, Password)
	return map[string]string{
		l + "sasl.enabled.mechanisms":        "SCRAM-SHA-512,PLAIN",
		l + "scram-sha-512.sasl.jaas.config": scram, l + "plain.sasl.jaas.config": plain,
		l + "ssl.keystore.type": "PEM", l + "ssl.keystore.location": c.broker,
		l + "ssl.truststore.type": "PEM", l + "ssl.truststore.location": c.CA,
		l + "ssl.client.auth": "none",
		// Kafka refuses to start with an expired certificate only if told to check it.
		l + "ssl.allow.dn.changes": "true",
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func makeCertificates(dir string, what Certificate) (Certificates, error) {
	c := Certificates{CA: filepath.Join(dir, "ca.pem"), OtherCA: filepath.Join(dir, "other-ca.pem"), broker: filepath.Join(dir, "broker.pem")}
	ca, err := newAuthority(c.CA, "bridge test authority")
	if err != nil {
		return c, err
	}
	if _, err := newAuthority(c.OtherCA, "another authority"); err != nil {
		return c, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	switch what {
	case WrongName:
		t.DNSNames, t.IPAddresses = []string{"kafka.example"}, nil
	case Expired:
		t.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return c, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})...)
	return c, os.WriteFile(c.broker, out, 0o600)
}

func newAuthority(file, name string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-72 * time.Hour), NotAfter: time.Now().Add(72 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, err
	}
	return authority{cert, key}, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
