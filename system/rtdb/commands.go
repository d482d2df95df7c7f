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

// commandGroup is the consumer group through which comsrv takes commands.
const commandGroup = "comsrv"

// SendCommand queues a command. The same id again is the same command: it is
// not queued twice. UNKNOWN says that Redis may have taken it.
func (c *Client) SendCommand(ctx context.Context, command ems.Command) error {
	number, err := ems.FormatNumber(command.Value)
	if err != nil {
		return err
	}
	args := []any{
		command.ID, command.Target.Type.String(), strconv.FormatUint(uint64(command.Target.Point), 10), number,
		ems.UnixMS(command.Issued), ems.UnixMS(command.Deadline), command.Origin,
	}
	if command.Hold > 0 {
		args = append(args, command.Hold.Milliseconds())
	}
	return sendError(command, c.fail("comsrv_command", c.call(ctx, "comsrv_command", channelName(command.Target.Channel), args...).Err()))
}

// Delivery is a command as the stream handed it over.
type Delivery struct {
	ems.Command
	entry string // stream id, needed to finish it
}

// CommandReader takes the commands of a set of channels.
type CommandReader struct {
	client   *Client
	channels []ems.ChannelID
	consumer string
	// Entries delivered before a restart come first: after is the last one seen
	// of each stream, nil when all were.
	after map[ems.ChannelID]string
}

// ReadCommands returns a reader for the commands of channels. consumer names
// this process and stays the same over restarts, so that what it had taken and
// not finished comes again.
func (c *Client) ReadCommands(consumer string, channels []ems.ChannelID) *CommandReader {
	return &CommandReader{client: c, channels: channels, consumer: consumer, after: map[ems.ChannelID]string{}}
}

// Next waits up to wait for commands. Those that were delivered before and
// never finished come first; BeginCommand tells what may be done with them.
func (r *CommandReader) Next(ctx context.Context, wait time.Duration) ([]Delivery, error) {
	if len(r.channels) == 0 {
		return nil, nil
	}
	if r.after != nil && len(r.after) == 0 {
		if err := r.createGroups(ctx); err != nil {
			return nil, err
		}
	}
	args := &redis.XReadGroupArgs{Group: commandGroup, Consumer: r.consumer, Count: 100, Block: wait}
	if r.after != nil {
		args.Block = -1 // what was delivered before is there or not
	}
	byKey := map[string]ems.ChannelID{}
	var from []string
	for _, channel := range r.channels {
		key := r.client.namespace.Commands(channel)
		byKey[key] = channel
		args.Streams = append(args.Streams, key)
		from = append(from, r.from(channel))
	}
	args.Streams = append(args.Streams, from...)
	streams, err := r.client.redis.XReadGroup(ctx, args).Result()
	if err != nil && !isNil(err) {
		if strings.HasPrefix(err.Error(), "NOGROUP") { // Redis came back empty
			r.after = map[ems.ChannelID]string{}
		}
		return nil, r.client.fail("XREADGROUP", err)
	}
	return r.take(ctx, streams, byKey)
}

func (r *CommandReader) createGroups(ctx context.Context) error {
	for _, channel := range r.channels {
		if err := r.client.createGroup(ctx, r.client.namespace.Commands(channel), commandGroup); err != nil {
			return err
		}
	}
	return nil
}

// createGroup makes a consumer group, and its stream, unless they are there. A
// Redis that is full refuses to say so and is asked in another way: what waits in
// the stream can still be taken.
func (c *Client) createGroup(ctx context.Context, stream, group string) error {
	err := c.redis.XGroupCreateMkStream(ctx, stream, group, "0").Err()
	if err == nil || strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	if strings.HasPrefix(err.Error(), "OOM") {
		groups, infoErr := c.redis.XInfoGroups(ctx, stream).Result()
		if infoErr == nil && slices.ContainsFunc(groups, func(one redis.XInfoGroup) bool { return one.Name == group }) {
			return nil
		}
	}
	return c.fail("XGROUP CREATE", err)
}

// from returns the id after which a stream is read.
func (r *CommandReader) from(channel ems.ChannelID) string {
	switch {
	case r.after == nil:
		return ">"
	case r.after[channel] == "":
		return "0"
	default:
		return r.after[channel]
	}
}

