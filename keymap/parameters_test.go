package keymap_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

func TestField(t *testing.T) {
	plain := strategy(t, "murmur2", 12)
	for _, c := range []struct{ pointer, value, key string }{
		{"/tailnum", `{"tailnum":"N14228","row":1}`, "N14228"},
		{"/a/b", `{"a":{"b":"x"}}`, "x"},
		{"/a/1", `{"a":["p","q"]}`, "q"},
		{"/a~1b", `{"a/b":"slash"}`, "slash"},
		{"/a~0b", `{"a~b":"tilde"}`, "tilde"},
		{"/", `{"":"empty name"}`, "empty name"},
		{"/n", `{"n": 12.50 }`, "12.50"},
		{"/b", `{"b":true}`, "true"},
		{"/e", `{"e":"é\n"}`, "é\n"},
		{"/none", `{"e":"x"}`, ""},
		{"/a", `{"a":null}`, ""},
		{"/a", `{"a":{}}`, ""},
		{"/a", `["a"]`, ""},
		{"/9", `["a"]`, ""},
		{"/a", `not JSON`, ""},
		{"/a", ``, ""},
		{"/a/b", `{"a":"text"}`, ""},
	} {
		s, err := keymap.Field(c.pointer, plain)
		if err != nil {
			t.Fatal(err)
		}
		route, err := s.Route(&bridge.Record{Key: []byte("source"), Value: []byte(c.value)})
		if c.key == "" {
			if !errors.Is(err, bridge.ErrUnmappable) {
				t.Errorf("%s of %s: %q, %v", c.pointer, c.value, route.Key, err)
			}
			continue
		}
		want, wantErr := plain.Route(&bridge.Record{Key: []byte(c.key)})
		if err != nil || wantErr != nil || string(route.Key) != c.key || route.Partition != want.Partition {
			t.Errorf("%s of %s: %q in %s, %v; want %q in %s", c.pointer, c.value, route.Key, route.Partition, err, c.key, want.Partition)
		}
	}
	for _, bad := range []string{"", "tailnum"} {
		if _, err := keymap.Field(bad, plain); err == nil {
			t.Errorf("%q was taken for a pointer", bad)
		}
	}
}

func TestTable(t *testing.T) {
	s, err := keymap.Table(strings.NewReader("a,3\n\"b,c\",0\n"), 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"a": "3", "b,c": "0"} {
		if route, err := s.Route(&bridge.Record{Key: []byte(key)}); err != nil || route.Partition != want {
			t.Errorf("%q goes to %s, %v", key, route.Partition, err)
		}
	}
	if _, err := s.Route(&bridge.Record{Key: []byte("d")}); !errors.Is(err, bridge.ErrUnmappable) {
		t.Errorf("a key that is not in the table: %v", err)
	}
	other := strategy(t, "murmur2", 4)
	open, err := keymap.Table(strings.NewReader("a,3\n"), 4, other)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := other.Route(&bridge.Record{Key: []byte("d")})
	if got, err := open.Route(&bridge.Record{Key: []byte("d")}); err != nil || got.Partition != want.Partition {
		t.Errorf("a key that is not in the table goes to %s, %v", got.Partition, err)
	}
	again, err := keymap.Table(strings.NewReader("a,2\n"), 4, other)
	if err != nil || again.Name() == open.Name() {
		t.Errorf("two tables have the name %s, %v", open.Name(), err)
	}
	for _, bad := range []string{"", "a,4\n", "a,-1\n", "a,x\n", "a\n", "a,1\na,2\n", "a,1,2\n", "\"a"} {
		if _, err := keymap.Table(strings.NewReader(bad), 4, nil); err == nil {
			t.Errorf("%q was taken for a table", bad)
		}
	}
}

func TestShard(t *testing.T) {
	s, err := keymap.Shard(3)
	if err != nil {
		t.Fatal(err)
	}
	route, err := s.Route(&bridge.Record{Key: []byte("k"), Partition: "shardId-000000000002"})
	if err != nil || route.Partition != "2" || string(route.Key) != "k" {
		t.Errorf("%+v, %v", route, err)
	}
	for _, shard := range []string{"shardId-000000000003", "2", "", "shardId-x"} {
		if _, err := s.Route(&bridge.Record{Partition: shard}); !errors.Is(err, bridge.ErrChanged) || bridge.Hint(err) == "" {
			t.Errorf("shard %q: %v", shard, err)
		}
	}
}
