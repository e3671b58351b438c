package mirror

import (
	"testing"
	"testing/synctest"
	"time"
)

// However many records of a kind there are, one line a minute tells of all of them.
func TestRecordsAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s summary
		lines, records := map[string]int{}, map[string]int64{}
		const each = 30_000
		for range each {
			for _, kind := range []string{"a", "b"} {
				s.add(kind, time.Now(), func(n int64) { lines[kind]++; records[kind] += n })
			}
			time.Sleep(10 * time.Millisecond) // five minutes in all
		}
		s.flush()
		s.flush()
		for _, kind := range []string{"a", "b"} {
			if lines[kind] < 5 || lines[kind] > 6 || records[kind] != each {
				t.Errorf("%s: %d lines tell of %d records, there were %d", kind, lines[kind], records[kind], each)
			}
		}
	})
}
