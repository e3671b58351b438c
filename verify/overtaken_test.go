package verify

import (
	"crypto/md5"
	"encoding/binary"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
)

// halves books the first occurrences of one source partition in the two shards of a stream,
// of which one is read so many offsets ahead of the other. Each hundredth record is overtaken
// by others. damage may change the offset at which a record is found. It returns how many
// cells are suspect.
func halves(records, ahead int64, keys uint64, damage func(offset int64) int64) (cells int, repeats int64) {
	w := newWindow(bridge.Position{})
	w.Cell, w.Through = cellsPerWindow, bridge.OffsetPosition(records)
	s := &sourcePart{ID: "0", Windows: []*window{w}}
	r := &run{v: &Verifier{}, bitmapped: true, keyed: true, targetByID: map[string]*targetPart{}}
	r.Sources = append(r.Sources, s)
	shards := []*targetPart{{ID: "a"}, {ID: "b", Index: 1}}
	r.trace(shards[0])
	r.trace(shards[1])
	book := func(shard int, i int64) {
		offset := i
		switch i % 100 { // 90 places late
		case 99:
			offset = i - 90
		case 9:
			return
		}
		key := binary.BigEndian.AppendUint64(nil, uint64(offset)*2654435761%keys)
		sum := md5.Sum(key)
		if int(sum[0]>>7) != shard {
			return
		}
		p := &placed{slot: binary.BigEndian.Uint16(sum[:])}
		p.key = binary.BigEndian.Uint64(sum[4:])
		p.cell, p.at = cellOf(p.key), bridge.OffsetPosition(damage(offset))
		r.occurByBit(shards[shard], s, w, p)
	}
	for i := range records + ahead {
		if i < records {
			book(0, i)
		}
		if i >= ahead {
			book(1, i-ahead)
		}
	}
	for cell := range cellsPerWindow {
		if w.suspected(cell) {
			cells++
		}
	}
	return cells, w.Repeats.N
}

// However many keys there are, and however far apart two shards were read, a copy in which
// keys overtake each other is not looked at again; what is really late or there again is.
func TestShardsReadFarApart(t *testing.T) {
	const n, ahead = 200_000, 150_000
	as := func(offset int64) int64 { return offset }
	for _, keys := range []uint64{1000, 100_000, 1 << 40} {
		if cells, repeats := halves(n, ahead, keys, as); cells > 0 || repeats > 0 {
			t.Errorf("%d keys: %d cells are suspect, %d records are there again", keys, cells, repeats)
		}
	}
	const late = 61_700
	for name, damage := range map[string]func(int64) int64{
		"there again": func(offset int64) int64 {
			if offset >= late && offset < late+500 {
				return offset - 2000
			}
			return offset
		},
		"late": func(offset int64) int64 { // two runs of 1,000 records of the same keys change places
			switch {
			case offset >= late && offset < late+1000:
				return offset + 1000
			case offset >= late+1000 && offset < late+2000:
				return offset - 1000
			}
			return offset
		},
	} {
		if cells, _ := halves(n, ahead, 1000, damage); cells < 200 {
			t.Errorf("%s: %d cells are suspect", name, cells)
		}
	}
}
