package modbusserver

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/tbrandon/mbserver"
)

func slicesOf(value uint16, count int) []uint16 {
	list := make([]uint16, count)
	for i := range list {
		list[i] = value
	}
	return list
}

func TestUnits(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	connection := dial(t, s)
	for unit, want := range map[byte]string{0: "83 0B", 1: "03 02 1000", 2: "03 02 0000", 3: "83 0B", 255: "83 0B"} {
		send(t, connection, frameOf(9, unit, bytesOf(t, "03 0000 0001")))
		if got := receive(t, connection, 9, unit); !bytes.Equal(got, bytesOf(t, want)) {
			t.Errorf("unit %d: % X, want %s", unit, got, want)
		}
	}
}

// TestSplitAndJoinedFrames sends frames as TCP may deliver them.
func TestSplitAndJoinedFrames(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	connection := dial(t, s)
	var all []byte
	for i := range 20 {
		all = append(all, frameOf(uint16(i), 1, bytesOf(t, "04 03E8 0001"))...)
	}
	check := func() {
		t.Helper()
		for i := range 20 {
			if got := receive(t, connection, uint16(i), 1); !bytes.Equal(got, bytesOf(t, "04 02 2000")) {
				t.Fatalf("answer %d: % X", i, got)
			}
		}
	}
	send(t, connection, all)
	check()
	for _, b := range all {
		send(t, connection, []byte{b})
	}
	check()
	for len(all) > 0 {
		n := min(len(all), 1+rand.IntN(30))
		send(t, connection, all[:n])
		all = all[n:]
	}
	check()
}

// TestMBServerPanics shows the defect that validation keeps away: the library's
// own handlers index a short PDU, in its server in a goroutine of their own, and
// the process dies. The same PDUs are answered with an exception here.
func TestMBServerPanics(t *testing.T) {
	t.Parallel()
	bank := &mbserver.Server{Coils: make([]byte, 8), HoldingRegisters: make([]uint16, 8)}
	panics := func(perform func(*mbserver.Server, mbserver.Framer) ([]byte, *mbserver.Exception), data []byte) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		_, _ = perform(bank, &mbserver.TCPFrame{Data: data})
		return false
	}
	s := startServer(t, 0)
	connection := dial(t, s)
	for _, c := range []struct {
		name    string
		pdu     string
		perform func(*mbserver.Server, mbserver.Framer) ([]byte, *mbserver.Exception)
		want    string
	}{
		{"15 without count", "0F 0000 0001", mbserver.WriteMultipleCoils, "8F 03"},
		{"15 beyond the bank", "0F FFF0 0010 02 0000", mbserver.WriteMultipleCoils, "8F 02"},
		{"16 without count", "10 0000 0001", mbserver.WriteHoldingRegisters, "90 03"},
		{"16 with half an address", "10 00", mbserver.WriteHoldingRegisters, "90 03"},
		{"3 with nothing", "03", mbserver.ReadHoldingRegisters, "83 03"},
		{"6 outside", "06 0020 FFFF 00", mbserver.WriteHoldingRegister, "86 03"},
	} {
		pdu := bytesOf(t, c.pdu)
		if !panics(c.perform, pdu[1:]) {
			t.Errorf("%s: mbserver does not panic any more", c.name)
		}
		send(t, connection, frameOf(1, 1, pdu))
		if got := receive(t, connection, 1, 1); !bytes.Equal(got, bytesOf(t, c.want)) {
			t.Errorf("%s: % X, want %s", c.name, got, c.want)
		}
	}
	// A read of 128 registers wraps the byte count of the library to 0.
	wrapped, _ := mbserver.ReadHoldingRegisters(&mbserver.Server{HoldingRegisters: make([]uint16, 200)}, &mbserver.TCPFrame{Data: bytesOf(t, "0000 0080")})
	if wrapped[0] != 0 {
		t.Errorf("mbserver counts %d bytes", wrapped[0])
	}
}

