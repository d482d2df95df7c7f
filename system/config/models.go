package config

import (
	"fmt"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// maxModels bounds the models of a site: what the function library takes.
const maxModels = 5000

func (s *siteReader) readModels(site *Site) {
	var file struct {
		Models []ems.Model `yaml:"models"`
	}
	doc, ok := readDocument(s.path("models.yaml"), "models.yaml", &file, &s.faults)
	if !ok {
		return
	}
	if len(file.Models) > maxModels {
		doc.add([]any{"models"}, "%d models are more than the %d that fit", len(file.Models), maxModels)
		return
	}
	known := site.pointIndex()
	seen := map[string]int{}
	for i, model := range file.Models {
		at := []any{"models", i}
		if first, twice := seen[model.ID]; twice {
			doc.add(append(at, "id"), "%q is already the id of models[%d]", model.ID, first)
		}
		seen[model.ID] = i
		if _, found := site.Template(model.Template); model.Template != "" && !found {
			doc.addReference(templateFiles, append(at, "template"), "no template %q in templates/ or in the library", model.Template)
			continue
		}
		if s.unsound[model.Template] {
			continue
		}
		expansion, faults := ems.Expand(model, site.Template)
		for _, fault := range faults {
			doc.add(append(at, fault.Path...), "%s", fault.Message)
		}
		if len(faults) > 0 {
			continue
		}
		if err := checkStored(model); err != nil {
			doc.add(at, "%v", err)
		}
		for _, fault := range pointFaults(site, &model, expansion, func(ref ems.PointRef) bool { return known[ref] }) {
			doc.addReference(pointTables, append(at, fault.Path...), "%s", fault.Message)
		}
	}
	site.Models = file.Models
}

// pointIndex returns every point of the site.
func (s *Site) pointIndex() map[ems.PointRef]bool {
	points := map[ems.PointRef]bool{}
	for _, channel := range s.Channels {
		for _, point := range channel.Points {
			points[ems.PointRef{Channel: channel.ID, Type: point.Type, Point: point.ID}] = true
		}
	}
	return points
}

// PointFaults returns what an expanded model names that this site does not have;
// the paths begin at the model.
func (s *Site) PointFaults(model *ems.Model, expansion ems.Expansion) []ems.Fault {
	return pointFaults(s, model, expansion, func(ref ems.PointRef) bool {
		_, found := s.Point(ref)
		return found
	})
}

func pointFaults(site *Site, model *ems.Model, expansion ems.Expansion, known func(ems.PointRef) bool) []ems.Fault {
	var faults []ems.Fault
	add := func(message string, path ...any) {
		faults = append(faults, ems.Fault{Path: append([]any{"mapping"}, path...), Message: message})
	}
	_, found := site.Channel(model.Mapping.Channel)
	if !found {
		add(fmt.Sprintf("the site has no channel %d", model.Mapping.Channel), "channel")
	}
	var moved []string
	for _, list := range []struct {
		name    string
		fields  []ems.ExpandedField
		mapping map[string]ems.ModelPoint
	}{{"data", expansion.Data, model.Mapping.Data}, {"action", expansion.Action, model.Mapping.Action}} {
		for _, field := range list.fields {
			if known(field.Point) || !found && field.Point.Channel == model.Mapping.Channel {
				continue
			}
			if _, given := list.mapping[field.Name]; given {
				add(fmt.Sprintf("the site has no point %s", field.Point), list.name, field.Name)
			} else {
				moved = append(moved, fmt.Sprintf("%s (%s)", field.Point, field.Name))
			}
		}
	}
	if len(moved) > 0 {
		add(fmt.Sprintf("the site has no point %s: name the points of the model in data and action, or give the channel all that the template counts", someOf(moved)), "offset")
	}
	return faults
}

// someOf writes the first few of a list.
func someOf(texts []string) string {
	const few = 5
	if len(texts) <= few {
		return strings.Join(texts, ", ")
	}
	return strings.Join(texts[:few], ", ") + fmt.Sprintf(" and %d more", len(texts)-few)
}
