package comsrv

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
)

// heartbeat is written to a device for as long as its polls succeed. It belongs
// to the goroutine of the channel.
type heartbeat struct {
	point       int // index
	period      time.Duration
	least, most float64
	value       float64
	due         time.Time
	failing     bool
}

// maxCount is the most that any number of a device can be expected to hold.
const maxCount = 32767

// newHeartbeat returns nil where a channel has none.
func newHeartbeat(channel *config.Channel) *heartbeat {
	if channel.Heartbeat == nil {
		return nil
	}
	beat := &heartbeat{point: channel.Point(channel.Heartbeat.Point), period: channel.Heartbeat.Period, most: 1}
	if channel.Heartbeat.Values == config.Count {
		beat.most = maxCount
		point := &channel.Points[beat.point]
		if point.Min != nil {
			beat.least = *point.Min
		}
		if point.Max != nil {
			beat.most = *point.Max
		}
	}
	beat.value = beat.most // the first one is the least
	return beat
}

// beat writes the heartbeat when it is due.
func (c *channel) beat(ctx context.Context) {
	beat := c.heartbeat
	if beat == nil || !c.publisher.online {
		return
	}
	now := c.clock.Now()
	if now.Before(beat.due) {
		return
	}
	beat.due = now.Add(beat.period)
	if beat.value++; beat.value > beat.most {
		beat.value = beat.least
	}
	err := c.writeDirectly(ctx, beat.point, beat.value, true)
	if err != nil && !beat.failing {
		c.logger.Warn("the heartbeat cannot be written; trying again", "point", c.Points[beat.point].Name, "error", err)
	}
	beat.failing = err != nil
}

// writeSafeState is the last that comsrv does to a device when it is stopped.
func (c *channel) writeSafeState(ctx context.Context) {
	if !c.publisher.online || len(c.SafeState) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeGrace)
	defer cancel()
	for _, place := range slices.Sorted(maps.Keys(c.SafeState)) {
		if err := c.writeDirectly(ctx, c.Point(place), c.SafeState[place], false); err != nil {
			c.logger.Error("the safe state cannot be written", "point", place, "value", c.SafeState[place], "error", err)
			continue
		}
		c.logger.Info("safe state written", "point", place, "value", c.SafeState[place])
	}
}

// writeDirectly writes what nobody asked for by a command, regularly or once.
func (c *channel) writeDirectly(ctx context.Context, point int, value float64, regularly bool) error {
	written, err := c.driver.WritePoint(ctx, protocol.Write{
		Point: point, Raw: c.Points[point].ToRaw(value), Regular: regularly, Before: func() error { return nil },
	})
	c.noteWrite(point, value, written, err)
	return err
}
