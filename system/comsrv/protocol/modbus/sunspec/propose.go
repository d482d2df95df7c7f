package sunspec

import (
	"fmt"
	"math"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Proposal is points for a channel, and what the person who takes them must know.
type Proposal struct {
	Points []config.MappedPoint `json:"-"`
	// Scales are the exponents that were read and became the scale of points: a
	// device that changes one is read wrongly from then on.
	Scales []Scale `json:"fixed_scales"`
	// Absent are points that the device says it does not have at the moment.
	Absent []string `json:"not_implemented"`
	// Omitted is how many points were too many for one channel.
	Omitted int `json:"omitted,omitempty"`
}

// maxPoints bounds a proposal, so that it fits into a request.
const maxPoints = 4000

// Scale is an exponent of ten that was read once.
type Scale struct {
	Name     string   `json:"name"`
	Unit     uint8    `json:"unit"`
	Address  uint16   `json:"register_address"`
	Exponent int      `json:"exponent"`
	Points   []string `json:"points"`
}

// greatestExponent bounds what the specification allows, on both sides of 0.
const greatestExponent = 10

// Propose adds the points of a device of that unit, all of them telemetry: what it
// may be told is for a person to decide. Names begin with prefix. With absent,
// points that the device does not have at the moment are proposed too.
func (p *Proposal) Propose(device *Device, unit uint8, prefix string, absent bool) {
	seen := map[uint16]int{}
	for i := range device.Models {
		model := &device.Models[i]
		known := definitions()[model.ID]
		if known == nil {
			continue
		}
		seen[model.ID]++
		name := fmt.Sprintf("%sm%d", prefix, model.ID)
		if seen[model.ID] > 1 {
			name += fmt.Sprintf("_%d", seen[model.ID])
		}
		one := proposing{Proposal: p, model: model, known: known, unit: unit, absent: absent, scales: map[string]int{}}
		for _, field := range known.points {
			one.add(name+"_"+field.name, field, 0)
		}
		size, first := end(known.module), end(known.points)
		for module := 0; size > 0 && module < model.modules(known); module++ {
			for _, field := range known.module {
				one.add(fmt.Sprintf("%s_%d_%s", name, module+1, field.name), field, first+module*size)
			}
		}
	}
}

// modules returns how many parts of a model that repeats one are there: as many as
// it counts, if it counts them, and as its length has room for.
func (m *Model) modules(known *definition) int {
	count := min(maxModules, (len(m.words)-end(known.points))/end(known.module))
	for _, field := range known.points {
		if words := m.at(field.offset, 1); field.kind == "count" && words != nil {
			count = min(count, int(words[0]))
		}
	}
	return max(0, count)
}

// proposing is the work on one model.
type proposing struct {
	*Proposal
	model  *Model
	known  *definition
	unit   uint8
	absent bool
	scales map[string]int // where the exponents of the model stand in Scales
}

// dataTypes are ours for those of the specification. Of a counter 0 may mean that
// it is not there, and may be its value: it is taken as that.
var dataTypes = map[string]config.DataType{
	"int16": config.Int16, "uint16": config.Uint16, "count": config.Uint16, "acc16": config.Uint16, "enum16": config.Uint16,
	"int32": config.Int32, "uint32": config.Uint32, "acc32": config.Uint32, "enum32": config.Uint32,
	"int64": config.Int64, "uint64": config.Uint64, "acc64": config.Uint64,
	"float32": config.Float32, "float64": config.Float64, "string": config.String,
	"bitfield16": config.Bits, "bitfield32": config.Bits,
}

// add proposes one field, at an offset behind its own.
func (p *proposing) add(name string, field field, behind int) {
	kind, known := dataTypes[field.kind]
	words := p.model.at(field.offset+behind, field.size)
	if !known || words == nil {
		return
	}
	mapping := config.Mapping{Unit: p.unit, Function: 3, Address: p.model.Address + uint16(field.offset+behind), DataType: kind, Bit: -1}
	switch kind {
	case config.String:
		mapping.Length = field.size
	case config.Bits:
		mapping.ByteOrder = map[int]config.ByteOrder{1: "AB", 2: "ABCD"}[field.size]
		mapping.Bit, mapping.Bits = 0, 16*field.size
	}
	mapping.Check(ems.Telemetry, func(string, string, ...any) {}) // gives an order its meaning; the tables are checked as a whole
	if field.kind[:3] != "acc" {
		mapping.TakeSunSpec()
	}
	if !isThere(field.kind, words) && !p.absent {
		p.Absent = append(p.Absent, name)
		return
	}
	if len(p.Points) == maxPoints {
		p.Omitted++
		return
	}
	p.Points = append(p.Points, config.MappedPoint{
		Point: ems.Point{
			ID: ems.PointID(len(p.Points) + 1), Type: ems.Telemetry, Name: name, Unit: field.unit, Scale: p.scale(field.scale, name), Group: ems.DefaultGroup,
		},
		Mapping: mapping,
	})
}

// isThere reports whether registers hold a value, and not that the device does not
// have it.
func isThere(kind string, words []uint16) bool {
	ones, some, others := true, false, uint16(0)
	for i, word := range words {
		ones, some = ones && word == math.MaxUint16, some || word != 0
		if i > 0 {
			others |= word
		}
	}
	switch kind {
	case "int16", "int32", "int64":
		return words[0] != 0x8000 || others != 0
	case "bitfield16", "bitfield32":
		return words[0]&0x8000 == 0
	case "float32", "float64":
		return words[0]&0x7f80 != 0x7f80
	case "string":
		return some
	case "acc16", "acc32", "acc64":
		return true
	default:
		return !ones
	}
}

// scale returns the factor that an exponent of the model says.
func (p *proposing) scale(field, point string) float64 {
	if field == "" {
		return 1
	}
	if at, known := p.scales[field]; known {
		p.Scales[at].Points = append(p.Scales[at].Points, point)
		return power(p.Scales[at].Exponent)
	}
	for _, one := range p.known.points {
		words := p.model.at(one.offset, 1)
		if one.name != field || one.kind != "sunssf" || words == nil {
			continue
		}
		exponent := int(int16(words[0]))
		if exponent < -greatestExponent || exponent > greatestExponent { // not there, or no exponent
			exponent = 0
		}
		p.scales[field] = len(p.Scales)
		p.Scales = append(p.Scales, Scale{
			Name: fmt.Sprintf("m%d_%s", p.model.ID, field), Unit: p.unit, Address: p.model.Address + uint16(one.offset), Exponent: exponent, Points: []string{point},
		})
		return power(exponent)
	}
	return 1
}

// power returns the float64 that is nearest to a power of ten.
func power(exponent int) float64 {
	if exponent < 0 {
		return 1 / math.Pow10(-exponent)
	}
	return math.Pow10(exponent)
}
