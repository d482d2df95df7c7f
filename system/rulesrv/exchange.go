package rulesrv

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// changes says what storing rules would make, or has made, of those in use.
type changes struct {
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Removed []string `json:"removed"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

// compare lists what differs, in the order of the rules.
func compare(before, after []ems.Rule) changes {
	found := changes{Added: []string{}, Changed: []string{}, Removed: []string{}}
	former, latter := placesOf(before), placesOf(after)
	for _, rule := range after {
		switch i, known := former[rule.ID]; {
		case !known:
			found.Added = append(found.Added, rule.ID)
		case !sameRule(before[i], rule):
			found.Changed = append(found.Changed, rule.ID)
		}
	}
	for _, rule := range before {
		if _, stays := latter[rule.ID]; !stays {
			found.Removed = append(found.Removed, rule.ID)
		}
	}
	return found
}

// sameRule compares what Redis would keep.
func sameRule(a, b ems.Rule) bool {
	first, errFirst := json.Marshal(a)
	second, errSecond := json.Marshal(b)
	return errFirst == nil && errSecond == nil && bytes.Equal(first, second)
}

// reload reads the site folder anew and puts its rules in use, all or none; with
// ?dry_run=true the reply only says what would change. A rule that stays the same
// keeps its state. Rules may name the channels of that folder from now on.
func (s *Service) reload(c echo.Context) error {
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	s.changing.Lock() // before the folder is read: of two reloads the later one reads the newer folder
	defer s.changing.Unlock()
	folder, err := s.readSite()
	if err != nil {
		return err
	}
	if former := s.folder.Load(); folder.Namespace != former.Namespace {
		return ems.Errorf(ems.CodeConflict, "site.yaml now names the namespace %q, and the services run with %q: restart all of them",
			folder.Namespace.Site(), former.Namespace.Site())
	}
	rules := folder.Rules
	if err := checkSiteIDs(rules); err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := s.checkTogether(ctx, folder, rules, ems.MadeByAPI); err != nil {
		return err
	}
	found := compare(s.siteRules(), rules)
	found.DryRun = dry
	if dry {
		return httpserver.OK(c, found)
	}
	if _, err := s.replaceSiteRules(ctx, rules); err != nil {
		return err
	}
	s.folder.Store(folder)
	s.mu.Lock()
	s.rules = rules
	s.mu.Unlock()
	if err := s.schedule(ctx); err != nil {
		return err
	}
	s.logger.Info("rules reloaded", "added", found.Added, "changed", found.Changed, "removed", found.Removed)
	return httpserver.OK(c, found)
}

// exported is the form of rules.yaml.
type exported struct {
	Rules []ems.Rule `yaml:"rules"`
}

// exportRules replies with all rules as YAML, in the form of rules.yaml.
func (s *Service) exportRules(c echo.Context) error {
	states, err := s.storedRules(c.Request().Context())
	if err != nil {
		return err
	}
	file := exported{Rules: []ems.Rule{}}
	for _, state := range states {
		file.Rules = append(file.Rules, state.Rule)
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "application/yaml", text)
}

// isSiteRule reports whether a rule is one of the site folder, as it is there.
func (s *Service) isSiteRule(rule ems.Rule) bool {
	return slices.ContainsFunc(s.siteRules(), func(own ems.Rule) bool { return own.ID == rule.ID && sameRule(own, rule) })
}

// importRules stores rules that come as YAML, in the form of rules.yaml, under
// ids of the API: the whole text is taken, or nothing of it. Rules of the site
// folder that are as they are there are passed over.
func (s *Service) importRules(c echo.Context) error {
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(c.Request().Body)
	var refused *echo.HTTPError
	if errors.As(err, &refused) {
		return refused
	} else if err != nil {
		return ems.Errorf(ems.CodeInvalid, "the body cannot be read: %w", err)
	} else if len(bytes.TrimSpace(text)) == 0 || !utf8.Valid(text) {
		return ems.Errorf(ems.CodeInvalid, "the body is empty or no UTF-8: send rules as YAML, in the form of rules.yaml")
	}
	ctx := c.Request().Context()
	find, fault := s.modelsInUse(ctx)
	rules, err := s.pointsInUse(ctx, s.folder.Load(), fault).ParseRules("body", text, find)
	if *fault != nil {
		return *fault
	} else if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, s.isSiteRule) // what was exported holds them, too
	var owned []error
	for _, rule := range rules {
		owned = append(owned, checkOwner(rule.ID))
	}
	if err := errors.Join(owned...); err != nil {
		return ems.Errorf(ems.CodeInvalid, "%w", err)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.checkTogether(ctx, s.folder.Load(), rules, func(string) bool { return true }); err != nil {
		return err
	}
	states, err := s.storedRules(ctx)
	if err != nil {
		return err
	}
	var before []ems.Rule
	places := placesOf(rules)
	for _, state := range states {
		if _, replaced := places[state.Rule.ID]; replaced {
			before = append(before, state.Rule)
		}
	}
	found := compare(before, rules)
	found.DryRun = dry
	if dry {
		return httpserver.OK(c, found)
	}
	if err := s.upsertAll(ctx, rules); err != nil {
		return err
	}
	for i := range rules {
		if err := s.scheduleRule(ctx, &rules[i]); err != nil {
			return err
		}
	}
	return httpserver.OK(c, found)
}