// closedByServer reports whether the server ends the connection.
func closedByServer(t *testing.T, connection net.Conn) bool {
	t.Helper()
	_, err := io.Copy(io.Discard, connection)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

func TestHeadersThatAreNotModbusEndTheConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	for name, frame := range map[string]string{
		"protocol":     "0001 0001 0006 01 03 0000 0001",
		"length 0":     "0001 0000 0000 01",
		"length 1":     "0001 0000 0001 01",
		"length 255":   "0001 0000 00FF 01",
		"length 65535": "0001 0000 FFFF 01",
		"HTTP":         hex.EncodeToString([]byte("GET / HTTP/1.1\r\n\r\n")),
	} {
		connection := dial(t, s)
		send(t, connection, bytesOf(t, frame))
		if !closedByServer(t, connection) {
			t.Errorf("%s: still connected", name)
		}
	}
	if got := s.counters.malformed.Load(); got != 6 {
		t.Errorf("%v malformed frames counted", got)
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	s := startServer(t, 2)
	ask := func(connection net.Conn) {
		t.Helper()
		send(t, connection, frameOf(1, 1, bytesOf(t, "03 0000 0001")))
		receive(t, connection, 1, 1)
	}
	first, second := dial(t, s), dial(t, s)
	ask(first)
	ask(second)
	if !closedByServer(t, dial(t, s)) {
		t.Error("a third client is served")
	}
	if got := s.counters.refused.Load(); got != 1 {
		t.Errorf("%v clients refused", got)
	}
	ask(first)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.counters.connections.Load() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection still counts")
		}
		time.Sleep(time.Millisecond)
	}
	ask(dial(t, s))
}

