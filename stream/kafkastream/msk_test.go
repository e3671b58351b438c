package kafkastream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

const clusterARN = "arn:aws:kafka:us-east-1:123456789012:cluster/orders/abc-1"

// mskFake answers GetBootstrapBrokers.
type mskFake struct {
	out kafka.GetBootstrapBrokersOutput
	err error
	arn string
}

func (m *mskFake) GetBootstrapBrokers(_ context.Context, in *kafka.GetBootstrapBrokersInput, _ ...func(*kafka.Options)) (*kafka.GetBootstrapBrokersOutput, error) {
	m.arn = aws.ToString(in.ClusterArn)
	return &m.out, m.err
}

func TestMSKBrokers(t *testing.T) {
	// As the service names them: b-N (-public for the internet), the port of the access.
	all := kafka.GetBootstrapBrokersOutput{
		BootstrapBrokerString:                         aws.String("b-1.o:9092,b-2.o:9092"),
		BootstrapBrokerStringTls:                      aws.String("b-1.o:9094,b-2.o:9094"),
		BootstrapBrokerStringSaslScram:                aws.String("b-1.o:9096,b-2.o:9096"),
		BootstrapBrokerStringSaslIam:                  aws.String("b-1.o:9098,b-2.o:9098"),
		BootstrapBrokerStringPublicTls:                aws.String("b-1-public.o:9194,b-2-public.o:9194"),
		BootstrapBrokerStringPublicSaslScram:          aws.String("b-1-public.o:9196,b-2-public.o:9196"),
		BootstrapBrokerStringPublicSaslIam:            aws.String("b-1-public.o:9198,b-2-public.o:9198"),
		BootstrapBrokerStringVpcConnectivityTls:       aws.String("b-1.vpce.o:14001,b-2.vpce.o:14002"),
		BootstrapBrokerStringVpcConnectivitySaslScram: aws.String("b-1.scram.vpce.o:14001,b-2.scram.vpce.o:14002"),
		BootstrapBrokerStringVpcConnectivitySaslIam:   aws.String("b-1.iam.vpce.o:14001,b-2.iam.vpce.o:14002"),
		BootstrapBrokerStringIpv6:                     aws.String("b-1.v6.o:20092,b-2.v6.o:20092"),
		BootstrapBrokerStringTlsIpv6:                  aws.String("b-1.v6.o:20094,b-2.v6.o:20094"),
		BootstrapBrokerStringSaslScramIpv6:            aws.String("b-1.v6.o:20096,b-2.v6.o:20096"),
		BootstrapBrokerStringSaslIamIpv6:              aws.String("b-1.v6.o:20098, b-2.v6.o:20098"),
	}
	overTLS := &tls.Config{}
	plain, mutual := kafkastream.Config{}, kafkastream.Config{TLS: overTLS}
	scram := kafkastream.Config{TLS: overTLS, SASL: kafkastream.SASL{Mechanism: kafkastream.ScramSHA512}}
	iam := kafkastream.Config{TLS: overTLS, SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM}}
	tests := []struct {
		config  kafkastream.Config
		network kafkastream.Network
		want    string
	}{
		{plain, kafkastream.Private, "b-1.o:9092 b-2.o:9092"},
		{mutual, kafkastream.Private, "b-1.o:9094 b-2.o:9094"},
		{scram, kafkastream.Private, "b-1.o:9096 b-2.o:9096"},
		{iam, kafkastream.Private, "b-1.o:9098 b-2.o:9098"},
		{mutual, kafkastream.Public, "b-1-public.o:9194 b-2-public.o:9194"},
		{scram, kafkastream.Public, "b-1-public.o:9196 b-2-public.o:9196"},
		{iam, kafkastream.Public, "b-1-public.o:9198 b-2-public.o:9198"},
		{mutual, kafkastream.PrivateLink, "b-1.vpce.o:14001 b-2.vpce.o:14002"},
		{scram, kafkastream.PrivateLink, "b-1.scram.vpce.o:14001 b-2.scram.vpce.o:14002"},
		{iam, kafkastream.PrivateLink, "b-1.iam.vpce.o:14001 b-2.iam.vpce.o:14002"},
		{plain, kafkastream.IPv6, "b-1.v6.o:20092 b-2.v6.o:20092"},
		{mutual, kafkastream.IPv6, "b-1.v6.o:20094 b-2.v6.o:20094"},
		{scram, kafkastream.IPv6, "b-1.v6.o:20096 b-2.v6.o:20096"},
		{iam, kafkastream.IPv6, "b-1.v6.o:20098 b-2.v6.o:20098"},
	}
	fake := &mskFake{out: all}
	for _, tt := range tests {
		got, err := kafkastream.MSKBrokers(t.Context(), fake, clusterARN, tt.config, tt.network)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s by %q: %v, %v; want %s", tt.config.SASL.Mechanism, tt.network, got, err, tt.want)
		}
	}
	if fake.arn != clusterARN {
		t.Errorf("asked for %s", fake.arn)
	}
	strings := 0
	for f := range reflect.TypeOf(all).NumField() {
		if reflect.TypeOf(all).Field(f).Type == reflect.TypeOf(aws.String("")) {
			strings++
		}
	}
	if strings != len(tests) {
		t.Errorf("the service has %d kinds of addresses, %d are known", strings, len(tests))
	}
}

