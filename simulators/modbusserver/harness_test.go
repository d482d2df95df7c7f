package modbusserver

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writes notes what a write handler was asked. It refuses the holding register
// 13 with exception 3 and 14 with exception 2, and fails at 15.
type writes struct {
	mu   sync.Mutex
	list []writeCall
}

type writeCall struct {
	Table   Table
	Address uint16
	Values  []uint16
}

func (w *writes) handle(table Table, address uint16, values []uint16) mbserver.Exception {
	for i := range values {
		if table == HoldingRegisters && int(address)+i == 13 {
			return mbserver.IllegalDataValue
		}
		if table == HoldingRegisters && int(address)+i == 14 {
			return mbserver.IllegalDataAddress
		}
		if table == HoldingRegisters && int(address)+i == 15 {
			return mbserver.SlaveDeviceFailure
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, writeCall{table, address, values})
	return mbserver.Success
}

func (w *writes) seen() []writeCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]writeCall(nil), w.list...)
}

// testRanges give the unit under test more addresses than one request may name,
// gaps, and the last address of each table.
var testRanges = []Range{
	{Coils, 0, 2100}, {Coils, 65535, 1},
	{DiscreteInputs, 100, 2100}, {DiscreteInputs, 65530, 6},
	{HoldingRegisters, 0, 20}, {HoldingRegisters, 30, 200}, {HoldingRegisters, 65535, 1},
	{InputRegisters, 1000, 200}, {InputRegisters, 65534, 2},
}

func newTestUnit(w *writes) *Unit {
	unit := NewUnit(testRanges, w.handle)
	unit.SetIdentity(Identity{Vendor: "Voltage", ProductCode: "SIM1", Revision: "1.2", ProductName: "Unit under test", ModelName: strings.Repeat("m", 300)})
	unit.Update(func(image *Image) {
		for i := range 2100 {
			image.Set(Coils, uint16(i), uint16(i%3/2))
			image.Set(DiscreteInputs, uint16(100+i), uint16(i%2))
		}
		image.Set(Coils, 65535, 1)
		image.Set(DiscreteInputs, 65530, 1, 0, 1, 1, 0, 1)
		for i := range 230 {
			image.Set(HoldingRegisters, uint16(i), uint16(0x1000+i))
		}
		image.Set(HoldingRegisters, 65535, 0xBEEF)
		for i := range 200 {
			image.Set(InputRegisters, uint16(1000+i), uint16(0x2000+i))
		}
		image.Set(InputRegisters, 65534, 0xCAFE, 0xF00D)
	})
	return unit
}

type testServer struct {
	*Server
	writes   *writes
	registry *prometheus.Registry
	connect  func() (stream, error)
}

// stream is what a client has of a connection.
type stream interface {
	io.ReadWriteCloser
	SetDeadline(at time.Time) error
}

func startServer(t testing.TB, connections int) *testServer {
	t.Helper()
	return startOn(t, listen(t), Options{Connections: connections})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// startOn serves the units 1 and 2.
func startOn(t testing.TB, listener net.Listener, options Options) *testServer {
	t.Helper()
	w := &writes{}
	s := serveOn(t, listener, map[byte]*Unit{1: newTestUnit(w), 2: NewUnit([]Range{{HoldingRegisters, 0, 2}}, w.handle)}, options)
	s.writes = w
	return s
}

func serveUnits(t testing.TB, units map[byte]*Unit, options Options) *testServer {
	t.Helper()
	return serveOn(t, listen(t), units, options)
}

func serveOn(t testing.TB, listener net.Listener, units map[byte]*Unit, options Options) *testServer {
	t.Helper()
	registry := prometheus.NewRegistry()
	options.Name, options.Logger, options.Metrics = "test", slog.New(slog.DiscardHandler), registry
	if options.Clock == nil {
		options.Clock = ems.SystemClock{}
	}
	server, err := Serve(listener, units, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testServer{Server: server, registry: registry, connect: func() (stream, error) {
		connection, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			return nil, err
		}
		return connection, connection.SetDeadline(time.Now().Add(patient))
	}}
}

func dial(t testing.TB, s *testServer) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// patient bounds what a test waits for.
const patient = 20 * time.Second

// peer is a client that a test moves by hand, with the frames of a framing.
type peer struct {
	io.ReadWriter
	framing Framing
}

func (p peer) frame(transaction uint16, unit byte, pdu []byte) []byte {
	if p.framing == TCP {
		return frameOf(transaction, unit, pdu)
	}
	frame := append([]byte{unit}, pdu...)
	return binary.LittleEndian.AppendUint16(frame, slowCRC(frame))
}

// slowCRC is the CRC bit by bit, as the specification draws it.
func slowCRC(data []byte) uint16 {
	sum := uint16(0xFFFF)
	for _, b := range data {
		sum ^= uint16(b)
		for range 8 {
			odd := sum & 1
			if sum >>= 1; odd != 0 {
				sum ^= 0xA001
			}
		}
	}
	return sum
}

func (p peer) send(t testing.TB, transaction uint16, unit byte, pdu []byte) {
	t.Helper()
	send(t, p, p.frame(transaction, unit, pdu))
}

// receive reads one frame and returns its PDU. One of RTU ends where its CRC is right.
func (p peer) receive(t testing.TB, transaction uint16, unit byte) []byte {
	t.Helper()
	if p.framing == TCP {
		return receive(t, p, transaction, unit)
	}
	var frame []byte
	for len(frame) < 5 || slowCRC(frame[:len(frame)-2]) != binary.LittleEndian.Uint16(frame[len(frame)-2:]) {
		frame = append(frame, 0)
		if _, err := io.ReadFull(p, frame[len(frame)-1:]); err != nil {
			t.Fatalf("after % X: %v", frame, err)
		}
	}
	if frame[0] != unit {
		t.Fatalf("unit %d answers as %d", unit, frame[0])
	}
	return frame[1 : len(frame)-2]
}

// ask sends a request and expects an answer.
func (p peer) ask(t testing.TB, unit byte, pdu, want string) {
	t.Helper()
	p.send(t, 9, unit, bytesOf(t, pdu))
	if got := p.receive(t, 9, unit); !bytes.Equal(got, bytesOf(t, want)) {
		t.Errorf("unit %d, %s: % X, want %s", unit, pdu, got, want)
	}
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patient, what)
		}
	}
}

// bytesOf reads hexadecimal with spaces.
func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func frameOf(transaction uint16, unit byte, pdu []byte) []byte {
	frame := make([]byte, 7, 7+len(pdu))
	binary.BigEndian.PutUint16(frame, transaction)
	binary.BigEndian.PutUint16(frame[4:], uint16(1+len(pdu)))
	frame[6] = unit
	return append(frame, pdu...)
}

func send(t testing.TB, connection io.Writer, data []byte) {
	t.Helper()
	if _, err := connection.Write(data); err != nil {
		t.Fatal(err)
	}
}

// receive reads one frame and returns its PDU.
func receive(t testing.TB, connection io.Reader, transaction uint16, unit byte) []byte {
	t.Helper()
	header := make([]byte, 7)
	if _, err := io.ReadFull(connection, header); err != nil {
		t.Fatal(err)
	}
	pdu := make([]byte, binary.BigEndian.Uint16(header[4:])-1)
	if _, err := io.ReadFull(connection, pdu); err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint16(header); got != transaction || header[2] != 0 || header[3] != 0 || header[6] != unit {
		t.Fatalf("header % x does not answer transaction %d of unit %d", header, transaction, unit)
	}
	return pdu
}
