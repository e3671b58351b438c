package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
)

// newLogger writes for people on a terminal and JSON everywhere else, unless the format
// says otherwise. Colours appear on a terminal only, and not under NO_COLOR.
func newLogger(w io.Writer, format, level string, env func(string) (string, bool)) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil || strings.ContainsAny(level, "+-") {
		return nil, usage(fmt.Errorf("--log-level %q is not debug, info, warn or error", level))
	}
	tty := isTerminal(w)
	switch format {
	case "json":
		tty = false
	case "text":
	case "auto":
		if !tty {
			format = "json"
		}
	default:
		return nil, usage(fmt.Errorf("--log-format %q is not auto, text or json", format))
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
	}
	return slog.New(tint.NewHandler(w, &tint.Options{
		Level: l, TimeFormat: time.TimeOnly, NoColor: !tty || noColor(env),
	})), nil
}

// noColor follows no-color.org: any value but the empty one switches colours off.
func noColor(env func(string) (string, bool)) bool {
	v, _ := env("NO_COLOR")
	term, _ := env("TERM")
	return v != "" || term == "dumb"
}

func isTerminal(w io.Writer) bool {
	if b, ok := w.(*bar); ok {
		w = b.w
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
