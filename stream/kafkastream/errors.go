package kafkastream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// Numbers of the protocol that sarama has no name for.
const (
	errUnknownTopicID      sarama.KError = 100
	errInconsistentTopicID sarama.KError = 103
	errFetchSessionTopicID sarama.KError = 106
	errShareSessionLimit   sarama.KError = 133
)

// kerrorClasses says what an answer of a broker means to an engine. What is not listed is
// ErrRefused: the request is wrong, and stays so.
var kerrorClasses = map[sarama.KError]error{
	// -1 hides any exception inside the broker. Trying again costs a stall that the lag
	// shows; giving up would end a mirror for a passing fault.
	sarama.ErrUnknown:                            bridge.ErrTransient,
	sarama.ErrInvalidMessage:                     bridge.ErrTransient, // a CRC broken on the way
	sarama.ErrLeaderNotAvailable:                 bridge.ErrTransient,
	sarama.ErrNotLeaderForPartition:              bridge.ErrTransient,
	sarama.ErrRequestTimedOut:                    bridge.ErrTransient,
	sarama.ErrBrokerNotAvailable:                 bridge.ErrTransient,
	sarama.ErrReplicaNotAvailable:                bridge.ErrTransient,
	sarama.ErrStaleControllerEpochCode:           bridge.ErrTransient,
	sarama.ErrNetworkException:                   bridge.ErrTransient,
	sarama.ErrOffsetsLoadInProgress:              bridge.ErrTransient,
	sarama.ErrConsumerCoordinatorNotAvailable:    bridge.ErrTransient,
	sarama.ErrNotCoordinatorForConsumer:          bridge.ErrTransient,
	sarama.ErrNotEnoughReplicas:                  bridge.ErrTransient,
	sarama.ErrNotEnoughReplicasAfterAppend:       bridge.ErrTransient,
	sarama.ErrRebalanceInProgress:                bridge.ErrTransient,
	sarama.ErrNotController:                      bridge.ErrTransient,
	sarama.ErrConcurrentTransactions:             bridge.ErrTransient,
	sarama.ErrTransactionCoordinatorFenced:       bridge.ErrTransient,
	sarama.ErrKafkaStorageError:                  bridge.ErrTransient,
	sarama.ErrReassignmentInProgress:             bridge.ErrTransient,
	sarama.ErrFetchSessionIDNotFound:             bridge.ErrTransient,
	sarama.ErrInvalidFetchSessionEpoch:           bridge.ErrTransient,
	sarama.ErrListenerNotFound:                   bridge.ErrTransient,
	sarama.ErrFencedLeaderEpoch:                  bridge.ErrTransient,
	sarama.ErrUnknownLeaderEpoch:                 bridge.ErrTransient,
	sarama.ErrStaleBrokerEpoch:                   bridge.ErrTransient,
	sarama.ErrOffsetNotAvailable:                 bridge.ErrTransient,
	sarama.ErrPreferredLeaderNotAvailable:        bridge.ErrTransient,
	sarama.ErrEligibleLeadersNotAvailable:        bridge.ErrTransient,
	sarama.ErrUnstableOffsetCommit:               bridge.ErrTransient,
	sarama.ErrElectionNotNeeded:                  bridge.ErrTransient,
	errFetchSessionTopicID:                       bridge.ErrTransient,
	errShareSessionLimit:                         bridge.ErrTransient,
	sarama.ErrThrottlingQuotaExceeded:            bridge.ErrThrottled,
	sarama.ErrInvalidProducerEpoch:               bridge.ErrFenced,
	sarama.ErrProducerFenced:                     bridge.ErrFenced,
	sarama.ErrFencedInstancedId:                  bridge.ErrFenced,
	sarama.ErrTopicAuthorizationFailed:           bridge.ErrDenied,
	sarama.ErrGroupAuthorizationFailed:           bridge.ErrDenied,
	sarama.ErrClusterAuthorizationFailed:         bridge.ErrDenied,
	sarama.ErrTransactionalIDAuthorizationFailed: bridge.ErrDenied,
	sarama.ErrUnsupportedSASLMechanism:           bridge.ErrDenied,
	sarama.ErrIllegalSASLState:                   bridge.ErrDenied,
	sarama.ErrSecurityDisabled:                   bridge.ErrDenied,
	sarama.ErrSASLAuthenticationFailed:           bridge.ErrDenied,
	sarama.ErrUnknownTopicOrPartition:            bridge.ErrMissing,
	sarama.ErrGroupIDNotFound:                    bridge.ErrMissing,
	errUnknownTopicID:                            bridge.ErrMissing,
	errInconsistentTopicID:                       bridge.ErrChanged,
	sarama.ErrMessageSizeTooLarge:                bridge.ErrOversize,
	sarama.ErrMessageSetSizeTooLarge:             bridge.ErrOversize,
	sarama.ErrTopicAlreadyExists:                 bridge.ErrConflict,
}

