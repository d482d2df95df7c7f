package modbusserver

import (
	"sync"
	"sync/atomic"

	"github.com/tbrandon/mbserver"
)

// WriteHandler is asked before a write reaches the registers of a unit, with one
// value for each address: 0 or 1 for a coil, 16 bits for a holding register. A
// write that it refuses with an exception changes nothing: 4 says that the device
// failed. It is called under the lock of the unit, so what it notes is in step with
// what clients read back.
type WriteHandler func(table Table, address uint16, values []uint16) mbserver.Exception

// Unit is the registers of one Modbus unit. Several goroutines may use it.
type Unit struct {
	mu      sync.Mutex
	layout  layout
	bank    mbserver.Server // as a bank of registers; its own network is not used
	write   WriteHandler
	objects []string // of its identification; nil if it has none
	busy    atomic.Bool
}

// NewUnit returns a unit that has the addresses of ranges, all 0, and no other. A
// unit without handler takes whatever is written.
func NewUnit(ranges []Range, write WriteHandler) *Unit {
	u := &Unit{layout: newLayout(ranges), write: write}
	u.bank.Coils = make([]byte, u.layout.size(Coils))
	u.bank.DiscreteInputs = make([]byte, u.layout.size(DiscreteInputs))
	u.bank.HoldingRegisters = make([]uint16, u.layout.size(HoldingRegisters))
	u.bank.InputRegisters = make([]uint16, u.layout.size(InputRegisters))
	return u
}

// Update changes registers in one piece: no client sees some of them changed and
// others not. The function sets values through the image and must not keep it.
func (u *Unit) Update(change func(*Image)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(&Image{unit: u})
}

// SetBusy lets a unit refuse whatever it is asked with exception 6, until it is told
// otherwise.
func (u *Unit) SetBusy(busy bool) { u.busy.Store(busy) }

// Image is the registers of a unit while it is locked.
type Image struct{ unit *Unit }

// Set writes consecutive values. Addresses that the unit does not have are left
// out: a profile that passed its checks names none.
func (i *Image) Set(table Table, address uint16, values ...uint16) {
	at, ok := i.unit.layout.locate(table, int(address), len(values))
	if !ok {
		return
	}
	for n, value := range values {
		switch table {
		case Coils:
			i.unit.bank.Coils[at+n] = byte(value)
		case DiscreteInputs:
			i.unit.bank.DiscreteInputs[at+n] = byte(value)
		case HoldingRegisters:
			i.unit.bank.HoldingRegisters[at+n] = value
		default:
			i.unit.bank.InputRegisters[at+n] = value
		}
	}
}
