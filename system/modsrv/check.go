package modsrv

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// checkThere refuses to make what is there and to replace what is not. found is
// the error with which it was looked for.
func checkThere(what, id string, replaces bool, found error) error {
	switch {
	case replaces || found != nil && ems.CodeOf(found) != ems.CodeNotFound:
		return found
	case found == nil:
		return ems.Errorf(ems.CodeConflict, "there is a %s %q already: replace it with PUT", what, id)
	default:
		return nil
	}
}

func pathID(c echo.Context, what string) (string, error) {
	id := c.Param("id")
	return id, ems.CheckID(what+" id", id)
}

// namedID returns the id under which a thing is stored: the one in its body, the
// one in the path, or a new one. Where both are given they must agree.
func namedID(what, inPath, inBody string) (string, error) {
	switch {
	case inPath != "" && inBody != "" && inPath != inBody:
		return "", ems.Errorf(ems.CodeInvalid, "%s id %q in the body is not %q as in the path", what, inBody, inPath)
	case inPath != "":
		return inPath, nil
	case inBody != "":
		return inBody, ems.CheckID(what+" id", inBody)
	default:
		return ems.APIPrefix + strings.ToLower(rand.Text()), nil
	}
}

// checkOwner refuses to change what was not made through the API. created says
// that there need not be anything of that id yet.
func (s *Service) checkOwner(what, id string, created bool) error {
	if ems.MadeByAPI(id) {
		return nil
	}
	folder := s.folder.Load()
	if what == "model" && slices.ContainsFunc(folder.Models, func(model ems.Model) bool { return model.ID == id }) {
		return ems.Errorf(ems.CodeConflict, "model %q belongs to the site folder: change it in models.yaml, then POST /api/models/reload", id)
	}
	if _, found := folder.Template(id); what == "template" && found {
		if s.originOf(id) == originLibrary {
			return ems.Errorf(ems.CodeConflict, "template %q belongs to the library: extend it, or put one of that id into templates/, then POST /api/models/reload", id)
		}
		return ems.Errorf(ems.CodeConflict, "template %q belongs to the site folder: change it in templates/, then POST /api/models/reload", id)
	}
	if !created {
		return ems.Errorf(ems.CodeNotFound, "no %s %q was made through the API", what, id)
	}
	return ems.Errorf(ems.CodeInvalid, "%s id %q: what is made through the API has an id that begins with %q, for example %q, or none, then it gets one; the others belong to the site folder",
		what, id, ems.APIPrefix, ems.APIPrefix+id)
}

// lookup finds templates as they are stored, but for those that it was given.
type lookup struct {
	find func(id string) (ems.Template, bool)
	err  error // of the first template that could not be asked for
}

func (s *Service) lookup(ctx context.Context, given ...ems.Template) *lookup {
	known := map[string]*ems.Template{}
	for i := range given {
		known[given[i].ID] = &given[i]
	}
	look := &lookup{}
	look.find = func(id string) (ems.Template, bool) {
		if template, asked := known[id]; asked && template != nil {
			return *template, true
		} else if asked || look.err != nil || ems.CheckID("template id", id) != nil {
			return ems.Template{}, false
		}
		template, err := s.db.Template(ctx, id)
		switch {
		case err == nil:
			known[id] = &template
		case ems.CodeOf(err) == ems.CodeNotFound:
			known[id] = nil
		default:
			look.err = err
		}
		return template, err == nil
	}
	return look
}

// inUse returns a folder with the channels made through the API; fault says
// afterwards why one could not be asked for.
func (s *Service) inUse(ctx context.Context, folder *config.Site) (site *config.Site, fault *error) {
	fault = new(error)
	return folder.BesideMade(func(id ems.ChannelID) (string, bool) {
		made, found, err := s.db.MadeChannel(ctx, id)
		if err != nil {
			*fault = err
		}
		return made.Document, found
	}), fault
}

// expand returns a model with all that its template says, or what is wrong with
// it on a site.
func expand(site *config.Site, model *ems.Model, find func(id string) (ems.Template, bool)) (ems.Expansion, []ems.Fault) {
	expansion, faults := ems.Expand(*model, find)
	if len(faults) == 0 {
		faults = site.PointFaults(model, expansion)
	}
	return expansion, faults
}

// checkModel returns what a model would expand to.
func (s *Service) checkModel(ctx context.Context, model *ems.Model) (ems.Expansion, error) {
	look := s.lookup(ctx)
	site, fault := s.inUse(ctx, s.folder.Load())
	expansion, faults := expand(site, model, look.find)
	if err := errors.Join(look.err, *fault); err != nil {
		return ems.Expansion{}, err
	}
	return expansion, ems.Refuse("model "+strconv.Quote(model.ID), faults)
}

// maxFollowers bounds the templates and models that one template changes: what the
// function library takes.
const maxFollowers = 1000

// checkTemplate returns what the models that follow a template would expand to.
// CONFLICT when some of them, or of the templates that extend it, would no longer
// fit.
func (s *Service) checkTemplate(ctx context.Context, template ems.Template) ([]ems.Expansion, error) {
	look := s.lookup(ctx, template)
	if err := ems.Refuse("template "+strconv.Quote(template.ID), ems.CheckTemplate(template, look.find)); err != nil || look.err != nil {
		if look.err != nil {
			err = look.err
		}
		return nil, err
	}
	site, fault := s.inUse(ctx, s.folder.Load())
	expansions, count := []ems.Expansion{}, 0
	var details []string
	unfit := func(what, id string, faults []ems.Fault) {
		for _, fault := range faults {
			details = append(details, what+" "+id+": "+fault.String())
		}
	}
	for waiting := []string{template.ID}; len(waiting) > 0; waiting = waiting[1:] {
		templates, models, err := s.followers(ctx, waiting[0])
		if err != nil {
			return nil, err
		}
		for _, follower := range templates {
			unfit("template", follower.ID, ems.CheckTemplate(follower, look.find))
			waiting = append(waiting, follower.ID)
		}
		for _, follower := range models {
			expansion, faults := expand(site, &follower, look.find)
			unfit("model", follower.ID, faults)
			expansions = append(expansions, expansion)
		}
		if count += len(templates) + len(models); count > maxFollowers {
			return nil, ems.Errorf(ems.CodeConflict, "more than %d templates and models follow template %q: give some of them a template of their own before", maxFollowers, template.ID)
		}
	}
	if err := errors.Join(look.err, *fault); err != nil || len(details) == 0 {
		return expansions, err
	}
	return nil, &ems.Error{Code: ems.CodeConflict, Details: details,
		Message: "template " + strconv.Quote(template.ID) + " is in use, and what follows it would no longer fit: " + details[0]}
}

// followers returns the templates that extend a template directly, and its models.
func (s *Service) followers(ctx context.Context, template string) ([]ems.Template, []ems.Model, error) {
	templates, err := s.allTemplates(ctx, template)
	if err != nil {
		return nil, nil, err
	}
	models, err := s.allModels(ctx, rtdb.ModelFilter{Template: template})
	return templates, models, err
}