// kerrorHints are the ways out that an operator can take.
var kerrorHints = map[sarama.KError]string{
	sarama.ErrTopicAuthorizationFailed:           "allow this principal Describe and Read or Write on the topic (IAM: kafka-cluster:DescribeTopic, ReadData, WriteData)",
	sarama.ErrGroupAuthorizationFailed:           "allow this principal Read on the consumer group (IAM: kafka-cluster:AlterGroup, DescribeGroup)",
	sarama.ErrClusterAuthorizationFailed:         "allow this principal the cluster operation (IAM: kafka-cluster:Connect, DescribeCluster, WriteDataIdempotently)",
	sarama.ErrTransactionalIDAuthorizationFailed: "allow this principal Write on the transactional id (IAM: kafka-cluster:AlterTransactionalId, DescribeTransactionalId)",
	sarama.ErrUnsupportedSASLMechanism:           "choose a SASL mechanism that this listener offers; each MSK port serves one",
	sarama.ErrIllegalSASLState:                   "this port takes no SASL: use the one for the mechanism (MSK: 9096 SCRAM, 9098 IAM), or none",
	sarama.ErrSASLAuthenticationFailed:           "check user, password and mechanism; for IAM check the region, the credentials and kafka-cluster:Connect",
	sarama.ErrSecurityDisabled:                   "this listener has no security: use another port, or no authentication",
	sarama.ErrMessageSizeTooLarge:                "raise max.message.bytes of the topic",
}

// classes lists what classify may already have been applied to.
var classes = []error{
	bridge.ErrThrottled, bridge.ErrTransient, bridge.ErrUnreachable, bridge.ErrDenied,
	bridge.ErrMissing, bridge.ErrRefused, bridge.ErrGap, bridge.ErrChanged, bridge.ErrFenced,
	bridge.ErrState, bridge.ErrConflict, bridge.ErrForeignPosition, bridge.ErrOversize,
	bridge.ErrUndecodable, bridge.ErrUnmappable, bridge.ErrLostTrack,
}

// A classified error reads as what happened and is what it means.
type classified struct {
	error
	class error
}

func (c *classified) Unwrap() []error { return []error{c.error, c.class} }

// classify gives err the class that engines ask for, and a hint where there is one. An
// error that has a class, or is the caller's own cancellation, is returned as it is.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case hasClass(err):
		return err
	}
	if code, ok := kerror(err); ok {
		return bridge.WithHint(&classified{err, kerrorClass(code)}, kerrorHints[code])
	}
	if e := classifyTLS(err); e != nil {
		return e
	}
	if e := classifyNet(err); e != nil {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return classifyClient(err)
}

// classify is classify, but credentials that the brokers accepted before may be refused for
// some minutes, as while a password or a policy is changed.
func (c *Client) classify(err error) error {
	err = classify(err)
	if errors.Is(err, sarama.ErrSASLAuthenticationFailed) && c.grace.Passes(time.Now()) {
		return &reclassified{err, bridge.ErrTransient}
	}
	return err
}

// kerror finds the number that a broker answered with. sarama wraps some, such as a refused
// authentication with the broker's words, so that only errors.Is finds them.
func kerror(err error) (sarama.KError, bool) {
	var code sarama.KError
	if errors.As(err, &code) {
		return code, true
	}
	for code := range kerrorClasses {
		if errors.Is(err, code) {
			return code, true
		}
	}
	return 0, false
}

