package config

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Mapping is one row of a mapping table: a place in a device's register map.
type Mapping struct {
	Unit      uint8  // slave id, 0 to 255
	Function  uint8  // 1 to 6, 15, 16 or 22
	Address   uint16 // as on the wire: from 0
	DataType  DataType
	ByteOrder ByteOrder
	Bit       int       // within the registers, 0 is the lowest; -1 when they are meant whole
	Bits      int       // how many from Bit upwards, of a field of bits; 0 for every other type
	Length    int       // in registers, of a string; 0 for every other type
	Sentinel  *Sentinel // what says that the device does not have the value; nil: nothing but a NaN does
	Text      string    // the whole address of a point in the words of a driver without registers
}

// The functions of the protocol that a mapping may name.
const (
	readCoils          = 1
	readDiscreteInputs = 2
	readHolding        = 3
	readInputs         = 4
	writeCoil          = 5
	writeRegister      = 6
	writeCoils         = 15
	writeRegisters     = 16
	maskRegister       = 22
)

// ReadFunction returns the function that reads what the mapping names: a coil or
// holding register that can be written is read at the same address.
func (m *Mapping) ReadFunction() uint8 {
	switch m.Function {
	case writeCoil, writeCoils:
		return readCoils
	case writeRegister, writeRegisters, maskRegister:
		return readHolding
	default:
		return m.Function
	}
}

// IsText reports whether the value is a text, which has no number.
func (m *Mapping) IsText() bool { return m.DataType == String }

// Writes reports whether the function of the mapping writes.
func (m *Mapping) Writes() bool { return m.Function > readInputs }

// IsCoil reports whether the mapping names a coil or discrete input, which is one
// bit and no part of a register.
func (m *Mapping) IsCoil() bool { return m.ReadFunction() <= readDiscreteInputs }

// End returns the address after the last one of the value, 65536 at most.
func (m *Mapping) End() int {
	if m.IsCoil() {
		return int(m.Address) + 1
	}
	return int(m.Address) + m.Registers()
}

// onFault is told what is wrong in a column of a table, in words that follow the
// name of the column.
type onFault func(column, format string, args ...any)

// Check tells fault all that no device could serve of a point of that kind, by
// column of the mapping table, and gives the order that was left out its meaning.
func (m *Mapping) Check(kind ems.PointType, fault func(column, format string, args ...any)) {
	typed, served := slices.Contains(DataTypes, m.DataType), true
	if !typed {
		fault("data_type", "%q is unknown: use one of %s", m.DataType, listText(DataTypes))
	}
	switch m.Function {
	case readCoils, readDiscreteInputs, readHolding, readInputs, writeCoil, writeRegister, writeCoils, writeRegisters, maskRegister:
	default:
		served = false
		fault("function_code", "%d is none of 1 to 6, 15, 16 and 22", m.Function)
	}
	if !typed { // what follows would be about another type
		return
	}
	m.checkLength(fault)
	m.checkOrder(fault)
	if !served {
		return
	}
	m.checkBits(fault)
	m.checkFunction(kind, fault)
	if m.End() > math.MaxUint16+1 {
		fault("register_address", "%d: %s would run past address 65535", m.Address, m.DataType)
	}
}

// maxLength is what one read may carry.
const maxLength = 125

func (m *Mapping) checkLength(fault onFault) {
	switch {
	case m.DataType == String && (m.Length < 1 || m.Length > maxLength):
		fault("length", "%d is not from 1 to %d: give a string its length in registers, two characters each", m.Length, maxLength)
		m.Length = 1
	case m.DataType != String && m.Length != 0:
		fault("length", "is for strings alone: leave it empty for %s", m.DataType)
	}
}

func (m *Mapping) checkOrder(fault onFault) {
	orders := m.DataType.ByteOrders()
	switch {
	case m.ByteOrder == "":
		m.ByteOrder = orders[0]
	case !contains(orders, m.ByteOrder):
		fault("byte_order", "%q does not fit %s: use one of %s", m.ByteOrder, m.DataType, listText(orders))
		m.ByteOrder = orders[0]
	case m.DataType == Bool && m.ByteOrder != "BA":
		m.ByteOrder = "AB" // tables of the existing system carry longer ones for a single register
	}
}

func (m *Mapping) checkBits(fault onFault) {
	if m.Bits > 1 && m.DataType != Bits {
		fault("bit_position", "%d-%d names several bits: that is data_type bits", m.Bit, m.Bit+m.Bits-1)
	}
	switch {
	case m.DataType == Bits && (m.Bit < 0 || m.Bits < 1):
		fault("bit_position", "is missing: name the bits, for example 4-7")
	case m.DataType == Bits:
		if size := 16 * m.Registers(); m.Bit+m.Bits > size {
			fault("bit_position", "%d is not below %d, the bits that byte_order %s has", m.Bit+m.Bits-1, size, m.ByteOrder)
		}
		return
	case m.DataType == Bool && m.IsCoil():
		m.Bit = -1
	case m.DataType == Bool && m.Bit < 0:
		fault("bit_position", "is missing: a bool in a register needs one from 0 to 15")
	case m.DataType == Bool && m.Bit > 15:
		fault("bit_position", "%d is not from 0 to 15", m.Bit)
	case m.DataType == Bool:
	case m.DataType == Int8 || m.DataType == Uint8:
		m.Bit = max(m.Bit, 0)
		if m.Bit != 0 && m.Bit != 8 {
			fault("bit_position", "%d is neither 0, for the low byte, nor 8, for the high one", m.Bit)
		}
	default:
		m.Bit = -1 // tables of the existing system carry a 0 here for whole registers
	}
	m.Bits = 0
}

