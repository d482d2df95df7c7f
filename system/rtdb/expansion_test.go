package rtdb_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// drawName favours collisions, and now and then is no name at all.
func drawName() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "a", "b", "b", "c", "c", "d", "e", "x-y", "1z", "", "not a name"})
}

func maybe[T any](g *rapid.Generator[T]) *rapid.Generator[*T] {
	return rapid.Custom(func(t *rapid.T) *T {
		if rapid.IntRange(0, 3).Draw(t, "present") > 0 {
			return nil
		}
		value := g.Draw(t, "value")
		return &value
	})
}

func drawField(types []ems.PointType) *rapid.Generator[ems.TemplateField] {
	return rapid.Custom(func(t *rapid.T) ems.TemplateField {
		bound := maybe(rapid.Map(rapid.IntRange(-4, 4), func(n int) float64 { return float64(n) / 2 }))
		return ems.TemplateField{
			Name: drawName().Draw(t, "name"), Unit: rapid.SampledFrom([]string{"", "kW"}).Draw(t, "unit"),
			Description: rapid.SampledFrom([]string{"", "what it is, \"so\""}).Draw(t, "description"),
			Type:        rapid.SampledFrom(types).Draw(t, "type"), Point: rapid.SampledFrom([]ems.PointID{0, 0, 0, 1, 7, math.MaxUint32}).Draw(t, "point"),
			Min: bound.Draw(t, "min"), Max: bound.Draw(t, "max"),
			ValueType: rapid.SampledFrom([]ems.ValueType{"", "", "bool", "integer", "number", "octet"}).Draw(t, "value type"),
		}
	})
}

func drawComputed() *rapid.Generator[ems.ComputedField] {
	return rapid.Custom(func(t *rapid.T) ems.ComputedField {
		field := ems.ComputedField{Name: rapid.SampledFrom([]string{"p", "q", "r", "s", "a", "x-y"}).Draw(t, "name")}
		name := rapid.SampledFrom([]string{"a", "b", "c", "p", "q", "r", "x-y"})
		switch rapid.IntRange(0, 5).Draw(t, "form") {
		case 0:
			field.Expression = rapid.SampledFrom([]string{
				"a", "a+b*c", "(a - b) / 2", "-p", "max(a, q, 3.5)", "abs(a,b)", "mean()", "a b", "sum(a,b,c)-r", "1 - -a", "2 / (b - b)", "a-y", "((a)", "1e5", "a..b", " ",
			}).Draw(t, "expression")
		case 1: // changes an inherited one, or is nothing
		default:
			field.Function = rapid.SampledFrom([]string{"sum", "difference", "mean", "min", "max", "scale", "scale", "abs", "product"}).Draw(t, "function")
			field.Of = rapid.SliceOfN(name, 0, 3).Draw(t, "of")
			number := maybe(rapid.Map(rapid.IntRange(-6, 6), func(n int) float64 { return float64(n) / 4 }))
			if field.Function == "scale" {
				field.Factor, field.Offset = number.Draw(t, "factor"), number.Draw(t, "offset")
			}
		}
		return field
	})
}

func drawMetadata() *rapid.Generator[map[string]any] {
	value := rapid.SampledFrom([]any{"text", 2.5, true, []any{1.0, "two"}, map[string]any{"k": "v"}})
	return rapid.MapOfN(rapid.SampledFrom([]string{"kind", "maker", "floor"}), value, 0, 2)
}

func drawTemplate(id string, parents []string) *rapid.Generator[ems.Template] {
	return rapid.Custom(func(t *rapid.T) ems.Template {
		return ems.Template{
			ID: id, Name: "template " + id, Extends: rapid.SampledFrom(parents).Draw(t, "extends"),
			Data:     rapid.SliceOfN(drawField([]ems.PointType{0, 0, ems.Telemetry, ems.Signal, ems.Adjustment}), 0, 4).Draw(t, "data"),
			Action:   rapid.SliceOfN(drawField([]ems.PointType{0, 0, ems.Control, ems.Adjustment, ems.Signal}), 0, 2).Draw(t, "action"),
			Computed: rapid.SliceOfN(drawComputed(), 0, 2).Draw(t, "computed"), Metadata: drawMetadata().Draw(t, "metadata"),
		}
	})
}

func drawModel(id string, templates []string) *rapid.Generator[ems.Model] {
	point := rapid.SampledFrom([]ems.ModelPoint{"1", "2", "S:3", "A:4", "C:1", "comsrv:1002:T:5", "comsrv:1002:A:5", "0", "T:0", "Q:1", "T:4294967295", "T:4294967296", "comsrv:1:T", "", "x"})
	return rapid.Custom(func(t *rapid.T) ems.Model {
		mapping := func(label string) map[string]ems.ModelPoint {
			return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "x-y", "not a name"}), point, 0, 3).Draw(t, label)
		}
		return ems.Model{
			ID: id, Name: rapid.SampledFrom([]string{"", "Model"}).Draw(t, "name"), Template: rapid.SampledFrom(templates).Draw(t, "template"),
			Mapping: ems.ModelMapping{
				Channel: rapid.SampledFrom([]ems.ChannelID{1001, 1001, 1001, 1002, 0}).Draw(t, "channel"),
				Offset:  maybe(rapid.SampledFrom([]int{0, 10, -1, 4294967294, -4294967296})).Draw(t, "offset"),
				Data:    mapping("data"), Action: mapping("action"),
			},
			Computed: rapid.SliceOfN(drawComputed(), 0, 2).Draw(t, "computed"), Metadata: drawMetadata().Draw(t, "metadata"),
		}
	})
}

