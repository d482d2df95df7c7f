package config

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/ems"
)

var (
	yamlLine   = regexp.MustCompile(`(?s)^(?:yaml: )?line (\d+): (.*)$`)
	yamlMisfit = regexp.MustCompile("(?s)^cannot unmarshal (!\\S*)(?: `(.*)`)? into (.+)$")
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
		message = strings.TrimPrefix(message, "yaml: ")
		if match := yamlMisfit.FindStringSubmatch(message); match != nil {
			message = d.misfit(line, match[1], match[2], match[3])
		}
		d.faults.add(d.file, line, "%s", message)
	}
}

// misfit says in the words of the document what the decoder says in those of Go: of a
// value in a line, of which it tells the tag, the beginning and the type.
func (d *document) misfit(line int, tag, text, kind string) string {
	got := map[string]string{"!!seq": "a list", "!!map": "keys with values", "!!null": "nothing"}[tag]
	if got == "" {
		got = strconv.Quote(text)
	}
	path, expected := d.find(d.root, d.kind, nil, func(node *yaml.Node, of reflect.Type) bool {
		begins := strings.HasPrefix(node.Value, strings.TrimSuffix(text, "..."))
		return node.Line == line && node.ShortTag() == tag && begins && of.String() == kind
	})
	if expected == nil {
		return got + " does not fit here"
	}
	if len(path) > 0 {
		got = ems.PathText(path) + ": " + got
	}
	return got + " where " + ems.KindText(expected) + " is expected"
}

// find returns the way to the first node that is wanted, and the type that it is
// decoded into; nil where there is none.
func (d *document) find(node *yaml.Node, kind reflect.Type, path []any, wanted func(*yaml.Node, reflect.Type) bool) ([]any, reflect.Type) {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if wanted(node, kind) {
		return path, kind
	}
	for i, inner := range node.Content {
		var step any = i
		var within reflect.Type
		switch {
		case node.Kind == yaml.SequenceNode && kind.Kind() == reflect.Slice:
			within = kind.Elem()
		case node.Kind == yaml.MappingNode && i%2 == 1: // a key stands before it
			step = node.Content[i-1].Value
			within, _ = valueType(kind, node.Content[i-1].Value)
		default:
			continue
		}
		if within == nil {
			continue
		}
		if found, of := d.find(inner, within, append(slices.Clip(path), step), wanted); of != nil {
			return found, of
		}
	}
	return nil, nil
}
