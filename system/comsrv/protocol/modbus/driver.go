// Package modbus is the driver for Modbus over TCP, TLS and serial lines: function
// codes 1 to 6, 15 and 16.
package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	link     *link     // nil when closed
	waiting  time.Time // when the wait for the last turn began
	groups   map[string]*group
	counters map[uint8]*unitMetrics
}

// group is what one poll of a poll group reads and where it leaves the results.
type group struct {
	units    []*unit
	readings []protocol.Reading
}

// New is the protocol.Factory of this driver.
func (l *Links) New(channel config.Channel) (protocol.Driver, error) {
	channel.Points = slices.Clone(channel.Points)
	for i := range channel.Points {
		point := &channel.Points[i]
		err := checkMapping(&point.Mapping)
		if err == nil {
			err = checkBroadcast(channel.Protocol, point)
		}
		if err != nil {
			return nil, ems.Errorf(ems.CodeInvalid, "channel %d point %s:%d (%s): %w", channel.ID, point.Type, point.ID, point.Name, err)
		}
	}
	driver := &Driver{channel: channel, links: l, counters: l.metrics.of(&channel)}
	driver.planAll()
	return driver, nil
}

// checkBroadcast refuses to read from all units of a line at once. They can be
// written to, but for a bit, of which the register is read first.
func checkBroadcast(protocol string, point *config.MappedPoint) error {
	mapping := point.Mapping
	switch {
	case !broadcasts(protocol, mapping.Unit):
		return nil
	case !point.Type.Writable():
		return ems.Errorf(ems.CodeInvalid, "slave_id 0 is every unit of the line, and none of them answers: name one")
	case mapping.DataType == config.Bool && !isBits(readFunction(mapping.Function)):
		return ems.Errorf(ems.CodeInvalid, "a bit cannot be written to slave_id 0, because the register that holds it is read first: name one unit")
	}
	return nil
}

// checkMapping makes sure of what decoding and encoding rely on, and gives an
// empty byte order its meaning.
func checkMapping(mapping *config.Mapping) error {
	registers := mapping.DataType.Registers()
	bits := isBits(readFunction(mapping.Function))
	switch mapping.Function {
	case readCoils, readDiscreteInputs, readHolding, readInputs, writeCoil, writeRegister, writeCoils, writeRegisters:
	default:
		return ems.Errorf(ems.CodeInvalid, "function code %d: use 1 to 6, 15 or 16", mapping.Function)
	}
	switch {
	case registers == 0:
		return ems.Errorf(ems.CodeInvalid, "unknown data type %q", mapping.DataType)
	case bits && mapping.DataType != config.Bool:
		return ems.Errorf(ems.CodeInvalid, "%s does not fit function code %d, which carries single bits", mapping.DataType, mapping.Function)
	case bits:
		return nil
	case mapping.DataType == config.Bool && (mapping.Bit < 0 || mapping.Bit > 15):
		return ems.Errorf(ems.CodeInvalid, "bit %d of a register: use 0 to 15", mapping.Bit)
	case mapping.Function == writeRegister && registers != 1:
		return ems.Errorf(ems.CodeInvalid, "function code 6 writes one register and %s takes %d: use 16", mapping.DataType, registers)
	case int(mapping.Address)+registers > 1<<16:
		return ems.Errorf(ems.CodeInvalid, "%s at address %d would run past 65535", mapping.DataType, mapping.Address)
	}
	if mapping.DataType == config.Bool && mapping.ByteOrder != "BA" || mapping.ByteOrder == "" {
		mapping.ByteOrder = bigEndian[registers]
	}
	if !knownOrder(mapping.ByteOrder, registers) {
		return ems.Errorf(ems.CodeInvalid, "byte order %q does not fit %s", mapping.ByteOrder, mapping.DataType)
	}
	return nil
}

// Connect implements protocol.Driver. A connection that other channels use is
// left as it is.
func (d *Driver) Connect(ctx context.Context) error {
	_ = d.Close()
	d.planAll()
	held := d.held()
	first := uint8(0)
	for unit := range d.counters {
		held.health.wake(unit)
		first = unit
	}
	return held.connect(ctx, first, d.channel.Timeout)
}

