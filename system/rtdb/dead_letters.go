package rtdb

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// DeadLetter is a notification that a target did not take.
type DeadLetter struct {
	ID       string          `json:"id"` // grows with every letter: "1782000000000-0"
	Target   string          `json:"target"`
	Notice   string          `json:"notification"` // the id of the notification
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	Time     time.Time       `json:"time"` // when it was given up
	Document json.RawMessage `json:"document"`
}

// deadLetterLimit bounds the letters that are kept.
const deadLetterLimit = 1000

// Bury keeps a notification as a dead letter, of which the ID is given here, and
// says that the target is done with it. dropped reports whether the oldest letter
// gave way to it.
func (r *NotificationReader) Bury(ctx context.Context, notice Notice, letter DeadLetter) (dropped bool, err error) {
	c := r.client
	dead := c.namespace.NotificationsDead()
	stream, entry := c.place(notice)
	pipeline := c.redis.TxPipeline()
	kept := pipeline.XLen(ctx, dead)
	pipeline.XAdd(ctx, &redis.XAddArgs{Stream: dead, MaxLen: deadLetterLimit, Values: []any{
		"target", letter.Target, "notice", letter.Notice, "reason", letter.Reason, "attempts", letter.Attempts,
		"time", milliseconds(letter.Time), "document", string(letter.Document),
	}})
	pipeline.XAck(ctx, stream, r.target, entry)
	if _, err := pipeline.Exec(ctx); err != nil {
		return false, r.failed(c.fail("XADD", err))
	}
	return kept.Val() >= deadLetterLimit, r.failed(r.trim(ctx, stream))
}

// DeadLetters returns up to count dead letters, newest first, those before the
// letter after unless that is empty; next is empty on the last page.
func (c *Client) DeadLetters(ctx context.Context, after string, count int) (letters []DeadLetter, next string, err error) {
	from := "+"
	if after != "" {
		if _, _, err := splitID(after); err != nil {
			return nil, "", err
		}
		from = "(" + after
	}
	messages, err := c.redis.XRevRangeN(ctx, c.namespace.NotificationsDead(), from, "-", int64(count)+1).Result()
	if err != nil {
		return nil, "", c.fail("XREVRANGE", err)
	}
	if len(messages) > count {
		messages = messages[:count]
		next = messages[count-1].ID
	}
	letters = make([]DeadLetter, len(messages))
	for i, message := range messages {
		letters[i] = parseDeadLetter(message)
	}
	return letters, next, nil
}

// DeadLetter returns one dead letter; NOT_FOUND when there is none.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	if _, _, err := splitID(id); err != nil {
		return DeadLetter{}, err
	}
	messages, err := c.redis.XRange(ctx, c.namespace.NotificationsDead(), id, id).Result()
	if err != nil {
		return DeadLetter{}, c.fail("XRANGE", err)
	}
	if len(messages) == 0 {
		return DeadLetter{}, ems.Errorf(ems.CodeNotFound, "no dead letter %s: it was delivered, or gave way to newer ones", id)
	}
	return parseDeadLetter(messages[0]), nil
}

// RemoveDeadLetter removes a dead letter.
func (c *Client) RemoveDeadLetter(ctx context.Context, id string) error {
	return c.fail("XDEL", c.redis.XDel(ctx, c.namespace.NotificationsDead(), id).Err())
}

func parseDeadLetter(message redis.XMessage) DeadLetter {
	field := func(name string) string { text, _ := message.Values[name].(string); return text }
	attempts, _ := strconv.Atoi(field("attempts"))
	return DeadLetter{
		ID: message.ID, Target: field("target"), Notice: field("notice"), Reason: field("reason"), Attempts: attempts,
		Time: ems.FromUnixMS(integer(field("time"))), Document: json.RawMessage(field("document")),
	}
}
