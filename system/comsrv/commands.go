package comsrv

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// commander takes the commands of all channels from Redis, hands each to the
// goroutine of its channel, and stores how it ended.
type commander struct {
	parts
	roster     atomic.Pointer[roster]
	gate       sync.RWMutex // held to read while something is made in Redis for a channel of the roster, and to write while that becomes another
	outcomes   chan outcome
	selections *selections
	again      atomic.Bool // commands taken from the stream were not begun: take them again
	changed    atomic.Bool // the roster has: take those of other channels

	mu     sync.Mutex
	active map[commandKey]struct{} // taken and not yet stored as ended
}

// commandKey names a command: ids are unique within a channel.
type commandKey struct {
	channel ems.ChannelID
	id      string
}

// order is a command for one point of a channel.
type order struct {
	rtdb.Delivery
	point int // index
}

// outcome is a command that has ended.
type outcome struct {
	rtdb.Delivery
	result ems.CommandResult
}

// consumer names comsrv to the streams. There is one for a site, and the name
// stays over restarts, so that what it had taken comes again.
const consumer = "comsrv"

// Bounds of command handling.
const (
	maxOutcomes    = 1024
	commandWait    = 500 * time.Millisecond // for new commands, and before a failed exchange with Redis is tried again
	commandTimeout = time.Second            // for one exchange with Redis
	writeGrace     = 2 * time.Second        // for a write under way when comsrv is stopped
)

func newCommander(parts parts) *commander {
	made := &commander{
		parts:    parts,
		outcomes: make(chan outcome, maxOutcomes), selections: newSelections(), active: map[commandKey]struct{}{},
	}
	made.roster.Store(newRoster(nil))
	return made
}

// consume takes commands until ctx ends. Channels that are disabled are read
// too: what is sent to them fails, and does not wait for ever.
func (m *commander) consume(ctx context.Context) {
	var reader *rtdb.CommandReader
	var renewed time.Time
	fault := ""
	m.changed.Store(true)
	for ctx.Err() == nil {
		var deliveries []rtdb.Delivery
		var err error
		again := m.again.Swap(false)
		if again && m.clock.Now().Sub(renewed) < commandWait {
			m.pause(ctx)
		}
		if changed := m.changed.Swap(false); changed || again {
			renewed = m.clock.Now()
			reader, deliveries, err = m.reread(ctx)
		} else if len(m.roster.Load().ids) == 0 {
			m.pause(ctx)
		} else {
			deliveries, err = reader.Next(ctx, commandWait)
		}
		if err != nil && m.changed.Load() { // it may have been about a channel that has gone
			continue
		}
		if err != nil && ctx.Err() == nil {
			if err.Error() != fault {
				fault = err.Error()
				m.logger.Warn("commands cannot be taken; trying again", "error", err)
			}
			m.again.Store(true) // the reply that was lost may have held some
			continue
		}
		fault = ""
		for _, delivery := range deliveries {
			m.dispatch(ctx, delivery)
		}
	}
}

// reread reads the streams of the channels that there are now from their
// beginning, and makes those that are missing.
func (m *commander) reread(ctx context.Context) (*rtdb.CommandReader, []rtdb.Delivery, error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	reader := m.db.ReadCommands(consumer, m.roster.Load().ids)
	deliveries, err := reader.Next(ctx, commandWait)
	return reader, deliveries, err
}

// send queues a command for a channel that is there. What was sent to one that is
// going would stay behind.
func (m *commander) send(ctx context.Context, command ems.Command) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if _, _, err := m.check(command); err != nil {
		return err
	}
	return m.db.SendCommand(ctx, command)
}

// turn does something while nothing is being made in Redis for a channel.
func (m *commander) turn(do func()) {
	m.gate.Lock()
	defer m.gate.Unlock()
	do()
}

