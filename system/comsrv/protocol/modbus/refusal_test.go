package modbus

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestReadingsAreTheDevices: however points lie and whatever the device refuses,
// a good reading is what the device holds, only points with a refused address are
// bad, no forbidden address is ever read, and once nothing is refused any more the
// reads are as few as ever.
func TestReadingsAreTheDevices(t *testing.T) {
	t.Parallel()
	device := newBank()
	p := newPeer(t, device.serve)
	links := newLinks(t, ems.SystemClock{})
	rapid.Check(t, func(rt *rapid.T) {
		points, settings := drawPoints(rt, 60)
		illegal := map[int]bool{}
		for range rapid.IntRange(0, 4).Draw(rt, "illegal addresses") {
			illegal[rapid.IntRange(0, 65535).Draw(rt, "illegal")] = true
		}
		for range min(len(points), rapid.IntRange(0, 9).Draw(rt, "hits")) {
			illegal[int(points[rapid.IntRange(0, len(points)-1).Draw(rt, "hit")].Mapping.Address)] = true
		}
		device.mu.Lock()
		device.illegal = func(_ byte, address int) bool { return illegal[address] }
		fill(device, points)
		device.mu.Unlock()
		made, err := links.New(protocol.Setting{Channel: config.Channel{
			ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: time.Minute, PollPeriod: time.Second, Points: points,
			Modbus: config.Modbus{Reads: settings},
		}})
		if err != nil {
			rt.Fatal(err)
		}
		defer made.Close()
		reads := len(describe(made.(*Driver).groups[ems.DefaultGroup].all()))
		before := len(allFrames(p))
		settle(rt, made, points)
		for range 2 { // the second poll uses what the first one learned
			checkReadings(rt, device, made, points, illegal)
		}
		device.mu.Lock()
		clear(illegal)
		device.mu.Unlock()
		for range 12 { // every place is tried after 4 polls at most, and what was split is joined as soon
			settle(rt, made, points)
		}
		checkReadings(rt, device, made, points, illegal)
		for _, request := range allFrames(p)[before:] {
			start, count := int(request[8])<<8|int(request[9]), int(request[10])<<8|int(request[11])
			for at := start; at < start+count; at++ {
				if isForbidden(&settings, request[6], request[7], at) {
					rt.Fatalf("%v reads %d of unit %d, which is forbidden by %+v", request, at, request[6], settings.Forbidden)
				}
			}
		}
		last := len(allFrames(p))
		checkReadings(rt, device, made, points, illegal)
		if now := len(allFrames(p)) - last; now != reads {
			rt.Fatalf("%d requests where %d were planned", now, reads)
		}
	})
}

// all returns the units of a group, none of a group that has no points.
func (g *group) all() []*unit {
	if g == nil {
		return nil
	}
	return g.units
}

// settle polls until the driver is not looking for an address any more.
func settle(t *rapid.T, driver protocol.Driver, points []config.MappedPoint) {
	for range len(points) + 1 {
		readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(readings, func(r protocol.Reading) bool { return strings.Contains(r.Reason, "looked for") }) {
			return
		}
	}
	t.Fatal("the driver is looking for an address for ever")
}

// fill gives every place that the points name a number of its own.
func fill(device *bank, points []config.MappedPoint) {
	for i := range points {
		mapping := &points[i].Mapping
		function := mapping.ReadFunction()
		for at := int(mapping.Address); at < mapping.End(); at++ {
			if mapping.IsCoil() {
				device.bits[function][uint16(at)] = i%3 == 0
			} else {
				device.words[function][uint16(at)] = uint16(at*31) + uint16(function)
			}
		}
	}
}

func checkReadings(t *rapid.T, device *bank, driver protocol.Driver, points []config.MappedPoint, illegal map[int]bool) {
	readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	for _, reading := range readings {
		mapping := &points[reading.Point].Mapping
		function := mapping.ReadFunction()
		refused := false
		wire := []byte{}
		for at := int(mapping.Address); at < mapping.End(); at++ {
			word := device.words[max(function, 3)][uint16(at)]
			wire = append(wire, byte(word>>8), byte(word))
			refused = refused || illegal[at]
		}
		want, text, fault := 0.0, "", error(nil)
		if !mapping.IsCoil() {
			want, text, fault = decodeRegisters(mapping, wire)
		} else if device.bits[function][mapping.Address] {
			want = 1
		}
		bad := refused || fault != nil
		if bad {
			want, text = 0, ""
		}
		if bad != (reading.Quality == ems.Bad) || reading.Raw != want || reading.Text != text || bad != (reading.Reason != "") {
			t.Fatalf("point %d %+v: %+v; want %v %q, bad %v", points[reading.Point].ID, mapping, reading, want, text, bad)
		}
	}
}

