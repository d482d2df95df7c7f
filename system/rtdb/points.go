package rtdb

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// MaxBatch is the most samples that one call carries: other clients of Redis
// wait while a call runs, so longer batches travel as several calls.
const MaxBatch = 200

// Sample is what a poll found out about one point.
type Sample struct {
	Point   ems.PointID
	Number  float64     // engineering units; ignored when the quality is bad
	Quality ems.Quality // of a bad point the last good value and its time are kept
}

// Batch is what one poll of one type of points brought.
type Batch struct {
	Channel ems.ChannelID
	Type    ems.PointType
	Group   string    // the poll group that succeeded; empty when the poll failed
	Time    time.Time // source time of every sample
	Samples []Sample  // what changed; may be empty when only freshness is to be told
}

// Ingest stores batches, in order and each atomically together with its
// history, rules, alarms and commands. On an error the caller does not know
// which batches were stored, and sends everything anew later: storing the same
// values again changes nothing.
func (c *Client) Ingest(ctx context.Context, batches ...Batch) error {
	var calls []libraryCall
	for _, batch := range batches {
		samples := batch.Samples
		for {
			part := samples[:min(len(samples), MaxBatch)]
			samples = samples[len(part):]
			args, err := ingestArgs(batch, part)
			if err != nil {
				return err
			}
			calls = append(calls, libraryCall{name: channelName(batch.Channel), args: args})
			if len(samples) == 0 {
				break
			}
		}
	}
	return c.callAll(ctx, "comsrv_ingest", calls)
}

// ingestArgs lays a batch out as comsrv_ingest takes it: what is not good first,
// then the good points and their numbers, just as the hash takes them.
func ingestArgs(batch Batch, samples []Sample) ([]any, error) {
	doubted := 0
	for _, sample := range samples {
		if sample.Quality != ems.Good {
			doubted++
		}
	}
	args := make([]any, 0, 4+2*len(samples)+doubted)
	args = append(args, batch.Type.String(), strconv.FormatInt(ems.UnixMS(batch.Time), 10), batch.Group, strconv.Itoa(doubted))
	for _, isGood := range []bool{false, true} {
		for _, sample := range samples {
			if (sample.Quality == ems.Good) != isGood {
				continue
			}
			number := ""
			if sample.Quality != ems.Bad {
				text, err := ems.FormatNumber(sample.Number)
				if err != nil {
					return nil, ems.Errorf(ems.CodeInvalid, "channel %d %s:%d: %w", batch.Channel, batch.Type, sample.Point, err)
				}
				number = text
			}
			args = append(args, strconv.FormatUint(uint64(sample.Point), 10), number)
			if !isGood {
				args = append(args, sample.Quality.String())
			}
		}
	}
	return args, nil
}

// ChannelStatus is the state of a channel as its comsrv last told it.
type ChannelStatus struct {
	Online      bool
	Reason      string        // why it is not online
	Errors      int64         // failed polls since comsrv started
	RoundTrip   time.Duration // of the last poll
	StaleAfter  time.Duration // a value is stale when its group's last success is older
	LastSuccess time.Time     // latest over all poll groups; zero if never
	Groups      map[string]GroupStatus
}

// GroupStatus is the state of a poll group.
type GroupStatus struct {
	StaleAfter  time.Duration // in place of that of the channel
	LastSuccess time.Time     // told with the values alone; zero if never
}

// SetStatus stores the state of a channel. What is stored of a poll group stays, if
// the channel still has it.
func (c *Client) SetStatus(ctx context.Context, channel ems.ChannelID, status ChannelStatus) error {
	online := "0"
	if status.Online {
		online = "1"
	}
	args := []any{online, status.Reason, status.Errors, status.RoundTrip.Microseconds(), status.StaleAfter.Milliseconds(), c.now()}
	for name, group := range status.Groups {
		if name != ems.DefaultGroup { // which has that of the channel
			args = append(args, name, group.StaleAfter.Milliseconds())
		}
	}
	return c.fail("comsrv_status", c.call(ctx, "comsrv_status", channelName(channel), args...).Err())
}

