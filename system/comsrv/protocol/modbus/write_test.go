package modbus

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestWritesOnTheWire compares what leaves with frames written by hand.
func TestWritesOnTheWire(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]struct {
		mapping config.Mapping
		raw     float64
		want    [][]byte // PDUs: what is written, and how it is read back
	}{
		"coil on":     {bits(1, 5, 0x0102), 1, [][]byte{{5, 1, 2, 0xff, 0}, {1, 1, 2, 0, 1}}},
		"coil off":    {bits(1, 5, 0x0102), 0, [][]byte{{5, 1, 2, 0, 0}, {1, 1, 2, 0, 1}}},
		"coils":       {bits(1, 15, 0x0102), 1, [][]byte{{15, 1, 2, 0, 1, 1, 1}, {1, 1, 2, 0, 1}}},
		"register":    {register(1, 6, 0x0102, config.Int16), -2, [][]byte{{6, 1, 2, 0xff, 0xfe}, {3, 1, 2, 0, 1}}},
		"rounded":     {register(1, 6, 0x0102, config.Int16), 12.4, [][]byte{{6, 1, 2, 0, 12}, {3, 1, 2, 0, 1}}},
		"registers":   {register(1, 16, 0x0102, config.Float32), 12.5, [][]byte{{16, 1, 2, 0, 2, 4, 0x41, 0x48, 0, 0}, {3, 1, 2, 0, 2}}},
		"one of many": {register(1, 16, 0x0102, config.Uint16), 12, [][]byte{{16, 1, 2, 0, 1, 2, 0, 12}, {3, 1, 2, 0, 1}}},
		"bit":         {bitOf(1, 6, 0x0102, 15), 1, [][]byte{{3, 1, 2, 0, 1}, {6, 1, 2, 0x80, 0}, {3, 1, 2, 0, 1}}},
		"bit by 16":   {bitOf(1, 16, 0x0102, 0), 1, [][]byte{{3, 1, 2, 0, 1}, {16, 1, 2, 0, 1, 2, 0, 1}, {3, 1, 2, 0, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, newBank().serve)
			driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, check.mapping))
			written, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: check.raw})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(check.want, p.seen()); diff != "" {
				t.Error(diff)
			}
			if written.ReadBack == nil || *written.ReadBack != written.Sent {
				t.Errorf("%+v", written)
			}
		})
	}
}

// TestHowFarAWriteCame: each way of failing tells whether the device may have
// acted, and nothing is ever sent twice.
func TestHowFarAWriteCame(t *testing.T) {
	t.Parallel()
	refuse := func(code byte) func(net.Conn, []byte) bool {
		return func(conn net.Conn, request []byte) bool { return send(conn, exception(request, code)) }
	}
	for name, check := range map[string]struct {
		answer func(conn net.Conn, request []byte) bool
		want   protocol.WriteFault
	}{
		"illegal function":   {refuse(1), protocol.Refused},
		"illegal address":    {refuse(2), protocol.Refused},
		"illegal value":      {refuse(3), protocol.Refused},
		"busy":               {refuse(6), protocol.Refused},
		"no path":            {refuse(10), protocol.Refused},
		"failed while at it": {refuse(4), protocol.Unanswered},
		"still at it":        {refuse(5), protocol.Unanswered},
		"target silent":      {refuse(11), protocol.Unanswered},
		"of no standard":     {refuse(99), protocol.Unanswered},
		"silence":            {func(net.Conn, []byte) bool { return true }, protocol.Unanswered},
		"closed":             {func(net.Conn, []byte) bool { return false }, protocol.Unanswered},
		"other echo": {func(conn net.Conn, request []byte) bool {
			return send(conn, answer(request, 6, 0, 5, 0, 0))
		}, protocol.Unanswered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool { return check.answer(conn, request) })
			driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, register(1, 6, 5, config.Uint16)))
			if name == "silence" {
				driver.channel.Timeout = testTimeout
			}
			_, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: 7})
			wantFault(t, err, check.want)
			if diff := cmp.Diff([][]byte{{6, 0, 5, 0, 7}}, p.seen()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func wantFault(t *testing.T, err error, want protocol.WriteFault) {
	t.Helper()
	var failed *protocol.WriteError
	if !errors.As(err, &failed) || failed.Fault != want {
		t.Errorf("the error is %v; want %s", err, want)
	}
}

func TestWritesThatNeverLeave(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newBank().serve)
	gone := newPeer(t, newBank().serve)
	gone.close()
	late := errors.New("too late")
	whole := register(1, 6, 5, config.Uint16)
	for name, check := range map[string]struct {
		address string
		mapping config.Mapping
		write   protocol.Write
		cause   error
	}{
		"does not fit":                   {p.address(), whole, protocol.Write{Raw: 70000}, nil},
		"no bit":                         {p.address(), bits(1, 5, 0), protocol.Write{Raw: 2}, nil},
		"stopped":                        {p.address(), whole, protocol.Write{Raw: 7, Before: func() error { return late }}, late},
		"unreachable":                    {gone.address(), whole, protocol.Write{Raw: 7}, nil},
		"bit of an unreachable register": {gone.address(), bitOf(1, 6, 5, 0), protocol.Write{Raw: 1}, nil},
	} {
		driver := open(t, check.address, time.Minute, point(ems.Adjustment, 1, check.mapping))
		_, err := driver.WritePoint(context.Background(), check.write)
		wantFault(t, err, protocol.NotSent)
		if check.cause != nil && !errors.Is(err, check.cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if seen := p.seen(); len(seen) != 0 {
		t.Errorf("these left: %v", seen)
	}
}

// TestBeforeIsAskedLast: when it is asked, the connection stands and the register
// that holds the bit was read.
func TestBeforeIsAskedLast(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newBank().serve)
	driver := open(t, p.address(), time.Minute, point(ems.Control, 1, bitOf(1, 6, 5, 3)))
	asked := 0
	_, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: 1, Before: func() error {
		asked++
		if seen := p.seen(); len(seen) != 1 || !bytes.Equal(seen[0], []byte{3, 0, 5, 0, 1}) {
			t.Errorf("%v was sent before", seen)
		}
		return nil
	}})
	if err != nil || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// TestConfirmedButNotReadBack: a point that cannot be read is written all the
// same, and says why nothing was read back.
func TestConfirmedButNotReadBack(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		if request[7] == 6 {
			return send(conn, answer(request, request[7:12]...))
		}
		return send(conn, exception(request, 2))
	})
	driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, register(1, 6, 5, config.Uint16)))
	written, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: 7})
	want := protocol.Written{Sent: 7, Reason: "the device answered exception 2 (illegal data address) to function 3"}
	if diff := cmp.Diff(want, written); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
