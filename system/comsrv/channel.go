package comsrv

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// parts is what the parts of the service share.
type parts struct {
	db      *rtdb.Client
	clock   ems.Clock
	logger  *slog.Logger
	metrics *metrics
	turns   chan struct{} // one for each channel that tells Redis everything
	drivers map[string]protocol.Factory
}

// channel polls the device of one channel and writes to it. Everything but what
// is shown belongs to the one goroutine of run.
type channel struct {
	config.Channel
	parts
	counters  channelMetrics
	driver    protocol.Driver
	publisher *publisher
	commands  *commander
	retry     *backoff.ExponentialBackOff
	due       time.Time                  // of the next attempt to connect, while the device is not reachable
	polling   *groupState                // the one that is being read; nil between polls
	abort     context.CancelCauseFunc    // ends the poll that others go within, or the attempt to connect
	orders    chan order                 // commands that wait
	heartbeat *heartbeat                 // nil where there is none
	unsettled []settlement               // what Redis could not be told yet of values that hold for a time
	renewed   chan struct{}              // Redis has newly appeared
	settings  chan setting               // values that wait to be set
	trace     *trace                     // of its frames; it goes on where another channel takes the place of this one
	tasks     chan func(context.Context) // what people ask of the device beside commands
	leave     leave
	rates     rates
	rests     error // why nothing can be asked of it; nil where it is enabled

	mu     sync.Mutex
	status rtdb.ChannelStatus
	groups []groupState // copies, of which only what others may read is used
}

// latest is what the device last answered for a point.
type latest struct {
	quality ems.Quality
	raw     float64
	text    string
	at      time.Time // of the last good one if it is a text; zero if there was none
	doubts  doubts
}

// maxOrders bounds the commands that wait for one channel.
const maxOrders = 32

// newChannel prepares a channel of the site. One that is not enabled has no
// driver and is never run.
func newChannel(entry config.Channel, parts parts, commands *commander) (*channel, error) {
	parts.logger = parts.logger.With("channel", entry.ID, "name", entry.Name)
	c := &channel{
		Channel: entry, parts: parts, commands: commands, retry: newRetry(),
		trace:  &trace{},
		orders: make(chan order, maxOrders), renewed: make(chan struct{}, 1), settings: make(chan setting, maxSettings),
		tasks: make(chan func(context.Context), maxTasks),
		leave: leave{quit: make(chan struct{})},
	}
	if !entry.Enabled {
		c.rest("the channel is disabled", "enable it where it is written")
		return c, nil
	}
	factory, known := parts.drivers[entry.Protocol]
	if !known {
		return nil, ems.Errorf(ems.CodeInvalid, "channel %d: no driver for %q: use one of %v", entry.ID, entry.Protocol, Protocols())
	}
	driver, err := factory(protocol.Setting{Channel: entry, Clock: parts.clock, Logger: parts.logger, Yield: c.yield})
	if err != nil {
		return nil, err
	}
	c.driver = driver
	c.counters = parts.metrics.of(strconv.FormatUint(uint64(entry.ID), 10))
	c.heartbeat = newHeartbeat(&c.Channel)
	c.publisher = newPublisher(&c.Channel, c.parts, c.counters)
	c.show()
	return c, nil
}

// run polls and executes commands until ctx ends. place and places spread the
// channels of the site over time.
func (c *channel) run(ctx context.Context, place, places int) {
	c.plan(place, places)
	timer := c.clock.NewTimer(0)
	defer timer.Stop()
	defer c.stop(ctx)
	timer.ResetTo(c.wakeAt())
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.leave.quit:
			return
		case order := <-c.orders:
			c.execute(ctx, order)
		case wanted := <-c.settings:
			c.apply(ctx, wanted)
		case task := <-c.tasks:
			c.executeOrders(ctx)
			task(ctx)
		case <-c.renewed:
			c.publisher.forget()
			c.publisher.publish(ctx)
		case <-timer.C():
			c.executeWaiting(ctx)
			c.wake(ctx)
			c.beat(ctx)
			if !c.publisher.failing {
				_ = c.flushHolds(ctx) // tried again at the next poll
			}
		}
		timer.ResetTo(c.wakeAt())
	}
}

// rest says why the channel is not run, and what to do for it.
func (c *channel) rest(reason, remedy string) {
	c.status.Reason = clip(reason)
	c.rests = ems.Errorf(ems.CodeConflict, "channel %d is not run: %s; %s", c.ID, c.status.Reason, remedy)
}

