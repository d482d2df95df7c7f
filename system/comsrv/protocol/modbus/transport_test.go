package modbus

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// readOne polls a driver of one register and returns its raw value.
func readOne(t *testing.T, driver *Driver) (float64, error) {
	t.Helper()
	readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
	if err != nil {
		return 0, err
	}
	if len(readings) != 1 {
		t.Fatalf("%d readings", len(readings))
	}
	if readings[0].Quality != ems.Good {
		t.Fatalf("a reading of quality %s and no error: %s", readings[0].Quality, readings[0].Reason)
	}
	return readings[0].Raw, nil
}

func oneRegister() config.MappedPoint {
	return point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16))
}

// wantBroken checks that a poll failed with a reason, that the connection is
// closed, and that the peer saw exactly one request.
func wantBroken(t *testing.T, driver *Driver, p *peer, err error, reason string) {
	t.Helper()
	var broken *brokenError
	if !errors.As(err, &broken) || !strings.Contains(err.Error(), reason) {
		t.Errorf("the error is %v; want a broken connection: %s", err, reason)
	}
	if driver.link.port != nil {
		t.Error("the connection is kept")
	}
	if seen := p.seen(); len(seen) != 1 {
		t.Errorf("the peer saw %d requests: a request was sent again", len(seen))
	}
}

func TestDoubtClosesTheConnection(t *testing.T) {
	t.Parallel()
	good := func(request []byte) []byte { return answer(request, 3, 2, 0x12, 0x34) }
	for name, check := range map[string]struct {
		first  func(conn net.Conn, request []byte) bool
		reason string
	}{
		"silence": {func(net.Conn, []byte) bool { return true }, "did not answer in whole within 150ms"},
		"closed":  {func(net.Conn, []byte) bool { return false }, "closed the connection instead of answering"},
		"reset": {func(conn net.Conn, _ []byte) bool {
			_ = conn.(*net.TCPConn).SetLinger(0)
			return false
		}, "connection reset by peer"},
		"header only": {func(conn net.Conn, request []byte) bool { return send(conn, good(request)[:7]) }, "did not answer in whole"},
		"truncated":   {func(conn net.Conn, request []byte) bool { return send(conn, good(request)[:10]) }, "did not answer in whole"},
		"truncated and closed": {func(conn net.Conn, request []byte) bool {
			send(conn, good(request)[:10])
			return false
		}, "closed the connection instead of answering"},
		"other transaction": {func(conn net.Conn, request []byte) bool {
			reply := good(request)
			reply[1]++
			return send(conn, reply)
		}, "transaction id 2 instead of 1"},
		"other unit": {func(conn net.Conn, request []byte) bool {
			reply := good(request)
			reply[6] = 9
			return send(conn, reply)
		}, "unit 9 instead of 1"},
		"other function": {func(conn net.Conn, request []byte) bool {
			return send(conn, answer(request, 4, 2, 0x12, 0x34))
		}, "function 4 instead of 3"},
		"short reply": {func(conn net.Conn, request []byte) bool {
			return send(conn, answer(request, 3, 0))
		}, "byte count 0"},
		"long reply": {func(conn net.Conn, request []byte) bool {
			return send(conn, answer(request, 3, 4, 1, 2, 3, 4))
		}, "byte count 4"},
		"another protocol": {func(conn net.Conn, _ []byte) bool {
			return send(conn, []byte("SSH-2.0-OpenSSH_9.2\r\n"))
		}, "protocol id 18477 instead of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var answers atomic.Int32
			p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
				if answers.Add(1) == 1 {
					return check.first(conn, request)
				}
				return send(conn, good(request))
			})
			driver := open(t, p.address(), time.Minute, oneRegister())
			if strings.HasPrefix(check.reason, "did not answer") {
				driver.channel.Timeout = testTimeout
			}
			_, err := readOne(t, driver)
			wantBroken(t, driver, p, err, check.reason)
			driver.channel.Timeout = time.Minute
			raw, err := readOne(t, driver)
			if err != nil || raw != 0x1234 {
				t.Errorf("the next poll read %v, %v", raw, err)
			}
			if p.connected() != 2 {
				t.Errorf("%d connections", p.connected())
			}
		})
	}
}

// TestLateReplyDiesWithItsConnection is the remedy of
// TestLibraryNeverRecoversFromALateReply.
func TestLateReplyDiesWithItsConnection(t *testing.T) {
	t.Parallel()
	p := newPeer(t, lateOnce())
	driver := open(t, p.address(), testTimeout, oneRegister())
	if _, err := readOne(t, driver); err == nil {
		t.Fatal("the first read has an answer")
	}
	driver.channel.Timeout = time.Minute
	// The held reply and the one to the second request come in one segment: the
	// wrong one is seen first, and the third request is on a third connection.
	if _, err := readOne(t, driver); err == nil || !strings.Contains(err.Error(), "transaction id 1 instead of 2") {
		t.Fatalf("the late reply was taken: %v", err)
	}
	for transaction := range 3 {
		raw, err := readOne(t, driver)
		if err != nil || raw != float64(3+transaction) {
			t.Fatalf("read %v, %v; want the reply to transaction %d", raw, err, 3+transaction)
		}
	}
}

