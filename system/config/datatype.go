package config

import (
	"math"

	"github.com/voltageems/voltageems-go/system/ems"
)

// DataType says how registers become a number or a text.
type DataType string

// The data types of a mapping.
const (
	Bool    DataType = "bool"  // a coil, or one bit of a register
	Bits    DataType = "bits"  // some neighbouring bits of one, two or four registers
	Int8    DataType = "int8"  // the low or the high byte of a register
	Uint8   DataType = "uint8" // likewise
	Int16   DataType = "int16" // two's complement, as all signed ones
	Uint16  DataType = "uint16"
	Int32   DataType = "int32"
	Uint32  DataType = "uint32"
	Int64   DataType = "int64"
	Uint64  DataType = "uint64"
	Float16 DataType = "float16" // IEEE 754, as all floats
	Float32 DataType = "float32"
	Float64 DataType = "float64"
	BCD16   DataType = "bcd16"  // a decimal digit in each four bits: 0 to 9999
	BCD32   DataType = "bcd32"  // 0 to 99999999
	String  DataType = "string" // two characters a register; it has no number and cannot be written
)

// DataTypes lists every type in the order in which a person reads them.
var DataTypes = []DataType{
	Bool, Bits, Int8, Uint8, Int16, Uint16, Int32, Uint32, Int64, Uint64, Float16, Float32, Float64, BCD16, BCD32, String,
}

// ByteOrder says in which order the bytes of a value travel: A is the most
// significant. The empty order is big-endian of the value's size.
type ByteOrder string

// byteOrders are the orders of a value by its registers, big-endian first: bytes
// may be swapped within registers, registers within pairs, and pairs.
var byteOrders = map[int][]ByteOrder{
	1: {"AB", "BA"},
	2: {"ABCD", "DCBA", "BADC", "CDAB"},
	4: {"ABCDEFGH", "HGFEDCBA", "BADCFEHG", "GHEFCDAB", "EFGHABCD", "FEHGBADC", "CDABGHEF", "DCBAHGFE"},
}

// ByteOrders lists the orders in which a value of the type may travel, the one
// that an empty order means first. Those of a field of bits tell how many
// registers the bits are counted over; those of a string hold for any length, so
// that CDAB is the last register first and BADC has the bytes of each swapped.
func (t DataType) ByteOrders() []ByteOrder {
	switch t {
	case Bits:
		return append(append(append([]ByteOrder{}, byteOrders[1]...), byteOrders[2]...), byteOrders[4]...)
	case Bool, String: // tables of the existing system carry orders of four letters for single bits
		return append(append([]ByteOrder{}, byteOrders[1]...), byteOrders[2]...)
	case Int32, Uint32, Float32, BCD32:
		return byteOrders[2]
	case Int64, Uint64, Float64:
		return byteOrders[4]
	default:
		return byteOrders[1]
	}
}

// Registers returns how many 16-bit registers the value takes: a string's length,
// and what the order of a field of bits says.
func (m *Mapping) Registers() int {
	switch m.DataType {
	case String:
		return m.Length
	case Bits:
		return max(1, len(m.ByteOrder)/2)
	case Int32, Uint32, Float32, BCD32:
		return 2
	case Int64, Uint64, Float64:
		return 4
	default:
		return 1
	}
}

// WholeNumbers returns the least whole number that a type holds and the first one
// above it that it does not hold. Both are powers of two or small, which a
// float64 holds exactly; the greatest 64-bit integers are not.
func (m *Mapping) WholeNumbers() (least, limit float64) {
	switch m.DataType {
	case Bits:
		return 0, math.Ldexp(1, m.Bits)
	case Int8:
		return -1 << 7, 1 << 7
	case Uint8:
		return 0, 1 << 8
	case Int16:
		return -1 << 15, 1 << 15
	case Uint16:
		return 0, 1 << 16
	case Int32:
		return -1 << 31, 1 << 31
	case Uint32:
		return 0, 1 << 32
	case Int64:
		return -1 << 63, 1 << 63
	case BCD16:
		return 0, 1e4
	case BCD32:
		return 0, 1e8
	default:
		return 0, 1 << 64
	}
}

// holds reports whether the registers of a mapping can carry a raw value. A
// whole-number type takes the nearest whole number.
func (m *Mapping) holds(raw float64) bool {
	switch m.DataType {
	case Bool:
		return raw == 0 || raw == 1
	case Float16:
		return math.Abs(raw) < leastInfiniteHalf
	case Float32:
		return !math.IsInf(float64(float32(raw)), 0)
	case Float64:
		return !math.IsInf(raw, 0)
	default:
		least, limit := m.WholeNumbers()
		whole := math.Round(raw)
		return whole >= least && whole < limit
	}
}

// leastInfiniteHalf is the first number that a float16 rounds to infinity.
const leastInfiniteHalf = 65520

// CheckHeld refuses a value that the type of the point cannot carry to its device.
func (p *MappedPoint) CheckHeld(value float64) error {
	if raw := p.ToRaw(value); !p.Mapping.holds(raw) {
		return ems.Errorf(ems.CodeInvalid, "%v is raw value %v, which %s does not hold", value, raw, p.Mapping.DataType)
	}
	return nil
}

// Sentinel is what registers hold of a value that the device does not have: the
// bits that Mask names are those of Bits. They are compared after the bytes were
// put in order.
type Sentinel struct{ Mask, Bits uint64 }

// sunspecSentinel returns how a SunSpec device says that it does not implement a
// value, nil where it has no way or a NaN says it. A field of bits whose highest
// bit is set says nothing in the others.
func sunspecSentinel(mapping *Mapping) *Sentinel {
	size := 16 * mapping.Registers()
	if mapping.DataType == String {
		return &Sentinel{} // nothing but zeros, however long
	}
	all, highest := allBits(size), uint64(1)<<(size-1)
	switch mapping.DataType {
	case Int16, Int32, Int64:
		return &Sentinel{Mask: all, Bits: highest}
	case Uint16, Uint32, Uint64:
		return &Sentinel{Mask: all, Bits: all}
	case Bool, Bits:
		return &Sentinel{Mask: highest, Bits: highest}
	default:
		return nil
	}
}

// allBits has the lowest size bits set.
func allBits(size int) uint64 { return ^uint64(0) >> (64 - size) }
