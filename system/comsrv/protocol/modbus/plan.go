package modbus

import (
	"cmp"
	"slices"

	"github.com/voltageems/voltageems-go/system/config"
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
	maskRegister       = 22
)

func isBits(function uint8) bool { return function == readCoils || function == readDiscreteInputs }

// item is one point within a block: its addresses, and where its reading goes.
type item struct {
	reading  int // index within the readings of the group
	start    int
	end      int // after the last
	refusals int // how often the device refused it read alone, since it was connected
}

// block is one read: contiguous registers or bits of one unit and function.
// Items are in order of address and wholly inside.
type block struct {
	function uint8
	start    int
	end      int // after the last
	items    []item
	decoded  []byte   // the answer that the readings are of; nil where they are of none
	parts    []*block // reads that worked before they were joined to this one
	rest     rest     // of one place alone, which the device refused
}

// unit is all that a poll group reads of one unit behind the connection.
type unit struct {
	id       uint8
	blocks   []*block
	rejoinIn int // polls until what was split is joined again; 0: nothing was
}

// plan joins the points of one poll group to as few reads as the settings allow.
// Points of one unit and function may overlap.
func plan(points []config.MappedPoint, group string, settings *config.Reads) (units []*unit, readings []int) {
	type key struct{ unit, function uint8 }
	found := map[key][]item{}
	for index := range points {
		if points[index].Group != group {
			continue
		}
		mapping := &points[index].Mapping
		at := key{mapping.Unit, mapping.ReadFunction()}
		found[at] = append(found[at], item{reading: len(readings), start: int(mapping.Address), end: mapping.End()})
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
		last.blocks = append(last.blocks, last.join(at.function, found[at], settings, nil)...)
	}
	return units, readings
}

// join makes reads of items of one function. Each read takes the items by address
// for as long as it is not too long and bridges neither too many addresses that no
// item wants, nor a forbidden one, nor one of the places that are left out. No
// other choice has fewer reads: whatever a read leaves to the next one begins
// where that begins or later, and so never makes that longer.
func (u *unit) join(function uint8, items []item, settings *config.Reads, without []*block) []*block {
	most, gap := settings.Bounds(function)
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	bridges := func(start, end int) bool {
		return end <= start || end-start <= gap && !settings.Forbids(u.id, function, start, end) &&
			!slices.ContainsFunc(without, func(b *block) bool { return b.start < end && start < b.end })
	}
	var blocks []*block
	var open *block
	for _, next := range items {
		if open == nil || next.end-open.start > most || !bridges(open.end, next.start) {
			open = &block{function: function, start: next.start, end: next.end}
			blocks = append(blocks, open)
		}
		open.items = append(open.items, next)
		open.end = max(open.end, next.end)
	}
	return blocks
}

// due counts a poll and reports whether what was split is to be joined again.
func (u *unit) due() bool {
	if u.rejoinIn == 0 {
		return false
	}
	u.rejoinIn--
	return u.rejoinIn == 0
}

// rejoin makes the reads of the unit anew, so that what was split to find an
// address does not cost more requests for ever. Places that are still refused
// stay by themselves. A joined read keeps those that worked before, in case that
// it is refused once more.
func (u *unit) rejoin(settings *config.Reads) {
	var refused, made []*block
	items := [readInputs + 1][]item{} // by function
	former := map[int]*block{}        // by reading
	for _, block := range u.blocks {
		if block.rest.reason != "" {
			refused = append(refused, block)
			continue
		}
		items[block.function] = append(items[block.function], block.items...)
		for i := range block.items {
			former[block.items[i].reading] = block
		}
	}
	for function := range items {
		without := slices.DeleteFunc(slices.Clone(refused), func(b *block) bool { return int(b.function) != function })
		made = append(append(made, u.join(uint8(function), items[function], settings, without)...), without...)
	}
	for _, block := range made {
		if block.rest.reason == "" {
			block.parts = partsOf(block, former)
		}
	}
	u.blocks = made
}

// partsOf returns a block as it was read before, nil if it was one read.
func partsOf(whole *block, former map[int]*block) (parts []*block) {
	var order []*block
	items := map[*block][]item{}
	for _, item := range whole.items {
		was := former[item.reading]
		if items[was] == nil {
			order = append(order, was)
		}
		items[was] = append(items[was], item)
	}
	for _, was := range order {
		parts = append(parts, blockOf(whole.function, items[was]))
	}
	if len(parts) == 1 {
		return nil
	}
	return parts
}

// split cuts a block that the device refuses in two, so that what it does have
// can be read: at the widest gap, or else in the middle. A block of which every
// point has the same place cannot be split and returns nil.
func (b *block) split() []*block {
	cut, widest, end := 0, 0, b.items[0].end
	middle := len(b.items) / 2
	for i := 1; i < len(b.items); i++ {
		if b.items[i].start == b.items[i-1].start && b.items[i].end == b.items[i-1].end {
			continue
		}
		gap := b.items[i].start - end
		closer := cut == 0 || distance(i, middle) < distance(cut, middle)
		if gap > widest || max(gap, 0) == widest && closer {
			cut, widest = i, max(gap, 0)
		}
		end = max(end, b.items[i].end)
	}
	if cut == 0 {
		return nil
	}
	return []*block{blockOf(b.function, b.items[:cut]), blockOf(b.function, b.items[cut:])}
}

func blockOf(function uint8, items []item) *block {
	made := &block{function: function, start: items[0].start, items: items}
	for i := range items {
		made.end = max(made.end, items[i].end)
	}
	return made
}

func distance(a, b int) int { return max(a-b, b-a) }

// refuse leaves out a block of one place: for as many polls as the place was
// refused before, doubled each time, so that one which comes and goes costs no
// more than one that never was.
func (b *block) refuse(reason string, longest int) {
	b.rest.failures = b.items[0].refusals
	b.rest.fail(reason, longest)
	for i := range b.items {
		b.items[i].refusals = b.rest.failures
	}
}

// rest leaves out what did not answer for 1, 2, 4 … polls up to a longest, so
// that it costs the others little and comes back by itself.
type rest struct {
	failures int
	polls    int // still to leave out
	reason   string
}

func (r *rest) skip() bool {
	if r.polls == 0 {
		return false
	}
	r.polls--
	return true
}

func (r *rest) fail(reason string, longest int) {
	r.polls = min(1<<min(r.failures, 30), longest)
	r.failures++
	r.reason = reason
}

func (r *rest) succeed() { *r = rest{} }
