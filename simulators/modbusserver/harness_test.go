package modbusserver

import (
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
// 13 with exception 3 and 14 with exception 2.
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
}

func startServer(t testing.TB, connections int) *testServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, registry := &writes{}, prometheus.NewRegistry()
	server, err := Serve(listener, map[byte]*Unit{1: newTestUnit(w), 2: NewUnit([]Range{{HoldingRegisters, 0, 1}}, w.handle)}, Options{
		Name: "test", Connections: connections, Clock: ems.SystemClock{},
		Logger: slog.New(slog.DiscardHandler), Metrics: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testServer{server, w, registry}
}

func dial(t testing.TB, s *testServer) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return connection
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

func send(t testing.TB, connection net.Conn, data []byte) {
	t.Helper()
	if _, err := connection.Write(data); err != nil {
		t.Fatal(err)
	}
}

// receive reads one frame and returns its PDU.
func receive(t testing.TB, connection net.Conn, transaction uint16, unit byte) []byte {
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
