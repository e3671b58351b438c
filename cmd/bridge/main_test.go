package main

import (
	"cmp"
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write golden files, and what scripts compare with")

func TestMain(m *testing.M) {
	// Stories wait for services more than they compute; -parallel says otherwise.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	if err := os.Setenv("GORACE", quickExit()); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"bridge":     main,
		"bridge-sim": simMain,
	})
}

// quickExit is GORACE for the programs that tests start: with the race detector in it, a
// program would sleep for a second before each exit. It still reports the races that it found.
func quickExit() string {
	return cmp.Or(os.Getenv("GORACE"), "atexit_sleep_ms=0")
}

// TestScript runs the stories under testdata/script: what a person types, and what comes
// back. In them "bridge" is the program itself, and "bridge-sim" the same program with
// ends that do as the environment says, see sim_test.go.
func TestScript(t *testing.T) {
	p := params()
	p.Dir, p.UpdateScripts = "testdata/script", *update
	testscript.Run(t, p)
}

// params is what every script can do.
func params() testscript.Params {
	return testscript.Params{
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      cmdCode,
			"remember":  cmdRemember,
			"unchanged": cmdUnchanged,
			"flip":      cmdFlip,
			"waitfor":   cmdWaitFor,
			"ended":     cmdEnded,
			"kinesis":   cmdKinesis,
			"kafka":     cmdKafka,
			"s3":        cmdS3,
			"dynamo":    cmdDynamo,
			"group":     cmdGroup,
			"expand":    cmdExpand,
			"hash":      cmdHash,
			"jsonpath":  cmdJSON,
			"signal":    cmdSignal,
			"same":      cmdSame,
			"port":      cmdPort,
			"get":       cmdGet,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[storyKey{}] = &story{}
			e.Values[serversKey{}] = &servers{}
			// A start of 2 minutes is none of a test.
			e.Vars = append(e.Vars, "BRIDGE_START_PATIENCE=300ms", "GORACE="+quickExit())
			return nil
		},
	}
}
