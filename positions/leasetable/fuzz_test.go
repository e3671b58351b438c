package leasetable_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/memtest"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
)

// FuzzItem holds, for any item of a table in either dialect, that nothing panics, that
// memory is bounded, that what is no lease is said to be none, and that a lease means
// something or is refused.
func FuzzItem(f *testing.F) {
	for _, items := range formats {
		for _, it := range items {
			f.Add([]byte(it), false)
		}
	}
	for _, it := range vmware {
		f.Add([]byte(it), true)
	}
	f.Add([]byte(`{"leaseKey":{"S":"x"},"checkpoint":{"S":"1/2"},"checkpointSubSequenceNumber":{"N":"1e400"},"parentShardId":{"NS":["1"]}}`), false)
	f.Add([]byte(`{"leaseKey":{"B":"eA=="},"checkpoint":{"L":[{"M":{"a":{"NULL":true}}}]}}`), false)
	f.Fuzz(func(t *testing.T, text []byte, theirs bool) {
		var raw leasetable.Raw
		var err error
		memtest.Bounded(t, len(text), 500, func() { err = json.Unmarshal(text, &raw) })
		if err != nil || raw == nil {
			return
		}
		if !leasetable.Equal(raw, raw) {
			t.Fatalf("%s is not equal to itself", text)
		}
		d := leasetable.KCL
		if theirs {
			d = leasetable.VMwareGoKCL
		}
		it, worker, err := leasetable.Parse(d, raw)
		switch {
		case err != nil && !errors.Is(err, bridge.ErrState):
			t.Fatal(err)
		case err != nil || it == nil:
			return
		case worker != "":
			t.Fatalf("a lease and the worker %q", worker)
		}
		bound, err := it.Bound()
		if err != nil {
			if !errors.Is(err, bridge.ErrForeignPosition) {
				t.Fatal(err)
			}
			return
		}
		back := positions.Lease{Shard: it.Shard}
		if err := back.SetBound(bound); err != nil {
			t.Fatal(err)
		}
		if again, err := back.Bound(); err != nil || again.String() != bound.String() {
			t.Errorf("%s means %s, written back %s, %v", it.Checkpoint, bound, again, err)
		}
	})
}

// FuzzRaw holds that an item that was stored before it is changed comes back as it was,
// for it is what undo writes.
func FuzzRaw(f *testing.F) {
	for _, items := range formats {
		for _, it := range items {
			f.Add([]byte(it))
		}
	}
	f.Add([]byte(`{"a":{"BS":["AA==",""]},"b":{"NS":["1","01"]},"c":{"SS":["b","a"]},"d":{"L":[]},"e":{"M":{}},"f":{"B":""}}`))
	f.Add([]byte(`{"a":{"BS":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var raw, again leasetable.Raw
		if json.Unmarshal(text, &raw) != nil {
			return
		}
		stored, err := json.Marshal(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(stored, &again); err != nil || !leasetable.Equal(raw, again) {
			t.Fatalf("%s is stored as %s, which reads differently: %v", text, stored, err)
		}
	})
}
