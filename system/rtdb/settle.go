package rtdb

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// AwaitCommand waits until a command is final or ctx ends; then it returns how
// the command stood when it was last asked for, and the error of ctx. It listens
// on the stream of results, so it needs no polling.
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
		if over := ended(ctx); err != nil && over != nil {
			return result, over // a read that waits is cut by ctx, and no fault of Redis
		}
		if err != nil && !isNil(err) {
			return result, c.fail("XREAD", err)
		}
		for _, stream := range streams {
			last = stream.Messages[len(stream.Messages)-1].ID
		}
	}
}

// ended returns why ctx is over, nil while it is not. The driver gives up at the
// deadline itself, which may be a moment before ctx says so.
func ended(ctx context.Context) error {
	if deadline, bounded := ctx.Deadline(); bounded && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// lastAsk bounds the question with which a wait that took too long ends.
const lastAsk = time.Second

// answerGrace is how long after its deadline a command may still be answered by
// a device that was reached in time.
const answerGrace = time.Second

// SettleCommand waits until a command has ended, within its lifetime. Only one
// that is done is a success. The errors: CONFLICT it failed, EXPIRED nothing was
// sent, UNKNOWN the device may have acted. Their details name the command, so
// that the caller can ask for it again.
func (c *Client) SettleCommand(ctx context.Context, command ems.Command) (ems.CommandResult, error) {
	result, err := c.awaitLifetime(ctx, command)
	code, message := ems.CodeUnknown, ""
	switch {
	case err != nil:
		message = "how the command ended is not known yet: " + err.Error()
	case result.State == ems.CommandQueued: // past its deadline it is not begun any more
		code, message = ems.CodeExpired, "the command expired, nothing was sent: nobody took the command: is comsrv running?"
	case result.State == ems.CommandExecuting:
		message = "whether the device has executed the command is unknown: comsrv has begun it and not told yet how it ended"
	case result.State == ems.CommandDone:
		return result, nil
	case result.State == ems.CommandFailed:
		code, message = ems.CodeConflict, "the command failed: "+result.Reason
	case result.State == ems.CommandExpired:
		code, message = ems.CodeExpired, "the command expired, nothing was sent: "+result.Reason
	default:
		message = "whether the device has executed the command is unknown: " + result.Reason
	}
	return result, &ems.Error{Code: code, Message: message, Details: whereabouts(command)}
}

// whereabouts tells a caller how to ask for a command again.
func whereabouts(command ems.Command) []string {
	return []string{
		"command " + command.ID + " for " + command.Target.String(),
		"ask GET /api/channels/" + channelName(command.Target.Channel) + "/commands/" + command.ID,
	}
}

// sendError is what to tell the caller of a command that could not be sent: UNKNOWN
// where Redis may have taken it and did not say so, and else err as it is.
func sendError(command ems.Command, err error) error {
	var network *net.OpError
	var reply redis.Error
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	silent := cut || errors.As(err, &network) && network.Op != "dial" || errors.Is(err, context.DeadlineExceeded)
	if !silent || errors.As(err, &reply) {
		return err
	}
	return &ems.Error{Code: ems.CodeUnknown, Message: "whether the command waits for its device is unknown: " + err.Error(), Details: whereabouts(command)}
}

// awaitLifetime waits for the end of a command as long as it may live. When that
// time is over it asks once more, and returns the state without an error even
// where it is not final.
func (c *Client) awaitLifetime(ctx context.Context, command ems.Command) (ems.CommandResult, error) {
	waiting, cancel := context.WithTimeout(ctx, command.Deadline.Sub(command.Issued)+answerGrace)
	defer cancel()
	result, err := c.AwaitCommand(waiting, command.Target.Channel, command.ID)
	if err == nil || ended(waiting) == nil || ended(ctx) != nil {
		return result, err
	}
	asking, cancel := context.WithTimeout(ctx, lastAsk)
	defer cancel()
	return c.Command(asking, command.Target.Channel, command.ID)
}
