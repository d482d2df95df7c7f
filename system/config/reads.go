package config

import (
	"math"
	"time"
)

// Reads is what a channel says of how its points may be joined to reads. All units
// behind the channel share it: give a device with bounds of its own a channel of
// its own.
type Reads struct {
	MaxRegisters int              // of one read, 1 to 125
	MaxCoils     int              // coils or discrete inputs of one read, 1 to 2000
	MaxGap       int              // registers that no point wants and a read may bridge, 0 to 124
	MaxCoilGap   int              // coils or discrete inputs of that kind, 0 to 1999
	Forbidden    []ForbiddenRange // what no read may touch
	ProbeAfter   time.Duration    // the longest time before an address that the device refused is tried again
}

// ForbiddenRange is addresses that must not be read, because the device would act
// on it or fail.
type ForbiddenRange struct {
	Unit     int // slave id; -1: every one
	Function int // that reads them, 1 to 4; 0: every one
	First    uint16
	Last     uint16
}

// The bounds of reading, as the protocol sets them and by default: a few
// registers more cost less than a second request.
const (
	maxRegisters      = 125
	maxCoils          = 2000
	defaultGap        = 8
	defaultCoilGap    = 64
	defaultProbeAfter = 10 * time.Minute
	leastProbeAfter   = time.Second
	longestProbeAfter = 24 * time.Hour
)

// OrDefault returns what holds for a channel that was not read from a site and
// says nothing.
func (r Reads) OrDefault() Reads {
	if r.MaxRegisters > 0 {
		return r
	}
	r.MaxRegisters, r.MaxCoils, r.MaxGap, r.MaxCoilGap = maxRegisters, maxCoils, defaultGap, defaultCoilGap
	r.ProbeAfter = defaultProbeAfter
	return r
}

// Bounds returns how much one read of a function may ask for, and how much of no
// interest it may bridge.
func (r *Reads) Bounds(function uint8) (most, gap int) {
	if function <= readDiscreteInputs {
		return r.MaxCoils, r.MaxCoilGap
	}
	return r.MaxRegisters, r.MaxGap
}

// Forbids reports whether a read from start to before end would touch what must
// not be read.
func (r *Reads) Forbids(unit, function uint8, start, end int) bool {
	for _, one := range r.Forbidden {
		if (one.Unit < 0 || one.Unit == int(unit)) && (one.Function == 0 || one.Function == int(function)) &&
			start <= int(one.Last) && int(one.First) < end {
			return true
		}
	}
	return false
}

// Check tells fault of a mapping that no read within the bounds can serve.
func (r *Reads) Check(mapping *Mapping, fault func(column, format string, args ...any)) {
	size := mapping.End() - int(mapping.Address)
	most, _ := r.Bounds(mapping.ReadFunction())
	if size > most {
		fault("data_type", "%s takes %d registers, and the channel allows reads of %d", mapping.DataType, size, most)
	}
	if r.Forbids(mapping.Unit, mapping.ReadFunction(), int(mapping.Address), mapping.End()) {
		fault("register_address", "%d is in a range that the channel forbids to read", mapping.Address)
	}
}

// readsEntry is the part of the key modbus that says it. What is left out is by
// default.
type readsEntry struct {
	MaxRegisters *int             `yaml:"max_registers"`
	MaxCoils     *int             `yaml:"max_coils"`
	MaxGap       *int             `yaml:"max_gap"`
	MaxCoilGap   *int             `yaml:"max_coil_gap"`
	Forbidden    []forbiddenEntry `yaml:"forbidden"`
	ProbeAfter   *time.Duration   `yaml:"probe_after"`
}

type forbiddenEntry struct {
	Unit     *int `yaml:"unit"`
	Function *int `yaml:"function"`
	First    *int `yaml:"first"`
	Last     *int `yaml:"last"`
}

// read gives what a channel says of its reads the meaning of what is left out.
func (e *readsEntry) read(doc *document, at []any) Reads {
	reads := Reads{}.OrDefault()
	checkWhole(doc, append(at, "max_registers"), e.MaxRegisters, 1, maxRegisters, &reads.MaxRegisters)
	checkWhole(doc, append(at, "max_coils"), e.MaxCoils, 1, maxCoils, &reads.MaxCoils)
	checkWhole(doc, append(at, "max_gap"), e.MaxGap, 0, maxRegisters-1, &reads.MaxGap)
	checkWhole(doc, append(at, "max_coil_gap"), e.MaxCoilGap, 0, maxCoils-1, &reads.MaxCoilGap)
	if e.ProbeAfter != nil {
		reads.ProbeAfter = *e.ProbeAfter
		if reads.ProbeAfter < leastProbeAfter || reads.ProbeAfter > longestProbeAfter {
			doc.add(append(at, "probe_after"), "%v is not between %v and %v", reads.ProbeAfter, leastProbeAfter, longestProbeAfter)
		}
	}
	for i, one := range e.Forbidden {
		reads.Forbidden = append(reads.Forbidden, one.read(doc, append(at, "forbidden", i)))
	}
	return reads
}

func (e forbiddenEntry) read(doc *document, at []any) ForbiddenRange {
	unit, function, first, last := -1, 0, 0, math.MaxUint16
	checkWhole(doc, append(at, "unit"), e.Unit, 0, math.MaxUint8, &unit)
	checkWhole(doc, append(at, "function"), e.Function, readCoils, readInputs, &function)
	checkWhole(doc, append(at, "first"), e.First, 0, math.MaxUint16, &first)
	checkWhole(doc, append(at, "last"), e.Last, 0, math.MaxUint16, &last)
	if e.First == nil || e.Last == nil {
		doc.add(at, "a forbidden range needs the addresses first and last")
	} else if first > last {
		doc.add(at, "first %d is above last %d", first, last)
	}
	return ForbiddenRange{Unit: unit, Function: function, First: uint16(first), Last: uint16(last)}
}

// checkWhole takes over a whole number that was said, unless it is out of bounds.
func checkWhole(doc *document, at []any, said *int, least, most int, into *int) {
	switch {
	case said == nil:
	case *said < least || *said > most:
		doc.add(at, "%d is not from %d to %d", *said, least, most)
	default:
		*into = *said
	}
}
