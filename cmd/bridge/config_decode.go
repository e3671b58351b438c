package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A fault is one thing that is wrong with a configuration.
type fault struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1; 0 if no line of the file is at fault
	Column int    `json:"column,omitempty"` // from 1
	Path   string `json:"path,omitempty"`   // of the setting
	Text   string `json:"message"`
	Hint   string `json:"hint,omitempty"`
}

// Error is "file:line:column: path: what is wrong", as compilers write it.
func (f fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
		}
		b.WriteString(": ")
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	return b.String() + f.Text
}

// A decoder reads one YAML file into the fields of a config. It goes on after a fault, so
// that a person sees all of them at once.
type decoder struct {
	file   string
	env    func(string) (string, bool)
	fields map[string]field
	marks  map[string]mark // where each key that was found stands
	faults []fault
}

// A mark is a place in the file.
type mark struct{ line, column int }

func markOf(t *token.Token) mark {
	if t == nil || t.Position == nil {
		return mark{}
	}
	return mark{t.Position.Line, t.Position.Column}
}

// startOf is where a node begins; the parser's own token of a group is its first colon.
func startOf(n ast.Node) mark {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() {
			return markOf(it.Key().GetToken())
		}
	}
	return markOf(n.GetToken())
}

func (d *decoder) fault(m mark, path, format string, args ...any) {
	d.faults = append(d.faults, fault{File: d.file, Line: m.line, Column: m.column, Path: path, Text: fmt.Sprintf(format, args...)})
}

// decode reads the whole file. It is false if that is no group of settings at all.
func (d *decoder) decode(b []byte) bool {
	if m := tooDeep(b); m != (mark{}) {
		d.fault(m, "", "groups or lists stand more than %d deep in each other", mostDeep)
		return false
	}
	tree, err := parser.ParseBytes(b, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return false
	}
	docs := slices.DeleteFunc(tree.Docs, func(n *ast.DocumentNode) bool { return n.Body == nil })
	switch {
	case len(docs) == 0:
		return true
	case len(docs) > 1:
		d.fault(startOf(docs[1].Body), "", "the file holds more than one document")
		return false
	}
	d.section(docs[0].Body, "")
	return isMap(docs[0].Body)
}

func (d *decoder) syntax(err error) {
	var e yaml.Error
	if errors.As(err, &e) {
		d.fault(markOf(e.GetToken()), "", "not YAML: %s", e.GetMessage())
		return
	}
	d.fault(mark{}, "", "not YAML: %v", err)
}

// section reads the keys of a mapping; path is "" for the whole file.
func (d *decoder) section(n ast.Node, path string) {
	mapping, ok := n.(ast.MapNode)
	if _, alias := n.(*ast.AliasNode); alias || !ok {
		d.fault(startOf(n), path, "%s where settings were expected", kindOf(n))
		return
	}
	for it := mapping.MapRange(); it.Next(); {
		entry := it.KeyValue()
		at := markOf(entry.Key.GetToken())
		name := entry.Key.GetToken().Value
		if entry.Key.IsMergeKey() {
			d.fault(at, path, "merge keys are not supported")
			continue
		}
		full := name
		if path != "" {
			full = path + "." + name
		}
		if _, twice := d.marks[full]; twice {
			d.fault(at, full, "is given twice")
			continue
		}
		d.marks[full] = at
		d.entry(entry, full, at)
	}
}

func (d *decoder) entry(e *ast.MappingValueNode, path string, at mark) {
	f, leaf := d.fields[path]
	switch {
	case path == "keymap" && isMap(e.Value):
		d.keymap(e.Value, at)
	case leaf && f.isConsumers():
		d.consumers(f, e.Value)
	case leaf:
		d.leaf(f, e.Value)
	case d.isSection(path):
		if _, null := e.Value.(*ast.NullNode); null {
			d.fault(at, path, "has no settings")
			return
		}
		d.section(e.Value, path)
	default:
		d.fault(at, path, "unknown setting%s", suggest(lastOf(path), d.siblings(path)))
	}
}

func isMap(n ast.Node) bool { _, ok := n.(ast.MapNode); return ok }

// keymap reads the long form {name: field, pointer: /id, then: murmur2} as the text
// "field(/id,murmur2)", which can be given in one word, too.
func (d *decoder) keymap(n ast.Node, at mark) {
	d.marks["keymap"] = at
	values := map[string]string{}
	for it := n.(ast.MapNode).MapRange(); it.Next(); {
		e := it.KeyValue()
		name := e.Key.GetToken().Value
		text, err := d.scalar(d.fields["keymap"], e.Value)
		_, twice := values[name]
		switch {
		case err != nil:
			d.fault(startOf(e.Value), "keymap."+name, "%v", err)
		case twice:
			d.fault(markOf(e.Key.GetToken()), "keymap."+name, "is given twice")
		}
		values[name] = text
	}
	text, err := keymapText(values)
	if err == nil {
		err = d.fields["keymap"].set(text)
	}
	if err != nil {
		d.fault(at, "keymap", "%v", err)
	}
}

