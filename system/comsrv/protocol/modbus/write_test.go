package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
		"bit by 22":   {bitOf(1, 22, 0x0102, 15), 1, [][]byte{{22, 1, 2, 0x7f, 0xff, 0x80, 0}, {3, 1, 2, 0, 1}}},
		"no bit":      {bitOf(1, 22, 0x0102, 15), 0, [][]byte{{22, 1, 2, 0x7f, 0xff, 0, 0}, {3, 1, 2, 0, 1}}},
		"half":        {register(1, 6, 0x0102, config.Float16), -2, [][]byte{{6, 1, 2, 0xc0, 0}, {3, 1, 2, 0, 1}}},
		"decimals":    {register(1, 16, 0x0102, config.BCD32), 12345678, [][]byte{{16, 1, 2, 0, 2, 4, 0x12, 0x34, 0x56, 0x78}, {3, 1, 2, 0, 2}}},
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

// TestWriteInPartKeepsTheRest: of the registers that hold a value among others
// nothing else changes, whichever function writes it.
func TestWriteInPartKeepsTheRest(t *testing.T) {
	t.Parallel()
	field := func(function uint8, order config.ByteOrder, first, count int) config.Mapping {
		return config.Mapping{Unit: 1, Function: function, Address: 7, DataType: config.Bits, ByteOrder: order, Bit: first, Bits: count}
	}
	octet := func(function uint8, data config.DataType, order config.ByteOrder, first int) config.Mapping {
		return config.Mapping{Unit: 1, Function: function, Address: 7, DataType: data, ByteOrder: order, Bit: first}
	}
	for name, check := range map[string]struct {
		mapping config.Mapping
		raw     float64
		want    [2]uint16 // of 0x1234 and 0x5678
		writes  []byte    // the function that does it
	}{
		"field by 6":          {field(6, "AB", 4, 4), 10, [2]uint16{0x12a4, 0x5678}, []byte{3, 6, 3}},
		"field by 22":         {field(22, "AB", 4, 4), 10, [2]uint16{0x12a4, 0x5678}, []byte{22, 3}},
		"swapped field by 6":  {field(6, "BA", 4, 4), 10, [2]uint16{0xa234, 0x5678}, []byte{3, 6, 3}},
		"swapped field by 22": {field(22, "BA", 4, 4), 10, [2]uint16{0xa234, 0x5678}, []byte{22, 3}},
		"over two registers":  {field(16, "ABCD", 12, 8), 0xab, [2]uint16{0x123a, 0xb678}, []byte{3, 16, 3}},
		"CDAB":                {field(16, "CDAB", 12, 8), 0xab, [2]uint16{0xb234, 0x567a}, []byte{3, 16, 3}},
		"low byte by 6":       {octet(6, config.Int8, "AB", 0), -2, [2]uint16{0x12fe, 0x5678}, []byte{3, 6, 3}},
		"high byte by 22":     {octet(22, config.Int8, "AB", 8), -2, [2]uint16{0xfe34, 0x5678}, []byte{22, 3}},
		"high byte by 16":     {octet(16, config.Uint8, "BA", 8), 254, [2]uint16{0x12fe, 0x5678}, []byte{3, 16, 3}},
	} {
		device := newBank()
		device.words[3][7], device.words[3][8] = 0x1234, 0x5678
		p := newPeer(t, device.serve)
		driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, check.mapping))
		written, err := driver.WritePoint(context.Background(), protocol.Write{Raw: check.raw})
		if err != nil || written.Sent != check.raw || written.ReadBack == nil || *written.ReadBack != check.raw {
			t.Errorf("%s: %+v, %v", name, written, err)
		}
		var functions []byte
		for _, pdu := range p.seen() {
			functions = append(functions, pdu[0])
		}
		if got := [2]uint16{device.words[3][7], device.words[3][8]}; got != check.want || !bytes.Equal(functions, check.writes) {
			t.Errorf("%s: %04x by functions %v", name, got, functions)
		}
	}
}

