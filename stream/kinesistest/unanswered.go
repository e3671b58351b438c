package kinesistest

import "sync"

// unanswered counts records of PutRecords that the service has and the client has no answer
// for, by partition key.
type unanswered struct {
	mu   sync.Mutex
	now  map[string]int
	most int
}

// come takes a put into account; the result takes it out again, once.
func (u *unanswered) come(entries []putEntry) (answered func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range entries {
		n := u.now[string(entries[i].key)] + 1
		u.now[string(entries[i].key)] = n
		u.most = max(u.most, n)
	}
	return func() { u.leave(entries) }
}

func (u *unanswered) leave(entries []putEntry) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range entries {
		key := string(entries[i].key)
		if u.now[key]--; u.now[key] == 0 {
			delete(u.now, key)
		}
	}
}

// CountUnanswered makes the stream count, from now on, for [Stream.MostUnanswered].
func (st *Stream) CountUnanswered() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.unanswered = &unanswered{now: map[string]int{}}
}

// MostUnanswered is the greatest number of records of one partition key whose PutRecords had
// come and were not answered at one time: a client that keeps the order of a key through
// partial failures never has more than one. It is 0 unless CountUnanswered was called.
func (st *Stream) MostUnanswered() int {
	st.mu.RLock()
	u := st.unanswered
	st.mu.RUnlock()
	if u == nil {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.most
}