func TestCloseEndsConnections(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	idle, partial := dial(t, s), dial(t, s)
	for _, connection := range []net.Conn{idle, partial} {
		send(t, connection, frameOf(1, 1, bytesOf(t, "03 0000 0001")))
		receive(t, connection, 1, 1)
	}
	send(t, partial, []byte{0, 1, 0})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !closedByServer(t, idle) || !closedByServer(t, partial) {
		t.Error("a connection outlived the server")
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	connection := dial(t, s)
	for i, pdu := range []string{"03 0000 0002", "03 0000 0003", "01 0000 0009", "06 0000 0001", "06 000D 0000", "03 0014 0001", "63", "64"} {
		send(t, connection, frameOf(uint16(i), 1, bytesOf(t, pdu)))
		receive(t, connection, uint16(i), 1)
	}
	const want = `
# HELP simulator_modbus_exceptions_total Requests answered with an exception, by exception code.
# TYPE simulator_modbus_exceptions_total counter
simulator_modbus_exceptions_total{device="test",exception="1"} 2
simulator_modbus_exceptions_total{device="test",exception="2"} 1
simulator_modbus_exceptions_total{device="test",exception="3"} 1
# HELP simulator_modbus_registers_served_total Registers and bits read or written without exception.
# TYPE simulator_modbus_registers_served_total counter
simulator_modbus_registers_served_total{device="test"} 15
# HELP simulator_modbus_requests_total Requests received, by function code; other stands for unsupported ones.
# TYPE simulator_modbus_requests_total counter
simulator_modbus_requests_total{device="test",function="1"} 1
simulator_modbus_requests_total{device="test",function="3"} 3
simulator_modbus_requests_total{device="test",function="6"} 2
simulator_modbus_requests_total{device="test",function="other"} 2
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want),
		"simulator_modbus_requests_total", "simulator_modbus_exceptions_total", "simulator_modbus_registers_served_total"); err != nil {
		t.Error(err)
	}
}

// TestManyClientsReadWholeUpdates lets clients read while the registers change:
// whatever a client reads in one request is of one update.
func TestManyClientsReadWholeUpdates(t *testing.T) {
	t.Parallel()
	const clients, reads = 8, 200
	s := startServer(t, 0)
	stop, updates := make(chan struct{}), sync.WaitGroup{}
	update := func(value uint16) {
		s.units[1].Update(func(image *Image) {
			image.Set(InputRegisters, 1000, slicesOf(value, 100)...)
		})
	}
	update(0)
	updates.Go(func() {
		for value := uint16(1); ; value++ {
			select {
			case <-stop:
				return
			default:
				update(value)
			}
		}
	})
	var readers sync.WaitGroup
	for n := range clients {
		readers.Go(func() {
			handler := modbus.NewTCPClientHandler(s.Addr().String())
			handler.SlaveId, handler.Timeout = 1, 10*time.Second
			defer func() { _ = handler.Close() }()
			client := modbus.NewClient(handler)
			for range reads {
				data, err := client.ReadInputRegisters(1000, 100)
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(data, bytes.Repeat(data[:2], 100)) {
					t.Error("a read shows two updates")
					return
				}
				register := uint16(100 + n)
				if _, err := client.WriteSingleRegister(register, 42); err != nil {
					t.Error(err)
					return
				}
				if back, err := client.ReadHoldingRegisters(register, 1); err != nil || !bytes.Equal(back, []byte{0, 42}) {
					t.Errorf("read back % X, %v", back, err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	updates.Wait()
}

// TestClientLibrary lets goburrow/modbus judge every function.
func TestClientLibrary(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	handler := modbus.NewTCPClientHandler(s.Addr().String())
	handler.SlaveId, handler.Timeout = 1, 10*time.Second
	t.Cleanup(func() { _ = handler.Close() })
	client := modbus.NewClient(handler)
	for name, c := range map[string]struct {
		call func() ([]byte, error)
		want []byte
	}{
		"coils":    {func() ([]byte, error) { return client.ReadCoils(0, 10) }, []byte{0x24, 0x01}},
		"inputs":   {func() ([]byte, error) { return client.ReadDiscreteInputs(100, 4) }, []byte{0x0A}},
		"holding":  {func() ([]byte, error) { return client.ReadHoldingRegisters(65535, 1) }, []byte{0xBE, 0xEF}},
		"input":    {func() ([]byte, error) { return client.ReadInputRegisters(1000, 1) }, []byte{0x20, 0x00}},
		"coil":     {func() ([]byte, error) { return client.WriteSingleCoil(50, 0xFF00) }, []byte{0xFF, 0x00}},
		"register": {func() ([]byte, error) { return client.WriteSingleRegister(50, 0x0102) }, []byte{1, 2}},
		"coils 15": {func() ([]byte, error) { return client.WriteMultipleCoils(60, 3, []byte{5}) }, []byte{0, 3}},
		"16":       {func() ([]byte, error) { return client.WriteMultipleRegisters(60, 2, []byte{1, 2, 3, 4}) }, []byte{0, 2}},
	} {
		if got, err := c.call(); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: % X, %v, want % X", name, got, err, c.want)
		}
	}
	_, err := client.ReadHoldingRegisters(20, 1)
	var refused *modbus.ModbusError
	if !errors.As(err, &refused) || refused.ExceptionCode != 2 {
		t.Errorf("unmapped: %v", err)
	}
}

func TestBanksAreNoLargerThanTheMap(t *testing.T) {
	t.Parallel()
	u := NewUnit([]Range{
		{HoldingRegisters, 40000, 4}, {HoldingRegisters, 40002, 6}, {HoldingRegisters, 40008, 2}, {HoldingRegisters, 0, 1},
		{Coils, 65535, 1},
	}, (&writes{}).handle)
	got := []int{len(u.bank.Coils), len(u.bank.DiscreteInputs), len(u.bank.HoldingRegisters), len(u.bank.InputRegisters)}
	if diff := cmp.Diff([]int{1, 0, 11, 0}, got); diff != "" {
		t.Error(diff)
	}
	if at, ok := u.layout.locate(HoldingRegisters, 40009, 1); !ok || at != 10 {
		t.Errorf("40009 lies at %d, %v", at, ok)
	}
	if _, ok := u.layout.locate(HoldingRegisters, 40009, 2); ok {
		t.Error("40010 is mapped")
	}
}

// FuzzConnection sends any bytes to a server of its own, as TCP and as RTU. It must
// neither panic nor stop to answer others, and no goroutine may be left.
func FuzzConnection(f *testing.F) {
	f.Add(frameOf(1, 1, []byte{3, 0, 0, 0, 1}))
	f.Add(append(frameOf(1, 1, []byte{16, 0, 0, 0, 1}), frameOf(2, 1, []byte{15, 0, 0, 0, 9, 1, 1})...))
	f.Add([]byte{0, 1, 0, 0, 0, 0, 1})
	f.Add(frameOf(1, 7, []byte{0x83}))
	f.Add(bytesOf(f, "01 03 00 00 00 01 84 0A 01 10 00 00"))
	f.Add(peer{framing: RTU}.frame(0, 0, []byte{22, 0, 0, 0xFF, 0, 0, 1}))
	tcp, rtu := startServer(f, 1000), startOn(f, listen(f), Options{Framing: RTU, Silence: time.Millisecond, Connections: 1000})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range []*testServer{tcp, rtu} {
			connection := dial(t, s)
			_, _ = connection.Write(data) // the server may have had enough before the end
			if tcp, ok := connection.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // it may be closed already
			}
			_, _ = io.Copy(io.Discard, connection) // until the server ends it
			probe := peer{dial(t, s), s.options.Framing}
			probe.send(t, 7, 1, []byte{4, 0xFF, 0xFE, 0, 2})
			if got := probe.receive(t, 7, 1); !bytes.Equal(got, []byte{4, 4, 0xCA, 0xFE, 0xF0, 0x0D}) {
				t.Fatalf("after % X: % X", data, got)
			}
		}
	})
}

// FuzzAnswer sends any PDU straight to a unit: the answer is well formed and
// fits a frame.
func FuzzAnswer(f *testing.F) {
	for _, pdu := range []string{"01 0000 07D0", "03 001E 007D", "05 0003 FF00", "0F 0064 000B 02 CDFD", "10 0002 0001 02 1234", "2B", "2B 0E 01 00", "2B 0E 04 02", "11", "08 0000 1234", "16 0001 00FF 1200", "17 0000 007D 0000 0001 02 1234"} {
		f.Add(bytesOf(f, pdu))
	}
	u := newTestUnit(&writes{})
	f.Fuzz(func(t *testing.T, pdu []byte) {
		if len(pdu) == 0 || len(pdu) > mostPDU {
			return
		}
		reply, served := u.answer(nil, 1, pdu)
		switch {
		case len(reply) < 2 || len(reply) > mostPDU:
			t.Fatalf("% X: %d bytes", pdu, len(reply))
		case reply[0] == pdu[0]|0x80:
			if len(reply) != 2 || reply[1] < 1 || reply[1] > 4 || served != 0 {
				t.Fatalf("% X: exception % X", pdu, reply)
			}
		case reply[0] != pdu[0] || served < 1 && slices.Contains([]byte{1, 2, 3, 4, 5, 6, 15, 16, 22, 23}, pdu[0]):
			t.Fatalf("% X: % X", pdu, reply)
		case slices.Contains([]byte{1, 2, 3, 4, 17, 23}, pdu[0]) && len(reply) != 2+int(reply[1]):
			t.Fatalf("% X: count of % X", pdu, reply)
		case slices.Contains([]byte{5, 6, 15, 16}, pdu[0]) && !bytes.Equal(reply, pdu[:5]), (pdu[0] == 8 || pdu[0] == 22) && !bytes.Equal(reply, pdu):
			t.Fatalf("% X: echo % X", pdu, reply)
		}
	})
}
