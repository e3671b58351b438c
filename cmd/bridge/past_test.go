package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestOwnPast runs the stories of what a start finds of its own workflow and of others.
func TestOwnPast(t *testing.T) {
	p := params()
	p.Dir, p.UpdateScripts = "testdata/past", *update
	testscript.Run(t, p)
}
