// Package s3letters keeps dead letters in a bucket of S3, one object each, under a name
// made of the letter's coordinate: to put one again writes the same object.
//
// What it does not promise: to notice that objects were deleted. Who has dealt with
// letters may delete them.
package s3letters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Config says where the letters of one workflow go.
type Config struct {
	API *s3.Client
	// Bucket and Prefix; the prefix may be empty, and needs no slash at its end.
	Bucket, Prefix string
	Workflow       string
	// Source is where the records come from. Letters of others are left alone.
	Source bridge.Identity
	Codec  *bridge.LetterCodec
}

// NewClient makes the client of an AWS configuration. An endpoint of its own (such as
// AWS_ENDPOINT_URL_S3 names) is asked for buckets by path, as most such servers want.
func NewClient(c aws.Config) *s3.Client {
	return s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

// Letters is the place. It implements bridge.DeadLetters and bridge.Recoverable. Its
// partitions are those of the source, and so are its positions.
type Letters struct {
	conf   Config
	closed atomic.Bool
}

var (
	_ bridge.DeadLetters = (*Letters)(nil)
	_ bridge.Recoverable = (*Letters)(nil)
)

// Open makes sure that the bucket is there and can be listed. It wraps ErrMissing or
// ErrDenied if not.
func Open(ctx context.Context, c Config) (*Letters, error) {
	_, err := c.API.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &c.Bucket, Prefix: aws.String(c.root()), MaxKeys: aws.Int32(1)})
	if err != nil {
		return nil, c.classify("ListObjectsV2", err)
	}
	return &Letters{conf: c}, nil
}

// root is the prefix of all that the workflow keeps.
func (c Config) root() string {
	prefix := strings.Trim(c.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return prefix + c.Workflow + "/"
}

// source is the prefix of the letters of its source.
func (c Config) source() string { return fmt.Sprintf("%s%08x/", c.root(), bridge.SourceID(c.Source)) }

func (c Config) folder(partition string) string { return c.source() + url.PathEscape(partition) + "/" }

// place names a partition in acknowledgements.
func (c Config) place(partition string) string {
	return "s3:" + c.Bucket + "/" + strings.TrimSuffix(c.folder(partition), "/")
}

// placed is the part of a name that sorts as positions do: the number of digits comes
// before the digits.
func placed(p bridge.Position) string { return fmt.Sprintf("%03d-%s-%010d-", len(p.Seq), p.Seq, p.Sub) }

const suffix = ".json"

func (c Config) key(at bridge.Coordinate) string {
	return c.folder(at.Partition) + placed(at.Position) + c.Codec.Name(at) + suffix
}

// coordinate is the one that a key was made of, if it was made by this workflow.
func (c Config) coordinate(partition, key string) (bridge.Coordinate, bool) {
	name := strings.Split(strings.TrimPrefix(key, c.folder(partition)), "-")
	if len(name) != 4 {
		return bridge.Coordinate{}, false
	}
	sub, err := strconv.ParseUint(name[2], 10, 32)
	if err != nil {
		return bridge.Coordinate{}, false
	}
	at := bridge.Coordinate{Stream: c.Source.String(), Partition: partition, Position: bridge.Position{Seq: name[1], Sub: uint32(sub)}}
	return at, c.key(at) == key
}

// putAtOnce is how many objects are written at a time.
const putAtOnce = 8

// Put writes one object a letter.
func (l *Letters) Put(ctx context.Context, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("keep dead letters in %s: the place is closed: %w", l.conf.Bucket, bridge.ErrRefused)
	}
	acks := make([]bridge.Ack, len(letters))
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(putAtOnce)
	for i, d := range letters {
		acks[i] = bridge.Ack{Partition: l.conf.place(d.Origin.Partition), Position: d.Origin.Position}
		group.Go(func() error { return l.put(work, d) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return acks, nil
}

func (l *Letters) put(ctx context.Context, d bridge.DeadLetter) error {
	if d.Origin.Stream != l.conf.Source.String() {
		return fmt.Errorf("a dead letter of %s in the place of %s: %w", d.Origin.Stream, l.conf.Source, bridge.ErrRefused)
	}
	line, err := l.conf.Codec.Encode(d)
	if err != nil {
		return err
	}
	key := l.conf.key(d.Origin)
	_, err = l.conf.API.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &l.conf.Bucket, Key: &key, Body: bytes.NewReader(append(line, '\n')), ContentType: aws.String("application/json"),
	})
	if err != nil {
		return l.conf.classify("PutObject "+key, err)
	}
	return nil
}

// Digest is that of key and value.
func (l *Letters) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, time.Time{})
}

