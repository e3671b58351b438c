package kinesistest

import (
	"fmt"
	"slices"
)

// split closes a shard and opens two that divide its range at the hash key at, the first
// point of the second one. The caller holds mu and has checked that both parts exist.
func (st *Stream) split(now int64, sh *shard, at hashKey) (low, high *shard) {
	st.closeShard(now, sh)
	low = st.addShard(now, sh.first, at.prev(), []*shard{sh})
	high = st.addShard(now, at, sh.last, []*shard{sh})
	return low, high
}

// merge closes two neighbours and opens one in their place. The caller holds mu.
func (st *Stream) merge(now int64, sh, adjacent *shard) *shard {
	first, last := sh.first, adjacent.last
	if adjacent.first.cmp(sh.first) < 0 {
		first, last = adjacent.first, sh.last
	}
	st.closeShard(now, sh)
	st.closeShard(now, adjacent)
	return st.addShard(now, first, last, []*shard{sh, adjacent})
}

// scale reaches n shards of equal size by splits and merges, as the service does, with
// short-lived shards on the way: first every shard is cut at the new borders inside it,
// then the pieces of each new shard are merged. Both go by halves, so that lineages stay
// short. The caller holds mu.
func (st *Stream) scale(now int64, n int) {
	borders := make([]hashKey, n-1)
	for i := range borders {
		borders[i] = uniformStart(i+1, n)
	}
	for _, sh := range slices.Clone(st.open) {
		var inside []hashKey
		for _, b := range borders {
			if b.cmp(sh.first) > 0 && b.cmp(sh.last) <= 0 {
				inside = append(inside, b)
			}
		}
		st.cut(now, sh, inside)
	}
	pieces := slices.Clone(st.open)
	for _, b := range append(borders, hashKey{}) {
		end := slices.IndexFunc(pieces, func(sh *shard) bool { return sh.first == b })
		if b == (hashKey{}) {
			end = len(pieces)
		}
		st.join(now, pieces[:end])
		pieces = pieces[end:]
	}
}

// cut splits a shard at all the given points, which are sorted and inside it.
func (st *Stream) cut(now int64, sh *shard, at []hashKey) {
	if len(at) == 0 {
		return
	}
	mid := len(at) / 2
	low, high := st.split(now, sh, at[mid])
	st.cut(now, low, at[:mid])
	st.cut(now, high, at[mid+1:])
}

// join merges a run of neighbours into one shard.
func (st *Stream) join(now int64, run []*shard) *shard {
	if len(run) == 1 {
		return run[0]
	}
	mid := len(run) / 2
	return st.merge(now, st.join(now, run[:mid]), st.join(now, run[mid:]))
}

// Split closes a shard and opens two in its place, as SplitShard does, at a hash key in
// decimal form; "" halves it. Unlike the service's operation it takes any stream that can
// be written, on-demand ones too, which reshard by themselves whenever they like, and it is
// done when it returns. It returns the ids of the two new shards.
func (st *Stream) Split(id, newStartingHashKey string) (low, high string, err error) {
	now := st.srv.nowMs()
	st.mu.Lock()
	defer st.mu.Unlock()
	sh := st.shard(id, now)
	if sh == nil || sh.closed {
		return "", "", fmt.Errorf("split %s of %s: no such open shard", id, st.name)
	}
	at := sh.first.half(sh.last)
	if newStartingHashKey != "" {
		if at, err = parseHashKey(newStartingHashKey); err != nil {
			return "", "", fmt.Errorf("split %s of %s at %q: %w", id, st.name, newStartingHashKey, err)
		}
	}
	if at.cmp(sh.first) <= 0 || at.cmp(sh.last) > 0 {
		return "", "", fmt.Errorf("split %s of %s: %s is not inside [%s, %s]", id, st.name, at, sh.first, sh.last)
	}
	a, b := st.split(now, sh, at)
	return a.id, b.id, nil
}

// Merge closes two neighbouring shards and opens one in their place, as MergeShards does,
// with the liberties of Split. It returns the id of the new shard.
func (st *Stream) Merge(id, adjacent string) (string, error) {
	now := st.srv.nowMs()
	st.mu.Lock()
	defer st.mu.Unlock()
	a, b := st.shard(id, now), st.shard(adjacent, now)
	if a == nil || b == nil || a.closed || b.closed {
		return "", fmt.Errorf("merge %s and %s of %s: not two open shards", id, adjacent, st.name)
	}
	if !adjoin(a, b) {
		return "", fmt.Errorf("merge %s and %s of %s: not neighbours", id, adjacent, st.name)
	}
	return st.merge(now, a, b).id, nil
}

// Scale reaches n open shards of equal size, as UpdateShardCount does, with the liberties
// of Split and without its limits.
func (st *Stream) Scale(n int) error {
	if n < 1 {
		return fmt.Errorf("scale %s to %d shards: at least one is needed", st.name, n)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.scale(st.srv.nowMs(), n)
	return nil
}

// adjoin says that the ranges of two shards touch.
func adjoin(a, b *shard) bool {
	return a.last != maxHashKey() && a.last.next() == b.first || b.last != maxHashKey() && b.last.next() == a.first
}
