package rtdb

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Notice is a notification as its stream handed it over.
type Notice struct {
	ems.Notification
	ID     string    // unique in the site and the same each time: "alarmsrv:1782000000000-0"
	Queued time.Time // by the clock of Redis
}

// noticeConsumer is the only reader of every group: it stays the same over
// restarts, so that what was taken and not finished comes again.
const noticeConsumer = "netsrv"

// noticesAtOnce bounds what is taken of a stream by one call.
const noticesAtOnce = 100

// noticeStream is one of the two streams of what people are to be told.
type noticeStream struct {
	key    string
	origin string // the service whose functions write to it
}

func (c *Client) noticeStreams() []noticeStream {
	return []noticeStream{
		{c.namespace.Notifications(), string(ems.Alarmsrv)}, {c.namespace.Actions(), string(ems.Rulesrv)},
	}
}

// place returns where a notification is kept.
func (c *Client) place(notice Notice) (stream, entry string) {
	origin, entry, _ := strings.Cut(notice.ID, ":")
	for _, one := range c.noticeStreams() {
		if one.origin == origin {
			stream = one.key
		}
	}
	return stream, entry
}

// NotificationReader takes notifications for one target. Each target has a
// consumer group of its own, and by that its own place in the streams: one that
// is away delays nobody else. What all targets are done with is removed.
type NotificationReader struct {
	client  *Client
	target  string
	targets []string
	fresh   bool // what was delivered before and never finished has been taken again
}

// ReadNotifications returns a reader for one of the targets of the site. It is
// not safe for concurrent use.
func (c *Client) ReadNotifications(target string, targets []string) *NotificationReader {
	return &NotificationReader{client: c, target: target, targets: targets}
}

// Next waits up to wait for notifications, in the order of each stream. One comes
// again, after an error or a restart, until it is finished or buried; those come
// first.
func (r *NotificationReader) Next(ctx context.Context, wait time.Duration) ([]Notice, error) {
	from := ">"
	if !r.fresh {
		from, wait = "0", -1
		if err := r.open(ctx); err != nil {
			return nil, err
		}
	}
	args := &redis.XReadGroupArgs{Group: r.target, Consumer: noticeConsumer, Count: noticesAtOnce, Block: wait}
	streams := r.client.noticeStreams()
	for _, stream := range streams {
		args.Streams = append(args.Streams, stream.key)
	}
	for range streams {
		args.Streams = append(args.Streams, from)
	}
	found, err := r.client.redis.XReadGroup(ctx, args).Result()
	if err != nil && !isNil(err) {
		return nil, r.failed(r.client.fail("XREADGROUP", err))
	}
	var notices []Notice
	taken := 0
	for _, stream := range found {
		at := slices.IndexFunc(streams, func(s noticeStream) bool { return s.key == stream.Stream })
		for _, message := range stream.Messages {
			taken++
			notice, usable, err := r.take(ctx, streams[at], message)
			if err != nil {
				return nil, r.failed(err)
			}
			if usable {
				notices = append(notices, notice)
			}
		}
	}
	r.fresh = r.fresh || taken == 0
	return notices, nil
}

// failed has the next call begin with what was taken and not finished: Redis may
// have come back with it, or empty.
func (r *NotificationReader) failed(err error) error {
	if err != nil {
		r.fresh = false
	}
	return err
}

// open makes the groups of all targets, before any of them takes and with that
// removes something, and ends those of targets that left the site.
func (r *NotificationReader) open(ctx context.Context) error {
	c := r.client
	for _, stream := range c.noticeStreams() {
		for _, target := range r.targets {
			if err := c.createGroup(ctx, stream.key, target); err != nil {
				return err
			}
		}
		groups, err := c.redis.XInfoGroups(ctx, stream.key).Result()
		if err != nil {
			return c.fail("XINFO GROUPS", err)
		}
		for _, group := range groups {
			if slices.Contains(r.targets, group.Name) {
				continue
			}
			if err := c.redis.XGroupDestroy(ctx, stream.key, group.Name).Err(); err != nil {
				return c.fail("XGROUP DESTROY", err)
			}
			if err := c.redis.HDel(ctx, c.namespace.NotificationsLost(), group.Name).Err(); err != nil {
				return c.fail("HDEL", err)
			}
		}
	}
	return nil
}

