package kafkastream

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kafka"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// A BootstrapAPI is the one call of the MSK service that finds a cluster's brokers; the
// AWS SDK's *kafka.Client has it.
type BootstrapAPI interface {
	GetBootstrapBrokers(ctx context.Context, in *kafka.GetBootstrapBrokersInput, opts ...func(*kafka.Options)) (*kafka.GetBootstrapBrokersOutput, error)
}

// A Network is the way by which an MSK cluster is reached; each has addresses of its own.
type Network string

// The networks. Private is that of the cluster's own VPC, Public the internet, PrivateLink
// another VPC with multi-VPC connectivity, and IPv6 the cluster's VPC again.
const (
	Private     Network = ""
	Public      Network = "public"
	PrivateLink Network = "vpc"
	IPv6        Network = "ipv6"
)

// An mskAccess is one kind of port.
type mskAccess struct {
	auth    string
	network Network
}

const (
	mskPlaintext = "plaintext"  // 9092
	mskTLS       = "TLS"        // 9094, public 9194; mutual TLS too
	mskSCRAM     = "SASL/SCRAM" // 9096, public 9196
	mskIAM       = "IAM"        // 9098, public 9198
)

// mskStrings says which of the service's strings holds the addresses of which access.
func mskStrings(out *kafka.GetBootstrapBrokersOutput) map[mskAccess]*string {
	return map[mskAccess]*string{
		{mskPlaintext, Private}: out.BootstrapBrokerString,
		{mskPlaintext, IPv6}:    out.BootstrapBrokerStringIpv6,
		{mskTLS, Private}:       out.BootstrapBrokerStringTls,
		{mskTLS, Public}:        out.BootstrapBrokerStringPublicTls,
		{mskTLS, PrivateLink}:   out.BootstrapBrokerStringVpcConnectivityTls,
		{mskTLS, IPv6}:          out.BootstrapBrokerStringTlsIpv6,
		{mskSCRAM, Private}:     out.BootstrapBrokerStringSaslScram,
		{mskSCRAM, Public}:      out.BootstrapBrokerStringPublicSaslScram,
		{mskSCRAM, PrivateLink}: out.BootstrapBrokerStringVpcConnectivitySaslScram,
		{mskSCRAM, IPv6}:        out.BootstrapBrokerStringSaslScramIpv6,
		{mskIAM, Private}:       out.BootstrapBrokerStringSaslIam,
		{mskIAM, Public}:        out.BootstrapBrokerStringPublicSaslIam,
		{mskIAM, PrivateLink}:   out.BootstrapBrokerStringVpcConnectivitySaslIam,
		{mskIAM, IPv6}:          out.BootstrapBrokerStringSaslIamIpv6,
	}
}

// MSKBrokers asks MSK for the addresses of a cluster that suit the TLS and SASL of c, by
// the given network. It wraps ErrMissing if there is no such cluster, ErrDenied if this
// principal may not ask, and ErrRefused if the cluster offers nothing that suits; the hint
// then names what it does offer.
func MSKBrokers(ctx context.Context, api BootstrapAPI, clusterARN string, c Config, network Network) ([]string, error) {
	auth, err := mskAuth(c)
	if err != nil {
		return nil, err
	}
	if _, err := MSKRegion(clusterARN); err != nil {
		return nil, err
	}
	out, err := api.GetBootstrapBrokers(ctx, &kafka.GetBootstrapBrokersInput{ClusterArn: aws.String(clusterARN)})
	if err != nil {
		return nil, fmt.Errorf("find the brokers of %s: %w", clusterARN, classifyMSK(err))
	}
	all := mskStrings(out)
	var brokers []string
	for _, addr := range strings.Split(aws.ToString(all[mskAccess{auth, network}]), ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			brokers = append(brokers, addr)
		}
	}
	if len(brokers) == 0 {
		return nil, bridge.WithHint(fmt.Errorf("find the brokers of %s: it offers no %s port: %w", clusterARN, mskAccess{auth, network}, bridge.ErrRefused), offered(all))
	}
	return brokers, nil
}

// MSKRegion is the region in the ARN of an MSK cluster. It wraps ErrRefused if the ARN is
// not one of a cluster.
func MSKRegion(clusterARN string) (string, error) {
	a, err := arn.Parse(clusterARN)
	if err != nil || a.Service != "kafka" || a.Region == "" || !strings.HasPrefix(a.Resource, "cluster/") {
		return "", bridge.WithHint(fmt.Errorf("%q is not the ARN of an MSK cluster: %w", clusterARN, bridge.ErrRefused),
			"it looks like arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/ID")
	}
	return a.Region, nil
}

func mskAuth(c Config) (string, error) {
	switch {
	case c.SASL.Mechanism == MSKIAM:
		return mskIAM, nil
	case c.SASL.Mechanism == ScramSHA512 && c.TLS != nil:
		return mskSCRAM, nil
	case c.SASL.Mechanism != "":
		return "", bridge.WithHint(fmt.Errorf("MSK does not offer SASL %s (TLS: %v): %w", c.SASL.Mechanism, c.TLS != nil, bridge.ErrRefused),
			"use SCRAM-SHA-512 with TLS, or AWS_MSK_IAM")
	case c.TLS != nil:
		return mskTLS, nil
	}
	return mskPlaintext, nil
}

func (a mskAccess) String() string {
	if a.network == Private {
		return "private " + a.auth
	}
	return string(a.network) + " " + a.auth
}

// offered names every kind of port that the cluster has, in a fixed order.
func offered(all map[mskAccess]*string) string {
	var names []string
	for _, auth := range []string{mskPlaintext, mskTLS, mskSCRAM, mskIAM} {
		for _, network := range []Network{Private, Public, PrivateLink, IPv6} {
			if a := (mskAccess{auth, network}); aws.ToString(all[a]) != "" {
				names = append(names, a.String())
			}
		}
	}
	if names == nil {
		return "the cluster offers no port at all yet; wait until it is active"
	}
	return "the cluster offers: " + strings.Join(names, ", ")
}

// mskCodes says what errors mean that MSK alone answers with.
var mskCodes = awsapi.Codes{
	"NotFoundException": bridge.ErrMissing,
}

// classifyMSK gives an error of the MSK service its class.
func classifyMSK(err error) error {
	class := awsapi.Class(err, mskCodes)
	err = &classified{awsapi.Plain(err), class}
	switch class {
	case bridge.ErrMissing:
		return bridge.WithHint(err, "check name, account and region of the ARN")
	case bridge.ErrDenied:
		return bridge.WithHint(err, "allow this principal kafka:GetBootstrapBrokers on the cluster, or give the brokers themselves")
	}
	return err
}
