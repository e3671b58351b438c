package leasetable

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Raw is a whole item with everything in it, in DynamoDB's own JSON when it is stored.
// A nil Raw is no item.
type Raw map[string]types.AttributeValue

// A value is one attribute; exactly one field is set.
type value struct {
	S    *string           `json:"S,omitempty"`
	N    *string           `json:"N,omitempty"`
	B    *[]byte           `json:"B,omitempty"`
	BOOL *bool             `json:"BOOL,omitempty"`
	NULL *bool             `json:"NULL,omitempty"`
	SS   []string          `json:"SS,omitempty"`
	NS   []string          `json:"NS,omitempty"`
	BS   [][]byte          `json:"BS,omitempty"`
	L    *[]value          `json:"L,omitempty"`
	M    *map[string]value `json:"M,omitempty"`
}

// MarshalJSON writes attributes as the service does. Sets are sorted.
func (r Raw) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("null"), nil
	}
	out := make(map[string]value, len(r))
	for name, v := range r {
		j, err := toJSON(v)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		out[name] = j
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Raw) UnmarshalJSON(b []byte) error {
	var in map[string]value
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in == nil {
		*r = nil
		return nil
	}
	*r = make(Raw, len(in))
	for name, v := range in {
		a, err := fromJSON(v)
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
		(*r)[name] = a
	}
	return nil
}

func toJSON(a types.AttributeValue) (v value, err error) {
	switch a := a.(type) {
	case *types.AttributeValueMemberS:
		v.S = &a.Value
	case *types.AttributeValueMemberN:
		v.N = &a.Value
	case *types.AttributeValueMemberB:
		v.B = &a.Value
	case *types.AttributeValueMemberBOOL:
		v.BOOL = &a.Value
	case *types.AttributeValueMemberNULL:
		v.NULL = &a.Value
	case *types.AttributeValueMemberSS:
		v.SS = slices.Sorted(slices.Values(a.Value))
	case *types.AttributeValueMemberNS:
		v.NS = slices.Sorted(slices.Values(a.Value))
	case *types.AttributeValueMemberBS:
		v.BS = a.Value
	case *types.AttributeValueMemberL:
		list := make([]value, len(a.Value))
		for i := range a.Value {
			if list[i], err = toJSON(a.Value[i]); err != nil {
				return v, err
			}
		}
		v.L = &list
	case *types.AttributeValueMemberM:
		m := make(map[string]value, len(a.Value))
		for _, k := range slices.Sorted(maps.Keys(a.Value)) {
			if m[k], err = toJSON(a.Value[k]); err != nil {
				return v, err
			}
		}
		v.M = &m
	default:
		err = fmt.Errorf("a type that this program does not know: %w", bridge.ErrState)
	}
	return v, err
}

// fromJSON refuses an empty set, which the service does not know either.
func fromJSON(v value) (types.AttributeValue, error) {
	switch {
	case v.S != nil:
		return &types.AttributeValueMemberS{Value: *v.S}, nil
	case v.N != nil:
		return &types.AttributeValueMemberN{Value: *v.N}, nil
	case v.B != nil:
		return &types.AttributeValueMemberB{Value: *v.B}, nil
	case v.BOOL != nil:
		return &types.AttributeValueMemberBOOL{Value: *v.BOOL}, nil
	case v.NULL != nil:
		return &types.AttributeValueMemberNULL{Value: *v.NULL}, nil
	case len(v.SS) > 0:
		return &types.AttributeValueMemberSS{Value: v.SS}, nil
	case len(v.NS) > 0:
		return &types.AttributeValueMemberNS{Value: v.NS}, nil
	case len(v.BS) > 0:
		return &types.AttributeValueMemberBS{Value: v.BS}, nil
	case v.L != nil:
		list := make([]types.AttributeValue, len(*v.L))
		for i, e := range *v.L {
			a, err := fromJSON(e)
			if err != nil {
				return nil, err
			}
			list[i] = a
		}
		return &types.AttributeValueMemberL{Value: list}, nil
	case v.M != nil:
		m := make(map[string]types.AttributeValue, len(*v.M))
		for k, e := range *v.M {
			a, err := fromJSON(e)
			if err != nil {
				return nil, err
			}
			m[k] = a
		}
		return &types.AttributeValueMemberM{Value: m}, nil
	}
	return nil, fmt.Errorf("an attribute without a value: %w", bridge.ErrState)
}

// equal reports whether two items hold the same attributes. Numbers are compared as
// numbers: DynamoDB does not always give back how one was written.
func equal(a, b Raw) bool {
	x, err1 := json.Marshal(canonical(a))
	y, err2 := json.Marshal(canonical(b))
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// canonical is an item in which equal numbers are written alike.
func canonical(r Raw) Raw {
	if r == nil {
		return nil
	}
	out := make(Raw, len(r))
	for name, v := range r {
		out[name] = canonicalValue(v)
	}
	return out
}

func canonicalValue(a types.AttributeValue) types.AttributeValue {
	switch a := a.(type) {
	case *types.AttributeValueMemberN:
		return &types.AttributeValueMemberN{Value: canonicalNumber(a.Value)}
	case *types.AttributeValueMemberNS:
		set := make([]string, len(a.Value))
		for i, n := range a.Value {
			set[i] = canonicalNumber(n)
		}
		return &types.AttributeValueMemberNS{Value: set}
	case *types.AttributeValueMemberL:
		list := make([]types.AttributeValue, len(a.Value))
		for i, v := range a.Value {
			list[i] = canonicalValue(v)
		}
		return &types.AttributeValueMemberL{Value: list}
	case *types.AttributeValueMemberM:
		return &types.AttributeValueMemberM{Value: canonical(a.Value)}
	}
	return a
}

func canonicalNumber(n string) string {
	if r, ok := new(big.Rat).SetString(n); ok {
		return r.RatString()
	}
	return n
}