// TestIllegalAddressCostsOnlyItsPoint and is remembered until the device is
// connected anew.
func TestIllegalAddressCostsOnlyItsPoint(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(_ byte, address int) bool { return address == 5 }
	p := newPeer(t, device.serve)
	var points []config.MappedPoint
	for i := range 8 {
		points = append(points, point(ems.Telemetry, ems.PointID(i+1), register(1, 3, uint16(i), config.Uint16)))
		device.words[3][uint16(i)] = uint16(100 + i)
	}
	driver := open(t, p.address(), time.Minute, points...)
	want := map[ems.PointID]float64{1: 100, 2: 101, 3: 102, 4: 103, 5: 104, 7: 106, 8: 107}
	var requests []int
	for range 5 {
		before := len(p.seen())
		good, bad := poll(t, driver)
		if diff := cmp.Diff(want, good); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(map[ems.PointID]string{6: "the device answered exception 2 (illegal data address) to function 3"}, bad); diff != "" {
			t.Fatal(diff)
		}
		requests = append(requests, len(p.seen())-before)
	}
	// 8 fails, 4 is good, 4 fails, 2 fails, 1 is good, 1 fails, 2 is good; then the
	// three good reads, and the refused register after 1 and after 2 more polls.
	if diff := cmp.Diff([]int{7, 3, 4, 3, 3}, requests); diff != "" {
		t.Error(diff)
	}
	device.mu.Lock()
	device.illegal = func(byte, int) bool { return false }
	device.mu.Unlock()
	if err := driver.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := len(p.seen())
	want[6] = 105
	good, _ := poll(t, driver)
	if diff := cmp.Diff(want, good); diff != "" || len(p.seen())-before != 1 {
		t.Error(diff, len(p.seen())-before, "requests after connecting anew")
	}
}

// holding returns so many registers as points, with PollPeriod and ProbeAfter of
// the channel that has them.
func holding(t *testing.T, address string, count int, probeAfter time.Duration) *Driver {
	t.Helper()
	settings := config.Reads{}.OrDefault()
	settings.ProbeAfter = probeAfter
	var points []config.MappedPoint
	for i := range count {
		points = append(points, point(ems.Telemetry, ems.PointID(i+1), register(1, 3, uint16(i), config.Uint16)))
	}
	return openOn(t, newLinks(t, ems.SystemClock{}), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: address, PollPeriod: time.Second, Timeout: time.Minute, Points: points,
		Modbus: config.Modbus{Reads: settings},
	})
}

// TestRefusedAddressIsTriedRarely: after twice as many polls each time, and in the
// end once in probe_after; once it answers it is read with the others again.
func TestRefusedAddressIsTriedRarely(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(_ byte, address int) bool { return address == 5 }
	p := newPeer(t, device.serve)
	driver := holding(t, p.address(), 8, 10*time.Second)
	var tried []int
	poll5 := func(number int) (bad map[ems.PointID]string) {
		before := len(p.seen())
		_, bad = poll(t, driver)
		for _, pdu := range p.seen()[before:] {
			if bytes.Equal(pdu, []byte{3, 0, 5, 0, 1}) {
				tried = append(tried, number)
			}
		}
		return bad
	}
	for number := range 60 {
		if bad := poll5(number); len(bad) != 1 || bad[6] == "" {
			t.Fatalf("poll %d: %v", number, bad)
		}
	}
	if diff := cmp.Diff([]int{0, 2, 5, 10, 19, 30, 41, 52}, tried); diff != "" {
		t.Error(diff)
	}
	device.mu.Lock()
	device.illegal = func(byte, int) bool { return false }
	device.mu.Unlock()
	for number := 60; number <= 63; number++ {
		if bad := poll5(number); len(bad) != 0 != (number < 63) {
			t.Fatalf("poll %d: %v", number, bad)
		}
	}
	before := len(p.seen())
	if _, bad := poll(t, driver); len(bad) != 0 || len(p.seen()) != before+1 {
		t.Errorf("%v bad, %d requests", bad, len(p.seen())-before)
	}
}

// TestLookingForAddressesIsBounded: a device that refuses everything costs a poll
// no more than 16 splits, and every address is found in the end.
func TestLookingForAddressesIsBounded(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(_ byte, address int) bool { return address != 77 }
	p := newPeer(t, device.serve)
	driver := holding(t, p.address(), 125, time.Hour)
	for number := 1; ; number++ {
		before := len(p.seen())
		good, bad := poll(t, driver)
		if asked := len(p.seen()) - before; asked > 125+16 || number == 1 && asked != 33 {
			t.Fatalf("%d requests in poll %d", asked, number)
		}
		searching := 0
		for _, reason := range bad {
			if strings.HasSuffix(reason, "; which of its addresses it refuses is being looked for") {
				searching++
			}
		}
		if searching == 0 {
			if diff := cmp.Diff(map[ems.PointID]float64{78: 0}, good); diff != "" || len(bad) != 124 || number != 8 {
				t.Error(diff, len(bad), "bad after", number, "polls")
			}
			return
		}
	}
}

// TestJoiningAgainCostsNoValue: a device that takes short reads alone is asked for
// long ones now and then, and what was read before is read all the same.
func TestJoiningAgainCostsNoValue(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.longest = 20
	p := newPeer(t, device.serve)
	driver := holding(t, p.address(), 125, 5*time.Second)
	var requests []int
	for number := range 17 {
		if number == 11 {
			device.mu.Lock()
			device.longest = 0
			device.mu.Unlock()
		}
		before := len(p.seen())
		if _, bad := poll(t, driver); len(bad) > 0 {
			t.Fatalf("poll %d: %v", number, bad)
		}
		requests = append(requests, len(p.seen())-before)
	}
	// 125 is cut into 8 of 15 or 16, with 7 refused reads; then 1 is tried every 5 polls.
	if diff := cmp.Diff([]int{15, 8, 8, 8, 8, 9, 8, 8, 8, 8, 9, 8, 8, 8, 8, 1, 1}, requests); diff != "" {
		t.Error(diff)
	}
}