// take reads one entry. It is not usable where it gave way in a full stream after
// it was taken, which is counted, or cannot be read.
func (r *NotificationReader) take(ctx context.Context, stream noticeStream, message redis.XMessage) (notice Notice, usable bool, err error) {
	if message.Values == nil {
		lost := r.client.redis.TxPipeline()
		lost.HIncrBy(ctx, r.client.namespace.NotificationsLost(), r.target, 1)
		lost.XAck(ctx, stream.key, r.target, message.ID)
		_, err := lost.Exec(ctx)
		return Notice{}, false, r.client.fail("XACK", err)
	}
	notice, err = parseNotice(stream, message)
	if err != nil {
		r.client.logger.Error("a notification cannot be read and is passed over", "target", r.target, "stream", stream.key, "entry", message.ID, "error", err)
		return Notice{}, false, r.Finish(ctx, Notice{ID: stream.origin + ":" + message.ID})
	}
	return notice, true, nil
}

func parseNotice(stream noticeStream, message redis.XMessage) (Notice, error) {
	field := func(name string) string { text, _ := message.Values[name].(string); return text }
	milliseconds, _, _ := strings.Cut(message.ID, "-")
	notice := Notice{
		ID: stream.origin + ":" + message.ID, Queued: ems.FromUnixMS(integer(milliseconds)),
		Notification: ems.Notification{Kind: field("kind"), Rule: field("rule"), Time: ems.FromUnixMS(integer(field("time")))},
	}
	if field("type") == ems.ActionNotify {
		notice.Kind, notice.To, notice.Message = ems.NotifyRule, field("to"), field("message")
		return notice, nil
	}
	value, err := optionalNumber(field("value"))
	if err != nil {
		return Notice{}, err
	}
	notice.Alarm, notice.Level, notice.Source = field("alarm"), ems.AlarmLevel(field("level")), field("source")
	notice.Title, notice.Description, notice.Occurrence, notice.Value = field("title"), field("description"), integer(field("occurrence")), value
	notice.Count, notice.Levels, notice.Sources = integer(field("count")), field("levels"), field("sources")
	switch notice.Kind {
	case ems.NotifyAlarm:
		notice.Reason = field("text")
	case ems.NotifySummary:
		since := ems.FromUnixMS(integer(field("since")))
		notice.Reason, notice.Since, notice.To, notice.Escalated = field("text"), &since, field("to"), field("escalated")
	case ems.NotifyEscalation:
		notice.To = field("text")
	default:
		return Notice{}, ems.Errorf(ems.CodeInternal, "no notification is of the kind %q", notice.Kind)
	}
	return notice, nil
}

// Finish says that the target is done with a notification.
func (r *NotificationReader) Finish(ctx context.Context, notice Notice) error {
	stream, entry := r.client.place(notice)
	if err := r.client.redis.XAck(ctx, stream, r.target, entry).Err(); err != nil {
		return r.failed(r.client.fail("XACK", err))
	}
	return r.failed(r.trim(ctx, stream))
}

// trim removes from a stream what every target is done with. A group that is not
// there yet is to have everything.
func (r *NotificationReader) trim(ctx context.Context, stream string) error {
	c := r.client
	groups, err := c.redis.XInfoGroups(ctx, stream).Result()
	if err != nil {
		return c.fail("XINFO GROUPS", err)
	}
	first := ""
	for _, target := range r.targets {
		at := slices.IndexFunc(groups, func(group redis.XInfoGroup) bool { return group.Name == target })
		if at < 0 {
			return nil
		}
		needed := followingID(groups[at].LastDeliveredID)
		if groups[at].Pending > 0 {
			pending, err := c.redis.XPending(ctx, stream, target).Result()
			if err != nil {
				return c.fail("XPENDING", err)
			}
			if pending.Lower != "" {
				needed = pending.Lower
			}
		}
		if first == "" || isEarlier(needed, first) {
			first = needed
		}
	}
	return c.fail("XTRIM", c.redis.XTrimMinID(ctx, stream, first).Err())
}

