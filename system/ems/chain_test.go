package ems_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
)

// whole is a template without ancestors, whose fields have values for most keys.
func drawWhole(t *rapid.T) ems.Template {
	count := func(what string, most int) int { return rapid.IntRange(0, most).Draw(t, what) }
	field := func(name string, types ...ems.PointType) ems.TemplateField {
		least := float64(count("min", 9))
		return ems.TemplateField{
			Name: name, Unit: rapid.SampledFrom([]string{"V", "A"}).Draw(t, "unit"),
			Type: rapid.SampledFrom(types).Draw(t, "type"), Point: ems.PointID(count("point", 3)),
			Min: &least, Max: number(least + float64(count("range", 9))),
			ValueType: rapid.SampledFrom([]ems.ValueType{"", ems.AnyNumber, ems.WholeNumber}).Draw(t, "value_type"),
		}
	}
	template := ems.Template{ID: "whole", Metadata: map[string]any{}}
	var inputs []string
	for i := range count("data", 8) {
		template.Data = append(template.Data, field(fmt.Sprint("d", i), 0, ems.Telemetry, ems.Signal))
		inputs = append(inputs, fmt.Sprint("d", i))
	}
	for i := range count("action", 5) {
		template.Action = append(template.Action, field(fmt.Sprint("d", i), 0, ems.Control, ems.Adjustment))
	}
	for i := range count("computed", 6) {
		computed := ems.ComputedField{Name: fmt.Sprint("c", i), Unit: "kW"}
		if len(inputs) == 0 || rapid.Bool().Draw(t, "expression") {
			computed.Expression = strings.Join(append([]string{"1"}, rapid.SliceOfN(rapid.SampledFrom(append(inputs, "1")), 0, 3).Draw(t, "terms")...), "+")
		} else {
			computed.Function, computed.Of = "sum", rapid.SliceOfN(rapid.SampledFrom(inputs), 1, 3).Draw(t, "of")
		}
		template.Computed = append(template.Computed, computed)
		inputs = append(inputs, computed.Name)
	}
	for i := range count("metadata", 4) {
		template.Metadata[fmt.Sprint("m", i)] = i
	}
	return template
}

// split returns a chain of templates that says the same as one: each field
// begins somewhere in it, perhaps as something else, which a later one mends.
func split(t *rapid.T, whole ems.Template) []ems.Template {
	chain := make([]ems.Template, rapid.IntRange(1, 16).Draw(t, "levels"))
	for i := range chain {
		chain[i].ID, chain[i].Metadata = fmt.Sprint("t", i), map[string]any{}
		if i > 0 {
			chain[i].Extends = chain[i-1].ID
		}
	}
	last := len(chain) - 1
	level := func(from int) int { return rapid.IntRange(from, last).Draw(t, "level") }
	begins := map[string]int{}
	spread := func(fields []ems.TemplateField, list func(*ems.Template) *[]ems.TemplateField) {
		at := 0
		for _, field := range fields {
			at = level(at)
			begins[field.Name] = at
			first, later := field, ems.TemplateField{Name: field.Name}
			if rapid.Bool().Draw(t, "mended") && at < last {
				first.Unit, later.Unit = "old", field.Unit
				first.Min, later.Min = number(-1), field.Min
				if field.Point != 0 {
					first.Point, later.Point = 99, field.Point
				}
				mend := list(&chain[level(at+1)])
				*mend = append(*mend, later)
			}
			into := list(&chain[at])
			*into = append(*into, first)
		}
	}
	spread(whole.Action, func(t *ems.Template) *[]ems.TemplateField { return &t.Action })
	spread(whole.Data, func(t *ems.Template) *[]ems.TemplateField { return &t.Data })
	at := 0
	for _, field := range whole.Computed {
		formula, err := field.Formula()
		if err != nil {
			t.Fatal(err)
		}
		for _, input := range formula.Names() {
			at = max(at, begins[input])
		}
		at = level(at)
		begins[field.Name] = at
		first := field
		if rapid.Bool().Draw(t, "mended") && at < last {
			first = ems.ComputedField{Name: field.Name, Unit: "old", Expression: "7"}
			later := &chain[level(at+1)]
			later.Computed = append(later.Computed, field)
		}
		chain[at].Computed = append(chain[at].Computed, first)
	}
	for name, value := range whole.Metadata {
		at := level(0)
		if at > 0 {
			chain[level(0)%at].Metadata[name] = "old"
		}
		chain[at].Metadata[name] = value
	}
	return chain
}

func drawModel(t *rapid.T, template ems.Template) ems.Model {
	model := ems.Model{ID: "m", Template: template.ID, Mapping: ems.ModelMapping{Channel: 1}}
	if rapid.Bool().Draw(t, "with offset") {
		model.Mapping.Offset = offset(rapid.IntRange(0, 9).Draw(t, "offset"))
	}
	pick := func(fields []ems.TemplateField, points ...ems.ModelPoint) map[string]ems.ModelPoint {
		mapping := map[string]ems.ModelPoint{}
		for _, field := range fields {
			if rapid.Bool().Draw(t, "mapped") {
				mapping[field.Name] = rapid.SampledFrom(points).Draw(t, "point")
			}
		}
		return mapping
	}
	model.Mapping.Data = pick(template.Data, "3", "S:4", "comsrv:2:A:5")
	model.Mapping.Action = pick(template.Action, "3", "A:4", "comsrv:2:C:5")
	return model
}

// TestAChainSaysWhatItsTemplatesSayTogether: it does not matter how the fields of
// a template are spread over those that it extends.
func TestAChainSaysWhatItsTemplatesSayTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := drawWhole(t)
		chain := split(t, whole)
		for _, template := range chain {
			if faults := ems.CheckTemplate(template, among(chain...)); faults != nil {
				t.Fatalf("%+v: %v", template, faults)
			}
		}
		model := drawModel(t, whole)
		want, faults := ems.Expand(model, among(whole))
		if faults != nil {
			t.Fatal(faults)
		}
		checkComplete(t, whole, want)
		model.Template = chain[len(chain)-1].ID
		got, faults := ems.Expand(model, among(chain...))
		if faults != nil {
			t.Fatal(faults)
		}
		if len(got.Templates) != len(chain) {
			t.Fatalf("templates %v", got.Templates)
		}
		got.Template, got.Templates = want.Template, want.Templates
		if difference := cmp.Diff(want, got); difference != "" {
			t.Fatal(difference)
		}
	})
}

// checkComplete: every name of a template is in the expansion or among those left
// out, and every input stands before what is computed from it.
func checkComplete(t *rapid.T, template ems.Template, expansion ems.Expansion) {
	known := map[string]bool{}
	for _, field := range expansion.Data {
		known[field.Name] = true
	}
	for _, field := range expansion.Computed {
		formula, err := field.Formula()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range formula.Names() {
			if !known[name] {
				t.Fatalf("%s stands before its input %s", field.Name, name)
			}
		}
		known[field.Name] = true
	}
	shown := len(expansion.Data) + len(expansion.Action) + len(expansion.Computed) + len(expansion.Unmapped)
	if all := len(template.Data) + len(template.Action) + len(template.Computed); shown != all {
		t.Fatalf("%d names of %d", shown, all)
	}
	if !maps.Equal(expansion.Metadata, template.Metadata) {
		t.Fatalf("metadata %v", expansion.Metadata)
	}
}
