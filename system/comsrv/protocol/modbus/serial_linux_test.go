package modbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// line is the other end of a pseudo-terminal as a connection of a peer.
type line struct{ *os.File }

func (line) LocalAddr() net.Addr  { return nil }
func (line) RemoteAddr() net.Addr { return nil }

// noListener is of a peer that nobody dials.
type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, errors.New("nobody dials a serial line") }
func (noListener) Addr() net.Addr            { return nil }
func (noListener) Close() error              { return nil }

// openPair returns the two ends of a pseudo-terminal. The far one has deadlines
// and can be closed at any moment.
func openPair(t *testing.T) (far, near *os.File) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	raw, err := far.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	number, fault := 0, error(nil)
	err = raw.Control(func(descriptor uintptr) {
		if fault = unix.IoctlSetPointerInt(int(descriptor), unix.TIOCSPTLCK, 0); fault == nil {
			number, fault = unix.IoctlGetInt(int(descriptor), unix.TIOCGPTN)
		}
	})
	if err = errors.Join(err, fault); err != nil {
		t.Fatal(err)
	}
	near, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return far, near
}

// newLine returns a serial line with units on it that a test writes by hand, and
// the path of the port at its other end.
func newLine(t *testing.T, serve func(p *peer, conn net.Conn, request []byte) bool) (*peer, string) {
	t.Helper()
	far, near := openPair(t) // while the near one is open, the line stands
	p := newPeerOn(t, noListener{}, readLine, serve)
	p.open[line{far}] = struct{}{}
	p.done.Go(func() { p.attend(line{far}) })
	return p, near.Name()
}

func serialChannel(port string, points ...config.MappedPoint) config.Channel {
	return config.Channel{
		ID: 1, Protocol: config.ProtocolModbusRTU, Address: port, Timeout: time.Minute, Points: points,
		Serial: config.Serial{BaudRate: 115200, Parity: config.ParityEven, StopBits: 1},
	}
}

// TestSerialLine reads and writes through every function, of two units.
func TestSerialLine(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3] = map[uint16]uint16{10: 0x41bb, 11: 0xa780}
	device.words[4][20] = 0xfffe
	device.bits[1][3], device.bits[2][4] = true, true
	p, port := newLine(t, func(_ *peer, conn net.Conn, request []byte) bool { return send(conn, onLine(device.reply(request))) })
	driver := openOn(t, newLinks(t, ems.SystemClock{}), serialChannel(port,
		point(ems.Telemetry, 1, register(1, 3, 10, config.Float32)),
		point(ems.Telemetry, 2, register(2, 4, 20, config.Int16)),
		point(ems.Signal, 3, bits(1, 1, 3)),
		point(ems.Signal, 4, bits(2, 2, 4)),
		point(ems.Control, 5, bits(1, 5, 30)),
		point(ems.Control, 6, bits(1, 15, 31)),
		point(ems.Adjustment, 7, register(1, 6, 40, config.Int16)),
		point(ems.Adjustment, 8, register(2, 16, 50, config.Float64)),
	))
	if err := driver.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := map[ems.PointID]float64{1: 23.456787109375, 2: -2, 3: 1, 4: 1, 5: 0, 6: 0, 7: 0, 8: 0}
	wantGood(t, driver, want)
	for id, raw := range map[ems.PointID]float64{5: 1, 6: 1, 7: -1234, 8: 0.1} {
		written, err := driver.WritePoint(context.Background(), protocol.Write{Point: int(id - 1), Raw: raw})
		if err != nil || written.Sent != raw || written.ReadBack == nil || *written.ReadBack != raw {
			t.Errorf("point %d: %+v, %v", id, written, err)
		}
		want[id] = raw
	}
	wantGood(t, driver, want)
	if device.writes != 4 {
		t.Errorf("%d writes", device.writes)
	}
	for _, request := range allFrames(p)[:1] {
		if diff := cmp.Diff([]byte{0, 0, 0, 0, 0, 6, 1, 1, 0, 3, 0, 29}, request); diff != "" {
			t.Error(diff)
		}
	}
}

