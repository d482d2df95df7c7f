package modbus

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/voltageems/voltageems-go/system/config"
)

// What a device says in place of a value.
var (
	errNotANumber     = errors.New("the device answered NaN or infinity, which is no value")
	errNotImplemented = errors.New("the device says that it does not have this value")
	errNotText        = errors.New("the device answered bytes that are no text in UTF-8")
)

// exact is the greatest whole number up to which a float64 holds every one.
const exact = 1 << 53

// decodeRegisters reads a value from its registers as they travelled, two bytes
// each. The mapping is one that checkMapping accepted, and wire has the length of
// its type. The number is finite; text has the digits of an integer that it holds
// only rounded, or is the value of a string, whose number is 0. An error means
// that the bytes are no value.
func decodeRegisters(mapping *config.Mapping, wire []byte) (number float64, text string, err error) {
	if mapping.DataType == config.String {
		text, err = decodeText(mapping, wire)
		return 0, text, err
	}
	bits := fromWire(mapping.ByteOrder, wire)
	if s := mapping.Sentinel; s != nil && bits&s.Mask == s.Bits {
		return 0, "", errNotImplemented
	}
	switch mapping.DataType {
	case config.Bool:
		return float64(bits >> mapping.Bit & 1), "", nil
	case config.Bits:
		return unsigned(bits >> mapping.Bit & field(mapping))
	case config.Int8:
		return float64(int8(bits >> mapping.Bit)), "", nil
	case config.Uint8:
		return float64(uint8(bits >> mapping.Bit)), "", nil
	case config.Int16:
		return float64(int16(bits)), "", nil
	case config.Int32:
		return float64(int32(bits)), "", nil
	case config.Int64:
		return signed(int64(bits))
	case config.Uint16, config.Uint32, config.Uint64:
		return unsigned(bits)
	case config.BCD16, config.BCD32:
		number, err = decodeDecimals(bits)
		return number, "", err
	case config.Float16:
		number = fromHalf(uint16(bits))
	case config.Float32:
		number = float64(math.Float32frombits(uint32(bits)))
	default:
		number = math.Float64frombits(bits)
	}
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, "", errNotANumber
	}
	return number, "", nil
}

func signed(whole int64) (number float64, digits string, err error) {
	if whole > exact || whole < -exact {
		digits = strconv.FormatInt(whole, 10)
	}
	return float64(whole), digits, nil
}

func unsigned(whole uint64) (number float64, digits string, err error) {
	if whole > exact {
		digits = strconv.FormatUint(whole, 10)
	}
	return float64(whole), digits, nil
}

// field has as many of the lowest bits set as the value takes of its registers.
func field(mapping *config.Mapping) uint64 {
	switch mapping.DataType {
	case config.Bool:
		return 1
	case config.Bits:
		return ^uint64(0) >> (64 - mapping.Bits)
	case config.Int8, config.Uint8:
		return 0xff
	default:
		return ^uint64(0) >> (64 - 16*mapping.Registers())
	}
}

// decodeDecimals reads a decimal digit from each four bits.
func decodeDecimals(bits uint64) (float64, error) {
	number := 0.0
	for shift := 28; shift >= 0; shift -= 4 {
		digit := bits >> shift & 0xf
		if digit > 9 {
			return 0, fmt.Errorf("the device answered 0x%X, which is no decimal number in BCD", bits)
		}
		number = 10*number + float64(digit)
	}
	return number, nil
}

// decodeText reads characters up to the first zero, without the spaces that pad
// them.
func decodeText(mapping *config.Mapping, wire []byte) (string, error) {
	text, _, _ := bytes.Cut(inOrder(mapping.ByteOrder, wire), []byte{0})
	text = bytes.TrimRight(text, " ")
	switch {
	case len(text) == 0 && mapping.Sentinel != nil:
		return "", errNotImplemented
	case !utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl):
		return "", errNotText
	default:
		return string(text), nil
	}
}

// fromHalf returns the value of an IEEE 754 float of 16 bits: sign, 5 bits of
// exponent, 10 of fraction.
func fromHalf(bits uint16) float64 {
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	number := math.Ldexp(1024+fraction, exponent-25)
	switch exponent {
	case 0:
		number = math.Ldexp(fraction, -24)
	case 0x1f:
		number = math.Inf(1)
		if fraction > 0 {
			number = math.NaN()
		}
	}
	if bits>>15 != 0 {
		return -number
	}
	return number
}

// decodeBit reads bit number at of bits that travel packed eight to a byte, the
// lowest first.
func decodeBit(packed []byte, at int) float64 { return float64(packed[at/8] >> (at % 8) & 1) }