// splitID takes the id of an entry apart.
func splitID(id string) (milliseconds, number uint64, err error) {
	first, second, _ := strings.Cut(id, "-")
	if milliseconds, err = strconv.ParseUint(first, 10, 64); err == nil {
		number, err = strconv.ParseUint(second, 10, 64)
	}
	if err != nil {
		return 0, 0, ems.Errorf(ems.CodeInvalid, "%q is not the id of an entry, for example 1782000000000-0", id)
	}
	return milliseconds, number, nil
}

// followingID and isEarlier are for ids that Redis gave.
func followingID(id string) string {
	milliseconds, number, _ := splitID(id)
	return strconv.FormatUint(milliseconds, 10) + "-" + strconv.FormatUint(number+1, 10)
}

func isEarlier(id, other string) bool {
	milliseconds, number, _ := splitID(id)
	otherMilliseconds, otherNumber, _ := splitID(other)
	return milliseconds < otherMilliseconds || milliseconds == otherMilliseconds && number < otherNumber
}

// NotificationStatus is how the notifications stand.
type NotificationStatus struct {
	Waiting map[string]int64 // by target: those that it is not done with
	Lost    map[string]int64 // by target: those that gave way in a full stream before it had them
	Dropped int64            // that gave way before all targets had them
	Dead    int64            // dead letters kept
}

// NotificationStatus returns how the notifications stand for some targets.
func (c *Client) NotificationStatus(ctx context.Context, targets []string) (NotificationStatus, error) {
	status := NotificationStatus{Waiting: map[string]int64{}, Lost: map[string]int64{}}
	for _, stream := range c.noticeStreams() {
		groups, err := c.redis.XInfoGroups(ctx, stream.key).Result()
		if err != nil && !strings.Contains(err.Error(), "no such key") {
			return status, c.fail("XINFO GROUPS", err)
		}
		for _, group := range groups {
			if !slices.Contains(targets, group.Name) {
				continue
			}
			unread, err := c.countAfter(ctx, stream.key, group.LastDeliveredID)
			if err != nil {
				return status, err
			}
			status.Waiting[group.Name] += group.Pending + unread
		}
	}
	pipeline := c.redis.Pipeline()
	lost := pipeline.HGetAll(ctx, c.namespace.NotificationsLost())
	alarms := pipeline.HGet(ctx, c.namespace.Of("alarmsrv:counters"), "notifications_dropped")
	rules := pipeline.HGet(ctx, c.namespace.Of("rulesrv:counters"), "actions_dropped")
	dead := pipeline.XLen(ctx, c.namespace.NotificationsDead())
	if _, err := pipeline.Exec(ctx); err != nil && !isNil(err) {
		return status, c.fail("HGETALL", err)
	}
	for _, target := range targets {
		status.Lost[target] = integer(lost.Val()[target])
	}
	status.Dropped, status.Dead = integer(alarms.Val())+integer(rules.Val()), dead.Val()
	return status, nil
}

// countAfter counts the entries after one. The lag that Redis itself tells is
// wrong, in some of its versions, once entries gave way unread.
func (c *Client) countAfter(ctx context.Context, stream, id string) (count int64, err error) {
	for {
		const page = 1000
		messages, err := c.redis.XRangeN(ctx, stream, "("+id, "+", page).Result()
		if err != nil {
			return 0, c.fail("XRANGE", err)
		}
		count += int64(len(messages))
		if len(messages) < page {
			return count, nil
		}
		id = messages[page-1].ID
	}
}
