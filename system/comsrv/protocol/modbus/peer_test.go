package modbus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// peer is a device on a real socket whose behaviour each test writes by hand.
type peer struct {
	t        *testing.T
	listener net.Listener
	// read reads a request by the specification, without the code under test. That
	// of a serial line gets the header that it would have on Modbus TCP.
	read func(conn io.Reader) ([]byte, error)
	// serve answers one request. It returns false to end the connection.
	serve func(p *peer, conn net.Conn, request []byte) bool

	mu          sync.Mutex
	requests    [][]byte
	connections int
	open        map[net.Conn]struct{}
	closed      bool
	done        sync.WaitGroup
}

func newPeer(t *testing.T, serve func(p *peer, conn net.Conn, request []byte) bool) *peer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newPeerOn(t, listener, readFrame, serve)
}

func newPeerOn(
	t *testing.T, listener net.Listener, read func(io.Reader) ([]byte, error), serve func(p *peer, conn net.Conn, request []byte) bool,
) *peer {
	t.Helper()
	p := &peer{t: t, listener: listener, read: read, serve: serve, open: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *peer) address() string { return p.listener.Addr().String() }

func (p *peer) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.connections++
		if p.closed { // since Accept
			_ = conn.Close()
		}
		p.open[conn] = struct{}{}
		p.mu.Unlock()
		p.done.Go(func() { p.attend(conn) })
	}
}

// attend answers the requests of one connection.
func (p *peer) attend(conn net.Conn) {
	defer conn.Close()
	for {
		request, err := p.read(conn)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.requests = append(p.requests, request)
		p.mu.Unlock()
		if !p.serve(p, conn, request) {
			return
		}
	}
}

// cut closes every connection and keeps listening.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
		delete(p.open, conn)
	}
}

func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.cut()
	p.done.Wait()
}

// seen returns the PDUs received so far.
func (p *peer) seen() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list [][]byte
	for _, request := range p.requests {
		list = append(list, request[7:])
	}
	return list
}

func (p *peer) connected() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connections
}

// readFrame reads a request of Modbus TCP.
func readFrame(conn io.Reader) ([]byte, error) {
	header := make([]byte, 6)
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint16(header[4:]))
	if _, err := io.ReadFull(conn, rest); err != nil {
		return nil, err
	}
	return append(header, rest...), nil
}

// readLine reads a request on a serial line. What has a wrong checksum is left
// without an answer, as is what comes before the line is silent again.
func readLine(conn io.Reader) ([]byte, error) {
	frame := make([]byte, 8, 300)
	if _, err := io.ReadFull(conn, frame); err != nil {
		return nil, err
	}
	switch {
	case frame[1] == 22:
		frame = frame[:10]
	case frame[1] > 6:
		frame = frame[:9+int(frame[6])]
	}
	if _, err := io.ReadFull(conn, frame[8:]); err != nil {
		return nil, err
	}
	body := frame[:len(frame)-2]
	if !bytes.Equal(sum(body...), frame) {
		return nil, fmt.Errorf("% x has a wrong checksum", frame)
	}
	return append([]byte{0, 0, 0, 0, 0, byte(len(body))}, body...), nil
}

// onLine returns a reply of Modbus TCP as it looks on a serial line.
func onLine(reply []byte) []byte { return sum(reply[6:]...) }

// sum returns a frame of a serial line: these bytes and their checksum, bit by bit
// as the specification has it.
func sum(body ...byte) []byte {
	register := uint16(0xffff)
	for _, b := range body {
		register ^= uint16(b)
		for range 8 {
			low := register & 1
			register >>= 1
			if low != 0 {
				register ^= 0xa001
			}
		}
	}
	return append(bytes.Clone(body), byte(register), byte(register>>8))
}

// answer builds a reply frame to a request from a PDU.
func answer(request []byte, pdu ...byte) []byte {
	frame := append([]byte{}, request[:4]...)
	frame = append(frame, 0, byte(1+len(pdu)), request[6])
	return append(frame, pdu...)
}

func exception(request []byte, code byte) []byte { return answer(request, request[7]|0x80, code) }

