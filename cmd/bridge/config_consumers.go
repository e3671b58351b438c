package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func (f field) isConsumers() bool { return f.value.Type() == reflect.TypeFor[consumers]() }

// consumers reads the list of consumers: each item is a group of settings of its own.
func (d *decoder) consumers(f field, n ast.Node) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(startOf(n), f.path, "%s where a list of consumers was expected", kindOf(n))
		return
	}
	list := make(consumers, len(seq.Values))
	for i, item := range seq.Values {
		path := fmt.Sprintf("%s[%d]", f.path, i)
		d.marks[path] = startOf(item)
		for _, sub := range appendFields(nil, path+".", reflect.ValueOf(&list[i]).Elem()) {
			d.fields[sub.path] = sub
			if text := sub.tag.Get("default"); text != "" {
				if err := sub.set(text); err != nil {
					d.fault(startOf(item), sub.path, "%v", err)
				}
			}
		}
		d.section(item, path)
	}
	f.value.Set(reflect.ValueOf(list))
}

// errOnlyInFile is the fault of giving consumers by a variable.
var errOnlyInFile = errors.New("can only stand in the file")

// text is the list as YAML writes it on one line.
func (c consumers) text() string {
	items := make([]string, len(c))
	for i := range c {
		var parts []string
		for _, f := range appendFields(nil, "", reflect.ValueOf(&c[i]).Elem()) {
			if t := f.text(); t != "" {
				parts = append(parts, f.path+": "+t)
			}
		}
		items[i] = "{" + strings.Join(parts, ", ") + "}"
	}
	return "[" + strings.Join(items, ", ") + "]"
}

var (
	consumerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	tableName    = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)
)

// consumerList judges the consumers.
func (c *checker) consumerList() {
	seen := map[string]bool{}
	for i, k := range c.Consumers {
		path := fmt.Sprintf("consumers[%d].", i)
		switch {
		case !consumerName.MatchString(k.Name):
			c.fault(path+"name", "", "%q is not a name of up to 100 letters, digits, - and _", k.Name)
		case seen[k.Name]:
			c.fault(path+"name", "", "%q is the name of two consumers", k.Name)
		}
		seen[k.Name] = true
		if !tableName.MatchString(k.table()) {
			c.fault(path+"kcl_application", "", "%q is not the name of a lease table; give kcl_application or lease_table", k.table())
		}
		if k.Group == "" || len(k.Group) > 249 {
			c.fault(path+"group", "", "%q is not the name of a consumer group", k.Group)
		}
	}
	if e := c.DynamoDB.EndpointURL; e != "" {
		if err := checkURL(e); err != nil {
			c.fault("dynamodb.endpoint_url", "", "%v", err)
		}
	}
	if r := c.DynamoDB.Region; r != "" && !regionName.MatchString(r) {
		c.fault("dynamodb.region", "", "%q is not a region such as us-east-1", r)
	}
}
