package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/urfave/cli/v2"
)

// A build says which program this is.
type build struct {
	Version  string `json:"version"`            // of the module, "(devel)" for a working tree
	Revision string `json:"revision,omitempty"` // of the version control system
	Modified bool   `json:"modified"`           // the tree had changes that were not committed
	Time     string `json:"time,omitempty"`     // of the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// thisTool names this program in reports. A build that version control does not name, or
// not whole, is named by the digest of its file, too: two of them are two programs.
var thisTool = sync.OnceValue(func() string {
	b := thisBuild()
	if b.Revision != "" && !b.Modified {
		return b.String()
	}
	return b.named(fileDigest())
})

// fileDigest is a digest of the file of this program; empty if it cannot be read.
func fileDigest() string {
	name, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // nothing was written
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (b build) String() string { return b.named("") }

// named adds the digest of the program's file, if there is one.
func (b build) named(digest string) string {
	s := "bridge " + b.Version
	if b.Revision != "" {
		s += " revision " + b.Revision
		if b.Modified {
			s += " with local changes"
		}
	}
	if digest != "" {
		s += " file " + digest
	}
	return s + " " + b.Go + " " + b.Platform
}

func (a *app) versionCommand() *cli.Command {
	return command(cli.Command{
		Name:  "version",
		Usage: "say which program this is",
		Description: `Prints the version of the module, the revision that it was built from, and the version
of Go.

Examples:
   bridge version
   bridge version --output json`,
	}, func(*cli.Context) error {
		b := thisBuild()
		a.answer = &answer{result: b, text: func(w io.Writer) error {
			_, err := fmt.Fprintln(w, b)
			return err
		}}
		return nil
	})
}