// plan lays the slots of all poll groups. Everything is read first at the earliest
// of them.
func (c *channel) plan(place, places int) {
	groups := c.publisher.groups
	var periods []time.Duration
	for i := range groups {
		periods = append(periods, groups[i].slots.period)
	}
	for i, slots := range newSchedules(c.clock.Now(), periods, place, places) {
		groups[i].slots, groups[i].due = slots, slots.start
	}
	c.due = earliest(groups).due
}

// next returns when the device is to be talked to.
func (c *channel) next() time.Time {
	if c.publisher.online {
		return earliest(c.publisher.groups).due
	}
	return c.due
}

// wakeAt returns until when there is nothing to do.
func (c *channel) wakeAt() time.Time {
	next := c.next()
	if retry := c.publisher.retryAt; !retry.IsZero() && retry.Before(next) {
		next = retry
	}
	if beat := c.heartbeat; beat != nil && c.publisher.online && beat.due.Before(next) {
		next = beat.due
	}
	return next
}

func (c *channel) wake(ctx context.Context) {
	switch {
	case c.clock.Now().Before(c.next()):
		if !c.publisher.retryAt.IsZero() {
			c.publisher.publish(ctx)
		}
	case c.publisher.online:
		c.poll(ctx, earliest(c.publisher.groups))
	default:
		c.connect(ctx)
	}
}

// executeWaiting runs what waits, commands first: also before each thing that somebody
// asks of the device beside commands, of which every one may take its timeout.
func (c *channel) executeWaiting(ctx context.Context) {
	c.executeOrders(ctx)
	for range len(c.tasks) {
		c.executeTask(ctx)
		c.executeOrders(ctx)
	}
}

// executeTask does what somebody asks of the device beside commands, if it still
// waits: an attempt to connect, for which a command may be the cause, takes it too.
func (c *channel) executeTask(ctx context.Context) {
	select {
	case task := <-c.tasks:
		task(ctx)
	default:
	}
}

// executeOrders runs the commands that wait now, and not those that come meanwhile,
// so that commands go before a poll and cannot keep it off.
func (c *channel) executeOrders(ctx context.Context) {
	for range len(c.orders) {
		c.execute(ctx, <-c.orders)
	}
}

// yield lets commands, the heartbeat, and a poll group with a shorter period that
// is due, go between two exchanges of a poll. A device that is only being connected
// has not shown yet whether it is there: only the end of its channel goes, and what
// people ask of it beside commands, because they look for what is wrong.
func (c *channel) yield(ctx context.Context) {
	switch {
	case c.publisher.online:
	case c.isEnding():
		c.abort(nil)
		return
	default:
		for range len(c.tasks) {
			c.executeTask(ctx)
		}
		return
	}
	c.executeWaiting(ctx)
	c.beat(ctx)
	if c.polling == nil {
		return
	}
	if group := earliest(shorter(c.publisher.groups, c.polling)); group != nil && !c.clock.Now().Before(group.due) {
		c.poll(ctx, group)
	}
}

// connect reads all groups at once from a device that was not reachable, and tells
// Redis. When the channel is to end there is no further exchange: a silent gateway
// costs a timeout for each of its units.
func (c *channel) connect(ctx context.Context) {
	if c.isEnding() {
		return
	}
	began := c.clock.Now()
	reading, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	c.abort = abort
	points, bad, err := c.readAll(reading)
	if reading.Err() != nil || c.isEnding() {
		return
	}
	ended := c.clock.Now()
	c.counters.pollSeconds.Observe(ended.Sub(began).Seconds())
	if err != nil {
		c.fail(err, false, ended)
	} else {
		c.succeed(points, bad, false, ended.Sub(began))
		for i := range c.publisher.groups {
			group := &c.publisher.groups[i]
			group.due = group.slots.after(ended)
		}
	}
	c.tell(ctx)
}

// readAll connects and reads every group. One that cannot be read is bad while
// another one can; an error means that none can.
func (c *channel) readAll(ctx context.Context) (points, bad int, err error) {
	if err := c.driver.Connect(ctx); err != nil {
		return 0, 0, err
	}
	groups := c.publisher.groups
	failures, failed := make([]error, len(groups)), 0
	for i := range groups {
		read, unread, err := c.read(ctx, &groups[i])
		points, bad = points+read, bad+unread
		if failures[i] = err; err != nil {
			failed++
		}
		if ctx.Err() != nil || c.isEnding() {
			return 0, 0, context.Canceled
		}
	}
	if failed == len(groups) {
		return 0, 0, failures[0]
	}
	for i, err := range failures {
		if err != nil {
			c.publisher.lose(&groups[i], err)
		}
	}
	return points, bad, nil
}

