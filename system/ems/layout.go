package ems

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of templates and models.
const (
	maxChain    = 16     // templates of which each extends the next
	maxFields   = 1000   // data, and actions, of a template or a model
	maxComputed = 200    // computed values of a template or a model
	maxFormulas = 20_000 // bytes of all their formulas together
)

// CheckTemplate returns what is wrong with a template by itself and above those
// that it extends, which find returns. What is wrong with one of those is not
// told again.
func CheckTemplate(template Template, find func(id string) (Template, bool)) []Fault {
	var faults faultList
	if err := CheckID("template id", template.ID); err != nil {
		faults.add([]any{"id"}, "%v", err)
	}
	chain, broken := chainOf(template, find)
	if broken != "" {
		faults.add([]any{"extends"}, "%s", broken)
		chain = []Template{template}
	}
	var below layout
	for _, ancestor := range chain[:len(chain)-1] {
		below = below.under(ancestor)
	}
	return append(faults, below.under(template).check(template, below, broken == "")...)
}

// chainOf returns a template and those that it extends, the root first, or what
// keeps them from being one chain.
func chainOf(template Template, find func(id string) (Template, bool)) (chain []Template, broken string) {
	ids := []string{template.ID}
	chain = []Template{template}
	for template.Extends != "" {
		child, id := template.ID, template.Extends
		if from := slices.Index(ids, id); from >= 0 {
			return nil, "templates extend each other in a circle: " + strings.Join(append(ids[from:], id), " -> ")
		}
		if len(chain) == maxChain {
			return nil, fmt.Sprintf("templates extend one another more than %d deep", maxChain)
		}
		next, found := find(id)
		if !found {
			return nil, fmt.Sprintf("no template %q, which %s extends", id, child)
		}
		next.ID = id
		ids, chain, template = append(ids, id), append(chain, next), next
	}
	slices.Reverse(chain)
	return chain, ""
}

// layout is what the templates of a chain say together.
type layout struct {
	data, action []TemplateField
	computed     []ComputedField
	metadata     map[string]any
}

// under returns the layout with a template above it, which changes the keys that
// it gives. Neither is touched.
func (l layout) under(template Template) layout {
	return layout{
		data:     merged(l.data, template.Data, fieldName, TemplateField.with),
		action:   merged(l.action, template.Action, fieldName, TemplateField.with),
		computed: merged(l.computed, template.Computed, computedName, ComputedField.with),
		metadata: mergedMetadata(l.metadata, template.Metadata),
	}
}

func fieldName(field TemplateField) string { return field.Name }

func computedName(field ComputedField) string { return field.Name }

func merged[T any](below, above []T, name func(T) string, with func(T, T) T) []T {
	list := slices.Clone(below)
	at := make(map[string]int, len(below)+len(above))
	for i, item := range list {
		at[name(item)] = i
	}
	for _, item := range above {
		if i, known := at[name(item)]; known {
			list[i] = with(list[i], item)
			continue
		}
		at[name(item)] = len(list)
		list = append(list, item)
	}
	return list
}

// mergedMetadata lays one object over another, name by name; null says nothing.
func mergedMetadata(below, above map[string]any) map[string]any {
	metadata := maps.Clone(below)
	if metadata == nil {
		metadata = map[string]any{}
	}
	for name, value := range above {
		if value != nil {
			metadata[name] = value
		}
	}
	return metadata
}

func (f TemplateField) with(changes TemplateField) TemplateField {
	return TemplateField{
		Name: f.Name,
		Unit: cmp.Or(changes.Unit, f.Unit), Description: cmp.Or(changes.Description, f.Description),
		Type: cmp.Or(changes.Type, f.Type), Point: cmp.Or(changes.Point, f.Point),
		Min: cmp.Or(changes.Min, f.Min), Max: cmp.Or(changes.Max, f.Max),
		ValueType: cmp.Or(changes.ValueType, f.ValueType),
	}
}

// with also lets go of the form that the changes replace.
func (c ComputedField) with(changes ComputedField) ComputedField {
	switch {
	case changes.Expression != "":
		c.Function, c.Of, c.Factor, c.Offset = "", nil, nil, nil
	case changes.Function != "":
		c.Expression = ""
		if changes.Function != scaleFunction {
			c.Factor, c.Offset = nil, nil
		}
	}
	of := c.Of
	if len(changes.Of) > 0 {
		of = changes.Of
	}
	return ComputedField{
		Name: c.Name,
		Unit: cmp.Or(changes.Unit, c.Unit), Description: cmp.Or(changes.Description, c.Description),
		Function: cmp.Or(changes.Function, c.Function), Of: of,
		Factor: cmp.Or(changes.Factor, c.Factor), Offset: cmp.Or(changes.Offset, c.Offset),
		Expression: cmp.Or(changes.Expression, c.Expression),
	}
}

// check returns what is wrong with the template whose layout this is, above what
// lies below it. Without the whole chain nothing is said of what inherited
// values would have to be known for.
func (l layout) check(template Template, below layout, whole bool) []Fault {
	var faults faultList
	faults.fields("data", template.Data, l.data)
	faults.fields("action", template.Action, l.action)
	for i, field := range template.Action {
		if field.Type != 0 && !field.Type.Writable() {
			faults.add([]any{"action", i, "type"}, "an action is a control (C) or an adjustment (A), not %s", field.Type)
		}
	}
	faults.tooManyFormulas(l.computed)
	inherited := namesOf(below.computed, computedName)
	for i, field := range template.Data {
		if inherited[field.Name] {
			faults.add([]any{"data", i, "name"}, "%q is already the name of a computed value", field.Name)
		}
	}
	formulas := faults.computed(template.Computed, l, whole)
	_, circle := inOrder(l.computed, formulas)
	for i, field := range template.Computed {
		if whole && slices.Contains(circle, field.Name) {
			faults.add([]any{"computed", i}, "%s", circleText(circle))
			break
		}
	}
	return faults
}

