package comsrv

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// device is a Modbus TCP device on a real socket, written from the specification
// and without the code under test. It can be switched off and on again.
type device struct {
	t       *testing.T
	address string

	mu       sync.Mutex
	holding  map[uint16]uint16
	inputs   map[uint16]uint16
	coils    map[uint16]bool
	discrete map[uint16]bool
	refuse   map[byte]byte     // function -> exception with which it is refused
	silent   map[byte]bool     // functions that are executed and never answered
	drips    bool              // it answers a byte every second
	stick    map[uint16]uint16 // registers that show this, whatever is written
	held     chan struct{}     // while not nil, requests of holding functions wait until it is closed
	holds    map[byte]bool     // the functions that wait
	waiting  int               // requests that wait
	writes   []string          // "6@5=77": every write that arrived, refused ones too
	order    []byte            // the functions of all requests, in the order in which they arrived
	polls    int
	accepted int            // connections, since it was made
	reads    map[uint16]int // by the first address

	listener net.Listener
	open     map[net.Conn]struct{}
	running  sync.WaitGroup
}

// newDevice returns a device that is switched on.
func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{
		t: t, address: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)),
		holding: map[uint16]uint16{}, inputs: map[uint16]uint16{}, coils: map[uint16]bool{}, discrete: map[uint16]bool{},
		refuse: map[byte]byte{}, silent: map[byte]bool{}, stick: map[uint16]uint16{}, open: map[net.Conn]struct{}{},
		reads: map[uint16]int{},
	}
	d.on()
	t.Cleanup(d.off)
	return d
}

func (d *device) on() {
	d.t.Helper()
	var listener net.Listener
	// Where another test starts a process at this very moment, that holds a copy
	// of the port's last socket until it runs its own program.
	testkit.Eventually(d.t, servicetest.Soon, func() (err error) {
		listener, err = net.Listen("tcp", d.address)
		return err
	}, "the port of the device")
	d.mu.Lock()
	d.listener = listener
	d.mu.Unlock()
	d.running.Go(func() { d.accept(listener) })
}

func (d *device) off() {
	d.mu.Lock()
	if d.listener != nil {
		_ = d.listener.Close()
		d.listener = nil
	}
	for conn := range d.open {
		_ = conn.Close()
		delete(d.open, conn)
	}
	d.mu.Unlock()
	d.release()
	d.running.Wait()
}

// TestADeviceThatIsSwitchedOffHasNoConnections even where somebody connects at
// that moment: it would wait forever for a client that stays.
func TestADeviceThatIsSwitchedOffHasNoConnections(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if conn, err := new(net.Dialer).DialContext(ctx, "tcp", d.address); err == nil {
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					_, _ = conn.Read(make([]byte, 1)) // until the device closes it
					_ = conn.Close()
					stop()
				}
			}
		})
	}
	for round := range 2000 {
		ended := make(chan struct{})
		go func() { defer close(ended); d.off() }()
		select {
		case <-ended:
		case <-time.After(servicetest.Soon):
			t.Fatalf("round %d: it waits for a client", round)
		}
		d.on()
	}
	d.off()
}

func (d *device) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.listener != listener { // switched off between the two
			_ = conn.Close()
			d.mu.Unlock()
			return
		}
		d.open[conn] = struct{}{}
		d.accepted++
		d.mu.Unlock()
		d.running.Go(func() {
			defer d.close(conn)
			d.serve(conn)
		})
	}
}

func (d *device) close(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, conn)
	_ = conn.Close()
}

func (d *device) serve(conn net.Conn) {
	for {
		header := make([]byte, 6)
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(header[4:]))
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		pdu := d.execute(body[1:])
		if pdu == nil {
			continue
		}
		reply := append(append(header[:4:4], 0, byte(1+len(pdu)), body[0]), pdu...)
		if !d.drip(conn, &reply) {
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// drip sends all of a reply but its last byte, if that is what the device does. It
// reports whether the connection stands.
func (d *device) drip(conn net.Conn, reply *[]byte) bool {
	d.mu.Lock()
	drips := d.drips
	d.mu.Unlock()
	for ; drips && len(*reply) > 1; *reply = (*reply)[1:] {
		if _, err := conn.Write((*reply)[:1]); err != nil {
			return false
		}
		time.Sleep(time.Second)
	}
	return true
}

// hold makes requests of these functions wait until release.
func (d *device) hold(functions ...byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held, d.holds = make(chan struct{}), map[byte]bool{}
	for _, function := range functions {
		d.holds[function] = true
	}
}

// awaitHeld waits until a request waits.
func (d *device) awaitHeld() {
	d.t.Helper()
	testkit.Eventually(d.t, servicetest.Soon, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.waiting == 0 {
			return fmt.Errorf("no request waits")
		}
		return nil
	}, "a request that waits")
}

func (d *device) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}

