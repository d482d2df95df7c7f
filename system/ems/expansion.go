package ems

import (
	"maps"
	"math"
	"slices"
)

// Expansion is a model with all that its templates say.
type Expansion struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Template  string          `json:"template"`
	Templates []string        `json:"templates"` // the template and those that it extends, the root first
	Data      []ExpandedField `json:"data"`
	Action    []ExpandedField `json:"action"`
	Computed  []ComputedField `json:"computed"` // each after its inputs
	Unmapped  []string        `json:"unmapped"` // names of the template that this model has no point for, and what would be computed from them
	Metadata  map[string]any  `json:"metadata"`
}

// ExpandedField is one named point of a model.
type ExpandedField struct {
	Name        string    `json:"name"`
	Point       PointRef  `json:"point"`
	Unit        string    `json:"unit,omitempty"`
	Description string    `json:"description,omitempty"`
	Min         *float64  `json:"min,omitempty"`
	Max         *float64  `json:"max,omitempty"`
	ValueType   ValueType `json:"value_type,omitempty"`
}

// Expand returns a model with all that its template says, or what is wrong with
// the model: the paths of the faults begin at the model. find returns a template
// by its id. Whether a point exists, only the site knows.
//
// Data and actions come in the order of the template's fields, else of their
// names. A field that the mapping does not name has the point of its place plus
// mapping.offset, if that is given; the place is the field's own point, else one
// more than that of the field of its type before it. A computed value of a
// template is left out where an input of it is; one of the model stands for that
// of the same name in the template and needs all its inputs.
func Expand(model Model, find func(id string) (Template, bool)) (Expansion, []Fault) {
	e := expander{model: &model, inputs: map[string]bool{}}
	e.expansion = Expansion{
		ID: model.ID, Name: model.Name, Template: model.Template, Templates: []string{},
		Data: []ExpandedField{}, Action: []ExpandedField{}, Computed: []ComputedField{}, Unmapped: []string{},
	}
	if err := CheckID("model id", model.ID); err != nil {
		e.faults.add([]any{"id"}, "%v", err)
	}
	if model.Mapping.Channel == 0 {
		e.faults.add([]any{"mapping", "channel"}, "a model needs the channel of its points, 1 or more")
	}
	e.checkOffset()
	laid, sound := e.templates(find)
	if !sound {
		return Expansion{}, e.faults
	}
	e.expansion.Data = e.fields("data", model.Mapping.Data, laid.data, Telemetry)
	e.expansion.Action = e.fields("action", model.Mapping.Action, laid.action, Control)
	e.expansion.Computed = e.computed(laid.computed)
	e.expansion.Metadata = mergedMetadata(laid.metadata, model.Metadata)
	if len(e.faults) > 0 {
		return Expansion{}, e.faults
	}
	return e.expansion, nil
}

// expander gathers the expansion of one model and what is wrong with it.
type expander struct {
	model     *Model
	expansion Expansion
	faults    faultList
	inputs    map[string]bool // data that computed values may name
	outside   bool            // it is told that the offset leads to no point
}

func (e *expander) checkOffset() {
	offset, at := e.model.Mapping.Offset, []any{"mapping", "offset"}
	switch {
	case offset == nil:
	case e.model.Template == "":
		e.faults.add(at, "an offset counts from the fields of a template, and this model has none")
	case beyond(*offset):
		e.faults.add(at, "%d is beyond the numbers of points, 1 to %d", *offset, uint32(math.MaxUint32))
	}
}

// templates returns what the templates of the model say together.
func (e *expander) templates(find func(id string) (Template, bool)) (laid layout, sound bool) {
	if e.model.Template == "" {
		return laid, true
	}
	at := []any{"template"}
	template, found := find(e.model.Template)
	if !found {
		e.faults.add(at, "no template %q", e.model.Template)
		return laid, false
	}
	template.ID = e.model.Template
	chain, broken := chainOf(template, find)
	if broken != "" {
		e.faults.add(at, "%s", broken)
		return laid, false
	}
	for _, part := range chain {
		below := laid
		laid = below.under(part)
		if faults := laid.check(part, below, true); len(faults) > 0 {
			e.faults.add(at, "template %s cannot be used: %s", part.ID, faults[0])
			return laid, false
		}
		e.expansion.Templates = append(e.expansion.Templates, part.ID)
	}
	return laid, true
}

// fields returns the data or the actions of the model.
func (e *expander) fields(list string, mapping map[string]ModelPoint, fields []TemplateField, fallback PointType) []ExpandedField {
	at := []any{"mapping", list}
	names := slices.Sorted(maps.Keys(mapping))
	if len(names) > maxFields {
		e.faults.add(at, "%d names are more than the %d that fit", len(names), maxFields)
		return nil
	}
	if e.model.Template == "" {
		for _, name := range names {
			if err := CheckID("name", name); err != nil {
				e.faults.add([]any{"mapping", list, name}, "%v", err)
			}
			fields = append(fields, TemplateField{Name: name})
		}
	} else {
		e.checkNames(list, names, fields)
	}
	expanded := make([]ExpandedField, 0, len(fields))
	last := map[PointType]int64{} // by type, the place of the field before
	for _, field := range fields {
		if field.Type == 0 {
			field.Type = fallback
		}
		place := int64(field.Point)
		if place == 0 {
			place = last[field.Type] + 1
		}
		last[field.Type] = place
		var ref PointRef
		var fits bool
		if text, given := mapping[field.Name]; given {
			ref, fits = e.resolve(list, field, text)
		} else if offset := e.model.Mapping.Offset; offset != nil {
			ref, fits = e.moved(field, place, *offset)
		} else {
			e.expansion.Unmapped = append(e.expansion.Unmapped, field.Name)
			continue
		}
		if list == "data" {
			e.inputs[field.Name] = true
		}
		if fits {
			expanded = append(expanded, ExpandedField{
				Name: field.Name, Point: ref, Unit: field.Unit, Description: field.Description,
				Min: field.Min, Max: field.Max, ValueType: field.ValueType,
			})
		}
	}
	return expanded
}

