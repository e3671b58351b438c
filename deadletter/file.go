package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/kinesis-msk-bridge/bridge"
)

// A File keeps dead letters as lines of JSON, each on disk before it counts. Its positions
// are the numbers of bytes up to the end of a line. It implements bridge.DeadLetters and
// bridge.Recoverable.
type File struct {
	codec *bridge.LetterCodec
	path  string
	name  string // of the one partition

	mu     sync.Mutex
	file   *os.File
	lock   *flock.Flock
	end    int64 // of the last whole line
	broken error // why nothing can be appended any more
}

var (
	_ bridge.DeadLetters = (*File)(nil)
	_ bridge.Recoverable = (*File)(nil)
)

// OpenFile opens or creates the file, for this process alone. A last line that a crash cut
// off, and that was never acknowledged therefore, is removed. It wraps ErrLocked if
// another process has the file, and ErrState if it holds something else than letters.
func OpenFile(path string, codec *bridge.LetterCodec) (*File, error) {
	f := &File{codec: codec, path: path, name: "file:" + path}
	f.lock = flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	held, err := f.lock.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("open the dead letters: %w", access(err))
	case !held:
		return nil, bridge.WithHint(fmt.Errorf("dead letters %s: %w", path, bridge.ErrLocked),
			"another mirror writes there; give each workflow a file of its own")
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.lock.Close())
	}
	return f, nil
}

// access classifies what the file system refuses.
func access(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %w", bridge.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", bridge.ErrRefused, err)
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the dead letters: %w", access(err))
	}
	f.file = file
	if err := f.repair(); err != nil {
		return errors.Join(err, file.Close())
	}
	// The name of a new file is durable only with its directory.
	dir, err := os.Open(filepath.Dir(f.path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the dead letters: %w", err), file.Close())
	}
	return nil
}

// lineStart is how every line begins.
const lineStart = `{"v":`

// repair removes a last line without an end.
func (f *File) repair() error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("read the dead letters %s: %w", f.path, err)
	}
	size := info.Size()
	f.end, err = lastEnd(f.file, size)
	if err != nil {
		return fmt.Errorf("read the dead letters %s: %w", f.path, err)
	}
	start := make([]byte, min(len(lineStart), int(size-f.end)))
	if f.end == size {
		start = make([]byte, min(int64(len(lineStart)), size))
		_, err = f.file.ReadAt(start, 0)
	} else {
		_, err = f.file.ReadAt(start, f.end)
	}
	if err != nil {
		return fmt.Errorf("read the dead letters %s: %w", f.path, err)
	}
	if string(start) != lineStart[:len(start)] {
		return bridge.WithHint(fmt.Errorf("%s does not hold dead letters: %w", f.path, bridge.ErrState), "name another file in dead_letters")
	}
	if f.end == size {
		return nil
	}
	return f.cut()
}

// lastEnd is the number of bytes up to the last end of a line.
func lastEnd(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for at := size; at > 0; {
		n := min(int64(len(buf)), at)
		if _, err := r.ReadAt(buf[:n], at-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return at - n + int64(i) + 1, nil
		}
		at -= n
	}
	return 0, nil
}

// cut removes what stands behind the last whole line.
func (f *File) cut() error {
	if err := errors.Join(f.file.Truncate(f.end), f.file.Sync()); err != nil {
		return fmt.Errorf("repair the dead letters %s: %w", f.path, err)
	}
	return nil
}

// Put appends the letters with one write and returns when they are on disk.
func (f *File) Put(ctx context.Context, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var lines []byte
	ends := make([]int64, len(letters))
	for i, l := range letters {
		line, err := f.codec.Encode(l)
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, line...), '\n')
		ends[i] = int64(len(lines))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	start := f.end
	if err := f.append(lines); err != nil {
		return nil, fmt.Errorf("append to the dead letters %s: %w", f.path, err)
	}
	acks := make([]bridge.Ack, len(letters))
	for i, n := range ends {
		acks[i] = bridge.Ack{Partition: f.name, Position: position(start + n)}
	}
	return acks, nil
}

func position(end int64) bridge.Position { return bridge.Position{Seq: strconv.FormatInt(end, 10)} }

// append is all or nothing: what was written of a write that failed is cut off again. The
// lock is held.
func (f *File) append(lines []byte) error {
	if f.broken != nil {
		return f.broken
	}
	_, err := f.file.WriteAt(lines, f.end)
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		// What a failed sync left on disk nobody can tell: this file is not written again.
		f.broken = errors.Join(err, f.cut())
		return f.broken
	}
	f.end += int64(len(lines))
	return nil
}

// Tail yields this workflow's letters behind the floor.
func (f *File) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		at, err := from.Partitions[f.name].Offset()
		if err != nil {
			yield(bridge.Placed{}, fmt.Errorf("floor of %s: %w", f.name, err))
			return
		}
		f.mu.Lock()
		end := f.end
		f.mu.Unlock()
		at = max(at, 0)
		if at > end {
			gap := &bridge.GapError{Stream: f.name, After: position(end), Before: position(at), Reason: "the file is shorter than the dead letters that were kept in it"}
			yield(bridge.Placed{}, bridge.WithHint(gap, "put the file back, or name another one in dead_letters"))
			return
		}
		if from.Clean {
			return
		}
		for l, err := range lines(ctx, io.NewSectionReader(f.file, at, end-at), f.codec) {
			if err != nil {
				yield(bridge.Placed{}, fmt.Errorf("read the dead letters %s: %w", f.path, err))
				return
			}
			if l.ours && !yield(bridge.Placed{Partition: f.name, Position: position(at + l.end), Origin: l.Origin, Digest: bridge.ContentDigest(l.Key, l.Value, time.Time{})}, nil) {
				return
			}
		}
	}
}

// Digest is that of key and value.
func (f *File) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, time.Time{})
}

// Close lets another process have the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = fmt.Errorf("the file is closed: %w", bridge.ErrRefused)
	}
	return errors.Join(f.file.Close(), f.lock.Close())
}

// A letterLine is one line of a file; end is the number of bytes up to its end.
type letterLine struct {
	bridge.DeadLetter
	ours bool
	end  int64
}

// lines yields whole lines. It takes the memory of the longest one.
func lines(ctx context.Context, r io.Reader, codec *bridge.LetterCodec) iter.Seq2[letterLine, error] {
	return func(yield func(letterLine, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		end := int64(0)
		for ctx.Err() == nil {
			line, err := in.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return // one without an end was never acknowledged
			}
			end += int64(len(line))
			l := letterLine{end: end}
			if err == nil {
				l.DeadLetter, l.ours, err = codec.Decode(line)
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
		yield(letterLine{}, ctx.Err())
	}
}

// ReadFile yields the letters of the codec's workflow, each coordinate once. It yields
// nothing if there is no such file.
func ReadFile(ctx context.Context, path string, codec *bridge.LetterCodec) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		file, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			yield(bridge.DeadLetter{}, fmt.Errorf("read the dead letters: %w", access(err)))
			return
		}
		defer file.Close()
		seen := map[bridge.Coordinate]bool{}
		for l, err := range lines(ctx, file, codec) {
			if err != nil {
				yield(bridge.DeadLetter{}, fmt.Errorf("read the dead letters %s: %w", path, err))
				return
			}
			if !l.ours || seen[l.Origin] {
				continue
			}
			seen[l.Origin] = true
			if !yield(l.DeadLetter, nil) {
				return
			}
		}
	}
}
