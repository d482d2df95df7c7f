package comsrv

import (
	"context"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// leave is how a channel ends while comsrv goes on. All but quit and callers is
// guarded by the mutex of the channel.
type leave struct {
	quit      chan struct{} // closed when the channel is to end
	reason    string        // why; empty until then
	continues bool          // another one takes its place, at the same device
	unholds   bool          // and not with the points whose values hold for a time
	callers   atomic.Int32  // requests that wait for a command to end
}

// end tells a channel to end once the poll or the command under way is over. From
// now on it takes no command. next takes its place at the same device; nil where none
// does.
func (c *channel) end(reason string, next *config.Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave.reason == "" {
		c.leave.reason, c.leave.continues, c.leave.unholds = reason, next != nil, next == nil || !c.holdsIn(next)
		close(c.leave.quit)
	}
}

// isEnding reports whether the channel is to end.
func (c *channel) isEnding() bool {
	select {
	case <-c.leave.quit:
		return true
	default:
		return false
	}
}

// holdsIn reports whether every point whose value may hold for a time is in another
// table as it is in this one, so that its safe value can be written from there.
func (c *channel) holdsIn(next *config.Channel) bool {
	for i := range c.Points {
		point := &c.Points[i]
		if point.SafeValue == nil {
			continue
		}
		same := slices.ContainsFunc(next.Points, func(other config.MappedPoint) bool {
			return other.Type == point.Type && other.ID == point.ID && reflect.DeepEqual(other, *point)
		})
		if !same {
			return false
		}
	}
	return true
}

// ending returns why a channel that has ended did so, and whether another one goes
// on in its place.
func (c *channel) ending() (reason string, continues bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave.reason == "" {
		return "comsrv was stopped", false
	}
	return c.leave.reason, c.leave.continues
}

// refusal is nil while the channel goes on.
func (c *channel) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused()
}

// refused is refusal for those who hold the mutex.
func (c *channel) refused() error {
	if c.leave.reason == "" {
		return nil
	}
	return ems.Errorf(ems.CodeConflict, "nothing was sent: %s", c.leave.reason)
}

// offer queues a command for the goroutine of the channel.
func (c *channel) offer(wanted order) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refused(); err != nil {
		return err
	}
	select {
	case c.orders <- wanted:
		return nil
	default:
		c.counters.queueFull.Inc()
		return ems.Errorf(ems.CodeFull, "%d commands are waiting for channel %d already, nothing was sent", maxOrders, c.ID)
	}
}

// offerSetting queues a value that is to be set.
func (c *channel) offerSetting(wanted setting) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refused(); err != nil {
		return err
	}
	select {
	case c.settings <- wanted:
		return nil
	default:
		return ems.Errorf(ems.CodeFull, "%d values are waiting to be set on channel %d already: try again", maxSettings, c.ID)
	}
}

// refuseWaiting ends what waits for a channel that has ended, and tells what Redis
// was not told yet of values that hold for a time. When comsrv itself is stopped,
// commands wait in their stream for its return.
func (c *channel) refuseWaiting(ctx context.Context) {
	err := c.refusal()
	if err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	_ = c.flushHolds(ctx) // else the safe value comes early rather than late
	for range len(c.orders) {
		c.refuse(ctx, <-c.orders, err)
	}
	for range len(c.settings) {
		(<-c.settings).ended <- err
	}
}

// refuse ends a command of which nothing was sent.
func (c *channel) refuse(ctx context.Context, waiting order, err error) {
	if c.commands.begin(ctx, waiting.Delivery) {
		c.commands.settle(waiting.Delivery, ems.CommandFailed, nil, err.Error())
	}
}

// unholds reports whether the safe values of held points are to be written now.
func (c *channel) unholds() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leave.reason == "" || c.leave.unholds
}

// releaseHolds writes the safe values of points whose values were to hold for a
// time: nobody would when that is over. After a stop of comsrv itself somebody will.
func (c *channel) releaseHolds(ctx context.Context) {
	if c.refusal() == nil || !slices.ContainsFunc(c.Points, func(p config.MappedPoint) bool { return p.SafeValue != nil }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeGrace)
	defer cancel()
	held, err := c.db.HeldPoints(ctx, c.ID)
	if err != nil {
		c.logger.Error("redis does not tell which values are to be followed by safe ones", "error", err)
	}
	for _, ref := range held {
		if !c.publisher.online {
			c.logger.Error("a safe value cannot be written: the device cannot be reached, and nobody will write it when it can", "point", ref.String())
			continue
		}
		_, index, err := c.commands.find(ref)
		if err != nil || c.Points[index].SafeValue == nil {
			continue
		}
		safe := *c.Points[index].SafeValue
		if err := c.writeDirectly(ctx, index, safe, false); err != nil {
			c.logger.Error("a safe value cannot be written", "point", ref.String(), "value", safe, "error", err)
			continue
		}
		c.logger.Info("safe value written before its time", "point", ref.String(), "value", safe)
	}
}