// TestWriteInPartStaysOnItsConnection: what was read of the other bits says
// nothing once the connection was made anew, because the device may have started
// again meanwhile.
func TestWriteInPartStaysOnItsConnection(t *testing.T) {
	t.Parallel()
	device := newBank()
	p := newPeer(t, device.serve)
	driver := open(t, p.address(), time.Minute, point(ems.Control, 1, bitOf(1, 6, 5, 3)))
	if err := driver.take(context.Background(), 1, writing); err != nil {
		t.Fatal(err)
	}
	prepared, err := driver.prepareWrite(context.Background(), &driver.channel.Points[0].Mapping, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.cut()
	awaitClosed(t, driver.link.port)
	asked := false
	_, err = driver.ask(context.Background(), 1, prepared.before(driver.link, func() error { asked = true; return nil }), prepared.call)
	driver.link.give()
	if !errors.Is(err, errReconnected) || asked || device.writes != 0 {
		t.Errorf("%v, asked %v, %d writes", err, asked, device.writes)
	}
	if _, err := driver.WritePoint(context.Background(), protocol.Write{Raw: 1}); err != nil || device.writes != 1 {
		t.Errorf("the next one: %v, %d writes", err, device.writes)
	}
}

// TestBitsOfARegisterOnALine are written with function 22, of which a reply is
// longer than of any other write.
func TestBitsOfARegisterOnALine(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3][7] = 0x1234
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPeerOn(t, listener, readLine, func(_ *peer, conn net.Conn, request []byte) bool { return send(conn, onLine(device.reply(request))) })
	driver := openOn(t, newLinks(t, ems.SystemClock{}), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusRTUOverTCP, Address: p.address(), Timeout: time.Minute,
		Points: []config.MappedPoint{point(ems.Control, 1, bitOf(1, 22, 7, 0)), point(ems.Control, 2, bitOf(0, 22, 7, 1))},
	})
	readBack := 1.0
	written, err := driver.WritePoint(context.Background(), protocol.Write{Point: 0, Raw: 1})
	if diff := cmp.Diff(protocol.Written{Sent: 1, ReadBack: &readBack}, written); diff != "" || err != nil || device.words[3][7] != 0x1235 {
		t.Errorf("%s, %v, register %04x", diff, err, device.words[3][7])
	}
	if _, err = driver.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 1}); !errors.Is(err, errBroadcast) {
		t.Errorf("to every unit: %v", err)
	}
	wantFault(t, err, protocol.Unanswered)
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

// TestAnExceptionIsToldAsWhatItIs, also where it leaves open whether the device acted.
func TestAnExceptionIsToldAsWhatItIs(t *testing.T) {
	t.Parallel()
	for code, want := range map[byte]string{
		2:  "refused by the device: the device answered exception 2 (illegal data address) to function 6",
		4:  "not confirmed: the device answered exception 4 (device failure) to function 6",
		10: "refused by the device: the gateway answered exception 10 (gateway path unavailable) to function 6",
		11: "not confirmed: the gateway answered exception 11 (gateway target did not respond) to function 6",
	} {
		p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool { return send(conn, exception(request, code)) })
		driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, register(1, 6, 5, config.Uint16)))
		if _, err := driver.WritePoint(t.Context(), protocol.Write{Raw: 7}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestWhatATypeDoesNotHoldIsRefused, and never cut to what it does; the range is named.
func TestWhatATypeDoesNotHoldIsRefused(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newBank().serve)
	for kind, check := range map[config.DataType]struct {
		values []float64
		holds  string
	}{
		config.Int8: {[]float64{-129, 128}, "-128 to 127"}, config.Uint8: {[]float64{-1, 256}, "0 to 255"},
		config.Int16: {[]float64{-32769, 32768}, "-32768 to 32767"}, config.Uint16: {[]float64{-1, 65535.5, 70000}, "0 to 65535"},
		config.Int32: {[]float64{-2147483649, 2147483648}, "-2147483648 to 2147483647"}, config.Uint32: {[]float64{-0.6, 4294967296}, "0 to 4294967295"},
		config.Int64:  {[]float64{-9.3e18, 9223372036854775808}, "-9223372036854775808 to 9223372036854775807"},
		config.Uint64: {[]float64{-1, 18446744073709551616}, "0 to 18446744073709551615"},
		config.BCD16:  {[]float64{-1, 10000}, "0 to 9999"}, config.BCD32: {[]float64{-1, 1e8}, "0 to 99999999"},
		config.Float16: {[]float64{-65520, 65520}, "-65504 to 65504"}, config.Float32: {[]float64{-3.5e38, 3.5e38}, "-3.4028235e+38 to 3.4028235e+38"},
	} {
		driver := open(t, p.address(), time.Minute, point(ems.Adjustment, 1, register(1, 16, 5, kind)))
		for _, raw := range check.values {
			_, err := driver.WritePoint(t.Context(), protocol.Write{Raw: raw})
			wantFault(t, err, protocol.NotSent)
			if want := fmt.Sprintf("not sent: raw value %v does not fit %s, which holds %s", raw, kind, check.holds); err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
	for _, pdu := range p.seen() {
		if pdu[0] > readInputs {
			t.Errorf("% x was sent", pdu)
		}
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
		"no bit of a register":           {p.address(), bitOf(1, 6, 5, 0), protocol.Write{Raw: 2}, nil},
		"does not fit a mask":            {p.address(), config.Mapping{Unit: 1, Function: 22, DataType: config.Int8}, protocol.Write{Raw: 128}, nil},
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
