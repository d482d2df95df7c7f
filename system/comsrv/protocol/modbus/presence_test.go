package modbus

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// fastAndSlow is a channel with one unit for each of these groups, from unit 1 on, and
// the clock by which a test polls it.
func fastAndSlow(t *testing.T, address string, groups ...string) (*Driver, *ems.ManualClock) {
	t.Helper()
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	channel := config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: address, Timeout: testTimeout,
		PollPeriod: time.Second, PollGroups: config.PollGroups{"fast": time.Second, "slow": time.Hour, "slower": 24 * time.Hour},
	}
	for i, group := range groups {
		unit := uint8(i + 1)
		channel.Points = append(channel.Points, inGroup(group, point(ems.Telemetry, ems.PointID(unit), register(unit, 3, uint16(unit), config.Uint16))))
	}
	return openOn(t, newLinks(t, clock), channel), clock
}

// answerOnly lets these units alone answer.
func (b *bank) answerOnly(units ...byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.units = map[byte]bool{}
	for _, unit := range units {
		b.units[unit] = true
	}
}

// TestAChannelIsThereWhileAUnitAnswers, and no longer: a unit that is read once an hour
// is asked when all that are read each second are silent.
func TestAChannelIsThereWhileAUnitAnswers(t *testing.T) {
	t.Parallel()
	device := newBank()
	p := newPeer(t, device.serve)
	driver, clock := fastAndSlow(t, p.address(), "fast", "slow")
	openOn(t, driver.links, shared(2, p.address(), 9)).held() // so that what is known of the units outlives a connect
	for _, group := range []string{"fast", "slow"} {
		if _, err := driver.ReadBatch(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	polls := func(count int) (there []bool, asked int) {
		before := framesTo(p, 2)
		for range count {
			clock.Advance(time.Second)
			readings, err := driver.ReadBatch(t.Context(), "fast")
			if err == nil && (len(readings) != 1 || readings[0].Quality != ems.Bad || !strings.HasPrefix(readings[0].Reason, "unit 1: ")) {
				t.Fatalf("%+v", readings)
			}
			there = append(there, err == nil)
		}
		return there, framesTo(p, 2) - before
	}
	device.answerOnly(2)
	there, asked := polls(6)
	if diff := cmp.Diff([]bool{true, true, true, true, true, true}, there); diff != "" || asked != 3 { // in each second one its answer is too old
		t.Error(diff, asked, "requests to unit 2")
	}
	device.answerOnly()
	there, asked = polls(3)
	if diff := cmp.Diff([]bool{true, false, false}, there); diff != "" || asked != 1 { // known to be silent, it is not asked again
		t.Error(diff, asked, "requests to unit 2")
	}
	if _, err := driver.ReadBatch(t.Context(), "slow"); err == nil {
		t.Error("the slow group was read")
	}
	device.answerOnly(2)
	if readings, err := driver.ReadBatch(t.Context(), "slow"); err != nil || readings[0].Quality != ems.Good {
		t.Errorf("%+v, %v", readings, err)
	}
	if there, _ = polls(1); !there[0] {
		t.Error("it answers, and the channel is not there")
	}
	device.answerOnly()
	if there, _ = polls(2); there[1] {
		t.Error("nobody answers, and the channel is there")
	}
	device.answerOnly(2)
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if there, _ = polls(1); !there[0] { // whatever was known of it before
		t.Error("it answers, and the channel is not there when it is connected anew")
	}
}

// TestARefusalShowsThatAUnitIsThere, where nothing of it can be read at the moment.
func TestARefusalShowsThatAUnitIsThere(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(_ byte, address int) bool { return address == 2 }
	p := newPeer(t, device.serve)
	driver, clock := fastAndSlow(t, p.address(), "fast", "slow")
	if readings, err := driver.ReadBatch(t.Context(), "slow"); err != nil || readings[0].Quality != ems.Bad {
		t.Fatalf("%+v, %v", readings, err)
	}
	device.answerOnly(2)
	clock.Advance(time.Minute)
	if _, err := driver.ReadBatch(t.Context(), "fast"); err != nil {
		t.Error(err)
	}
	device.answerOnly()
	clock.Advance(time.Minute)
	if _, err := driver.ReadBatch(t.Context(), "slow"); err != nil { // left out, it costs nobody anything
		t.Error(err)
	}
	if _, err := driver.ReadBatch(t.Context(), "fast"); err == nil {
		t.Error("the channel is there, of which nobody answers")
	}
}

// TestASilentGatewayIsAskedOnceForEachUnit within one connect, whatever groups a unit
// is in, and once more within the next.
func TestASilentGatewayIsAskedOnceForEachUnit(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.answerOnly()
	p := newPeer(t, device.serve)
	driver, _ := fastAndSlow(t, p.address(), "fast", "fast", "fast")
	channel := driver.channel
	_ = driver.Close()
	for _, group := range []string{"slow", "slower"} {
		for unit := uint8(1); unit <= 3; unit++ {
			channel.Points = append(channel.Points, inGroup(group, point(ems.Telemetry, ems.PointID(len(channel.Points)+1), register(unit, 3, 9, config.Uint16))))
		}
	}
	driver = openOn(t, newLinks(t, ems.NewManualClock(time.Unix(1_700_000_000, 0))), channel)
	connect := func() (good int) {
		t.Helper()
		if err := driver.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, group := range []string{"fast", "slow", "slower"} {
			readings, err := driver.ReadBatch(t.Context(), group)
			if err == nil && len(readings) != 3 {
				t.Fatalf("%+v", readings)
			}
			for _, reading := range readings {
				if err == nil && reading.Quality == ems.Good {
					good++
				}
			}
		}
		return good
	}
	for want := 3; want <= 6; want += 3 {
		if good := connect(); good > 0 || len(p.seen()) != want {
			t.Fatalf("%d good after %d requests, want %d", good, len(p.seen()), want)
		}
	}
	device.answerOnly(1, 3)
	before := framesTo(p, 2)
	if good := connect(); good != 6 || framesTo(p, 2) != before+1 {
		t.Errorf("%d good, %d requests to the silent unit", good, framesTo(p, 2)-before)
	}
	device.answerOnly(1, 2, 3)
	driver.link.health.wake(2)
	if readings, err := driver.ReadBatch(context.Background(), "slow"); err != nil || readings[1].Quality != ems.Good { // connecting is over
		t.Errorf("%+v, %v", readings, err)
	}
}

// TestWithoutPointsTheConnectionShowsWhetherADeviceIsThere.
func TestWithoutPointsTheConnectionShowsWhetherADeviceIsThere(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newBank().serve)
	driver, _ := fastAndSlow(t, p.address())
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if readings, err := driver.ReadBatch(t.Context(), ems.DefaultGroup); err != nil || len(readings) > 0 {
		t.Errorf("%v, %v", readings, err)
	}
	p.close()
	if _, err := driver.ReadBatch(t.Context(), ems.DefaultGroup); err == nil {
		t.Error("the device is there, which has gone")
	}
}

// TestNobodyIsAskedBehindAClosedDoor: each further unit would cost the time of another
// attempt to connect, before anybody knows that the device is away.
func TestNobodyIsAskedBehindAClosedDoor(t *testing.T) {
	t.Parallel()
	for name, groups := range map[string][]string{
		"those of other groups": {"fast", "slow", "slow", "slow"}, "those of the group": {"fast", "fast", "fast", "fast"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			device := newBank()
			last := byte(slices.Index(append(slices.Clone(groups), "slow"), "slow")) // of the fast group
			var leaves atomic.Bool
			p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
				if leaves.Load() && request[6] == min(last, 2) {
					_ = p.listener.Close()
					return false
				}
				return device.serve(p, conn, request)
			})
			driver, clock := fastAndSlow(t, p.address(), groups...)
			for _, group := range []string{"fast", "slow"} {
				if _, err := driver.ReadBatch(t.Context(), group); err != nil {
					t.Fatal(err)
				}
			}
			leaves.Store(true)
			clock.Advance(time.Minute)
			attempts := 0
			driver.Trace(func(frame protocol.Frame) {
				if frame.Direction == protocol.Nothing {
					attempts++
				}
			})
			readings, err := driver.ReadBatch(t.Context(), "fast")
			if attempts != 1 || (err == nil) != (last > 1) {
				t.Errorf("%v, %d attempts to connect", err, attempts)
			}
			for i, reading := range readings {
				if (reading.Quality == ems.Good) != (i == 0) {
					t.Errorf("unit %d: %+v", i+1, reading)
				}
			}
		})
	}
}

// TestNobodyIsAskedByABroadcast whether he is there, which nobody answers.
func TestNobodyIsAskedByABroadcast(t *testing.T) {
	t.Parallel()
	driver, _ := fastAndSlow(t, "nowhere", "fast")
	driver.channel.Protocol = config.ProtocolModbusRTUOverTCP
	driver.counters[0] = driver.counters[1]
	driver.groups["slow"] = &group{units: []*unit{{id: 0, blocks: []*block{{function: readHolding, end: 1}}}}}
	driver.held()
	if driver.isThere(t.Context(), driver.groups["fast"], []uint8{1}, true) || driver.silent[0] != nil {
		t.Errorf("it was asked: %v", driver.silent[0])
	}
}
