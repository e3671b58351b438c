package main

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write golden files, and what scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bridge":     main,
		"bridge-sim": simMain,
	})
}

// TestScript runs the stories under testdata/script: what a person types, and what comes
// back. In them "bridge" is the program itself, and "bridge-sim" the same program with
// ends that do as the environment says, see sim_test.go.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      cmdCode,
			"remember":  cmdRemember,
			"unchanged": cmdUnchanged,
			"flip":      cmdFlip,
			"waitfor":   cmdWaitFor,
			"ended":     cmdEnded,
			"kinesis":   cmdKinesis,
			"kafka":     cmdKafka,
			"jsonpath":  cmdJSON,
			"signal":    cmdSignal,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[storyKey{}] = &story{}
			e.Values[serversKey{}] = &servers{}
			return nil
		},
	})
}
