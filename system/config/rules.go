package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of a rule.
const (
	maxConditionDepth = 8
	maxConditions     = 100
	maxActions        = 20
)

// rulesFile is the shape of rules.yaml: a list, or one rule alone.
type rulesFile struct {
	Rules []ems.Rule `yaml:"rules"`
	Rule  *ems.Rule  `yaml:"rule"`
}

func (s *siteReader) readRules(site *Site) {
	var file rulesFile
	doc, ok := readDocument(s.path("rules.yaml"), "rules.yaml", &file, &s.faults)
	if !ok {
		return
	}
	seen := map[string]bool{}
	check := func(at []any, rule *ems.Rule) {
		if seen[rule.ID] {
			doc.add(append(at, "id"), "%q stands twice", rule.ID)
		}
		seen[rule.ID] = true
		for _, fault := range RuleFaults(rule) {
			doc.add(append(slices.Clone(at), fault.Path...), "%s", fault.Message)
		}
		s.checkSources(doc, at, site, rule)
	}
	for i := range file.Rules {
		check([]any{"rules", i}, &file.Rules[i])
	}
	if file.Rule != nil {
		check([]any{"rule"}, file.Rule)
		file.Rules = append(file.Rules, *file.Rule)
	}
	site.Rules = file.Rules
}

// CheckRule returns one error that lists all of RuleFaults.
func CheckRule(rule *ems.Rule) error { return ems.Refuse("rule "+rule.ID, RuleFaults(rule)) }

// RuleFaults checks a rule by itself, without asking whether its points exist.
func RuleFaults(rule *ems.Rule) []ems.Fault {
	var check ruleCheck
	if err := ems.CheckID("rule id", rule.ID); err != nil {
		check.add([]any{"id"}, "%v", err)
	}
	check.logic(nil, rule.Logic)
	check.conditions(nil, rule.Conditions, 1)
	if len(rule.Actions) > maxActions {
		check.add([]any{"actions"}, "more than %d actions", maxActions)
	}
	alarms := 0
	for i, action := range rule.Actions {
		check.action([]any{"actions", i}, action)
		if action.Type == ems.ActionCreateAlarm {
			alarms++
		}
		if alarms > 1 {
			check.add([]any{"actions", i}, "a rule raises one alarm: a second create_alarm would count as the same")
		}
	}
	if err := checkStored(rule); err != nil && len(check.found) == 0 {
		check.add(nil, "%v", err)
	}
	return check.found
}

type ruleCheck struct {
	found []ems.Fault
	count int
}

func (c *ruleCheck) add(path []any, format string, args ...any) {
	c.found = append(c.found, ems.Fault{Path: slices.Clone(path), Message: fmt.Sprintf(format, args...)})
}

func (c *ruleCheck) logic(at []any, logic ems.Logic) {
	if logic != "" && logic != ems.All && logic != ems.Any {
		c.add(append(at, "logic"), "unknown logic %q: use AND or OR", logic)
	}
}

func (c *ruleCheck) conditions(at []any, conditions []ems.Condition, depth int) {
	at = append(slices.Clone(at), "conditions")
	c.count += len(conditions)
	switch {
	case len(conditions) == 0:
		c.add(at, "at least one condition is needed")
	case depth > maxConditionDepth:
		c.add(at, "groups are nested deeper than %d", maxConditionDepth)
		return
	case c.count > maxConditions:
		c.add(at, "more than %d conditions", maxConditions)
		return
	}
	for i, condition := range conditions {
		here := append(slices.Clone(at), i)
		if len(condition.Conditions) > 0 {
			if condition.Source != "" || condition.Operator != "" || condition.Value != nil {
				c.add(here, "a group has conditions, not a source, operator or value of its own")
			}
			c.logic(here, condition.Logic)
			c.conditions(here, condition.Conditions, depth+1)
			continue
		}
		c.comparison(here, condition)
	}
}

