package device

import "math"

// Type says how a value is laid out in registers.
type Type string

// The types of a register profile.
const (
	Bool    Type = "bool"
	Int16   Type = "int16"
	Uint16  Type = "uint16"
	Int32   Type = "int32"
	Uint32  Type = "uint32"
	Int64   Type = "int64"
	Uint64  Type = "uint64"
	Float32 Type = "float32"
	Float64 Type = "float64"
	Acc32   Type = "acc32" // a counter of 32 bits that begins again at 0
	Acc64   Type = "acc64" // and one of 64
	Text    Type = "string"
)

var typeNames = []string{"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "acc32", "acc64"}

// numberNames are the types of numbers that take whole registers.
func numberNames() []string { return typeNames[1:] }

// width returns how many registers a value of the type takes.
func (t Type) width() int {
	switch t {
	case Int32, Uint32, Float32, Acc32:
		return 2
	case Int64, Uint64, Float64, Acc64:
		return 4
	default:
		return 1
	}
}

// Order says in which order the bytes of a value travel: A is the most
// significant.
type Order string

// ordersOf lists the orders of a width in registers, big-endian first.
func ordersOf(width int) []string {
	switch width {
	case 2:
		return []string{"ABCD", "DCBA", "BADC", "CDAB"}
	case 4:
		return []string{"ABCDEFGH", "HGFEDCBA", "BADCFEHG", "GHEFCDAB"}
	default:
		return []string{"AB", "BA"}
	}
}

// pack puts a raw value into registers. What the type cannot hold is brought to
// its nearest limit, as a device does whose register is full.
func pack(raw float64, t Type, order Order) []uint16 {
	bits := bitsOf(raw, t)
	size := 2 * t.width()
	significant := make([]byte, size) // A, B, C, …
	for i := range significant {
		significant[i] = byte(bits >> (8 * (size - 1 - i)))
	}
	registers := make([]uint16, t.width())
	for i, letter := range []byte(order) {
		b := uint16(significant[letter-'A'])
		if i%2 == 0 {
			b <<= 8
		}
		registers[i/2] |= b
	}
	return registers
}

// unpack is the inverse of pack.
func unpack(registers []uint16, t Type, order Order) float64 {
	size := 2 * t.width()
	var bits uint64
	for i, letter := range []byte(order) {
		b := registers[i/2] >> 8
		if i%2 == 1 {
			b = registers[i/2] & 0xFF
		}
		bits |= uint64(b) << (8 * (size - 1 - int(letter-'A')))
	}
	switch t {
	case Int16:
		return float64(int16(bits))
	case Int32:
		return float64(int32(bits))
	case Int64:
		return float64(int64(bits))
	case Float32:
		return float64(math.Float32frombits(uint32(bits)))
	case Float64:
		return math.Float64frombits(bits)
	default:
		return float64(bits)
	}
}

// unavailable is what stands for a value that there is not: the sentinels of SunSpec,
// which many other devices use too.
func unavailable(t Type) uint64 {
	switch t {
	case Int16:
		return 1 << 15
	case Int32:
		return 1 << 31
	case Int64:
		return 1 << 63
	case Uint16, Uint32, Uint64:
		return math.MaxUint64
	case Float32:
		return uint64(math.Float32bits(float32(math.NaN())))
	case Float64:
		return math.Float64bits(math.NaN())
	default: // counters
		return 0
	}
}

func bitsOf(raw float64, t Type) uint64 {
	if math.IsNaN(raw) {
		return unavailable(t)
	}
	whole := math.Round(raw)
	switch t {
	case Int16:
		return uint64(int64(limited(whole, math.MinInt16, math.MaxInt16)))
	case Int32:
		return uint64(int64(limited(whole, math.MinInt32, math.MaxInt32)))
	case Uint16:
		return uint64(limited(whole, 0, math.MaxUint16))
	case Uint32:
		return uint64(limited(whole, 0, math.MaxUint32))
	case Acc32:
		return uint64(math.Mod(math.Max(whole, 0), 1<<32))
	case Acc64:
		return uint64(math.Mod(math.Max(whole, 0), 1<<64))
	case Int64:
		if whole >= math.MaxInt64 { // 2^63 as a float
			return math.MaxInt64
		}
		return uint64(int64(math.Max(whole, math.MinInt64)))
	case Uint64:
		if whole >= math.MaxUint64 { // 2^64 as a float
			return math.MaxUint64
		}
		return uint64(math.Max(whole, 0))
	case Float32:
		return uint64(math.Float32bits(float32(limited(raw, -math.MaxFloat32, math.MaxFloat32))))
	default:
		return math.Float64bits(raw)
	}
}

func limited(number, least, most float64) float64 {
	return math.Max(least, math.Min(most, number))
}
