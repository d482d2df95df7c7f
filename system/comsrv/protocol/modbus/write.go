package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"math"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
)

// errReconnected stops the write of some bits of registers.
var errReconnected = errors.New("the connection was made anew after the other bits of the register were read")

// WritePoint implements protocol.Driver. A value that is some bits of registers is
// written with function 22, which changes these bits alone, where its mapping says
// so. Else the registers are read, changed and written, all on one connection and
// at once: a change that the device makes to another bit of them in between is
// undone, which is how every device without function 22 is written to. Nothing
// else travels over the connection before it is read back. A unit that is left alone
// is tried, as health.try has it, and an answer ends its rest.
func (d *Driver) WritePoint(ctx context.Context, write protocol.Write) (protocol.Written, error) {
	mapping := &d.channel.Points[write.Point].Mapping
	of := commanding
	if write.Regular {
		of = writing
	}
	if err := d.take(ctx, mapping.Unit, of); err != nil {
		return protocol.Written{}, &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	defer d.link.give()
	prepared, err := d.prepareWrite(ctx, mapping, write.Raw)
	if err != nil {
		return protocol.Written{}, &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	if _, err := d.ask(ctx, mapping.Unit, prepared.before(d.link, write.Before), prepared.call); err != nil {
		d.judge(ctx, mapping.Unit, err)
		return protocol.Written{}, writeError(err)
	}
	d.link.health.answer(mapping.Unit)
	written := protocol.Written{Sent: prepared.raw}
	readBack, err := d.readPoint(ctx, mapping)
	if err != nil {
		written.Reason = err.Error()
		return written, nil
	}
	written.ReadBack = &readBack
	return written, nil
}

// preparedWrite is a write of which every byte is known.
type preparedWrite struct {
	raw  float64 // what the device will hold
	call func(modbus.Client) ([]byte, error)
	on   port // the connection on which it must be sent; nil: any
}

// before returns what is asked when the next thing is that bytes leave.
func (p *preparedWrite) before(held *link, asked func() error) func() error {
	return func() error {
		if p.on != nil && p.on != held.port {
			return errReconnected
		}
		if asked != nil {
			return asked()
		}
		return nil
	}
}

func (d *Driver) prepareWrite(ctx context.Context, mapping *config.Mapping, raw float64) (prepared preparedWrite, err error) {
	var held []byte
	if mapping.InPart() {
		bits, err := encodeBits(mapping, raw)
		if err != nil {
			return prepared, err
		}
		prepared.raw = math.Round(raw)
		switch mapping.Function {
		case writeCoil, writeCoils:
			prepared.call = writeOfCoil(mapping, bits)
			return prepared, nil
		case maskRegister:
			prepared.call = writeOfMask(mapping, bits)
			return prepared, nil
		}
		if held, err = d.readHeld(ctx, mapping.Unit, readHolding, int(mapping.Address), mapping.Registers()); err != nil {
			return prepared, plainError(err)
		}
		prepared.on = d.link.port
	}
	wire, err := encodeRegisters(mapping, raw, held)
	if err != nil {
		return prepared, err
	}
	prepared.raw, _, err = decodeRegisters(mapping, wire)
	prepared.call = writeOf(mapping, wire)
	return prepared, err
}

func writeOfCoil(mapping *config.Mapping, bits uint64) func(modbus.Client) ([]byte, error) {
	return func(client modbus.Client) ([]byte, error) {
		if mapping.Function == writeCoils {
			return client.WriteMultipleCoils(mapping.Address, 1, []byte{byte(bits)})
		}
		return client.WriteSingleCoil(mapping.Address, uint16(bits)*0xFF00)
	}
}

func writeOfMask(mapping *config.Mapping, bits uint64) func(modbus.Client) ([]byte, error) {
	and := toWire(mapping.ByteOrder, ^(field(mapping) << mapping.Bit), 1)
	or := toWire(mapping.ByteOrder, bits<<mapping.Bit, 1)
	return func(client modbus.Client) ([]byte, error) {
		return client.MaskWriteRegister(mapping.Address, binary.BigEndian.Uint16(and), binary.BigEndian.Uint16(or))
	}
}

func writeOf(mapping *config.Mapping, wire []byte) func(modbus.Client) ([]byte, error) {
	return func(client modbus.Client) ([]byte, error) {
		if mapping.Function == writeRegister {
			return client.WriteSingleRegister(mapping.Address, binary.BigEndian.Uint16(wire))
		}
		return client.WriteMultipleRegisters(mapping.Address, uint16(len(wire)/2), wire)
	}
}

// readPoint reads one writable point from where it is written. The caller has
// the turn.
func (d *Driver) readPoint(ctx context.Context, mapping *config.Mapping) (float64, error) {
	data, err := d.readHeld(ctx, mapping.Unit, mapping.ReadFunction(), int(mapping.Address), mapping.End()-int(mapping.Address))
	if err != nil {
		return 0, plainError(err)
	}
	if mapping.IsCoil() {
		return decodeBit(data, 0), nil
	}
	number, _, err := decodeRegisters(mapping, data)
	return number, err
}

// writeError tells how far a write came. The exceptions with which a device
// refuses before it acts are known; after any other it may have acted.
func writeError(err error) error {
	var exception *modbus.ModbusError
	var broken *brokenError
	if !errors.As(err, &exception) {
		fault := protocol.NotSent
		if errors.As(err, &broken) && broken.sent || errors.Is(err, errBroadcast) {
			fault = protocol.Unanswered
		}
		return &protocol.WriteError{Fault: fault, Cause: err}
	}
	fault := protocol.Unanswered
	switch exception.ExceptionCode {
	case modbus.ExceptionCodeIllegalFunction, modbus.ExceptionCodeIllegalDataAddress, modbus.ExceptionCodeIllegalDataValue,
		modbus.ExceptionCodeServerDeviceBusy, modbus.ExceptionCodeGatewayPathUnavailable:
		fault = protocol.Refused
	}
	return &protocol.WriteError{Fault: fault, Cause: exceptionError(exception)}
}

func plainError(err error) error {
	var exception *modbus.ModbusError
	if errors.As(err, &exception) {
		return exceptionError(exception)
	}
	return err
}
