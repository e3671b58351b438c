package leasetable

import "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

// Parse reads an item as the dialect has it.
func Parse(d Dialect, raw map[string]types.AttributeValue) (*Item, string, error) {
	return d.parse(raw)
}

// Equal is what says whether an item was changed by somebody else.
func Equal(a, b Raw) bool { return equal(a, b) }
