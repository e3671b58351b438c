package awsapi_test

import (
	"testing"

	"github.com/aws/smithy-go/logging"

	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// Clients made from the configuration write no lines of their own among those of the log.
func TestClientsWriteNoLines(t *testing.T) {
	conf, err := awsapi.Load(t.Context(), awsapi.Config{Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, quiet := conf.Logger.(logging.Nop); !quiet {
		t.Errorf("clients log to %T", conf.Logger)
	}
}
