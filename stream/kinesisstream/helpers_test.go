package kinesisstream_test

import (
	"errors"
	"math/big"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// middle is the hash key that halves a shard.
func middle(t testing.TB, st *kinesistest.Stream, shard string) string {
	t.Helper()
	for _, s := range st.Shards() {
		if s.ID == shard {
			lo, _ := new(big.Int).SetString(s.FirstHash, 10)
			hi, _ := new(big.Int).SetString(s.LastHash, 10)
			return lo.Add(lo, hi).Rsh(lo, 1).Add(lo, big.NewInt(1)).String()
		}
	}
	t.Fatalf("there is no shard %s", shard)
	return ""
}

func asGap(err error, gap **bridge.GapError) bool { return errors.As(err, gap) }