// tidyFields and its like take away what makes most random templates and models unusable, so that
// many are good: doubled and impossible names, wrong types, bounds crossed.
func tidyFields(fields []ems.TemplateField, writes bool) []ems.TemplateField {
	var kept []ems.TemplateField
	seen := map[string]bool{}
	for _, field := range fields {
		if seen[field.Name] || ems.CheckID("name", field.Name) != nil {
			continue
		}
		seen[field.Name] = true
		if field.ValueType == "octet" {
			field.ValueType = ""
		}
		if writes && !field.Type.Writable() {
			field.Type = 0
		}
		if field.Min != nil {
			field.Max = nil
		}
		kept = append(kept, field)
	}
	return kept
}

func tidyComputed(fields []ems.ComputedField, taken func(name string) bool) []ems.ComputedField {
	var kept []ems.ComputedField
	seen := map[string]bool{}
	for _, field := range fields {
		if _, err := field.Formula(); err != nil || seen[field.Name] || taken(field.Name) {
			continue
		}
		seen[field.Name] = true
		kept = append(kept, field)
	}
	return kept
}

func tidyTemplate(template ems.Template) ems.Template {
	template.Data, template.Action = tidyFields(template.Data, false), tidyFields(template.Action, true)
	template.Computed = tidyComputed(template.Computed, func(name string) bool {
		return slices.ContainsFunc(template.Data, func(field ems.TemplateField) bool { return field.Name == name })
	})
	return template
}

func tidyModel(model ems.Model, plain *plainModels) ems.Model {
	template, found := plain.find(model.Template)
	if !found {
		model.Template = ""
	}
	if model.Template == "" {
		model.Mapping.Offset = nil
	}
	model.Mapping.Channel = max(model.Mapping.Channel, 1)
	tidy := func(mapping map[string]ems.ModelPoint, fields []ems.TemplateField, fallback ems.PointType) {
		for name, point := range mapping {
			ref, err := point.Resolve(1, fallback)
			known := model.Template == "" || slices.ContainsFunc(fields, func(field ems.TemplateField) bool { return field.Name == name })
			if err != nil || fallback.Writable() && !ref.Type.Writable() || !known || ems.CheckID("name", name) != nil {
				delete(mapping, name)
			}
		}
	}
	tidy(model.Mapping.Data, template.Data, ems.Telemetry)
	tidy(model.Mapping.Action, template.Action, ems.Control)
	model.Computed = tidyComputed(model.Computed, func(name string) bool { _, taken := model.Mapping.Data[name]; return taken })
	return model
}

// plainModels is the plain model of what Redis holds: what was accepted, and what
// it expands to by the rules that the check of a site folder uses.
type plainModels struct {
	templates map[string]ems.Template
	models    map[string]ems.Model
}

func (p *plainModels) find(id string) (ems.Template, bool) {
	template, found := p.templates[id]
	return template, found
}

// fits reports whether a template may take its place, with every template and
// model that follows it.
func (p *plainModels) fits(template ems.Template) bool {
	changed := &plainModels{templates: map[string]ems.Template{}}
	for id, other := range p.templates {
		changed.templates[id] = other
	}
	changed.templates[template.ID] = template
	for _, other := range changed.templates {
		if len(ems.CheckTemplate(other, changed.find)) > 0 {
			return false
		}
	}
	for _, model := range p.models {
		if _, faults := ems.Expand(model, changed.find); len(faults) > 0 {
			return false
		}
	}
	return true
}

