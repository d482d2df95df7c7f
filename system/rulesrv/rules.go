package rulesrv

import (
	"crypto/rand"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// state is a rule and where it stands, as the API shows it.
type state struct {
	Rule      ems.Rule       `json:"rule"`
	Status    ems.RuleStatus `json:"status"` // idle, pending, active, clearing or disabled
	Since     time.Time      `json:"since,omitzero"`
	Fired     int64          `json:"fired"` // how often it became active
	LastFired time.Time      `json:"last_fired,omitzero"`
}

func shown(found rtdb.RuleState) state {
	return state{Rule: found.Rule, Status: found.Status, Since: found.Since, Fired: found.Fired, LastFired: found.LastFire}
}

// listRules replies with rules in the order of their ids: at most ?limit=, those
// after the id ?after=.
func (s *Service) listRules(c echo.Context) error {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	found, err := s.db.Rules(c.Request().Context(), after, limit)
	if err != nil {
		return err
	}
	states := make([]state, len(found))
	for i, rule := range found {
		states[i] = shown(rule)
	}
	next := ""
	if len(found) == limit {
		next = found[limit-1].Rule.ID
	}
	return httpserver.OKPage(c, states, next)
}

func (s *Service) getRule(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	return s.replyRule(c, id)
}

// putRule creates a rule, or replaces one that was made here. A rule without id
// gets one.
func (s *Service) putRule(c echo.Context) error {
	var rule ems.Rule
	if err := httpserver.Body(c, &rule); err != nil {
		return err
	}
	if id := c.Param("id"); id != "" {
		if rule.ID != "" && rule.ID != id {
			return ems.Errorf(ems.CodeInvalid, "the rule calls itself %q and the path %q: write one id", rule.ID, id)
		}
		rule.ID = id
	}
	if rule.ID == "" {
		rule.ID = ems.APIPrefix + strings.ToLower(rand.Text())
	}
	if err := config.CheckRule(&rule); err != nil {
		return err
	}
	if err := checkOwner(rule.ID); err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := s.check(ctx, &rule); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.checkTogether(ctx, s.folder.Load(), []ems.Rule{rule}, func(string) bool { return true }); err != nil {
		return err
	}
	if c.Request().Method == http.MethodPost {
		if _, err := s.db.Rule(ctx, rule.ID); err == nil {
			return ems.Errorf(ems.CodeConflict, "there is a rule %q already: PUT /api/rules/%s replaces it", rule.ID, rule.ID)
		} else if ems.CodeOf(err) != ems.CodeNotFound {
			return err
		}
	}
	if err := s.db.UpsertRuleBy(ctx, rule, c.QueryParam("by")); err != nil {
		return err
	}
	if err := s.scheduleRule(ctx, &rule); err != nil {
		return err
	}
	found, err := s.db.Rule(ctx, rule.ID)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodPut {
		return httpserver.OK(c, shown(found))
	}
	return httpserver.Created(c, shown(found))
}

func (s *Service) deleteRule(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	if s.ofSite(id) {
		return ems.Errorf(ems.CodeConflict, "rule %q belongs to the site folder: take it out of rules.yaml and reload, or disable it", id)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.db.DeleteRule(c.Request().Context(), id, c.QueryParam("by")); err != nil {
		return err
	}
	return httpserver.OK(c, map[string]string{"id": id})
}

// enableRule and disableRule also serve the rules of the site folder. What they
// set stays over restarts as long as the rule stays as it is. ?by= is who asks, for
// the journal of an alarm that is cleared.
func (s *Service) enableRule(c echo.Context) error  { return s.switchRule(c, true) }
func (s *Service) disableRule(c echo.Context) error { return s.switchRule(c, false) }

func (s *Service) switchRule(c echo.Context, enabled bool) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	if err := s.db.EnableRule(c.Request().Context(), id, enabled, c.QueryParam("by")); err != nil {
		return err
	}
	return s.replyRule(c, id)
}

// evaluateRule evaluates a rule against the live values now, acts as if they had
// just arrived, and replies with the rule as it stands then.
func (s *Service) evaluateRule(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	if _, err := s.db.EvaluateRule(c.Request().Context(), id); err != nil {
		return err
	}
	return s.replyRule(c, id)
}

func (s *Service) replyRule(c echo.Context, id string) error {
	found, err := s.db.Rule(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.OK(c, shown(found))
}

func ruleID(c echo.Context) (string, error) {
	id := c.Param("id")
	return id, ems.CheckID("rule id", id)
}

// checkOwner refuses an id that belongs to the site folder: what is made under
// it would be gone after the next start.
func checkOwner(id string) error {
	if ems.MadeByAPI(id) {
		return nil
	}
	return ems.Errorf(ems.CodeInvalid, "rule id %q: a rule made through the API has an id that begins with %q, for example %q, or none, then it gets one; the others belong to rules.yaml",
		id, ems.APIPrefix, ems.APIPrefix+id)
}

// triggerRule carries out the actions of a rule by hand. Its state stays.
func (s *Service) triggerRule(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	var body struct {
		By string `json:"by"`
	}
	if err := httpserver.Body(c, &body); err != nil {
		return err
	}
	if body.By == "" {
		return ems.Errorf(ems.CodeInvalid, `say who carries the actions out: {"by": "…"}`)
	}
	done, err := s.db.TriggerRule(c.Request().Context(), id, body.By)
	if err != nil {
		return err
	}
	return httpserver.OK(c, map[string]any{"id": id, "actions": done})
}

// resetRule takes a rule back to idle; one whose conditions hold is active again
// at once.
func (s *Service) resetRule(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	if _, err := s.db.ResetRule(c.Request().Context(), id, c.QueryParam("by")); err != nil {
		return err
	}
	return s.replyRule(c, id)
}

// listFirings replies with the last times that a rule became active, newest first.
func (s *Service) listFirings(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if _, err := s.db.Rule(ctx, id); err != nil {
		return err
	}
	firings, err := s.db.RuleFirings(ctx, id, rtdb.MaxFirings)
	if err != nil {
		return err
	}
	return httpserver.OK(c, firings)
}

// listEvents replies with changes of state in order: at most ?limit=, those after
// the entry ?after=.
func (s *Service) listEvents(c echo.Context) error {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	if after != "" && !entryForm.MatchString(after) {
		return ems.Errorf(ems.CodeInvalid, "after %q is not the entry of an event, for example 1782000000000-0", after)
	}
	events, err := s.db.RuleEvents(c.Request().Context(), after, limit)
	if err != nil {
		return err
	}
	return httpserver.OK(c, events)
}

var entryForm = regexp.MustCompile(`^\d{1,19}-\d{1,19}$`)

// value is a custom value, as the API shows it.
type value struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"`
}

// listValues replies with the custom values in the order of their names.
func (s *Service) listValues(c echo.Context) error {
	found, err := s.db.CustomValues(c.Request().Context())
	if err != nil {
		return err
	}
	list := []value{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		number := found[name]
		list = append(list, value{name, &number})
	}
	return httpserver.OK(c, list)
}

func (s *Service) getValue(c echo.Context) error {
	name := c.Param("name")
	if err := ems.CheckID("name", name); err != nil {
		return err
	}
	found, err := s.db.CustomValues(c.Request().Context())
	if err != nil {
		return err
	}
	number, known := found[name]
	if !known {
		return ems.Errorf(ems.CodeNotFound, "nobody has set the custom value %q", name)
	}
	return httpserver.OK(c, value{name, &number})
}

// putValue sets a custom value and evaluates the rules that watch it.
func (s *Service) putValue(c echo.Context) error {
	name := c.Param("name")
	if err := ems.CheckID("name", name); err != nil {
		return err
	}
	var body struct {
		Value *float64 `json:"value"`
	}
	if err := httpserver.Body(c, &body); err != nil {
		return err
	}
	if body.Value == nil {
		return ems.Errorf(ems.CodeInvalid, `say which number: {"value": 1.5}`)
	}
	changed, err := s.db.SetCustomValue(c.Request().Context(), name, *body.Value)
	if err != nil {
		return err
	}
	text, err := ems.FormatNumber(*body.Value)
	if err != nil {
		return err
	}
	stored, err := ems.ParseNumber(text)
	if err != nil {
		return err
	}
	return httpserver.OK(c, map[string]any{"name": name, "value": stored, "changed": changed})
}