// held returns the connection of the channel.
func (d *Driver) held() *link {
	if d.link == nil {
		d.link = d.links.take(&d.channel)
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
	return nil
}

func (d *Driver) planAll() {
	d.groups = map[string]*group{}
	for i := range d.channel.Points {
		name := d.channel.Points[i].Group
		if d.groups[name] != nil {
			continue
		}
		units, indexes := plan(d.channel.Points, name)
		made := &group{units: units, readings: make([]protocol.Reading, len(indexes))}
		for reading, index := range indexes {
			made.readings[reading].Point = index
		}
		d.groups[name] = made
	}
}

// ReadBatch implements protocol.Driver. A unit that does not answer is left alone
// for a while when others behind the same connection do.
func (d *Driver) ReadBatch(ctx context.Context, name string) ([]protocol.Reading, error) {
	group := d.groups[name]
	if group == nil {
		return nil, nil
	}
	var failure error
	answered := false
	for _, unit := range group.units {
		if broadcasts(d.channel.Protocol, unit.id) {
			group.fail(unit, "it is written to every unit of the line, and cannot be read")
			continue
		}
		err := d.readUnit(ctx, group, unit)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			d.link.health.answer(unit.id)
			answered = true
			continue
		}
		failure = err
		group.fail(unit, fmt.Sprintf("unit %d: %v", unit.id, err))
		var broken *brokenError
		if errors.As(err, &broken) && broken.dialling && !answered {
			return nil, err // the other units are behind the same door
		}
	}
	if !answered && failure != nil {
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
	for i := range block.items {
		g.set(block.items[i].reading, 0, reason)
	}
}

// set stores a reading; a reason makes it bad.
func (g *group) set(reading int, raw float64, reason string) {
	quality := ems.Good
	if reason != "" {
		quality = ems.Bad
	}
	at := &g.readings[reading]
	at.Raw, at.Quality, at.Reason = raw, quality, reason
}

// readUnit reads all blocks of a unit. A block that the device refuses because
// of an address in it is split, now and for as long as the connection is not
// made anew. An error means that the unit cannot be reached.
func (d *Driver) readUnit(ctx context.Context, group *group, unit *unit) error {
	for i := 0; i < len(unit.blocks); i++ {
		block := unit.blocks[i]
		if block.rest.skip() {
			group.failBlock(block, block.rest.reason)
			continue
		}
		data, err := d.read(ctx, unit.id, block.function, block.start, block.end-block.start)
		var exception *modbus.ModbusError
		switch {
		case err == nil:
			block.rest.succeed()
			group.decode(block, data)
		case !errors.As(err, &exception):
			return err
		case targetSilent(err) != nil:
			return exceptionError(exception)
		case exception.ExceptionCode == modbus.ExceptionCodeIllegalDataAddress,
			exception.ExceptionCode == modbus.ExceptionCodeIllegalDataValue:
			if parts := block.split(); parts != nil {
				unit.blocks = append(unit.blocks[:i], append(parts, unit.blocks[i+1:]...)...)
				i--
				continue
			}
			block.rest.fail(exceptionError(exception).Error())
			group.failBlock(block, block.rest.reason)
		default:
			group.failBlock(block, exceptionError(exception).Error())
		}
	}
	return nil
}

// decode leaves the values of a block in the readings.
func (g *group) decode(block *block, data []byte) {
	for i := range block.items {
		item := &block.items[i]
		offset := item.start() - block.start
		if isBits(block.function) {
			g.set(item.reading, decodeBit(data, offset), "")
			continue
		}
		raw, err := decodeRegisters(item.mapping, data[2*offset:2*(offset+item.size)])
		if err != nil {
			g.set(item.reading, 0, err.Error())
			continue
		}
		g.set(item.reading, raw, "")
	}
}

// exceptionError says what an exception of the device means.
func exceptionError(exception *modbus.ModbusError) error {
	return fmt.Errorf("the device answered exception %d (%s) to function %d",
		exception.ExceptionCode, exceptionText(exception.ExceptionCode), exception.FunctionCode&^exceptionFlag)
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
