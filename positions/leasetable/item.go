package leasetable

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A Dialect is the schema of a table.
type Dialect string

// The dialects.
const (
	KCL         Dialect = "kcl"
	VMwareGoKCL Dialect = "vmware-go-kcl"
)

// Key is the name of the table's hash key.
func (d Dialect) Key() string {
	if d == VMwareGoKCL {
		return "ShardID"
	}
	return "leaseKey"
}

// An Item is one lease as it was read.
type Item struct {
	positions.Lease
	Key string
	// Owner is the worker that holds the lease, or held it last.
	Owner string
	// beat changes whenever a running application renews the lease.
	beat string
	raw  map[string]types.AttributeValue
}

// kclRow is what is read of an item of the KCL's. pendingCheckpointState is left out: it
// is written as N or as B, and what is pending is in doubt and never a position.
type kclRow struct {
	LeaseKey   string   `dynamodbav:"leaseKey"`
	LeaseOwner string   `dynamodbav:"leaseOwner"`
	Counter    int64    `dynamodbav:"leaseCounter"`
	Checkpoint string   `dynamodbav:"checkpoint"`
	Sub        int64    `dynamodbav:"checkpointSubSequenceNumber"`
	Parents    []string `dynamodbav:"parentShardId,stringset"`
	Children   []string `dynamodbav:"childShardIds,stringset"`
	FirstHash  string   `dynamodbav:"startingHashKey"`
	LastHash   string   `dynamodbav:"endingHashKey"`
	EntityType string   `dynamodbav:"entityType"`
	// LastUpdate is when a worker wrote its WORKER_METRIC_STATS item.
	LastUpdate int64 `dynamodbav:"lut"`
}

const (
	entityLease  = "LEASE"
	entityWorker = "WORKER_METRIC_STATS"
)

// vmwareRow is what is read of an item of vmware-go-kcl, 1 and 2: see its package checkpoint.
// A worker that wants a lease of another one puts a claim there.
type vmwareRow struct {
	ShardID  string `dynamodbav:"ShardID"`
	Owner    string `dynamodbav:"AssignedTo"`
	Timeout  string `dynamodbav:"LeaseTimeout"`
	Position string `dynamodbav:"Checkpoint"`
	Parent   string `dynamodbav:"ParentShardId"`
	Claim    string `dynamodbav:"ClaimRequest"`
}

// wholeAggregate is the index of a user record behind every other: vmware-go-kcl has no
// sub-sequence numbers, so that its checkpoint means the whole Kinesis record.
const wholeAggregate = 1 << 31

// newRow is how a lease is written that was not there.
type newRow struct {
	LeaseKey   string   `dynamodbav:"leaseKey"`
	Counter    int64    `dynamodbav:"leaseCounter"`
	Switches   int64    `dynamodbav:"ownerSwitchesSinceCheckpoint"`
	Checkpoint string   `dynamodbav:"checkpoint"`
	Sub        int64    `dynamodbav:"checkpointSubSequenceNumber"`
	Parents    []string `dynamodbav:"parentShardId,stringset,omitempty"`
	FirstHash  string   `dynamodbav:"startingHashKey,omitempty"`
	LastHash   string   `dynamodbav:"endingHashKey,omitempty"`
	EntityType string   `dynamodbav:"entityType,omitempty"`
	Stream     string   `dynamodbav:"streamName,omitempty"`
	ShardID    string   `dynamodbav:"shardId,omitempty"`
}

// parse reads an item. It is nil for one that is no lease.
func (d Dialect) parse(raw map[string]types.AttributeValue) (it *Item, worker string, err error) {
	if d == VMwareGoKCL {
		it, err = parseVMware(raw)
		return it, "", err
	}
	var row kclRow
	if err := attributevalue.UnmarshalMap(raw, &row); err != nil {
		return nil, "", fmt.Errorf("item is no lease: %w: %w", err, bridge.ErrState)
	}
	switch {
	case row.EntityType == entityWorker:
		return nil, fmt.Sprintf("%s %d", row.LeaseKey, row.LastUpdate), nil
	case row.EntityType != "" && row.EntityType != entityLease:
		return nil, "", nil
	case row.Checkpoint == "":
		return nil, "", fmt.Errorf("item %q has no checkpoint: %w", row.LeaseKey, bridge.ErrState)
	}
	slices.Sort(row.Parents)
	slices.Sort(row.Children)
	return &Item{
		Key: row.LeaseKey, Owner: row.LeaseOwner, beat: fmt.Sprint(row.Counter), raw: raw,
		Lease: positions.Lease{
			Shard: row.LeaseKey[strings.LastIndexByte(row.LeaseKey, ':')+1:], Checkpoint: row.Checkpoint, Sub: row.Sub,
			Parents: row.Parents, Children: row.Children, FirstHash: row.FirstHash, LastHash: row.LastHash,
		},
	}, "", nil
}

func parseVMware(raw map[string]types.AttributeValue) (*Item, error) {
	var row vmwareRow
	if err := attributevalue.UnmarshalMap(raw, &row); err != nil {
		return nil, fmt.Errorf("item is no checkpoint: %w: %w", err, bridge.ErrState)
	}
	l := positions.Lease{Shard: row.ShardID, Checkpoint: row.Position}
	switch row.Position {
	case "":
		l.Checkpoint = positions.TrimHorizon // a lease that was taken, and nothing checkpointed yet
	case positions.TrimHorizon, positions.Latest, positions.ShardEnd:
	default:
		l.Sub = wholeAggregate
	}
	if row.Parent != "" {
		l.Parents = []string{row.Parent}
	}
	return &Item{Lease: l, Key: row.ShardID, Owner: row.Owner, beat: row.Timeout + " " + row.Claim, raw: raw}, nil
}

// stream is the part of a key that names the stream, empty for an application that reads
// only one.
func stream(key string) string {
	if i := strings.LastIndexByte(key, ':'); i >= 0 {
		return key[:i]
	}
	return ""
}
