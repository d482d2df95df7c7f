package config_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// expansionBound is a template, another that extends it, and a model of that.
func expansionBound(what string, sound bool, change func(base, template *ems.Template, model *ems.Model)) bound {
	base := ems.Template{
		ID: "base", Name: "base", Data: []ems.TemplateField{{Name: "soc"}, {Name: "temperature"}},
		Computed: []ems.ComputedField{{Name: "total", Function: "sum", Of: []string{"soc", "temperature"}}},
	}
	template := ems.Template{
		ID: "above", Name: "above", Extends: "base",
		Data:     []ems.TemplateField{{Name: "fault", Type: ems.Signal}},
		Action:   []ems.TemplateField{{Name: "power", Type: ems.Adjustment}},
		Computed: []ems.ComputedField{{Name: "half", Expression: "total / 2"}},
	}
	zero := 0
	model := ems.Model{ID: "m", Template: "above", Mapping: ems.ModelMapping{Channel: 1001, Offset: &zero}}
	change(&base, &template, &model)
	return bound{
		what: "expansion: " + what, sound: sound,
		read: func(t *testing.T, _ *config.Site) error {
			return siteWithAll(t, map[string]any{
				"templates/1.yaml": base, "templates/2.yaml": template, "models.yaml": map[string]any{"models": []ems.Model{model}},
			})
		},
		store: func(t *testing.T, db *rtdb.Client) error {
			return replaceModels(t, db, []ems.Template{base, template}, []ems.Model{model})
		},
	}
}

func replaceModels(t *testing.T, db *rtdb.Client, templates []ems.Template, models []ems.Model) error {
	t.Helper()
	version, _, err := db.ModelsVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return db.ReplaceModels(t.Context(), version, templates, models)
}

// formulaBound is a computed value of a model. What config says of it is what
// ems does; there are too many to read a whole site for each.
func formulaBound(what string, sound bool, field ems.ComputedField) bound {
	field.Name = "x"
	b := expansionBound(what, sound, func(_, _ *ems.Template, m *ems.Model) { m.Computed = []ems.ComputedField{field} })
	b.read = func(*testing.T, *config.Site) error {
		_, err := field.Formula()
		return err
	}
	return b
}

// chainBound is that many templates of which each extends the next.
func chainBound(count int, sound bool) bound {
	files, chain := map[string]any{}, []ems.Template{}
	for i := range count {
		template := ems.Template{ID: fmt.Sprint("t", i), Data: []ems.TemplateField{{Name: fmt.Sprint("d", i)}}}
		if i > 0 {
			template.Extends = chain[i-1].ID
		}
		chain = append(chain, template)
		files["templates/"+template.ID+".yaml"] = template
	}
	return bound{
		what: fmt.Sprintf("%d templates deep", count), sound: sound,
		read:  func(t *testing.T, _ *config.Site) error { return siteWithAll(t, files) },
		store: func(t *testing.T, db *rtdb.Client) error { return replaceModels(t, db, chain, nil) },
	}
}

