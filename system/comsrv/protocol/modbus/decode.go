package modbus

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/voltageems/voltageems-go/system/config"
)

// errNotANumber is what a device says of a value that it does not have.
var errNotANumber = errors.New("the device answered NaN or infinity, which is no value")

// decodeRegisters reads a value from its registers as they travelled, two bytes
// each. The mapping is one that checkMapping accepted, and wire has the length of
// its type. 64-bit integers above 2^53 are rounded to what a float64 holds. An
// error means that the bytes are no finite number.
func decodeRegisters(mapping config.Mapping, wire []byte) (float64, error) {
	var buffer [8]byte
	value := buffer[:len(wire)]
	fromWire(mapping.ByteOrder, wire, value)
	number := 0.0
	switch mapping.DataType {
	case config.Bool:
		return bit(binary.BigEndian.Uint16(value)>>mapping.Bit&1 != 0), nil
	case config.Int16:
		number = float64(int16(binary.BigEndian.Uint16(value)))
	case config.Uint16:
		number = float64(binary.BigEndian.Uint16(value))
	case config.Int32:
		number = float64(int32(binary.BigEndian.Uint32(value)))
	case config.Uint32:
		number = float64(binary.BigEndian.Uint32(value))
	case config.Int64:
		number = float64(int64(binary.BigEndian.Uint64(value)))
	case config.Uint64:
		number = float64(binary.BigEndian.Uint64(value))
	case config.Float32:
		number = float64(math.Float32frombits(binary.BigEndian.Uint32(value)))
	default:
		number = math.Float64frombits(binary.BigEndian.Uint64(value))
	}
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, errNotANumber
	}
	return number, nil
}

// decodeBit reads bit number at of bits that travel packed eight to a byte, the
// lowest first.
func decodeBit(packed []byte, at int) float64 { return bit(packed[at/8]>>(at%8)&1 != 0) }

func bit(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
