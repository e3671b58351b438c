// Package dynamostate keeps the state of workflows in a DynamoDB table, one item each. It
// satisfies state.Store, for a mirror that can run on any of several machines.
//
// Every write is conditional on the very bytes that were read, so that of two writers one
// wins and the other is told. Reads are consistent. A write is sent once: a second try of
// one that had its effect would look like somebody else's.
//
// The lock is an item with a time on it, which its holder renews. A holder that died keeps
// it until then; machines whose clocks differ by more than that can both hold it. It keeps
// people from starting a mirror twice; that a second one could do no harm is not its
// doing but that of the fence on Kafka.
//
// Items hold the workflow's key: whoever may read the table can write records that the
// mirror takes for its own.
package dynamostate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamo"
	"github.com/kinesis-msk-bridge/bridge/state"
)

// A Config says where a workflow is kept.
type Config struct {
	// API makes the client, with the first call.
	API func(ctx context.Context) (*dynamodb.Client, error)
	// Table is created by the first write if it is missing.
	Table    string
	Workflow string
	// LockFor is how long a lock lasts that is not renewed, 60 s if zero.
	LockFor time.Duration
}

// A Store is the state of one workflow in a table.
type Store struct {
	conf Config
}

var _ state.Store = (*Store)(nil)

// New returns the store of a workflow. It touches nothing.
func New(c Config) *Store {
	if c.LockFor <= 0 {
		c.LockFor = time.Minute
	}
	return &Store{conf: c}
}

// hashKey is the name of the table's key.
const hashKey = "id"

// An item is how a record, or a note beside it, is stored.
type item struct {
	ID   string `dynamodbav:"id"`
	Body []byte `dynamodbav:"body"`
}

// id names an item of the workflow. Any workflow name makes one that the service takes.
func (s *Store) id(kind string, more ...string) string {
	id := kind + "/" + url.PathEscape(s.conf.Workflow)
	for _, m := range more {
		id += "/" + url.PathEscape(m)
	}
	return id
}

// Load implements state.Store.
func (s *Store) Load(ctx context.Context) (state.Workflow, uint64, error) {
	body, err := s.read(ctx, s.id("workflow"))
	if err != nil || body == nil {
		return state.Workflow{}, 0, err
	}
	w, version, err := state.Decode(body, s.conf.Workflow)
	if err != nil {
		return state.Workflow{}, 0, fmt.Errorf("state in table %s %w", s.conf.Table, err)
	}
	return w, version, nil
}

// Swap implements state.Store.
func (s *Store) Swap(ctx context.Context, old uint64, next state.Workflow) (uint64, error) {
	if next.Name != s.conf.Workflow {
		return 0, fmt.Errorf("write state in table %s: a record of workflow %q: %w", s.conf.Table, next.Name, bridge.ErrState)
	}
	line, err := state.Encode(next, old+1)
	if err != nil {
		return 0, err
	}
	before, err := s.read(ctx, s.id("workflow"))
	if err != nil {
		return 0, err
	}
	var found state.Workflow
	var version uint64
	if before != nil {
		if found, version, err = state.Decode(before, s.conf.Workflow); err != nil {
			return 0, fmt.Errorf("state in table %s %w", s.conf.Table, err)
		}
	}
	if version != old {
		return 0, fmt.Errorf("write state in table %s: version %d was expected, %d is there: %w", s.conf.Table, old, version, bridge.ErrConflict)
	}
	if err := state.CheckSuccessor(found, next); err != nil {
		return 0, fmt.Errorf("write state in table %s: %w", s.conf.Table, err)
	}
	if err := s.write(ctx, s.id("workflow"), before, line); err != nil {
		return 0, fmt.Errorf("write state in table %s: %w", s.conf.Table, err)
	}
	return old + 1, nil
}

// Note returns what is kept beside the record under a name, nil if nothing is.
func (s *Store) Note(ctx context.Context, name string) ([]byte, error) {
	return s.read(ctx, s.id("note", name))
}

// SetNote keeps something beside the record, if before is what was kept until now. It
// wraps ErrConflict if it is not.
func (s *Store) SetNote(ctx context.Context, name string, before, next []byte) error {
	if err := s.write(ctx, s.id("note", name), before, next); err != nil {
		return fmt.Errorf("write note %s in table %s: %w", name, s.conf.Table, err)
	}
	return nil
}

// read returns an item's body, nil if there is no item or no table.
func (s *Store) read(ctx context.Context, id string) ([]byte, error) {
	api, err := s.conf.API(ctx)
	if err != nil {
		return nil, err
	}
	out, err := api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.conf.Table, ConsistentRead: aws.Bool(true), Key: key(id)})
	if err = dynamo.Classify(err); errors.Is(err, bridge.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state in table %s: %w", s.conf.Table, err)
	}
	if out.Item == nil {
		return nil, nil
	}
	var it item
	if err := attributevalue.UnmarshalMap(out.Item, &it); err != nil {
		return nil, fmt.Errorf("read state in table %s: %w: %w", s.conf.Table, err, bridge.ErrState)
	}
	if it.Body == nil {
		it.Body = []byte{}
	}
	return it.Body, nil
}

func key(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{hashKey: &types.AttributeValueMemberS{Value: id}}
}

// write replaces exactly what was read. A table that is missing is made first.
func (s *Store) write(ctx context.Context, id string, before, next []byte) error {
	raw, err := attributevalue.MarshalMap(item{ID: id, Body: bytes.Clone(next)})
	if err != nil {
		return err
	}
	in := &dynamodb.PutItemInput{TableName: &s.conf.Table, Item: raw, ConditionExpression: aws.String("attribute_not_exists(id)")}
	if before != nil {
		in.ConditionExpression = aws.String("body = :before")
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":before": &types.AttributeValueMemberB{Value: before}}
	}
	return s.once(ctx, func(api *dynamodb.Client) error {
		_, err := api.PutItem(ctx, in, noRetry)
		return err
	})
}

func noRetry(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// once sends a write, and again after making the table if there is none.
func (s *Store) once(ctx context.Context, send func(*dynamodb.Client) error) error {
	api, err := s.conf.API(ctx)
	if err != nil {
		return err
	}
	err = dynamo.Classify(send(api))
	if !errors.Is(err, bridge.ErrMissing) {
		return err
	}
	if err := s.createTable(ctx, api); err != nil {
		return err
	}
	return dynamo.Classify(send(api))
}

const tablePatience = 2 * time.Minute

func (s *Store) createTable(ctx context.Context, api *dynamodb.Client) error {
	_, err := api.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &s.conf.Table, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(hashKey), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(hashKey), AttributeType: types.ScalarAttributeTypeS}},
	})
	if err = dynamo.Classify(err); err != nil && !errors.Is(err, bridge.ErrConflict) {
		return fmt.Errorf("create table %s: %w", s.conf.Table, err)
	}
	w := dynamodb.NewTableExistsWaiter(api, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 100*time.Millisecond, 5*time.Second
	})
	if err := w.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &s.conf.Table}, tablePatience); err != nil {
		return fmt.Errorf("wait for table %s: %w", s.conf.Table, dynamo.Classify(err))
	}
	return nil
}