func asJSON(t *rapid.T, thing any) map[string]any {
	t.Helper()
	text, err := json.Marshal(thing)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// Random templates and models, good and bad: Redis accepts and refuses what the
// check of a site folder does, and expands every model to the same.
func TestRedisAndTheSiteCheckExpandAlike(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		if err := b.raw.FlushAll(b.ctx).Err(); err != nil {
			t.Fatal(err)
		}
		plain := &plainModels{templates: map[string]ems.Template{}, models: map[string]ems.Model{}}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "template id")
			template := drawTemplate(id, []string{"", "", "t1", "t2", "t3", "t4"}).Draw(t, "template")
			tidy := rapid.IntRange(0, 4).Draw(t, "tidy") > 0
			if tidy {
				template = tidyTemplate(template)
			}
			err := b.UpsertTemplate(b.ctx, template)
			if want := plain.fits(template); want != (err == nil) {
				t.Fatalf("template: redis says %v, the site check %v", err, ems.CheckTemplate(template, func(other string) (ems.Template, bool) {
					if other == id {
						return template, true
					}
					return plain.find(other)
				}))
			}
			if err == nil {
				plain.templates[id] = template
			}
			model := drawModel(rapid.SampledFrom([]string{"m1", "m2"}).Draw(t, "model id"), []string{"", "t1", "t2", "t3", "t4"}).Draw(t, "model")
			if tidy {
				model = tidyModel(model, plain)
			}
			expected, faults := ems.Expand(model, plain.find)
			got, err := b.TryModel(b.ctx, model)
			if (err == nil) != (len(faults) == 0) {
				t.Fatalf("model: redis says %v, the site check %v", err, faults)
			}
			stored := b.UpsertModel(b.ctx, model)
			if (stored == nil) != (err == nil) {
				t.Fatalf("tried: %v, stored: %v", err, stored)
			}
			if err == nil {
				accepted++
				plain.models[model.ID] = model
				if difference := cmp.Diff(asJSON(t, expected), asJSON(t, got)); difference != "" {
					t.Fatalf("expansion (-site check +redis):\n%s", difference)
				}
			}
			for id, model := range plain.models { // also after a template has changed
				expected, _ := ems.Expand(model, plain.find)
				got, err := b.ExpandModel(b.ctx, id)
				if difference := cmp.Diff(asJSON(t, expected), asJSON(t, got)); err != nil || difference != "" {
					t.Fatalf("stored expansion of %s: %v (-site check +redis):\n%s", id, err, difference)
				}
			}
		}
	})
	if accepted == 0 {
		t.Error("no model was ever accepted")
	}
}

// computeByHand adds the computed values of a model to those of its data.
func computeByHand(expansion ems.Expansion, values map[string]ems.ModelValue) error {
	for _, field := range expansion.Computed {
		formula, err := field.Formula()
		if err != nil {
			return err
		}
		result := ems.ModelValue{Name: field.Name, Computed: true}
		for _, name := range formula.Names() {
			input := values[name]
			result.Missing = result.Missing || input.Missing
			result.Value.Quality = max(result.Value.Quality, input.Value.Quality)
			if input.Value.Time.After(result.Value.Time) {
				result.Value.Time = input.Value.Time
			}
		}
		if !result.Missing {
			result.Value.Number = formula.Eval(func(name string) float64 { return values[name].Value.Number })
			result.Missing = math.IsNaN(result.Value.Number) || math.IsInf(result.Value.Number, 0)
		}
		if result.Missing {
			result.Value = ems.Value{Quality: ems.Bad}
		}
		values[field.Name] = result
	}
	return nil
}

// Random values under random formulas: what Redis computes is what the formulas
// say, with the worst quality and the latest time of the inputs.
func TestComputedValuesFollowTheirInputs(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		model := ems.Model{ID: "m" + strconv.Itoa(run), Mapping: ems.ModelMapping{
			Channel: ems.ChannelID(run), Data: map[string]ems.ModelPoint{"a": "1", "b": "S:2", "c": ems.ModelPoint(fmt.Sprintf("comsrv:%d:T:3", run+1_000_000))},
		}}
		quotient := ems.ComputedField{Name: "p", Expression: "a / b + c"}
		model.Computed = []ems.ComputedField{quotient, {Name: "q", Expression: "max(p, abs(a) * -0.5, mean(b, c))"}}
		expansion, err := b.TryModel(b.ctx, model)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.UpsertModel(b.ctx, model); err != nil {
			t.Fatal(err)
		}
		values := map[string]ems.ModelValue{}
		for _, field := range expansion.Data {
			value := ems.ModelValue{Name: field.Name, Point: field.Point, Value: ems.Value{Quality: ems.Bad}, Missing: true}
			if rapid.IntRange(0, 4).Draw(t, "read") > 0 {
				sample := rtdb.Sample{Point: field.Point.Point, Number: float64(rapid.IntRange(-8, 8).Draw(t, "number")) / 4, Quality: rapid.SampledFrom([]ems.Quality{ems.Good, ems.Good, ems.Uncertain}).Draw(t, "quality")}
				at := b.clock.Now().Add(time.Duration(rapid.IntRange(-9, 0).Draw(t, "age")) * time.Second)
				batch := rtdb.Batch{Channel: field.Point.Channel, Type: field.Point.Type, Group: "default", Time: at, Samples: []rtdb.Sample{sample}}
				if err := b.Ingest(b.ctx, batch); err != nil {
					t.Fatal(err)
				}
				value.Missing = false
				value.Value = ems.Value{Number: sample.Number, Time: at, Quality: sample.Quality}
			}
			values[field.Name] = value
		}
		if err := computeByHand(expansion, values); err != nil {
			t.Fatal(err)
		}
		got, err := b.ReadModel(b.ctx, model.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(values) {
			t.Fatalf("%d values, want %d", len(got), len(values))
		}
		for _, value := range got {
			want := values[value.Name]
			near := math.Abs(want.Value.Number-value.Value.Number) <= 5e-7
			value.Value.Number, want.Value.Number = 0, 0
			if !near || value != want {
				t.Fatalf("%s is %+v, want %+v (values %v)", want.Name, value, want, strings.TrimSpace(fmt.Sprint(got)))
			}
		}
	})
}
