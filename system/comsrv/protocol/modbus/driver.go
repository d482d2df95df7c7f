// Package modbus is the driver for Modbus over TCP: function codes 1 to 6, 15, 16
// and 22.
package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Name is what a site writes as the protocol of a channel.
const Name = "modbus_tcp"

// Driver serves one channel: one connection, with one or more units behind it.
type Driver struct {
	channel   config.Channel
	packager  *modbus.TCPClientHandler // for its framing alone; it never connects
	transport *transport
	client    modbus.Client
	groups    map[string]*group
	yield     func(context.Context) // between two exchanges of a poll; may be nil
}

// group is what one poll of a poll group reads and where it leaves the results.
type group struct {
	units    []*unit
	readings []protocol.Reading
	points   []config.MappedPoint // of the channel
}

// New is the protocol.Factory of this driver.
func New(setting protocol.Setting) (protocol.Driver, error) {
	channel := setting.Channel
	channel.Points, channel.Modbus.Reads = slices.Clone(channel.Points), channel.Modbus.Reads.OrDefault()
	for i := range channel.Points {
		point := &channel.Points[i]
		if err := checkMapping(point, &channel.Modbus.Reads); err != nil {
			return nil, ems.Errorf(ems.CodeInvalid, "channel %d point %s:%d (%s): %w", channel.ID, point.Type, point.ID, point.Name, err)
		}
	}
	packager := modbus.NewTCPClientHandler(channel.Address)
	carrier := &transport{address: channel.Address, timeout: channel.Timeout, ctx: context.Background()}
	driver := &Driver{
		channel: channel, packager: packager, transport: carrier, client: modbus.NewClient2(packager, carrier),
		yield: setting.Yield,
	}
	driver.planAll()
	return driver, nil
}

// checkMapping makes sure of what planning, decoding and encoding rely on, and
// gives an empty byte order its meaning.
func checkMapping(point *config.MappedPoint, settings *config.Reads) (err error) {
	fault := func(column, format string, args ...any) {
		if err == nil {
			err = ems.Errorf(ems.CodeInvalid, "%s "+format, append([]any{column}, args...)...)
		}
	}
	if point.Mapping.Check(point.Type, fault); err == nil {
		settings.Check(&point.Mapping, fault)
	}
	return err
}

// Connect implements protocol.Driver.
func (d *Driver) Connect(ctx context.Context) error {
	d.transport.close()
	d.planAll()
	return d.transport.prepare(ctx)
}

// Close implements protocol.Driver.
func (d *Driver) Close() error {
	d.transport.close()
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
		made := &group{units: units, readings: make([]protocol.Reading, len(indexes)), points: d.channel.Points}
		for reading, index := range indexes {
			made.readings[reading].Point = index
		}
		d.groups[name] = made
	}
}

// ReadBatch implements protocol.Driver. A unit that does not answer is left out
// of some polls while others behind the same connection do, because each attempt
// costs them the timeout.
func (d *Driver) ReadBatch(ctx context.Context, name string) ([]protocol.Reading, error) {
	group := d.groups[name]
	if group == nil {
		return nil, nil
	}
	var failure error
	answered := false
	for _, unit := range group.units {
		if unit.rest.skip() {
			group.fail(unit, unit.rest.reason)
			continue
		}
		err := d.readUnit(ctx, group, unit)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			unit.rest.succeed()
			answered = true
			continue
		}
		failure = err
		unit.rest.fail(fmt.Sprintf("unit %d: %v", unit.id, err), longestUnitRest)
		group.fail(unit, unit.rest.reason)
		var broken *brokenError
		if errors.As(err, &broken) && broken.dialling && !answered {
			group.wakeAll()
			return nil, err // the other units are behind the same door
		}
	}
	if !answered && failure != nil {
		group.wakeAll()
		return nil, failure
	}
	return group.readings, nil
}

// wakeAll ends the rest of every unit: with none that answers there is nobody to
// be spared.
func (g *group) wakeAll() {
	for _, unit := range g.units {
		unit.rest.succeed()
	}
}

