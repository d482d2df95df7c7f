package modbus

import (
	"fmt"
	"math"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// encodeRegisters returns the registers, as they travel, that hold a raw value. A
// value that is some bits of registers is put among the others of held, which is
// the registers as they travelled; for every other type held is nil. A
// whole-number type takes the nearest whole number. What the type cannot hold, and
// what the device would take for no value, is refused with INVALID, never wrapped
// or cut.
func encodeRegisters(mapping *config.Mapping, raw float64, held []byte) ([]byte, error) {
	bits, err := encodeBits(mapping, raw)
	if err != nil {
		return nil, err
	}
	if held != nil {
		others := fromWire(mapping.ByteOrder, held) &^ (field(mapping) << mapping.Bit)
		bits = others | bits<<mapping.Bit
	}
	if s := mapping.Sentinel; s != nil && bits&s.Mask == s.Bits {
		return nil, ems.Errorf(ems.CodeInvalid, "raw value %v is what the device says of a value that it does not have", raw)
	}
	return toWire(mapping.ByteOrder, bits, mapping.Registers()), nil
}

// encodeBits returns the lowest bits of what a raw value becomes, as many as its
// type has.
func encodeBits(mapping *config.Mapping, raw float64) (uint64, error) {
	if math.IsNaN(raw) || math.IsInf(raw, 0) {
		return 0, ems.Errorf(ems.CodeInvalid, "%v is no value that a device could take", raw)
	}
	refused := ems.Errorf(ems.CodeInvalid, "raw value %v does not fit %s, which holds %s", raw, mapping.DataType, rangeOf(mapping))
	switch mapping.DataType {
	case config.Bool:
		return encodeBit(raw)
	case config.Float16:
		bits, fits := toHalf(raw)
		if !fits {
			return 0, refused
		}
		return uint64(bits), nil
	case config.Float32:
		single := float32(raw)
		if math.IsInf(float64(single), 0) {
			return 0, refused
		}
		return uint64(math.Float32bits(single)), nil
	case config.Float64:
		return math.Float64bits(raw), nil
	}
	least, limit := mapping.WholeNumbers()
	whole := math.Round(raw)
	switch {
	case whole < least || whole >= limit:
		return 0, refused
	case mapping.DataType == config.BCD16 || mapping.DataType == config.BCD32:
		return encodeDecimals(uint64(whole)), nil
	case whole < 0:
		return uint64(int64(whole)) & field(mapping), nil
	default:
		return uint64(whole), nil
	}
}

// rangeOf tells people which values a type holds.
func rangeOf(mapping *config.Mapping) string {
	switch mapping.DataType {
	case config.Float16:
		return "-65504 to 65504"
	case config.Float32:
		return fmt.Sprintf("%v to %v", float32(-math.MaxFloat32), float32(math.MaxFloat32))
	}
	least, limit := mapping.WholeNumbers()
	most := uint64(math.MaxUint64)
	if limit < 1<<64 {
		most = uint64(limit) - 1
	}
	return fmt.Sprintf("%d to %d", int64(least), most)
}

// encodeDecimals puts a decimal digit into each four bits.
func encodeDecimals(whole uint64) (bits uint64) {
	for shift := 0; whole > 0; shift += 4 {
		bits |= whole % 10 << shift
		whole /= 10
	}
	return bits
}

// toHalf returns the nearest IEEE 754 float of 16 bits, the even one of two; fits
// is false where that is infinite.
func toHalf(raw float64) (bits uint16, fits bool) {
	if math.Signbit(raw) {
		bits = 0x8000
	}
	size := math.Abs(raw)
	fraction, exponent := math.Frexp(size) // size = fraction x 2^exponent, fraction in [0.5, 1)
	if size == 0 || exponent < -13 {       // below the least one with a leading 1: counted in 2^-24
		return bits | uint16(math.RoundToEven(math.Ldexp(size, 24))), true
	}
	// Rounding up to 2048 carries into the exponent, as it must.
	rounded := uint64(exponent+13)<<10 + uint64(math.RoundToEven(math.Ldexp(fraction, 11)))
	return bits | uint16(rounded), exponent <= 16 && rounded < 0x7c00
}

// encodeBit returns the state that a raw value asks for: 0 or 1, nothing else.
func encodeBit(raw float64) (uint64, error) {
	if raw != 0 && raw != 1 {
		return 0, ems.Errorf(ems.CodeInvalid, "raw value %v is neither 0 nor 1, and the point is a single bit", raw)
	}
	return uint64(raw), nil
}