// set changes what the device holds or how it behaves.
func (d *device) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// float keeps a float32 in two holding registers, ABCD.
func (d *device) float(address uint16, number float32) {
	bits := math.Float32bits(number)
	d.set(func() { d.holding[address], d.holding[address+1] = uint16(bits>>16), uint16(bits) })
}

func (d *device) written() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.writes...)
}

func (d *device) polled() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.polls
}

// execute returns the PDU of the answer, nil for silence.
func (d *device) execute(request []byte) []byte {
	function, address, second := request[0], binary.BigEndian.Uint16(request[1:]), binary.BigEndian.Uint16(request[3:])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.order = append(d.order, function)
	if held := d.held; held != nil && d.holds[function] {
		d.waiting++
		d.mu.Unlock()
		<-held
		d.mu.Lock()
		d.waiting--
	}
	if function > 4 {
		d.writes = append(d.writes, fmt.Sprintf("%d@%d=%d", function, address, second))
	} else {
		d.polls++
		d.reads[address]++
	}
	if code, refused := d.refuse[function]; refused {
		return []byte{function | 0x80, code}
	}
	var reply []byte
	switch function {
	case 1, 2:
		memory := map[byte]map[uint16]bool{1: d.coils, 2: d.discrete}[function]
		packed := make([]byte, (second+7)/8)
		for i := range second {
			if memory[address+i] {
				packed[i/8] |= 1 << (i % 8)
			}
		}
		reply = append([]byte{function, byte(len(packed))}, packed...)
	case 3, 4:
		memory := map[byte]map[uint16]uint16{3: d.holding, 4: d.inputs}[function]
		reply = []byte{function, byte(2 * second)}
		for i := range second {
			value, stuck := d.stick[address+i]
			if !stuck {
				value = memory[address+i]
			}
			reply = binary.BigEndian.AppendUint16(reply, value)
		}
	case 5:
		d.coils[address] = second == 0xFF00
		reply = request
	case 6:
		d.holding[address] = second
		reply = request
	case 15:
		for i := range second {
			d.coils[address+i] = request[6+i/8]>>(i%8)&1 == 1
		}
		reply = request[:5]
	case 16:
		for i := range second {
			d.holding[address+i] = binary.BigEndian.Uint16(request[6+2*i:])
		}
		reply = request[:5]
	default:
		reply = []byte{function | 0x80, 1}
	}
	if d.silent[function] {
		return nil
	}
	return reply
}

// The points of the test channel.

func mapped(kind ems.PointType, id ems.PointID, name string, mapping config.Mapping) config.MappedPoint {
	if mapping.Unit == 0 {
		mapping.Unit = 1
	}
	if mapping.DataType == "" {
		mapping.DataType, mapping.ByteOrder, mapping.Bit = config.Bool, "AB", max(mapping.Bit, -1)
	}
	if mapping.ByteOrder == "" {
		mapping.ByteOrder = mapping.DataType.ByteOrders()[0]
	}
	return config.MappedPoint{
		Point:   ems.Point{ID: id, Type: kind, Name: name, Scale: 1, Group: ems.DefaultGroup},
		Mapping: mapping,
	}
}

// allKinds is a table with points of every type.
//
//	T:1 float32 at holding 0      S:1 discrete input 0, reversed
//	T:2 int16 at input 0, x 0.1 - 40
//	C:1 coil 0 (function 5)       A:1 uint16 at holding 10 (function 6), x 0.5
//	C:2 bit 3 of holding 20       A:2 float32 at holding 12 (function 16), 0 to 100 kW
func allKinds() []config.MappedPoint {
	points := []config.MappedPoint{
		mapped(ems.Telemetry, 1, "power", config.Mapping{Function: 3, Address: 0, DataType: config.Float32}),
		mapped(ems.Telemetry, 2, "temperature", config.Mapping{Function: 4, Address: 0, DataType: config.Int16}),
		mapped(ems.Signal, 1, "door_closed", config.Mapping{Function: 2, Address: 0}),
		mapped(ems.Control, 1, "start", config.Mapping{Function: 5, Address: 0}),
		mapped(ems.Control, 2, "remote", config.Mapping{Function: 6, Address: 20, Bit: 3}),
		mapped(ems.Adjustment, 1, "limit", config.Mapping{Function: 6, Address: 10, DataType: config.Uint16}),
		mapped(ems.Adjustment, 2, "setpoint", config.Mapping{Function: 16, Address: 12, DataType: config.Float32}),
	}
	points[1].Scale, points[1].Offset = 0.1, -40
	points[2].Reverse = true
	points[5].Scale = 0.5
	least, most := 0.0, 100.0
	points[6].Min, points[6].Max, points[6].Unit = &least, &most, "kW"
	return points
}
