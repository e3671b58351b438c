package leasetable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamo"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A Stream says which stream's leases are meant, in a table that holds those of several.
type Stream struct {
	Account, Name string
	Created       time.Time
}

// prefix is how keys of the stream's leases begin in such a table.
func (s Stream) prefix() string {
	return fmt.Sprintf("%s:%s:%d", s.Account, s.Name, s.Created.Unix())
}

// A Table is the lease table of one application. It is safe for concurrent use.
type Table struct {
	api     *dynamodb.Client
	name    string
	dialect Dialect
	stream  Stream
}

// New returns the table called name. It touches nothing.
func New(api *dynamodb.Client, name string, d Dialect, s Stream) *Table {
	return &Table{api: api, name: name, dialect: d, stream: s}
}

// A Snapshot is the table as it was at one moment.
type Snapshot struct {
	// Exists says that there is a table.
	Exists bool
	// Items are the leases of the stream, by shard.
	Items []Item
	// Multi: the table's keys name their stream.
	Multi bool
	// SingleTable: the table also holds what is no lease, as since KCL 3.5.
	SingleTable bool
	// Owners are the workers that hold leases or held them last.
	Owners []string
	// beats is what moves while the application runs, of all streams.
	beats map[string]string
}

// Leases are the leases of the stream.
func (s *Snapshot) Leases() []positions.Lease {
	out := make([]positions.Lease, len(s.Items))
	for i, it := range s.Items {
		out[i] = it.Lease
	}
	return out
}

// Read reads the whole table, consistently item by item. A table that does not exist has
// no leases. It wraps ErrState if an item is not of the dialect.
func (t *Table) Read(ctx context.Context) (*Snapshot, error) {
	s := &Snapshot{beats: map[string]string{}}
	if err := t.describe(ctx, s); err != nil || !s.Exists {
		return s, err
	}
	var from map[string]types.AttributeValue
	for {
		page, err := t.api.Scan(ctx, &dynamodb.ScanInput{TableName: &t.name, ConsistentRead: aws.Bool(true), ExclusiveStartKey: from})
		if err != nil {
			return nil, fmt.Errorf("read lease table %s: %w", t.name, dynamo.Classify(err))
		}
		for _, raw := range page.Items {
			if err := t.add(s, raw); err != nil {
				return nil, bridge.WithHint(fmt.Errorf("read lease table %s: %w", t.name, err), "check that the table is the application's lease table, and its dialect")
			}
		}
		if from = page.LastEvaluatedKey; from == nil {
			break
		}
	}
	slices.SortFunc(s.Items, func(a, b Item) int { return strings.Compare(a.Shard, b.Shard) })
	slices.Sort(s.Owners)
	s.Owners = slices.Compact(s.Owners)
	return s, nil
}

// describe finds out whether there is a table, and that its key is the dialect's.
func (t *Table) describe(ctx context.Context, s *Snapshot) error {
	d, err := t.api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.name})
	if err = dynamo.Classify(err); errors.Is(err, bridge.ErrMissing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up lease table %s: %w", t.name, err)
	}
	s.Exists = true
	for _, k := range d.Table.KeySchema {
		if aws.ToString(k.AttributeName) == t.dialect.Key() && len(d.Table.KeySchema) == 1 {
			return nil
		}
	}
	return bridge.WithHint(fmt.Errorf("table %s is no lease table of the dialect %s: its key is not %s: %w", t.name, t.dialect, t.dialect.Key(), bridge.ErrState),
		"check lease_table and dialect of the consumer")
}

func (t *Table) add(s *Snapshot, raw map[string]types.AttributeValue) error {
	it, worker, err := t.dialect.parse(raw)
	if err != nil {
		return err
	}
	if it == nil {
		s.SingleTable = true
		if worker != "" {
			s.beats["worker "+worker] = worker
		}
		return nil
	}
	s.beats[it.Key] = it.beat + " " + it.Owner + " " + it.Checkpoint + fmt.Sprint(it.Sub)
	if it.Owner != "" {
		s.Owners = append(s.Owners, it.Owner)
	}
	if name := stream(it.Key); name != "" {
		s.Multi = true
		if name != t.stream.prefix() {
			return nil
		}
	}
	s.Items = append(s.Items, *it)
	return nil
}

// Still proves that no worker of the application runs: it looks at the table, pauses, and
// looks again. A running worker renews each of its leases several times within the time
// after which others take it, so pause must last longer than that. It returns the second
// look, or wraps ErrLocked if anything moved.
func (t *Table) Still(ctx context.Context, pause func(context.Context) error) (*Snapshot, error) {
	before, err := t.Read(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx); err != nil {
		return nil, err
	}
	after, err := t.Read(ctx)
	if err != nil {
		return nil, err
	}
	if key := moved(before, after); key != "" {
		return nil, bridge.WithHint(fmt.Errorf("the application of lease table %s is running: %s changed while it was looked at: %w", t.name, key, bridge.ErrLocked),
			"stop every worker of the application, then try again")
	}
	return after, nil
}

// moved names something that is not the same in both, empty if all is.
func moved(a, b *Snapshot) string {
	if a.Exists != b.Exists {
		return "the table itself"
	}
	var names []string
	for key, beat := range a.beats {
		if b.beats[key] != beat {
			names = append(names, key)
		}
	}
	for key := range b.beats {
		if _, ok := a.beats[key]; !ok {
			names = append(names, key)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}
