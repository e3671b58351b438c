package leasetable

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// Apply makes every change that was not made yet, each on the condition that exactly what
// was read is still there, and reads all of them back. It can be called again after it was
// interrupted. It wraps ErrConflict if an item is neither as it was nor as it is to be;
// items before it may have been written then.
func (t *Table) Apply(ctx context.Context, c Changes) error {
	if err := t.ensure(ctx, c.Create); err != nil {
		return err
	}
	for _, ch := range c.Items {
		if err := t.move(ctx, ch.Key, ch.Before, ch.After); err != nil {
			return err
		}
	}
	return t.check(ctx, c.Items, func(ch Change) Raw { return ch.After })
}

// Undo takes every change back that was made, on the condition that nobody changed the
// item since. It can be called again after it was interrupted.
func (t *Table) Undo(ctx context.Context, c Changes) error {
	s := &Snapshot{}
	if err := t.describe(ctx, s); err != nil {
		return err
	}
	if !s.Exists && c.Create {
		return nil
	}
	for _, ch := range c.Items {
		if err := t.move(ctx, ch.Key, ch.After, ch.Before); err != nil {
			return err
		}
	}
	if err := t.check(ctx, c.Items, func(ch Change) Raw { return ch.Before }); err != nil {
		return err
	}
	if !c.Create {
		return nil
	}
	return t.drop(ctx)
}

// Check reports whether Apply and Undo would find what they expect: every item as it was or
// as it is to be, and every lease that is not to be changed as it was. It wraps ErrConflict
// if not, and changes nothing.
func (t *Table) Check(ctx context.Context, c Changes) error {
	s, err := t.Read(ctx)
	if err != nil {
		return err
	}
	there := map[string]Raw{}
	for _, it := range s.Items {
		there[it.Key] = it.raw
	}
	changed := map[string]bool{}
	for _, ch := range c.Items {
		changed[ch.Key[strings.LastIndexByte(ch.Key, ':')+1:]] = true
		if now := there[ch.Key]; !equal(now, ch.Before) && !equal(now, ch.After) {
			want := ch.Before
			if want == nil && now != nil {
				want = ch.After
			}
			return t.conflict(ch.Key, want, now)
		}
	}
	return t.holds(s, slices.DeleteFunc(slices.Clone(c.Want), func(l positions.Lease) bool { return changed[l.Shard] }))
}

// Untouched reports whether none of the changes stands in the table.
func (t *Table) Untouched(ctx context.Context, c Changes) (bool, error) {
	for _, ch := range c.Items {
		there, err := t.get(ctx, ch.Key)
		if err != nil && !errors.Is(err, bridge.ErrMissing) {
			return false, err
		}
		if err == nil && equal(there, ch.After) {
			return false, nil
		}
	}
	return true, nil
}

// Verify reads the table and wraps ErrConflict unless every lease is as it was to be.
func (t *Table) Verify(ctx context.Context, c Changes) error {
	s, err := t.Read(ctx)
	if err != nil {
		return err
	}
	return t.holds(s, c.Want)
}

// holds compares positions.
func (t *Table) holds(s *Snapshot, want []positions.Lease) error {
	have := map[string]positions.Lease{}
	for _, it := range s.Items {
		have[it.Shard] = it.Lease
	}
	for _, l := range want {
		now, ok := have[l.Shard]
		same := now.Checkpoint == l.Checkpoint && (now.Sub == l.Sub || t.dialect == VMwareGoKCL)
		if !ok || !same {
			return bridge.WithHint(fmt.Errorf("lease %s of table %s says %s/%d and not %s/%d: %w", l.Shard, t.name, now.Checkpoint, now.Sub, l.Checkpoint, l.Sub, bridge.ErrConflict),
				"make sure that the application is stopped, and plan again")
		}
	}
	return nil
}

// moveTries bounds how often a write is tried whose condition did not hold although what is
// there is what the condition says: somebody else was at the item in that very moment.
const moveTries = 5

// move writes to where from is. An item that is to already is left alone.
func (t *Table) move(ctx context.Context, key string, from, to Raw) (err error) {
	for range moveTries {
		there, failed := t.get(ctx, key)
		switch {
		case failed != nil:
			return errors.Join(err, failed)
		case equal(there, to):
			return nil // also after an answer that was lost
		case err != nil && !errors.Is(err, bridge.ErrConflict):
			return err
		case !equal(there, from):
			return t.conflict(key, from, there)
		}
		if err = t.write(ctx, key, from, to); err == nil {
			return nil
		}
	}
	return err
}

// conflict says what is not as it should be.
func (t *Table) conflict(key string, want, there Raw) error {
	what := ""
	for _, name := range slices.Sorted(maps.Keys(union(want, there))) {
		if a, b := (Raw{name: want[name]}), (Raw{name: there[name]}); want[name] == nil || there[name] == nil || !equal(a, b) {
			what = " (" + name + ")"
			break
		}
	}
	return bridge.WithHint(fmt.Errorf("lease %s of table %s changed since the plan was made%s: %w", key, t.name, what, bridge.ErrConflict),
		"make sure that the application is stopped, and plan again")
}