// Tail lists the names of the source's letters behind the floor, and reads what they hold.
func (l *Letters) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		if from.Clean {
			return
		}
		partitions, err := l.partitions(ctx)
		if err != nil {
			yield(bridge.Placed{}, err)
			return
		}
		for _, p := range partitions {
			after := ""
			if at := from.Partitions[l.conf.place(p)]; !at.IsZero() {
				after = l.conf.folder(p) + placed(at) + "~" // behind every name of that position
			}
			for key, err := range l.conf.keys(ctx, l.conf.folder(p), after) {
				at, ours := l.conf.coordinate(p, key)
				if err == nil && !ours {
					continue
				}
				placed := bridge.Placed{Partition: l.conf.place(p), Position: at.Position, Origin: at}
				var letter bridge.DeadLetter
				if err == nil {
					if letter, ours, err = l.conf.get(ctx, key); ours {
						placed.Digest = bridge.ContentDigest(letter.Key, letter.Value, time.Time{})
					}
				}
				if !yield(placed, err) || err != nil {
					return
				}
			}
		}
	}
}

// partitions are those of the source that have letters.
func (l *Letters) partitions(ctx context.Context) (out []string, err error) {
	in := &s3.ListObjectsV2Input{Bucket: &l.conf.Bucket, Prefix: aws.String(l.conf.source()), Delimiter: aws.String("/")}
	for pages := s3.NewListObjectsV2Paginator(l.conf.API, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, l.conf.classify("ListObjectsV2", err)
		}
		for _, p := range page.CommonPrefixes {
			escaped := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), l.conf.source()), "/")
			if name, err := url.PathUnescape(escaped); err == nil {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// keys yields the names under a prefix, in order, behind one if that is not empty.
func (c Config) keys(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &c.Bucket, Prefix: &prefix}
		if after != "" {
			in.StartAfter = &after
		}
		for pages := s3.NewListObjectsV2Paginator(c.API, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", c.classify("ListObjectsV2", err))
				return
			}
			for _, o := range page.Contents {
				if !yield(aws.ToString(o.Key), nil) {
					return
				}
			}
		}
	}
}

// Close makes further puts fail.
func (l *Letters) Close() error {
	l.closed.Store(true)
	return nil
}

// Read yields the letters of the workflow from any source, each coordinate once. Source
// need not be set.
func Read(ctx context.Context, c Config) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		seen := map[bridge.Coordinate]bool{}
		for key, err := range c.keys(ctx, c.root(), "") {
			var d bridge.DeadLetter
			ours := false
			if err == nil {
				d, ours, err = c.get(ctx, key)
			}
			if err == nil && (!ours || seen[d.Origin]) {
				continue
			}
			seen[d.Origin] = true
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

func (c Config) get(ctx context.Context, key string) (d bridge.DeadLetter, ours bool, err error) {
	out, err := c.API.GetObject(ctx, &s3.GetObjectInput{Bucket: &c.Bucket, Key: &key})
	if err != nil {
		return d, false, c.classify("GetObject "+key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		return d, false, c.classify("GetObject "+key, err)
	}
	d, ours, err = c.Codec.Decode(b)
	if errors.Is(err, bridge.ErrState) {
		return d, false, fmt.Errorf("object %s of bucket %s: %w", key, c.Bucket, err)
	}
	return d, ours, err
}
