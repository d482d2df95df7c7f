package modsrv_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// plainModels is what the service should hold, kept in plain Go.
type plainModels struct {
	folder    *config.Site
	templates map[string]ems.Template // made through the API
	models    map[string]ems.Model
}

func (m *plainModels) find(id string) (ems.Template, bool) {
	if template, found := m.templates[id]; found {
		return template, true
	}
	return m.folder.Template(id)
}

func (m *plainModels) allTemplates() map[string]ems.Template {
	all := maps.Clone(m.templates)
	for _, template := range slices.Concat(m.folder.Templates, m.folder.Library) {
		all[template.ID] = template
	}
	return all
}

func (m *plainModels) allModels() map[string]ems.Model {
	all := maps.Clone(m.models)
	for _, model := range m.folder.Models {
		all[model.ID] = model
	}
	return all
}

// fits reports whether all that was made through the API can be used.
func (m *plainModels) fits() bool {
	for _, template := range m.templates {
		if len(ems.CheckTemplate(template, m.find)) > 0 {
			return false
		}
	}
	for _, model := range m.models {
		expansion, faults := ems.Expand(model, m.find)
		if len(faults)+len(m.folder.PointFaults(&model, expansion)) > 0 {
			return false
		}
	}
	return true
}

// with returns the same with other templates or models made through the API.
func (m *plainModels) with(templates map[string]ems.Template, models map[string]ems.Model) *plainModels {
	return &plainModels{folder: m.folder, templates: templates, models: models}
}

func with[T any](things map[string]T, id string, thing T) map[string]T {
	things = maps.Clone(things)
	things[id] = thing
	return things
}

func drawFields(t *rapid.T, what string, names []string) []ems.TemplateField {
	var fields []ems.TemplateField
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID).Draw(t, what) {
		field := ems.TemplateField{Name: name, Unit: rapid.SampledFrom([]string{"", "kW"}).Draw(t, "unit")}
		if rapid.Bool().Draw(t, "bounded") {
			field.Min = number(float64(rapid.IntRange(-1, 1).Draw(t, "min")))
		}
		fields = append(fields, field)
	}
	return fields
}

func drawTemplate(t *rapid.T, id string, parents []string) ems.Template {
	template := ems.Template{
		ID: id, Name: rapid.SampledFrom([]string{"One", "Two"}).Draw(t, "name"), Extends: rapid.SampledFrom(parents).Draw(t, "extends"),
		Data: drawFields(t, "data", []string{"a", "b", "c"}), Action: drawFields(t, "action", []string{"x", "y"}),
	}
	if rapid.IntRange(0, 3).Draw(t, "computes") == 0 {
		template.Computed = []ems.ComputedField{{Name: "sum", Expression: rapid.SampledFrom([]string{"a + b", "c * 2", "1"}).Draw(t, "expression")}}
	}
	return template
}

// drawModel draws a model; most can be used.
func drawModel(t *rapid.T, id string, templates []string, find func(id string) (ems.Template, bool)) ems.Model {
	model := ems.Model{ID: id, Template: rapid.SampledFrom(templates).Draw(t, "template"), Mapping: ems.ModelMapping{Channel: 1001}}
	data, action := []string{"a", "b", "c"}, []string{"x", "y"}
	if model.Template != "" {
		expansion, _ := ems.Expand(model, find)
		data, action = nil, nil
		for _, name := range expansion.Unmapped {
			switch name {
			case "x", "y":
				action = append(action, name)
			case "a", "b", "c":
				data = append(data, name)
			}
		}
	}
	points := func(names []string, texts ...ems.ModelPoint) map[string]ems.ModelPoint {
		mapping := map[string]ems.ModelPoint{}
		for _, name := range names {
			if rapid.Bool().Draw(t, "maps "+name) {
				mapping[name] = rapid.SampledFrom(texts).Draw(t, "point")
			}
		}
		return mapping
	}
	model.Mapping.Data = points(data, "1", "2", "S:1", "comsrv:1002:T:1")
	model.Mapping.Action = points(action, "1", "A:1", "comsrv:1001:C:1")
	switch rapid.IntRange(0, 9).Draw(t, "twist") {
	case 0, 1, 2:
		if model.Template != "" {
			model.Mapping.Offset = offset(rapid.IntRange(-1, 1).Draw(t, "offset"))
		}
	case 3:
		model.Mapping.Channel = rapid.SampledFrom([]ems.ChannelID{1002, 7}).Draw(t, "channel")
	case 4:
		model.Mapping.Data["b"] = rapid.SampledFrom([]ems.ModelPoint{"9", "Q:1", "3"}).Draw(t, "odd point")
	case 5, 6:
		model.Metadata = map[string]any{"n": float64(rapid.IntRange(0, 9).Draw(t, "metadata"))}
	}
	return model
}