func hasClass(err error) bool {
	for _, class := range classes {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

func kerrorClass(code sarama.KError) error {
	if class, ok := kerrorClasses[code]; ok {
		return class
	}
	return bridge.ErrRefused
}

// classifyTLS knows the failures of a handshake; each is final until somebody changes a
// certificate or the configuration. It is nil for any other error.
func classifyTLS(err error) error {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	what, hint := "", ""
	switch {
	case errors.As(err, &authority):
		what, hint = "the broker's certificate is signed by an unknown authority", "give the file of the authority that signed it as CA file"
	case errors.As(err, &name):
		what, hint = "the broker's certificate is for another name", "use the broker's name as in its certificate, or set the server name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what, hint = "the broker's certificate has expired or is not valid yet", "renew the certificate; check this machine's clock"
	case errors.As(err, &invalid):
		what, hint = "the broker's certificate is not valid", "renew the certificate"
	case errors.As(err, &record):
		what, hint = "the broker does not speak TLS on this port", "use the TLS port (MSK: 9094, 9096 or 9098), or switch TLS off"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls"):
		what, hint = "the broker refused the TLS handshake", "give the client certificate and key that the broker asks for"
	default:
		return nil
	}
	return bridge.WithHint(&classified{fmt.Errorf("%s: %w", what, err), bridge.ErrDenied}, hint)
}

// classifyNet knows the failures of connections: nobody there, or cut off. It is nil for
// any other error. It comes before the test for cancellation, because a connection that
// timed out says that it is context.DeadlineExceeded.
func classifyNet(err error) error {
	var (
		op  *net.OpError
		dns *net.DNSError
		any net.Error
	)
	switch {
	case errors.As(err, &dns):
		return bridge.WithHint(&classified{err, bridge.ErrUnreachable}, "check the broker's name and this machine's resolver; MSK names resolve everywhere but answer only inside the VPC")
	case errors.As(err, &op) && op.Op == "dial":
		return bridge.WithHint(&classified{err, bridge.ErrUnreachable}, "check address, port, security groups and routes")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		op != nil:
		return &classified{err, bridge.ErrTransient}
	case errors.As(err, &any) && any != error(context.DeadlineExceeded):
		return &classified{err, bridge.ErrTransient}
	}
	return nil
}

// classifyClient knows sarama's own errors, which no broker sent.
func classifyClient(err error) error {
	var (
		config sarama.ConfigurationError
		encode sarama.PacketEncodingError
	)
	switch {
	case errors.As(err, &config), errors.As(err, &encode):
		return &classified{err, bridge.ErrRefused}
	case errors.Is(err, sarama.ErrOutOfBrokers), errors.Is(err, sarama.ErrBrokerNotFound):
		return &classified{err, bridge.ErrUnreachable}
	}
	// Closed, not connected, incomplete, not decodable: the next connection may do better.
	return &classified{err, bridge.ErrTransient}
}

// atStart turns an error of the very first connection into the one sentence that tells
// what is wrong. A broker that does not like what it hears closes without an answer, and
// before any request was ever answered that means that the two do not speak the same.
func atStart(err error, c Config) error {
	if !errors.Is(err, bridge.ErrTransient) {
		return err
	}
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case closed && c.SASL.Mechanism != "":
		return bridge.WithHint(&reclassified{fmt.Errorf("the broker closed the connection during authentication: %w", err), bridge.ErrDenied},
			"check user, password and mechanism, and that the port is the one for this mechanism")
	case closed && c.TLS != nil:
		return bridge.WithHint(&reclassified{fmt.Errorf("the broker closed the connection at the TLS handshake or right behind it: %w", err), bridge.ErrDenied},
			"the port may not speak TLS, or ask for a client certificate or SASL (MSK: 9092 plaintext, 9094 TLS, 9096 SCRAM, 9098 IAM)")
	case closed:
		return bridge.WithHint(&reclassified{fmt.Errorf("the broker closed the connection without an answer: %w", err), bridge.ErrDenied},
			"the port may expect TLS or SASL (MSK: 9092 plaintext, 9094 TLS, 9096 SCRAM, 9098 IAM)")
	}
	return &reclassified{err, bridge.ErrUnreachable}
}

// A reclassified error has another class than the error that it tells of.
type reclassified struct {
	error
	class error
}

func (r *reclassified) Unwrap() error { return r.class }