// fail marks every point of a unit.
func (g *group) fail(unit *unit, reason string) {
	for _, block := range unit.blocks {
		g.failBlock(block, reason)
	}
}

func (g *group) failBlock(block *block, reason string) {
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

// Bounds of what a unit that refuses or is silent may cost.
const (
	longestUnitRest = 32 // polls
	maxSplits       = 16 // in one poll of a unit; each costs up to two more reads
)

// readUnit reads all blocks of a unit. A block that the device refuses because
// of an address in it is split until that is found, over several polls where
// there are many. What was found is remembered until the connection is made anew,
// and tried again now and then. An error means that the unit cannot be reached.
func (d *Driver) readUnit(ctx context.Context, group *group, unit *unit) error {
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
		data, err := d.read(ctx, unit.id, block.function, block.start, block.end-block.start)
		var exception *modbus.ModbusError
		switch {
		case err == nil:
			if block.rest.reason != "" {
				unit.rejoinIn = 1
			}
			block.rest.succeed()
			group.decode(block, data)
		case !errors.As(err, &exception):
			return err
		case exception.ExceptionCode == modbus.ExceptionCodeGatewayPathUnavailable,
			exception.ExceptionCode == modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond:
			return exceptionError(exception)
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
	return nil
}

// divide returns what to read in place of a block that the device refuses, nil
// where nothing of it is left to read in this poll.
func (d *Driver) divide(group *group, unit *unit, block *block, reason string, splits *int) []*block {
	parts := block.parts
	if parts == nil {
		parts = block.split()
		switch {
		case parts == nil:
			block.refuse(reason, d.probePolls())
			group.failBlock(block, reason)
			return nil
		case *splits == maxSplits:
			group.failBlock(block, reason+"; which of its addresses it refuses is being looked for")
			return nil
		}
		*splits++
	}
	if unit.rejoinIn == 0 {
		unit.rejoinIn = d.probePolls()
	}
	return parts
}

// probePolls returns how many polls an address that the device refused is left
// out at most.
func (d *Driver) probePolls() int {
	return int(max(1, d.channel.Modbus.Reads.ProbeAfter/max(1, d.channel.PollPeriod)))
}

// decode leaves the values of a block in the readings.
func (g *group) decode(block *block, data []byte) {
	for i := range block.items {
		item := &block.items[i]
		offset := item.start - block.start
		if isBits(block.function) {
			g.set(item.reading, decodeBit(data, offset), "")
			continue
		}
		mapping := &g.points[g.readings[item.reading].Point].Mapping
		raw, text, err := decodeRegisters(mapping, data[2*offset:2*(offset+item.end-item.start)])
		if err != nil {
			g.fault(item.reading, err.Error())
			continue
		}
		g.set(item.reading, raw, text)
	}
}

func (d *Driver) read(ctx context.Context, unit, function uint8, start, size int) ([]byte, error) {
	return d.request(ctx, unit, nil, func(client modbus.Client) ([]byte, error) {
		address, quantity := uint16(start), uint16(size)
		switch function {
		case readCoils:
			return client.ReadCoils(address, quantity)
		case readDiscreteInputs:
			return client.ReadDiscreteInputs(address, quantity)
		case readHolding:
			return client.ReadHoldingRegisters(address, quantity)
		default:
			return client.ReadInputRegisters(address, quantity)
		}
	})
}

// request makes one exchange with a unit. Its errors are those of before, a
// *modbus.ModbusError for an exception, or a *brokenError.
func (d *Driver) request(ctx context.Context, unit uint8, before func() error, call func(modbus.Client) ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.packager.SlaveId = unit
	d.transport.ctx, d.transport.before = ctx, before
	return call(d.client)
}

// exceptionError says what an exception of the device means.
func exceptionError(exception *modbus.ModbusError) error {
	return fmt.Errorf("the device answered exception %d (%s) to function %d",
		exception.ExceptionCode, exceptionText(exception.ExceptionCode), exception.FunctionCode&^exceptionFlag)
}

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
		return "unknown"
	}
}
