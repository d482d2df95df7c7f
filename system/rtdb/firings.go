package rtdb

import (
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// SeenValues are the numbers that a rule saw, by source; nil where one could not
// be used, or was not asked for.
type SeenValues map[string]*float64

// parseSeen reads {"source": "number" or null}.
func parseSeen(text string) (SeenValues, error) {
	var texts map[string]*string
	if err := decode(text, &texts); err != nil {
		return nil, err
	}
	return seenOf(texts)
}

func seenOf(texts map[string]*string) (SeenValues, error) {
	seen := SeenValues{}
	for source, text := range texts {
		seen[source] = nil
		if text == nil {
			continue
		}
		number, err := ems.ParseNumber(*text)
		if err != nil {
			return nil, err
		}
		seen[source] = &number
	}
	return seen, nil
}

// Firing is one time that a rule became active.
type Firing struct {
	Time   time.Time  `json:"time"`
	Values SeenValues `json:"values"`
}

// MaxFirings are kept of each rule.
const MaxFirings = 20

// RuleFirings returns the last firings of a rule, newest first.
func (c *Client) RuleFirings(ctx context.Context, id string, count int) ([]Firing, error) {
	texts, err := c.texts(ctx, "rule_firings", id, min(count, MaxFirings))
	if err != nil {
		return nil, err
	}
	firings := make([]Firing, len(texts))
	for i, text := range texts {
		var stored struct {
			Time   int64
			Values map[string]*string
		}
		if err := decode(text, &stored); err != nil {
			return nil, err
		}
		if firings[i].Values, err = seenOf(stored.Values); err != nil {
			return nil, err
		}
		firings[i].Time = ems.FromUnixMS(stored.Time)
	}
	return firings, nil
}

// Triggered is the To of an event that no change of state is behind: somebody had
// the actions carried out by hand. Where somebody switches a rule or removes it, To
// is enabled, disabled or deleted.
const Triggered = "triggered"

// RuleEvent is one change of state of a rule, or what somebody did with it.
type RuleEvent struct {
	Entry  string         `json:"entry"` // where it stands among the events
	Rule   string         `json:"rule"`
	From   ems.RuleStatus `json:"from"`
	To     ems.RuleStatus `json:"to"`
	Time   time.Time      `json:"time"`
	By     string         `json:"by,omitempty"` // who had it carried out by hand
	Values SeenValues     `json:"values"`
}

// RuleEvents returns up to count events in order, after the entry named (empty
// for the oldest that is kept).
func (c *Client) RuleEvents(ctx context.Context, after string, count int) ([]RuleEvent, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	messages, err := c.redis.XRangeN(ctx, c.namespace.RuleEvents(), from, "+", int64(count)).Result()
	if err != nil {
		return nil, c.fail("XRANGE", err)
	}
	events := make([]RuleEvent, len(messages))
	for i, message := range messages {
		field := func(name string) string { text, _ := message.Values[name].(string); return text }
		values, err := parseSeen(field("values"))
		if err != nil {
			return nil, err
		}
		events[i] = RuleEvent{
			Entry: message.ID, Rule: field("rule"), From: ems.RuleStatus(field("from")), To: ems.RuleStatus(field("to")),
			Time: ems.FromUnixMS(integer(field("time"))), By: field("by"), Values: values,
		}
	}
	return events, nil
}

// TrialValue is one event of a trial: a source has a number from a time on, or
// none that may be acted on.
type TrialValue struct {
	Time   time.Time
	Source string
	Number *float64
}

// TrialChange is one change of state that a rule would have made.
type TrialChange struct {
	Time   time.Time      `json:"time"`
	From   ems.RuleStatus `json:"from"`
	To     ems.RuleStatus `json:"to"`
	Values SeenValues     `json:"values"`
}

// LiveTrial is what a rule says of the live values.
type LiveTrial struct {
	Outcome string     `json:"outcome"` // true, false, or unknown: an input that decides cannot be used
	Values  SeenValues `json:"values"`
	InForce bool       `json:"in_force"` // its schedule allows it to become active now
}

// TryRule looks at the live values with a rule that need not be stored, as if its
// schedule were in force. Nothing is written.
func (c *Client) TryRule(ctx context.Context, rule ems.Rule) (LiveTrial, error) {
	text, err := encode(rule)
	if err != nil {
		return LiveTrial{}, about("rule", rule.ID, err)
	}
	texts, err := c.texts(ctx, "rule_test", rule.ID, text, "", "live", c.now())
	if err != nil {
		return LiveTrial{}, about("rule", rule.ID, err)
	}
	if len(texts) != 5 {
		return LiveTrial{}, ems.Errorf(ems.CodeInternal, "rule_test answered %d texts", len(texts))
	}
	values, err := parseSeen(texts[4])
	return LiveTrial{Outcome: texts[3], Values: values, InForce: true}, err
}

// Replay is a rule that is run over values, in the order of their time, from
// idle on. Nothing is written.
type Replay struct {
	client *Client
	rule   ems.Rule
	text   string
	handed string
}

// NewReplay begins with a rule that need not be stored. windows says when it is
// in force, for a rule with a schedule.
func (c *Client) NewReplay(rule ems.Rule, windows []ems.Window) (*Replay, error) {
	spans := make([][2]int64, len(windows))
	for i, window := range windows {
		spans[i] = [2]int64{window.From.UnixMilli(), window.Till.UnixMilli()}
	}
	text, err := encode(struct {
		ems.Rule
		Windows [][2]int64 `json:"windows"`
	}{rule, spans})
	return &Replay{client: c, rule: rule, text: text}, about("rule", rule.ID, err)
}

// replayValues of one call: others wait while it runs.
const replayValues = 200

// Step runs the rule over the next values and returns the changes of state. Time
// goes on from value to value: delays end between them.
func (r *Replay) Step(ctx context.Context, values []TrialValue) ([]TrialChange, error) {
	var changes []TrialChange
	for len(values) > 0 {
		part := values[:min(len(values), replayValues)]
		values = values[len(part):]
		args := []any{r.text, r.handed, "given"}
		for _, value := range part {
			number := ""
			if value.Number != nil {
				text, err := ems.FormatNumber(*value.Number)
				if err != nil {
					return nil, err
				}
				number = text
			}
			args = append(args, value.Time.UnixMilli(), value.Source, number)
		}
		texts, err := r.client.texts(ctx, "rule_test", r.rule.ID, args...)
		if err != nil {
			return nil, about("rule", r.rule.ID, err)
		}
		for i := 1; i+3 < len(texts); i += 4 {
			seen, err := parseSeen(texts[i+3])
			if err != nil {
				return nil, err
			}
			changes = append(changes, TrialChange{
				Time: ems.FromUnixMS(integer(texts[i])), From: ems.RuleStatus(texts[i+1]), To: ems.RuleStatus(texts[i+2]), Values: seen,
			})
		}
		r.handed = texts[0]
	}
	return changes, nil
}