func (m *Mapping) checkFunction(kind ems.PointType, fault onFault) {
	switch {
	case m.Writes() && !kind.Writable():
		fault("function_code", "%d does not read: use 1 (coils), 2 (discrete inputs), 3 (holding registers) or 4 (input registers)", m.Function)
	case !m.Writes() && kind.Writable():
		fault("function_code", "%d does not write: use 5 or 15 (coils), 6 or 16 (holding registers), or 22 (bits of one)", m.Function)
	case m.IsCoil() && m.DataType != Bool:
		fault("data_type", "%s does not fit function_code %d, which carries single bits: use bool", m.DataType, m.Function)
	case m.Writes() && m.DataType == String:
		fault("data_type", "string cannot be written: it has no number for a command to carry")
	case m.Function == writeRegister && m.Registers() != 1:
		fault("function_code", "6 writes one register and %s takes %d: use 16", m.DataType, m.Registers())
	case m.Function == maskRegister && (m.Registers() != 1 || !m.InPart()):
		fault("function_code", "22 writes some bits of one register: use 6 or 16 for %s", m.DataType)
	}
}

// ReadsFirst reports whether a write must read the registers to keep their other
// bits.
func (m *Mapping) ReadsFirst() bool { return m.InPart() && !m.IsCoil() && m.Function != maskRegister }

// InPart reports whether the value is some bits of registers that hold others
// too.
func (m *Mapping) InPart() bool {
	return m.DataType == Bool || m.DataType == Bits || m.DataType == Int8 || m.DataType == Uint8
}

// place returns which bits of a register belong to the value, counted after the
// bytes were put in order: all, for most types.
func (m *Mapping) place(register int) uint16 {
	if m.IsCoil() || !m.InPart() {
		return math.MaxUint16
	}
	size := 8
	switch m.DataType {
	case Bool:
		size = 1
	case Bits:
		size = m.Bits
	}
	var letters [8]uint16 // which bits of each byte of the value, A first
	bits, count := allBits(size)<<m.Bit, 2*m.Registers()
	for i := range count {
		letters[i] = uint16(bits >> (8 * (count - 1 - i)) & 0xff)
	}
	return letters[m.ByteOrder[2*register]-'A']<<8 | letters[m.ByteOrder[2*register+1]-'A']
}

// parseBits reads a bit_position: empty, one bit, or the first and last of
// several.
func parseBits(text string) (first, count int, sound bool) {
	if text == "" {
		return -1, 0, true
	}
	low, high, several := strings.Cut(text, "-")
	first, err := strconv.Atoi(low)
	if err != nil || first < 0 || first > 63 {
		return -1, 0, false
	}
	last := first
	if several {
		if last, err = strconv.Atoi(high); err != nil || last < first || last > 63 {
			return -1, 0, false
		}
	}
	return first, last - first + 1, true
}

// BitsText is the inverse of parseBits.
func (m *Mapping) BitsText() string {
	switch {
	case m.Bit < 0 || m.IsCoil():
		return ""
	case m.Bits > 1:
		return strconv.Itoa(m.Bit) + "-" + strconv.Itoa(m.Bit+m.Bits-1)
	case m.InPart():
		return strconv.Itoa(m.Bit)
	default:
		return ""
	}
}

// TakeSunSpec gives a sound mapping the sentinel that SunSpec has for its type, if
// it has one.
func (m *Mapping) TakeSunSpec() { m.Sentinel = sunspecSentinel(m) }

// readSentinel reads the column of that name for a mapping that is sound in all
// else.
func (m *Mapping) readSentinel(text string, fault onFault) {
	size := 16 * m.Registers()
	digits, isNumber := strings.CutPrefix(strings.ToLower(text), "0x")
	switch {
	case text == "" || text == "none":
	case m.IsCoil():
		fault("sentinel", "%q: a coil or discrete input has no room for one", text)
	case text == "sunspec":
		m.Sentinel = sunspecSentinel(m)
		if m.Sentinel == nil && !strings.HasPrefix(string(m.DataType), "float") {
			fault("sentinel", "sunspec says nothing of %s: give the registers in hex, for example 0xFFFF", m.DataType)
		}
	case m.DataType == String:
		fault("sentinel", "%q does not fit a string: use sunspec, where nothing but zeros is no text", text)
	default:
		bits, err := strconv.ParseUint(digits, 16, 64)
		if !isNumber || err != nil || bits > allBits(size) {
			fault("sentinel", "%q is neither none nor sunspec nor the %d bits of the registers in hex, for example 0x8000", text, size)
			return
		}
		m.Sentinel = &Sentinel{Mask: allBits(size), Bits: bits}
	}
}