func TestShortReplyIsRefused(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, answer(request, 3, 2, 0x12, 0x34))
	})
	driver := open(t, p.address(), time.Minute, oneRegister(), point(ems.Telemetry, 2, register(1, 3, 9, config.Uint16)))
	_, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
	wantBroken(t, driver, p, err, "byte count 2 in a reply of 4 bytes where 20 were asked for")
}

// TestDripDoesNotExtendTheDeadline: a byte now and then never makes a whole frame
// in time.
func TestDripDoesNotExtendTheDeadline(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		for _, b := range answer(request, 3, 2, 0x12, 0x34) {
			if !send(conn, []byte{b}) {
				return false
			}
			time.Sleep(testTimeout / 3)
		}
		return true
	})
	driver := open(t, p.address(), testTimeout, oneRegister())
	began := time.Now()
	_, err := readOne(t, driver)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	if took := time.Since(began); took < testTimeout {
		t.Errorf("it took %v with a timeout of %v", took, testTimeout)
	}
}

// TestFragmentsAreOneFrame: a whole reply in many segments is a good reply.
func TestFragmentsAreOneFrame(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		for _, b := range answer(request, 3, 2, 0x12, 0x34) {
			send(conn, []byte{b})
		}
		return true
	})
	driver := open(t, p.address(), time.Minute, oneRegister())
	if raw, err := readOne(t, driver); err != nil || raw != 0x1234 {
		t.Errorf("%v, %v", raw, err)
	}
}

// TestStrayBytesNeverMeetTheNextReply: what a peer sends beyond its reply makes
// the connection useless, which is seen before the next request leaves.
func TestStrayBytesNeverMeetTheNextReply(t *testing.T) {
	t.Parallel()
	stray := answer([]byte{0, 2, 0, 0, 0, 0, 1}, 3, 2, 0xde, 0xad) // a forged reply to the second request
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, append(answer(request, 3, 2, 0, request[1]), stray...))
	})
	driver := open(t, p.address(), time.Minute, oneRegister())
	for transaction := 1; transaction <= 3; transaction++ {
		if raw, err := readOne(t, driver); err != nil || raw != float64(transaction) {
			t.Fatalf("poll %d read %v, %v", transaction, raw, err)
		}
	}
	if p.connected() != 3 {
		t.Errorf("%d connections for 3 polls", p.connected())
	}
}

// awaitClosed waits until the end of a connection has arrived.
func awaitClosed(t *testing.T, conn port) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for conn.idle() == nil {
		if time.Now().After(deadline) {
			t.Fatal("the end of the connection does not arrive")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestIdleConnectionClosedByThePeer: a write after the device dropped the idle
// connection goes out once, on a new one.
func TestIdleConnectionClosedByThePeer(t *testing.T) {
	t.Parallel()
	device := newBank()
	p := newPeer(t, device.serve)
	driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, register(1, 6, 5, config.Uint16)))
	if raw, err := readOne(t, driver); err != nil || raw != 0 {
		t.Fatalf("%v, %v", raw, err)
	}
	p.cut()
	awaitClosed(t, driver.link.port)
	written, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: 77})
	if err != nil || written.ReadBack == nil || *written.ReadBack != 77 {
		t.Fatalf("%+v, %v", written, err)
	}
	if device.writes != 1 || p.connected() != 2 {
		t.Errorf("%d writes over %d connections", device.writes, p.connected())
	}
}

func TestUnreachableAddress(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newBank().serve)
	p.close()
	driver := open(t, p.address(), time.Minute, oneRegister())
	var broken *brokenError
	if err := driver.Connect(context.Background()); !errors.As(err, &broken) || !broken.dialling {
		t.Fatalf("the error is %v", err)
	}
	want := p.address() + " cannot be reached: connect: connection refused"
	if err := driver.Connect(context.Background()); err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

// TestCancellationEndsAWaitingRequest and closes the connection, whose reply may
// still come.
func TestCancellationEndsAWaitingRequest(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	p := newPeer(t, func(*peer, net.Conn, []byte) bool {
		arrived <- struct{}{}
		return true
	})
	driver := open(t, p.address(), time.Hour, oneRegister())
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := driver.ReadBatch(ctx, ems.DefaultGroup)
		failed <- err
	}()
	<-arrived
	cancel()
	select {
	case err := <-failed:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the request goes on")
	}
	if driver.link.port != nil {
		t.Error("the connection is kept")
	}
	if driver.link.health.failing(1) {
		t.Error("that a request was called off is held against the unit")
	}
}
