package dynamostate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamo"
)

// A claim is the item of a lock.
type claim struct {
	ID    string `dynamodbav:"id"`
	Owner string `dynamodbav:"owner"` // random, with the machine's name for people
	Until int64  `dynamodbav:"until"` // milliseconds since 1970
}

// Lock implements state.Store. It is renewed in the background until it is released; the
// lock of a process that died ends after Config.LockFor.
func (s *Store) Lock(ctx context.Context) (release func() error, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown machine"
	}
	mine := claim{ID: s.id("lock"), Owner: fmt.Sprintf("%s, process %d, %s", host, os.Getpid(), rand.Text())}
	if err := s.claim(ctx, mine, "attribute_not_exists(id) OR #until < :now", map[string]any{":now": time.Now().UnixMilli()}); err != nil {
		if errors.Is(err, bridge.ErrConflict) {
			return nil, s.held(ctx)
		}
		return nil, fmt.Errorf("lock workflow %q in table %s: %w", s.conf.Workflow, s.conf.Table, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() { s.renew(life, mine) })
	return sync.OnceValue(func() error {
		stop()
		renewing.Wait()
		return s.release(context.WithoutCancel(ctx), mine)
	}), nil
}

// claim writes the lock's item, good for LockFor from now, if the condition holds.
func (s *Store) claim(ctx context.Context, c claim, condition string, values map[string]any) error {
	c.Until = time.Now().Add(s.conf.LockFor).UnixMilli()
	raw, err := attributevalue.MarshalMap(c)
	if err != nil {
		return err
	}
	marshalled, err := attributevalue.MarshalMap(values)
	if err != nil {
		return err
	}
	in := &dynamodb.PutItemInput{TableName: &s.conf.Table, Item: raw, ConditionExpression: &condition, ExpressionAttributeValues: marshalled}
	in.ExpressionAttributeNames = map[string]string{"#until": "until"}
	if _, renewal := values[":me"]; renewal {
		in.ExpressionAttributeNames = map[string]string{"#owner": "owner"}
	}
	return s.once(ctx, func(api *dynamodb.Client) error {
		_, err := api.PutItem(ctx, in, noRetry)
		return err
	})
}

// renew claims the lock again and again, until ctx ends or somebody else has it. A failure
// is met by the next attempt; there are several before the lock ends.
func (s *Store) renew(ctx context.Context, mine claim) {
	t := time.NewTicker(s.conf.LockFor / 4)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := s.claim(ctx, mine, "#owner = :me", map[string]any{":me": mine.Owner})
		if errors.Is(err, bridge.ErrConflict) {
			return
		}
	}
}

// held is the error for a lock that somebody else has.
func (s *Store) held(ctx context.Context) error {
	who, until := "another process", "soon"
	api, err := s.conf.API(ctx)
	if err == nil {
		var out *dynamodb.GetItemOutput
		out, err = api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.conf.Table, ConsistentRead: aws.Bool(true), Key: key(s.id("lock"))})
		var c claim
		if err == nil && attributevalue.UnmarshalMap(out.Item, &c) == nil && c.Owner != "" {
			who, until = c.Owner, time.UnixMilli(c.Until).UTC().Format(time.RFC3339)
		}
	}
	return bridge.WithHint(
		fmt.Errorf("workflow %q has another mirror running (%s): %w", s.conf.Workflow, who, bridge.ErrLocked),
		"stop that one first; if it died, its lock ends "+until)
}

// release takes the item away if it is still ours.
func (s *Store) release(ctx context.Context, mine claim) error {
	api, err := s.conf.API(ctx)
	if err != nil {
		return err
	}
	_, err = api.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.conf.Table, Key: key(mine.ID), ConditionExpression: aws.String("#owner = :me"),
		ExpressionAttributeNames:  map[string]string{"#owner": "owner"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":me": &types.AttributeValueMemberS{Value: mine.Owner}},
	})
	if err = dynamo.Classify(err); err != nil && !errors.Is(err, bridge.ErrConflict) && !errors.Is(err, bridge.ErrMissing) {
		return fmt.Errorf("release workflow %q in table %s: %w", s.conf.Workflow, s.conf.Table, err)
	}
	return nil
}
