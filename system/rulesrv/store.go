package rulesrv

import (
	"context"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// siteRules are the rules of the site folder as they are in use.
func (s *Service) siteRules() []ems.Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules
}

func (s *Service) ofSite(id string) bool {
	return slices.ContainsFunc(s.siteRules(), func(rule ems.Rule) bool { return rule.ID == id })
}

// placesOf returns where each rule stands, by id. A site may have 20,000 rules, too
// many to go through all of them for each.
func placesOf(rules []ems.Rule) map[string]int {
	places := make(map[string]int, len(rules))
	for i := range rules {
		places[rules[i].ID] = i
	}
	return places
}

// checkSiteIDs refuses rules of the site folder with ids that are kept for others.
func checkSiteIDs(rules []ems.Rule) error {
	for _, rule := range rules {
		if ems.MadeByAPI(rule.ID) {
			return ems.Errorf(ems.CodeInvalid, "rules.yaml: rule id %q begins with %q, which is kept for rules made through the API: rename it", rule.ID, ems.APIPrefix)
		}
	}
	return nil
}

// storedRules returns all rules that Redis holds.
func (s *Service) storedRules(ctx context.Context) ([]rtdb.RuleState, error) {
	var all []rtdb.RuleState
	for after := ""; ; {
		states, err := s.db.Rules(ctx, after, httpserver.LargestPage)
		if err != nil {
			return nil, err
		}
		all = append(all, states...)
		if len(states) < httpserver.LargestPage {
			return all, nil
		}
		after = states[len(states)-1].Rule.ID
	}
}

// store makes the rules of the site folder the ones in Redis.
func (s *Service) store(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.stored.Store(false)
	if _, err := s.replaceSiteRules(ctx, s.siteRules()); err != nil {
		return err
	}
	if err := s.schedule(ctx); err != nil {
		return err
	}
	s.stored.Store(true)
	return nil
}

// bySite is who takes rules away that left the site folder.
const bySite = "site folder"

// replaceSiteRules makes these rules the ones of the site. Rules made through the
// API stay; others are taken away, and their ids returned. What Redis holds
// already is left alone: after a crash it has enough to do.
func (s *Service) replaceSiteRules(ctx context.Context, rules []ems.Rule) (removed []string, err error) {
	states, err := s.storedRules(ctx)
	if err != nil {
		return nil, err
	}
	places, same := placesOf(rules), map[string]bool{}
	for _, state := range states {
		id := state.Rule.ID
		if place, kept := places[id]; kept || ems.MadeByAPI(id) {
			same[id] = kept && sameRule(state.Rule, rules[place])
			continue
		}
		if err := s.db.DeleteRule(ctx, id, bySite); err != nil && ems.CodeOf(err) != ems.CodeNotFound {
			return nil, err
		}
		removed = append(removed, id)
		s.logger.Info("rule removed: rules.yaml no longer names it", "rule", id)
	}
	return removed, s.upsertAll(ctx, slices.DeleteFunc(slices.Clone(rules), func(rule ems.Rule) bool { return same[rule.ID] }))
}

// upsertAll stores rules. One may be refused because of what another one still
// is: it waits for that, and where they wait for one another they are taken away
// first.
func (s *Service) upsertAll(ctx context.Context, rules []ems.Rule) error {
	for cleared := false; len(rules) > 0; {
		refusals, err := s.db.UpsertRules(ctx, rules)
		if err != nil {
			return err
		}
		var left []ems.Rule
		var first error
		for i, refusal := range refusals {
			switch {
			case refusal == nil:
				continue
			case ems.CodeOf(refusal) != ems.CodeConflict && ems.CodeOf(refusal) != ems.CodeFull:
				return refusal
			case first == nil:
				first = refusal
			}
			left = append(left, rules[i])
		}
		if len(left) == len(rules) {
			if cleared {
				return first
			}
			cleared = true
			for _, rule := range left {
				if err := s.db.DeleteRule(ctx, rule.ID, bySite); err != nil && ems.CodeOf(err) != ems.CodeNotFound {
					return err
				}
			}
		}
		rules = left
	}
	return nil
}

// scheduledAhead is how far ahead Redis is told when rules are in force. It is
// told anew each day.
const scheduledAhead = 35 * 24 * time.Hour

// schedule tells Redis when the rules with a schedule are in force.
func (s *Service) schedule(ctx context.Context) error {
	states, err := s.storedRules(ctx)
	if err != nil {
		return err
	}
	for _, state := range states {
		if err := s.scheduleRule(ctx, &state.Rule); err != nil && ems.CodeOf(err) != ems.CodeNotFound {
			return err
		}
	}
	return nil
}

func (s *Service) scheduleRule(ctx context.Context, rule *ems.Rule) error {
	if rule.Schedule == nil {
		return nil
	}
	now := s.clock.Now()
	windows, err := rule.Schedule.Windows(now, now.Add(scheduledAhead))
	if err != nil {
		return err
	}
	_, err = s.db.ScheduleRule(ctx, rule.ID, windows)
	return err
}

// modelsInUse finds the models that are in use, those made through the API too;
// fault says afterwards why one could not be asked for.
func (s *Service) modelsInUse(ctx context.Context) (find config.FindModel, fault *error) {
	fault = new(error)
	return func(model string) (ems.Expansion, bool) {
		expansion, err := s.db.ExpandModel(ctx, model)
		if err != nil && ems.CodeOf(err) != ems.CodeNotFound {
			*fault = err
		}
		return expansion, err == nil
	}, fault
}

// pointsInUse returns a folder with the channels made through the API; fault is
// that of modelsInUse.
func (s *Service) pointsInUse(ctx context.Context, folder *config.Site, fault *error) *config.Site {
	return folder.BesideMade(func(id ems.ChannelID) (string, bool) {
		made, found, err := s.db.MadeChannel(ctx, id)
		if err != nil {
			*fault = err
		}
		return made.Document, found
	})
}

// check refuses a rule that this site cannot use.
func (s *Service) check(ctx context.Context, rule *ems.Rule) error {
	find, fault := s.modelsInUse(ctx)
	faults := s.pointsInUse(ctx, s.folder.Load(), fault).RuleFaults(rule, find)
	if *fault != nil {
		return *fault
	}
	return ems.Refuse("rule "+rule.ID, faults)
}

// checkTogether refuses rules that, with those that stay, would be too many for a
// site or a source, would set off one another without end, or resolve alarms of
// rules that there are not.
func (s *Service) checkTogether(ctx context.Context, folder *config.Site, rules []ems.Rule, stays func(id string) bool) error {
	states, err := s.storedRules(ctx)
	if err != nil {
		return err
	}
	all, places := slices.Clone(rules), placesOf(rules)
	for _, state := range states {
		if _, replaced := places[state.Rule.ID]; !replaced && stays(state.Rule.ID) {
			all = append(all, state.Rule)
		}
	}
	if len(all) > ems.MaxRules {
		return ems.Errorf(ems.CodeFull, "with these there would be %d rules: a site has at most %d", len(all), ems.MaxRules)
	}
	find, fault := s.modelsInUse(ctx)
	err = folder.CheckRulesTogether(all, len(rules), find)
	if *fault != nil {
		return *fault
	}
	return err
}
