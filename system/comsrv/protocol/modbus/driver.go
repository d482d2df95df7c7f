// Package modbus is the driver for Modbus over TCP, TLS and serial lines: function
// codes 1 to 6, 15, 16 and 22.
package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Driver serves one channel: one or more units behind a connection, which other
// channels may use too.
type Driver struct {
	channel  config.Channel
	links    *Links
	link     *link                // nil when closed
	open     atomic.Pointer[link] // the same, for other goroutines
	waiting  time.Time            // when the wait for the last turn began
	groups   map[string]*group
	counters map[uint8]*unitMetrics      // of the units that points name
	other    atomic.Pointer[unitMetrics] // of all others, of which somebody may ask; nil until then
	yield    func(context.Context)       // between two exchanges of a poll; may be nil
	watcher  atomic.Pointer[func(protocol.Frame)]
	last     lastRead
	frame    [maxFrame]byte  // the last reply: valid until the next request
	silent   map[uint8]error // units that gave no answer since Connect, and why
}

// group is what one poll of a poll group reads and where it leaves the results.
type group struct {
	units      []*unit
	readings   []protocol.Reading
	points     []config.MappedPoint // of the channel
	probePolls int                  // how many polls an address that the device refused is left out at most
	last       *lastRead            // of the driver
	period     time.Duration
	read       bool // since Connect
}

// New is the protocol.Factory of this driver.
func (l *Links) New(setting protocol.Setting) (protocol.Driver, error) {
	channel := setting.Channel
	channel.Points, channel.Modbus.Reads = slices.Clone(channel.Points), channel.Modbus.Reads.OrDefault()
	for i := range channel.Points {
		point := &channel.Points[i]
		if err := checkMapping(point, &channel); err != nil {
			return nil, ems.Errorf(ems.CodeInvalid, "channel %d point %s:%d (%s): %w", channel.ID, point.Type, point.ID, point.Name, err)
		}
	}
	driver := &Driver{channel: channel, links: l, counters: l.metrics.of(&channel), yield: setting.Yield, silent: map[uint8]error{}}
	driver.last.wires = make([][]byte, len(channel.Points))
	driver.planAll()
	return driver, nil
}

// checkMapping makes sure of what planning, decoding and encoding rely on, and
// gives an empty byte order its meaning.
func checkMapping(point *config.MappedPoint, channel *config.Channel) (err error) {
	fault := func(column, format string, args ...any) {
		if err == nil {
			err = ems.Errorf(ems.CodeInvalid, "%s "+format, append([]any{column}, args...)...)
		}
	}
	if point.Mapping.Check(point.Type, fault); err == nil {
		channel.CheckMapping(&point.Mapping, point.Type, fault)
	}
	return err
}

// Connect implements protocol.Driver. A connection that other channels use is
// left as it is.
func (d *Driver) Connect(ctx context.Context) error {
	_ = d.Close()
	d.planAll()
	clear(d.silent)
	held := d.held()
	first := uint8(0)
	for unit := range d.counters {
		held.health.wake(unit)
		first = unit
	}
	err := held.connect(ctx, first, d.channel.Timeout)
	if err != nil {
		d.tracer().failure(d.links.clock.Now(), first, err)
	}
	return err
}

// held returns the connection of the channel.
func (d *Driver) held() *link {
	if d.link == nil {
		d.link = d.links.take(&d.channel)
		d.open.Store(d.link)
	}
	return d.link
}

// Close implements protocol.Driver.
func (d *Driver) Close() error {
	if d.link == nil {
		return nil
	}
	for unit := range d.counters {
		d.link.health.forget(unit)
	}
	d.links.leave(d.link)
	d.link = nil
	d.open.Store(nil)
	return nil
}

func (d *Driver) planAll() {
	d.groups = map[string]*group{}
	for i := range d.channel.Points {
		name := d.channel.Points[i].Group
		if d.groups[name] != nil {
			continue
		}
		units, indexes := plan(d.channel.Points, name, &d.channel.Modbus.Reads)
		made := &group{
			units: units, readings: make([]protocol.Reading, len(indexes)), points: d.channel.Points, last: &d.last,
			probePolls: int(max(1, d.channel.Modbus.Reads.ProbeAfter/max(1, d.channel.Period(name)))), period: d.channel.Period(name),
		}
		for reading, index := range indexes {
			made.readings[reading].Point = index
		}
		d.groups[name] = made
	}
}

// ReadBatch implements protocol.Driver. A unit that does not answer is left alone
// for a while when others behind the same connection do. An error means that no unit
// of the channel answers, those included that only other groups read.
func (d *Driver) ReadBatch(ctx context.Context, name string) ([]protocol.Reading, error) {
	group := d.groups[name]
	if group == nil { // of a channel without points all that can be seen is the connection
		return nil, d.held().connect(ctx, 0, d.channel.Timeout)
	}
	connecting := !group.read
	group.read = true
	var failure, closed error // closed: no connection can be made
	var failed []uint8
	answered := false
	for _, unit := range group.units {
		if config.Broadcasts(d.channel.Protocol, unit.id) {
			group.fail(unit, "it is written to every unit of the line, and cannot be read")
			continue
		}
		if closed != nil { // it is behind the same door
			group.fail(unit, fmt.Sprintf("unit %d: %v", unit.id, closed))
			continue
		}
		asked, err := false, d.silent[unit.id]
		if err == nil || !connecting { // within one connect a unit is silent to all groups
			asked, err = d.readUnit(ctx, group, unit)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			if asked {
				d.answers(unit.id)
				answered = true
			}
			continue
		}
		failure, failed = err, append(failed, unit.id)
		d.missed(unit.id, err)
		group.fail(unit, fmt.Sprintf("unit %d: %v", unit.id, err))
		var broken *brokenError
		if errors.As(err, &broken) && broken.dialling {
			if closed = err; !answered {
				return nil, err
			}
		}
	}
	if !answered && failure != nil && !d.isThere(ctx, group, failed, connecting) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, failure
	}
	return group.readings, nil
}