// drawFolder draws a folder that is sound by itself, as one that was read is.
func drawFolder(t *rapid.T) *config.Site {
	plain := &plainModels{folder: &config.Site{Name: "test", Channels: testChannels(), Library: testSite().Library}}
	folder := plain.folder
	for _, id := range []string{"battery", "rack", "meter"} {
		if rapid.IntRange(0, 3).Draw(t, "has "+id) == 0 {
			continue
		}
		template := drawTemplate(t, id, []string{"", "meter", "battery"})
		if template.Extends == id || len(ems.CheckTemplate(template, plain.find)) > 0 {
			continue
		}
		folder.Templates = append(folder.Templates, template)
		if id == "meter" { // it stands for that of the library
			folder.Library = nil
		}
	}
	for _, id := range []string{"site_1", "site_2"} {
		model := drawModel(t, id, []string{"", "meter", "battery", "rack"}, plain.find)
		expansion, faults := ems.Expand(model, plain.find)
		if len(faults)+len(folder.PointFaults(&model, expansion)) == 0 {
			folder.Models = append(folder.Models, model)
		}
	}
	for _, template := range slices.Concat(folder.Templates, folder.Library) {
		if len(ems.CheckTemplate(template, plain.find)) > 0 {
			return &config.Site{Name: "test", Channels: testChannels()}
		}
	}
	for _, model := range folder.Models {
		if _, faults := ems.Expand(model, plain.find); len(faults) > 0 {
			return &config.Site{Name: "test", Channels: testChannels()}
		}
	}
	return folder
}

// machine drives the service and the plain models side by side.
type machine struct {
	*plant
	plain *plainModels
}

// ask sends a request and expects that status.
func (m *machine) ask(t *rapid.T, method, path string, body any, want int, into any) {
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	status, reply, err := m.Request(method, path, string(text))
	if err != nil || status != want {
		t.Fatalf("%s %s %s: %d %s %v, want %d", method, path, text, status, reply, err, want)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(reply), &struct{ Data any }{into}); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, reply, err)
		}
	}
}

// send stores a thing by POST or PUT, in earnest or not; stored tells whether it
// should be there now.
func (m *machine) send(t *rapid.T, path, id string, thing any, exists bool, refusal int) (stored bool) {
	method, want := http.MethodPost, http.StatusCreated
	if exists && rapid.IntRange(0, 4).Draw(t, "put") > 0 || rapid.IntRange(0, 9).Draw(t, "put blindly") == 0 {
		method, want, path = http.MethodPut, http.StatusOK, path+"/"+id
		if !exists {
			refusal = http.StatusNotFound
		}
	} else if exists {
		refusal = http.StatusConflict
	}
	dryRun := rapid.IntRange(0, 3).Draw(t, "dry run") == 0
	if dryRun {
		path, want = path+"?dry_run=true", http.StatusOK
	}
	if refusal != 0 {
		want = refusal
	}
	m.ask(t, method, path, thing, want, nil)
	return !dryRun && refusal == 0
}

func (m *machine) storeTemplate(t *rapid.T) {
	id := rapid.SampledFrom([]string{"api-t0", "api-t0", "api-t1", "api-t2"}).Draw(t, "id")
	template := drawTemplate(t, id, []string{"", "battery", "meter", "rack", "api-t0", "api-t1", "nothing"})
	after, refusal := m.plain.with(with(m.plain.templates, id, template), m.plain.models), 0
	if len(ems.CheckTemplate(template, after.find)) > 0 {
		refusal = http.StatusBadRequest
	} else if !after.fits() {
		refusal = http.StatusConflict
	}
	_, exists := m.plain.templates[id]
	if m.send(t, "/api/templates", id, template, exists, refusal) {
		m.plain = after
	}
}

func (m *machine) storeModel(t *rapid.T) {
	id := rapid.SampledFrom([]string{"api-m0", "api-m1", "api-m2", "api-m3"}).Draw(t, "id")
	model := drawModel(t, id, []string{"", "battery", "meter", "api-t0", "api-t0", "api-t1"}, m.plain.find)
	after, refusal := m.plain.with(m.plain.templates, with(m.plain.models, id, model)), 0
	if !after.fits() {
		refusal = http.StatusBadRequest
	}
	_, exists := m.plain.models[id]
	if m.send(t, "/api/models", id, model, exists, refusal) {
		m.plain = after
	}
}

func (m *machine) deleteTemplate(t *rapid.T) {
	id := rapid.SampledFrom([]string{"api-t0", "api-t1", "api-t2", "battery", "nothing"}).Draw(t, "id")
	want := http.StatusOK
	if _, found := m.plain.find(id); !found {
		want = http.StatusNotFound
	} else if !ems.MadeByAPI(id) {
		want = http.StatusConflict
	}
	for _, template := range m.plain.templates {
		if template.Extends == id {
			want = http.StatusConflict
		}
	}
	for _, model := range m.plain.models {
		if model.Template == id {
			want = http.StatusConflict
		}
	}
	m.ask(t, http.MethodDelete, "/api/templates/"+id, nil, want, nil)
	if want == http.StatusOK {
		m.plain = m.plain.with(maps.Clone(m.plain.templates), m.plain.models)
		delete(m.plain.templates, id)
	}
}

