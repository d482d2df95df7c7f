package rtdb

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// commandGroup is the consumer group through which comsrv takes commands.
const commandGroup = "comsrv"

// SendCommand queues a command. The same id again is the same command: it is
// not queued twice.
func (c *Client) SendCommand(ctx context.Context, command ems.Command) error {
	number, err := ems.FormatNumber(command.Value)
	if err != nil {
		return err
	}
	return c.fail("comsrv_command", c.call(ctx, "comsrv_command", channelName(command.Target.Channel),
		command.ID, command.Target.Type.String(), strconv.FormatUint(uint64(command.Target.Point), 10), number,
		ems.UnixMS(command.Issued), ems.UnixMS(command.Deadline), command.Origin).Err())
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
	pending  bool // entries delivered before a restart come first
}

// ReadCommands returns a reader for the commands of channels. consumer names
// this process and stays the same over restarts, so that what it had taken and
// not finished comes again.
func (c *Client) ReadCommands(consumer string, channels []ems.ChannelID) *CommandReader {
	return &CommandReader{client: c, channels: channels, consumer: consumer, pending: true}
}

// Next waits up to wait for commands. Those that were delivered before and
// never finished come first; BeginCommand tells what may be done with them.
func (r *CommandReader) Next(ctx context.Context, wait time.Duration) ([]Delivery, error) {
	if len(r.channels) == 0 {
		return nil, nil
	}
	from := ">"
	if r.pending {
		from = "0"
		for _, channel := range r.channels {
			err := r.client.redis.XGroupCreateMkStream(ctx, r.client.namespace.Commands(channel), commandGroup, "0").Err()
			if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
				return nil, r.client.fail("XGROUP CREATE", err)
			}
		}
	}
	args := &redis.XReadGroupArgs{Group: commandGroup, Consumer: r.consumer, Count: 100, Block: wait}
	byKey := map[string]ems.ChannelID{}
	for _, channel := range r.channels {
		key := r.client.namespace.Commands(channel)
		byKey[key] = channel
		args.Streams = append(args.Streams, key)
	}
	for range r.channels {
		args.Streams = append(args.Streams, from)
	}
	if from == "0" {
		args.Block = -1
	}
	streams, err := r.client.redis.XReadGroup(ctx, args).Result()
	if isNil(err) {
		return nil, nil
	}
	if err != nil {
		if strings.HasPrefix(err.Error(), "NOGROUP") { // Redis came back empty
			r.pending = true
		}
		return nil, r.client.fail("XREADGROUP", err)
	}
	r.pending = false
	var deliveries []Delivery
	for _, stream := range streams {
		for _, message := range stream.Messages {
			delivery, err := parseDelivery(byKey[stream.Stream], message)
			if err != nil {
				r.client.logger.Error("command in the stream cannot be read and is dropped", "stream", stream.Stream, "entry", message.ID, "error", err)
				if err := r.client.redis.XAck(ctx, stream.Stream, commandGroup, message.ID).Err(); err != nil {
					return nil, r.client.fail("XACK", err)
				}
				continue
			}
			deliveries = append(deliveries, delivery)
		}
	}
	return deliveries, nil
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

// AwaitCommand waits until a command is final or ctx ends. It listens on the
// stream of results, so it needs no polling.
func (c *Client) AwaitCommand(ctx context.Context, channel ems.ChannelID, id string) (ems.CommandResult, error) {
	last := "0"
	if entries, err := c.redis.XRevRangeN(ctx, c.namespace.Results(channel), "+", "-", 1).Result(); err != nil {
		return ems.CommandResult{}, c.fail("XREVRANGE", err)
	} else if len(entries) == 1 {
		last = entries[0].ID
	}
	for {
		result, err := c.Command(ctx, channel, id)
		if err != nil || result.State.Final() {
			return result, err
		}
		streams, err := c.redis.XRead(ctx, &redis.XReadArgs{Streams: []string{c.namespace.Results(channel), last}, Block: time.Second}).Result()
		if err != nil && !isNil(err) {
			return ems.CommandResult{}, c.fail("XREAD", err)
		}
		for _, stream := range streams {
			last = stream.Messages[len(stream.Messages)-1].ID
		}
	}
}