func union(a, b Raw) Raw {
	out := maps.Clone(a)
	if out == nil {
		out = Raw{}
	}
	maps.Copy(out, b)
	return out
}

func (t *Table) get(ctx context.Context, key string) (Raw, error) {
	out, err := t.api.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.name, ConsistentRead: aws.Bool(true), Key: map[string]types.AttributeValue{t.dialect.Key(): text(key)},
	})
	if err != nil {
		return nil, fmt.Errorf("read lease %s of table %s: %w", key, t.name, dynamo.Classify(err))
	}
	return out.Item, nil
}

// write replaces, adds or deletes an item, on the condition that all of from is there.
func (t *Table) write(ctx context.Context, key string, from, to Raw) (err error) {
	cond := condition(t.dialect.Key(), from)
	if to == nil {
		_, err = t.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &t.name, Key: map[string]types.AttributeValue{t.dialect.Key(): text(key)},
			ConditionExpression: &cond.text, ExpressionAttributeNames: cond.names, ExpressionAttributeValues: cond.values,
		})
	} else {
		_, err = t.api.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &t.name, Item: to,
			ConditionExpression: &cond.text, ExpressionAttributeNames: cond.names, ExpressionAttributeValues: cond.values,
		})
	}
	if err != nil {
		return fmt.Errorf("write lease %s of table %s: %w", key, t.name, dynamo.Classify(err))
	}
	return nil
}

type conditional struct {
	text   string
	names  map[string]string
	values map[string]types.AttributeValue
}

// condition holds if every attribute of from is there with that value; for no item, if
// there is none. Attributes that the application adds when it works, but are not there
// now, must not be there then.
func condition(hashKey string, from Raw) conditional {
	c := conditional{names: map[string]string{}, values: map[string]types.AttributeValue{}}
	var terms []string
	name := func(n string) string {
		p := fmt.Sprintf("#n%d", len(c.names))
		c.names[p] = n
		return p
	}
	if from == nil {
		return conditional{text: "attribute_not_exists(#n0)", names: map[string]string{"#n0": hashKey}}
	}
	for _, n := range slices.Sorted(maps.Keys(from)) {
		v := fmt.Sprintf(":v%d", len(c.values))
		c.values[v] = from[n]
		terms = append(terms, name(n)+" = "+v)
	}
	for _, n := range []string{"leaseOwner", "checkpointOwner", "pendingCheckpoint", "AssignedTo", "LeaseTimeout", "ClaimRequest"} {
		if _, ok := from[n]; !ok {
			terms = append(terms, "attribute_not_exists("+name(n)+")")
		}
	}
	c.text = strings.Join(terms, " AND ")
	return c
}

// check reads everything back.
func (t *Table) check(ctx context.Context, items []Change, want func(Change) Raw) error {
	for _, ch := range items {
		there, err := t.get(ctx, ch.Key)
		if err != nil {
			return err
		}
		if !equal(there, want(ch)) {
			return t.conflict(ch.Key, want(ch), there)
		}
	}
	return nil
}

// ensure creates the table if there was none, and waits for it.
func (t *Table) ensure(ctx context.Context, create bool) error {
	s := &Snapshot{}
	if err := t.describe(ctx, s); err != nil {
		return err
	}
	if !s.Exists {
		if !create {
			return bridge.WithHint(fmt.Errorf("lease table %s was deleted since the plan was made: %w", t.name, bridge.ErrConflict), "plan again")
		}
		_, err := t.api.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: &t.name, BillingMode: types.BillingModePayPerRequest,
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(t.dialect.Key()), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(t.dialect.Key()), AttributeType: types.ScalarAttributeTypeS}},
		})
		if err = dynamo.Classify(err); err != nil && !errors.Is(err, bridge.ErrConflict) {
			return fmt.Errorf("create lease table %s: %w", t.name, err)
		}
	}
	return t.awaitActive(ctx)
}

const tablePatience = 2 * time.Minute

func (t *Table) awaitActive(ctx context.Context) error {
	w := dynamodb.NewTableExistsWaiter(t.api, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 100*time.Millisecond, 5*time.Second
	})
	if err := w.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &t.name}, tablePatience); err != nil {
		return fmt.Errorf("wait for lease table %s: %w", t.name, dynamo.Classify(err))
	}
	return nil
}

// drop deletes a table that Apply made, unless somebody put something there.
func (t *Table) drop(ctx context.Context) error {
	page, err := t.api.Scan(ctx, &dynamodb.ScanInput{TableName: &t.name, ConsistentRead: aws.Bool(true), Limit: aws.Int32(1)})
	if err == nil && len(page.Items) == 0 {
		_, err = t.api.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &t.name})
	}
	if err = dynamo.Classify(err); err != nil && !errors.Is(err, bridge.ErrMissing) {
		return fmt.Errorf("delete lease table %s: %w", t.name, err)
	}
	return nil
}
