package document

import (
	"bytes"
	"errors"
	"io"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mapping is one YAML mapping whose keys are asked for one by one. A wrong
// value is noted as a fault and read as the zero value, so that reading goes on
// and finds the next fault. Close notes every key that nobody asked for.
type Mapping struct {
	file   string
	path   string // of the mapping within the file, "" for the document itself
	line   int
	keys   map[string]entry
	asked  map[string]bool
	absent bool // stands for one that is not there: nothing in it is missing
	faults *Faults
	// described notes what is asked for, of one that Describe made.
	described *description
}

type entry struct {
	line  int
	value *yaml.Node
}

var (
	yamlLine = regexp.MustCompile(`line (\d+): `)
	// The YAML reader counts the lines of these faults, and of no others, from 0.
	countedFromZero = regexp.MustCompile(`did not find expected (',' or|key|'-' indicator|node content|<document start>)`)
)

// Read parses a file that holds one YAML mapping. It reports false, with a
// fault noted, if the file is not one.
func Read(file string, data []byte, faults *Faults) (*Mapping, bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			faults.Add(file, 1, "the file is empty")
			return nil, false
		}
		addSyntax(file, err, faults)
		return nil, false
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		faults.Add(file, second.Line, "the file holds more than one document: keep one")
		return nil, false
	} else if !errors.Is(err, io.EOF) {
		addSyntax(file, err, faults)
		return nil, false
	}
	return newMapping(file, "", root.Content[0], faults)
}

func addSyntax(file string, err error, faults *Faults) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if found := yamlLine.FindStringSubmatch(text); found != nil {
		line, _ = strconv.Atoi(found[1])
		text = strings.Replace(text, found[0], "", 1)
		if countedFromZero.MatchString(text) {
			line++
		}
	}
	faults.Add(file, line, "not YAML: %s", text)
}

func newMapping(file, path string, node *yaml.Node, faults *Faults) (*Mapping, bool) {
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		faults.Add(file, node.Line, "%s must hold keys with values", nameOf(path))
		return nil, false
	}
	m := &Mapping{file: file, path: path, line: node.Line, keys: map[string]entry{}, asked: map[string]bool{}, faults: faults}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], resolve(node.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			faults.Add(file, key.Line, "a key of %s is not a plain word", nameOf(path))
			continue
		}
		if earlier, twice := m.keys[key.Value]; twice {
			faults.Add(file, key.Line, "key %q stands twice, first in line %d", m.join(key.Value), earlier.line)
			continue
		}
		m.keys[key.Value] = entry{line: key.Line, value: value}
	}
	return m, true
}

// resolve follows an alias to what it names.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func nameOf(path string) string {
	if path == "" {
		return "the file"
	}
	return strconv.Quote(path)
}

func (m *Mapping) join(key string) string {
	if m.path == "" {
		return key
	}
	return m.path + "." + key
}

// File returns the name of the file that the mapping stands in.
func (m *Mapping) File() string { return m.file }

// Line returns the line of a key, or that of the mapping if it has no such key.
func (m *Mapping) Line(key string) int {
	if found, ok := m.keys[key]; ok {
		return found.line
	}
	return m.line
}

// Has reports whether the key is present, which counts as having asked for it.
func (m *Mapping) Has(key string) bool {
	m.asked[key] = true
	_, ok := m.keys[key]
	return ok
}

// Fault notes a fault at a key.
func (m *Mapping) Fault(key, format string, args ...any) {
	m.faults.Add(m.file, m.Line(key), "key %q: "+format, append([]any{m.join(key)}, args...)...)
}

// find marks a key as known and returns its value; a missing key is a fault
// unless it is optional.
func (m *Mapping) find(key string, optional bool) (*yaml.Node, bool) {
	m.asked[key] = true
	found, ok := m.keys[key]
	if !ok && !optional && !m.absent {
		m.faults.Add(m.file, m.line, "key %q is missing", m.join(key))
	}
	return found.value, ok
}

// Text returns a word or sentence. Without a fallback the key must be present.
func (m *Mapping) Text(key string, fallback ...string) string {
	if m.described != nil {
		return m.described.text(key, fallback)
	}
	node, ok := m.find(key, len(fallback) > 0)
	if !ok {
		return last(fallback)
	}
	if node.Kind != yaml.ScalarNode || node.Value == "" {
		m.Fault(key, "must be a text")
		return ""
	}
	return node.Value
}

// Choice returns one of the words allowed.
func (m *Mapping) Choice(key string, allowed []string, fallback ...string) string {
	if m.described != nil {
		return m.described.option(key, allowed, fallback)
	}
	text := m.Text(key, fallback...)
	if text == "" {
		return ""
	}
	for _, word := range allowed {
		if text == word {
			return text
		}
	}
	m.Fault(key, "%q is unknown: use one of %s", text, strings.Join(allowed, ", "))
	return ""
}

// Number returns a finite number from least to greatest, both included.
func (m *Mapping) Number(key string, least, greatest float64, fallback ...float64) float64 {
	if m.described != nil {
		return m.described.number(key, least, greatest, fallback)
	}
	node, ok := m.find(key, len(fallback) > 0)
	if !ok {
		return last(fallback)
	}
	return m.number(key, node, least, greatest)
}

