// Package modbus is the driver for Modbus over TCP: function codes 1 to 6, 15
// and 16.
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
}

// New is the protocol.Factory of this driver.
func New(setting protocol.Setting) (protocol.Driver, error) {
	channel := setting.Channel
	channel.Points = slices.Clone(channel.Points)
	for i := range channel.Points {
		point := &channel.Points[i]
		if err := checkMapping(&point.Mapping); err != nil {
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
		units, indexes := plan(d.channel.Points, name)
		made := &group{units: units, readings: make([]protocol.Reading, len(indexes))}
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
		unit.rest.fail(fmt.Sprintf("unit %d: %v", unit.id, err))
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
		if d.yield != nil {
			d.yield(ctx)
		}
		data, err := d.read(ctx, unit.id, block.function, block.start, block.end-block.start)
		var exception *modbus.ModbusError
		switch {
		case err == nil:
			block.rest.succeed()
			group.decode(block, data)
		case !errors.As(err, &exception):
			return err
		case exception.ExceptionCode == modbus.ExceptionCodeGatewayPathUnavailable,
			exception.ExceptionCode == modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond:
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
