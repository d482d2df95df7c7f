package modbusserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/voltageems/voltageems-go/system/ems"
)

func setFaults(t testing.TB, s *testServer, faults ...Fault) {
	t.Helper()
	if err := s.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
}

func number(value int) *int { return &value }

// struck returns how often the first fault has struck.
func (s *testServer) struck() int {
	if states := s.Faults(); len(states) > 0 {
		return states[0].Struck
	}
	return 0
}

// read3 asks for one register, and holds1 is the answer.
const (
	read3  = "03 0000 0001"
	holds1 = "03 02 1000"
)

// TestFaultsOnTheWire shows the bytes that a client gets, over every framing, and
// that all is well once the fault is over.
func TestFaultsOnTheWire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault Fault
		want  map[Framing]string // the bytes instead of the answer of the second request
	}{
		"silence":           {Fault{Kind: Silence}, map[Framing]string{TCP: "", RTU: ""}},
		"deaf":              {Fault{Kind: Deaf}, map[Framing]string{TCP: "", RTU: ""}},
		"exception":         {Fault{Kind: Exception, Exception: 6}, map[Framing]string{TCP: "0002 0000 0003 01 83 06", RTU: "01 83 06 C1 32"}},
		"wrong unit":        {Fault{Kind: WrongUnit}, map[Framing]string{TCP: "0002 0000 0005 02 03 02 1000", RTU: "02 03 02 10 00 F1 84"}},
		"wrong function":    {Fault{Kind: WrongFunction}, map[Framing]string{TCP: "0002 0000 0005 01 04 02 1000", RTU: "01 04 02 10 00 B4 F0"}},
		"wrong transaction": {Fault{Kind: WrongTransaction}, map[Framing]string{TCP: "0003 0000 0005 01 03 02 1000"}},
		"truncated":         {Fault{Kind: Truncated}, map[Framing]string{TCP: "0002 0000 00", RTU: "01 03 02"}},
		"extra bytes":       {Fault{Kind: ExtraBytes}, map[Framing]string{TCP: "0002 0000 0005 01 03 02 1000 55AA55", RTU: "01 03 02 10 00 B5 84 55AA55"}},
		"CRC":               {Fault{Kind: BrokenCRC}, map[Framing]string{RTU: "01 03 02 10 00 B5 7B"}},
		"replay":            {Fault{Kind: Replay}, map[Framing]string{TCP: "0001 0000 0005 01 04 02 2000", RTU: "01 04 02 20 00 A0 F0"}},
		"delay":             {Fault{Kind: Delay, JitterMS: 1}, map[Framing]string{TCP: "0002 0000 0005 01 03 02 1000", RTU: "01 03 02 10 00 B5 84"}},
	} {
		for transport, open := range transports() {
			t.Run(name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				s, p := open(t)
				fault := c.fault
				fault.Count = 1
				want, has := c.want[p.framing]
				if !has {
					if err := s.SetFaults([]Fault{fault}); ems.CodeOf(err) != ems.CodeInvalid {
						t.Errorf("a framing that does not have it: %v", err)
					}
					return
				}
				p.send(t, 1, 1, bytesOf(t, "04 03E8 0001"))
				p.receive(t, 1, 1)
				setFaults(t, s, fault)
				p.send(t, 2, 1, bytesOf(t, read3))
				got := make([]byte, len(bytesOf(t, want)))
				if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, bytesOf(t, want)) {
					t.Errorf("% X, want %s: %v", got, want, err)
				}
				// The next answer begins where these bytes end, so there were no others.
				await(t, "the fault to strike", func() bool { return s.struck() == 1 })
				p.ask(t, 1, read3, holds1)
				if got := s.counters.disturbed[fault.kind()].Load(); got != 1 {
					t.Errorf("%d counted", got)
				}
			})
		}
	}
}

