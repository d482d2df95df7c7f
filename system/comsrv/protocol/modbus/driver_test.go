package modbus

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

func bits(unit, function uint8, address uint16) config.Mapping {
	return config.Mapping{Unit: unit, Function: function, Address: address, DataType: config.Bool, Bit: -1}
}

func bitOf(unit, function uint8, address uint16, at int) config.Mapping {
	return config.Mapping{Unit: unit, Function: function, Address: address, DataType: config.Bool, ByteOrder: "AB", Bit: at}
}

// poll returns raw values by point, and the reasons of the bad ones.
func poll(t *testing.T, driver *Driver) (map[ems.PointID]float64, map[ems.PointID]string) {
	t.Helper()
	readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := map[ems.PointID]float64{}, map[ems.PointID]string{}
	for _, reading := range readings {
		id := driver.channel.Points[reading.Point].ID
		if reading.Quality == ems.Good {
			good[id] = reading.Raw
		} else {
			bad[id] = reading.Reason
		}
	}
	return good, bad
}

// TestAgainstAnotherImplementation reads and writes through every function of a
// server that was written by others.
func TestAgainstAnotherImplementation(t *testing.T) {
	t.Parallel()
	address := newPeer(t, newBank().serve) // only to learn a free port
	address.close()
	server := mbserver.NewServer()
	copy(server.HoldingRegisters[10:], []uint16{0x41bb, 0xa780, 7, 0x8001})
	copy(server.InputRegisters[20:], []uint16{0xfffe})
	server.Coils[3], server.DiscreteInputs[4] = 1, 1
	if err := server.ListenTCP(address.address()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, register(1, 3, 10, config.Float32)),
		point(ems.Telemetry, 2, register(1, 4, 20, config.Int16)),
		point(ems.Signal, 3, bits(1, 1, 3)),
		point(ems.Signal, 4, bits(1, 2, 4)),
		point(ems.Control, 5, bits(1, 5, 30)),
		point(ems.Control, 6, bits(1, 15, 31)),
		point(ems.Adjustment, 7, register(1, 6, 12, config.Int16)),
		point(ems.Adjustment, 8, register(1, 16, 40, config.Float64)),
		point(ems.Control, 9, bitOf(1, 6, 13, 4)),
	}
	driver := open(t, address.address(), time.Minute, points...)
	good, bad := poll(t, driver)
	want := map[ems.PointID]float64{1: 23.456787109375, 2: -2, 3: 1, 4: 1, 5: 0, 6: 0, 7: 7, 8: 0, 9: 0}
	if diff := cmp.Diff(want, good); diff != "" || len(bad) > 0 {
		t.Fatal(diff, bad)
	}
	for id, raw := range map[ems.PointID]float64{5: 1, 6: 1, 7: -1234, 8: math.Pi, 9: 1} {
		written, err := driver.WritePoint(context.Background(), protocol.Write{Point: int(id - 1), Raw: raw})
		if err != nil || written.Sent != raw || written.ReadBack == nil || *written.ReadBack != raw {
			t.Errorf("point %d: %+v, %v", id, written, err)
		}
		want[id] = raw
	}
	good, bad = poll(t, driver)
	if diff := cmp.Diff(want, good); diff != "" || len(bad) > 0 {
		t.Error(diff, bad)
	}
	all := register(1, 3, 13, config.Uint16)
	if err := driver.take(context.Background(), 1, reading); err != nil {
		t.Fatal(err)
	}
	defer driver.link.give()
	if raw, err := driver.readPoint(context.Background(), &all); err != nil || raw != 0x8011 {
		t.Errorf("register 13 is %v, %v: the other bits of it must stay", raw, err)
	}
}

// TestDeadUnitDoesNotStallTheOthers: behind one connection, a unit that is silent
// costs one timeout and is then left alone, each time for longer.
func TestDeadUnitDoesNotStallTheOthers(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.units = map[byte]bool{1: true, 3: true}
	device.words[3][0] = 11
	p := newPeer(t, device.serve)
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	const timeout = time.Second // long enough for those that answer
	driver := openOn(t, newLinks(t, clock), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: timeout, Points: []config.MappedPoint{
			point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16)),
			point(ems.Telemetry, 2, register(2, 3, 0, config.Uint16)),
			point(ems.Telemetry, 3, register(3, 3, 0, config.Uint16)),
		},
	})
	var tries []int
	// The pauses are about 1, 2 and 4 seconds, give or take a fifth.
	for _, pause := range []float64{0, 0.7, 0.6, 1.5, 1, 3.1} {
		clock.Advance(time.Duration(pause * float64(timeout)))
		good, bad := poll(t, driver)
		if diff := cmp.Diff(map[ems.PointID]float64{1: 11, 3: 11}, good); diff != "" {
			t.Fatal(diff)
		}
		if !strings.HasPrefix(bad[2], "unit 2: ") || !strings.Contains(bad[2], "did not answer in whole within") {
			t.Fatalf("the reason is %q", bad[2])
		}
		tries = append(tries, framesTo(p, 2))
	}
	if diff := cmp.Diff([]int{1, 1, 2, 2, 3, 3}, tries); diff != "" {
		t.Error("requests to the dead unit:", diff)
	}
	device.mu.Lock()
	device.units = nil
	device.mu.Unlock()
	clock.Advance(2 * timeout)
	for range 2 { // it is asked at once again, and not left alone for what it was
		if good, bad := poll(t, driver); good[2] != 11 || len(bad) > 0 {
			t.Errorf("the unit that is back reads %v, %v", good, bad)
		}
	}
}

