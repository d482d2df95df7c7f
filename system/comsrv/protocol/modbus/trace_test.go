package modbus

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// watch returns a function that takes the frames shown since it was called last.
func watch(driver *Driver) func() []string {
	var lines []string
	driver.Trace(func(frame protocol.Frame) {
		bytes := frame.Bytes
		if len(bytes) > 2 && driver.channel.Protocol == config.ProtocolModbusTCP {
			bytes = bytes[2:] // the transaction id counts all that a link has sent
		}
		lines = append(lines, fmt.Sprintf("%s %d/%d %s|%s|%s", frame.Direction, frame.Unit, frame.Function, hex.EncodeToString(bytes), frame.Summary, frame.Reason))
	})
	return func() []string {
		taken := lines
		lines = nil
		return taken
	}
}

func wantFrames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFramesAreShown: every request and reply of a channel, byte by byte and in
// words, and nothing once nobody watches.
func TestFramesAreShown(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3] = map[uint16]uint16{7: 0x0102, 8: 0xffff, 10: 5}
	device.bits[1] = map[uint16]bool{3: true}
	p := newPeer(t, device.serve)
	driver := open(t, p.address(), time.Minute,
		point(ems.Telemetry, 1, register(1, 3, 7, config.Uint32)),
		point(ems.Control, 2, bits(1, 5, 3)), point(ems.Control, 3, bits(1, 15, 4)),
		point(ems.Adjustment, 4, register(1, 6, 10, config.Uint16)), point(ems.Adjustment, 5, register(1, 16, 20, config.Float32)),
		point(ems.Telemetry, 6, register(1, 3, 26, config.Uint64)))
	taken := watch(driver)
	poll(t, driver)
	wantFrames(t, taken(),
		"sent 1/1 00000006010100030002|read 2 coils from 3|",
		"received 1/1 0000000401010101|10|",
		"sent 1/3 00000006010300070004|read 4 holding registers from 7|",
		"received 1/3 0000000b0103080102ffff00000005|0x0102 0xFFFF 0x0000 0x0005|",
		"sent 1/3 0000000601030014000a|read 10 holding registers from 20|",
		"received 1/3 00000017010314"+strings.Repeat("0000", 10)+"|0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 …|",
	)
	for _, write := range []protocol.Write{{Point: 1, Raw: 1}, {Point: 2, Raw: 1}, {Point: 3, Raw: 77}, {Point: 4, Raw: 1}} {
		if _, err := driver.WritePoint(context.Background(), write); err != nil {
			t.Fatal(err)
		}
	}
	var writes []string
	for _, line := range taken() {
		if strings.Contains(line, "write") || strings.Contains(line, "confirmed") {
			writes = append(writes, line)
		}
	}
	wantFrames(t, writes,
		"sent 1/5 0000000601050003ff00|write coil 3: 1|", "received 1/5 0000000601050003ff00|confirmed|",
		"sent 1/15 00000008010f000400010101|write 1 coils from 4: 1|", "received 1/15 00000006010f00040001|confirmed|",
		"sent 1/6 000000060106000a004d|write register 10: 0x004D|", "received 1/6 000000060106000a004d|confirmed|",
		"sent 1/16 0000000b011000140002043f800000|write 2 registers from 20: 0x3F80 0x0000|", "received 1/16 00000006011000140002|confirmed|",
	)
	driver.Trace(nil)
	poll(t, driver)
	wantFrames(t, taken())
}

// TestFramesOfTroubleAreShown: what came in place of an answer, as far as it came,
// and why nothing was sent.
func TestFramesOfTroubleAreShown(t *testing.T) {
	t.Parallel()
	var step atomic.Int32
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		switch step.Load() {
		case 0:
			return send(conn, exception(request, 2))
		case 1:
			request[6] = 9
			return send(conn, answer(request, 3, 2, 0, 7))
		case 2:
			send(conn, answer(request, 3, 2, 0, 7)[:8])
			return false
		default:
			return true
		}
	})
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	driver := openOn(t, newLinks(t, clock), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: time.Minute,
		Points: []config.MappedPoint{point(ems.Telemetry, 1, register(5, 3, 1, config.Uint16))},
	})
	taken := watch(driver)
	const sent = "sent 5/3 00000006050300010001|read 1 holding registers from 1|"
	address := p.address()
	for at, want := range [][]string{
		{sent, "received 5/131 00000003058302|exception 2 (illegal data address)|"},
		{sent, "received 5/3 000000050903020007||" + address + ": answered with unit 9 instead of 5"},
		{sent, "received 5/3 000000050503||" + address + " closed the connection instead of answering"},
		{sent, "received 5/3 ||" + address + " did not answer in whole within 50ms"},
	} {
		step.Store(int32(at))
		if at == 3 {
			driver.channel.Timeout = 50 * time.Millisecond
		}
		if err := driver.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		_, _ = driver.ReadBatch(context.Background(), ems.DefaultGroup)
		wantFrames(t, taken(), want...)
	}
	p.close()
	if err := driver.Connect(context.Background()); err == nil {
		t.Fatal("the device is away and was reached")
	}
	wantFrames(t, taken(), "nothing 5/0 ||"+address+" cannot be reached: connect: connection refused")
}

// TestChannelsSeeTheirOwnFrames on a connection that they share, of a serial line
// here.
func TestChannelsSeeTheirOwnFrames(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	device := newBank()
	device.words[3] = map[uint16]uint16{1: 11, 2: 22}
	p := newPeerOn(t, listener, readLine, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, onLine(device.reply(request)))
	})
	links := newLinks(t, ems.SystemClock{})
	var taken []func() []string
	var drivers []*Driver
	for unit := range 2 {
		channel := shared(ems.ChannelID(unit+1), p.address(), uint8(unit+1))
		channel.Protocol, channel.Points = config.ProtocolModbusRTUOverTCP, channel.Points[:1]
		drivers = append(drivers, openOn(t, links, channel))
		taken = append(taken, watch(drivers[unit]))
	}
	for _, driver := range drivers {
		poll(t, driver)
	}
	if p.connected() != 1 {
		t.Errorf("%d connections", p.connected())
	}
	wantFrames(t, taken[0](), "sent 1/3 010300010001d5ca|read 1 holding registers from 1|", "received 1/3 010302000bf983|0x000B|")
	wantFrames(t, taken[1](), "sent 2/3 02030002000125f9|read 1 holding registers from 2|", "received 2/3 02030200167d8a|0x0016|")
}
