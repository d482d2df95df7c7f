package modbusserver

import (
	"encoding/binary"

	"github.com/tbrandon/mbserver"
)

// function is what the server knows of one Modbus function code.
type function struct {
	table     Table
	single    bool // one value, without a quantity
	most      int  // greatest quantity
	broadcast bool // it may be meant for all units of a line
	store     func(*mbserver.Server, mbserver.Framer) ([]byte, *mbserver.Exception)
	// perform appends what follows the function code in the answer and tells how many
	// values it served. It is called under the lock of the unit.
	perform func(u *Unit, f *function, reply []byte, call call) ([]byte, int, mbserver.Exception)
}

// call is what a unit is asked: to which of its numbers, and what follows the
// function code.
type call struct {
	code byte
	unit byte
	data []byte
}

// functions lists what is supported, with the greatest quantities of the MODBUS
// Application Protocol Specification V1.1b3, chapter 6.
var functions = [...]function{
	1:  {table: Coils, most: 2000, perform: (*Unit).read},
	2:  {table: DiscreteInputs, most: 2000, perform: (*Unit).read},
	3:  {table: HoldingRegisters, most: 125, perform: (*Unit).read},
	4:  {table: InputRegisters, most: 125, perform: (*Unit).read},
	5:  {table: Coils, single: true, most: 1, broadcast: true, store: mbserver.WriteSingleCoil, perform: (*Unit).change},
	6:  {table: HoldingRegisters, single: true, most: 1, broadcast: true, store: mbserver.WriteHoldingRegister, perform: (*Unit).change},
	8:  {perform: (*Unit).loopBack},
	15: {table: Coils, most: 1968, broadcast: true, store: mbserver.WriteMultipleCoils, perform: (*Unit).change},
	16: {table: HoldingRegisters, most: 123, broadcast: true, store: mbserver.WriteHoldingRegisters, perform: (*Unit).change},
	17: {perform: (*Unit).reportServerID},
	22: {table: HoldingRegisters, single: true, most: 1, broadcast: true, store: mbserver.WriteHoldingRegister, perform: (*Unit).mask},
	23: {table: HoldingRegisters, most: 121, store: mbserver.WriteHoldingRegisters, perform: (*Unit).readAndChange},
	43: {perform: (*Unit).identify},
}

// functionOf returns a function, nil if it is not supported.
func functionOf(code byte) *function {
	if int(code) >= len(functions) || functions[code].perform == nil {
		return nil
	}
	return &functions[code]
}

// answer appends the PDU that answers a PDU, and tells how many values it served.
// The checks follow the state diagrams of the specification: function, length and
// quantity, address, then the value itself.
func (u *Unit) answer(reply []byte, unit byte, pdu []byte) ([]byte, int) {
	code, start := pdu[0], len(reply)
	f, refused, served := functionOf(code), mbserver.IllegalFunction, 0
	switch {
	case u.busy.Load():
		refused = mbserver.SlaveDeviceBusy
	case f != nil:
		u.mu.Lock()
		reply, served, refused = f.perform(u, f, append(reply, code), call{code, unit, pdu[1:]})
		u.mu.Unlock()
	}
	if refused != mbserver.Success {
		return append(reply[:start], code|0x80, byte(refused)), 0
	}
	return reply, served
}

func (u *Unit) read(f *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	if len(asked.data) != 4 {
		return reply, 0, mbserver.IllegalDataValue
	}
	return u.appendValues(f.table, f.most, reply, asked.data)
}

// appendValues appends the values of an address and a quantity, behind the number of
// their bytes.
func (u *Unit) appendValues(table Table, most int, reply, data []byte) ([]byte, int, mbserver.Exception) {
	address, count := int(binary.BigEndian.Uint16(data)), int(binary.BigEndian.Uint16(data[2:]))
	if count < 1 || count > most {
		return reply, 0, mbserver.IllegalDataValue
	}
	at, mapped := u.layout.locate(table, address, count)
	if !mapped {
		return reply, 0, mbserver.IllegalDataAddress
	}
	switch table {
	case Coils:
		reply = appendBits(reply, u.bank.Coils[at:at+count])
	case DiscreteInputs:
		reply = appendBits(reply, u.bank.DiscreteInputs[at:at+count])
	case HoldingRegisters:
		reply = appendRegisters(reply, u.bank.HoldingRegisters[at:at+count])
	default:
		reply = appendRegisters(reply, u.bank.InputRegisters[at:at+count])
	}
	return reply, count, mbserver.Success
}

