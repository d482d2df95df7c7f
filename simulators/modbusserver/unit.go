package modbusserver

import (
	"encoding/binary"
	"sync"

	"github.com/tbrandon/mbserver"
)

// WriteHandler is asked before a write reaches the registers of a unit, with one
// value for each address: 0 or 1 for a coil, 16 bits for a holding register. A
// write that it refuses with an exception changes nothing. It is called under the
// lock of the unit, so what it notes is in step with what clients read back.
type WriteHandler func(table Table, address uint16, values []uint16) mbserver.Exception

// Unit is the registers of one Modbus unit. Several goroutines may use it.
type Unit struct {
	mu     sync.Mutex
	layout layout
	bank   mbserver.Server // as a bank of registers; its own network is not used
	write  WriteHandler
}

// NewUnit returns a unit that has the addresses of ranges, all 0, and no other.
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

// function is what the server knows of one Modbus function code.
type function struct {
	table   Table
	write   bool
	single  bool // one value, without a quantity
	most    int  // greatest quantity
	perform func(*mbserver.Server, mbserver.Framer) ([]byte, *mbserver.Exception)
}

// functions lists what is supported, with the greatest quantities of the MODBUS
// Application Protocol Specification V1.1b3, chapter 6.
var functions = map[byte]function{
	1:  {table: Coils, most: 2000, perform: mbserver.ReadCoils},
	2:  {table: DiscreteInputs, most: 2000, perform: mbserver.ReadDiscreteInputs},
	3:  {table: HoldingRegisters, most: 125, perform: mbserver.ReadHoldingRegisters},
	4:  {table: InputRegisters, most: 125, perform: mbserver.ReadInputRegisters},
	5:  {table: Coils, write: true, single: true, most: 1, perform: mbserver.WriteSingleCoil},
	6:  {table: HoldingRegisters, write: true, single: true, most: 1, perform: mbserver.WriteHoldingRegister},
	15: {table: Coils, write: true, most: 1968, perform: mbserver.WriteMultipleCoils},
	16: {table: HoldingRegisters, write: true, most: 123, perform: mbserver.WriteHoldingRegisters},
}

// answer returns the PDU that answers a PDU, and how many values it served. The
// checks follow the state diagrams of the specification: function, length and
// quantity, address, then the value itself.
func (u *Unit) answer(pdu []byte) (reply []byte, served int) {
	code, data := pdu[0], pdu[1:]
	f, supported := functions[code]
	if !supported {
		return exception(code, mbserver.IllegalFunction), 0
	}
	count, ok := f.count(data)
	if !ok {
		return exception(code, mbserver.IllegalDataValue), 0
	}
	address := int(binary.BigEndian.Uint16(data))
	at, mapped := u.layout.locate(f.table, address, count)
	if !mapped {
		return exception(code, mbserver.IllegalDataAddress), 0
	}

	u.mu.Lock()
	defer u.mu.Unlock()
	if f.write {
		if refused := u.write(f.table, uint16(address), f.values(data, count)); refused != mbserver.Success {
			return exception(code, refused), 0
		}
	}
	moved := append([]byte(nil), data...)
	binary.BigEndian.PutUint16(moved, uint16(at))
	body, result := f.perform(&u.bank, &mbserver.TCPFrame{Function: code, Data: moved})
	if *result != mbserver.Success {
		return exception(code, *result), 0
	}
	reply = append([]byte{code}, body...)
	if f.write { // it echoes the address
		binary.BigEndian.PutUint16(reply[1:], uint16(address))
	}
	return reply, count
}

// count validates the length of a request and its quantity.
func (f function) count(data []byte) (int, bool) {
	if len(data) < 4 {
		return 0, false
	}
	second := int(binary.BigEndian.Uint16(data[2:]))
	switch {
	case f.single && f.table == Coils:
		return 1, len(data) == 4 && (second == 0 || second == 0xFF00)
	case f.single:
		return 1, len(data) == 4
	case second < 1 || second > f.most:
		return 0, false
	case !f.write:
		return second, len(data) == 4
	}
	size := 2 * second
	if f.table.Bits() {
		size = (second + 7) / 8
	}
	return second, len(data) == 5+size && int(data[4]) == size
}

// values returns what a validated write carries, one for each address.
func (f function) values(data []byte, count int) []uint16 {
	values := make([]uint16, count)
	for i := range values {
		switch {
		case f.single && f.table == Coils:
			values[i] = uint16(data[2] & 1)
		case f.single:
			values[i] = binary.BigEndian.Uint16(data[2:])
		case f.table == Coils:
			values[i] = uint16(data[5+i/8]>>(i%8)) & 1
		default:
			values[i] = binary.BigEndian.Uint16(data[5+2*i:])
		}
	}
	return values
}

func exception(code byte, reason mbserver.Exception) []byte {
	return []byte{code | 0x80, byte(reason)}
}
