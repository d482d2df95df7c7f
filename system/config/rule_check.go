package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/voltageems/voltageems-go/system/ems"
)

// CheckRule returns one error that lists all of RuleFaults.
func CheckRule(rule *ems.Rule) error { return ems.Refuse("rule "+rule.ID, RuleFaults(rule)) }

// RuleFaults checks a rule by itself, without asking whether what it names
// exists. The paths begin at the rule.
func RuleFaults(rule *ems.Rule) []ems.Fault {
	check := ruleCheck{hysteresis: rule.Hysteresis, inverted: rule.Logic == ems.None}
	if err := ems.CheckRuleID(rule.ID); err != nil {
		check.add([]any{"id"}, "%v", err)
	}
	check.settings(rule)
	check.logic(nil, rule.Logic)
	check.conditions(nil, rule.Conditions, 1)
	if check.moment(nil, rule.Logic, rule.Conditions) {
		check.noDelays(rule)
	} else if rule.Hysteresis > 0 && !check.bounded {
		check.below(nil, "hysteresis", "==, != and in have no use for it: they compare exactly; it is for > >= < <= and between")
	}
	if len(rule.Actions) > ems.MaxActions {
		check.add([]any{"actions"}, "more than %d actions", ems.MaxActions)
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
	found   []ems.Fault
	count   int
	bounded bool // a comparison has a bound, from which a value can come back

	hysteresis float64
	inverted   bool // what is looked at stands within an odd number of NOTs
}

func (c *ruleCheck) add(path []any, format string, args ...any) {
	c.found = append(c.found, ems.Fault{Path: slices.Clone(path), Message: fmt.Sprintf(format, args...)})
}

// below is add for a key of what path leads to.
func (c *ruleCheck) below(path []any, key, format string, args ...any) {
	c.add(append(slices.Clone(path), key), format, args...)
}

// settings checks what is of the rule as a whole.
func (c *ruleCheck) settings(rule *ems.Rule) {
	for _, text := range []struct{ name, text string }{{"name", rule.Name}, {"description", rule.Description}} {
		if err := checkText(text.text, maxStoredBytes); err != nil {
			c.below(nil, text.name, "%v", err)
		}
	}
	if rule.Priority < 0 || rule.Priority > ems.MaxRulePriority {
		c.below(nil, "priority", "%d is not between 0 and %d", rule.Priority, ems.MaxRulePriority)
	}
	if _, err := ems.FormatNumber(rule.Hysteresis); err != nil || rule.Hysteresis < 0 {
		c.below(nil, "hysteresis", "%v is not a number of 0 or more", rule.Hysteresis)
	}
	for _, delay := range []struct {
		name string
		text ems.Duration
	}{{"on_delay", rule.OnDelay}, {"off_delay", rule.OffDelay}, {"cooldown", rule.Cooldown}} {
		if _, err := delay.text.Parse(ems.MaxRuleTime); err != nil {
			c.below(nil, delay.name, "%v", err)
		}
	}
	switch rule.BadInput {
	case "", ems.BadInputIgnore, ems.BadInputFalse, ems.BadInputAlarm:
	default:
		c.below(nil, "bad_input", "unknown choice %q: use ignore, false or alarm", rule.BadInput)
	}
	if rule.Schedule == nil {
		return
	}
	for _, fault := range rule.Schedule.Faults() {
		c.add(append([]any{"schedule"}, fault.Path...), "%s", fault.Message)
	}
}

func (c *ruleCheck) logic(at []any, logic ems.Logic) {
	if logic != "" && logic != ems.All && logic != ems.Any && logic != ems.None {
		c.below(at, "logic", "unknown logic %q: use AND, OR or NOT", logic)
	}
}

func (c *ruleCheck) conditions(at []any, conditions []ems.Condition, depth int) {
	at = append(slices.Clone(at), "conditions")
	c.count += len(conditions)
	switch {
	case len(conditions) == 0:
		c.add(at, "at least one condition is needed")
	case depth > ems.MaxConditionDepth:
		c.add(at, "groups are nested deeper than %d", ems.MaxConditionDepth)
		return
	case c.count > ems.MaxConditions:
		c.add(at, "more than %d conditions", ems.MaxConditions)
		return
	}
	for i := range conditions {
		condition, here := &conditions[i], append(slices.Clone(at), i)
		if condition.Conditions == nil {
			c.comparison(here, condition)
			continue
		}
		if len(condition.Sources()) > 0 || condition.Operator != "" || condition.Value != nil || condition.Function != "" || condition.Window != "" {
			c.add(here, "a group has conditions, not a source, operator or value of its own")
		}
		c.logic(here, condition.Logic)
		outer := c.inverted
		c.inverted = outer != (condition.Logic == ems.None)
		c.conditions(here, condition.Conditions, depth+1)
		c.inverted = outer
	}
}

// moment reports whether conditions hold for a moment alone: an edge does, and so
// do an AND with an edge in it and an OR of nothing else. An edge beside levels in
// an OR, or within NOT, would fire at every evaluation.
func (c *ruleCheck) moment(at []any, logic ems.Logic, conditions []ems.Condition) bool {
	at = append(slices.Clone(at), "conditions")
	edge, levels := -1, false
	for i, condition := range conditions {
		here := append(slices.Clone(at), i)
		moment := contains([]string{ems.Changed, ems.Rising, ems.Falling}, condition.Operator)
		if condition.Conditions != nil && len(here) <= 2*ems.MaxConditionDepth {
			moment = c.moment(here, condition.Logic, condition.Conditions)
		}
		if moment && logic == ems.None {
			c.add(here, "an edge is a moment: NOT has no use for it")
		}
		if moment && edge < 0 {
			edge = i
		}
		levels = levels || !moment
	}
	if edge >= 0 && levels && logic == ems.Any {
		c.add(append(slices.Clone(at), edge), "an edge is a moment: OR joins it with edges alone")
	}
	return edge >= 0
}

// noDelays refuses what a rule that waits for an edge has no use for.
func (c *ruleCheck) noDelays(rule *ems.Rule) {
	for _, setting := range []struct {
		name  string
		given bool
	}{{"on_delay", rule.OnDelay != ""}, {"off_delay", rule.OffDelay != ""}, {"hysteresis", rule.Hysteresis != 0}} {
		if setting.given {
			c.below(nil, setting.name, "changed, rising and falling have no use for it: an edge is a moment")
		}
	}
}

func (c *ruleCheck) comparison(at []any, condition *ems.Condition) {
	for _, side := range []struct{ name, source string }{{"source", condition.Source}, {"minus", condition.Minus}, {"compare_to", condition.CompareTo}} {
		if side.source == "" && side.name != "source" {
			continue
		}
		if _, err := ems.ParseSource(side.source); err != nil {
			c.below(at, side.name, "%v", err)
		}
	}
	if condition.Logic != "" {
		c.below(at, "logic", "logic belongs to a group of conditions")
	}
	c.function(at, condition)
	if !contains(ems.Operators[:], condition.Operator) {
		c.bounded = true // it may have been meant
		c.below(at, "operator", "unknown operator %q: use one of %s", condition.Operator, listText(ems.Operators[:]))
		return
	}
	c.bounded = c.bounded || contains([]string{">", ">=", "<", "<=", ems.Between}, condition.Operator)
	c.rightSide(at, condition)
}

func (c *ruleCheck) function(at []any, condition *ems.Condition) {
	window, err := condition.Window.Parse(ems.MaxRuleTime)
	if err != nil {
		c.below(at, "window", "%v", err)
		return
	}
	switch condition.Function {
	case ems.FunctionMean, ems.FunctionRate:
		if window < ems.MinWindow {
			c.below(at, "window", "%s needs a window from %v to %v", condition.Function, ems.MinWindow, ems.MaxRuleTime)
		}
	case "":
		if condition.Window != "" {
			c.below(at, "window", "a window has no use without a function, rate or mean")
		}
	default:
		c.below(at, "function", "unknown function %q: use rate or mean", condition.Function)
	}
}

// rightSide checks what a comparison with a known operator compares with.
func (c *ruleCheck) rightSide(at []any, condition *ems.Condition) {
	value, listed := condition.Value, condition.Operator == ems.Between || condition.Operator == ems.In
	switch condition.Operator {
	case ems.Changed, ems.Rising, ems.Falling:
		if value != nil || condition.CompareTo != "" {
			c.below(at, "value", "%s compares with the value before and takes none", condition.Operator)
		}
		return
	}
	switch {
	case listed && condition.CompareTo != "":
		c.below(at, "compare_to", "%s takes a list of numbers as its value", condition.Operator)
	case condition.CompareTo != "":
		if value != nil {
			c.below(at, "compare_to", "value and compare_to exclude each other")
		}
	case value == nil:
		c.below(at, "value", "a comparison needs a value")
	case value.Wrong != "":
		c.below(at, "value", "%s is neither a number nor a list of numbers", value.Wrong)
	case listed:
		c.list(at, condition.Operator, value.List)
	case value.List != nil:
		c.below(at, "value", "%s compares with one number; a list is for between and in", condition.Operator)
	default:
		if _, err := ems.FormatNumber(value.Number); err != nil {
			c.below(at, "value", "%v", err)
		}
	}
}

func (c *ruleCheck) list(at []any, operator string, list []float64) {
	switch {
	case operator == ems.Between && len(list) != 2:
		c.below(at, "value", "between takes a list of two numbers, [least, most]")
	case len(list) == 0 || len(list) > ems.MaxOperands:
		c.below(at, "value", "%s takes a list of 1 to %d numbers", operator, ems.MaxOperands)
	case operator == ems.Between && list[0] > list[1]:
		c.below(at, "value", "the least, %v, is above the most, %v", list[0], list[1])
	case operator == ems.Between && c.inverted && c.hysteresis > 0 && 2*c.hysteresis >= list[1]-list[0]:
		c.below(nil, "hysteresis", "within NOT a value must come back between %v and %v by it from either side: it must be below half of that", list[0], list[1])
	}
	for i, number := range list {
		if _, err := ems.FormatNumber(number); err != nil {
			c.add(append(slices.Clone(at), "value", i), "%v", err)
		}
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
		return map[string]bool{"target": true, "value": true, "deadline": false}, true
	case ems.ActionNotify:
		return map[string]bool{"message": true, "to": false}, true
	case ems.ActionPublish:
		return map[string]bool{"channel": true, "message": true}, true
	case ems.ActionSetValue:
		return map[string]bool{"name": true, "value": true}, true
	default:
		return nil, false
	}
}

func (c *ruleCheck) action(at []any, action ems.Action) {
	params, known := actionParams(action.Type)
	if !known {
		c.below(at, "type", "unknown action %q: use create_alarm, resolve_alarm, control, notify, publish or set_value", action.Type)
		return
	}
	switch {
	case action.When == string(ems.RuleIdle) && action.Type == ems.ActionCreateAlarm:
		c.below(at, "when", "an alarm is raised when the rule becomes active, and clears when it becomes idle")
	case action.When != "" && action.When != string(ems.RuleActive) && action.When != string(ems.RuleIdle):
		c.below(at, "when", "unknown moment %q: use active or idle", action.When)
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
				c.below(at, "params", "%s needs %q", action.Type, name)
			}
			continue
		}
		if err := checkParam(name, value); err != nil {
			c.add(here(name), "%v", err)
		}
	}
}

