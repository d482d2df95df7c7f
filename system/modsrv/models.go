package modsrv

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// listModels replies with models in the order of their ids: at most ?limit=,
// those after the id ?after=, with ?template= and ?channel= those of them alone.
// With both a page may be short, and there is a next one as long as that is named.
func (s *Service) listModels(c echo.Context) error {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	filter := rtdb.ModelFilter{Template: c.QueryParam("template")}
	if filter.Template != "" {
		if err := ems.CheckID("template", filter.Template); err != nil {
			return err
		}
	}
	if text := c.QueryParam("channel"); text != "" {
		if filter.Channel, err = ems.ParseChannelID(text); err != nil {
			return err
		}
	}
	models, next, err := s.db.Models(c.Request().Context(), after, limit, filter)
	if err != nil {
		return err
	}
	return httpserver.OKPage(c, models, next)
}

func (s *Service) getModel(c echo.Context) error {
	id, err := pathID(c, "model")
	if err != nil {
		return err
	}
	model, err := s.db.Model(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.OK(c, model)
}

// expandModel replies with a model and all that its templates say.
func (s *Service) expandModel(c echo.Context) error {
	id, err := pathID(c, "model")
	if err != nil {
		return err
	}
	expansion, err := s.db.ExpandModel(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.OK(c, expansion)
}

// postModel creates a model. A model without id gets one.
func (s *Service) postModel(c echo.Context) error { return s.storeModel(c, "", http.StatusCreated) }

// putModel replaces a model that was made here.
func (s *Service) putModel(c echo.Context) error {
	id, err := pathID(c, "model")
	if err != nil {
		return err
	}
	return s.storeModel(c, id, http.StatusOK)
}

// storeModel stores the model of a body under the id of the path, if there is
// one. The reply of a dry run is what the model would expand to.
func (s *Service) storeModel(c echo.Context, id string, status int) error {
	dryRun, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	var model ems.Model
	if err := httpserver.Body(c, &model); err != nil {
		return err
	}
	existing := id != ""
	if model.ID, err = namedID("model", id, model.ID); err != nil {
		return err
	}
	if err := s.checkOwner("model", model.ID, !existing); err != nil {
		return err
	}
	ctx := c.Request().Context()
	var expansion ems.Expansion
	err = s.change(ctx, func() error {
		_, err := s.db.Model(ctx, model.ID)
		if err := checkThere("model", model.ID, existing, err); err != nil {
			return err
		}
		if _, err = s.checkModel(ctx, &model); err != nil {
			return err
		}
		if dryRun {
			expansion, err = s.db.TryModel(ctx, model)
			return err
		}
		return s.db.UpsertModel(ctx, model)
	})
	switch {
	case err != nil:
		return err
	case dryRun:
		return httpserver.OK(c, expansion)
	case status == http.StatusCreated:
		return httpserver.Created(c, model)
	default:
		return httpserver.OK(c, model)
	}
}

// deleteModel removes a model that was made here.
func (s *Service) deleteModel(c echo.Context) error {
	id, err := pathID(c, "model")
	if err != nil {
		return err
	}
	if err := s.checkOwner("model", id, false); err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := s.change(ctx, func() error { return s.db.DeleteModel(ctx, id) }); err != nil {
		return err
	}
	return httpserver.OK(c, map[string]string{"id": id})
}

// modelsOfPoint replies with every name that a point has, in the order of the
// models.
func (s *Service) modelsOfPoint(c echo.Context) error {
	ref, err := ems.ParsePointRef("comsrv:" + c.Param("channel") + ":" + c.Param("type") + ":" + c.Param("point"))
	if err != nil {
		return err
	}
	names, err := s.db.ModelsOfPoint(c.Request().Context(), ref)
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b rtdb.ModelName) int {
		return cmp.Or(strings.Compare(a.Model, b.Model), strings.Compare(a.Name, b.Name))
	})
	return httpserver.OK(c, names)
}
