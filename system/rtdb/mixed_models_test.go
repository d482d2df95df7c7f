package rtdb_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// template returns a random template, mostly one that can be used.
func (s *mixedSite) template() ems.Template {
	n := s.random.IntN(mixedTemplates)
	template := ems.Template{ID: mixedID("t", n), Name: "template"}
	if n > 0 && s.random.IntN(2) == 0 {
		template.Extends = mixedID("t", s.random.IntN(n+s.random.IntN(2))) // now and then a circle
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if s.random.IntN(2) == 0 {
			kind := []ems.PointType{0, ems.Telemetry, ems.Signal, ems.Adjustment}[s.random.IntN(4)]
			template.Data = append(template.Data, ems.TemplateField{Name: name, Type: kind})
		}
	}
	if s.random.IntN(2) == 0 {
		least, most := -10.0, float64(s.random.IntN(20)-11)
		template.Action = append(template.Action, ems.TemplateField{Name: "set", Type: ems.Adjustment, Min: &least, Max: &most})
	}
	if s.random.IntN(3) == 0 {
		expression := []string{"a + b", "max(a, b, c) / 2", "p - a", "d * d"}[s.random.IntN(4)]
		template.Computed = append(template.Computed, ems.ComputedField{Name: []string{"p", "q"}[s.random.IntN(2)], Expression: expression})
	}
	return template
}

