package dynamotest

import (
	"math/big"
	"slices"
	"strings"
)

// An expression evaluates conditions and updates: AND, OR, parentheses, comparisons,
// attribute_exists and attribute_not_exists; SET name = value or name + value, REMOVE.
type expression struct {
	names  map[string]string
	values Item
	used   map[string]bool
	tokens []string
	item   Item
	err    error
}

// tokens splits at spaces and around punctuation.
func tokens(s string) []string {
	for _, p := range []string{"(", ")", ",", "=", "<", ">", "+"} {
		s = strings.ReplaceAll(s, p, " "+p+" ")
	}
	s = strings.NewReplacer("<  >", "<>", "<  =", "<=", ">  =", ">=").Replace(s)
	return strings.Fields(s)
}

func (e *expression) condition(text string, item Item) (bool, error) {
	e.tokens, e.item = tokens(text), item
	ok := e.or()
	if e.err == nil && len(e.tokens) > 0 {
		e.fail("Syntax error at %q", e.tokens[0])
	}
	return ok, e.err
}

func (e *expression) fail(format string, args ...any) {
	if e.err == nil {
		e.err = invalid("Invalid expression: "+format, args...)
	}
}

func (e *expression) peek() string {
	if len(e.tokens) == 0 {
		return ""
	}
	return e.tokens[0]
}

func (e *expression) pop() string {
	t := e.peek()
	if t == "" {
		e.fail("it ends too early")
		return ""
	}
	e.tokens = e.tokens[1:]
	return t
}

func (e *expression) expect(t string) {
	if got := e.pop(); got != t {
		e.fail("%q instead of %q", got, t)
	}
}

func (e *expression) or() bool {
	ok := e.and()
	for e.peek() == "OR" {
		e.pop()
		right := e.and()
		ok = ok || right
	}
	return ok
}

func (e *expression) and() bool {
	ok := e.term()
	for e.peek() == "AND" {
		e.pop()
		right := e.term()
		ok = ok && right
	}
	return ok
}

func (e *expression) term() bool {
	switch e.peek() {
	case "(":
		e.pop()
		ok := e.or()
		e.expect(")")
		return ok
	case "attribute_exists", "attribute_not_exists":
		want := e.pop() == "attribute_exists"
		e.expect("(")
		_, there := e.item[e.name(e.pop())]
		e.expect(")")
		return there == want
	}
	left, leftOK := e.operand()
	op := e.pop()
	right, rightOK := e.operand()
	return leftOK && rightOK && e.compare(left, op, right)
}

// name is an attribute's name, by its placeholder or as it is.
func (e *expression) name(t string) string {
	if !strings.HasPrefix(t, "#") {
		return t
	}
	n, ok := e.names[t]
	if !ok {
		e.fail("An expression attribute name used in the document path is not defined: %s", t)
	}
	e.used[t] = true
	return n
}

func (e *expression) operand() (map[string]any, bool) {
	t := e.pop()
	if !strings.HasPrefix(t, ":") {
		v, ok := e.item[e.name(t)]
		return v, ok
	}
	v, ok := e.values[t]
	if !ok {
		e.fail("An expression attribute value used in expression is not defined: %s", t)
	}
	e.used[t] = true
	return v, ok
}

// compare is false for values of different types, whatever the comparison but <>.
func (e *expression) compare(a map[string]any, op string, b map[string]any) bool {
	order, comparable := 0, false
	if x, y, ok := numbers(a, b); ok {
		order, comparable = x.Cmp(y), true
	} else if x, ok := a["S"].(string); ok {
		if y, ok := b["S"].(string); ok {
			order, comparable = strings.Compare(x, y), true
		}
	}
	switch op {
	case "=":
		return comparable && order == 0 || !comparable && same(a, b)
	case "<>":
		return !(comparable && order == 0 || !comparable && same(a, b))
	case "<":
		return comparable && order < 0
	case ">":
		return comparable && order > 0
	case "<=":
		return comparable && order <= 0
	case ">=":
		return comparable && order >= 0
	}
	e.fail("unknown operator %q", op)
	return false
}

func numbers(a, b map[string]any) (*big.Rat, *big.Rat, bool) {
	x, ok1 := a["N"].(string)
	y, ok2 := b["N"].(string)
	if !ok1 || !ok2 {
		return nil, nil, false
	}
	p, ok1 := new(big.Rat).SetString(x)
	q, ok2 := new(big.Rat).SetString(y)
	return p, q, ok1 && ok2
}

// same compares values; sets have no order.
func same(a, b map[string]any) bool {
	for _, set := range []string{"SS", "NS", "BS"} {
		x, ok1 := a[set].([]any)
		y, ok2 := b[set].([]any)
		if ok1 && ok2 {
			return len(x) == len(y) && !slices.ContainsFunc(x, func(v any) bool { return !slices.Contains(y, v) })
		}
	}
	return keyOf(a) == keyOf(b)
}

// update changes item as SET and REMOVE clauses say. All values are those from before.
func (e *expression) update(text string, item Item) error {
	old := Item{}
	for k, v := range item {
		old[k] = v
	}
	e.tokens, e.item = tokens(text), old
	for len(e.tokens) > 0 && e.err == nil {
		switch clause := e.pop(); clause {
		case "SET":
			e.each(func() { e.set(item) })
		case "REMOVE":
			e.each(func() { delete(item, e.name(e.pop())) })
		default:
			e.fail("unknown clause %q", clause)
		}
	}
	return e.err
}

func (e *expression) each(one func()) {
	one()
	for e.peek() == "," && e.err == nil {
		e.pop()
		one()
	}
}

func (e *expression) set(item Item) {
	name := e.name(e.pop())
	e.expect("=")
	v, ok := e.operand()
	if e.peek() == "+" {
		e.pop()
		more, ok2 := e.operand()
		x, y, numeric := numbers(v, more)
		if !ok || !ok2 || !numeric {
			e.fail("An operand in the update expression has an incorrect data type")
			return
		}
		v = map[string]any{"N": new(big.Rat).Add(x, y).RatString()}
	}
	if !ok {
		e.fail("The provided expression refers to an attribute that does not exist in the item")
		return
	}
	item[name] = v
}

// unused refuses names and values that no expression uses, as the service does.
func (e *expression) unused() error {
	for _, n := range sorted(e.names) {
		if !e.used[n] {
			return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", n)
		}
	}
	for _, v := range sorted(e.values) {
		if !e.used[v] {
			return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", v)
		}
	}
	return nil
}
