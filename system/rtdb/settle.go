package rtdb

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

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

// answerGrace is how long after its deadline a command may still be answered by
// a device that was reached in time.
const answerGrace = time.Second

// SettleCommand waits until a command has ended, within its lifetime. Only one
// that is done is a success. The errors: CONFLICT it failed, EXPIRED nothing was
// sent, UNKNOWN the device may have acted. Their details name the command, so
// that the caller can ask for it again.
func (c *Client) SettleCommand(ctx context.Context, command ems.Command) (ems.CommandResult, error) {
	ctx, cancel := context.WithTimeout(ctx, command.Deadline.Sub(command.Issued)+answerGrace)
	defer cancel()
	result, err := c.AwaitCommand(ctx, command.Target.Channel, command.ID)
	code, message := ems.CodeUnknown, ""
	switch {
	case err != nil:
		message = "how the command ended is not known yet: " + err.Error()
	case result.State == ems.CommandDone:
		return result, nil
	case result.State == ems.CommandFailed:
		code, message = ems.CodeConflict, "the command failed: "+result.Reason
	case result.State == ems.CommandExpired:
		code, message = ems.CodeExpired, "the command expired, nothing was sent: "+result.Reason
	default:
		message = "whether the device has executed the command is unknown: " + result.Reason
	}
	return result, &ems.Error{Code: code, Message: message, Details: []string{
		"command " + command.ID + " for " + command.Target.String(),
		"ask GET /api/channels/" + channelName(command.Target.Channel) + "/commands/" + command.ID,
	}}
}
