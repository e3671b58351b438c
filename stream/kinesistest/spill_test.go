package kinesistest_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// TestSpill puts far more than a block into each of two shards, whose bodies go into a
// file, and reads it all: pages, what a test looks at, and after damages.
func TestSpill(t *testing.T) {
	conf, dir := unlimited(), t.TempDir()
	conf.SpillDir = dir
	srv, client, _ := standing(t, 2, conf)
	st := srv.Stream("s")
	const n = 9000
	want := map[string][][]byte{}
	for i := range n {
		e := kinesistest.Entry{Key: fmt.Sprint("key-", i%50), Data: bytes.Repeat(fmt.Appendf(nil, "%d ", i), 50)}
		if err := st.Put(e); err != nil {
			t.Fatal(err)
		}
		shard := st.ShardFor(e.Key)
		want[shard] = append(want[shard], e.Data)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Size() < n*200*9/10 {
		t.Fatalf("the file is of %d bytes, %v", info.Size(), err)
	}
	read := drainBy(t, client, 700) // of the first shard
	if len(read) != len(want[first]) {
		t.Fatalf("read %d records of %d", len(read), len(want[first]))
	}
	for i := range read {
		if !bytes.Equal(read[i].Data, want[first][i]) {
			t.Fatalf("record %d is %.20q", i, read[i].Data)
		}
	}
	last := len(want[first]) - 1
	if err := st.Swap(first, 1, last); err != nil {
		t.Fatal(err)
	}
	if err := st.Drop(first, 2); err != nil {
		t.Fatal(err)
	}
	if err := st.Trim(first, 1); err != nil {
		t.Fatal(err)
	}
	read = drainBy(t, client, 700)
	if len(read) != last-1 || !bytes.Equal(read[0].Data, want[first][last]) || !bytes.Equal(read[1].Data, want[first][3]) || !bytes.Equal(read[last-2].Data, want[first][1]) {
		t.Errorf("read %d records after the damages, the first is %.20q", len(read), read[0].Data)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := srv.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%v was left", files)
	}
}

// TestSpillNowhere has no such directory.
func TestSpillNowhere(t *testing.T) {
	if _, err := kinesistest.Start(kinesistest.Config{SpillDir: t.TempDir() + "/none"}); err == nil {
		t.Error("no error")
	}
}