// send writes a whole reply; the peer may be gone already, which the test sees
// by other means.
func send(conn net.Conn, frame []byte) bool {
	_, err := conn.Write(frame)
	return err == nil
}

// bank is a device with memory, as the specification describes one.
type bank struct {
	mu      sync.Mutex
	bits    map[byte]map[uint16]bool   // by reading function: 1 or 2
	words   map[byte]map[uint16]uint16 // by reading function: 3 or 4
	illegal func(function byte, address int) bool
	longest int // that one read may ask for; 0: any
	writes  int
	units   map[byte]bool // that answer; nil is all
}

func newBank() *bank {
	return &bank{
		bits:    map[byte]map[uint16]bool{1: {}, 2: {}},
		words:   map[byte]map[uint16]uint16{3: {}, 4: {}},
		illegal: func(byte, int) bool { return false },
	}
}

func (b *bank) serve(_ *peer, conn net.Conn, request []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.units != nil && !b.units[request[6]] {
		return true // silence
	}
	return send(conn, b.reply(request))
}

func (b *bank) reply(request []byte) []byte {
	function, address := request[7], int(binary.BigEndian.Uint16(request[8:]))
	second := binary.BigEndian.Uint16(request[10:])
	count := int(second)
	if function == 5 || function == 6 || function == 22 {
		count = 1
	}
	if function <= 4 && b.longest > 0 && count > b.longest {
		return exception(request, 3)
	}
	for at := address; at < address+count; at++ {
		if at > 65535 || b.illegal(function, at) {
			return exception(request, 2)
		}
	}
	switch function {
	case 1, 2:
		packed := make([]byte, (count+7)/8)
		for i := range count {
			if b.bits[function][uint16(address+i)] {
				packed[i/8] |= 1 << (i % 8)
			}
		}
		return answer(request, append([]byte{function, byte(len(packed))}, packed...)...)
	case 3, 4:
		data := []byte{function, byte(2 * count)}
		for i := range count {
			data = binary.BigEndian.AppendUint16(data, b.words[function][uint16(address+i)])
		}
		return answer(request, data...)
	}
	b.writes++
	switch function {
	case 5:
		b.bits[1][uint16(address)] = second == 0xFF00
	case 6:
		b.words[3][uint16(address)] = second
	case 15:
		for i := range count {
			b.bits[1][uint16(address+i)] = request[13+i/8]>>(i%8)&1 == 1
		}
	case 16:
		for i := range count {
			b.words[3][uint16(address+i)] = binary.BigEndian.Uint16(request[13+2*i:])
		}
	case 22:
		or := binary.BigEndian.Uint16(request[12:])
		b.words[3][uint16(address)] = b.words[3][uint16(address)]&second | or&^second
		return answer(request, request[7:14]...)
	default:
		return exception(request, 1)
	}
	return answer(request, request[7:12]...)
}

// point is a row of a site's tables.
func point(kind ems.PointType, id ems.PointID, mapping config.Mapping) config.MappedPoint {
	return config.MappedPoint{
		Point:   ems.Point{ID: id, Type: kind, Name: kind.String(), Scale: 1, Group: ems.DefaultGroup},
		Mapping: mapping,
	}
}

func register(unit, function uint8, address uint16, data config.DataType) config.Mapping {
	return config.Mapping{Unit: unit, Function: function, Address: address, DataType: data, ByteOrder: data.ByteOrders()[0], Bit: -1}
}

// testTimeout is for requests that get no answer; where a peer does answer a test
// waits for as long as it takes.
const testTimeout = 150 * time.Millisecond

func newLinks(t testing.TB, clock ems.Clock) *Links {
	t.Helper()
	links, err := NewLinks(clock, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return links
}

func open(t *testing.T, address string, timeout time.Duration, points ...config.MappedPoint) *Driver {
	t.Helper()
	return openOn(t, newLinks(t, ems.SystemClock{}), config.Channel{
		ID: 1, Name: "test", Protocol: config.ProtocolModbusTCP, Address: address, Timeout: timeout, Points: points, Enabled: true,
	})
}

func openOn(t *testing.T, links *Links, channel config.Channel) *Driver {
	t.Helper()
	made, err := links.New(protocol.Setting{Channel: channel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	return made.(*Driver)
}