func expansionBounds() []bound {
	offset := func(number int) func(_, _ *ems.Template, _ *ems.Model) {
		return func(_, _ *ems.Template, m *ems.Model) { m.Mapping.Offset = &number }
	}
	of := func(field ems.ComputedField) func(_, _ *ems.Template, _ *ems.Model) {
		return func(_, _ *ems.Template, m *ems.Model) {
			field.Name = "x"
			m.Computed = []ems.ComputedField{field}
		}
	}
	above := func(field ems.ComputedField) func(_, _ *ems.Template, _ *ems.Model) {
		return func(_, template *ems.Template, _ *ems.Model) { template.Computed = append(template.Computed, field) }
	}
	repeated := func(count int) []string { return slices.Repeat([]string{"soc"}, count) }
	two := 2.0
	bounds := []bound{
		expansionBound("as it is", true, func(_, _ *ems.Template, _ *ems.Model) {}),
		chainBound(16, true), chainBound(17, false),
		expansionBound("extends nothing", false, func(_, template *ems.Template, _ *ems.Model) { template.Extends = "none" }),
		expansionBound("extends itself", false, func(_, template *ems.Template, _ *ems.Model) { template.Extends = "above" }),
		expansionBound("offset to 0", false, offset(-1)),
		expansionBound("offset past the last", false, offset(math.MaxUint32)),
		expansionBound("offset beyond", false, func(_, _ *ems.Template, m *ems.Model) {
			huge := math.MaxUint32 + 1
			m.Mapping.Offset, m.Mapping.Data = &huge, map[string]ems.ModelPoint{"soc": "1", "temperature": "2", "fault": "1"}
			m.Mapping.Action = map[string]ems.ModelPoint{"power": "1"}
		}),
		expansionBound("offset without a template", false, func(_, _ *ems.Template, m *ems.Model) { m.Template = "" }),
		expansionBound("name of no field", false, func(_, _ *ems.Template, m *ems.Model) { m.Mapping.Data = map[string]ems.ModelPoint{"x": "1"} }),
		expansionBound("whole source", true, func(_, _ *ems.Template, m *ems.Model) {
			m.Mapping.Data = map[string]ems.ModelPoint{"soc": "comsrv:1001:T:2"}
		}),
		expansionBound("source of no point", false, func(_, _ *ems.Template, m *ems.Model) {
			m.Mapping.Data = map[string]ems.ModelPoint{"soc": "comsrv:1001:T:0"}
		}),
		expansionBound("source past the last", false, func(_, _ *ems.Template, m *ems.Model) {
			m.Mapping.Data = map[string]ems.ModelPoint{"soc": "comsrv:4294967296:T:1"}
		}),
		expansionBound("data of a computed name", false, func(_, template *ems.Template, _ *ems.Model) { template.Data[0].Name = "total" }),
		expansionBound("action of a data name", true, func(_, template *ems.Template, _ *ems.Model) { template.Action[0].Name = "soc" }),
		expansionBound("action that reads", false, func(_, template *ems.Template, _ *ems.Model) { template.Action[0].Type = ems.Signal }),
		expansionBound("unknown value type", false, func(_, template *ems.Template, _ *ems.Model) { template.Data[0].ValueType = "int" }),
		expansionBound("max below an inherited min", false, func(base, template *ems.Template, _ *ems.Model) {
			base.Data[0].Min = &two
			template.Data = append(template.Data, ems.TemplateField{Name: "soc", Max: new(float64)})
		}),
		expansionBound("circle in a template", false, above(ems.ComputedField{Name: "total", Expression: "half"})),
		expansionBound("unknown input in a template", false, above(ems.ComputedField{Name: "y", Expression: "none"})),
		expansionBound("action as an input", false, above(ems.ComputedField{Name: "y", Expression: "power"})),
		expansionBound("computed of a data name", false, above(ems.ComputedField{Name: "soc", Expression: "1"})),
		expansionBound("unit alone", true, above(ems.ComputedField{Name: "total", Unit: "kW"})),
		expansionBound("names alone", true, above(ems.ComputedField{Name: "total", Of: []string{"soc"}})),
		expansionBound("function alone", true, above(ems.ComputedField{Name: "total", Function: "max"})),
		expansionBound("another form", true, above(ems.ComputedField{Name: "total", Expression: "soc"})),
		expansionBound("names beside an inherited expression", false, func(base, template *ems.Template, _ *ems.Model) {
			base.Computed[0] = ems.ComputedField{Name: "total", Expression: "soc"}
			template.Computed = append(template.Computed, ems.ComputedField{Name: "total", Of: []string{"soc"}})
		}),
		expansionBound("inherited input without a point", true, func(_, _ *ems.Template, m *ems.Model) {
			m.Mapping.Offset, m.Mapping.Data = nil, map[string]ems.ModelPoint{"soc": "1"}
		}),
		expansionBound("input without a point", false, func(_, _ *ems.Template, m *ems.Model) {
			m.Mapping.Offset, m.Mapping.Data = nil, map[string]ems.ModelPoint{"soc": "1"}
			m.Computed = []ems.ComputedField{{Name: "x", Expression: "half"}}
		}),
		expansionBound("the model replaces a computed value", true, func(_, _ *ems.Template, m *ems.Model) {
			m.Computed = []ems.ComputedField{{Name: "total", Expression: "soc"}}
		}),
		expansionBound("the model closes a circle", false, func(_, _ *ems.Template, m *ems.Model) {
			m.Computed = []ems.ComputedField{{Name: "total", Expression: "half"}}
		}),
		expansionBound("198 computed values more", true, func(_, _ *ems.Template, m *ems.Model) { m.Computed = constants(198) }),
		expansionBound("199 computed values more", false, func(_, _ *ems.Template, m *ems.Model) { m.Computed = constants(199) }),
		expansionBound("200 computed values", true, func(_, template *ems.Template, _ *ems.Model) { template.Computed = constants(199) }),
		expansionBound("201 computed values", false, func(_, template *ems.Template, _ *ems.Model) { template.Computed = constants(200) }),
		expansionBound("1000 actions", true, func(_, template *ems.Template, m *ems.Model) {
			template.Action, m.Mapping.Offset = fields(1000), nil
		}),
		expansionBound("1000 data", true, func(_, template *ems.Template, m *ems.Model) { template.Data, m.Mapping.Offset = fields(998), nil }),
		expansionBound("1001 data", false, func(_, template *ems.Template, m *ems.Model) { template.Data, m.Mapping.Offset = fields(999), nil }),
		expansionBound("neither function nor expression", false, of(ems.ComputedField{Unit: "kW"})),
		expansionBound("both", false, of(ems.ComputedField{Function: "sum", Of: repeated(1), Expression: "soc"})),
		expansionBound("unknown function", false, of(ems.ComputedField{Function: "abs", Of: repeated(1)})),
		expansionBound("factor of a sum", false, of(ems.ComputedField{Function: "sum", Of: repeated(1), Factor: &two})),
		expansionBound("factor and offset of scale", true, of(ems.ComputedField{Function: "scale", Of: repeated(1), Factor: &two, Offset: &two})),
		expansionBound("offset of an expression", false, of(ems.ComputedField{Expression: "soc", Offset: &two})),
	}
	for function, counts := range map[string][2]int{
		"sum": {1, 100}, "mean": {1, 100}, "min": {1, 100}, "max": {1, 100}, "difference": {2, 2}, "scale": {1, 1},
	} {
		for _, count := range []int{0, 1, 2, 3, 100, 101} {
			bounds = append(bounds, formulaBound(fmt.Sprintf("%s of %d", function, count), counts[0] <= count && count <= counts[1],
				ems.ComputedField{Function: function, Of: repeated(count)}))
		}
	}
	for text, sound := range map[string]bool{
		strings.Repeat("soc+", 124) + "half": true, strings.Repeat("soc+", 124) + "half ": false,
		strings.Repeat("(", 32) + "soc" + strings.Repeat(")", 32): true, strings.Repeat("(", 33) + "soc" + strings.Repeat(")", 33): false,
		strings.Repeat("-", 32) + "soc": true, strings.Repeat("-", 33) + "soc": false,
		strings.Repeat("-abs(", 16) + "soc" + strings.Repeat(")", 16): true, strings.Repeat("-abs(", 16) + "-soc" + strings.Repeat(")", 16): false,
		"1": true, "1.5": true, "1.": true, "007": true, ".5": false, "1e3": false, "0x1": false, "1.2.3": false, "1 2": false,
		strings.Repeat("9", 308): true, strings.Repeat("9", 309): false,
		"soc total": false, "soc*-half": true, "soc--half": true, "+soc": false, "soc+": false, "soc**2": false, "soc%2": false, "soc^2": false,
		"()": false, "(soc": false, "soc)": false, "min()": false, "min(soc)": true, "max(soc,)": false, "abs(soc,half)": false, "sqrt(soc)": false,
		"sum (soc , half)": true, "soc\t+\nhalf": true, "soc\r": false, "soc\x00": false, "soc\x7f": false, "soc+é": false, "soc;half": false,
	} {
		bounds = append(bounds, formulaBound(fmt.Sprintf("expression of %d bytes %.40q", len(text), text), sound, ems.ComputedField{Expression: text}))
	}
	return bounds
}

// constants are that many computed values without inputs.
func constants(count int) []ems.ComputedField {
	made := make([]ems.ComputedField, count)
	for i := range made {
		made[i] = ems.ComputedField{Name: fmt.Sprint("n", i), Expression: "1"}
	}
	return made
}

func fields(count int) []ems.TemplateField {
	made := make([]ems.TemplateField, count)
	for i := range made {
		made[i].Name = fmt.Sprint("n", i)
	}
	return made
}
