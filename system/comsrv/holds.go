package comsrv

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// holdOrigin begins the origin of a command that writes a safe value; the time
// when it was due follows.
const holdOrigin = "hold:"

// Timing of holds.
const (
	holdPeriod   = 250 * time.Millisecond // between two looks at what is due
	longestPause = 10 * time.Second       // between two attempts to write a safe value: how late it may be once its unit is back
)

// holdOf returns the hold that a command ends, nil for one of a caller.
func holdOf(command ems.Command) *rtdb.Hold {
	text, found := strings.CutPrefix(command.Origin, holdOrigin)
	due, err := strconv.ParseInt(text, 10, 64)
	if !found || err != nil {
		return nil
	}
	return &rtdb.Hold{Target: command.Target, Due: ems.FromUnixMS(due)}
}

// settlement is what Redis is to be told of a write that was armed.
type settlement struct {
	command ems.Command
	inForce bool
}

// armHold is the last exchange with Redis before a write leaves. It first tells
// of the writes before, so that Redis hears of them in their order.
func (c *channel) armHold(ctx context.Context, command ems.Command) error {
	if err := c.flushHolds(ctx); err != nil {
		return err
	}
	return c.db.ArmHold(ctx, command, holdOf(command))
}

// settleHold tells how a write ended that was armed. Where the device may have the
// value or may not, there is nothing to tell.
func (c *channel) settleHold(ctx context.Context, command ems.Command, written protocol.Written, err error) {
	var failed *protocol.WriteError
	inForce := err == nil && (written.ReadBack == nil || *written.ReadBack == written.Sent)
	refused := errors.As(err, &failed) && failed.Fault != protocol.Unanswered
	if !inForce && !refused {
		return
	}
	c.unsettled = append(c.unsettled, settlement{command: command, inForce: inForce})
	if err := c.flushHolds(ctx); err != nil {
		c.logger.Warn("redis cannot be told whether a value is in force; trying again", "command", command.ID, "error", err)
	}
}

// flushHolds tells what Redis could not be told before. There is at most one
// settlement of each point, because nothing is armed before it was told.
func (c *channel) flushHolds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	for len(c.unsettled) > 0 {
		if err := c.db.SettleHold(ctx, c.unsettled[0].command, c.unsettled[0].inForce); err != nil {
			return err
		}
		c.unsettled = c.unsettled[1:]
	}
	return nil
}

// keeper writes the safe values of points whose value was to hold for a time and
// was not renewed. It sends commands as every caller does, and a restart of comsrv
// loses nothing of it.
type keeper struct {
	parts
	commands *commander
	attempts map[ems.PointRef]attempt
	fault    string
}

// attempt is the command with which a hold is ended.
type attempt struct {
	due    time.Time
	number int
	told   bool // that nothing can be done is in the log
}

func newKeeper(parts parts, commands *commander) *keeper {
	return &keeper{parts: parts, commands: commands, attempts: map[ems.PointRef]attempt{}}
}

func (k *keeper) run(ctx context.Context) {
	timer := k.clock.NewTimer(holdPeriod)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
			k.look(ctx)
		}
		timer.Reset(holdPeriod)
	}
}

// look does what is due. What Redis does not take now is due at the next look.
func (k *keeper) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	holds, err := k.db.DueHolds(ctx)
	due := map[ems.PointRef]attempt{}
	for _, hold := range holds {
		now := k.attempts[hold.Target]
		if !now.due.Equal(hold.Due) {
			now = attempt{due: hold.Due, number: 1}
		}
		now, fault := k.release(ctx, hold, now)
		due[hold.Target] = now
		if fault != nil && err == nil {
			err = ems.Errorf(ems.CodeOf(fault), "%s: %w", hold.Target, fault)
		}
		if ctx.Err() != nil || ems.CodeOf(fault) == ems.CodeUnavailable && fault != nil {
			break // Redis is away; what only this point refuses keeps off no other
		}
	}
	k.attempts = due
	if err == nil {
		k.fault = ""
	} else if ctx.Err() == nil && err.Error() != k.fault {
		k.fault = err.Error()
		k.logger.Warn("safe values cannot be written; trying again", "error", err)
	}
}

// release brings one hold a step further. A device that is away is waited for: a
// command would only fail.
func (k *keeper) release(ctx context.Context, hold rtdb.Hold, now attempt) (attempt, error) {
	channel, index, err := k.commands.find(hold.Target)
	if err != nil || channel.Points[index].SafeValue == nil {
		k.logger.Error("a value was to hold for a time, and its point has no safe value any more: it stays", "point", hold.Target.String())
		return now, k.db.EndHold(ctx, hold)
	}
	status, _ := channel.shown()
	if !channel.Enabled || !status.Online {
		return now, nil
	}
	at := k.clock.Now()
	command := ems.Command{
		ID:     fmt.Sprintf("hold-%s%d-%d-%d", hold.Target.Type, hold.Target.Point, hold.Due.UnixMilli(), now.number),
		Target: hold.Target, Value: *channel.Points[index].SafeValue, Issued: at, Deadline: at.Add(ems.DefaultCommandLifetime),
		Origin: holdOrigin + strconv.FormatInt(hold.Due.UnixMilli(), 10),
	}
	before, err := k.db.Command(ctx, channel.ID, command.ID)
	switch {
	case ems.CodeOf(err) == ems.CodeNotFound && err != nil:
		return now, k.commands.send(ctx, command)
	case err != nil || !before.State.Final():
		return now, err
	case before.State == ems.CommandDone:
		return now, k.db.EndHold(ctx, hold)
	case at.Sub(before.Time) < pauseAfter(now.number):
		return now, nil
	case before.State == ems.CommandUnknown || before.ReadBack != nil:
		return k.judge(ctx, hold, now, before, status)
	default: // nothing was in force
		now.number++
		return now, nil
	}
}

func pauseAfter(number int) time.Duration {
	return min(longestPause, time.Second<<min(number, 10))
}

// judge decides on a safe value of which bytes have left and that was not
// confirmed. It is written again only where the device, read since, shows
// something else.
func (k *keeper) judge(ctx context.Context, hold rtdb.Hold, now attempt, before ems.CommandResult, status rtdb.ChannelStatus) (attempt, error) {
	if !status.LastSuccess.After(before.Time) {
		return now, nil
	}
	values, err := k.db.ReadPoints(ctx, hold.Target.Channel, hold.Target.Type, []ems.PointID{hold.Target.Point})
	if err != nil {
		return now, err
	}
	const rounding = 1e-6 // of what a device keeps of a number
	switch value := values[0]; {
	case value.Quality != ems.Good:
		if !now.told {
			k.logger.Error("whether a safe value is in force cannot be seen; it is not written again", "point", hold.Target.String(), "command", before.ID)
		}
		now.told = true
	case math.Abs(value.Number-before.Value) <= rounding*max(1, math.Abs(before.Value)):
		return now, k.db.EndHold(ctx, hold)
	default:
		now.number++
	}
	return now, nil
}
