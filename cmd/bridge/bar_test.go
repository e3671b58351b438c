package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

func TestBarLine(t *testing.T) {
	p := mirror.Progress{Counts: bridge.Counts{Read: 1234567}, Partitions: simProgress(400, time.Now())}
	line := barLine(p, doingBackfill, 5000, 200)
	if want := "[#################...] backfill: 359/400 follow, 1,234,567 read, 5,000/s, 20h behind"; line != want {
		t.Errorf("the bar is\n%q, want\n%q", line, want)
	}
	for _, width := range []int{40, 60} {
		if n := len([]rune(barLine(p, doingBackfill, 5000, width))); n >= width {
			t.Errorf("the bar has %d columns of %d", n, width)
		}
	}
	if line := barLine(mirror.Progress{}, doingPaused, 0, 80); !strings.HasPrefix(line, "[....................] paused: 0/0") {
		t.Errorf("the bar of nothing is %q", line)
	}
}

// The log stands above the bar, and the bar is gone at the end.
func TestBarStaysBelow(t *testing.T) {
	var out bytes.Buffer
	b := &bar{w: &out}
	for _, step := range []func() error{
		func() error { return b.show("one") },
		func() error { _, err := b.Write([]byte("log\n")); return err },
		func() error { return b.show("one") },
		func() error { return b.show("") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if want := "\r\x1b[Kone\r\x1b[Klog\none\r\x1b[K"; out.String() != want {
		t.Errorf("the terminal got %q, want %q", out.String(), want)
	}
}
