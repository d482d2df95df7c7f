// Package modbusserver answers Modbus for simulated devices: over TCP, TLS, on a
// serial line, and with the frames of one over TCP. It owns the listener and the
// framing, which is also where faults of the wire are made; writes are left to the
// function handlers of tbrandon/mbserver, which are called only after the request has
// been validated and under the lock of the unit it is meant for. Reads go straight
// from the registers into the frame.
package modbusserver

import (
	"fmt"
	"sort"
)

// Table is one of the four tables of a Modbus device.
type Table int

// The tables.
const (
	Coils Table = iota
	DiscreteInputs
	HoldingRegisters
	InputRegisters
	tableCount
)

var tableNames = [tableCount]string{"coil", "discrete", "holding", "input"}

func (t Table) String() string {
	if t >= 0 && t < tableCount {
		return tableNames[t]
	}
	return fmt.Sprintf("table %d", int(t))
}

// Bits reports whether the table holds single bits rather than 16-bit registers.
func (t Table) Bits() bool { return t == Coils || t == DiscreteInputs }

// Writable reports whether a Modbus client may write the table at all.
func (t Table) Writable() bool { return t == Coils || t == HoldingRegisters }

// Range is a run of addresses of one table that a unit has.
type Range struct {
	Table   Table
	Address uint16 // of the first
	Count   int    // 1 or more; Address + Count is at most 65536
}

// segment is a run of addresses without a gap and where it lies in the bank,
// which holds mapped addresses only and so is no larger than what it serves.
type segment struct {
	first  int // address
	count  int
	offset int // in the bank
}

// layout finds the place of an address in the bank of its table.
type layout [tableCount][]segment

// newLayout joins ranges that touch or overlap.
func newLayout(ranges []Range) layout {
	var l layout
	sorted := append([]Range(nil), ranges...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Address < sorted[j].Address })
	for _, r := range sorted {
		list := l[r.Table]
		if n := len(list); n > 0 && int(r.Address) <= list[n-1].first+list[n-1].count {
			end := max(list[n-1].first+list[n-1].count, int(r.Address)+r.Count)
			list[n-1].count = end - list[n-1].first
			continue
		}
		l[r.Table] = append(list, segment{first: int(r.Address), count: r.Count})
	}
	for t := range l {
		offset := 0
		for i := range l[t] {
			l[t][i].offset = offset
			offset += l[t][i].count
		}
	}
	return l
}

// size returns how many places the bank of a table needs.
func (l *layout) size(t Table) int {
	list := l[t]
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].offset + list[len(list)-1].count
}

// locate returns the place of the first of count addresses, or false if one of
// them is not mapped.
func (l *layout) locate(t Table, address, count int) (int, bool) {
	list := l[t]
	i := sort.Search(len(list), func(i int) bool { return list[i].first+list[i].count > address })
	if i == len(list) || address < list[i].first || address+count > list[i].first+list[i].count {
		return 0, false
	}
	return list[i].offset + address - list[i].first, true
}
