package modbus

import (
	"cmp"
	"slices"

	"github.com/voltageems/voltageems-go/system/config"
)

// What one read may ask for, and how much of no interest it may bring along: a
// few registers more cost less than a second request.
const (
	maxRegisters = 125
	maxBits      = 2000
	gapRegisters = 8
	gapBits      = 64
)

// The functions of the protocol.
const (
	readCoils          = 1
	readDiscreteInputs = 2
	readHolding        = 3
	readInputs         = 4
	writeCoil          = 5
	writeRegister      = 6
	writeCoils         = 15
	writeRegisters     = 16
)

// readFunction returns the function that reads what a mapping names: a coil or
// holding register that can be written is read at the same address.
func readFunction(function uint8) uint8 {
	switch function {
	case writeCoil, writeCoils:
		return readCoils
	case writeRegister, writeRegisters:
		return readHolding
	default:
		return function
	}
}

func isBits(function uint8) bool { return function == readCoils || function == readDiscreteInputs }

// item is one point within a block.
type item struct {
	reading int // index within the readings of the group
	mapping config.Mapping
	size    int // registers, or 1 for a coil or discrete input
}

func (i *item) start() int { return int(i.mapping.Address) }
func (i *item) end() int   { return i.start() + i.size }

// block is one read: contiguous registers or bits of one unit and function.
// Items are in order of address and wholly inside.
type block struct {
	function uint8
	start    int
	end      int // after the last
	items    []item
	rest     rest
}

// unit is all that a poll group reads of one unit behind the connection.
type unit struct {
	id     uint8
	blocks []*block
}

// plan joins the points of one poll group to as few reads as the bounds above
// allow. Points of one unit and function may overlap.
func plan(points []config.MappedPoint, group string) (units []*unit, readings []int) {
	type key struct{ unit, function uint8 }
	found := map[key][]item{}
	for index := range points {
		if points[index].Group != group {
			continue
		}
		mapping := points[index].Mapping
		at := key{mapping.Unit, readFunction(mapping.Function)}
		size := 1
		if !isBits(at.function) {
			size = mapping.DataType.Registers()
		}
		found[at] = append(found[at], item{reading: len(readings), mapping: mapping, size: size})
		readings = append(readings, index)
	}
	keys := make([]key, 0, len(found))
	for at := range found {
		keys = append(keys, at)
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.unit, b.unit), cmp.Compare(a.function, b.function))
	})
	for _, at := range keys {
		if len(units) == 0 || units[len(units)-1].id != at.unit {
			units = append(units, &unit{id: at.unit})
		}
		last := units[len(units)-1]
		last.blocks = append(last.blocks, join(at.function, found[at])...)
	}
	return units, readings
}

func join(function uint8, items []item) []*block {
	most, gap := maxRegisters, gapRegisters
	if isBits(function) {
		most, gap = maxBits, gapBits
	}
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.start(), b.start()), cmp.Compare(a.end(), b.end()))
	})
	var blocks []*block
	var open *block
	for _, next := range items {
		if open == nil || next.start() > open.end+gap || max(open.end, next.end())-open.start > most {
			open = &block{function: function, start: next.start(), end: next.end()}
			blocks = append(blocks, open)
		}
		open.items = append(open.items, next)
		open.end = max(open.end, next.end())
	}
	return blocks
}

// split cuts a block that the device refuses in two, so that what it does have
// can be read: at the widest gap, or else in the middle. A block of which every
// point has the same place cannot be split and returns nil.
func (b *block) split() []*block {
	cut, widest, end := 0, 0, b.items[0].end()
	middle := len(b.items) / 2
	for i := 1; i < len(b.items); i++ {
		if b.items[i].start() == b.items[i-1].start() && b.items[i].end() == b.items[i-1].end() {
			continue
		}
		gap := b.items[i].start() - end
		closer := cut == 0 || distance(i, middle) < distance(cut, middle)
		if gap > widest || max(gap, 0) == widest && closer {
			cut, widest = i, max(gap, 0)
		}
		end = max(end, b.items[i].end())
	}
	if cut == 0 {
		return nil
	}
	return []*block{blockOf(b.function, b.items[:cut]), blockOf(b.function, b.items[cut:])}
}

func blockOf(function uint8, items []item) *block {
	made := &block{function: function, start: items[0].start(), items: items}
	for i := range items {
		made.end = max(made.end, items[i].end())
	}
	return made
}

func distance(a, b int) int { return max(a-b, b-a) }

// rest leaves out what did not answer for 1, 2, 4 … 32 polls, so that it costs
// the others little and comes back by itself.
type rest struct {
	failures int
	polls    int // still to leave out
	reason   string
}

const longestRest = 5 // as a power of two

func (r *rest) skip() bool {
	if r.polls == 0 {
		return false
	}
	r.polls--
	return true
}

func (r *rest) fail(reason string) {
	r.polls = 1 << min(r.failures, longestRest)
	r.failures++
	r.reason = reason
}

func (r *rest) succeed() { *r = rest{} }