func allFrames(p *peer) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte{}, p.requests...)
}

// framesTo returns how many requests to a unit a peer has seen.
func framesTo(p *peer, unit byte) (count int) {
	for _, request := range allFrames(p) {
		if request[6] == unit {
			count++
		}
	}
	return count
}

func TestNoUnitAnswers(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.units = map[byte]bool{}
	p := newPeer(t, device.serve)
	driver := open(t, p.address(), testTimeout,
		point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16)), point(ems.Telemetry, 2, register(2, 3, 0, config.Uint16)))
	var broken *brokenError
	if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); !errors.As(err, &broken) {
		t.Errorf("the error is %v", err)
	}
}

// TestGatewayExceptionsAreAboutTheUnit and not about the connection.
func TestGatewayExceptionsAreAboutTheUnit(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		if request[6] == 2 {
			return send(conn, exception(request, 11))
		}
		return send(conn, answer(request, 3, 2, 0, 5))
	})
	driver := open(t, p.address(), time.Minute,
		point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16)), point(ems.Telemetry, 2, register(2, 3, 0, config.Uint16)))
	good, bad := poll(t, driver)
	if diff := cmp.Diff(map[ems.PointID]float64{1: 5}, good); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[ems.PointID]string{2: "unit 2: the gateway answered exception 11 (gateway target did not respond) to function 3"}, bad); diff != "" {
		t.Error(diff)
	}
	if p.connected() != 1 {
		t.Errorf("%d connections", p.connected())
	}
}

func TestNotANumberIsBad(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3] = map[uint16]uint16{0: 0x7fc0, 1: 0, 2: 0x4148, 3: 0}
	p := newPeer(t, device.serve)
	driver := open(t, p.address(), time.Minute,
		point(ems.Telemetry, 1, register(1, 3, 0, config.Float32)), point(ems.Telemetry, 2, register(1, 3, 2, config.Float32)))
	good, bad := poll(t, driver)
	if diff := cmp.Diff(map[ems.PointID]float64{2: 12.5}, good); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[ems.PointID]string{1: errNotANumber.Error()}, bad); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefusesWhatItCannotServe(t *testing.T) {
	for name, mapping := range map[string]config.Mapping{
		"function 7":         register(1, 7, 0, config.Uint16),
		"unknown type":       {Unit: 1, Function: 3, DataType: "string", Bit: -1},
		"float of coils":     {Unit: 1, Function: 1, DataType: config.Float32, ByteOrder: "ABCD", Bit: -1},
		"bool without a bit": register(1, 3, 0, config.Bool),
		"one for two":        register(1, 6, 0, config.Float32),
		"past the end":       register(1, 3, 65534, config.Float64),
		"order of another":   {Unit: 1, Function: 3, DataType: config.Float32, ByteOrder: "AB", Bit: -1},
		"order of nothing":   {Unit: 1, Function: 3, DataType: config.Float32, ByteOrder: "AABB", Bit: -1},
	} {
		_, err := newLinks(t, ems.SystemClock{}).New(protocol.Setting{Channel: config.Channel{ID: 7, Points: []config.MappedPoint{point(ems.Telemetry, 3, mapping)}}})
		if ems.CodeOf(err) != ems.CodeInvalid || !strings.HasPrefix(err.Error(), "channel 7 point T:3 (T): ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNewRefusesWhatNoLineServes: no unit of a line answers to 0, so that nothing
// can be read from it, not even the other bits of a register.
func TestNewRefusesWhatNoLineServes(t *testing.T) {
	const mixed = "slave_id 0 is every unit of the line, and the register that holds the other bits cannot be read: name one unit, or use function_code 22"
	octet := register(0, 16, 0, config.Int8)
	octet.Bit = 8
	some := config.Mapping{Function: 6, DataType: config.Bits, Bit: 4, Bits: 3}
	for _, check := range []struct {
		kind    ems.PointType
		mapping config.Mapping
		want    string // on a line
	}{
		{ems.Telemetry, register(0, 3, 0, config.Uint16), "slave_id 0 is every unit of the line, and none of them answers: name one"},
		{ems.Telemetry, register(1, 3, 0, config.Uint16), ""},
		{ems.Control, bitOf(0, 6, 0, 3), mixed},
		{ems.Adjustment, octet, mixed},
		{ems.Adjustment, some, mixed},
		{ems.Control, bitOf(1, 6, 0, 3), ""},
		{ems.Control, bitOf(0, 22, 0, 3), ""},
		{ems.Control, bits(0, 5, 0), ""},
		{ems.Adjustment, register(0, 6, 0, config.Uint16), ""},
	} {
		for protocolName, isLine := range map[string]bool{config.ProtocolModbusTCP: false, config.ProtocolModbusRTU: true, config.ProtocolModbusRTUOverTCP: true} {
			channel := config.Channel{ID: 7, Protocol: protocolName, Points: []config.MappedPoint{point(check.kind, 3, check.mapping)}}
			_, err := newLinks(t, ems.SystemClock{}).New(protocol.Setting{Channel: channel})
			if want := check.want; isLine && want != "" {
				if ems.CodeOf(err) != ems.CodeInvalid || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("%s %+v: %v", protocolName, check.mapping, err)
				}
			} else if err != nil {
				t.Errorf("%s %+v: %v", protocolName, check.mapping, err)
			}
		}
	}
}
