package main

import (
	"net/http"
	"net/http/httptest"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdS3 is the S3 of a script:
//
//	s3 start           AWS_ENDPOINT_URL_S3 is its address
//	s3 create BUCKET
func cmdS3(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) == 1 && args[0] == "start":
		web := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
		ts.Defer(web.Close)
		ts.Setenv("AWS_ENDPOINT_URL_S3", web.URL)
	case !neg && len(args) == 2 && args[0] == "create":
		req, err := http.NewRequest(http.MethodPut, ts.Getenv("AWS_ENDPOINT_URL_S3")+"/"+args[1], nil)
		ts.Check(err)
		answer, err := http.DefaultClient.Do(req)
		ts.Check(err)
		ts.Check(answer.Body.Close())
		if answer.StatusCode != http.StatusOK {
			ts.Fatalf("create bucket %s: %s", args[1], answer.Status)
		}
	default:
		ts.Fatalf("usage: s3 start, s3 create BUCKET")
	}
}
