package mirror

import (
	"sync"
	"time"
)

// summaryEvery is how often records of one kind are told of.
const summaryEvery = time.Minute

// A summary lets one line stand for many records of a kind. The zero summary is ready.
type summary struct {
	mu    sync.Mutex
	kinds map[string]*told
}

type told struct {
	at    time.Time
	count int64 // since then
	tell  func(n int64)
}

// add counts a record of a kind, and calls tell with how many there were since the last
// call: at once for the first one, then once a minute.
func (s *summary) add(kind string, now time.Time, tell func(n int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = map[string]*told{}
	}
	t := s.kinds[kind]
	if t == nil {
		t = &told{}
		s.kinds[kind] = t
	}
	if t.count, t.tell = t.count+1, tell; now.Sub(t.at) >= summaryEvery {
		tell(t.count)
		t.at, t.count = now, 0
	}
}

// flush tells what was not told yet.
func (s *summary) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.kinds {
		if t.count > 0 {
			t.tell(t.count)
			t.count = 0
		}
	}
}
