package modsrv

import (
	"crypto/rand"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// maxNames bounds the data and the actions of one model, each.
const maxNames = 1000

// listModels replies with models in the order of their ids: at most ?limit=,
// those after the id ?after=.
func (s *Service) listModels(c echo.Context) error {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	models, err := s.db.Models(c.Request().Context(), after, limit)
	if err != nil {
		return err
	}
	return httpserver.OK(c, models)
}

func (s *Service) getModel(c echo.Context) error {
	id, err := modelID(c)
	if err != nil {
		return err
	}
	model, err := s.db.Model(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.OK(c, model)
}

// putModel creates a model, or replaces one that was made here. A model without
// id gets one.
func (s *Service) putModel(c echo.Context) error {
	var model ems.Model
	if err := httpserver.Body(c, &model); err != nil {
		return err
	}
	if model.ID == "" {
		model.ID = ems.APIPrefix + strings.ToLower(rand.Text())
	}
	if err := s.checkModel(c, &model); err != nil {
		return err
	}
	if err := s.db.UpsertModel(c.Request().Context(), model); err != nil {
		return err
	}
	return httpserver.Created(c, model)
}

func (s *Service) deleteModel(c echo.Context) error {
	id, err := modelID(c)
	if err != nil {
		return err
	}
	if s.ofSite(id) {
		return ems.Errorf(ems.CodeConflict, "model %q belongs to the site folder: take it out of models.yaml and restart", id)
	}
	if err := s.db.DeleteModel(c.Request().Context(), id); err != nil {
		return err
	}
	return httpserver.OK(c, map[string]string{"id": id})
}

// modelsOfPoint replies with every model name that a point has.
func (s *Service) modelsOfPoint(c echo.Context) error {
	ref, err := ems.ParsePointRef("comsrv:" + c.Param("channel") + ":" + c.Param("type") + ":" + c.Param("point"))
	if err != nil {
		return err
	}
	names, err := s.db.ModelsOfPoint(c.Request().Context(), ref)
	if err != nil {
		return err
	}
	return httpserver.OK(c, names)
}

func modelID(c echo.Context) (string, error) {
	id := c.Param("id")
	return id, ems.CheckID("model id", id)
}

// checkOwner refuses an id that belongs to the site folder: what is made under
// it would be gone after the next start.
func checkOwner(id string) error {
	if ems.MadeByAPI(id) {
		return nil
	}
	return ems.Errorf(ems.CodeInvalid, "model id %q: a model made through the API has an id that begins with %q, for example %q, or none, then it gets one; the others belong to models.yaml",
		id, ems.APIPrefix, ems.APIPrefix+id)
}

// checkModel applies to a model what the site folder's models must keep.
func (s *Service) checkModel(c echo.Context, model *ems.Model) error {
	if err := ems.CheckID("model id", model.ID); err != nil {
		return err
	}
	if err := checkOwner(model.ID); err != nil {
		return err
	}
	if _, found := s.site.Channel(model.Mapping.Channel); !found {
		return ems.Errorf(ems.CodeInvalid, "mapping.channel: the site has no channel %d", model.Mapping.Channel)
	}
	var template ems.Template
	if model.Template != "" {
		if err := ems.CheckID("template id", model.Template); err != nil {
			return err
		}
		found, err := s.db.Template(c.Request().Context(), model.Template)
		if ems.CodeOf(err) == ems.CodeNotFound {
			return ems.Errorf(ems.CodeInvalid, "template: there is no template %q", model.Template)
		} else if err != nil {
			return err
		}
		template = found
	}
	check := mappingCheck{site: s.site, channel: model.Mapping.Channel, templated: model.Template != ""}
	check.names("mapping.data", model.Mapping.Data, template.Data, ems.Telemetry, false)
	check.names("mapping.action", model.Mapping.Action, template.Action, ems.Control, true)
	return check.err(model.ID)
}

// mappingCheck gathers every fault of a mapping, so that a person mends them in
// one go.
type mappingCheck struct {
	site      *config.Site
	channel   ems.ChannelID
	templated bool
	faults    []string
}

func (m *mappingCheck) names(at string, mapping map[string]ems.ModelPoint, fields []ems.TemplateField, fallback ems.PointType, writes bool) {
	if len(mapping) > maxNames {
		m.faults = append(m.faults, at+": more than "+strconv.Itoa(maxNames)+" names")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(mapping)) {
		if fault := m.name(name, mapping[name], fields, fallback, writes); fault != nil {
			m.faults = append(m.faults, at+"."+name+": "+fault.Error())
		}
	}
}

func (m *mappingCheck) name(name string, point ems.ModelPoint, fields []ems.TemplateField, fallback ems.PointType, writes bool) error {
	if err := ems.CheckID("name", name); err != nil {
		return err
	}
	if m.templated && !slices.ContainsFunc(fields, func(f ems.TemplateField) bool { return f.Name == name }) {
		return ems.Errorf(ems.CodeInvalid, "the template has no %q", name)
	}
	ref, err := point.Resolve(m.channel, fallback)
	if err != nil {
		return err
	}
	if _, found := m.site.Point(ref); !found {
		return ems.Errorf(ems.CodeInvalid, "the site has no point %s", ref)
	}
	if writes && !ref.Type.Writable() {
		return ems.Errorf(ems.CodeInvalid, "%s cannot be written: an action names a control (C) or an adjustment (A)", ref)
	}
	return nil
}

func (m *mappingCheck) err(id string) error {
	if len(m.faults) == 0 {
		return nil
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: "model " + id + " cannot be used: " + m.faults[0], Details: m.faults}
}
