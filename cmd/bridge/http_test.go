package main

import (
	"io"
	"net"
	"net/http"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdPort finds a free port of this machine: port METRICS sets $METRICS to 127.0.0.1:PORT.
func cmdPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// cmdGet writes what an address answers to a file: get URL FILE. With ! it must not answer
// with 200.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] get URL FILE")
	}
	res, err := http.Get(args[0])
	if neg && err != nil {
		return
	}
	ts.Check(err)
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(res.Body.Close())
	if (res.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("%s answers %s: %s", args[0], res.Status, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o600))
}
