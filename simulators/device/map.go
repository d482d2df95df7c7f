package device

import (
	"math"
	"slices"
	"strings"

	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
)

// Map is a profile bound to the names of one device: it turns values into
// registers and writes into setpoints.
type Map struct {
	profile   *Profile
	sources   []int // for each register: index of its quantity or setpoint
	setpoints []plant.Setting
	writeable map[place][]int // registers by the place where they begin
}

// Write is what a client wants a setpoint to be.
type Write struct {
	Setpoint string
	Value    float64
}

// Bind finds the quantities and setpoints that a profile names and notes each
// that the device does not have.
func Bind(profile *Profile, quantities []string, setpoints []plant.Setting, faults *document.Faults) *Map {
	m := &Map{profile: profile, setpoints: setpoints, writeable: map[place][]int{}}
	names := make([]string, len(setpoints))
	for i, one := range setpoints {
		names[i] = one.Name
	}
	for i, r := range profile.Registers {
		if r.Constant != nil {
			m.sources = append(m.sources, -1)
			continue
		}
		kind, known := "quantity", quantities
		if r.Setpoint {
			kind, known = "setpoint", names
		}
		source := slices.Index(known, r.Name)
		if source < 0 {
			faults.Add(profile.File, r.line, "the device has no %s %q: it has %s", kind, r.Name, strings.Join(known, ", "))
		}
		m.sources = append(m.sources, source)
		if r.Writeable {
			at := place{r.Table, r.Address}
			m.writeable[at] = append(m.writeable[at], i)
		}
	}
	return m
}

// Ranges returns the addresses of the map.
func (m *Map) Ranges() []modbusserver.Range { return m.profile.Ranges() }

// Width returns the most registers that show one value of a quantity, 0 where none does.
func (m *Map) Width(quantity string) int {
	width := 0
	for _, r := range m.profile.Registers {
		if r.Constant == nil && !r.Setpoint && r.Name == quantity {
			width = max(width, r.width())
		}
	}
	return width
}

// Encode hands values to set, register by register: what is shown and setpoints are
// in the order in which they were bound.
func (m *Map) Encode(set func(table modbusserver.Table, address uint16, values ...uint16), shown Shown, setpoints []float64) {
	bits := map[place]uint16{}
	for i, r := range m.profile.Registers {
		if r.Constant != nil {
			continue
		}
		value := 0.0
		if r.Setpoint {
			value = setpoints[m.sources[i]]
		} else {
			value = shown.Quantities[m.sources[i]]
		}
		if r.Codes != nil && !math.IsNaN(value) {
			value = r.Codes[int(clamped(value, len(r.Codes)))]
		}
		switch {
		case r.Bit >= 0:
			bits[place{r.Table, r.Address}] |= bit(value) << r.Bit
		case r.Type == Bool:
			set(r.Table, r.Address, bit(value))
		default:
			words := pack((value-r.Offset)/r.Scale, r.Type, r.Order)
			if shown.Swapped != nil && !r.Setpoint && shown.Swapped[m.sources[i]] {
				slices.Reverse(words)
			}
			set(r.Table, r.Address, words...)
		}
	}
	for at, register := range bits {
		set(at.table, at.address, register)
	}
}

// EncodeConstants hands what never changes to set, once and for all.
func (m *Map) EncodeConstants(id string, set func(table modbusserver.Table, address uint16, values ...uint16)) {
	for _, r := range m.profile.Registers {
		if r.Constant == nil {
			continue
		}
		words := append([]uint16(nil), r.Constant.Words...)
		for i, letter := range []byte(strings.ReplaceAll(r.Constant.Text, "{id}", id)) {
			if i < 2*len(words) {
				words[i/2] |= uint16(letter) << (8 * (1 - i%2))
			}
		}
		set(r.Table, r.Address, words...)
	}
}

// clamped brings the value of a state into a table of codes.
func clamped(value float64, codes int) float64 { return limited(value, 0, float64(codes-1)) }

func bit(value float64) uint16 {
	if value != 0 { // a bit has nothing that stands for no value: it is set
		return 1
	}
	return 0
}

// Decode turns a write into setpoints. It refuses the whole of it with exception
// 2 if an address is read-only or a value is written in part, and with exception
// 3 if a setpoint may not have the value.
func (m *Map) Decode(table modbusserver.Table, address uint16, values []uint16) ([]Write, mbserver.Exception) {
	var writes []Write
	for done := 0; done < len(values); {
		found := m.writeable[place{table, address + uint16(done)}]
		if len(found) == 0 {
			return nil, mbserver.IllegalDataAddress
		}
		width := m.profile.Registers[found[0]].Type.width()
		if done+width > len(values) {
			return nil, mbserver.IllegalDataAddress
		}
		for _, i := range found {
			r, setting := m.profile.Registers[i], m.setpoints[m.sources[i]]
			value := r.value(values[done : done+width])
			if r.Codes != nil {
				value = r.decoded(value)
			}
			if math.IsNaN(value) || !setting.Accepts(value) {
				return nil, mbserver.IllegalDataValue
			}
			writes = append(writes, Write{Setpoint: setting.Name, Value: value})
		}
		done += width
	}
	return writes, mbserver.Success
}

// decoded returns the value that a code stands for, NaN if it stands for none.
func (r Register) decoded(code float64) float64 {
	if value := slices.Index(r.Codes, code); value >= 0 {
		return float64(value)
	}
	return math.NaN()
}

// value reads the registers of one value.
func (r Register) value(registers []uint16) float64 {
	switch {
	case r.Bit >= 0:
		return float64(registers[0] >> r.Bit & 1)
	case r.Type == Bool:
		return float64(registers[0])
	case r.Type == Float32 || r.Type == Float64:
		return unpack(registers, r.Type, r.Order)*r.Scale + r.Offset
	default:
		// 300 x 0.1 is to be 30, not 30.000000000000004, which may be out of range.
		return math.Round((unpack(registers, r.Type, r.Order)*r.Scale+r.Offset)*1e9) / 1e9
	}
}