// checkNames refuses what the template does not have.
func (e *expander) checkNames(list string, names []string, fields []TemplateField) {
	known := namesOf(fields, fieldName)
	for _, name := range names {
		if !known[name] {
			e.faults.add([]any{"mapping", list, name}, "the template has no %q", name)
		}
	}
}

func (e *expander) resolve(list string, field TemplateField, text ModelPoint) (PointRef, bool) {
	at := []any{"mapping", list, field.Name}
	ref, err := text.Resolve(e.model.Mapping.Channel, field.Type)
	if err != nil {
		e.faults.add(at, "%v", err)
		return ref, false
	}
	if list == "action" && !ref.Type.Writable() {
		e.faults.add(at, "%s:%d cannot be written: an action names a control (C) or an adjustment (A)", ref.Type, ref.Point)
		return ref, false
	}
	return ref, true
}

// beyond reports whether an offset is larger than any point.
func beyond(offset int) bool {
	return int64(offset) < -math.MaxUint32 || int64(offset) > math.MaxUint32
}

// moved returns the point of a field by the offset of the mapping.
func (e *expander) moved(field TemplateField, place int64, offset int) (ref PointRef, fits bool) {
	if beyond(offset) { // told already
		return ref, false
	}
	number := place + int64(offset)
	if fits = number >= 1 && number <= math.MaxUint32; !fits && !e.outside {
		e.outside = true
		e.faults.add([]any{"mapping", "offset"}, "%d gives %s the point %s:%d, which is not from 1 to %d",
			offset, field.Name, field.Type, number, uint32(math.MaxUint32))
	}
	return PointRef{Channel: e.model.Mapping.Channel, Type: field.Type, Point: PointID(number)}, fits
}

// computed returns the computed values of the model: those of the template that
// it has all inputs for, then its own.
func (e *expander) computed(inherited []ComputedField) []ComputedField {
	own := namesOf(e.model.Computed, computedName)
	inherited = slices.DeleteFunc(slices.Clone(inherited), func(field ComputedField) bool { return own[field.Name] })
	formulas := map[string]Formula{}
	for _, field := range inherited {
		formulas[field.Name], _ = field.compile() // sound: its template was checked
	}
	all := append(e.usable(inherited, own, formulas), e.model.Computed...)
	e.checkOwn(all, formulas)
	e.faults.tooManyFormulas(all)
	ordered, circle := inOrder(all, formulas)
	for i, field := range e.model.Computed {
		if slices.Contains(circle, field.Name) {
			e.faults.add([]any{"computed", i}, "%s", circleText(circle))
			break
		}
	}
	return append([]ComputedField{}, ordered...)
}

// usable returns the inherited values without those that this model lacks an
// input of, until nothing changes; own are the names of the model's own.
func (e *expander) usable(inherited []ComputedField, own map[string]bool, formulas map[string]Formula) []ComputedField {
	for {
		known := namesOf(inherited, computedName)
		lacks := func(field ComputedField) bool {
			return slices.ContainsFunc(formulas[field.Name].Names(), func(name string) bool {
				return !e.inputs[name] && !own[name] && !known[name]
			})
		}
		var kept []ComputedField
		for _, field := range inherited {
			if lacks(field) {
				e.expansion.Unmapped = append(e.expansion.Unmapped, field.Name)
			} else {
				kept = append(kept, field)
			}
		}
		if len(kept) == len(inherited) {
			return kept
		}
		inherited = kept
	}
}

// checkOwn checks the computed values that the model itself gives, out of all,
// and adds their formulas.
func (e *expander) checkOwn(all []ComputedField, formulas map[string]Formula) {
	known := namesOf(all, computedName)
	seen := map[string]bool{}
	for i, field := range e.model.Computed {
		at := []any{"computed", i}
		e.faults.name("computed", i, field.Name, seen)
		if e.inputs[field.Name] {
			e.faults.add(append(at, "name"), "%q is already the name of a data value", field.Name)
		}
		formula, fault := field.compile()
		if fault != nil {
			e.faults.add(append(at, fault.Path...), "%s", fault.Message)
			continue
		}
		if !e.inputs[field.Name] {
			formulas[field.Name] = formula
		}
		for _, name := range formula.Names() {
			switch {
			case e.inputs[name] || known[name]:
			case slices.Contains(e.expansion.Unmapped, name):
				e.faults.add(append(at, inputKey(field)...), "this model has no point for %q, which the template has", name)
			default:
				e.faults.add(append(at, inputKey(field)...), "there is no data and no computed value %q", name)
			}
		}
	}
}
