package rtdb

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// UpsertRule stores a rule, binds it to what its conditions watch, and looks at
// it at once. A rule that stays the same keeps its state. CONFLICT when rules
// would set off one another without end.
func (c *Client) UpsertRule(ctx context.Context, rule ems.Rule) error {
	text, err := encode(rule)
	if err != nil {
		return about("rule", rule.ID, err)
	}
	_, err = c.text(ctx, "rule_upsert", rule.ID, text, c.now())
	return about("rule", rule.ID, err)
}

// UpsertRules does the same for many rules, which travel together. The result has
// one error for each, nil where it was stored; err is that of the way to Redis.
func (c *Client) UpsertRules(ctx context.Context, rules []ems.Rule) (refusals []error, err error) {
	refusals = make([]error, 0, len(rules))
	for part := range slices.Chunk(rules, bulkRules) {
		var on redis.Cmdable = c.redis
		send := func() {}
		if c.cluster == nil { // where slots move, what travels together is torn apart
			pipeline := c.redis.Pipeline()
			on, send = pipeline, func() { _, _ = pipeline.Exec(ctx) } // each call has its own error
		}
		calls := make([]*redis.Cmd, len(part))
		for i, rule := range part {
			text, err := encode(rule)
			if err != nil {
				return nil, about("rule", rule.ID, err)
			}
			calls[i] = c.fcall(ctx, on, "rule_upsert", rule.ID, text, c.now())
		}
		send()
		for i, call := range calls {
			fault := about("rule", part[i].ID, c.fail("rule_upsert", call.Err()))
			switch ems.CodeOf(fault) {
			case ems.CodeInvalid, ems.CodeConflict, ems.CodeFull:
			default:
				if fault != nil {
					return nil, fault
				}
			}
			refusals = append(refusals, fault)
		}
	}
	return refusals, nil
}

// bulkRules travel together. Others wait for one of them at most.
const bulkRules = 200

// RuleState is a rule with where it stands.
type RuleState struct {
	Rule     ems.Rule       `json:"rule"`
	Status   ems.RuleStatus `json:"status"`
	Since    time.Time      `json:"since"` // of the status; zero if it never changed
	Fired    int64          `json:"fired"` // how often it became active
	LastFire time.Time      `json:"last_fired"`
}

// Rule returns one rule with its state.
func (c *Client) Rule(ctx context.Context, id string) (RuleState, error) {
	texts, err := c.texts(ctx, "rule_get", id)
	if err != nil {
		return RuleState{}, err
	}
	states, err := parseRules(texts)
	if err != nil {
		return RuleState{}, err
	}
	if len(states) != 1 {
		return RuleState{}, ems.Errorf(ems.CodeInternal, "rule_get answered %d rules", len(states))
	}
	return states[0], nil
}

// Rules returns up to count rules in the order of their ids, after the id named.
func (c *Client) Rules(ctx context.Context, after string, count int) ([]RuleState, error) {
	texts, err := c.texts(ctx, "rule_list", "all", after, count)
	if err != nil {
		return nil, err
	}
	return parseRules(texts)
}

