package ems

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Rule watches values and acts when its conditions become true, once for each
// time that they do: idle -> pending (OnDelay runs) -> active -> clearing
// (OffDelay runs) -> idle.
type Rule struct {
	ID          string      `yaml:"id" json:"id"`
	Name        string      `yaml:"name" json:"name"`
	Description string      `yaml:"description,omitempty" json:"description,omitempty"`
	Enabled     *bool       `yaml:"enabled,omitempty" json:"enabled,omitempty"`   // nil is enabled
	Priority    int         `yaml:"priority,omitempty" json:"priority,omitempty"` // 0 to MaxRulePriority; of rules that one change sets off, the highest acts first
	Logic       Logic       `yaml:"logic,omitempty" json:"logic,omitempty"`       // how Conditions combine
	Conditions  []Condition `yaml:"conditions" json:"conditions"`
	// Hysteresis is how far, in the unit of the left side, a value must come back
	// from a bound (> >= < <= between) before a rule that is active lets go; 0 or
	// more. The other operators compare exactly.
	Hysteresis float64   `yaml:"hysteresis,omitempty" json:"hysteresis,omitempty"`
	OnDelay    Duration  `yaml:"on_delay,omitempty" json:"on_delay,omitempty"`   // how long the conditions hold before the rule is active
	OffDelay   Duration  `yaml:"off_delay,omitempty" json:"off_delay,omitempty"` // how long they do not before it is idle
	Cooldown   Duration  `yaml:"cooldown,omitempty" json:"cooldown,omitempty"`   // least time between two firings
	Schedule   *Schedule `yaml:"schedule,omitempty" json:"schedule,omitempty"`   // when the rule is in force; nil is always
	BadInput   BadInput  `yaml:"bad_input,omitempty" json:"bad_input,omitempty"`
	Actions    []Action  `yaml:"actions" json:"actions"`
}

// Bounds of a rule, and how many a site has.
const (
	MaxRules          = 20_000
	MaxWatchers       = 1_000 // rules that watch one source
	MaxRulePriority   = 1000
	MaxConditionDepth = 8
	MaxConditions     = 100
	MaxOperands       = 100 // numbers of one list
	MaxActions        = 20
	MaxRuleTime       = 24 * time.Hour // of a delay, a cooldown and a window
	MinWindow         = time.Second
	MaxDeadline       = time.Hour // of a command
)

// ruleWords stand in the paths of the API where the id of a rule could stand.
var ruleWords = [...]string{"events", "export", "import", "reload", "test"}

// CheckRuleID accepts the id of a rule: one under which the API can tell of it.
func CheckRuleID(id string) error {
	if slices.Contains(ruleWords[:], id) {
		return Errorf(CodeInvalid, "rule id %q is a word of the API, /api/rules/%s: take another", id, id)
	}
	return CheckID("rule id", id)
}

// Logic combines conditions; empty means All.
type Logic string

// The combinations. None holds when no condition of the group does.
const (
	All  Logic = "AND"
	Any  Logic = "OR"
	None Logic = "NOT"
)

// BadInput says what a rule makes of an input that is bad, stale or uncertain,
// or was never read; empty means BadInputIgnore.
type BadInput string

// The choices.
const (
	BadInputIgnore BadInput = "ignore" // the comparison is unknown: where that decides, the rule stays as it is
	BadInputFalse  BadInput = "false"  // the comparison does not hold
	BadInputAlarm  BadInput = "alarm"  // as ignore, and an alarm says so
)

