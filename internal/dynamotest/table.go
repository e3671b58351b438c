package dynamotest

import (
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// A request is what any call can hold. A field that is not here is refused, so that a
// caller cannot rely on what is not done.
type request struct {
	TableName                           string
	Key, Item, ExclusiveStartKey        Item
	ConsistentRead                      bool
	ConditionExpression                 string
	UpdateExpression                    string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           Item
	ReturnValues                        string
	ReturnValuesOnConditionCheckFailure string
	Limit                               int
	KeySchema                           []struct{ AttributeName, KeyType string }
	AttributeDefinitions                []struct{ AttributeName, AttributeType string }
	BillingMode                         string
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// keyOf is a string that is the same for equal values only.
func keyOf(v map[string]any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func (t *table) find(key Item) (string, Item, error) {
	v, ok := key[t.key]
	if !ok || len(key) != 1 || v["S"] == nil || v["S"] == "" {
		return "", nil, invalid("The provided key element does not match the schema")
	}
	k := keyOf(v)
	return k, t.items[k], nil
}

func (t *table) get(in request) (any, error) {
	_, it, err := t.find(in.Key)
	if err != nil || it == nil {
		return map[string]any{}, err
	}
	return map[string]any{"Item": it}, nil
}

// scan returns one page. Items come in no order that a caller could rely on: here, the
// reverse of what would be natural.
func (s *Server) scan(t *table, in request) (any, error) {
	page := s.Page
	if page <= 0 {
		page = 7
	}
	if in.Limit > 0 {
		page = min(page, in.Limit)
	}
	keys := sorted(t.items)
	slices.Reverse(keys)
	if in.ExclusiveStartKey != nil {
		after := keyOf(in.ExclusiveStartKey[t.key])
		keys = slices.DeleteFunc(keys, func(k string) bool { return k >= after })
	}
	out := map[string]any{}
	items := []Item{}
	for i, k := range keys {
		if i == page {
			out["LastEvaluatedKey"] = Item{t.key: t.items[keys[i-1]][t.key]}
			break
		}
		items = append(items, t.items[k])
	}
	out["Items"], out["Count"], out["ScannedCount"] = items, len(items), len(items)
	return out, nil
}

// change carries out a write if its condition holds.
func (t *table) change(op string, in request) (any, error) {
	key := in.Key
	if op == "PutItem" {
		key = Item{t.key: in.Item[t.key]}
	}
	k, old, err := t.find(key)
	if err != nil {
		return nil, err
	}
	e := expression{names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues, used: map[string]bool{}}
	if in.ConditionExpression != "" {
		ok, err := e.condition(in.ConditionExpression, old)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, &apiError{http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "The conditional request failed"}
		}
	}
	next, err := t.next(op, in, key, old, &e)
	if err == nil {
		err = e.unused()
	}
	if err != nil {
		return nil, err
	}
	if next == nil {
		delete(t.items, k)
	} else {
		t.items[k] = normal(next)
	}
	return map[string]any{}, nil
}

// normal is an item as the service gives it back, where a number need not be written as it
// was put.
func normal(it Item) Item {
	out := Item{}
	for name, v := range it {
		if n, ok := v["N"].(string); ok {
			if r, ok := new(big.Rat).SetString(n); ok {
				v = map[string]any{"N": strings.TrimSuffix(strings.TrimRight(r.FloatString(130), "0"), ".")}
			}
		}
		out[name] = v
	}
	return out
}

// next is what an item becomes, nil if it goes.
func (t *table) next(op string, in request, key, old Item, e *expression) (Item, error) {
	switch op {
	case "DeleteItem":
		return nil, nil
	case "PutItem":
		return in.Item, in.Item.check()
	}
	next := Item{}
	maps.Copy(next, old)
	maps.Copy(next, key)
	if err := e.update(in.UpdateExpression, next); err != nil {
		return nil, err
	}
	if keyOf(next[t.key]) != keyOf(key[t.key]) {
		return nil, invalid("Cannot update attribute %s. This attribute is part of the key", t.key)
	}
	return next, next.check()
}

// check refuses what the service refuses.
func (it Item) check() error {
	size := 0
	for name, v := range it {
		size += len(name) + len(keyOf(v))
		if len(v) != 1 {
			return invalid("Supplied AttributeValue has more than one datatypes set")
		}
		for _, set := range []string{"SS", "NS", "BS"} {
			list, ok := v[set].([]any)
			if ok && len(list) == 0 {
				return invalid("One or more parameter values were invalid: An string set may not be empty")
			}
			if ok { // a set has no order
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			}
		}
	}
	if size > 400<<10 {
		return invalid("Item size has exceeded the maximum allowed size")
	}
	return nil
}