func (m *Mapping) number(key string, node *yaml.Node, least, greatest float64) float64 {
	var number float64
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" || node.Decode(&number) != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		m.Fault(key, "%q is not a number", node.Value)
		return 0
	}
	if number < least || number > greatest {
		m.Fault(key, "%v is out of range: use %v to %v", number, least, greatest)
		return 0
	}
	return number
}

// Integer returns a whole number from least to greatest, both included.
func (m *Mapping) Integer(key string, least, greatest int64, fallback ...int64) int64 {
	if m.described != nil {
		var number []float64
		for _, one := range fallback {
			number = append(number, float64(one))
		}
		return int64(m.described.number(key, float64(least), float64(greatest), number))
	}
	node, ok := m.find(key, len(fallback) > 0)
	if !ok {
		return last(fallback)
	}
	var number int64
	if node.Kind != yaml.ScalarNode || node.Tag != "!!int" || node.Decode(&number) != nil {
		m.Fault(key, "%q is not a whole number from %d to %d", node.Value, least, greatest)
		return 0
	}
	if number < least || number > greatest {
		m.Fault(key, "%d is out of range: use %d to %d", number, least, greatest)
		return 0
	}
	return number
}

// Truth returns true or false.
func (m *Mapping) Truth(key string, fallback ...bool) bool {
	if m.described != nil {
		return m.described.truth(key, fallback)
	}
	node, ok := m.find(key, len(fallback) > 0)
	if !ok {
		return last(fallback)
	}
	var truth bool
	if node.Kind != yaml.ScalarNode || node.Tag != "!!bool" || node.Decode(&truth) != nil {
		m.Fault(key, "%q is neither true nor false", node.Value)
		return false
	}
	return truth
}

// Numbers returns a list of exactly count numbers, each from least to greatest.
func (m *Mapping) Numbers(key string, count int, least, greatest float64, fallback ...[]float64) []float64 {
	if m.described != nil {
		return m.described.numbers(key, count, least, greatest, fallback)
	}
	node, ok := m.find(key, len(fallback) > 0)
	if !ok {
		return last(fallback)
	}
	if node.Kind != yaml.SequenceNode || len(node.Content) != count {
		m.Fault(key, "must be a list of %d numbers", count)
		return make([]float64, count)
	}
	numbers := make([]float64, count)
	for i, item := range node.Content {
		numbers[i] = m.number(key, resolve(item), least, greatest)
	}
	return numbers
}

// NumberList returns a list of one number or more, each from least to greatest.
func (m *Mapping) NumberList(key string, least, greatest float64) []float64 {
	node, ok := m.find(key, false)
	if !ok {
		return nil
	}
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		m.Fault(key, "must be a list of numbers")
		return nil
	}
	numbers := make([]float64, len(node.Content))
	for i, item := range node.Content {
		numbers[i] = m.number(key, resolve(item), least, greatest)
	}
	return numbers
}

// Texts returns a list of exactly count texts, nil where there is none.
func (m *Mapping) Texts(key string, count int) []string {
	node, ok := m.find(key, false)
	if !ok {
		return nil
	}
	var texts []string
	for _, item := range node.Content {
		if item = resolve(item); item.Kind == yaml.ScalarNode && item.Value != "" {
			texts = append(texts, item.Value)
		}
	}
	if node.Kind != yaml.SequenceNode || len(texts) != count || len(node.Content) != count {
		m.Fault(key, "must be a list of %d texts", count)
		return nil
	}
	return texts
}

// Mapping returns the mapping that a key holds, or an empty one if the key is
// missing. What an optional one lacks is still a fault, unless it has a
// fallback. The caller closes it.
func (m *Mapping) Mapping(key string, optional bool) *Mapping {
	empty := &Mapping{file: m.file, path: m.join(key), line: m.Line(key), keys: map[string]entry{}, asked: map[string]bool{}, absent: true, faults: m.faults}
	node, ok := m.find(key, optional)
	if !ok {
		empty.absent = !optional
		return empty
	}
	inner, ok := newMapping(m.file, m.join(key), node, m.faults)
	if !ok {
		return empty
	}
	return inner
}

// Mappings returns the list of mappings that a key holds: at least one. The
// caller closes each.
func (m *Mapping) Mappings(key string) []*Mapping {
	node, ok := m.find(key, false)
	if !ok {
		return nil
	}
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		m.Fault(key, "must be a list with at least one entry")
		return nil
	}
	var list []*Mapping
	for i, item := range node.Content {
		if inner, ok := newMapping(m.file, m.join(key)+"["+strconv.Itoa(i)+"]", item, m.faults); ok {
			list = append(list, inner)
		}
	}
	return list
}

// Close notes a fault for every key that was not asked for.
func (m *Mapping) Close() {
	var known []string
	for key := range m.asked {
		known = append(known, key)
	}
	sort.Strings(known)
	for key, found := range m.keys {
		if !m.asked[key] {
			m.faults.Add(m.file, found.line, "key %q is unknown: known here are %s", m.join(key), strings.Join(known, ", "))
		}
	}
}

func last[T any](fallback []T) T {
	var none T
	if len(fallback) == 0 {
		return none
	}
	return fallback[len(fallback)-1]
}
