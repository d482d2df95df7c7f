package ems_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// among finds templates in a list.
func among(templates ...ems.Template) func(string) (ems.Template, bool) {
	return func(id string) (ems.Template, bool) {
		i := slices.IndexFunc(templates, func(t ems.Template) bool { return t.ID == id })
		if i < 0 {
			return ems.Template{}, false
		}
		return templates[i], true
	}
}

func offset(number int) *int { return &number }

// family is a chain of three templates with every feature of one.
func family() []ems.Template {
	return []ems.Template{
		{
			ID: "base",
			Data: []ems.TemplateField{
				{Name: "voltage", Unit: "V", Min: number(0)},
				{Name: "running", Type: ems.Signal, ValueType: ems.ZeroOrOne},
				{Name: "current", Unit: "A"},
			},
			Action:   []ems.TemplateField{{Name: "run", ValueType: ems.ZeroOrOne}},
			Computed: []ems.ComputedField{{Name: "power", Unit: "kW", Expression: "voltage * current / 1000"}},
			Metadata: map[string]any{"kind": "battery", "sign": "charging", "ratings": map[string]any{"power_kw": 50.0}},
		},
		{
			ID: "rack", Extends: "base",
			Data: []ems.TemplateField{
				{Name: "soc", Unit: "%", Point: 10},
				{Name: "cells", ValueType: ems.WholeNumber},
				{Name: "voltage", Max: number(900), Description: "of the whole rack"},
			},
			Action:   []ems.TemplateField{{Name: "limit", Unit: "kW", Type: ems.Adjustment}, {Name: "reset"}},
			Computed: []ems.ComputedField{{Name: "usable", Function: "scale", Of: []string{"soc"}, Factor: number(0.9)}},
			Metadata: map[string]any{"sign": "discharging"},
		},
		{
			ID: "maker", Extends: "rack",
			Data: []ems.TemplateField{{Name: "fault", Type: ems.Signal, Point: 7}, {Name: "running", Description: "on"}, {Name: "warning", Type: ems.Signal}},
			Computed: []ems.ComputedField{
				{Name: "least", Function: "min", Of: []string{"usable", "half"}},
				{Name: "half", Expression: "power/2"},
				{Name: "power", Unit: "W", Function: "difference", Of: []string{"voltage", "current"}},
			},
			Metadata: map[string]any{"ratings": map[string]any{"energy_kwh": 100.0}},
		},
	}
}

