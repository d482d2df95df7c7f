package rtdb

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// UpsertRule stores a rule and binds it to the points of its conditions. A rule
// that stays the same keeps its state.
func (c *Client) UpsertRule(ctx context.Context, rule ems.Rule) error {
	text, err := encode(rule)
	if err != nil {
		return about("rule", rule.ID, err)
	}
	_, err = c.text(ctx, "rule_upsert", rule.ID, text, c.now())
	return about("rule", rule.ID, err)
}

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
// active is cleared.
func (c *Client) DeleteRule(ctx context.Context, id string) error {
	_, err := c.text(ctx, "rule_delete", id, c.now())
	return err
}

// EnableRule switches a rule on or off. A rule switched off goes idle.
func (c *Client) EnableRule(ctx context.Context, id string, enabled bool) error {
	word := "0"
	if enabled {
		word = "1"
	}
	_, err := c.text(ctx, "rule_enable", id, word, c.now())
	return err
}

// EvaluateRule evaluates one rule against the live values, acts as ingest would,
// and returns where the rule stands.
func (c *Client) EvaluateRule(ctx context.Context, id string) (ems.RuleStatus, error) {
	text, err := c.text(ctx, "rule_evaluate", id, c.now())
	return ems.RuleStatus(text), err
}

// ActionEvent is an action that a service carries out: a rule fired a notify.
type ActionEvent struct {
	Entry   string
	Rule    string
	Type    string
	Message string
	Time    time.Time
}

// actionGroup is the consumer group of rulesrv.
const actionGroup = "rulesrv"

// NextActions waits up to wait for actions that rules asked for. An action is
// delivered again after a restart until AcknowledgeAction; fresh asks for new
// ones, else those delivered and never acknowledged.
func (c *Client) NextActions(ctx context.Context, consumer string, fresh bool, wait time.Duration) ([]ActionEvent, error) {
	key, from := c.namespace.Actions(), "0"
	if fresh {
		from = ">"
	} else {
		wait = -1
		if err := c.createGroup(ctx, key, actionGroup); err != nil {
			return nil, err
		}
	}
	streams, err := c.redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: actionGroup, Consumer: consumer, Streams: []string{key, from}, Count: 100, Block: wait,
	}).Result()
	if isNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.fail("XREADGROUP", err)
	}
	var events []ActionEvent
	for _, stream := range streams {
		for _, message := range stream.Messages {
			field := func(name string) string { text, _ := message.Values[name].(string); return text }
			events = append(events, ActionEvent{
				Entry: message.ID, Rule: field("rule"), Type: field("type"), Message: field("message"),
				Time: ems.FromUnixMS(integer(field("time"))),
			})
		}
	}
	return events, nil
}

// AcknowledgeAction says that an action was carried out.
func (c *Client) AcknowledgeAction(ctx context.Context, entry string) error {
	return c.remove(ctx, c.namespace.Actions(), actionGroup, entry)
}
