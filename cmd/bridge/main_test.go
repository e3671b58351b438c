package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      cmdCode,
			"unchanged": cmdUnchanged,
			"jsonpath":  cmdJSON,
			"signal":    cmdSignal,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "")
			return os.Chmod(e.WorkDir, 0o755)
		},
	})
}