// read returns how many points of a group were read, and how many of them are bad.
func (c *channel) read(ctx context.Context, group *groupState) (points, bad int, err error) {
	written := c.publisher.written
	readings, err := c.driver.ReadBatch(ctx, group.name)
	if err != nil {
		return 0, 0, err
	}
	return len(readings), c.publisher.take(group, readings, written, c.clock.Now()), nil
}

// poll reads one group, sets the time of its next poll and tells Redis. It may be
// called from within the poll of another group. That no group of a channel can be
// read ends all polls under way.
func (c *channel) poll(ctx context.Context, group *groupState) {
	outer, reading := c.polling, ctx
	if outer == nil {
		c.yield(ctx)
		reading, c.abort = context.WithCancelCause(ctx)
		defer c.abort(nil)
	}
	began := c.clock.Now()
	c.polling = group
	points, bad, err := c.read(reading, group)
	c.polling = outer
	if reading.Err() != nil {
		if outer != nil || ctx.Err() != nil {
			return
		}
		err = context.Cause(reading)
	}
	ended := c.clock.Now()
	c.counters.pollSeconds.Observe(ended.Sub(began).Seconds())
	switch {
	case err == nil:
		c.succeed(points, bad, true, ended.Sub(began))
		group.advance(ended)
	case group.failed && c.publisher.reads(group):
		c.counters.failed.Inc()
		c.publisher.lose(group, err)
		group.advance(ended)
	case outer != nil:
		c.abort(err)
		return
	default:
		c.fail(err, true, ended)
	}
	c.tell(ctx)
}

// tell shows what a poll brought, and tells Redis of it: in this order, so that who
// sees a bad point in Redis finds the reason here.
func (c *channel) tell(ctx context.Context) {
	c.show()
	c.publisher.publish(ctx)
}

func (c *channel) succeed(points, bad int, wasOnline bool, trip time.Duration) {
	c.retry.Reset()
	c.publisher.succeed(trip)
	c.counters.points.Add(float64(points))
	c.counters.online.Set(1)
	if bad == 0 {
		c.counters.complete.Inc()
	} else {
		c.counters.partial.Inc()
	}
	if !wasOnline {
		c.rates = rates{since: c.clock.Now(), written: map[int]writtenOnce{}}
		c.logger.Info("the device answers", "address", c.Address, "points", points, "bad", bad)
	}
}

func (c *channel) fail(err error, wasOnline bool, now time.Time) {
	first := wasOnline || !c.publisher.polled
	_ = c.driver.Close() // it is connected anew at the next attempt
	c.publisher.fail(err)
	c.counters.failed.Inc()
	c.counters.online.Set(0)
	pause := c.retry.NextBackOff()
	c.due = c.publisher.groups[0].slots.retry(now, pause)
	if first {
		c.logger.Warn("the device cannot be reached; its points are bad until it answers", "error", err)
	}
}

// stop ends the connection and tells that nobody polls any more, so that the
// state of the channel does not claim otherwise.
func (c *channel) stop(ctx context.Context) {
	reason, continues := c.ending()
	if c.unholds() {
		c.releaseHolds(ctx)
	}
	if !continues {
		c.writeSafeState(ctx)
	}
	_ = c.driver.Close()
	c.refuseWaiting(ctx)
	c.publisher.online, c.publisher.reason = false, reason
	c.counters.online.Set(0)
	c.show()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	if err := c.db.SetStatus(ctx, c.ID, c.publisher.status()); err != nil {
		c.logger.Debug("redis cannot be told that the channel stopped", "error", err)
	}
}

// renew is called when Redis has newly appeared.
func (c *channel) renew(ctx context.Context) error {
	if c.driver == nil {
		return c.db.SetStatus(ctx, c.ID, c.status)
	}
	select {
	case c.renewed <- struct{}{}:
	default: // told already
	}
	return nil
}

// show copies the state of the channel to where other goroutines may read it.
func (c *channel) show() {
	status := c.publisher.status()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.groups = status, append(c.groups[:0], c.publisher.groups...)
}

// shown returns the state of the channel and of its poll groups as show copied it.
func (c *channel) shown() (rtdb.ChannelStatus, []groupState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, slices.Clone(c.groups)
}

// answered returns what the device last answered for points, by index, and why they
// are or were not good; nothing of a channel that is not enabled.
func (c *channel) answered(indexes []int) []latest {
	if c.publisher == nil {
		return nil
	}
	return c.publisher.answered(indexes)
}
