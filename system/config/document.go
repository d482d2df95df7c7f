package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds every file of a site folder.
const maxFileBytes = 16 << 20

// document is one YAML file, kept as nodes so that a fault found after decoding
// can still be told with its line.
type document struct {
	file   string
	root   *yaml.Node
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
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		doc.addYAML(err)
		return doc, false
	}
	if root.Kind == 0 { // an empty file says nothing
		return doc, true
	}
	doc.root = root.Content[0]
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		doc.addYAML(err)
		return doc, false
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		found.add(shown, second.Line, "a second YAML document: put everything into one")
		return doc, false
	}
	return doc, true
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
	if zero := bytes.IndexByte(text, 0); zero >= 0 {
		return nil, fmt.Errorf("byte %d is NUL: this is not a text file", zero+1)
	}
	return text, nil
}

// add reports a fault at the node that path leads to: field names and list
// indexes from the top. A path that ends early is reported where it ends.
func (d *document) add(path []any, format string, args ...any) {
	line := 0
	if node := d.node(path); node != nil {
		line = node.Line
	}
	d.faults.add(d.file, line, "%s: %s", pathText(path), fmt.Sprintf(format, args...))
}

// addReference reports something that was not found in another file.
func (d *document) addReference(path []any, format string, args ...any) {
	d.add(path, format, args...)
	d.faults.list[len(d.faults.list)-1].reference = true
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

func pathText(path []any) string {
	var text strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&text, "[%d]", step)
		case string:
			if text.Len() > 0 {
				text.WriteByte('.')
			}
			text.WriteString(step)
		}
	}
	return text.String()
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (\S+) not found in type `)
)

// addYAML turns the decoder's messages, which may be several, into faults.
func (d *document) addYAML(err error) {
	messages := []string{err.Error()}
	var typeError *yaml.TypeError
	if errors.As(err, &typeError) {
		messages = typeError.Errors
	}
	for _, message := range messages {
		line := 0
		if match := yamlLine.FindStringSubmatch(message); match != nil {
			line, _ = strconv.Atoi(match[1])
			message = match[2]
		}
		if match := yamlUnknown.FindStringSubmatch(message); match != nil {
			message = fmt.Sprintf("unknown key %q: check its spelling and indentation", match[1])
		}
		d.faults.add(d.file, line, "%s", strings.TrimPrefix(message, "yaml: "))
	}
}