// fail marks every point of a unit.
func (g *group) fail(unit *unit, reason string) {
	for _, block := range unit.blocks {
		g.failBlock(block, reason)
	}
}

func (g *group) failBlock(block *block, reason string) {
	block.decoded = nil
	for i := range block.items {
		g.fault(block.items[i].reading, reason)
	}
}

// set stores a good reading.
func (g *group) set(reading int, raw float64, text string) {
	at := &g.readings[reading]
	at.Raw, at.Text, at.Quality, at.Reason = raw, text, ems.Good, ""
}

// fault makes a reading bad.
func (g *group) fault(reading int, reason string) {
	at := &g.readings[reading]
	at.Raw, at.Text, at.Quality, at.Reason = 0, "", ems.Bad, reason
}

// maxSplits bounds the blocks that are split in one poll of a unit, each of which
// costs up to two more reads.
const maxSplits = 16

// readUnit reads all blocks of a unit. A block that the device refuses because
// of an address in it is split until that is found, over several polls where
// there are many. What was found is remembered until the connection is made anew,
// and tried again now and then, so that there may be nothing to ask in this poll.
// An error means that the unit cannot be reached.
func (d *Driver) readUnit(ctx context.Context, group *group, unit *unit) (asked bool, err error) {
	if unit.due() {
		unit.rejoin(&d.channel.Modbus.Reads)
	}
	splits := 0
	for i := 0; i < len(unit.blocks); i++ {
		block := unit.blocks[i]
		if block.rest.skip() {
			group.failBlock(block, block.rest.reason)
			continue
		}
		if d.yield != nil {
			d.yield(ctx)
		}
		asked = true
		data, err := d.read(ctx, unit.id, block.function, block.start, block.end-block.start, d.yield)
		var exception *modbus.ModbusError
		switch {
		case err == nil:
			if block.rest.reason != "" {
				unit.rejoinIn = 1
			}
			block.rest.succeed()
			group.decode(block, data)
		case !errors.As(err, &exception):
			return asked, err
		case targetSilent(err) != nil:
			return asked, exceptionError(exception)
		case exception.ExceptionCode == modbus.ExceptionCodeIllegalDataAddress,
			exception.ExceptionCode == modbus.ExceptionCodeIllegalDataValue:
			if parts := d.divide(group, unit, block, exceptionError(exception).Error(), &splits); parts != nil {
				unit.blocks = slices.Replace(unit.blocks, i, i+1, parts...)
				i--
			}
		default:
			group.failBlock(block, exceptionError(exception).Error())
		}
	}
	return asked, nil
}

// divide returns what to read in place of a block that the device refuses, nil
// where nothing of it is left to read in this poll.
func (d *Driver) divide(group *group, unit *unit, block *block, reason string, splits *int) []*block {
	parts := block.parts
	if parts == nil {
		parts = block.split()
		switch {
		case parts == nil:
			block.refuse(reason, group.probePolls)
			group.failBlock(block, reason)
			return nil
		case *splits == maxSplits:
			group.failBlock(block, reason+"; which of its addresses it refuses is being looked for")
			return nil
		}
		*splits++
	}
	if unit.rejoinIn == 0 {
		unit.rejoinIn = group.probePolls
	}
	return parts
}

// decode leaves the values of a block in the readings. Those of registers that are
// as they were in the last answer are there already.
func (g *group) decode(block *block, data []byte) {
	former := block.decoded
	if former != nil && bytes.Equal(former, data) {
		return
	}
	data = bytes.Clone(data)
	block.decoded = data
	g.last.mu.Lock()
	defer g.last.mu.Unlock()
	for i := range block.items {
		item := &block.items[i]
		offset := item.start - block.start
		if isBits(block.function) {
			g.set(item.reading, decodeBit(data, offset), "")
			continue
		}
		from, to := 2*offset, 2*(offset+item.end-item.start)
		point, wire := g.readings[item.reading].Point, data[from:to]
		g.last.wires[point] = wire
		if former != nil && bytes.Equal(former[from:to], wire) {
			continue
		}
		mapping := &g.points[point].Mapping
		raw, text, err := decodeRegisters(mapping, wire)
		if err != nil {
			g.fault(item.reading, err.Error())
			continue
		}
		g.set(item.reading, raw, text)
	}
}

// exceptionError says what an exception means, and who answered it.
func exceptionError(exception *modbus.ModbusError) error {
	who := "device"
	if targetSilent(exception) != nil {
		who = "gateway"
	}
	return fmt.Errorf("the %s answered exception %d (%s) to function %d",
		who, exception.ExceptionCode, exceptionText(exception.ExceptionCode), exception.FunctionCode&^exceptionFlag)
}

const unknownException = "unknown"

func exceptionText(code byte) string {
	switch code {
	case modbus.ExceptionCodeIllegalFunction:
		return "illegal function"
	case modbus.ExceptionCodeIllegalDataAddress:
		return "illegal data address"
	case modbus.ExceptionCodeIllegalDataValue:
		return "illegal data value"
	case modbus.ExceptionCodeServerDeviceFailure:
		return "device failure"
	case modbus.ExceptionCodeAcknowledge:
		return "accepted, still at work"
	case modbus.ExceptionCodeServerDeviceBusy:
		return "busy"
	case modbus.ExceptionCodeMemoryParityError:
		return "memory parity error"
	case modbus.ExceptionCodeGatewayPathUnavailable:
		return "gateway path unavailable"
	case modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond:
		return "gateway target did not respond"
	default:
		return unknownException
	}
}
