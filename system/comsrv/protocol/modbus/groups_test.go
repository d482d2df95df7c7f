package modbus

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// inGroup puts a point into a poll group.
func inGroup(name string, point config.MappedPoint) config.MappedPoint {
	point.Group = name
	return point
}

// TestADeadUnitInAPollGroupOfItsOwn costs its own points alone, also when its group is
// the first to be read.
func TestADeadUnitInAPollGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.units = map[byte]bool{1: true}
	device.words[3][0] = 11
	p := newPeer(t, device.serve)
	driver := openOn(t, newLinks(t, ems.NewManualClock(time.Unix(1_700_000_000, 0))), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: 300 * time.Millisecond, Points: []config.MappedPoint{
			inGroup("living", point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16))),
			inGroup("dead", point(ems.Telemetry, 2, register(2, 3, 0, config.Uint16))),
		},
	})
	ctx := context.Background()
	for range 2 { // the second time it is left alone
		readings, err := driver.ReadBatch(ctx, "dead")
		if err != nil || len(readings) != 1 || readings[0].Quality != ems.Bad || !strings.HasPrefix(readings[0].Reason, "unit 2: ") {
			t.Fatalf("%+v, %v", readings, err)
		}
		readings, err = driver.ReadBatch(ctx, "living")
		if err != nil || len(readings) != 1 || readings[0].Raw != 11 {
			t.Fatalf("%+v, %v", readings, err)
		}
	}
	device.mu.Lock()
	device.units = map[byte]bool{}
	device.mu.Unlock()
	if readings, err := driver.ReadBatch(ctx, "living"); err == nil {
		t.Fatalf("a device of which nobody answers any more gave %+v", readings)
	}
	if readings, err := driver.ReadBatch(ctx, "dead"); err == nil {
		t.Fatalf("a device of which nobody answers any more gave %+v", readings)
	}
}

// TestAPollGroupBetweenTwoExchangesOfAnother: both read what the device holds, the
// one within the other, and neither disturbs what the other has read.
func TestAPollGroupBetweenTwoExchangesOfAnother(t *testing.T) {
	t.Parallel()
	device := newBank()
	points := []config.MappedPoint{inGroup("fast", point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16)))}
	for i := range 4 { // too far apart for one read
		points = append(points, inGroup("slow", point(ems.Telemetry, ems.PointID(i+2), register(1, 3, uint16(1000*(i+1)), config.Uint16))))
		device.words[3][uint16(1000*(i+1))] = uint16(100 + i)
	}
	p := newPeer(t, device.serve)
	var driver protocol.Driver
	var fast []float64
	within := false
	yield := func(ctx context.Context) {
		if within {
			return
		}
		within = true
		defer func() { within = false }()
		device.mu.Lock()
		device.words[3][0]++
		device.mu.Unlock()
		readings, err := driver.ReadBatch(ctx, "fast")
		if err != nil || len(readings) != 1 || readings[0].Point != 0 {
			t.Fatalf("%+v, %v", readings, err)
		}
		fast = append(fast, readings[0].Raw)
	}
	driver, err := newLinks(t, ems.SystemClock{}).New(protocol.Setting{Yield: yield, Channel: config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: time.Minute, Points: points,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	readings, err := driver.ReadBatch(t.Context(), "slow")
	if err != nil {
		t.Fatal(err)
	}
	var slow []float64
	for _, reading := range readings {
		slow = append(slow, reading.Raw)
	}
	if diff := cmp.Diff([]float64{100, 101, 102, 103}, slow); diff != "" {
		t.Error("slow:", diff)
	}
	if diff := cmp.Diff([]float64{1, 2, 3, 4}, fast); diff != "" {
		t.Error("fast:", diff)
	}
	var order []byte
	for _, frame := range allFrames(p) {
		order = append(order, frame[8]) // the high byte of the address
	}
	if want := []byte{0, 1000 >> 8, 0, 2000 >> 8, 0, 3000 >> 8, 0, 4000 >> 8}; !bytes.Equal(order, want) {
		t.Errorf("the device saw %v, want %v", order, want)
	}
}

// TestRefusedAddressIsTriedAsOftenInEveryPollGroup: probe_after is a length of
// time, however often its group is read.
func TestRefusedAddressIsTriedAsOftenInEveryPollGroup(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(_ byte, address int) bool { return address >= 5 }
	p := newPeer(t, device.serve)
	settings := config.Reads{}.OrDefault()
	settings.ProbeAfter = 4 * time.Second
	driver := openOn(t, newLinks(t, ems.SystemClock{}), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: time.Minute, Modbus: config.Modbus{Reads: settings},
		PollPeriod: time.Second, PollGroups: config.PollGroups{"slow": 2 * time.Second},
		Points: []config.MappedPoint{
			point(ems.Telemetry, 1, register(1, 3, 5, config.Uint16)), inGroup("slow", point(ems.Telemetry, 2, register(1, 3, 6, config.Uint16))),
		},
	})
	for group, want := range map[string][]int{
		ems.DefaultGroup: {0, 2, 5, 10, 15}, // after 1, 2, 4 and 4 polls that leave it out
		"slow":           {0, 2, 5, 8, 11, 14},
	} {
		var tried []int
		for number := range 16 {
			before := len(p.seen())
			readings, err := driver.ReadBatch(t.Context(), group)
			if err != nil || len(readings) != 1 || readings[0].Quality != ems.Bad {
				t.Fatalf("%+v, %v", readings, err)
			}
			if len(p.seen()) > before {
				tried = append(tried, number)
			}
		}
		if !slices.Equal(tried, want) {
			t.Errorf("group %s tried in polls %v, want %v", group, tried, want)
		}
	}
}
