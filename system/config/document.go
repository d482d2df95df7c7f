package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/ems"
)

// maxFileBytes bounds every file of a site folder.
const maxFileBytes = 16 << 20

// document is one YAML file, kept as nodes so that a fault found after decoding
// can still be told with its line.
type document struct {
	file   string
	root   *yaml.Node
	kind   reflect.Type // of what it is decoded into
	faults *faults
}

// readDocument decodes file strictly into the value that into points to. A file
// that does not exist leaves it as it was; ok is false when the content cannot
// be used.
func readDocument(path, shown string, into any, found *faults) (doc *document, ok bool) {
	doc = &document{file: shown, faults: found}
	text, err := readBounded(path)
	if errors.Is(err, os.ErrNotExist) {
		return doc, true
	}
	if err != nil {
		found.add(shown, 0, "%v", err)
		return doc, false
	}
	if at := bytes.IndexByte(text, 0); at >= 0 {
		line, column := position(text, at)
		found.add(shown, line, "column %d: a NUL byte: this is not a text file", column)
		return doc, false
	}
	return doc, doc.decode(text, into)
}

// decode reads the text of a file. It returns false when that cannot be used.
func (d *document) decode(text []byte, into any) bool {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root, second yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) { // an empty file says nothing
		return true
	} else if err != nil {
		d.addYAML(err)
		return false
	}
	d.root, d.kind = root.Content[0], reflect.TypeOf(into)
	before := len(d.faults.list)
	if d.findCircles(d.root, nil, nil); len(d.faults.list) > before {
		return false
	}
	if d.check(d.root, reflect.TypeOf(into)) {
		if err := root.Decode(into); err != nil {
			d.addYAML(err)
		}
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		d.faults.add(d.file, second.Line, "a second YAML document: put everything into one")
	}
	return len(d.faults.list) == before
}

// findCircles tells of aliases that stand in what they repeat. above are the nodes
// around node, to which path leads.
func (d *document) findCircles(node *yaml.Node, path []any, above []*yaml.Node) {
	if node.Kind == yaml.AliasNode && slices.Contains(above, node.Alias) {
		d.faults.add(d.file, node.Line, "%s: *%s repeats what it stands in itself, without end", ems.PathText(path), node.Value)
		return
	}
	above, path = append(slices.Clip(above), node), slices.Clip(path)
	for i, inner := range node.Content {
		switch {
		case node.Kind == yaml.SequenceNode:
			d.findCircles(inner, append(path, i), above)
		case i%2 == 1: // a key stands before it
			d.findCircles(inner, append(path, node.Content[i-1].Value), above)
		}
	}
}

// check finds what the decoder lets pass, keys that kind does not have and
// fractions where a whole number is meant, and what it tells without a line:
// texts that their type refuses, for which it returns false. What an alias
// repeats is looked at where it stands first.
func (d *document) check(node *yaml.Node, kind reflect.Type) (readable bool) {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	readable = true
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if inner, known := valueType(kind, key.Value); inner != nil {
				readable = d.check(value, inner) && readable
			} else if !known && key.ShortTag() != "!!merge" {
				d.faults.add(d.file, key.Line, "unknown key %q: check its spelling and indentation", key.Value)
			}
		}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			if kind.Kind() == reflect.Slice {
				readable = d.check(item, kind.Elem()) && readable
			}
		}
	case yaml.ScalarNode:
		readable = d.checkScalar(node, kind)
	}
	return readable
}

func (d *document) checkScalar(node *yaml.Node, kind reflect.Type) (readable bool) {
	tag := node.ShortTag()
	if text, isText := reflect.New(kind).Interface().(encoding.TextUnmarshaler); isText && tag != "!!null" {
		if err := text.UnmarshalText([]byte(node.Value)); err != nil {
			d.faults.add(d.file, node.Line, "%v", err)
			return false
		}
		return true
	}
	if kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64 && tag == "!!float" {
		if number, err := strconv.ParseFloat(node.Value, 64); err != nil || number != math.Trunc(number) {
			d.faults.add(d.file, node.Line, "%s is not a whole number", node.Value)
		}
	}
	return true
}

// valueType returns the type behind a key, nil where any will do; known is false
// where a struct has no such key.
func valueType(kind reflect.Type, key string) (inner reflect.Type, known bool) {
	switch kind.Kind() {
	case reflect.Map:
		return kind.Elem(), true
	case reflect.Struct:
		for i := range kind.NumField() {
			field := kind.Field(i)
			name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if options == "inline" {
				if inner, known := valueType(field.Type, key); known {
					return inner, true
				}
			}
			if name == key || name == "" && strings.ToLower(field.Name) == key {
				return field.Type, true
			}
		}
		return nil, false
	default:
		return nil, true
	}
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("larger than %d MiB", maxFileBytes>>20)
	}
	return text, nil
}

// add reports a fault at the node that path leads to: field names and list
// indexes from the top. A path that ends early is reported where it ends.
func (d *document) add(path []any, format string, args ...any) {
	d.faults.add(d.file, d.line(path), "%s: %s", ems.PathText(path), fmt.Sprintf(format, args...))
}

// line returns where the node stands that path leads to, 0 where there is none.
func (d *document) line(path []any) int {
	if node := d.node(path); node != nil {
		return node.Line
	}
	return 0
}

// addReference reports something that was not found where it is kept.
func (d *document) addReference(kept table, path []any, format string, args ...any) {
	d.add(path, format, args...)
	d.faults.list[len(d.faults.list)-1].missing = kept
}

func (d *document) node(path []any) *yaml.Node {
	at := d.root
	for _, step := range path {
		next := child(at, step)
		if next == nil {
			break
		}
		at = next
	}
	return at
}

func child(node *yaml.Node, step any) *yaml.Node {
	if node == nil {
		return nil
	}
	switch step := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		if node.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	}
	return nil
}
