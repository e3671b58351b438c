package kafkastream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/IBM/sarama"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// What the protocol calls retriable is retryable, but for what means that a topic is gone.
func TestWhatTheProtocolRetriesIsRetryable(t *testing.T) {
	final := map[int16]error{
		kerr.UnknownTopicOrPartition.Code: bridge.ErrMissing,
		kerr.UnknownTopicID.Code:          bridge.ErrMissing,
		kerr.InconsistentTopicID.Code:     bridge.ErrChanged,
	}
	retriable := 0
	for code := int16(-1); code < 200; code++ {
		e, ok := kerr.TypedErrorForCode(code), code != 0
		if !ok || e == nil || e.Code != code || !e.Retriable {
			continue
		}
		retriable++
		got := kafkastream.Classify(sarama.KError(code))
		if want := final[code]; want != nil {
			if !errors.Is(got, want) {
				t.Errorf("%s is %v, want %v", e.Message, got, want)
			}
		} else if !bridge.Retryable(got) {
			t.Errorf("%s is %v: not retryable", e.Message, got)
		}
	}
	if retriable < 20 {
		t.Errorf("only %d codes were tried", retriable)
	}
}

// Credentials of IAM that cannot be had for a moment are no refusal.
func TestIAMCredentialsThatPass(t *testing.T) {
	for _, c := range []struct {
		err  error
		pass bool
	}{
		{&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("169.254.169.254: i/o timeout")}, true},
		{fmt.Errorf("get it: %w", io.ErrUnexpectedEOF), true},
		{&smithy.GenericAPIError{Code: "Throttling"}, true},
		{&smithy.GenericAPIError{Code: "RequestTimeout"}, true},
		{&smithy.GenericAPIError{Code: "AccessDenied"}, false},
	} {
		p, err := kafkastream.IAMTokens(t.Context(), kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: "us-east-1",
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, c.err })})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Token()
		if got := bridge.Retryable(kafkastream.Classify(err)); got != c.pass || bridge.Hint(err) == "" {
			t.Errorf("%v: retryable %v, want %v, hint %q", err, got, c.pass, bridge.Hint(err))
		}
	}
}
