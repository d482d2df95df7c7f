package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// CheckRulesTogether refuses rules that cannot be beside one another: FULL where
// too many watch a source, CONFLICT where they would set off one another without
// end, INVALID where one of the first fresh ones resolves the alarm of a rule that
// there is not.
func (s *Site) CheckRulesTogether(rules []ems.Rule, fresh int, find FindModel) error {
	ids := map[string]bool{}
	for i := range rules {
		ids[rules[i].ID] = true
	}
	for _, fault := range crowded(rules) {
		return ems.Errorf(ems.CodeFull, "rule %s: %s: %s", rules[fault.rule].ID, ems.PathText(fault.Path), fault.Message)
	}
	for _, fault := range unresolved(rules[:fresh], func(id string) bool { return ids[id] }) {
		return ems.Errorf(ems.CodeInvalid, "rule %s: %s: %s", rules[fault.rule].ID, ems.PathText(fault.Path), fault.Message)
	}
	for _, circle := range newRuleWorld(s, find).loops(rules) {
		steps := make([]string, len(circle))
		for i, rule := range circle {
			steps[i] = rules[rule].ID
		}
		return ems.Errorf(ems.CodeConflict, "rules would set off one another without end: %s", strings.Join(steps, " -> "))
	}
	return nil
}

// faultOfRule is a fault of one of many rules, by its place among them. The path
// begins at the rule.
type faultOfRule struct {
	rule int
	ems.Fault
}

// crowded lists the rules that are one too many for a source that they watch.
func crowded(rules []ems.Rule) (found []faultOfRule) {
	count := map[string]int{}
	for i := range rules {
		sources := rules[i].Sources()
		slices.Sort(sources)
		for _, source := range slices.Compact(sources) {
			count[source]++
			if count[source] == ems.MaxWatchers+1 {
				found = append(found, faultOfRule{i, ems.Fault{
					Path:    []any{"conditions"},
					Message: fmt.Sprintf("%s is watched by %d rules already, as many as one source may have", source, ems.MaxWatchers),
				}})
			}
		}
	}
	return found
}

// unresolved lists the actions that resolve the alarm of a rule that is not known.
func unresolved(rules []ems.Rule, known func(id string) bool) (found []faultOfRule) {
	for i := range rules {
		for j, action := range rules[i].Actions {
			id, _ := action.Params["rule"].(string)
			if action.Type == ems.ActionResolveAlarm && id != "" && !known(id) {
				found = append(found, faultOfRule{i, ems.Fault{
					Path: []any{"actions", j, "params", "rule"}, Message: fmt.Sprintf("no rule %q in this site", id),
				}})
			}
		}
	}
	return found
}
