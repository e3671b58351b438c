package verify

import "github.com/kinesis-msk-bridge/bridge"

// fields are keyed hashes of the parts of a record, to say which of them differ.
type fields struct {
	key, value, headers uint64
	nullValue           bool
	time                int64
}

func (d *digester) fields(key []byte, r *bridge.Record) fields {
	f := fields{key: d.keys.Sum(key), value: d.keys.Sum(append([]byte{}, r.Value...)), nullValue: d.value(r) == nil}
	headers := r.Headers
	if r.Foreign {
		_, headers = claim(r)
	}
	if d.keeps.Headers {
		f.headers = d.keys.Sum(appendHeaders(nil, headers))
	}
	if d.keeps.Time {
		f.time = r.Time.UnixMilli()
	}
	return f
}

// differ names the parts that differ.
func (f fields) differ(g fields) []string {
	var what []string
	for _, part := range []struct {
		name string
		same bool
	}{
		{"key", f.key == g.key},
		{"value", f.value == g.value},
		{"null", f.nullValue == g.nullValue},
		{"headers", f.headers == g.headers},
		{"time", f.time == g.time},
	} {
		if !part.same {
			what = append(what, part.name)
		}
	}
	return what
}
