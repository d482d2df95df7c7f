package modbus

import (
	"encoding/binary"
	"math"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// encodeRegisters returns the registers, as they travel, that hold a raw value.
// A whole-number type takes the nearest whole number. What the type cannot hold
// is refused with INVALID, never wrapped or cut. A bool is not encoded here:
// it is one bit of a register that holds others too.
func encodeRegisters(mapping config.Mapping, raw float64) ([]byte, error) {
	size := 2 * mapping.DataType.Registers()
	value, wire := make([]byte, size), make([]byte, size)
	if math.IsNaN(raw) || math.IsInf(raw, 0) {
		return nil, ems.Errorf(ems.CodeInvalid, "%v is no value that a device could take", raw)
	}
	least, limit := bounds(mapping.DataType)
	whole := math.Round(raw)
	switch mapping.DataType {
	case config.Float32:
		single := float32(raw)
		if math.IsInf(float64(single), 0) {
			return nil, ems.Errorf(ems.CodeInvalid, "raw value %v does not fit %s", raw, mapping.DataType)
		}
		binary.BigEndian.PutUint32(value, math.Float32bits(single))
		toWire(mapping.ByteOrder, value, wire)
		return wire, nil
	case config.Float64:
		binary.BigEndian.PutUint64(value, math.Float64bits(raw))
		toWire(mapping.ByteOrder, value, wire)
		return wire, nil
	}
	if whole < least || whole >= limit {
		return nil, ems.Errorf(ems.CodeInvalid, "raw value %v does not fit %s", raw, mapping.DataType)
	}
	switch mapping.DataType {
	case config.Int16:
		binary.BigEndian.PutUint16(value, uint16(int16(whole)))
	case config.Uint16:
		binary.BigEndian.PutUint16(value, uint16(whole))
	case config.Int32:
		binary.BigEndian.PutUint32(value, uint32(int32(whole)))
	case config.Uint32:
		binary.BigEndian.PutUint32(value, uint32(whole))
	case config.Int64:
		binary.BigEndian.PutUint64(value, uint64(int64(whole)))
	case config.Uint64:
		binary.BigEndian.PutUint64(value, uint64(whole))
	}
	toWire(mapping.ByteOrder, value, wire)
	return wire, nil
}

// bounds returns the least whole number that a type holds and the first one
// above it that it does not hold. Both are powers of two, which a float64 holds
// exactly; the greatest 64-bit integers are not.
func bounds(t config.DataType) (least, limit float64) {
	switch t {
	case config.Int16:
		return -1 << 15, 1 << 15
	case config.Uint16:
		return 0, 1 << 16
	case config.Int32:
		return -1 << 31, 1 << 31
	case config.Uint32:
		return 0, 1 << 32
	case config.Int64:
		return -1 << 63, 1 << 63
	default:
		return 0, 1 << 64
	}
}

// encodeBit returns the state that a raw value asks for: 0 or 1, nothing else.
func encodeBit(raw float64) (bool, error) {
	if raw != 0 && raw != 1 {
		return false, ems.Errorf(ems.CodeInvalid, "raw value %v is neither 0 nor 1, and the point is a single bit", raw)
	}
	return raw == 1, nil
}

// withBit returns a register as it travels with one bit of it changed.
func withBit(mapping config.Mapping, wire []byte, set bool) []byte {
	var value [2]byte
	fromWire(mapping.ByteOrder, wire, value[:])
	register := binary.BigEndian.Uint16(value[:]) &^ (1 << mapping.Bit)
	if set {
		register |= 1 << mapping.Bit
	}
	binary.BigEndian.PutUint16(value[:], register)
	changed := make([]byte, 2)
	toWire(mapping.ByteOrder, value[:], changed)
	return changed
}
