package rulesrv

import (
	"crypto/rand"
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
	Status    ems.RuleStatus `json:"status"` // idle, active or disabled
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
	return httpserver.OK(c, states)
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
	if rule.ID == "" {
		rule.ID = ems.APIPrefix + strings.ToLower(rand.Text())
	}
	if err := config.CheckRule(&rule); err != nil {
		return err
	}
	if err := checkOwner(rule.ID); err != nil {
		return err
	}
	if err := s.checkPoints(&rule); err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := s.db.UpsertRule(ctx, rule); err != nil {
		return err
	}
	found, err := s.db.Rule(ctx, rule.ID)
	if err != nil {
		return err
	}
	return httpserver.Created(c, shown(found))
}

func (s *Service) deleteRule(c echo.Context) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	if s.ofSite(id) {
		return ems.Errorf(ems.CodeConflict, "rule %q belongs to the site folder: take it out of rules.yaml and restart, or disable it", id)
	}
	if err := s.db.DeleteRule(c.Request().Context(), id); err != nil {
		return err
	}
	return httpserver.OK(c, map[string]string{"id": id})
}

// enableRule and disableRule also serve the rules of the site folder. What they
// set stays over restarts as long as the rule stays as it is.
func (s *Service) enableRule(c echo.Context) error  { return s.switchRule(c, true) }
func (s *Service) disableRule(c echo.Context) error { return s.switchRule(c, false) }

func (s *Service) switchRule(c echo.Context, enabled bool) error {
	id, err := ruleID(c)
	if err != nil {
		return err
	}
	if err := s.db.EnableRule(c.Request().Context(), id, enabled); err != nil {
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

// checkPoints asks whether the points of a rule exist in this site.
func (s *Service) checkPoints(rule *ems.Rule) error {
	var faults []string
	check := func(text string) {
		ref, err := ems.ParsePointRef(text)
		if err != nil {
			return
		}
		if _, found := s.site.Point(ref); !found {
			faults = append(faults, "no point "+text+" in this site")
		}
	}
	for _, source := range sources(rule.Conditions) {
		check(source)
	}
	for _, action := range rule.Actions {
		target, _ := action.Params["target"].(string)
		check(target)
	}
	if len(faults) == 0 {
		return nil
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: "rule " + rule.ID + " cannot be used: " + faults[0], Details: slices.Compact(faults)}
}

// sources lists the sources of a tree of conditions.
func sources(conditions []ems.Condition) []string {
	var list []string
	for _, condition := range conditions {
		if condition.Source != "" {
			list = append(list, condition.Source)
		}
		list = append(list, sources(condition.Conditions)...)
	}
	return list
}
