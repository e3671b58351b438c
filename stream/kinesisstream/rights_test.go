package kinesisstream_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A detour carries the calls for the hosts of AWS to a server.
type detour struct {
	*http.Client
	to *url.URL
}

func (d detour) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = d.to.Scheme, d.to.Host
	return d.Client.Do(r)
}

// An ignorant server does not know dry runs.
type ignorant struct{ detour }

func (i ignorant) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.Replace(body, []byte(`"DryRun":true,`), nil, 1)
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return i.detour.Do(r)
}

// asAWS is a client that sets no endpoint, and whose calls srv answers.
func asAWS(t *testing.T, srv *kinesistest.Server, name string, codec kinesisstream.Codec) *kinesisstream.Client {
	t.Helper()
	to, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := config(srv, name)
	c.EndpointURL, c.HTTP, c.Codec = "", detour{srv.HTTPClient(), to}, codec
	client, err := kinesisstream.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Each right is found by itself, with the host that was called, and nothing is stored.
func TestRights(t *testing.T) {
	kms := &kinesistest.Error{Status: 400, Type: "KMSAccessDeniedException", Message: "the key"}
	for _, c := range []struct {
		denied  string
		fault   *kinesistest.Error
		refused []string
		unknown []string
		hint    string
	}{
		{},
		{denied: "PutRecords", refused: []string{"kinesis:PutRecords"}, hint: "allow this principal kinesis:PutRecords on arn:aws:kinesis:"},
		{denied: "GetRecords", refused: []string{"kinesis:GetRecords"}, hint: "kinesis:GetRecords on arn:"},
		{denied: "GetShardIterator", refused: []string{"kinesis:GetShardIterator"}, unknown: []string{"kinesis:GetRecords"}, hint: "kinesis:GetShardIterator on arn:"},
		{denied: "PutRecords", fault: kms, refused: []string{"kinesis:PutRecords"}, hint: "kms:GenerateDataKey"},
	} {
		for _, codec := range kinesisstream.Codecs() {
			srv := fast(t)
			st := stream(t, srv, 2)
			client := asAWS(t, srv, st.Name(), codec)
			srv.SetDeny(func(call kinesistest.Call) bool { return c.fault == nil && call.Op == c.denied })
			if c.fault != nil {
				srv.SetFault(kinesistest.Next(c.denied, 1, kinesistest.Fault{Error: c.fault}))
			}
			rights, err := client.Rights(t.Context(), true)
			if err != nil || len(rights) != 3 {
				t.Fatalf("%s denied: %v, %v", c.denied, rights, err)
			}
			var refused, unknown []string
			for _, r := range rights {
				switch {
				case r.Unknown != "":
					unknown = append(unknown, r.Action)
					continue
				case r.Err != nil:
					refused = append(refused, r.Action)
					if !errors.Is(r.Err, bridge.ErrDenied) || !strings.Contains(bridge.Hint(r.Err), c.hint) {
						t.Errorf("%s denied: %v, hint %q", c.denied, r.Err, bridge.Hint(r.Err))
					}
				}
				if !strings.HasSuffix(r.Host, ".amazonaws.com") {
					t.Errorf("%s: the host is %q", r.Action, r.Host)
				}
			}
			if strings.Join(refused, " ") != strings.Join(c.refused, " ") || strings.Join(unknown, " ") != strings.Join(c.unknown, " ") {
				t.Errorf("%s denied: refused %v, unknown %v, want %v, %v", c.denied, refused, unknown, c.refused, c.unknown)
			}
			if n := srv.Counts("PutRecords"); n.Calls != 1 || n.Stored != 0 {
				t.Errorf("%s denied: %+v", c.denied, n)
			}
		}
	}
}

// A server at an endpoint that somebody sets may be too old for dry runs: it is asked to
// store nothing, wherever the endpoint is set.
func TestNoDryRunOfPutsAtAnEndpoint(t *testing.T) {
	for _, variable := range []string{"", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS"} {
		srv := fast(t)
		st := stream(t, srv, 1)
		c := config(srv, st.Name())
		if variable != "" {
			c.EndpointURL = ""
			t.Setenv(variable, srv.URL())
		}
		client, err := kinesisstream.Dial(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		rights, err := client.Rights(t.Context(), true)
		if err != nil || len(rights) != 3 || rights[2].Unknown == "" || rights[0].Unknown+rights[1].Unknown != "" {
			t.Errorf("%s: %+v, %v", variable, rights, err)
		}
		if n := srv.Counts("PutRecords").Calls; n > 0 {
			t.Errorf("%s: %d puts", variable, n)
		}
	}
}

// A retryable error says nothing about a right. A host that stores the dry run fails the check.
func TestRightsThatCannotBeJudged(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	client := asAWS(t, srv, st.Name(), kinesisstream.CodecJSON)
	for _, op := range []string{"GetShardIterator", "GetRecords", "PutRecords"} {
		srv.SetFault(kinesistest.Next(op, 1, kinesistest.Fault{Error: kinesistest.Throttled()}))
		if _, err := client.Rights(t.Context(), true); !bridge.Retryable(err) {
			t.Errorf("%s throttled: %v", op, err)
		}
	}
	to, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := config(srv, st.Name())
	c.EndpointURL, c.HTTP, c.Codec = "", ignorant{detour{srv.HTTPClient(), to}}, kinesisstream.CodecJSON
	if client, err = kinesisstream.Dial(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	rights, err := client.Rights(t.Context(), true)
	if err != nil || !errors.Is(rights[2].Err, bridge.ErrRefused) || !strings.Contains(rights[2].Err.Error(), "stored a record") {
		t.Errorf("%+v, %v", rights, err)
	}
}