func (m *commander) pause(ctx context.Context) {
	timer := m.clock.NewTimer(commandWait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}

// dispatch hands a command to its channel and never waits for it. One that is
// already under way is left alone.
func (m *commander) dispatch(ctx context.Context, delivery rtdb.Delivery) {
	if !m.claim(delivery) {
		return
	}
	channel, point, err := m.check(delivery.Command)
	if err == nil && channel.Points[point].SelectTimeout > 0 {
		err = m.selections.permit(delivery.Command)
	}
	if err == nil {
		if err = channel.offer(order{Delivery: delivery, point: point}); err == nil {
			return
		}
	}
	if m.begin(ctx, delivery) {
		m.settle(delivery, ems.CommandFailed, nil, err.Error())
	}
}

// check finds the point of a command and makes sure that it may be written with
// that value.
func (m *commander) check(command ems.Command) (*channel, int, error) {
	target := command.Target
	channel, index, err := m.find(target)
	if err != nil {
		return nil, 0, err
	}
	if err := channel.refusal(); err != nil {
		return nil, 0, err
	}
	point := &channel.Points[index]
	switch value := command.Value; {
	case !target.Type.Writable():
		return nil, 0, ems.Errorf(ems.CodeInvalid, "%s cannot be written: use a control (C) or an adjustment (A)", target)
	case !channel.Enabled:
		return nil, 0, channel.rests
	case math.IsNaN(value) || math.IsInf(value, 0):
		return nil, 0, ems.Errorf(ems.CodeInvalid, "%v is not a finite number", value)
	case channel.heartbeat != nil && channel.heartbeat.point == index:
		return nil, 0, ems.Errorf(ems.CodeConflict, "%s is the heartbeat of channel %d, which comsrv writes", point.Name, channel.ID)
	case command.Hold > 0 && point.SafeValue == nil:
		return nil, 0, ems.Errorf(ems.CodeInvalid, "%s cannot hold a value for a time alone: its table has no safe_value to follow it", point.Name)
	}
	return channel, index, point.CheckRange(command.Value)
}

// find returns the channel and the index of a point.
func (m *commander) find(target ems.PointRef) (*channel, int, error) {
	channel := m.roster.Load().byID[target.Channel]
	if channel == nil {
		return nil, 0, ems.Errorf(ems.CodeNotFound, "there is no channel %d", target.Channel)
	}
	for i := range channel.Points {
		if point := &channel.Points[i]; point.Type == target.Type && point.ID == target.Point {
			return channel, i, nil
		}
	}
	return nil, 0, ems.Errorf(ems.CodeNotFound, "channel %d has no point %s:%d", target.Channel, target.Type, target.Point)
}

// claim notes a command as under way and reports whether it was not before: a
// stream that is read anew hands out everything that has not ended.
func (m *commander) claim(delivery rtdb.Delivery) bool {
	key := commandKey{delivery.Target.Channel, delivery.ID}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.active[key]; taken {
		return false
	}
	m.active[key] = struct{}{}
	return true
}

func (m *commander) release(delivery rtdb.Delivery) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.active, commandKey{delivery.Target.Channel, delivery.ID})
}

// begin marks a command as executing and reports whether the caller may go on.
// One that was begun before may have reached the device, so it ends as unknown.
// While Redis cannot be asked nothing is executed, and the command comes again.
func (m *commander) begin(ctx context.Context, delivery rtdb.Delivery) bool {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err := m.db.BeginCommand(ctx, delivery)
	switch {
	case err == nil:
		return true
	case ems.CodeOf(err) == ems.CodeExpired:
		m.settle(delivery, ems.CommandExpired, nil, err.Error())
	case ems.CodeOf(err) == ems.CodeConflict:
		m.settle(delivery, ems.CommandUnknown, nil, "it was begun before comsrv was restarted and may have reached the device")
	default:
		m.logger.Warn("a command cannot be begun; trying again", "channel", delivery.Target.Channel, "command", delivery.ID, "error", err)
		m.release(delivery)
		m.again.Store(true)
	}
	return false
}

// settle queues the end of a command to be stored. Where even the queue is full
// the end is lost, and the command ends as unknown when it comes again.
func (m *commander) settle(delivery rtdb.Delivery, state ems.CommandState, readBack *float64, reason string) {
	result := ems.CommandResult{
		ID: delivery.ID, Target: delivery.Target, State: state, Value: delivery.Value,
		ReadBack: readBack, Reason: clip(reason), Time: m.clock.Now(),
	}
	select {
	case m.outcomes <- outcome{Delivery: delivery, result: result}:
	default:
		m.drop(delivery, result, errors.New("too many wait to be stored"))
	}
}

func (m *commander) drop(delivery rtdb.Delivery, result ems.CommandResult, err error) {
	m.metrics.dropped.Inc()
	m.logger.Error("the outcome of a command cannot be stored", "channel", delivery.Target.Channel, "command", delivery.ID,
		"state", result.State, "reason", result.Reason, "error", err)
	m.release(delivery)
	m.again.Store(true)
}