// TestSerialSettings: the port gets what the channel says, and is put back to
// what it was.
func TestSerialSettings(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]struct {
		serial   config.Serial
		baud     uint32
		set, off uint32
	}{
		"even": {config.Serial{BaudRate: 19200, Parity: config.ParityEven, StopBits: 1}, unix.B19200, unix.PARENB | unix.CS8, unix.PARODD | unix.CSTOPB},
		"odd":  {config.Serial{BaudRate: 1200, Parity: config.ParityOdd, StopBits: 1}, unix.B1200, unix.PARENB | unix.PARODD | unix.CS8, unix.CSTOPB},
		"none": {config.Serial{BaudRate: 921600, Parity: config.ParityNone, StopBits: 2}, unix.B921600, unix.CS8 | unix.CSTOPB, unix.PARENB},
	} {
		_, near := openPair(t)
		settings := func() *unix.Termios {
			state, err := unix.IoctlGetTermios(int(near.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			return state
		}
		before := settings()
		opened, err := openSerial(near.Name(), check.serial)
		if err != nil {
			t.Fatal(err)
		}
		// A pseudo-terminal keeps neither parity nor anything but eight bits.
		if now := settings(); now.Cflag&unix.CBAUD != check.baud || now.Cflag&unix.CSTOPB != check.set&unix.CSTOPB || now.Lflag&(unix.ECHO|unix.ICANON) != 0 {
			t.Errorf("%s: %+v", name, now)
		}
		if _, err := openSerial(near.Name(), check.serial); err == nil || err.Error() != "another program uses the serial port" {
			t.Errorf("%s: opened twice: %v", name, err)
		}
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, settings()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestStaleBytesOnALine are dropped before the next request, which leaves when
// the line is silent.
func TestStaleBytesOnALine(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3][0] = 7
	stale := onLine(answer([]byte{0, 0, 0, 0, 0, 0, 1}, 3, 2, 0xde, 0xad)) // looks like a reply to the next request
	p, port := newLine(t, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, append(onLine(device.reply(request)), stale...))
	})
	driver := openOn(t, newLinks(t, ems.SystemClock{}), serialChannel(port, oneRegister()))
	for range 5 {
		if raw, err := readOne(t, driver); err != nil || raw != 7 {
			t.Fatalf("%v, %v", raw, err)
		}
		awaitStray(t, driver.link.port)
	}
	if seen := p.seen(); len(seen) != 5 {
		t.Errorf("%d requests", len(seen))
	}
}

// awaitStray waits until bytes wait at a port.
func awaitStray(t *testing.T, opened port) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		waiting := 0
		err := opened.(*serialPort).control(func(descriptor int) (err error) {
			waiting, err = unix.IoctlGetInt(descriptor, unix.TIOCINQ)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the stale bytes do not arrive")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestALineThatIsNeverSilent ends the attempt, and the line works when it is.
func TestALineThatIsNeverSilent(t *testing.T) {
	t.Parallel()
	device := newBank()
	p, port := newLine(t, func(_ *peer, conn net.Conn, request []byte) bool { return send(conn, onLine(device.reply(request))) })
	channel := serialChannel(port, oneRegister())
	channel.Serial.BaudRate = 300 // a silence of 128 ms, in which something surely comes
	driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
	if _, err := readOne(t, driver); err != nil {
		t.Fatal(err)
	}
	ctx, silent := context.WithCancel(context.Background())
	quiet := make(chan struct{})
	for conn := range p.open {
		go func() {
			defer close(quiet)
			for ctx.Err() == nil {
				_, _ = conn.Write(make([]byte, 16))
				time.Sleep(time.Millisecond)
			}
		}()
	}
	awaitStray(t, driver.link.port)
	driver.channel.Timeout = time.Second
	if _, err := readOne(t, driver); err == nil || err.Error() != port+" is never silent" {
		t.Errorf("the error is %v", err)
	}
	silent()
	for done := false; !done; { // while the line is full, a write does not end
		_ = driver.link.port.idle()
		select {
		case <-quiet:
			done = true
		case <-time.After(time.Millisecond):
		}
	}
	driver.channel.Timeout = time.Minute
	if raw, err := readOne(t, driver); err != nil || raw != 0 {
		t.Errorf("%v, %v", raw, err)
	}
}

// TestFramesAreApart: a request leaves 3.5 characters after the frame before at
// the earliest.
func TestFramesAreApart(t *testing.T) {
	t.Parallel()
	for _, check := range []struct {
		serial config.Serial
		want   time.Duration
	}{
		{config.Serial{BaudRate: 9600, Parity: config.ParityEven, StopBits: 1}, 4010416 * time.Nanosecond},
		{config.Serial{BaudRate: 9600, Parity: config.ParityNone, StopBits: 1}, 3645833 * time.Nanosecond},
		{config.Serial{BaudRate: 1200, Parity: config.ParityNone, StopBits: 2}, 32083333 * time.Nanosecond},
		{config.Serial{BaudRate: 115200, Parity: config.ParityEven, StopBits: 1}, 1750 * time.Microsecond},
	} {
		if got := silence(check.serial); got != check.want {
			t.Errorf("%+v: %v, want %v", check.serial, got, check.want)
		}
	}
	var mu sync.Mutex
	var answered time.Time
	shortest := time.Hour
	device := newBank()
	_, port := newLine(t, func(_ *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		shortest = min(shortest, time.Since(answered))
		answered = time.Now() // before the reply is there
		return send(conn, onLine(device.reply(request)))
	})
	channel := serialChannel(port, oneRegister())
	channel.Serial = config.Serial{BaudRate: 1200, Parity: config.ParityNone, StopBits: 2}
	driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
	for range 5 {
		if _, err := readOne(t, driver); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := silence(channel.Serial); shortest < want {
		t.Errorf("two frames were %v apart, want %v", shortest, want)
	}
}

// TestAPortThatGoesAway, as one does that is unplugged, is opened anew.
func TestAPortThatGoesAway(t *testing.T) {
	t.Parallel()
	p, port := newLine(t, func(*peer, net.Conn, []byte) bool { return false })
	driver := openOn(t, newLinks(t, ems.SystemClock{}), serialChannel(port, oneRegister()))
	_, err := readOne(t, driver)
	wantBroken(t, driver, p, err, port)
	if err := driver.Connect(context.Background()); err == nil || !strings.HasPrefix(err.Error(), port+" cannot be reached: ") {
		t.Errorf("the error is %v", err)
	}
}

// TestBroadcast: a write to unit 0 of a line leaves once, waits for no answer, and
// nothing follows before the units had time to act.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	device := newBank()
	var mu sync.Mutex
	var began, followed time.Time
	p, port := newLine(t, func(_ *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if request[6] == 0 {
			return true
		}
		if followed.IsZero() && !began.IsZero() {
			followed = time.Now()
		}
		return send(conn, onLine(device.reply(request)))
	})
	driver := openOn(t, newLinks(t, ems.SystemClock{}), serialChannel(port,
		point(ems.Adjustment, 1, register(0, 6, 5, config.Uint16)), point(ems.Telemetry, 2, register(1, 3, 0, config.Uint16))))
	want := map[ems.PointID]string{1: "it is written to every unit of the line, and cannot be read"}
	for range 2 {
		good, bad := poll(t, driver)
		if diff := cmp.Diff(map[ems.PointID]float64{2: 0}, good) + cmp.Diff(want, bad); diff != "" {
			t.Error(diff)
		}
		mu.Lock()
		if began.IsZero() {
			began = time.Now()
		}
		mu.Unlock()
		_, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: 7})
		wantFault(t, err, protocol.Unanswered)
		if !errors.Is(err, errBroadcast) {
			t.Errorf("the error is %v", err)
		}
	}
	var units []byte
	for deadline := time.Now().Add(10 * time.Second); len(units) < 4 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		units = nil
		for _, request := range allFrames(p) {
			units = append(units, request[6])
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]byte{1, 0, 1, 0}, units); diff != "" {
		t.Error(diff)
	}
	if gap := followed.Sub(began); gap < turnaround {
		t.Errorf("a request followed the broadcast after %v", gap)
	}
}