func (c *ruleCheck) comparison(at []any, condition ems.Condition) {
	if _, err := ems.ParsePointRef(condition.Source); err != nil {
		c.add(append(slices.Clone(at), "source"), "%v", err)
	}
	if !contains(ems.Operators[:], condition.Operator) {
		c.add(append(slices.Clone(at), "operator"), "unknown operator %q: use one of %s", condition.Operator, listText(ems.Operators[:]))
	}
	if condition.Value == nil {
		c.add(append(slices.Clone(at), "value"), "a comparison needs a value")
	} else if _, err := ems.FormatNumber(*condition.Value); err != nil {
		c.add(append(slices.Clone(at), "value"), "%v", err)
	}
	if condition.Logic != "" {
		c.add(append(slices.Clone(at), "logic"), "logic belongs to a group of conditions")
	}
}

// actionParams names what each type of action takes; a true value is needed.
func actionParams(kind string) (map[string]bool, bool) {
	switch kind {
	case ems.ActionCreateAlarm:
		return map[string]bool{"level": true, "title": true, "description": false}, true
	case ems.ActionResolveAlarm:
		return map[string]bool{"rule": true}, true
	case ems.ActionControl:
		return map[string]bool{"target": true, "value": true}, true
	case ems.ActionNotify:
		return map[string]bool{"message": true}, true
	default:
		return nil, false
	}
}

func (c *ruleCheck) action(at []any, action ems.Action) {
	params, known := actionParams(action.Type)
	if !known {
		c.add(append(slices.Clone(at), "type"), "unknown action %q: use create_alarm, resolve_alarm, control or notify", action.Type)
		return
	}
	here := func(name string) []any { return append(slices.Clone(at), "params", name) }
	for _, name := range slices.Sorted(maps.Keys(action.Params)) {
		if _, ok := params[name]; !ok {
			c.add(here(name), "%s takes no %q", action.Type, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		needed := params[name]
		value, given := action.Params[name]
		if !given {
			if needed {
				c.add(append(slices.Clone(at), "params"), "%s needs %q", action.Type, name)
			}
			continue
		}
		if err := checkParam(name, value); err != nil {
			c.add(here(name), "%v", err)
		}
	}
}

func checkParam(name string, value any) error {
	if name == "value" {
		switch number := value.(type) {
		case int, int64, uint64:
			return nil
		case float64:
			_, err := ems.FormatNumber(number)
			return err
		default:
			return fmt.Errorf("%v is not a number", value)
		}
	}
	text, ok := value.(string)
	switch {
	case !ok:
		return fmt.Errorf("%v is not a text", value)
	case text == "" && name != "description":
		return errors.New("it is empty")
	}
	switch name {
	case "level":
		_, err := ems.ParseAlarmLevel(text)
		return err
	case "target":
		ref, err := ems.ParsePointRef(text)
		if err == nil && !ref.Type.Writable() {
			return fmt.Errorf("%s cannot be written: name a control (C) or an adjustment (A)", text)
		}
		return err
	case "rule":
		return ems.CheckID("rule id", text)
	case "title":
		return checkText(text, ems.MaxAlarmTitle)
	default:
		return checkText(text, ems.MaxAlarmDescription)
	}
}

func checkText(text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%d bytes are more than the %d that fit", len(text), most)
	}
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return fmt.Errorf("a control character %q is not allowed", r)
		}
	}
	return nil
}

// checkSources asks whether the points of a rule exist in this site.
func (s *siteReader) checkSources(doc *document, at []any, site *Site, rule *ems.Rule) {
	var visit func(at []any, conditions []ems.Condition)
	visit = func(at []any, conditions []ems.Condition) {
		for i, condition := range conditions {
			here := append(slices.Clone(at), "conditions", i)
			visit(here, condition.Conditions)
			if ref, err := ems.ParsePointRef(condition.Source); err == nil {
				if _, found := site.Point(ref); !found {
					doc.addReference(pointTables, append(here, "source"), "no point %s in this site", ref)
				}
			}
		}
	}
	visit(at, rule.Conditions)
	for i, action := range rule.Actions {
		text, _ := action.Params["target"].(string)
		if ref, err := ems.ParsePointRef(text); err == nil {
			if _, found := site.Point(ref); !found {
				doc.addReference(pointTables, append(slices.Clone(at), "actions", i, "params", "target"), "no point %s in this site", ref)
			}
		}
	}
}
