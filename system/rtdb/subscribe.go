package rtdb

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Event is one message told over pub/sub: a hint for screens, which may miss
// some. Data is JSON.
type Event struct {
	Kind string // "update", "alarm" or "rule"
	Data string
}

// subscriptionBuffer bounds the events that wait for a slow reader; beyond it
// the oldest hints are of no use and new ones are dropped by the connection.
const subscriptionBuffer = 1000

// Subscribe delivers updates, alarms and rule triggers of the site to receive
// until ctx ends. It reconnects by itself; what happened meanwhile is missed.
func (c *Client) Subscribe(ctx context.Context, receive func(Event)) error {
	subscription := c.redis.PSubscribe(ctx, c.namespace.UpdatesPattern(), c.namespace.AlarmsNew(), c.namespace.RulesTriggered())
	defer subscription.Close()
	messages := subscription.Channel(redis.WithChannelSize(subscriptionBuffer))
	for {
		select {
		case <-ctx.Done():
			return nil
		case message, open := <-messages:
			if !open {
				return nil
			}
			receive(Event{Kind: c.kind(message.Channel), Data: message.Payload})
		}
	}
}

func (c *Client) kind(channel string) string {
	switch channel {
	case c.namespace.AlarmsNew():
		return "alarm"
	case c.namespace.RulesTriggered():
		return "rule"
	default:
		return "update"
	}
}
