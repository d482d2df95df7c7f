package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// hostile is a gateway that executes writes and cuts the connection before it
// answers, mixes up transaction ids, sends replies twice and hands out old ones,
// when it is armed. It never invents data: every register holds a number of its
// own.
type hostile struct {
	mu       sync.Mutex
	random   *rand.Rand
	armed    int // requests that may meet a misdeed
	held     map[net.Conn][]byte
	last     []byte            // the last reply, to whichever request
	executed map[[2]uint16]int // by unit and value
	misdeeds map[string]int
}

// behave ends all trouble, or allows it for some requests.
func (h *hostile) behave(well bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.held)
	if h.armed = 0; !well {
		h.armed = 1 + h.random.IntN(4)
	}
}

// numberOf is what a register of a unit holds.
func numberOf(unit byte, address uint16) uint16 { return uint16(unit)<<12 | address }

const writtenAt = 0x800 // where registers are that can be written

func (h *hostile) serve(_ *peer, conn net.Conn, request []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	reply := h.reply(request)
	deed := "none"
	if h.armed > 0 {
		h.armed--
		deed = []string{"none", "cut", "cut in mid-frame", "next id", "id before", "any id", "twice", "held back", "old one first"}[h.random.IntN(9)]
	}
	h.misdeeds[deed]++
	if held := h.held[conn]; held != nil { // it comes on the connection on which it was missing
		delete(h.held, conn)
		send(conn, held)
	}
	old := h.last
	h.last = reply
	id := binary.BigEndian.Uint16(request)
	mislabelled := append([]byte{}, reply...)
	switch deed {
	case "cut":
		return false
	case "cut in mid-frame":
		send(conn, reply[:h.random.IntN(len(reply))])
		return false
	case "next id":
		binary.BigEndian.PutUint16(mislabelled, id+1)
		return send(conn, mislabelled)
	case "id before":
		binary.BigEndian.PutUint16(mislabelled, id-1)
		return send(conn, mislabelled)
	case "any id":
		binary.BigEndian.PutUint16(mislabelled, id+1+uint16(h.random.IntN(1<<16-1)))
		return send(conn, mislabelled)
	case "twice":
		return send(conn, append(mislabelled, reply...))
	case "held back":
		h.held[conn] = reply
		return send(conn, reply)
	case "old one first":
		return send(conn, append(append([]byte{}, old...), reply...))
	default:
		return send(conn, reply)
	}
}

func (h *hostile) reply(request []byte) []byte {
	unit, function, address := request[6], request[7], binary.BigEndian.Uint16(request[8:])
	value := binary.BigEndian.Uint16(request[10:])
	if function == writeRegister {
		h.executed[[2]uint16{uint16(unit), value}]++
		return answer(request, request[7:12]...)
	}
	data := []byte{function, byte(2 * value)}
	for i := range value {
		number := numberOf(unit, address+i)
		if address+i >= writtenAt {
			number = 0
		}
		data = binary.BigEndian.AppendUint16(data, number)
	}
	return answer(request, data...)
}

// hostileChannel reads three registers of a unit, the place of which differs with
// the channel, and writes to a fourth that cannot be read.
func hostileChannel(id ems.ChannelID, address string, unit uint8) config.Channel {
	channel := config.Channel{ID: id, Protocol: config.ProtocolModbusTCP, Address: address, Timeout: time.Minute}
	for i := range 3 {
		mapping := register(unit, 3, uint16(200*int(id)+i), config.Uint16)
		channel.Points = append(channel.Points, point(ems.Telemetry, ems.PointID(i+1), mapping))
	}
	writable := point(ems.Adjustment, 9, register(unit, 6, writtenAt, config.Uint16))
	writable.Group = "written"
	channel.Points = append(channel.Points, writable)
	return channel
}

// exchanges is how many TestHostileGateway makes.
const exchanges = 100_000

// TestHostileGateway polls four channels over one connection while a thousand
// writes race the polls. Every third cycle some requests meet misdeeds. No reading is
// ever wrong, no command is executed twice or otherwise than told, and two cycles
// later everything is read again.
func TestHostileGateway(t *testing.T) {
	t.Parallel()
	const seed = 1
	gateway := &hostile{
		random: rand.New(rand.NewPCG(seed, seed)), held: map[net.Conn][]byte{},
		executed: map[[2]uint16]int{}, misdeeds: map[string]int{},
	}
	p := newPeer(t, gateway.serve)
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	links := newLinks(t, clock)
	var drivers []*Driver
	for id := range ems.ChannelID(4) { // two of them at each unit, so that the transaction alone parts their replies
		drivers = append(drivers, openOn(t, links, hostileChannel(id+1, p.address(), 1+uint8(id%2))))
	}
	writer := openOn(t, links, hostileChannel(9, p.address(), 2))
	outcomes := map[string]int{}
	next := uint16(0)
	made := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.requests)
	}
	for cycle := 0; made() < exchanges || next < 1000; cycle++ {
		gateway.behave(cycle%3 != 0)
		var running sync.WaitGroup
		for _, driver := range drivers {
			running.Go(func() { pollHostile(t, driver, cycle%3 == 2) })
		}
		if cycle%21 == 0 && next < 1000 {
			next++
			running.Go(func() { outcomes[writeHostile(t, gateway, writer, next)]++ })
		}
		running.Wait()
		clock.Advance(time.Minute) // the timeout, which is also the first pause
	}
	t.Logf("%d exchanges over %d connections; writes %v; replies %v", made(), p.connected(), outcomes, gateway.misdeeds)
	if next != 1000 || outcomes["done"] == 0 || outcomes["not confirmed"] == 0 {
		t.Errorf("%d writes: %v", next, outcomes)
	}
}

// pollHostile checks every reading that is good, and that all are where they must
// be again.
func pollHostile(t *testing.T, driver *Driver, all bool) {
	readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
	if all && err != nil {
		t.Errorf("channel %d two cycles after the trouble: %v", driver.channel.ID, err)
	}
	if err != nil {
		return
	}
	for _, reading := range readings {
		mapping := driver.channel.Points[reading.Point].Mapping
		want := float64(numberOf(mapping.Unit, mapping.Address))
		if reading.Quality != ems.Good || reading.Raw != want {
			t.Errorf("unit %d address %d: %+v, want %v", mapping.Unit, mapping.Address, reading, want)
		}
	}
}

// writeHostile writes a value that no other command has and compares what the
// driver tells with what the gateway did.
func writeHostile(t *testing.T, gateway *hostile, driver *Driver, value uint16) string {
	_, err := driver.WritePoint(context.Background(), protocol.Write{Point: 3, Raw: float64(value)})
	gateway.mu.Lock()
	executed := gateway.executed[[2]uint16{2, value}]
	gateway.mu.Unlock()
	var failed *protocol.WriteError
	switch {
	case err == nil:
		if executed != 1 {
			t.Errorf("command %d is told to be done and was executed %d times", value, executed)
		}
		return "done"
	case !errors.As(err, &failed):
		t.Errorf("the error is %v", err)
	case failed.Fault == protocol.Unanswered:
		if executed > 1 {
			t.Errorf("command %d was executed %d times", value, executed)
		}
	case executed > 0:
		t.Errorf("command %d is told to be %s and was executed", value, failed.Fault)
	}
	return failed.Fault.String()
}
