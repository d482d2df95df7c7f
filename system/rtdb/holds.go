package rtdb

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Hold is a value that stood for as long as it was to, and was not renewed.
type Hold struct {
	Target ems.PointRef
	Due    time.Time // until when it stood
}

// ArmHold notes, just before the write of a command leaves, for how long its value
// may stand. ends is the hold that this write ends, nil for that of a caller: it
// fails with CONFLICT when the hold is renewed, or has ended.
func (c *Client) ArmHold(ctx context.Context, command ems.Command, ends *Hold) error {
	due := ""
	if ends != nil {
		due = strconv.FormatInt(ends.Due.UnixMilli(), 10)
	}
	return c.fail("comsrv_hold_arm", c.call(ctx, "comsrv_hold_arm", channelName(command.Target.Channel), command.Target.Type.String(),
		uint32(command.Target.Point), command.ID, command.Hold.Milliseconds(), c.now(), due).Err())
}

// SettleHold tells how the write ended that was armed: inForce says that the
// device has the value, otherwise it surely has not. A write of which neither is
// known is not settled: the value that stands until the earlier time counts.
func (c *Client) SettleHold(ctx context.Context, command ems.Command, inForce bool) error {
	outcome := "refused"
	if inForce {
		outcome = "done"
	}
	return c.fail("comsrv_hold_settle", c.call(ctx, "comsrv_hold_settle", channelName(command.Target.Channel), command.Target.Type.String(),
		uint32(command.Target.Point), command.ID, outcome).Err())
}

// EndHold ends a hold without a write; nothing happens when it was renewed.
func (c *Client) EndHold(ctx context.Context, hold Hold) error {
	ending := ems.Command{ID: "ended", Target: hold.Target}
	err := c.ArmHold(ctx, ending, &hold)
	if err == nil {
		err = c.SettleHold(ctx, ending, true)
	}
	if ems.CodeOf(err) == ems.CodeConflict {
		return nil
	}
	return err
}

// HeldPoints returns the points of a channel whose values, or values that may be in
// force, stand for a time alone.
func (c *Client) HeldPoints(ctx context.Context, channel ems.ChannelID) ([]ems.PointRef, error) {
	fields, err := c.redis.HKeys(ctx, c.namespace.Of("comsrv:"+channelName(channel)+":holds")).Result()
	if err != nil {
		return nil, c.fail("HKEYS", err)
	}
	var points []ems.PointRef
	for _, field := range fields {
		place := strings.TrimSuffix(field, ":next_until") // beside the place there may be ":next", which has the same
		ref, err := ems.ParsePointRef("comsrv:" + channelName(channel) + ":" + place)
		if err == nil && !slices.Contains(points, ref) {
			points = append(points, ref)
		}
	}
	return points, nil
}

// DueHolds returns the holds whose time is over, those that have waited longest
// first.
func (c *Client) DueHolds(ctx context.Context) ([]Hold, error) {
	const page = 1000
	var holds []Hold
	for {
		texts, err := c.texts(ctx, "comsrv_hold_due", "all", c.now(), len(holds), page)
		if err != nil {
			return nil, err
		}
		for i := 0; i+3 < len(texts); i += 4 {
			target, err := ems.ParsePointRef("comsrv:" + texts[i] + ":" + texts[i+1] + ":" + texts[i+2])
			if err != nil {
				return nil, err
			}
			holds = append(holds, Hold{Target: target, Due: ems.FromUnixMS(integer(texts[i+3]))})
		}
		if len(texts) < 4*page {
			return holds, nil
		}
	}
}