func (s *mixedSite) model() ems.Model {
	model := ems.Model{ID: mixedID("m", s.random.IntN(mixedModels)), Mapping: ems.ModelMapping{Channel: s.channel(), Data: map[string]ems.ModelPoint{}}}
	if s.random.IntN(4) > 0 {
		model.Template = mixedID("t", s.random.IntN(mixedTemplates))
		if s.random.IntN(2) == 0 {
			offset := s.random.IntN(3)
			model.Mapping.Offset = &offset
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if s.random.IntN(3) == 0 {
			model.Mapping.Data[name] = ems.ModelPoint(s.ref().String())
		}
	}
	if s.random.IntN(3) == 0 {
		model.Computed = []ems.ComputedField{{Name: "r", Function: "mean", Of: []string{"a", "b"}}}
	}
	return model
}

func (s *mixedSite) upsertTemplate(ctx context.Context) error {
	template := s.template()
	err := s.db.UpsertTemplate(ctx, template)
	if fits := s.plain.fits(template); fits != (err == nil) {
		return fmt.Errorf("template %+v fits: %v, redis: %w", template, fits, err)
	}
	if err == nil {
		s.plain.templates[template.ID] = template
	}
	return nil
}

func (s *mixedSite) upsertModel(ctx context.Context) error {
	model := s.model()
	_, faults := ems.Expand(model, s.plain.find)
	err := s.db.UpsertModel(ctx, model)
	if (len(faults) == 0) != (err == nil) {
		return fmt.Errorf("model %+v: %v, redis: %w", model, faults, err)
	}
	if err == nil {
		s.plain.models[model.ID] = model
	}
	return nil
}

func (s *mixedSite) deleteModel(ctx context.Context) error {
	id := mixedID("m", s.random.IntN(mixedModels))
	_, known := s.plain.models[id]
	err := s.db.DeleteModel(ctx, id)
	if known != (err == nil) {
		return fmt.Errorf("model %s, there: %v, deleted: %w", id, known, err)
	}
	delete(s.plain.models, id)
	return nil
}

func (s *mixedSite) deleteTemplate(ctx context.Context) error {
	id := mixedID("t", s.random.IntN(mixedTemplates))
	want := ems.Code("")
	if _, known := s.plain.templates[id]; !known {
		want = ems.CodeNotFound
	}
	for _, model := range s.plain.models {
		if model.Template == id {
			want = ems.CodeConflict
		}
	}
	for _, template := range s.plain.templates {
		if template.Extends == id {
			want = ems.CodeConflict
		}
	}
	err := s.db.DeleteTemplate(ctx, id)
	if err == nil && want == "" {
		delete(s.plain.templates, id)
	} else if ems.CodeOf(err) != want {
		return fmt.Errorf("template %s deleted: %w, want %q", id, err, want)
	}
	return nil
}

// replaceModels changes part of the site in one step.
func (s *mixedSite) replaceModels(ctx context.Context) error {
	next := &plainModels{templates: map[string]ems.Template{}, models: map[string]ems.Model{}}
	var templates []ems.Template
	for range mixedTemplates {
		template := s.template()
		if _, twice := next.templates[template.ID]; !twice && next.fits(template) {
			next.templates[template.ID] = template
			templates = append(templates, template)
		}
	}
	var models []ems.Model
	sound := true
	for range mixedModels {
		model := s.model()
		if _, twice := next.models[model.ID]; twice {
			continue
		}
		if _, faults := ems.Expand(model, next.find); len(faults) > 0 && s.random.IntN(10) > 0 {
			continue
		} else if len(faults) > 0 {
			sound = false
		}
		next.models[model.ID] = model
		models = append(models, model)
	}
	version, _, err := s.db.ModelsVersion(ctx)
	if err != nil {
		return err
	}
	err = s.db.ReplaceModels(ctx, version, templates, models)
	if sound != (err == nil) {
		return fmt.Errorf("replaced by %+v and %+v: %w, want sound %v", templates, models, err, sound)
	}
	if err == nil {
		s.plain = next
	}
	return s.checkModels(ctx)
}

// lookUp asks which models name a point.
func (s *mixedSite) lookUp(ctx context.Context) error {
	ref := s.ref()
	found, err := s.db.ModelsOfPoint(ctx, ref)
	if err != nil {
		return err
	}
	var want []rtdb.ModelName
	for id, model := range s.plain.models {
		expansion, _ := ems.Expand(model, s.plain.find)
		for _, field := range slices.Concat(expansion.Data, expansion.Action) {
			if field.Point == ref {
				want = append(want, rtdb.ModelName{Model: id, Name: field.Name})
			}
		}
	}
	byName := func(a, b rtdb.ModelName) int {
		if a.Model+":"+a.Name < b.Model+":"+b.Name {
			return -1
		}
		return 1
	}
	slices.SortFunc(found, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(found, want) {
		return fmt.Errorf("%s leads to %v, want %v", ref, found, want)
	}
	return nil
}

// checkModels compares the lists, and the expansion of every model.
func (s *mixedSite) checkModels(ctx context.Context) error {
	listed, next, err := s.db.Models(ctx, "", mixedModels+1, rtdb.ModelFilter{})
	if err != nil || next != "" {
		return fmt.Errorf("models: next %q: %w", next, err)
	}
	var ids []string
	for _, model := range listed {
		ids = append(ids, model.ID)
		if difference := sameJSON(s.plain.models[model.ID], model); difference != "" {
			return fmt.Errorf("model %s (-want +got):\n%s", model.ID, difference)
		}
		expected, _ := ems.Expand(model, s.plain.find)
		got, err := s.db.ExpandModel(ctx, model.ID)
		if err != nil {
			return err
		}
		if difference := sameJSON(expected, got); difference != "" {
			return fmt.Errorf("expansion of %s (-want +got):\n%s", model.ID, difference)
		}
	}
	if difference := cmp.Diff(slices.Sorted(maps.Keys(s.plain.models)), ids); difference != "" {
		return fmt.Errorf("models (-want +got):\n%s", difference)
	}
	templates, err := s.db.Templates(ctx, "", mixedTemplates+1, "")
	if err != nil {
		return err
	}
	ids = nil
	for _, template := range templates {
		ids = append(ids, template.ID)
	}
	if difference := cmp.Diff(slices.Sorted(maps.Keys(s.plain.templates)), ids); difference != "" {
		return fmt.Errorf("templates (-want +got):\n%s", difference)
	}
	return nil
}

// checkAll compares everything at the end.
func (s *mixedSite) checkAll(ctx context.Context) error {
	if err := s.checkModels(ctx); err != nil {
		return err
	}
	for ref := range s.points {
		values, err := s.db.ReadPoints(ctx, ref.Channel, ref.Type, []ems.PointID{ref.Point})
		if err != nil {
			return err
		}
		if want, _ := s.now(ref); values[0] != want {
			return fmt.Errorf("at the end %s is %+v, want %+v", ref, values[0], want)
		}
	}
	return nil
}