func TestMSKBrokersRefused(t *testing.T) {
	iam := kafkastream.Config{TLS: &tls.Config{}, SASL: kafkastream.SASL{Mechanism: kafkastream.MSKIAM}}
	only := &mskFake{out: kafka.GetBootstrapBrokersOutput{BootstrapBrokerStringTls: aws.String("b:9094"), BootstrapBrokerStringPublicSaslIam: aws.String("b:9198")}}
	_, err := kafkastream.MSKBrokers(t.Context(), only, clusterARN, iam, kafkastream.Private)
	if diff := cmp.Diff("the cluster offers: private TLS, public IAM", bridge.Hint(err)); !errors.Is(err, bridge.ErrRefused) || diff != "" {
		t.Errorf("IAM where there is none: %v\n%s", err, diff)
	}
	if _, err := kafkastream.MSKBrokers(t.Context(), &mskFake{}, clusterARN, iam, kafkastream.Private); !errors.Is(err, bridge.ErrRefused) || bridge.Hint(err) == "" {
		t.Errorf("a cluster with no ports: %v", err)
	}
	for _, arn := range []string{"", "orders", "arn:aws:kinesis:us-east-1:1:stream/orders", "arn:aws:kafka:us-east-1:1:topic/orders", "arn:aws:kafka::1:cluster/orders/1"} {
		if _, err := kafkastream.MSKBrokers(t.Context(), only, arn, iam, kafkastream.Private); !errors.Is(err, bridge.ErrRefused) || bridge.Hint(err) == "" {
			t.Errorf("ARN %q: %v, want ErrRefused and a hint", arn, err)
		}
	}
	for _, sasl := range []kafkastream.SASL{{Mechanism: kafkastream.Plain}, {Mechanism: kafkastream.ScramSHA256}} {
		if _, err := kafkastream.MSKBrokers(t.Context(), only, clusterARN, kafkastream.Config{TLS: &tls.Config{}, SASL: sasl}, kafkastream.Private); !errors.Is(err, bridge.ErrRefused) {
			t.Errorf("SASL %s: %v, want ErrRefused", sasl.Mechanism, err)
		}
	}
}

func TestMSKErrors(t *testing.T) {
	for code, want := range map[string]error{
		"NotFoundException": bridge.ErrMissing, "ForbiddenException": bridge.ErrDenied, "UnauthorizedException": bridge.ErrDenied,
		"AccessDeniedException": bridge.ErrDenied, "TooManyRequestsException": bridge.ErrThrottled,
		"ServiceUnavailableException": bridge.ErrTransient, "InternalServerErrorException": bridge.ErrTransient, "BadRequestException": bridge.ErrRefused,
	} {
		fake := &mskFake{err: fmt.Errorf("operation error Kafka: %w", &smithy.GenericAPIError{Code: code, Message: "no"})}
		if _, err := kafkastream.MSKBrokers(t.Context(), fake, clusterARN, kafkastream.Config{}, kafkastream.Private); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", code, err, want)
		}
	}
	if region, err := kafkastream.MSKRegion(clusterARN); err != nil || region != "us-east-1" {
		t.Errorf("MSKRegion = %q, %v", region, err)
	}
}