// Status returns the state of a channel; NOT_FOUND when no comsrv ever told it.
func (c *Client) Status(ctx context.Context, channel ems.ChannelID) (ChannelStatus, error) {
	fields, err := c.redis.HGetAll(ctx, c.namespace.Status(channel)).Result()
	if err != nil {
		return ChannelStatus{}, c.fail("HGETALL", err)
	}
	if len(fields) == 0 {
		return ChannelStatus{}, ems.Errorf(ems.CodeNotFound, "channel %d has never been polled", channel)
	}
	status := ChannelStatus{
		Online: fields["online"] == "1", Reason: fields["reason"], Errors: integer(fields["errors"]),
		RoundTrip:  time.Duration(integer(fields["round_trip_us"])) * time.Microsecond,
		StaleAfter: time.Duration(integer(fields["stale_after_ms"])) * time.Millisecond,
		Groups:     map[string]GroupStatus{},
	}
	for field, text := range fields {
		name, isGroup := strings.CutPrefix(field, "group:")
		if !isGroup {
			continue
		}
		group := GroupStatus{StaleAfter: status.StaleAfter, LastSuccess: ems.FromUnixMS(integer(text))}
		if own, told := fields["stale_after_ms:"+name]; told {
			group.StaleAfter = time.Duration(integer(own)) * time.Millisecond
		}
		if status.Groups[name] = group; group.LastSuccess.After(status.LastSuccess) {
			status.LastSuccess = group.LastSuccess
		}
	}
	return status, nil
}

// Channels returns the channels that a comsrv ever told of, in the order of their
// numbers.
func (c *Client) Channels(ctx context.Context) ([]ems.ChannelID, error) {
	texts, err := c.texts(ctx, "comsrv_channels", "all")
	if err != nil {
		return nil, err
	}
	var channels []ems.ChannelID
	for i := 0; i < len(texts); i += 5 {
		channel, err := ems.ParseChannelID(texts[i])
		if err != nil {
			return nil, err
		}
		channels = append(channels, channel)
	}
	return channels, nil
}

// RemoveChannel removes all that was stored of a channel: values, state, commands
// and their results.
func (c *Client) RemoveChannel(ctx context.Context, channel ems.ChannelID) error {
	for {
		reply, err := c.text(ctx, "comsrv_remove", channelName(channel))
		if err != nil {
			return err
		}
		if reply == "done" {
			return c.fail("UNLINK", c.redis.Unlink(ctx, c.namespace.RegisterWrites(channel)).Err())
		}
	}
}

// Mark sets the quality of every stored point of a channel at once, for example
// to bad when the device stopped answering. Values and times stay.
func (c *Client) Mark(ctx context.Context, channel ems.ChannelID, quality ems.Quality) error {
	word := ""
	if quality != ems.Good {
		word = quality.String()
	}
	return c.fail("comsrv_mark", c.call(ctx, "comsrv_mark", channelName(channel), word, c.now()).Err())
}

// ReadPoints returns the value of each point in the order asked. A point that
// was never read is bad with a zero time. A good value whose poll group has not
// succeeded lately is stale.
func (c *Client) ReadPoints(ctx context.Context, channel ems.ChannelID, t ems.PointType, points []ems.PointID) ([]ems.Value, error) {
	values := make([]ems.Value, 0, len(points))
	for len(points) > 0 {
		part := points[:min(len(points), MaxBatch)]
		points = points[len(part):]
		args := make([]any, 0, 2+len(part))
		args = append(args, t.String(), c.now())
		for _, point := range part {
			args = append(args, strconv.FormatUint(uint64(point), 10))
		}
		reply, err := c.lists(ctx, "comsrv_read", channelName(channel), args...)
		if err != nil {
			return nil, err
		}
		read, err := parseValues("comsrv_read", reply, len(part))
		if err != nil {
			return nil, err
		}
		values = append(values, read...)
	}
	return values, nil
}

// parseValues reads count numbers, times and qualities. A missing number was
// never read; no qualities at all mean that every value is good.
func parseValues(call string, lists []any, count int) ([]ems.Value, error) {
	wrong := ems.Errorf(ems.CodeInternal, "%s did not answer numbers, times and qualities of %d points", call, count)
	if len(lists) != 3 {
		return nil, wrong
	}
	numbers, isNumbers := lists[0].([]any)
	times, isTimes := lists[1].([]any)
	qualities, isQualities := lists[2].([]any)
	if !isNumbers || !isTimes || !isQualities || len(numbers) != count || len(times) != count || len(qualities) != 0 && len(qualities) != count {
		return nil, wrong
	}
	values := make([]ems.Value, count)
	for i := range values {
		text, isRead := numbers[i].(string)
		if !isRead {
			values[i].Quality = ems.Bad
			continue
		}
		number, err := ems.ParseNumber(text)
		if err != nil {
			return nil, err
		}
		values[i].Number = number
		if time, known := times[i].(string); known {
			values[i].Time = ems.FromUnixMS(integer(time))
		}
		if len(qualities) == 0 {
			continue
		}
		word, isText := qualities[i].(string)
		if !isText {
			return nil, wrong
		}
		if values[i].Quality, err = ems.ParseQuality(word); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func integer(text string) int64 {
	number, _ := strconv.ParseInt(text, 10, 64)
	return number
}

func channelName(channel ems.ChannelID) string { return strconv.FormatUint(uint64(channel), 10) }

// isNil reports whether Redis said that there is nothing.
func isNil(err error) bool { return errors.Is(err, redis.Nil) }