func TestAModelIsExpandedWithAllItsTemplates(t *testing.T) {
	model := ems.Model{
		ID: "rack_2", Name: "Rack 2", Template: "maker",
		Mapping: ems.ModelMapping{
			Channel: 1001, Offset: offset(20),
			Data:   map[string]ems.ModelPoint{"current": "comsrv:1002:T:3", "fault": "5", "cells": "A:2"},
			Action: map[string]ems.ModelPoint{"limit": "9"},
		},
		Computed: []ems.ComputedField{
			{Name: "usable", Function: "sum", Of: []string{"soc"}},
			{Name: "double", Expression: "2*least"},
		},
		Metadata: map[string]any{"serial": "X1", "kind": nil},
	}
	expansion, faults := ems.Expand(model, among(family()...))
	if faults != nil {
		t.Fatal(faults)
	}
	text, err := json.MarshalIndent(expansion, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"id": "rack_2", "name": "Rack 2", "template": "maker", "templates": ["base", "rack", "maker"],
		"data": [
			{"name": "voltage", "point": "comsrv:1001:T:21", "unit": "V", "description": "of the whole rack", "min": 0, "max": 900},
			{"name": "running", "point": "comsrv:1001:S:21", "description": "on", "value_type": "bool"},
			{"name": "current", "point": "comsrv:1002:T:3", "unit": "A"},
			{"name": "soc", "point": "comsrv:1001:T:30", "unit": "%"},
			{"name": "cells", "point": "comsrv:1001:A:2", "value_type": "integer"},
			{"name": "fault", "point": "comsrv:1001:S:5"},
			{"name": "warning", "point": "comsrv:1001:S:28"}
		],
		"action": [
			{"name": "run", "point": "comsrv:1001:C:21", "value_type": "bool"},
			{"name": "limit", "point": "comsrv:1001:A:9", "unit": "kW"},
			{"name": "reset", "point": "comsrv:1001:C:22"}
		],
		"computed": [
			{"name": "power", "unit": "W", "function": "difference", "of": ["voltage", "current"]},
			{"name": "usable", "function": "sum", "of": ["soc"]},
			{"name": "half", "expression": "power/2"},
			{"name": "least", "function": "min", "of": ["usable", "half"]},
			{"name": "double", "expression": "2*least"}
		],
		"unmapped": [],
		"metadata": {"kind": "battery", "sign": "discharging", "ratings": {"energy_kwh": 100}, "serial": "X1"}
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if difference := cmp.Diff(want, got); difference != "" {
		t.Error(difference)
	}
}

// names returns what an expansion names, list by list.
func names(e ems.Expansion) string {
	var lists []string
	for _, fields := range [][]ems.ExpandedField{e.Data, e.Action} {
		var list []string
		for _, field := range fields {
			list = append(list, field.Name+"="+strings.TrimPrefix(field.Point.String(), "comsrv:1:"))
		}
		lists = append(lists, strings.Join(list, " "))
	}
	var computed []string
	for _, field := range e.Computed {
		computed = append(computed, field.Name)
	}
	return strings.Join(append(lists, strings.Join(computed, " "), strings.Join(e.Unmapped, " ")), " | ")
}

func TestExpansionsOfSmallModels(t *testing.T) {
	expression := func(name, text string) ems.ComputedField { return ems.ComputedField{Name: name, Expression: text} }
	for _, test := range []struct {
		what     string
		template *ems.Template
		model    ems.Model
		want     string // data | actions | computed | unmapped
	}{
		{
			"without a template the names are sorted", nil,
			ems.Model{Mapping: ems.ModelMapping{
				Data:   map[string]ems.ModelPoint{"b": "2", "a": "S:1", "B": "comsrv:7:A:4"},
				Action: map[string]ems.ModelPoint{"run": "1", "set": "A:1"},
			}},
			"B=comsrv:7:A:4 a=S:1 b=T:2 | run=C:1 set=A:1 |  | ",
		},
		{"nothing at all", nil, ems.Model{}, " |  |  | "},
		{
			"places are counted by type, from the one before",
			&ems.Template{Data: []ems.TemplateField{{Name: "a"}, {Name: "b", Type: ems.Signal}, {Name: "c", Point: 9}, {Name: "d", Type: ems.Signal}, {Name: "e"}, {Name: "f", Point: 2}, {Name: "g"}}},
			ems.Model{Mapping: ems.ModelMapping{Offset: offset(0)}},
			"a=T:1 b=S:1 c=T:9 d=S:2 e=T:10 f=T:2 g=T:3 |  |  | ",
		},
		{
			"data and actions are counted each",
			&ems.Template{Data: []ems.TemplateField{{Name: "a", Type: ems.Adjustment}}, Action: []ems.TemplateField{{Name: "a", Type: ems.Adjustment}, {Name: "b"}}},
			ems.Model{Mapping: ems.ModelMapping{Offset: offset(3)}},
			"a=A:4 | a=A:4 b=C:4 |  | ",
		},
		{
			"an offset may be negative, and a place above all points",
			&ems.Template{Data: []ems.TemplateField{{Name: "a", Point: math.MaxUint32}, {Name: "b"}}},
			ems.Model{Mapping: ems.ModelMapping{Offset: offset(-math.MaxUint32 + 1)}},
			"a=T:1 b=T:2 |  |  | ",
		},
		{
			"the letter of a mapping wins, then that of the field",
			&ems.Template{Data: []ems.TemplateField{{Name: "a", Type: ems.Signal}, {Name: "b", Type: ems.Signal}}, Action: []ems.TemplateField{{Name: "c", Type: ems.Adjustment}}},
			ems.Model{Mapping: ems.ModelMapping{
				Data: map[string]ems.ModelPoint{"a": "7", "b": "T:7"}, Action: map[string]ems.ModelPoint{"c": "7"},
			}},
			"a=S:7 b=T:7 | c=A:7 |  | ",
		},
		{
			"what lacks an input is left out, and what needs that",
			&ems.Template{
				Data:     []ems.TemplateField{{Name: "a"}, {Name: "b"}},
				Action:   []ems.TemplateField{{Name: "b"}},
				Computed: []ems.ComputedField{expression("z", "y+1"), expression("y", "x*2"), expression("x", "b"), expression("w", "a"), expression("v", "w+u"), expression("u", "1")},
			},
			ems.Model{Mapping: ems.ModelMapping{Data: map[string]ems.ModelPoint{"a": "1"}}},
			"a=T:1 |  | w u v | b b x y z",
		},
		{
			"a model may compute what it has no point for",
			&ems.Template{Data: []ems.TemplateField{{Name: "a"}, {Name: "b"}}, Computed: []ems.ComputedField{expression("x", "a+b")}},
			ems.Model{
				Mapping:  ems.ModelMapping{Data: map[string]ems.ModelPoint{"a": "1"}},
				Computed: []ems.ComputedField{expression("b", "2*a")},
			},
			"a=T:1 |  | b x | b",
		},
		{
			"a computed value of the model replaces that of its template",
			&ems.Template{Data: []ems.TemplateField{{Name: "a"}, {Name: "b"}}, Computed: []ems.ComputedField{expression("x", "b"), expression("y", "x")}},
			ems.Model{
				Mapping:  ems.ModelMapping{Data: map[string]ems.ModelPoint{"a": "1"}},
				Computed: []ems.ComputedField{expression("x", "a")},
			},
			"a=T:1 |  | x y | b",
		},
	} {
		test.model.ID, test.model.Mapping.Channel = "m", 1
		find := among()
		if test.template != nil {
			test.template.ID, test.model.Template = "t", "t"
			find = among(*test.template)
		}
		expansion, faults := ems.Expand(test.model, find)
		if got := names(expansion); faults != nil || got != test.want {
			t.Errorf("%s: got %q %v, want %q", test.what, got, faults, test.want)
		}
	}
}

// texts returns faults as text, one a line.
func texts(faults []ems.Fault) string {
	var lines []string
	for _, fault := range faults {
		lines = append(lines, fault.String())
	}
	return strings.Join(lines, "\n")
}

func many[T any](count int, named func(name string) T) []T {
	var list []T
	for i := range count {
		list = append(list, named(fmt.Sprint("n", i)))
	}
	return list
}

func mapped(count int, point ems.ModelPoint) map[string]ems.ModelPoint {
	mapping := map[string]ems.ModelPoint{}
	for i := range count {
		mapping[fmt.Sprint("n", i)] = point
	}
	return mapping
}

func TestFaultyModelsAreRefused(t *testing.T) {
	two := ems.Template{
		ID: "t", Data: []ems.TemplateField{{Name: "a"}, {Name: "b", Type: ems.Signal}}, Action: []ems.TemplateField{{Name: "run"}},
		Computed: []ems.ComputedField{{Name: "x", Expression: "a"}, {Name: "y", Expression: "b"}},
	}
	field := func(name string) ems.TemplateField { return ems.TemplateField{Name: name} }
	constant := func(name string) ems.ComputedField { return ems.ComputedField{Name: name, Expression: "1"} }
	full := ems.Template{ID: "full", Data: many(1000, field), Action: many(1000, field), Computed: many(200, func(name string) ems.ComputedField {
		return ems.ComputedField{Name: name + "c", Expression: "1"}
	})}
	bad := ems.Template{ID: "bad", Extends: "t", Data: []ems.TemplateField{{Name: "x"}}}
	under := ems.Template{ID: "under", Extends: "bad"}
	lost := ems.Template{ID: "lost", Extends: "gone"}
	circle := []ems.Template{{ID: "c1", Extends: "c2"}, {ID: "c2", Extends: "c3"}, {ID: "c3", Extends: "c2"}}
	find := among(append(circle, two, full, bad, under, lost)...)
	for _, test := range []struct {
		what   string
		change func(*ems.Model)
		want   string
	}{
		{"id", func(m *ems.Model) { m.ID = "a b" }, `id: model id "a b" has an unusable character ' ': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`},
		{"channel", func(m *ems.Model) { m.Mapping.Channel = 0 }, "mapping.channel: a model needs the channel of its points, 1 or more"},
		{"template", func(m *ems.Model) { m.Template = "u" }, `template: no template "u"`},
		{"ancestor", func(m *ems.Model) { m.Template = "lost" }, `template: no template "gone", which lost extends`},
		{"circle", func(m *ems.Model) { m.Template = "c1" }, "template: templates extend each other in a circle: c2 -> c3 -> c2"},
		{"template at fault", func(m *ems.Model) { m.Template = "under" }, `template: template bad cannot be used: data[0].name: "x" is already the name of a computed value`},
		{"offset without a template", func(m *ems.Model) { m.Template, m.Mapping.Offset = "", offset(1) }, "mapping.offset: an offset counts from the fields of a template, and this model has none"},
		{"offset to 0", func(m *ems.Model) { m.Mapping.Offset = offset(-1); m.Mapping.Data = nil }, "mapping.offset: -1 gives a the point T:0, which is not from 1 to 4294967295"},
		{"offset past the last", func(m *ems.Model) {
			m.Mapping.Offset = offset(math.MaxUint32)
			m.Mapping.Action = map[string]ems.ModelPoint{"run": "1"}
		}, "mapping.offset: 4294967295 gives b the point S:4294967296, which is not from 1 to 4294967295"},
		{"offset beyond", func(m *ems.Model) { m.Mapping.Offset = offset(-math.MaxUint32 - 1) }, "mapping.offset: -4294967296 is beyond the numbers of points, 1 to 4294967295"},
		{"name of no field", func(m *ems.Model) { m.Mapping.Data["c"] = "1" }, `mapping.data.c: the template has no "c"`},
		{"data for an action", func(m *ems.Model) { m.Mapping.Action = map[string]ems.ModelPoint{"a": "1"} }, `mapping.action.a: the template has no "a"`},
		{"computed for data", func(m *ems.Model) { m.Mapping.Data["x"] = "1" }, `mapping.data.x: the template has no "x"`},
		{"point", func(m *ems.Model) { m.Mapping.Data["a"] = "X:1" }, `mapping.data.a: unknown point type "X": use T (telemetry), S (signal), C (control) or A (adjustment)`},
		{"whole source", func(m *ems.Model) { m.Mapping.Data["a"] = "comsrv:0:T:1" }, `mapping.data.a: source "comsrv:0:T:1": channel "0" is not a number of 1 or more: write it as comsrv:{channel}:{T|S|C|A}:{point}, for example comsrv:1001:T:1`},
		{"action that reads", func(m *ems.Model) { m.Mapping.Action = map[string]ems.ModelPoint{"run": "S:4"} }, "mapping.action.run: S:4 cannot be written: an action names a control (C) or an adjustment (A)"},
		{"names", func(m *ems.Model) { m.Template, m.Mapping.Data = "", map[string]ems.ModelPoint{"-": "1"} }, `mapping.data.-: name "-" has an unusable character '-': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`},
		{"1001 names", func(m *ems.Model) { m.Template, m.Mapping.Data = "", mapped(1001, "1") }, "mapping.data: 1001 names are more than the 1000 that fit"},
		{"1001 actions", func(m *ems.Model) { m.Template, m.Mapping.Data, m.Mapping.Action = "", nil, mapped(1001, "1") }, "mapping.action: 1001 names are more than the 1000 that fit"},
		{"201 computed", func(m *ems.Model) { m.Computed = many(200, constant) }, "computed: 201 names are more than the 200 that fit"},
		{"a whole template and one", func(m *ems.Model) {
			m.Template, m.Computed, m.Mapping.Data = "full", many(1, func(string) ems.ComputedField { return constant("one") }), nil
		}, "computed: 201 names are more than the 200 that fit"},
		{"computed with the name of data", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "a", Expression: "1"}} }, `computed[0].name: "a" is already the name of a data value`},
		{"computed twice", func(m *ems.Model) {
			m.Computed = []ems.ComputedField{{Name: "z", Expression: "1"}, {Name: "z", Expression: "2"}}
		}, `computed[1].name: "z" stands twice in computed`},
		{"computed without a name", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Expression: "1"}} }, `computed[0].name: name "" has 0 characters: use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`},
		{"unknown input", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Expression: "a + q"}} }, `computed[0].expression: there is no data and no computed value "q"`},
		{"action as an input", func(m *ems.Model) {
			m.Computed = []ems.ComputedField{{Name: "z", Function: "sum", Of: []string{"a", "run"}}}
		}, `computed[0].of: this model has no point for "run", which the template has`},
		{"input without a point", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Expression: "b"}} }, `computed[0].expression: this model has no point for "b", which the template has`},
		{"input left out", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Expression: "y"}} }, `computed[0].expression: this model has no point for "y", which the template has`},
		{"formula", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Expression: "a+"}} }, "computed[0].expression: byte 3: expected a number, a name, - or (, found the end"},
		{"neither form", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Unit: "kW"}} }, "computed[0]: a computed value needs a function of names, or an expression"},
		{"factor of a sum", func(m *ems.Model) {
			m.Computed = []ems.ComputedField{{Name: "z", Function: "sum", Of: []string{"a"}, Factor: number(2)}}
		}, "computed[0].factor: only the function scale takes a factor"},
		{"offset of an expression", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Expression: "a", Offset: number(2)}} }, "computed[0].offset: only the function scale takes an offset"},
		{"circle", func(m *ems.Model) {
			m.Computed = []ems.ComputedField{{Name: "p", Expression: "a"}, {Name: "q", Expression: "r"}, {Name: "r", Expression: "q"}}
		}, "computed[1]: computed values need each other in a circle: q -> r -> q"},
		{"circle through the template", func(m *ems.Model) {
			m.Mapping.Data = map[string]ems.ModelPoint{"b": "1"}
			m.Computed = []ems.ComputedField{{Name: "a", Expression: "x"}}
		}, "computed[0]: computed values need each other in a circle: x -> a -> x"},
		{"itself", func(m *ems.Model) { m.Computed = []ems.ComputedField{{Name: "z", Expression: "1+z"}} }, "computed[0]: computed values need each other in a circle: z -> z"},
		{"everything at once", func(m *ems.Model) {
			m.ID, m.Mapping.Data["a"], m.Computed = "", "0", []ems.ComputedField{{Name: "z", Expression: "a*"}, {Name: "v", Expression: "x+z"}}
		}, `id: model id "" has 0 characters: use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit` + "\n" +
			`mapping.data.a: point "0": write a number of 1 or more, type and number such as S:3, or a whole source such as comsrv:1002:S:3` + "\n" +
			"computed[0].expression: byte 3: expected a number, a name, - or (, found the end"},
	} {
		model := ems.Model{ID: "m", Template: "t", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"a": "1"}}}
		test.change(&model)
		expansion, faults := ems.Expand(model, find)
		if got := texts(faults); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.what, got, test.want)
		}
		if expansion.ID != "" {
			t.Errorf("%s: a faulty model was expanded", test.what)
		}
	}
	model := ems.Model{ID: "m", Template: "full", Mapping: ems.ModelMapping{Channel: 1, Offset: offset(0)}}
	if _, faults := ems.Expand(model, find); faults != nil {
		t.Errorf("as much as fits: %v", faults)
	}
}

