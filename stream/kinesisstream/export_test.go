package kinesisstream

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	"github.com/kinesis-msk-bridge/bridge"
)

// ProtocolOf is what a client with this codec speaks.
func ProtocolOf(c Codec) (smithyhttp.ClientProtocol, error) {
	o := kinesis.Options{Protocol: awsjson.New11(schemas.Kinesis_20131202)}
	err := c.Plug(&o)
	return o.Protocol, err
}

// DecodeJSON decodes without the SDK's help; it is false if that would be needed.
func DecodeJSON(body []byte, out smithy.Deserializable) bool {
	return new(scratch).decodeJSON(body, out)
}

// AppendPutJSON and AppendPutCBOR write the body of a request.
func AppendPutJSON(b []byte, in *kinesis.PutRecordsInput) []byte { return appendPutJSON(b, in) }
func AppendPutCBOR(b []byte, in *kinesis.PutRecordsInput) []byte { return appendPutCBOR(b, in) }

// API is the SDK's client that a Client calls.
func (c *Client) API() *kinesis.Client { return c.api }

// AppendBase64 and DecodeBase64 are those of the standard library, done faster.
func AppendBase64(dst, src []byte) []byte             { return appendBase64(dst, src) }
func DecodeBase64(dst, src []byte) (n int, err error) { return decodeBase64(dst, src) }

// Share is percent of n, which are the cases of a full run: RUNS of them, or 2.
func Share(t *testing.T, n int) int {
	percent := 2
	if s := os.Getenv("RUNS"); s != "" {
		var err error
		if percent, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n * percent / 100
}

// Hurry lets the next read of an idle shard wait for nothing.
func Hurry(r bridge.Reader) { r.(*reader).next, r.(*reader).idle = time.Time{}, 0 }