// Condition compares the left side (Source, less Minus, put through Function)
// with Value or with another source, or groups further conditions.
type Condition struct {
	Source     string      `yaml:"source,omitempty" json:"source,omitempty"`     // "comsrv:1001:T:1", see ParseSource
	Minus      string      `yaml:"minus,omitempty" json:"minus,omitempty"`       // a source that is taken off
	Function   string      `yaml:"function,omitempty" json:"function,omitempty"` // rate (per second) or mean, over Window
	Window     Duration    `yaml:"window,omitempty" json:"window,omitempty"`     // MinWindow to MaxRuleTime
	Operator   string      `yaml:"operator,omitempty" json:"operator,omitempty"`
	Value      *Operand    `yaml:"value,omitempty" json:"value,omitempty"`
	CompareTo  string      `yaml:"compare_to,omitempty" json:"compare_to,omitempty"` // a source in place of Value
	Logic      Logic       `yaml:"logic,omitempty" json:"logic,omitempty"`
	Conditions []Condition `yaml:"conditions,omitempty" json:"conditions,omitempty"`
}

// The operators that look at the value before, and those that take a list.
const (
	Changed = "changed"
	Rising  = "rising"
	Falling = "falling"
	Between = "between" // [least, most], both included
	In      = "in"
)

// Operators lists the comparisons that a condition may make.
var Operators = [...]string{">", ">=", "<", "<=", "==", "!=", Between, In, Changed, Rising, Falling}

// The functions of a left side.
const (
	FunctionRate = "rate"
	FunctionMean = "mean"
)

// Sources lists the sources of a condition that is no group.
func (c *Condition) Sources() []string {
	var sources []string
	for _, source := range []string{c.Source, c.Minus, c.CompareTo} {
		if source != "" {
			sources = append(sources, source)
		}
	}
	return sources
}

// Sources lists the sources of all conditions, each once.
func (r *Rule) Sources() []string {
	var sources []string
	seen := map[string]bool{}
	var visit func(conditions []Condition)
	visit = func(conditions []Condition) {
		for i := range conditions {
			visit(conditions[i].Conditions)
			for _, source := range conditions[i].Sources() {
				if !seen[source] {
					seen[source] = true
					sources = append(sources, source)
				}
			}
		}
	}
	visit(r.Conditions)
	return sources
}

// Action is what a rule does when it becomes active, or idle. The types:
// create_alarm (level, title, description; the alarm clears by itself when the
// rule goes idle), resolve_alarm (rule), control (target, value, deadline),
// notify (message), publish (channel, message), set_value (name, value).
type Action struct {
	Type   string         `yaml:"type" json:"type"`
	When   string         `yaml:"when,omitempty" json:"when,omitempty"` // active (if empty) or idle
	Params map[string]any `yaml:"params,omitempty" json:"params,omitempty"`
}

// The types of action.
const (
	ActionCreateAlarm  = "create_alarm"
	ActionResolveAlarm = "resolve_alarm"
	ActionControl      = "control"
	ActionNotify       = "notify"
	ActionPublish      = "publish"
	ActionSetValue     = "set_value"
)

// RuleStatus is where a rule stands.
type RuleStatus string

// The states of a rule. RuleMissing is told of a rule that there is not.
const (
	RuleIdle     RuleStatus = "idle"
	RulePending  RuleStatus = "pending"
	RuleActive   RuleStatus = "active"
	RuleClearing RuleStatus = "clearing"
	RuleDisabled RuleStatus = "disabled"
	RuleMissing  RuleStatus = "missing"
)

// Duration is a length of time as people write it: "10s", "1m30s", "250ms". Empty
// is 0.
type Duration string

// durationForm is what the function library takes too.
var durationForm = regexp.MustCompile(`^(\d+(\.\d*)?(h|ms|m|s))+$`)

// Parse returns the length, from 0 to most and in whole milliseconds.
func (d Duration) Parse(most time.Duration) (time.Duration, error) {
	if d == "" {
		return 0, nil
	}
	form := fmt.Sprintf("write a length of time from 0s to %v, for example 10s or 1m30s", most)
	length, err := time.ParseDuration(string(d))
	if err != nil || !durationForm.MatchString(string(d)) || length > most {
		return 0, Errorf(CodeInvalid, "%q is not a duration: %s", clip(string(d)), form)
	}
	return length.Truncate(time.Millisecond), nil
}