// paramNumber returns a parameter that is a number.
func paramNumber(value any) (float64, bool) {
	switch number := value.(type) {
	case int:
		return float64(number), true
	case int64:
		return float64(number), true
	case uint64:
		return float64(number), true
	case float64:
		return number, true
	default:
		return 0, false
	}
}

func checkParam(name string, value any) error {
	if name == "value" {
		number, ok := paramNumber(value)
		if !ok {
			return fmt.Errorf("%v is not a number", value)
		}
		_, err := ems.FormatNumber(number)
		return err
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
	case "deadline":
		length, err := ems.Duration(text).Parse(ems.MaxDeadline)
		if err == nil && length < time.Millisecond {
			return errors.New("a command needs some time: write for example 5s")
		}
		return err
	case "rule", "name", "channel":
		return ems.CheckID(name, text)
	case "to":
		return checkNotifyName(text)
	case "title":
		if strings.ContainsAny(text, "\n\t") {
			return errors.New("a title is one line without tabs: write the rest into the description")
		}
		return checkText(text, ems.MaxAlarmTitle)
	default:
		return checkText(text, ems.MaxAlarmDescription)
	}
}

func checkText(text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%d bytes are more than the %d that fit", len(text), most)
	}
	if !utf8.ValidString(text) {
		return errors.New("this is not valid UTF-8")
	}
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return fmt.Errorf("a control character %q is not allowed", r)
		}
	}
	return nil
}
