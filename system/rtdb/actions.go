package rtdb

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

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
