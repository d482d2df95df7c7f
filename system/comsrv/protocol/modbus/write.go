package modbus

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
)

// WritePoint implements protocol.Driver. A bool in a register is written by
// reading the register, changing the bit and writing the register: a change that
// the device makes to another bit of it in between is undone, which is how every
// device without function 22 is written to. Nothing else travels over the connection
// before it is read back.
func (d *Driver) WritePoint(ctx context.Context, write protocol.Write) (protocol.Written, error) {
	mapping := d.channel.Points[write.Point].Mapping
	if err := d.take(ctx, mapping.Unit, true); err != nil {
		return protocol.Written{}, &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	defer d.link.give()
	prepared, err := d.prepareWrite(ctx, mapping, write.Raw)
	if err != nil {
		return protocol.Written{}, &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	if _, err := d.ask(ctx, mapping.Unit, write.Before, prepared.call); err != nil {
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
}

func (d *Driver) prepareWrite(ctx context.Context, mapping config.Mapping, raw float64) (preparedWrite, error) {
	switch {
	case isBits(readFunction(mapping.Function)):
		set, err := encodeBit(raw)
		return preparedWrite{raw: raw, call: func(client modbus.Client) ([]byte, error) {
			if mapping.Function == writeCoils {
				return client.WriteMultipleCoils(mapping.Address, 1, []byte{byte(bit(set))})
			}
			state := uint16(0)
			if set {
				state = 0xFF00
			}
			return client.WriteSingleCoil(mapping.Address, state)
		}}, err
	case mapping.DataType == config.Bool:
		set, err := encodeBit(raw)
		if err != nil {
			return preparedWrite{}, err
		}
		register, err := d.readHeld(ctx, mapping.Unit, readHolding, int(mapping.Address), 1)
		if err != nil {
			return preparedWrite{}, plainError(err)
		}
		return writeOf(mapping, withBit(mapping, register, set), raw), nil
	default:
		wire, err := encodeRegisters(mapping, raw)
		if err != nil {
			return preparedWrite{}, err
		}
		held, err := decodeRegisters(mapping, wire)
		return writeOf(mapping, wire, held), err
	}
}

func writeOf(mapping config.Mapping, wire []byte, raw float64) preparedWrite {
	return preparedWrite{raw: raw, call: func(client modbus.Client) ([]byte, error) {
		if mapping.Function == writeRegister {
			return client.WriteSingleRegister(mapping.Address, binary.BigEndian.Uint16(wire))
		}
		return client.WriteMultipleRegisters(mapping.Address, uint16(len(wire)/2), wire)
	}}
}

// readPoint reads one writable point from where it is written. The caller has
// the turn.
func (d *Driver) readPoint(ctx context.Context, mapping config.Mapping) (float64, error) {
	function := readFunction(mapping.Function)
	size := 1
	if !isBits(function) {
		size = mapping.DataType.Registers()
	}
	data, err := d.readHeld(ctx, mapping.Unit, function, int(mapping.Address), size)
	if err != nil {
		return 0, plainError(err)
	}
	if isBits(function) {
		return decodeBit(data, 0), nil
	}
	return decodeRegisters(mapping, data)
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
