package clock_test

import (
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/internal/clock"
)

func TestClock(t *testing.T) {
	here := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, ahead := range []time.Duration{-40 * time.Hour, 0, 3 * time.Minute} {
		var c clock.Clock
		for _, nothing := range [][2]time.Time{{}, {here, {}}, {{}, here}} {
			c.Note(nothing[0], nothing[1])
			if at, known := c.At(here); known || !at.Equal(here) {
				t.Errorf("nothing was noted: %v, %v", at, known)
			}
		}
		c.Note(here, here.Add(-ahead))
		for _, later := range []time.Duration{-time.Hour, 0, time.Hour} {
			if at, known := c.At(here.Add(later)); !known || !at.Equal(here.Add(later-ahead)) {
				t.Errorf("%s ahead, %s later: %v, %v", ahead, later, at, known)
			}
		}
		c.Note(here.Add(time.Hour), time.Time{})
		if at, _ := c.At(here); !at.Equal(here.Add(-ahead)) {
			t.Errorf("an answer without a time changed the clock to %v", at)
		}
	}
}
