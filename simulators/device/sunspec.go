package device

import (
	_ "embed" // for the layout of the models
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
)

// sunspecTable is the layout of the models after the SunSpec information models:
// offsets in registers after the two of the header, or within a repeating part.
//
//go:embed sunspec.csv
var sunspecTable string

// sunspecPoint is a row of that table.
type sunspecPoint struct {
	name   string
	offset int
	kind   string
	size   int
	scale  string // the point that holds the exponent, or the exponent itself
	write  bool
}

// sunspecModel is the layout of one model.
type sunspecModel struct {
	fixed, repeating []sunspecPoint
}

func layoutLength(points []sunspecPoint) int {
	length := 0
	for _, p := range points {
		length = max(length, p.offset+p.size)
	}
	return length
}

// sunspecModels reads the table, which a test holds to its form.
func sunspecModels() map[int]*sunspecModel {
	models := map[int]*sunspecModel{}
	for _, line := range strings.Split(strings.TrimSpace(sunspecTable), "\n")[1:] {
		cells := strings.Split(line, ",")
		id, _ := strconv.Atoi(cells[0])
		offset, _ := strconv.Atoi(cells[3])
		size, _ := strconv.Atoi(cells[5])
		one := sunspecPoint{name: cells[2], offset: offset, kind: cells[4], size: size, scale: cells[6], write: cells[7] == "rw"}
		if models[id] == nil {
			models[id] = &sunspecModel{}
		}
		if cells[1] == "fixed" {
			models[id].fixed = append(models[id].fixed, one)
		} else {
			models[id].repeating = append(models[id].repeating, one)
		}
	}
	return models
}

// sunspecReader lays out models one after the other.
type sunspecReader struct {
	models    map[int]*sunspecModel
	next      int // address
	registers []Register
}

// The words that frame the models.
const (
	sunsHigh, sunsLow = 0x5375, 0x6E53 // "SunS"
	endModel          = 0xFFFF
)

// readSunSpec reads the models of a profile and returns their registers: the marker,
// each model with its points, what a device does not implement as the specification
// says, and the end.
func readSunSpec(m *document.Mapping) []Register {
	r := &sunspecReader{models: sunspecModels(), next: int(m.Integer("address", 0, 50000, 40000))}
	r.constant(m.Line("address"), r.next, sunsHigh, sunsLow)
	r.next += 2
	for _, row := range m.Mappings("models") {
		r.model(row)
		row.Close()
	}
	r.constant(m.Line("models"), r.next, endModel, 0)
	m.Close()
	return r.registers
}

func (r *sunspecReader) constant(line, address int, words ...uint16) {
	r.registers = append(r.registers, Register{
		Table: modbusserver.HoldingRegisters, Address: uint16(address), Type: Uint16, Bit: -1, line: line, Constant: &Constant{Words: words},
	})
}

// given is what a profile says of the points of a model.
type given struct {
	rows  map[string][]*document.Mapping // by point and part
	scale map[string]int                 // exponents, by the point that holds them
}

func (r *sunspecReader) model(m *document.Mapping) {
	var known []string
	for id := range r.models {
		known = append(known, strconv.Itoa(id))
	}
	slices.Sort(known)
	id, _ := strconv.Atoi(m.Choice("model", known))
	model := r.models[id]
	parts := 0
	if model != nil && model.repeating != nil {
		parts = int(m.Integer("parts", 0, 64, 1))
	}
	g := r.given(m, id, parts)
	if model == nil {
		return // at fault already
	}
	length := layoutLength(model.fixed) + parts*layoutLength(model.repeating)
	if last := r.next + 2 + length + 1; last > math.MaxUint16 { // with the end behind it
		m.Fault("model", "model %d of %d registers from %d on would run past 65535: use fewer models or parts, or a lower address", id, length, r.next)
		return
	}
	r.constant(m.Line("model"), r.next, uint16(id), uint16(length))
	r.next += 2
	for _, p := range model.fixed {
		r.point(m, g, p, 0)
	}
	r.next += layoutLength(model.fixed)
	for part := 1; part <= parts; part++ {
		for _, p := range model.repeating {
			r.point(m, g, p, part)
		}
		r.next += layoutLength(model.repeating)
	}
}

func key(point string, part int) string { return fmt.Sprintf("%s %d", point, part) }

// given reads which points a profile has, and their exponents.
func (r *sunspecReader) given(m *document.Mapping, id, parts int) given {
	g := given{rows: map[string][]*document.Mapping{}, scale: map[string]int{}}
	for _, row := range m.Mappings("points") {
		name := row.Text("point")
		part := 0
		if parts > 0 {
			part = int(row.Integer("part", 0, int64(parts), 0))
		}
		p, known := r.find(id, name, part)
		switch {
		case name == "" || r.models[id] == nil:
		case !known:
			row.Fault("point", "model %d has no point %q there", id, name)
		case p.kind == "sunssf":
			g.scale[name] = int(row.Integer("value", -10, 10))
			g.rows[key(name, part)] = nil
			row.Close()
		default:
			g.rows[key(name, part)] = append(g.rows[key(name, part)], row)
		}
	}
	return g
}