func appendBits(reply, bits []byte) []byte {
	reply = append(reply, byte((len(bits)+7)/8))
	for i, bit := range bits {
		if i%8 == 0 {
			reply = append(reply, 0)
		}
		if bit != 0 {
			reply[len(reply)-1] |= 1 << (i % 8)
		}
	}
	return reply
}

func appendRegisters(reply []byte, registers []uint16) []byte {
	reply = append(reply, byte(2*len(registers)))
	for _, register := range registers {
		reply = binary.BigEndian.AppendUint16(reply, register)
	}
	return reply
}

// change carries out a write and appends the echo of its address and of what it
// wrote or how much.
func (u *Unit) change(f *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	count, ok := f.count(asked.data)
	if !ok {
		return reply, 0, mbserver.IllegalDataValue
	}
	at, mapped := u.layout.locate(f.table, int(binary.BigEndian.Uint16(asked.data)), count)
	if !mapped {
		return reply, 0, mbserver.IllegalDataAddress
	}
	if refused := u.put(f, at, count, asked.data); refused != mbserver.Success {
		return reply, 0, refused
	}
	return append(reply, asked.data[:4]...), count, mbserver.Success
}

// put hands a validated write to the write handler and, unless that refuses it, to
// mbserver: data is an address and what a single or a multiple write has behind it.
func (u *Unit) put(f *function, at, count int, data []byte) mbserver.Exception {
	if u.write != nil {
		refused := u.write(f.table, binary.BigEndian.Uint16(data), f.values(data, count))
		if refused != mbserver.Success {
			return refused
		}
	}
	moved := append([]byte(nil), data...)
	binary.BigEndian.PutUint16(moved, uint16(at))
	_, result := f.store(&u.bank, &mbserver.TCPFrame{Data: moved})
	return *result
}

// mask sets and clears bits of one register: the rest stays what it was.
func (u *Unit) mask(f *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	data := asked.data
	if len(data) != 6 {
		return reply, 0, mbserver.IllegalDataValue
	}
	at, mapped := u.layout.locate(f.table, int(binary.BigEndian.Uint16(data)), 1)
	if !mapped {
		return reply, 0, mbserver.IllegalDataAddress
	}
	keep, set := binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint16(data[4:])
	written := append([]byte(nil), data[:4]...)
	binary.BigEndian.PutUint16(written[2:], u.bank.HoldingRegisters[at]&keep|set&^keep)
	if refused := u.put(f, at, 1, written); refused != mbserver.Success {
		return reply, 0, refused
	}
	return append(reply, data...), 1, mbserver.Success
}

// mostReadBeside is how many registers may be read with those that are written.
const mostReadBeside = 125

// readAndChange writes registers and then reads others.
func (u *Unit) readAndChange(f *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	if len(asked.data) < 4 {
		return reply, 0, mbserver.IllegalDataValue
	}
	reading, writing := asked.data[:4], asked.data[4:]
	count, ok := f.count(writing)
	if !ok {
		return reply, 0, mbserver.IllegalDataValue
	}
	// Whether the read will succeed is asked first: a refusal changes nothing.
	if _, _, refused := u.appendValues(f.table, mostReadBeside, reply, reading); refused != mbserver.Success {
		return reply, 0, refused
	}
	at, mapped := u.layout.locate(f.table, int(binary.BigEndian.Uint16(writing)), count)
	if !mapped {
		return reply, 0, mbserver.IllegalDataAddress
	}
	if refused := u.put(f, at, count, writing); refused != mbserver.Success {
		return reply, 0, refused
	}
	reply, read, refused := u.appendValues(f.table, mostReadBeside, reply, reading)
	return reply, read + count, refused
}

// loopBack is the only diagnostic of a device that is on no serial line: it sends
// back what it was sent.
func (u *Unit) loopBack(_ *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	switch {
	case len(asked.data) < 4 || len(asked.data)%2 != 0:
		return reply, 0, mbserver.IllegalDataValue
	case asked.data[0] != 0 || asked.data[1] != 0:
		return reply, 0, mbserver.IllegalFunction
	}
	return append(reply, asked.data...), 0, mbserver.Success
}

// count validates the length of a write and its quantity.
func (f *function) count(data []byte) (int, bool) {
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
	}
	size := 2 * second
	if f.table.Bits() {
		size = (second + 7) / 8
	}
	return second, len(data) == 5+size && int(data[4]) == size
}

// values returns what a validated write carries, one for each address.
func (f *function) values(data []byte, count int) []uint16 {
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