// TestLostRequestsAndLostAnswers tells them apart: a write is carried out or not.
func TestLostRequestsAndLostAnswers(t *testing.T) {
	t.Parallel()
	s, p := transports()["TCP"](t)
	for _, c := range []struct {
		fault Fault
		want  string
	}{{Fault{Kind: Silence}, "03 02 0001"}, {Fault{Kind: Deaf}, "03 02 1001"}, {Fault{Kind: Exception, Exception: 4}, "03 02 1001"}, {Fault{Kind: Truncated}, "03 02 0001"}} {
		p.ask(t, 1, "06 0001 1001", "06 0001 1001")
		setFaults(t, s, c.fault)
		p.send(t, 1, 1, bytesOf(t, "06 0001 0001"))
		await(t, "the fault to strike", func() bool { return s.struck() == 1 })
		setFaults(t, s)
		if c.fault.Kind == Exception || c.fault.Kind == Truncated {
			p = peer{dial(t, s), TCP} // what was sent is left behind
		}
		p.ask(t, 1, "03 0001 0001", c.want)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"TCP", "RTU over TCP"} {
		s, p := transports()[name](t)
		p.ask(t, 1, read3, holds1)
		setFaults(t, s, Fault{Kind: Reset, Count: 1})
		p.send(t, 2, 1, bytesOf(t, read3))
		data, err := io.ReadAll(p)
		if want := p.frame(2, 1, bytesOf(t, holds1)); !errors.Is(err, syscall.ECONNRESET) || !bytes.Equal(data, want[:len(want)/2]) {
			t.Errorf("%s: % X, %v", name, data, err)
		}
		peer{dial(t, s), p.framing}.ask(t, 1, read3, holds1)
	}
	s, p := transports()["TLS"](t)
	setFaults(t, s, Fault{Kind: Reset})
	p.send(t, 2, 1, bytesOf(t, read3))
	if _, err := io.ReadAll(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("TLS: %v", err)
	}
}

func TestRefuseAndSingleClient(t *testing.T) {
	t.Parallel()
	s, p := transports()["TCP"](t)
	p.ask(t, 1, read3, holds1)
	refused := func() bool {
		t.Helper()
		connection, err := net.Dial("tcp", s.Addr().String())
		if err != nil { // it was reset so soon
			return errors.Is(err, syscall.ECONNRESET)
		}
		defer func() { _ = connection.Close() }()
		_ = connection.SetDeadline(time.Now().Add(patient))
		_, err = connection.Read(make([]byte, 1))
		return errors.Is(err, syscall.ECONNRESET)
	}
	setFaults(t, s, Fault{Kind: Refuse, Count: 2})
	for range 2 {
		if !refused() {
			t.Error("not refused")
		}
	}
	p.ask(t, 1, read3, holds1)
	other := dial(t, s) // it was counted to the end
	peer{other, TCP}.ask(t, 1, read3, holds1)

	setFaults(t, s, Fault{Kind: SingleClient})
	if !refused() {
		t.Error("a third client is served")
	}
	p.ask(t, 1, read3, holds1) // who is connected stays
	_, _ = other.Close(), p.ReadWriter.(net.Conn).Close()
	await(t, "nobody to be connected", func() bool { return s.counters.connections.Load() == 0 })
	peer{dial(t, s), TCP}.ask(t, 1, read3, holds1)
	if !refused() {
		t.Error("a second client is served")
	}
	if got := s.counters.refused.Load(); got != 4 {
		t.Errorf("%d refused", got)
	}
}

// notingClock notes how long is waited.
type notingClock struct {
	*ems.ManualClock
	mu    sync.Mutex
	waits []time.Duration
}

func (c *notingClock) NewTimer(d time.Duration) ems.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, d)
	return c.ManualClock.NewTimer(d)
}

// TestDelay holds the wait to its bounds, by the clock.
func TestDelay(t *testing.T) {
	t.Parallel()
	clock := &notingClock{ManualClock: ems.NewManualClock(time.Unix(0, 0))}
	s := startOn(t, listen(t), Options{Clock: clock})
	p := peer{dial(t, s), TCP}
	setFaults(t, s, Fault{Kind: Delay, DelayMS: 2000, JitterMS: 500})
	for range 50 {
		p.send(t, 9, 1, bytesOf(t, read3))
		clock.AwaitTimers(1)
		clock.Advance(2500 * time.Millisecond)
		if got := p.receive(t, 9, 1); !bytes.Equal(got, bytesOf(t, holds1)) {
			t.Errorf("% X", got)
		}
	}
	least, most := slices.Min(clock.waits), slices.Max(clock.waits)
	if len(clock.waits) != 50 || least < 2*time.Second || least > 2050*time.Millisecond || most > 2500*time.Millisecond || most < 2450*time.Millisecond {
		t.Errorf("%d waits, %v to %v", len(clock.waits), least, most)
	}
}

// TestDrip sends one byte a second, and the rest at once when it is cleared.
func TestDrip(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(time.Unix(0, 0))
	s := startOn(t, listen(t), Options{Clock: clock})
	connection := dial(t, s)
	setFaults(t, s, Fault{Kind: Drip})
	send(t, connection, frameOf(7, 1, bytesOf(t, read3)))
	want := frameOf(7, 1, bytesOf(t, holds1))
	for i := range 5 {
		clock.AwaitTimers(1)
		more := make([]byte, 20)
		if n, err := connection.Read(more); n != 1 || err != nil || more[0] != want[i] {
			t.Fatalf("byte %d: % X, %v", i, more[:n], err)
		}
		clock.Advance(dripPause)
	}
	clock.AwaitTimers(1)
	setFaults(t, s)
	rest := make([]byte, len(want)-5)
	if _, err := io.ReadFull(connection, rest); err != nil || !bytes.Equal(rest, want[5:]) {
		t.Errorf("% X, %v", rest, err)
	}
	peer{connection, TCP}.ask(t, 1, read3, holds1)
}

