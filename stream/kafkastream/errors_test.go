package kafkastream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		err       error
		want      error
		retryable bool
	}{
		{sarama.KError(90), bridge.ErrFenced, false}, // PRODUCER_FENCED
		{sarama.KError(47), bridge.ErrFenced, false}, // INVALID_PRODUCER_EPOCH
		{sarama.ErrNotLeaderForPartition, bridge.ErrTransient, true},
		{sarama.ErrLeaderNotAvailable, bridge.ErrTransient, true},
		{sarama.ErrNotEnoughReplicas, bridge.ErrTransient, true},
		{sarama.ErrConcurrentTransactions, bridge.ErrTransient, true},
		{sarama.ErrUnknown, bridge.ErrTransient, true},
		{sarama.ErrThrottlingQuotaExceeded, bridge.ErrThrottled, true},
		{sarama.ErrTopicAuthorizationFailed, bridge.ErrDenied, false},
		{sarama.ErrGroupAuthorizationFailed, bridge.ErrDenied, false},
		{sarama.ErrClusterAuthorizationFailed, bridge.ErrDenied, false},
		{sarama.ErrTransactionalIDAuthorizationFailed, bridge.ErrDenied, false},
		{sarama.Wrap(sarama.ErrSASLAuthenticationFailed, errors.New("bad password")), bridge.ErrDenied, false},
		{sarama.ErrUnknownTopicOrPartition, bridge.ErrMissing, false},
		{sarama.KError(100), bridge.ErrMissing, false},
		{sarama.ErrMessageSizeTooLarge, bridge.ErrOversize, false},
		{sarama.ErrTopicAlreadyExists, bridge.ErrConflict, false},
		{&sarama.TopicError{Err: sarama.ErrInvalidReplicationFactor}, bridge.ErrRefused, false},
		{sarama.KError(12345), bridge.ErrRefused, false},
		{fmt.Errorf("in a request: %w", sarama.ErrNotCoordinatorForConsumer), bridge.ErrTransient, true},
		{io.EOF, bridge.ErrTransient, true},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), bridge.ErrTransient, true},
		{&net.OpError{Op: "read", Err: errors.New("i/o timeout")}, bridge.ErrTransient, true},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, bridge.ErrUnreachable, true},
		{&net.DNSError{Err: "no such host", Name: "b-1", IsNotFound: true}, bridge.ErrUnreachable, true},
		{sarama.Wrap(sarama.ErrOutOfBrokers), bridge.ErrUnreachable, true},
		{sarama.Wrap(sarama.ErrOutOfBrokers, io.EOF), bridge.ErrTransient, true},
		{sarama.ErrNotConnected, bridge.ErrTransient, true},
		{sarama.ErrIncompleteResponse, bridge.ErrTransient, true},
		{sarama.ConfigurationError("wrong"), bridge.ErrRefused, false},
		{tls.AlertError(42), bridge.ErrDenied, false}, // bad certificate
		{fmt.Errorf("written before: %w", bridge.ErrGap), bridge.ErrGap, false},
	}
	for _, tt := range tests {
		got := kafkastream.Classify(tt.err)
		if !errors.Is(got, tt.want) || !errors.Is(got, tt.err) || bridge.Retryable(got) != tt.retryable {
			t.Errorf("classify(%v) = %v: want %v, retryable %v", tt.err, got, tt.want, tt.retryable)
		}
		if again := kafkastream.Classify(got); again != got {
			t.Errorf("classify of what is classified, %v, is another error", tt.err)
		}
	}
	for _, err := range []error{nil, context.Canceled, context.DeadlineExceeded} {
		if got := kafkastream.Classify(err); got != err {
			t.Errorf("classify(%v) = %v, want it as it is", err, got)
		}
	}
	if kafkastream.Classify(sarama.ErrTransactionalIDAuthorizationFailed); bridge.Hint(kafkastream.Classify(sarama.ErrTransactionalIDAuthorizationFailed)) == "" {
		t.Error("a denied transactional id has no hint")
	}
}