// TestALateReplyOnALineMeetsNoOtherRequest: where nothing in a reply tells to
// which request it belongs, no other request leaves while it may still come.
func TestALateReplyOnALineMeetsNoOtherRequest(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3] = map[uint16]uint16{0: 100, 500: 500}
	const timeout = 500 * time.Millisecond
	var mu sync.Mutex
	var arrivals []time.Time
	_, port := newLine(t, func(_ *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		arrivals = append(arrivals, time.Now())
		first := len(arrivals) == 1
		mu.Unlock()
		if first {
			time.Sleep(timeout * 5 / 4) // a slow device, which takes one request after the other
		}
		return send(conn, onLine(device.reply(request)))
	})
	channel := serialChannel(port, point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16)), point(ems.Telemetry, 2, register(1, 3, 500, config.Uint16)))
	channel.Timeout = timeout
	driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
	began := time.Now()
	if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); err == nil {
		t.Fatal("a reply came in time")
	}
	if driver.link.port == nil {
		t.Error("the port was closed, which may reset what is behind it")
	}
	driver.channel.Timeout = time.Minute
	if err := driver.take(context.Background(), 1, reading); err != nil {
		t.Fatal(err)
	}
	data, err := driver.readHeld(context.Background(), 1, 3, 500, 1)
	driver.link.give()
	if diff := cmp.Diff([]byte{500 >> 8, 500 & 255}, data); diff != "" || err != nil {
		t.Error(diff, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(arrivals) != 2 || arrivals[1].Sub(began) < 2*timeout {
		t.Errorf("%d requests, the last after %v", len(arrivals), arrivals[len(arrivals)-1].Sub(began))
	}
}

// TestMalformedRepliesOnALine is TestMalformedReplies, but for a unit that goes on
// sending out of its turn: on a line that all units share nothing helps the others
// against that.
func TestMalformedRepliesOnALine(t *testing.T) {
	t.Parallel()
	cases := trailing(malformedRTU(config.ProtocolModbusRTU), config.ProtocolModbusRTU)
	delete(cases, "a flood")
	delete(cases, "a byte now and then")
	var running sync.WaitGroup
	for name, check := range cases {
		_, serve, arm := misbehaving(check)
		_, port := newLine(t, serve)
		running.Go(func() { commit(t, name, port, check, arm) })
	}
	running.Wait()
}