func namesOf[T any](list []T, name func(T) string) map[string]bool {
	names := make(map[string]bool, len(list))
	for _, item := range list {
		names[name(item)] = true
	}
	return names
}

func (f *faultList) tooMany(list string, count, most int) {
	if count > most {
		f.add([]any{list}, "%d names are more than the %d that fit", count, most)
	}
}

// tooManyFormulas bounds the computed values of a template or a model together.
func (f *faultList) tooManyFormulas(fields []ComputedField) {
	f.tooMany("computed", len(fields), maxComputed)
	bytes := 0
	for _, field := range fields {
		bytes += len(field.Expression)
		for _, name := range field.Of {
			bytes += len(name)
		}
	}
	if bytes > maxFormulas {
		f.add([]any{"computed"}, "formulas of %d bytes together are more than the %d that fit", bytes, maxFormulas)
	}
}

// name checks the name of an entry of a list; seen holds those before it.
func (f *faultList) name(list string, i int, name string, seen map[string]bool) {
	at := []any{list, i, "name"}
	if err := CheckID("name", name); err != nil {
		f.add(at, "%v", err)
	} else if seen[name] {
		f.add(at, "%q stands twice in %s", name, list)
	}
	seen[name] = true
}

// fields checks the data or actions that a template gives; all are those of its
// layout.
func (f *faultList) fields(list string, given, all []TemplateField) {
	f.tooMany(list, len(all), maxFields)
	laid := make(map[string]TemplateField, len(all))
	for _, field := range all {
		laid[field.Name] = field
	}
	seen := map[string]bool{}
	for i, field := range given {
		f.name(list, i, field.Name, seen)
		switch field.ValueType {
		case "", AnyNumber, WholeNumber, ZeroOrOne:
		default:
			f.add([]any{list, i, "value_type"}, "unknown value_type %q: use number, integer or bool", string(field.ValueType))
		}
		sound := true
		for _, bound := range []struct {
			key   string
			value *float64
		}{{"min", field.Min}, {"max", field.Max}} {
			if bound.value != nil && !finite(*bound.value) {
				f.add([]any{list, i, bound.key}, "%v is not a finite number", *bound.value)
				sound = false
			}
		}
		least, most := laid[field.Name].Min, laid[field.Name].Max
		if !sound || least == nil || most == nil || *least <= *most {
			continue
		}
		switch {
		case field.Min != nil:
			f.add([]any{list, i, "min"}, "%v is above max %v", *least, *most)
		case field.Max != nil:
			f.add([]any{list, i, "max"}, "%v is below min %v", *most, *least)
		}
	}
}

// computed checks the computed values that a template gives and returns the
// formulas of its layout, but those that cannot be used.
func (f *faultList) computed(given []ComputedField, l layout, whole bool) map[string]Formula {
	formulas, broken := map[string]Formula{}, map[string]*Fault{}
	data := namesOf(l.data, fieldName)
	for _, field := range l.computed {
		formula, fault := field.compile()
		switch {
		case fault != nil:
			broken[field.Name] = fault
		case !data[field.Name]: // else it is told that the name is taken, not that it closes a circle
			formulas[field.Name] = formula
		}
	}
	known := namesOf(l.computed, computedName)
	maps.Copy(known, data)
	seen := map[string]bool{}
	for i, field := range given {
		at := []any{"computed", i}
		f.name("computed", i, field.Name, seen)
		if data[field.Name] {
			f.add(append(at, "name"), "%q is already the name of a data value", field.Name)
		}
		if !whole {
			continue
		}
		if fault := broken[field.Name]; fault != nil {
			f.add(append(at, fault.Path...), "%s", fault.Message)
			continue
		}
		for _, name := range formulas[field.Name].Names() {
			if !known[name] {
				f.add(append(at, inputKey(field)...), "there is no data and no computed value %q", name)
			}
		}
	}
	return formulas
}

// inputKey leads to where a computed value names its inputs, if it does itself.
func inputKey(field ComputedField) []any {
	switch {
	case field.Expression != "":
		return []any{"expression"}
	case len(field.Of) > 0:
		return []any{"of"}
	default:
		return nil
	}
}

// inOrder returns computed values each after its inputs, otherwise in the order
// in which they are given, or the names of those that need each other in a
// circle, the first again at the end.
func inOrder(fields []ComputedField, formulas map[string]Formula) (ordered []ComputedField, circle []string) {
	at := make(map[string]int, len(fields))
	for i, field := range fields {
		at[field.Name] = i
	}
	done := make(map[string]bool, len(fields))
	var path []string
	var visit func(i int)
	visit = func(i int) {
		name := fields[i].Name
		if circle != nil || done[name] {
			return
		}
		if open := slices.Index(path, name); open >= 0 {
			circle = append(slices.Clone(path[open:]), name)
			return
		}
		path = append(path, name)
		for _, input := range formulas[name].Names() {
			if next, computed := at[input]; computed {
				visit(next)
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		ordered = append(ordered, fields[i])
	}
	for i := range fields {
		visit(i)
	}
	return ordered, circle
}

func circleText(circle []string) string {
	return "computed values need each other in a circle: " + strings.Join(circle, " -> ")
}