// leaf reads the value of a setting.
func (d *decoder) leaf(f field, n ast.Node) {
	at := startOf(n)
	d.marks[f.path] = at
	items := []ast.Node{n}
	if f.isList() {
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			d.fault(at, f.path, "%s where a list such as [a, b] was expected", kindOf(n))
			return
		}
		items = seq.Values
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		text, err := d.scalar(f, item)
		if err != nil {
			d.fault(startOf(item), f.path, "%v", err)
			return
		}
		texts = append(texts, text)
	}
	if err := f.set(texts...); err != nil {
		d.fault(at, f.path, "%v", err)
	}
}

// scalar is the text of one value, with a reference replaced by what it refers to.
func (d *decoder) scalar(f field, n ast.Node) (string, error) {
	text := n.GetToken().Value
	switch v := n.(type) {
	case *ast.StringNode:
		text = v.Value
	case *ast.LiteralNode:
		text = v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
	case *ast.BoolNode:
		if f.value.Kind() == reflect.String {
			return "", fmt.Errorf("%s where text was expected; write it in quotes", text)
		}
	default:
		joined, ok := joinColon(n)
		if !ok {
			return "", fmt.Errorf("%s where one value was expected", kindOf(n))
		}
		text = joined
	}
	value, referred, err := d.resolve(text)
	if err != nil {
		return "", err
	}
	if f.isSecret() && !referred {
		return "", errors.New("a secret must not stand in the file; write ${env:NAME} or ${file:PATH}")
	}
	if value == "" {
		return "", errors.New("has no value")
	}
	return value, nil
}

// joinColon mends what the parser makes of host:9092 in a list inside of braces, which it
// takes for a key and its value. YAML wants a blank behind the colon of a key, and where
// there is none the text is one value.
func joinColon(n ast.Node) (string, bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		return "", false
	}
	it := m.MapRange()
	if !it.Next() {
		return "", false
	}
	e := it.KeyValue()
	key, value := e.Key.GetToken(), e.Value.GetToken()
	_, plain := e.Value.(ast.ScalarNode)
	if it.Next() || !plain || value.Position.Offset != key.Position.Offset+len([]rune(key.Value))+1 {
		return "", false
	}
	return key.Value + ":" + value.Value, true
}

// resolve replaces a text that is ${env:NAME} or ${file:PATH} as a whole. What it finds
// is taken as it is: a password may hold "${".
func (d *decoder) resolve(text string) (value string, referred bool, err error) {
	inner, ok := strings.CutPrefix(text, "${")
	if !ok {
		return text, false, nil
	}
	inner, ok = strings.CutSuffix(inner, "}")
	kind, name, colon := strings.Cut(inner, ":")
	if !ok || !colon || name == "" {
		return "", true, fmt.Errorf("%q is not ${env:NAME} or ${file:PATH}", text)
	}
	switch kind {
	case "env":
		v, found := d.env(name)
		if !found || v == "" {
			return "", true, fmt.Errorf("environment variable %s is not set", name)
		}
		return v, true, nil
	case "file":
		b, err := os.ReadFile(name)
		if err != nil {
			return "", true, fmt.Errorf("%s cannot be read: %w", text, err)
		}
		v := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if v == "" {
			return "", true, fmt.Errorf("%s is empty", text)
		}
		return v, true, nil
	}
	return "", true, fmt.Errorf("%q is not ${env:NAME} or ${file:PATH}", text)
}

func (d *decoder) isSection(path string) bool {
	for p := range d.fields {
		if strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// siblings are the names that may stand beside path.
func (d *decoder) siblings(path string) []string {
	parent := strings.TrimSuffix(path, lastOf(path))
	names := map[string]bool{}
	for p := range d.fields {
		if rest, ok := strings.CutPrefix(p, parent); ok {
			name, _, _ := strings.Cut(rest, ".")
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func lastOf(path string) string { return path[strings.LastIndex(path, ".")+1:] }

// kindOf says what a node is, for people.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a group of settings"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	}
	return "a single value"
}

const (
	// mostDeep is how deep groups and lists can stand in each other; settings are no deeper
	// than four. The parser's memory grows with the square of it.
	mostDeep = 32
	// mostMarks is how many brackets, dashes and question marks there can be that may begin
	// a group or a list.
	mostMarks = 20_000
)

// tooDeep is where a file begins to be deeper than can be parsed in little memory, zero if
// it nowhere is. It counts marks without regard to quotes, of which a configuration needs
// few.
func tooDeep(b []byte) mark {
	depth, marks := 0, 0
	at, inLine := mark{line: 1}, 0 // marks that begin a list or group in this line
	for i, c := range b {
		at.column++
		switch c {
		case '\n':
			at, inLine = mark{line: at.line + 1}, 0
		case '[', '{':
			depth++
			marks++
		case ']', '}':
			depth = max(depth-1, 0)
		case '-', '?', ':':
			if i+1 < len(b) && (b[i+1] == ' ' || b[i+1] == '\n' || b[i+1] == '\t') {
				inLine++
				marks++
			}
		}
		if depth > mostDeep || inLine > mostDeep || marks > mostMarks {
			return at
		}
	}
	return mark{}
}