func TestFaultyTemplatesAreRefused(t *testing.T) {
	field := func(name string) ems.TemplateField { return ems.TemplateField{Name: name} }
	base := ems.Template{
		ID: "base", Data: []ems.TemplateField{{Name: "a", Min: number(0), Max: number(10)}}, Action: []ems.TemplateField{{Name: "run"}},
		Computed: []ems.ComputedField{
			{Name: "x", Function: "scale", Of: []string{"a"}, Factor: number(2)}, {Name: "y", Expression: "x"},
		},
	}
	faulty := ems.Template{ID: "faulty", Data: []ems.TemplateField{{Name: "a"}}, Computed: []ems.ComputedField{{Name: "z", Expression: "gone"}}}
	full := ems.Template{ID: "full", Data: many(1000, field)}
	templates := []ems.Template{base, faulty, full, {ID: "c1", Extends: "t"}, {ID: "c2", Extends: "c2"}, {ID: "d0"}}
	for i := range 16 {
		templates = append(templates, ems.Template{ID: fmt.Sprint("d", i+1), Extends: fmt.Sprint("d", i)})
	}
	computed := func(fields ...ems.ComputedField) ems.Template { return ems.Template{Extends: "base", Computed: fields} }
	for _, test := range []struct {
		what     string
		template ems.Template
		want     string
	}{
		{"nothing", ems.Template{}, ""},
		{"extends alone", ems.Template{Extends: "base"}, ""},
		{"16 deep", ems.Template{Extends: "d14"}, ""},
		{"17 deep", ems.Template{Extends: "d15"}, "extends: templates extend one another more than 16 deep"},
		{"nothing to extend", ems.Template{Extends: "gone"}, `extends: no template "gone", which t extends`},
		{"itself", ems.Template{Extends: "t"}, "extends: templates extend each other in a circle: t -> t"},
		{"circle", ems.Template{Extends: "c1"}, "extends: templates extend each other in a circle: t -> c1 -> t"},
		{"circle of another", ems.Template{Extends: "c2"}, "extends: templates extend each other in a circle: c2 -> c2"},
		{"fault of another", ems.Template{Extends: "faulty", Data: []ems.TemplateField{{Name: "b"}}}, ""},
		{"name twice", ems.Template{Data: []ems.TemplateField{{Name: "a"}, {Name: "b"}, {Name: "a"}}}, `data[2].name: "a" stands twice in data`},
		{"bad name", ems.Template{Action: []ems.TemplateField{{Name: "a:b"}}}, `action[0].name: name "a:b" has an unusable character ':': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`},
		{"data and action of one name", ems.Template{Data: []ems.TemplateField{{Name: "a"}}, Action: []ems.TemplateField{{Name: "a"}}}, ""},
		{"value type", ems.Template{Data: []ems.TemplateField{{Name: "a", ValueType: "float"}}}, `data[0].value_type: unknown value_type "float": use number, integer or bool`},
		{"action that reads", ems.Template{Action: []ems.TemplateField{{Name: "a", Type: ems.Signal}}}, "action[0].type: an action is a control (C) or an adjustment (A), not S"},
		{"min above max", ems.Template{Data: []ems.TemplateField{{Name: "a", Min: number(2), Max: number(1)}}}, "data[0].min: 2 is above max 1"},
		{"min above inherited max", ems.Template{Extends: "base", Data: []ems.TemplateField{{Name: "a", Min: number(11)}}}, "data[0].min: 11 is above max 10"},
		{"max below inherited min", ems.Template{Extends: "base", Data: []ems.TemplateField{{Name: "a", Max: number(-1)}}}, "data[0].max: -1 is below min 0"},
		{"infinite", ems.Template{Data: []ems.TemplateField{{Name: "a", Min: number(math.Inf(-1)), Max: number(math.NaN())}}}, "data[0].min: -Inf is not a finite number\ndata[0].max: NaN is not a finite number"},
		{"1001 data", ems.Template{Extends: "full", Data: []ems.TemplateField{{Name: "one"}}}, "data: 1001 names are more than the 1000 that fit"},
		{"1000 data", ems.Template{Extends: "full", Data: []ems.TemplateField{{Name: "n7", Unit: "V"}}}, ""},
		{"1001 actions", ems.Template{Action: many(1001, field)}, "action: 1001 names are more than the 1000 that fit"},
		{"201 computed", ems.Template{Extends: "base", Computed: many(199, func(name string) ems.ComputedField { return ems.ComputedField{Name: name, Expression: "1"} })}, "computed: 201 names are more than the 200 that fit"},
		{"computed of data's name", computed(ems.ComputedField{Name: "a", Expression: "1"}), `computed[0].name: "a" is already the name of a data value`},
		{"data of computed's name", ems.Template{Extends: "base", Data: []ems.TemplateField{{Name: "y"}}}, `data[0].name: "y" is already the name of a computed value`},
		{"unit alone", computed(ems.ComputedField{Name: "x", Unit: "kW"}), ""},
		{"factor alone", computed(ems.ComputedField{Name: "x", Factor: number(3)}), ""},
		{"names alone", computed(ems.ComputedField{Name: "x", Of: []string{"y"}}), "computed[0]: computed values need each other in a circle: x -> y -> x"},
		{"function alone", computed(ems.ComputedField{Name: "x", Function: "sum"}), ""},
		{"another form", computed(ems.ComputedField{Name: "x", Expression: "a"}, ems.ComputedField{Name: "y", Function: "max", Of: []string{"x", "a"}}), ""},
		{"names beside an inherited expression", computed(ems.ComputedField{Name: "y", Of: []string{"a"}}), "computed[0].expression: a computed value has either a function of names or an expression, not both"},
		{"factor of an expression", computed(ems.ComputedField{Name: "y", Factor: number(3)}), "computed[0].factor: only the function scale takes a factor"},
		{"offset of a sum", computed(ems.ComputedField{Name: "x", Function: "sum", Offset: number(3)}), "computed[0].offset: only the function scale takes an offset"},
		{"unknown input", computed(ems.ComputedField{Name: "z", Function: "sum", Of: []string{"a", "b"}}), `computed[0].of: there is no data and no computed value "b"`},
		{"action as an input", computed(ems.ComputedField{Name: "z", Expression: "run"}), `computed[0].expression: there is no data and no computed value "run"`},
		{"no formula", computed(ems.ComputedField{Name: "z"}), "computed[0]: a computed value needs a function of names, or an expression"},
		{"circle of its own", computed(ems.ComputedField{Name: "z", Expression: "w"}, ems.ComputedField{Name: "w", Expression: "z"}), "computed[0]: computed values need each other in a circle: z -> w -> z"},
	} {
		if test.template.ID == "" {
			test.template.ID = "t"
		}
		if got := texts(ems.CheckTemplate(test.template, among(append(templates, test.template)...))); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.what, got, test.want)
		}
	}
	if got := texts(ems.CheckTemplate(ems.Template{ID: "a b"}, among())); !strings.HasPrefix(got, `id: template id "a b" has an unusable character`) {
		t.Error(got)
	}
}