// take reads the entries. One that is no command is told and removed.
func (r *CommandReader) take(ctx context.Context, streams []redis.XStream, byKey map[string]ems.ChannelID) ([]Delivery, error) {
	var deliveries []Delivery
	entries := 0
	for _, stream := range streams {
		for _, message := range stream.Messages {
			entries++
			if r.after != nil {
				r.after[byKey[stream.Stream]] = message.ID
			}
			delivery, err := parseDelivery(byKey[stream.Stream], message)
			if err == nil {
				deliveries = append(deliveries, delivery)
				continue
			}
			r.client.logger.Error("an entry of the commands cannot be read and is removed", "stream", stream.Stream, "entry", message.ID, "error", err)
			if err := r.client.remove(ctx, stream.Stream, commandGroup, message.ID); err != nil {
				return nil, err
			}
		}
	}
	if entries == 0 {
		r.after = nil
	}
	return deliveries, nil
}

// remove takes an entry out of a group and its stream. Both can be done again, and
// not in a transaction, which a Redis that is full refuses.
func (c *Client) remove(ctx context.Context, stream, group, entry string) error {
	pipeline := c.redis.Pipeline()
	pipeline.XAck(ctx, stream, group, entry)
	pipeline.XDel(ctx, stream, entry)
	_, err := pipeline.Exec(ctx)
	return c.fail("XACK", err)
}

func parseDelivery(channel ems.ChannelID, message redis.XMessage) (Delivery, error) {
	field := func(name string) string { text, _ := message.Values[name].(string); return text }
	kind, err := ems.ParsePointType(field("type"))
	if err != nil {
		return Delivery{}, err
	}
	point, err := ems.ParsePointID(field("point"))
	if err != nil {
		return Delivery{}, err
	}
	value, err := ems.ParseNumber(field("value"))
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{
		Command: ems.Command{
			ID: field("id"), Target: ems.PointRef{Channel: channel, Type: kind, Point: point}, Value: value,
			Issued: ems.FromUnixMS(integer(field("issued"))), Deadline: ems.FromUnixMS(integer(field("deadline"))), Origin: field("origin"),
			Hold: time.Duration(integer(field("hold"))) * time.Millisecond,
		},
		entry: message.ID,
	}, nil
}

// BeginCommand moves a command from queued to executing. It fails with EXPIRED
// after the deadline and with CONFLICT when the command has been begun before:
// then bytes may have left, and the caller finishes it as unknown.
func (c *Client) BeginCommand(ctx context.Context, delivery Delivery) error {
	return c.fail("comsrv_command_begin", c.call(ctx, "comsrv_command_begin", channelName(delivery.Target.Channel),
		delivery.ID, c.now()).Err())
}

// FinishCommand stores the final state of a command and takes it out of the
// stream.
func (c *Client) FinishCommand(ctx context.Context, delivery Delivery, result ems.CommandResult) error {
	readBack := ""
	if result.ReadBack != nil {
		text, err := ems.FormatNumber(*result.ReadBack)
		if err != nil {
			return err
		}
		readBack = text
	}
	return c.fail("comsrv_command_result", c.call(ctx, "comsrv_command_result", channelName(delivery.Target.Channel),
		delivery.ID, string(result.State), readBack, result.Reason, ems.UnixMS(result.Time), delivery.entry).Err())
}

// Command returns how far a command has come.
func (c *Client) Command(ctx context.Context, channel ems.ChannelID, id string) (ems.CommandResult, error) {
	reply, err := c.texts(ctx, "comsrv_command_get", channelName(channel), id)
	if err != nil {
		return ems.CommandResult{}, err
	}
	return parseResult(channel, reply)
}

// parseResult reads id, type, point, value, state, read-back, reason, time.
func parseResult(channel ems.ChannelID, reply []string) (ems.CommandResult, error) {
	if len(reply) != 8 {
		return ems.CommandResult{}, ems.Errorf(ems.CodeInternal, "a command result has %d texts instead of 8", len(reply))
	}
	kind, err := ems.ParsePointType(reply[1])
	if err != nil {
		return ems.CommandResult{}, err
	}
	point, err := ems.ParsePointID(reply[2])
	if err != nil {
		return ems.CommandResult{}, err
	}
	value, err := ems.ParseNumber(reply[3])
	if err != nil {
		return ems.CommandResult{}, err
	}
	result := ems.CommandResult{
		ID: reply[0], Target: ems.PointRef{Channel: channel, Type: kind, Point: point}, Value: value,
		State: ems.CommandState(reply[4]), Reason: reply[6], Time: ems.FromUnixMS(integer(reply[7])),
	}
	if reply[5] != "" {
		number, err := ems.ParseNumber(reply[5])
		if err != nil {
			return ems.CommandResult{}, err
		}
		result.ReadBack = &number
	}
	return result, nil
}