func (r *sunspecReader) find(id int, name string, part int) (sunspecPoint, bool) {
	if r.models[id] == nil {
		return sunspecPoint{}, false
	}
	list := r.models[id].fixed
	if part > 0 {
		list = r.models[id].repeating
	}
	i := slices.IndexFunc(list, func(p sunspecPoint) bool { return p.name == name })
	if i < 0 {
		return sunspecPoint{}, false
	}
	return list[i], true
}

// point adds the registers of a point of the model, or of one of its parts, at hand.
func (r *sunspecReader) point(m *document.Mapping, g given, p sunspecPoint, part int) {
	at := r.next + p.offset
	if exponent, known := g.scale[p.name]; known && p.kind == "sunssf" {
		r.constant(m.Line("model"), at, uint16(int16(exponent)))
		return
	}
	rows := g.rows[key(p.name, part)]
	if len(rows) == 0 {
		r.constant(m.Line("model"), at, notImplemented(p)...)
		return
	}
	bits := map[int]bool{}
	for _, row := range rows {
		r.row(row, g, p, at, bits)
		row.Close()
	}
	for word := range p.size { // of a bit field of which not all words have a bit
		if len(bits) > 0 && !bits[word] {
			r.constant(m.Line("model"), at+word, 0)
		}
	}
}

// row adds one row of a profile.
func (r *sunspecReader) row(row *document.Mapping, g given, p sunspecPoint, at int, bits map[int]bool) {
	one := Register{
		Table: modbusserver.HoldingRegisters, Address: uint16(at), Type: typeOf(p.kind), Bit: -1, Scale: 1, line: row.Line("point"),
	}
	switch {
	case p.kind == "string":
		one.Type, one.Constant = Text, &Constant{Text: row.Text("text"), Words: make([]uint16, p.size)}
		if len(one.Constant.Text) > 2*p.size {
			row.Fault("text", "%q is longer than the %d bytes of %s", one.Constant.Text, 2*p.size, p.name)
		}
		r.registers = append(r.registers, one)
		return
	case row.Has("value"):
		orders := ordersOf(p.size)
		one.Constant = &Constant{Words: pack(row.Number("value", -1e15, 1e15), one.Type, Order(orders[0]))}
		r.registers = append(r.registers, one)
		return
	}
	if strings.HasPrefix(p.kind, "bitfield") && row.Has("bit") {
		bit := int(row.Integer("bit", 0, int64(16*p.size-1)))
		word := p.size - 1 - bit/16
		one.Type, one.Bit, one.Address = Bool, bit%16, uint16(at+word)
		bits[word] = true
	} else {
		one.Order = Order(ordersOf(one.Type.width())[0])
		one.Scale, one.Offset = r.scale(row, g, p), row.Number("offset", -1e12, 1e12, 0)
		if row.Has("codes") {
			one.Codes = row.NumberList("codes", 0, math.MaxUint16)
		}
	}
	quantity, setpoint := row.Text("quantity", ""), row.Text("setpoint", "")
	one.Name, one.Setpoint = quantity+setpoint, setpoint != ""
	if (quantity == "") == (setpoint == "") {
		row.Fault("point", "%s shows either a quantity, a setpoint or a value: name one", p.name)
	}
	if one.Setpoint && !p.write {
		row.Fault("setpoint", "%s can only be read", p.name)
	}
	one.Writeable = one.Setpoint
	r.registers = append(r.registers, one)
}

// scale returns what a raw value is multiplied with: 10 to the exponent of the point,
// over the factor that turns the unit of the device into that of the model.
func (r *sunspecReader) scale(row *document.Mapping, g given, p sunspecPoint) float64 {
	factor := row.Number("factor", -1e9, 1e9, 1)
	if math.Abs(factor) < 1e-9 {
		row.Fault("factor", "must not be 0: every value would read the same")
		factor = 1
	}
	exponent, known := g.scale[p.scale]
	if fixed, err := strconv.Atoi(p.scale); err == nil {
		exponent, known = fixed, true
	}
	if p.scale != "" && !known {
		row.Fault("point", "%s needs the value of %s, its scale factor", p.name, p.scale)
	}
	return math.Pow10(exponent) / factor
}

func typeOf(kind string) Type {
	switch kind {
	case "bitfield16", "sunssf", "pad":
		return Uint16
	case "bitfield32":
		return Uint32
	default:
		return Type(kind)
	}
}

// notImplemented returns what stands for a point that a device does not have.
// Source: SunSpec Information Model Specification V1.9, 4.2.
func notImplemented(p sunspecPoint) []uint16 {
	words := make([]uint16, p.size)
	switch p.kind {
	case "uint16", "uint32", "uint64", "bitfield16", "bitfield32":
		for i := range words {
			words[i] = 0xFFFF
		}
	case "int16", "int32", "int64", "sunssf", "pad":
		words[0] = 0x8000
	case "float32":
		words[0] = 0x7FC0
	}
	return words
}