func (m *machine) deleteModel(t *rapid.T) {
	id := rapid.SampledFrom([]string{"api-m0", "api-m1", "api-m2", "api-m3", "site_1"}).Draw(t, "id")
	want := http.StatusOK
	if _, found := m.plain.allModels()[id]; !found {
		want = http.StatusNotFound
	} else if !ems.MadeByAPI(id) {
		want = http.StatusConflict
	}
	m.ask(t, http.MethodDelete, "/api/models/"+id, nil, want, nil)
	if want == http.StatusOK {
		m.plain = m.plain.with(m.plain.templates, maps.Clone(m.plain.models))
		delete(m.plain.models, id)
	}
}

func (m *machine) reload(t *rapid.T) {
	after := &plainModels{folder: drawFolder(t), templates: m.plain.templates, models: m.plain.models}
	path, want := "/api/models/reload", http.StatusOK
	dryRun := rapid.IntRange(0, 3).Draw(t, "dry run") == 0
	if dryRun {
		path += "?dry_run=true"
	}
	m.folder.Store(after.folder)
	if !after.fits() {
		m.ask(t, http.MethodPost, path, nil, http.StatusConflict, nil)
		return
	}
	var reply reloadReply
	m.ask(t, http.MethodPost, path, nil, want, &reply)
	expected := reloadReply{
		DryRun: dryRun, Templates: different(m.plain.allTemplates(), after.allTemplates()), Models: different(m.plain.allModels(), after.allModels()),
	}
	if got, want := fmt.Sprintf("%+v", reply), fmt.Sprintf("%+v", expected); got != want {
		t.Fatalf("reload: %s, want %s", got, want)
	}
	if !dryRun {
		m.plain = after
	}
}

func different[T any](before, after map[string]T) idsReply {
	result := changed(nil, nil, nil)
	for _, id := range slices.Sorted(maps.Keys(after)) {
		if old, found := before[id]; !found {
			result.Added = append(result.Added, id)
		} else if asText(old) != asText(after[id]) {
			result.Changed = append(result.Changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, found := after[id]; !found {
			result.Removed = append(result.Removed, id)
		}
	}
	return result
}

func asText(thing any) string {
	text, err := json.Marshal(thing)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// check holds what is stored against the plain models.
func (m *machine) check(t *rapid.T) {
	ctx := m.t.Context()
	templates, err := m.DB.Templates(ctx, "", 100, "")
	found := map[string]ems.Template{}
	for _, template := range templates {
		found[template.ID] = template
	}
	if got, want := asText(found), asText(m.plain.allTemplates()); err != nil || got != want {
		t.Fatalf("templates: %s %v\nwant %s", got, err, want)
	}
	models, _, err := m.DB.Models(ctx, "", 100, rtdb.ModelFilter{})
	listed := map[string]ems.Model{}
	for _, model := range models {
		listed[model.ID] = model
	}
	all := m.plain.allModels()
	if got, want := asText(listed), asText(all); err != nil || got != want {
		t.Fatalf("models: %s %v\nwant %s", got, err, want)
	}
	names := map[ems.PointRef][]rtdb.ModelName{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		want, _ := ems.Expand(all[id], m.plain.find)
		expansion, err := m.DB.ExpandModel(ctx, id)
		if got, want := asText(expansion), asText(want); err != nil || got != want {
			t.Fatalf("%s: %s %v\nwant %s", id, got, err, want)
		}
		for _, field := range slices.Concat(want.Data, want.Action) {
			names[field.Point] = append(names[field.Point], rtdb.ModelName{Model: id, Name: field.Name})
		}
	}
	for _, text := range []string{"1001:T:1", "1001:T:2", "1001:S:1", "1001:C:1", "1001:A:1", "1002:T:1"} {
		ref, err := ems.ParsePointRef("comsrv:" + text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.DB.ModelsOfPoint(ctx, ref)
		want := append([]rtdb.ModelName{}, names[ref]...)
		for _, list := range [][]rtdb.ModelName{got, want} {
			slices.SortFunc(list, func(a, b rtdb.ModelName) int { return strings.Compare(a.Model+" "+a.Name, b.Model+" "+b.Name) })
		}
		if err != nil || asText(got) != asText(want) {
			t.Fatalf("%s: %v %v, want %v", text, got, err, want)
		}
	}
}

func TestTheAPIDoesWhatPlainMapsDo(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{plant: p, plain: &plainModels{folder: testSite(), templates: map[string]ems.Template{}, models: map[string]ems.Model{}}}
		keys := p.Raw.Keys(p.t.Context(), "modsrv:*").Val()
		if err := p.Raw.Del(p.t.Context(), keys...).Err(); err != nil {
			t.Fatal(err)
		}
		p.folder.Store(m.plain.folder)
		m.ask(t, http.MethodPost, "/api/models/reload", nil, http.StatusOK, nil)
		t.Repeat(map[string]func(*rapid.T){
			"store a template": m.storeTemplate, "store another template": m.storeTemplate, "delete a template": m.deleteTemplate,
			"store a model": m.storeModel, "store another model": m.storeModel, "delete a model": m.deleteModel,
			"reload": m.reload, "": m.check,
		})
	})
}
