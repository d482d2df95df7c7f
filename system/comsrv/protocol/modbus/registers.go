package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"sync"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// ReadRange implements protocol.Addressable. A unit that is left alone is asked at
// once: somebody waits for the answer.
func (d *Driver) ReadRange(ctx context.Context, place protocol.Range) ([]uint16, error) {
	d.held().health.wake(place.Unit)
	data, err := d.read(ctx, place.Unit, place.Function, int(place.Address), place.Count, nil)
	var exception *modbus.ModbusError
	switch {
	case errors.As(err, &exception) && targetSilent(err) == nil:
		return nil, ems.Errorf(ems.CodeConflict, "%w", exceptionError(exception))
	case err != nil:
		return nil, plainError(err)
	}
	d.praise(place.Unit)
	values := make([]uint16, place.Count)
	for i := range values {
		if isBits(place.Function) {
			values[i] = uint16(decodeBit(data, i))
		} else {
			values[i] = binary.BigEndian.Uint16(data[2*i:])
		}
	}
	return values, nil
}

// WriteRange implements protocol.Addressable.
func (d *Driver) WriteRange(ctx context.Context, place protocol.Range, values []uint16, before func() error) error {
	if err := d.take(ctx, place.Unit, commanding); err != nil {
		return &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	defer d.link.give()
	if _, err := d.ask(ctx, place.Unit, before, writeOfRange(place, values)); err != nil {
		d.judge(ctx, place.Unit, err)
		return writeError(err)
	}
	d.praise(place.Unit)
	return nil
}

// praise takes down that a unit answers, if it is one of the channel: of others
// nobody would ever take down that they no longer do.
func (d *Driver) praise(unit uint8) {
	if d.counters[unit] != nil {
		d.link.health.answer(unit)
	}
}

func writeOfRange(place protocol.Range, values []uint16) func(modbus.Client) ([]byte, error) {
	return func(client modbus.Client) ([]byte, error) {
		switch place.Function {
		case writeCoil:
			return client.WriteSingleCoil(place.Address, values[0]*0xFF00)
		case writeRegister:
			return client.WriteSingleRegister(place.Address, values[0])
		case writeCoils:
			packed := make([]byte, (len(values)+7)/8)
			for i, value := range values {
				packed[i/8] |= byte(value) << (i % 8)
			}
			return client.WriteMultipleCoils(place.Address, uint16(len(values)), packed)
		default:
			wire := make([]byte, 2*len(values))
			for i, value := range values {
				binary.BigEndian.PutUint16(wire[2*i:], value)
			}
			return client.WriteMultipleRegisters(place.Address, uint16(len(values)), wire)
		}
	}
}

// lastRead keeps the registers of each point of a channel as they were read last.
type lastRead struct {
	mu    sync.Mutex
	wires [][]byte // parts of replies, which nobody changes
}

// LastRead implements protocol.Inspectable.
func (d *Driver) LastRead(points []int) [][]byte {
	d.last.mu.Lock()
	defer d.last.mu.Unlock()
	wires := make([][]byte, len(points))
	for i, point := range points {
		wires[i] = d.last.wires[point]
	}
	return wires
}

// Reading is what registers may mean, beginning with one of them: by data type
// and, of two registers, by order. What is no number is null.
type Reading struct {
	Address uint16                        `json:"address"`
	Uint16  uint16                        `json:"uint16"`
	Int16   int16                         `json:"int16"`
	Uint32  map[config.ByteOrder]uint32   `json:"uint32,omitempty"`
	Int32   map[config.ByteOrder]int32    `json:"int32,omitempty"`
	Float32 map[config.ByteOrder]*float32 `json:"float32,omitempty"`
}

// Interpret returns what each register may mean, together with the next one too.
func Interpret(address uint16, registers []uint16) []Reading {
	readings := make([]Reading, len(registers))
	for i, word := range registers {
		readings[i] = Reading{Address: address + uint16(i), Uint16: word, Int16: int16(word)}
		if i+1 < len(registers) {
			readings[i].pair(word, registers[i+1])
		}
	}
	return readings
}

func (r *Reading) pair(first, second uint16) {
	r.Uint32, r.Int32, r.Float32 = map[config.ByteOrder]uint32{}, map[config.ByteOrder]int32{}, map[config.ByteOrder]*float32{}
	wire := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, first), second)
	for _, order := range config.Uint32.ByteOrders() {
		bits := uint32(fromWire(order, wire))
		r.Uint32[order], r.Int32[order], r.Float32[order] = bits, int32(bits), nil
		if number := math.Float32frombits(bits); !math.IsNaN(float64(number)) && !math.IsInf(float64(number), 0) {
			r.Float32[order] = &number
		}
	}
}
