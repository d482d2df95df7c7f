package modsrv

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// maxAttempts bounds how often the whole is prepared while others change it
// meanwhile.
const maxAttempts = 5

// differences are ids, in order.
type differences struct {
	Added   []string `json:"added"`
	Changed []string `json:"changed"` // in what they say themselves: a model does not change with its template
	Removed []string `json:"removed"`
}

func (d differences) none() bool { return len(d.Added)+len(d.Changed)+len(d.Removed) == 0 }

// applied says what became different when a folder was put in use.
type applied struct {
	DryRun    bool            `json:"dry_run"` // it would have become so
	Templates differences     `json:"templates"`
	Models    differences     `json:"models"`
	Channels  []ems.ChannelID `json:"channels,omitempty"` // that are others, which comsrv and rulesrv find out with reloads of their own
}

// store puts the site folder in use each time a Redis newly appears.
func (s *Service) store(ctx context.Context) error {
	s.expansions.forget()
	return s.change(ctx, func() error {
		s.notePending("they are being stored in redis")
		_, err := s.apply(ctx, s.folder.Load(), false)
		if err != nil {
			s.notePending(err.Error())
			return err
		}
		s.pending.Store(nil)
		return nil
	})
}

// reload reads the site folder again and puts its templates and models in use,
// all of them or none. With ?dry_run=true it tells what would become different.
func (s *Service) reload(c echo.Context) error {
	dryRun, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	var reply applied
	err = s.change(ctx, func() error {
		folder, err := s.readSite()
		if err != nil {
			return err
		}
		if err := checkFolder(folder); err != nil {
			return err
		}
		former := s.folder.Load()
		if folder.Namespace != former.Namespace {
			return ems.Errorf(ems.CodeConflict, "site.yaml now names the namespace %q, and the services run with %q: restart all of them",
				folder.Namespace.Site(), former.Namespace.Site())
		}
		if reply, err = s.apply(ctx, folder, dryRun); err != nil {
			return err
		}
		reply.Channels = otherChannels(former.Channels, folder.Channels)
		if !dryRun {
			s.folder.Store(folder)
			s.pending.Store(nil)
			s.logger.Info("site folder reloaded", "templates", reply.Templates, "models", reply.Models)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return httpserver.OK(c, reply)
}

// otherChannels returns which channels two folders do not have in common.
func otherChannels(former, folder []config.Channel) []ems.ChannelID {
	different := map[ems.ChannelID]bool{}
	note := func(channels, others []config.Channel) {
		for _, channel := range channels {
			if !slices.ContainsFunc(others, func(other config.Channel) bool { return reflect.DeepEqual(channel, other) }) {
				different[channel.ID] = true
			}
		}
	}
	note(former, folder)
	note(folder, former)
	return slices.Sorted(maps.Keys(different))
}

// checkFolder refuses templates and models of a site folder whose ids are kept
// for the API.
func checkFolder(folder *config.Site) error {
	var faults []string
	for _, template := range folder.Templates {
		if ems.MadeByAPI(template.ID) {
			faults = append(faults, "templates/: template id "+strconv.Quote(template.ID))
		}
	}
	for _, model := range folder.Models {
		if ems.MadeByAPI(model.ID) {
			faults = append(faults, "models.yaml: model id "+strconv.Quote(model.ID))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	for i := range faults {
		faults[i] += " begins with " + strconv.Quote(ems.APIPrefix) + ", which is kept for what is made through the API: rename it"
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: strings.Join(faults, "; "), Details: faults}
}

// apply puts the templates and models of a folder in use, the library of
// templates and what was made through the API beside them, and nothing else. On
// an error nothing is changed. Where nothing is different nothing is stored.
func (s *Service) apply(ctx context.Context, folder *config.Site, dryRun bool) (applied, error) {
	for attempt := 1; ; attempt++ {
		version, current, err := s.db.ModelsVersion(ctx)
		if err != nil {
			return applied{}, err
		}
		stored, err := s.readStored(ctx)
		if err != nil {
			return applied{}, err
		}
		wanted := withOwn(folder, stored)
		if err := s.checkOwn(ctx, wanted); err != nil {
			return applied{}, err
		}
		result := applied{DryRun: dryRun}
		templates := wanted.AllTemplates()
		if result.Templates, err = compare(stored.Templates, templates, func(t ems.Template) string { return t.ID }); err != nil {
			return applied{}, err
		}
		if result.Models, err = compare(stored.Models, wanted.Models, func(m ems.Model) string { return m.ID }); err != nil {
			return applied{}, err
		}
		if dryRun || current && result.Templates.none() && result.Models.none() {
			return result, nil
		}
		// Once begun it is brought to an end, whether or not anybody waits for it.
		err = s.db.ReplaceModels(context.WithoutCancel(ctx), version, templates, wanted.Models)
		again := ems.CodeOf(err) == ems.CodeConflict || ems.CodeOf(err) == ems.CodeUnavailable // then whether it was done is not known
		if err == nil || !again || attempt == maxAttempts {
			return result, err
		}
	}
}

// readStored returns all templates and models in use, as those of a site.
func (s *Service) readStored(ctx context.Context) (*config.Site, error) {
	templates, err := s.allTemplates(ctx, "")
	if err != nil {
		return nil, err
	}
	models, err := s.allModels(ctx, rtdb.ModelFilter{})
	return &config.Site{Templates: templates, Models: models}, err
}

// allTemplates returns the templates that extend one directly, or all.
func (s *Service) allTemplates(ctx context.Context, extends string) ([]ems.Template, error) {
	var all []ems.Template
	for after := ""; ; {
		page, err := s.db.Templates(ctx, after, httpserver.LargestPage, extends)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < httpserver.LargestPage {
			return all, nil
		}
		after = page[len(page)-1].ID
	}
}

func (s *Service) allModels(ctx context.Context, filter rtdb.ModelFilter) ([]ems.Model, error) {
	var all []ems.Model
	for after := ""; ; {
		page, next, err := s.db.Models(ctx, after, httpserver.LargestPage, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" {
			return all, nil
		}
		after = next
	}
}

// withOwn returns a folder with the templates and models added that were made
// through the API.
func withOwn(folder, stored *config.Site) *config.Site {
	wanted := *folder
	wanted.Templates, wanted.Models = slices.Clone(folder.Templates), slices.Clone(folder.Models)
	for _, template := range stored.Templates {
		if ems.MadeByAPI(template.ID) {
			wanted.Templates = append(wanted.Templates, template)
		}
	}
	for _, model := range stored.Models {
		if ems.MadeByAPI(model.ID) {
			wanted.Models = append(wanted.Models, model)
		}
	}
	return &wanted
}

// checkOwn refuses a folder that what was made through the API does not fit any
// more, and says how to mend that.
func (s *Service) checkOwn(ctx context.Context, wanted *config.Site) error {
	site, fault := s.inUse(ctx, wanted)
	var details []string
	refuse := func(what, path, id string, faults []ems.Fault) {
		for _, fault := range faults {
			details = append(details, what+" "+id+": "+fault.String()+"; change it with PUT "+path+id+", or take it away with DELETE "+path+id)
		}
	}
	for _, template := range wanted.Templates {
		if ems.MadeByAPI(template.ID) {
			refuse("template", "/api/templates/", template.ID, ems.CheckTemplate(template, wanted.Template))
		}
	}
	for _, model := range wanted.Models {
		if ems.MadeByAPI(model.ID) {
			_, faults := expand(site, &model, wanted.Template)
			refuse("model", "/api/models/", model.ID, faults)
		}
	}
	if *fault != nil || len(details) == 0 {
		return *fault
	}
	return &ems.Error{Code: ems.CodeConflict, Details: details,
		Message: "the site folder is not put in use, because what was made through the API does not fit it: " + details[0]}
}

// compare tells what becomes different when things replace those stored.
func compare[T any](stored, wanted []T, id func(T) string) (differences, error) {
	result := differences{Added: []string{}, Changed: []string{}, Removed: []string{}}
	before := make(map[string]string, len(stored))
	for _, thing := range stored {
		text, err := storedText(thing)
		if err != nil {
			return result, err
		}
		before[id(thing)] = text
	}
	for _, thing := range wanted {
		text, err := storedText(thing)
		if err != nil {
			return result, err
		}
		switch old, found := before[id(thing)]; {
		case !found:
			result.Added = append(result.Added, id(thing))
		case old != text:
			result.Changed = append(result.Changed, id(thing))
		}
		delete(before, id(thing))
	}
	for name := range before {
		result.Removed = append(result.Removed, name)
	}
	for _, ids := range [][]string{result.Added, result.Changed, result.Removed} {
		slices.Sort(ids)
	}
	return result, nil
}

// storedText is how a thing reads after it was stored: what a YAML file says may
// be written otherwise than what was read from JSON.
func storedText[T any](thing T) (string, error) {
	text, err := json.Marshal(thing)
	if err != nil {
		return "", ems.Errorf(ems.CodeInvalid, "this cannot be stored: %w", err)
	}
	var stored T
	if err := json.Unmarshal(text, &stored); err != nil {
		return "", ems.Errorf(ems.CodeInvalid, "this cannot be stored: %w", err)
	}
	text, err = json.Marshal(stored)
	return string(text), err
}
