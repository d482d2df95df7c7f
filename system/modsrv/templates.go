package modsrv

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// origin is where a template comes from, and so where it can be changed.
type origin string

const (
	originLibrary origin = "library" // it comes with the product
	originSite    origin = "site"    // of the site folder
	originAPI     origin = "api"
)

// template is a template as the API shows and takes it; an origin that is given
// says nothing.
type template struct {
	ems.Template
	Origin origin `json:"origin"`
}

func (s *Service) originOf(id string) origin {
	if ems.MadeByAPI(id) {
		return originAPI
	}
	for _, own := range s.folder.Load().Templates {
		if own.ID == id {
			return originSite
		}
	}
	return originLibrary
}

func (s *Service) shown(found ems.Template) template {
	return template{Template: found, Origin: s.originOf(found.ID)}
}

// listTemplates replies with templates in the order of their ids: at most ?limit=,
// those after the id ?after=, and with ?extends= those that extend one directly.
func (s *Service) listTemplates(c echo.Context) error {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	extends := c.QueryParam("extends")
	if extends != "" {
		if err := ems.CheckID("extends", extends); err != nil {
			return err
		}
	}
	found, err := s.db.Templates(c.Request().Context(), after, limit, extends)
	if err != nil {
		return err
	}
	next := ""
	if len(found) == limit {
		next = found[limit-1].ID
	}
	templates := make([]template, len(found))
	for i, one := range found {
		templates[i] = s.shown(one)
	}
	return httpserver.OKPage(c, templates, next)
}

func (s *Service) getTemplate(c echo.Context) error {
	id, err := pathID(c, "template")
	if err != nil {
		return err
	}
	found, err := s.db.Template(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.OK(c, s.shown(found))
}

// postTemplate creates a template. One without id gets one.
func (s *Service) postTemplate(c echo.Context) error {
	return s.storeTemplate(c, "", http.StatusCreated)
}

// putTemplate replaces a template that was made here.
func (s *Service) putTemplate(c echo.Context) error {
	id, err := pathID(c, "template")
	if err != nil {
		return err
	}
	return s.storeTemplate(c, id, http.StatusOK)
}

// triedTemplate is the reply of a dry run: the template, and what every model
// that follows it would expand to.
type triedTemplate struct {
	Template template        `json:"template"`
	Models   []ems.Expansion `json:"models"`
}

// storeTemplate stores the template of a body under the id of the path, if there
// is one.
func (s *Service) storeTemplate(c echo.Context, id string, status int) error {
	dryRun, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	var body template
	if err := httpserver.Body(c, &body); err != nil {
		return err
	}
	existing := id != ""
	if body.ID, err = namedID("template", id, body.ID); err != nil {
		return err
	}
	if err := s.checkOwner("template", body.ID, !existing); err != nil {
		return err
	}
	ctx := c.Request().Context()
	tried := triedTemplate{Template: s.shown(body.Template)}
	err = s.change(ctx, func() error {
		_, err := s.db.Template(ctx, body.ID)
		if err := checkThere("template", body.ID, existing, err); err != nil {
			return err
		}
		if tried.Models, err = s.checkTemplate(ctx, body.Template); err != nil || dryRun {
			return err
		}
		return s.db.UpsertTemplate(ctx, body.Template)
	})
	switch {
	case err != nil:
		return err
	case dryRun:
		return httpserver.OK(c, tried)
	case status == http.StatusCreated:
		return httpserver.Created(c, tried.Template)
	default:
		return httpserver.OK(c, tried.Template)
	}
}

// deleteTemplate removes a template that was made here and that nothing follows.
func (s *Service) deleteTemplate(c echo.Context) error {
	id, err := pathID(c, "template")
	if err != nil {
		return err
	}
	if err := s.checkOwner("template", id, false); err != nil {
		return err
	}
	ctx := c.Request().Context()
	err = s.change(ctx, func() error {
		if err := s.checkUnused(ctx, id); err != nil {
			return err
		}
		return s.db.DeleteTemplate(ctx, id)
	})
	if err != nil {
		return err
	}
	return httpserver.OK(c, map[string]string{"id": id})
}

// checkUnused refuses to remove a template that is followed, and names every
// follower.
func (s *Service) checkUnused(ctx context.Context, id string) error {
	templates, models, err := s.followers(ctx, id)
	if err != nil || len(templates)+len(models) == 0 {
		return err
	}
	var details []string
	for _, follower := range templates {
		details = append(details, "template "+follower.ID)
	}
	for _, follower := range models {
		details = append(details, "model "+follower.ID)
	}
	return &ems.Error{Code: ems.CodeConflict, Details: details, Message: fmt.Sprintf(
		"template %s is in use by %d others, first by %s: change or delete them before", strconv.Quote(id), len(details), details[0])}
}
