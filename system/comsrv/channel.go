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
	schedule  schedule
	retry     *backoff.ExponentialBackOff
	due       time.Time                  // of the next poll, or of the next attempt to connect
	orders    chan order                 // commands that wait
	heartbeat *heartbeat                 // nil where there is none
	unsettled []settlement               // what Redis could not be told yet of values that hold for a time
	renewed   chan struct{}              // Redis has newly appeared
	settings  chan setting               // values that wait to be set
	trace     trace                      // of its frames
	tasks     chan func(context.Context) // what people ask of the device beside commands
	leave     leave

	mu      sync.Mutex
	status  rtdb.ChannelStatus
	reasons map[int]string // why a point is bad, by index
	latest  []latest       // of each point
}

// latest is what the device last answered for a point.
type latest struct {
	quality ems.Quality
	raw     float64
	text    string
	at      time.Time // of the last good one; zero if there was none
}

// maxOrders bounds the commands that wait for one channel.
const maxOrders = 32

// newChannel prepares a channel of the site. One that is not enabled has no
// driver and is never run.
func newChannel(entry config.Channel, parts parts, commands *commander) (*channel, error) {
	parts.logger = parts.logger.With("channel", entry.ID, "name", entry.Name)
	c := &channel{
		Channel: entry, parts: parts, commands: commands, retry: newRetry(),
		orders: make(chan order, maxOrders), renewed: make(chan struct{}, 1), settings: make(chan setting, maxSettings),
		tasks: make(chan func(context.Context), maxTasks),
		leave: leave{quit: make(chan struct{})},
	}
	if !entry.Enabled {
		c.status.Reason = "the channel is disabled"
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
	c.latest = make([]latest, len(entry.Points))
	c.show()
	return c, nil
}

// run polls and executes commands until ctx ends. place and places spread the
// channels of the site over time.
func (c *channel) run(ctx context.Context, place, places int) {
	c.schedule = newSchedule(c.clock.Now(), c.PollPeriod, place, places)
	c.due = c.schedule.start
	timer := c.clock.NewTimer(c.wait())
	defer timer.Stop()
	defer c.stop(ctx)
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
		timer.Reset(c.wait())
	}
}

// wait returns how long there is nothing to do.
func (c *channel) wait() time.Duration {
	next := c.due
	if retry := c.publisher.retryAt; !retry.IsZero() && retry.Before(next) {
		next = retry
	}
	if beat := c.heartbeat; beat != nil && c.publisher.online && beat.due.Before(next) {
		next = beat.due
	}
	return max(0, next.Sub(c.clock.Now()))
}

func (c *channel) wake(ctx context.Context) {
	now := c.clock.Now()
	if !now.Before(c.due) {
		c.poll(ctx)
		return
	}
	if !c.publisher.retryAt.IsZero() {
		c.publisher.publish(ctx)
	}
}

// executeWaiting runs the commands that wait now, and not those that come
// meanwhile, so that commands go before a poll and cannot keep it off.
func (c *channel) executeWaiting(ctx context.Context) {
	for range len(c.orders) {
		c.execute(ctx, <-c.orders)
	}
	for range len(c.tasks) {
		(<-c.tasks)(ctx)
	}
}

// yield lets commands, and the heartbeat, go between two exchanges of a poll. A device that is only
// being connected has not shown yet whether it is there.
func (c *channel) yield(ctx context.Context) {
	if c.publisher.online {
		c.executeWaiting(ctx)
		c.beat(ctx)
	}
}

// poll reads all groups once, connecting first where that is needed, tells Redis
// and sets the time of the next poll.
func (c *channel) poll(ctx context.Context) {
	wasOnline, slot, began := c.publisher.online, c.due, c.clock.Now()
	points, bad, err := c.read(ctx)
	if ctx.Err() != nil {
		return
	}
	ended := c.clock.Now()
	c.counters.pollSeconds.Observe(ended.Sub(began).Seconds())
	if err != nil {
		c.fail(err, wasOnline, ended)
	} else {
		c.succeed(points, bad, wasOnline, ended.Sub(began))
		c.due = c.schedule.after(ended)
		if wasOnline {
			c.counters.overruns.Add(float64(c.schedule.missed(slot, ended)))
		}
	}
	c.show() // first, so that who sees a bad point in Redis finds the reason here
	c.publisher.publish(ctx)
}

// read returns how many points were read, and how many of them are bad.
func (c *channel) read(ctx context.Context) (points, bad int, err error) {
	if !c.publisher.online {
		if err := c.driver.Connect(ctx); err != nil {
			return 0, 0, err
		}
	}
	for i := range c.publisher.groups {
		group := &c.publisher.groups[i]
		c.yield(ctx)
		c.publisher.written = c.publisher.written[:0]
		readings, err := c.driver.ReadBatch(ctx, group.name)
		if err != nil {
			return points, bad, err
		}
		points += len(readings)
		bad += c.publisher.take(group, readings, c.clock.Now())
	}
	return points, bad, nil
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
	c.due = now.Add(pause)
	if first {
		c.logger.Warn("the device cannot be reached; its points are bad until it answers", "error", err)
	}
}

// stop ends the connection and tells that nobody polls any more, so that the
// state of the channel does not claim otherwise.
func (c *channel) stop(ctx context.Context) {
	reason, continues := c.ending()
	if !continues {
		c.releaseHolds(ctx)
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
	var reasons map[int]string
	for i := range c.publisher.points {
		point := &c.publisher.points[i]
		if point.quality == ems.Bad && point.reason != "" {
			if reasons == nil {
				reasons = map[int]string{}
			}
			reasons[i] = point.reason
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.reasons = status, reasons
	for i := range c.publisher.points {
		point := &c.publisher.points[i]
		c.latest[i] = latest{quality: point.quality, raw: point.raw, text: point.text, at: point.at}
	}
}

// answered returns what the device last answered for each point, nothing of a
// channel that is not enabled.
func (c *channel) answered() []latest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.latest)
}

// shown returns what show copied.
func (c *channel) shown() (rtdb.ChannelStatus, map[int]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, c.reasons
}
