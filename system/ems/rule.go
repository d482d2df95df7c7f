package ems

// Rule watches values and acts when its conditions become true, once for each
// time that they do.
type Rule struct {
	ID         string      `yaml:"id" json:"id"`
	Name       string      `yaml:"name" json:"name"`
	Enabled    *bool       `yaml:"enabled,omitempty" json:"enabled,omitempty"` // nil is enabled
	Logic      Logic       `yaml:"logic,omitempty" json:"logic,omitempty"`     // how Conditions combine
	Conditions []Condition `yaml:"conditions" json:"conditions"`
	Actions    []Action    `yaml:"actions" json:"actions"`
}

// Logic combines conditions; empty means All.
type Logic string

// The combinations.
const (
	All Logic = "AND"
	Any Logic = "OR"
)

// Condition compares one source with a value, or groups further conditions.
type Condition struct {
	Source     string      `yaml:"source,omitempty" json:"source,omitempty"` // "comsrv:1001:T:1"
	Operator   string      `yaml:"operator,omitempty" json:"operator,omitempty"`
	Value      *float64    `yaml:"value,omitempty" json:"value,omitempty"`
	Logic      Logic       `yaml:"logic,omitempty" json:"logic,omitempty"`
	Conditions []Condition `yaml:"conditions,omitempty" json:"conditions,omitempty"`
}

// Operators lists the comparisons that a condition may make.
var Operators = [...]string{">", ">=", "<", "<=", "==", "!="}

// Action is what a rule does when it becomes active. The types: create_alarm
// (level, title, description; the alarm clears by itself when the rule goes
// idle), resolve_alarm (rule), control (target, value), notify (message).
type Action struct {
	Type   string         `yaml:"type" json:"type"`
	Params map[string]any `yaml:"params,omitempty" json:"params,omitempty"`
}

// The types of action.
const (
	ActionCreateAlarm  = "create_alarm"
	ActionResolveAlarm = "resolve_alarm"
	ActionControl      = "control"
	ActionNotify       = "notify"
)

// RuleStatus is where a rule stands.
type RuleStatus string

// The states of a rule.
const (
	RuleIdle     RuleStatus = "idle"
	RuleActive   RuleStatus = "active"
	RuleDisabled RuleStatus = "disabled"
)