// TestWaitsEndWithTheServer and with the fault.
func TestWaitsEndWithTheServer(t *testing.T) {
	t.Parallel()
	for _, fault := range []Fault{{Kind: Delay, DelayMS: 600_000}, {Kind: Drip}} {
		clock := ems.NewManualClock(time.Unix(0, 0))
		s := startOn(t, listen(t), Options{Clock: clock})
		for range 2 {
			connection := dial(t, s)
			setFaults(t, s, fault)
			send(t, connection, frameOf(7, 1, bytesOf(t, read3)))
			clock.AwaitTimers(1)
			setFaults(t, s)
			if got := receive(t, connection, 7, 1); !bytes.Equal(got, bytesOf(t, holds1)) {
				t.Errorf("% X", got)
			}
		}
		setFaults(t, s, fault)
		connection := dial(t, s)
		send(t, connection, frameOf(7, 1, bytesOf(t, read3)))
		clock.AwaitTimers(1)
		if err := s.Close(); err != nil { // which returns when nobody waits any more
			t.Error(err)
		}
		if !closedByServer(t, connection) {
			t.Errorf("%s: still connected", fault.Kind)
		}
	}
}

// TestWhichRequestsAFaultIsAbout asks after each filter on both sides of its border.
func TestWhichRequestsAFaultIsAbout(t *testing.T) {
	t.Parallel()
	fault := func(change func(f *Fault)) Fault {
		f := Fault{Kind: Silence}
		change(&f)
		return f
	}
	addresses := fault(func(f *Fault) { f.FirstAddress, f.LastAddress = number(10), number(12) })
	for name, c := range map[string]struct {
		fault Fault
		unit  byte
		pdu   string
		want  bool
	}{
		"all":               {fault(func(*Fault) {}), 7, "63", true},
		"unit":              {fault(func(f *Fault) { f.Unit = number(2) }), 2, read3, true},
		"another unit":      {fault(func(f *Fault) { f.Unit = number(2) }), 1, read3, false},
		"unit 0":            {fault(func(f *Fault) { f.Unit = number(0) }), 0, read3, true},
		"function":          {fault(func(f *Fault) { f.Function = number(3) }), 1, read3, true},
		"another function":  {fault(func(f *Fault) { f.Function = number(3) }), 1, "04 0000 0001", false},
		"one address":       {fault(func(f *Fault) { f.FirstAddress = number(10) }), 1, "03 000A 0001", true},
		"the next address":  {fault(func(f *Fault) { f.FirstAddress = number(10) }), 1, "03 000B 0001", false},
		"ends before":       {addresses, 1, "03 0008 0002", false},
		"reaches in":        {addresses, 1, "03 0008 0003", true},
		"last":              {addresses, 1, "04 000C 0005", true},
		"begins behind":     {addresses, 1, "01 000D 0005", false},
		"over it":           {addresses, 1, "02 0000 00FF", true},
		"coil":              {addresses, 1, "05 000B FF00", true},
		"single register":   {addresses, 1, "06 000D 0001", false},
		"mask":              {addresses, 1, "16 000A 0001 0001", true},
		"coils":             {addresses, 1, "0F 0009 0002 01 03", true},
		"registers":         {addresses, 1, "10 0009 0001 02 0003", false},
		"read beside":       {addresses, 1, "17 000A 0001 0064 0001 02 0001", true},
		"written beside":    {addresses, 1, "17 0064 0001 000A 0001 02 0001", true},
		"neither":           {addresses, 1, "17 0064 0001 0065 0001 02 0001", false},
		"no address":        {addresses, 1, "11", false},
		"cut":               {addresses, 1, "03 000A 00", false},
		"all of it":         {fault(func(f *Fault) { f.Unit, f.Function, f.FirstAddress = number(1), number(3), number(0) }), 1, read3, true},
		"all but the table": {fault(func(f *Fault) { f.Unit, f.Function, f.FirstAddress = number(1), number(4), number(0) }), 1, read3, false},
	} {
		if got := c.fault.fits(request{unit: c.unit, pdu: bytesOf(t, c.pdu)}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWhenAFaultStrikes: its start, its end, its count and its chance.
func TestWhenAFaultStrikes(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(time.Unix(0, 0))
	s := startOn(t, listen(t), Options{Clock: clock})
	strikes := func(asks int) (count int) {
		for range asks {
			if s.strike(request{unit: 1, pdu: bytesOf(t, read3)}) != nil {
				count++
			}
		}
		return count
	}
	setFaults(t, s, Fault{Kind: Silence, StartS: 10, DurationS: 5})
	for _, c := range []struct {
		advance time.Duration
		want    int
	}{{0, 0}, {10*time.Second - 1, 0}, {1, 3}, {5*time.Second - 1, 3}, {1, 0}} {
		if clock.Advance(c.advance); strikes(3) != c.want {
			t.Errorf("at %v: not %d", clock.Now(), c.want)
		}
	}
	setFaults(t, s, Fault{Kind: Silence, Count: 2})
	if got := strikes(5); got != 2 {
		t.Errorf("a count of 2 struck %d times", got)
	}
	pattern := func(seed uint64) string {
		setFaults(t, s) // so that it is set anew
		setFaults(t, s, Fault{Kind: Silence, Probability: 0.3, Seed: seed})
		var text strings.Builder
		for range 10_000 {
			text.WriteByte("01"[strikes(1)])
		}
		return text.String()
	}
	chance := pattern(1)
	if count := strings.Count(chance, "1"); count < 2800 || count > 3200 {
		t.Errorf("0.3 struck %d of 10000 times", count)
	}
	if pattern(1) != chance || pattern(2) == chance {
		t.Error("a seed is to strike the same requests again, and another one others")
	}
}

// TestAFaultThatStaysGoesOn when others come and go.
func TestAFaultThatStaysGoesOn(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	ask := func() *trouble { return s.strike(request{unit: 1, pdu: bytesOf(t, read3)}) }
	kept := Fault{Kind: Exception, Exception: 4, Count: 3, Function: number(3)}
	setFaults(t, s, kept)
	ask()
	again := kept
	again.Function = number(3) // the same, said again
	setFaults(t, s, Fault{Kind: WrongUnit}, again)
	if made := ask(); !made.has(Exception) || !made.has(WrongUnit) {
		t.Errorf("%+v", made)
	}
	if diff := cmp.Diff([]FaultState{{Fault{Kind: WrongUnit}, 1}, {kept, 2}}, s.Faults()); diff != "" {
		t.Error(diff)
	}
	ask()
	if made := ask(); made.has(Exception) || !made.has(WrongUnit) {
		t.Errorf("after its count: %+v", made)
	}
	setFaults(t, s)
	if ask() != nil || s.Faults() != nil || s.faults.Load() != nil {
		t.Error("something is left")
	}
	const want = `
# HELP simulator_modbus_faults_total Requests and connections that a fault struck, by kind.
# TYPE simulator_modbus_faults_total counter
simulator_modbus_faults_total{device="test",kind="exception"} 3
simulator_modbus_faults_total{device="test",kind="wrong_unit"} 3
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "simulator_modbus_faults_total"); err != nil {
		t.Error(err)
	}
}

// TestFaultsAsAClientLibrarySeesThem lets goburrow judge those that it can tell.
func TestFaultsAsAClientLibrarySeesThem(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	late := func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
	gone := func(err error) bool {
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
	}
	refused := func(function, code byte) func(err error) bool {
		return func(err error) bool {
			var told *modbus.ModbusError
			return errors.As(err, &told) && told.FunctionCode == function && told.ExceptionCode == code
		}
	}
	told := func(text string) func(err error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	for _, c := range []struct {
		fault   Fault
		timeout time.Duration
		want    func(err error) bool
	}{
		{Fault{Kind: Exception, Exception: 2}, patient, refused(0x83, 2)},
		{Fault{Kind: WrongTransaction}, patient, told("transaction id")},
		{Fault{Kind: WrongUnit}, patient, told("unit id")},
		{Fault{Kind: WrongFunction}, patient, refused(4, 2)}, // it takes the number of bytes for a code
		{Fault{Kind: Reset}, patient, gone},
		{Fault{Kind: Refuse}, patient, gone},
		{Fault{Kind: Silence}, 100 * time.Millisecond, late},
		{Fault{Kind: Deaf}, 100 * time.Millisecond, late},
		{Fault{Kind: Truncated}, 100 * time.Millisecond, late},
		{Fault{Kind: Drip}, 100 * time.Millisecond, late},
		{Fault{Kind: Delay, DelayMS: 600_000}, 100 * time.Millisecond, late},
	} {
		setFaults(t, s, c.fault)
		handler := modbus.NewTCPClientHandler(s.Addr().String())
		handler.SlaveId, handler.Timeout = 1, c.timeout
		if _, err := modbus.NewClient(handler).ReadHoldingRegisters(0, 1); err == nil || !c.want(err) {
			t.Errorf("%s: %v", c.fault.Kind, err)
		}
		_ = handler.Close() // it may be closed already
	}
}