// parseRules reads configuration, status, since, fired, last fired for each.
func parseRules(texts []string) ([]RuleState, error) {
	states := make([]RuleState, 0, len(texts)/5)
	for i := 0; i+4 < len(texts); i += 5 {
		state := RuleState{
			Status: ems.RuleStatus(texts[i+1]), Since: ems.FromUnixMS(integer(texts[i+2])),
			Fired: integer(texts[i+3]), LastFire: ems.FromUnixMS(integer(texts[i+4])),
		}
		if err := decode(texts[i], &state.Rule); err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

// DeleteRule removes a rule, its bindings and its state; an alarm that it holds
// active is cleared, by whom the journal tells, "" is the rule itself.
func (c *Client) DeleteRule(ctx context.Context, id, by string) error {
	_, err := c.text(ctx, "rule_delete", id, c.now(), by)
	return err
}

// EnableRule switches a rule on or off. A rule switched off goes idle, as if by
// DeleteRule.
func (c *Client) EnableRule(ctx context.Context, id string, enabled bool, by string) error {
	word := "0"
	if enabled {
		word = "1"
	}
	_, err := c.text(ctx, "rule_enable", id, word, c.now(), by)
	return err
}

// EvaluateRule evaluates one rule against the live values, acts as ingest would,
// and returns where the rule stands.
func (c *Client) EvaluateRule(ctx context.Context, id string) (ems.RuleStatus, error) {
	text, err := c.text(ctx, "rule_evaluate", id, c.now())
	return ems.RuleStatus(text), err
}

// EvaluateRules does the same for up to 1000 rules in one step. A rule that there
// is not is missing, and stops none of the others.
func (c *Client) EvaluateRules(ctx context.Context, ids []string) ([]ems.RuleStatus, error) {
	args := []any{c.now()}
	for _, id := range ids {
		args = append(args, id)
	}
	texts, err := c.texts(ctx, "rule_batch_evaluate", "all", args...)
	if err != nil {
		return nil, err
	}
	states := make([]ems.RuleStatus, len(texts))
	for i, text := range texts {
		states[i] = ems.RuleStatus(text)
	}
	return states, nil
}

// Tick says what one call of TickRules did.
type Tick struct {
	Evaluated int64
	Changed   int64
	More      bool // more rules are due
}

// TickRules evaluates up to most (1 to 1000) of the rules that the passing of
// time may change: those with delays that run, windows, schedules, or a choice
// for inputs that are missing.
func (c *Client) TickRules(ctx context.Context, most int) (Tick, error) {
	texts, err := c.texts(ctx, "rule_tick", "all", c.now(), most)
	if err != nil {
		return Tick{}, err
	}
	if len(texts) != 3 {
		return Tick{}, ems.Errorf(ems.CodeInternal, "rule_tick answered %d texts", len(texts))
	}
	return Tick{Evaluated: integer(texts[0]), Changed: integer(texts[1]), More: texts[2] == "1"}, nil
}

// ScheduleRule says when a rule with a schedule is in force, in at most 100
// windows, and returns where it stands now. What is said again changes nothing.
func (c *Client) ScheduleRule(ctx context.Context, id string, windows []ems.Window) (ems.RuleStatus, error) {
	args := []any{c.now()}
	for _, window := range windows {
		args = append(args, window.From.UnixMilli(), window.Till.UnixMilli())
	}
	text, err := c.text(ctx, "rule_schedule", id, args...)
	return ems.RuleStatus(text), about("rule", id, err)
}

// TriggerRule carries out the actions of a rule by hand, as if it had become
// active for a moment, and returns how many there were. The state of the rule
// stays. CONFLICT when it is disabled.
func (c *Client) TriggerRule(ctx context.Context, id, by string) (int64, error) {
	text, err := c.text(ctx, "rule_trigger_action", id, by, c.now())
	return integer(text), err
}

// ResetRule takes a rule back to idle, with all that follows; it forgets what it
// remembers. It returns where the rule stands then: active, where its conditions
// hold.
func (c *Client) ResetRule(ctx context.Context, id, by string) (ems.RuleStatus, error) {
	text, err := c.text(ctx, "rule_update_state", id, string(ems.RuleIdle), c.now(), by)
	return ems.RuleStatus(text), err
}

// SetCustomValue sets a number that rules watch as custom:{name}, and returns how
// many of them changed state.
func (c *Client) SetCustomValue(ctx context.Context, name string, number float64) (int64, error) {
	text, err := ems.FormatNumber(number)
	if err != nil {
		return 0, err
	}
	reply, err := c.text(ctx, "rule_set_value", name, text, c.now())
	return integer(reply), err
}

// CustomValues returns all custom values by name.
func (c *Client) CustomValues(ctx context.Context) (map[string]float64, error) {
	texts, err := c.texts(ctx, "rule_values", "all")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for i := 0; i+1 < len(texts); i += 2 {
		if values[texts[i]], err = ems.ParseNumber(texts[i+1]); err != nil {
			return nil, err
		}
	}
	return values, nil
}
