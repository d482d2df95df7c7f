package document_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/system/ems"
)

func TestReadValues(t *testing.T) {
	t.Parallel()
	const text = `
name: north
power: -1.5
count: 7
open: true
list: [1, 2.5]
inner: {depth: 3}
items:
  - {id: a}
  - {id: b}
`
	var faults document.Faults
	m, ok := document.Read("x.yaml", []byte(text), &faults)
	if !ok {
		t.Fatal(faults.Err())
	}
	if got := m.Text("name"); got != "north" {
		t.Errorf("name = %q", got)
	}
	if got := m.Number("power", -2, 0); got != -1.5 {
		t.Errorf("power = %v", got)
	}
	if got := m.Integer("count", 0, 10); got != 7 {
		t.Errorf("count = %v", got)
	}
	if !m.Truth("open") {
		t.Error("open = false")
	}
	if got := m.Numbers("list", 2, 0, 3); !cmp.Equal(got, []float64{1, 2.5}) {
		t.Errorf("list = %v", got)
	}
	inner := m.Mapping("inner", false)
	if got := inner.Number("depth", 0, 10); got != 3 {
		t.Errorf("depth = %v", got)
	}
	inner.Close()
	var ids []string
	for _, item := range m.Mappings("items") {
		ids = append(ids, item.Text("id"))
		item.Close()
	}
	if !cmp.Equal(ids, []string{"a", "b"}) {
		t.Errorf("ids = %v", ids)
	}
	if got := m.Number("absent", 0, 10, 4); got != 4 {
		t.Errorf("fallback = %v", got)
	}
	m.Close()
	if err := faults.Err(); err != nil {
		t.Error(err)
	}
}

func TestEveryFaultNamesLineAndKey(t *testing.T) {
	t.Parallel()
	const text = `name: [1]
power: 12
count: 1.5
open: yes please
list: [1]
pair: [a, {b: 1}]
kind: square
nan: .nan
power: 3
inner:
  depth: deep
  wide: 1
`
	var faults document.Faults
	m, ok := document.Read("x.yaml", []byte(text), &faults)
	if !ok {
		t.Fatal(faults.Err())
	}
	m.Text("name")
	m.Number("power", 0, 10)
	m.Integer("count", 0, 10)
	m.Truth("open")
	m.Numbers("list", 2, 0, 3)
	m.Texts("pair", 2)
	m.Choice("kind", []string{"round", "flat"})
	m.Number("nan", 0, 1)
	m.Text("gone")
	inner := m.Mapping("inner", false)
	inner.Number("depth", 0, 1)
	inner.Close()
	gone := m.Mapping("place", false)
	gone.Number("latitude", 0, 1)
	gone.Close()
	m.Close()
	want := []string{
		`x.yaml:1: key "name": must be a text`,
		`x.yaml:1: key "gone" is missing`,
		`x.yaml:1: key "place" is missing`,
		`x.yaml:2: key "power": 12 is out of range: use 0 to 10`,
		`x.yaml:3: key "count": "1.5" is not a whole number from 0 to 10`,
		`x.yaml:4: key "open": "yes please" is neither true nor false`,
		`x.yaml:5: key "list": must be a list of 2 numbers`,
		`x.yaml:6: key "pair": must be a list of 2 texts`,
		`x.yaml:7: key "kind": "square" is unknown: use one of round, flat`,
		`x.yaml:8: key "nan": ".nan" is not a number`,
		`x.yaml:9: key "power" stands twice, first in line 2`,
		`x.yaml:11: key "inner.depth": "deep" is not a number`,
		`x.yaml:12: key "inner.wide" is unknown: known here are depth`,
	}
	err := faults.Err()
	if ems.CodeOf(err) != ems.CodeInvalid {
		t.Errorf("code = %v", ems.CodeOf(err))
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestNotAMapping(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"":                  "x.yaml:1: the file is empty",
		"- a":               "x.yaml:1: the file must hold keys with values",
		"a: 1\n---\nb: 2":   "x.yaml:2: the file holds more than one document: keep one",
		"a: 1\nb: [1\n":     "x.yaml:2: not YAML: did not find expected ',' or ']'",
		"a: 1\n  b: 2":      "x.yaml:2: not YAML: mapping values are not allowed in this context",
		"a:\n  b: 1\n c: 2": "x.yaml:3: not YAML: did not find expected key",
		"a: *b":             "x.yaml:1: not YAML: unknown anchor 'b' referenced",
	}
	for text, want := range cases {
		var faults document.Faults
		if _, ok := document.Read("x.yaml", []byte(text), &faults); ok {
			t.Errorf("%q was accepted", text)
		}
		if err := faults.Err(); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzRead shows that no text makes the reader panic, and that whatever it
// refuses comes with a fault.
func FuzzRead(f *testing.F) {
	f.Add([]byte("a: 1\nb: {c: [1, 2]}"))
	f.Add([]byte("a: &x {b: *x}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var faults document.Faults
		m, ok := document.Read("x.yaml", data, &faults)
		if !ok {
			if faults.Err() == nil {
				t.Error("refused without a fault")
			}
			return
		}
		m.Text("a", "")
		m.Number("a", 0, 1, 0)
		m.Integer("b", 0, 1, 0)
		m.Numbers("b", 2, 0, 1, nil)
		m.Mapping("b", true).Close()
		m.Mappings("c")
		m.Close()
	})
}