// store stores outcomes until their queue is closed. It holds on to each until
// Redis takes it, whatever keeps Redis from that (it is away, its password is
// being changed), and drops what Redis will never take; once ctx has ended it
// tries each once more.
func (m *commander) store(ctx context.Context) {
	fault := ""
	for ended := range m.outcomes {
		for {
			err := m.finish(ctx, ended)
			if err == nil {
				fault = ""
				m.metrics.commands.WithLabelValues(string(ended.result.State)).Inc()
				m.logger.Info("command ended", "target", ended.result.Target.String(), "value", ended.result.Value, "origin", ended.Origin,
					"command", ended.ID, "state", ended.result.State, "reason", ended.result.Reason)
				m.release(ended.Delivery)
				break
			}
			code := ems.CodeOf(err)
			if ctx.Err() != nil || code == ems.CodeInvalid || code == ems.CodeNotFound {
				m.drop(ended.Delivery, ended.result, err)
				break
			}
			if err.Error() != fault {
				fault = err.Error()
				m.logger.Warn("the outcome of a command cannot be stored; trying again", "channel", ended.Target.Channel,
					"command", ended.ID, "error", err)
			}
			m.pause(ctx)
		}
	}
}

func (m *commander) finish(ctx context.Context, ended outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	return m.db.FinishCommand(ctx, ended.Delivery, ended.result)
}

// errDeadline stops a write whose deadline passed while it was prepared.
var errDeadline = errors.New("the deadline passed before anything was sent")

// execute carries out one command on the goroutine of its channel.
func (c *channel) execute(ctx context.Context, order order) {
	if err := c.refusal(); err != nil {
		c.refuse(ctx, order, err)
		return
	}
	if !c.publisher.polled {
		c.connect(ctx) // what came before the first poll would fail for no reason
	}
	if !c.commands.begin(ctx, order.Delivery) {
		return
	}
	if !c.publisher.online {
		c.commands.settle(order.Delivery, ems.CommandFailed, nil, "nothing was sent, the device is not reachable: "+c.publisher.reason)
		return
	}
	point := &c.Points[order.point]
	writing, cancel := outlasting(ctx, writeGrace)
	defer cancel()
	armed := false
	written, err := c.driver.WritePoint(writing, protocol.Write{
		Point: order.point, Raw: point.ToRaw(order.Value),
		Before: func() error { return c.permit(writing, order, &armed) },
	})
	c.noteWrite(order.point, order.Value, written, err)
	if armed {
		c.settleHold(writing, order.Command, written, err)
	}
	if err != nil {
		c.commands.settle(order.Delivery, failedState(err), nil, err.Error())
		return
	}
	if written.ReadBack == nil {
		c.commands.settle(order.Delivery, ems.CommandDone, nil, "the device confirmed it, but could not be read back: "+written.Reason)
		return
	}
	c.publisher.publishPoint(writing, order.point, *written.ReadBack)
	state, reason := ems.CommandDone, ""
	if *written.ReadBack != written.Sent {
		state = ems.CommandFailed
		reason = "the device confirmed raw value " + numberText(written.Sent) + " and shows " + numberText(*written.ReadBack)
	}
	readBack := point.FromRaw(*written.ReadBack)
	c.commands.settle(order.Delivery, state, finite(readBack), reason)
}

// permit is asked when the next thing is that bytes leave for the device. The
// deadline is looked at last, because all else takes time. armed tells whether
// Redis may have noted that the write leaves.
func (c *channel) permit(ctx context.Context, order order, armed *bool) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	point, shown := &c.Points[order.point], &c.publisher.points[order.point]
	last := ems.Value{Number: shown.value, Time: shown.at, Quality: shown.quality}
	if !shown.known {
		last.Quality = ems.Bad
	}
	if err := point.CheckStep(order.Value, last); err != nil {
		return err
	}
	if err := c.checkRate(order.point, order.Value, last); err != nil {
		return err
	}
	if err := c.checkInterlocks(ctx, point, order.Value); err != nil {
		return err
	}
	if point.SafeValue != nil {
		*armed = true
		if err := c.armHold(ctx, order.Command); err != nil {
			return err
		}
	}
	if c.clock.Now().After(order.Deadline) {
		return errDeadline
	}
	return nil
}

func failedState(err error) ems.CommandState {
	var failed *protocol.WriteError
	switch {
	case errors.Is(err, errDeadline):
		return ems.CommandExpired
	case errors.As(err, &failed) && failed.Fault != protocol.Unanswered:
		return ems.CommandFailed
	default:
		return ems.CommandUnknown
	}
}

// outlasting returns a context that lives for grace after its parent has ended,
// so that a write under way ends with an answer and not as unknown.
func outlasting(parent context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() { time.AfterFunc(grace, cancel) })
	return ctx, func() {
		stop()
		cancel()
	}
}

func numberText(number float64) string { return strconv.FormatFloat(number, 'g', -1, 64) }

// finite returns nil for what Redis does not store.
func finite(number float64) *float64 {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return nil
	}
	return &number
}
