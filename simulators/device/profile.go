// Package device gives the quantities and setpoints of a simulated device the
// register map of a real one. A profile is data: a YAML file that reads like the
// register table of a data sheet.
package device

import (
	"fmt"
	"math"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
)

// Profile is the register map of a kind of device.
type Profile struct {
	Name      string
	File      string
	Registers []Register
}

// Register is one row of a profile: where a value stands and how it is written.
// value = raw x Scale + Offset.
type Register struct {
	Table     modbusserver.Table
	Address   uint16
	Type      Type
	Order     Order // "" for a single bit
	Scale     float64
	Offset    float64 // in the unit of the value
	Bit       int     // of a bool within a 16-bit register, 0 is the lowest; -1 else
	Name      string  // of the quantity or setpoint
	Setpoint  bool    // Name is a setpoint
	Writeable bool    // clients may write it
	line      int
	Codes     []float64 // what stands for the values 0, 1, 2, … of the quantity, nil where they stand for themselves
	Constant  *Constant // what it always holds; then it has no name
}

// Constant is registers that never change: words, or a text that fills the last of
// them with zeros.
type Constant struct {
	Words []uint16
	Text  string // {id} in it is the id of the device
}

// width returns how many registers a row takes.
func (r Register) width() int {
	if r.Constant != nil {
		return len(r.Constant.Words)
	}
	return r.Type.width()
}

// what names a row in a fault.
func (r Register) what() string {
	if r.Constant != nil {
		return "a constant"
	}
	return r.Name
}

var tables = map[string]modbusserver.Table{
	"coil": modbusserver.Coils, "discrete": modbusserver.DiscreteInputs,
	"holding": modbusserver.HoldingRegisters, "input": modbusserver.InputRegisters,
}

// ReadProfile reads a profile. Every fault is noted with its line and key; the
// profile may be used only if none was.
func ReadProfile(file string, data []byte, faults *document.Faults) *Profile {
	m, ok := document.Read(file, data, faults)
	if !ok {
		return nil
	}
	profile := &Profile{Name: m.Text("name"), File: file}
	before := faults.Count()
	if m.Has("registers") || !m.Has("sunspec") {
		for _, row := range m.Mappings("registers") {
			profile.Registers = append(profile.Registers, readRegister(row))
			row.Close()
		}
	}
	if m.Has("sunspec") {
		profile.Registers = append(profile.Registers, readSunSpec(m.Mapping("sunspec", false))...)
	}
	if faults.Count() == before {
		profile.checkOverlaps(faults)
	}
	m.Close()
	return profile
}

func readRegister(m *document.Mapping) Register {
	table, known := tables[m.Choice("table", []string{"coil", "discrete", "holding", "input"})]
	if !known {
		table = modbusserver.HoldingRegisters // at fault already; the rest is read as of a register
	}
	r := Register{
		Table:   table,
		Address: uint16(m.Integer("address", 0, math.MaxUint16)),
		Bit:     -1,
		Scale:   1,
		line:    m.Line("address"),
	}
	switch {
	case r.Table.Bits():
		r.Type = Type(m.Choice("type", []string{"bool"}, "bool"))
	case m.Has("text") || m.Has("value"):
		return readConstant(m, r)
	default:
		r.Type = Type(m.Choice("type", typeNames))
	}
	switch {
	case r.Table.Bits():
	case r.Type == Bool:
		r.Bit = int(m.Integer("bit", 0, 15))
	case r.Type != "":
		orders := ordersOf(r.Type.width())
		r.Order = Order(m.Choice("order", orders, orders[0]))
		r.Scale = m.Number("scale", -1e12, 1e12, 1)
		r.Offset = m.Number("offset", -1e12, 1e12, 0)
		if m.Has("scale") && math.Abs(r.Scale) < 1e-12 {
			m.Fault("scale", "must not be 0: every value would read the same")
		}
		if m.Has("codes") {
			r.Codes = m.NumberList("codes", 0, math.MaxUint16)
		}
	}
	if r.Type != "" && int(r.Address)+r.Type.width() > math.MaxUint16+1 {
		m.Fault("address", "%d: a %s would run past 65535", r.Address, r.Type)
	}
	readonly := m.Truth("readonly", false)
	quantity, setpoint := m.Text("quantity", ""), m.Text("setpoint", "")
	r.Name, r.Setpoint = quantity+setpoint, setpoint != ""
	if (quantity == "") == (setpoint == "") {
		m.Fault("quantity", "a register shows either a quantity or a setpoint: name one")
	}
	r.Writeable = r.Setpoint && r.Table.Writable() && !readonly
	return r
}

// readConstant reads a row that always holds the same: a text, or a number.
func readConstant(m *document.Mapping, r Register) Register {
	r.Constant = &Constant{}
	if m.Has("text") {
		r.Type = Type(m.Choice("type", []string{"string"}, "string"))
		r.Constant.Text = m.Text("text")
		r.Constant.Words = make([]uint16, m.Integer("size", 1, 64))
		if most := 2 * len(r.Constant.Words); len(r.Constant.Text) > most {
			m.Fault("text", "%q is longer than the %d bytes of its registers", r.Constant.Text, most)
		}
	} else {
		r.Type = Type(m.Choice("type", numberNames()))
		value := m.Number("value", -1e15, 1e15)
		if r.Type != "" {
			orders := ordersOf(r.Type.width())
			r.Order = Order(m.Choice("order", orders, orders[0]))
			r.Constant.Words = pack(value, r.Type, r.Order)
		}
	}
	if int(r.Address)+len(r.Constant.Words) > math.MaxUint16+1 {
		m.Fault("address", "%d: %d registers would run past 65535", r.Address, len(r.Constant.Words))
	}
	return r
}

// place is one address of one table.
type place struct {
	table   modbusserver.Table
	address uint16
}

// checkOverlaps notes every register that stands where another does. Bits may
// share a register, but then all of them are written together or none is.
func (p *Profile) checkOverlaps(faults *document.Faults) {
	taken := map[place][]Register{}
	for _, r := range p.Registers {
		clash := ""
		for i := range r.width() {
			at := place{r.Table, r.Address + uint16(i)}
			for _, other := range taken[at] {
				if clash == "" {
					clash = r.clash(other, at.address)
				}
			}
			taken[at] = append(taken[at], r)
		}
		if clash != "" {
			faults.Add(p.File, r.line, "%s", clash)
		}
	}
}

// clash says why two registers cannot both have an address, "" if they can.
func (r Register) clash(other Register, address uint16) string {
	switch {
	case other.Bit < 0 || r.Bit < 0:
		return fmt.Sprintf("%s %d is taken by %s in line %d, and %s (%s) needs it too", r.Table, address, other.what(), other.line, r.what(), r.Type)
	case other.Bit == r.Bit:
		return fmt.Sprintf("bit %d of %s %d is taken by %s in line %d, and %s needs it too", r.Bit, r.Table, address, other.Name, other.line, r.Name)
	case other.Writeable != r.Writeable:
		return fmt.Sprintf("%s %d holds %s and %s, of which one can be written and one not: a client writes a register whole, part them", r.Table, address, other.Name, r.Name)
	default:
		return ""
	}
}

// Ranges returns the addresses that the profile has.
func (p *Profile) Ranges() []modbusserver.Range {
	ranges := make([]modbusserver.Range, len(p.Registers))
	for i, r := range p.Registers {
		ranges[i] = modbusserver.Range{Table: r.Table, Address: r.Address, Count: r.width()}
	}
	return ranges
}
