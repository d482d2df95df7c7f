package bench

import (
	"slices"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func TestADeviceTellsWhatChangedAndNothingElse(t *testing.T) {
	t.Parallel()
	server := own(t)
	clock, ctx := ems.SystemClock{}, t.Context()
	device := newDevice(7, 20)
	told := func() []ems.PointID {
		t.Helper()
		if err := device.poll(ctx, server.db, clock.Now()); err != nil {
			t.Fatal(err)
		}
		var points []ems.PointID
		for _, sample := range device.samples {
			points = append(points, sample.Point)
		}
		return points
	}
	if points := told(); len(points) != 20 {
		t.Errorf("the first poll told %v", points)
	}
	if points := told(); len(points) != 0 {
		t.Errorf("nothing had changed, and %v were told", points)
	}
	device.change(18, 3)
	if points := told(); !slices.Equal(points, []ems.PointID{1, 19, 20}) {
		t.Errorf("%v were told", points)
	}
	// Register 18 began as 18 x 37 = 666 and rose by 1021; the value is an eighth.
	if device.raw[18] != 1687 || server.raw.HGet(ctx, "{bench}:comsrv:7:T", "19").Val() != "210.875000" {
		t.Errorf("register 18 is %v and point 19 is %s", device.raw[18], server.raw.HGet(ctx, "{bench}:comsrv:7:T", "19").Val())
	}
	device.raw[0] = registers - 1
	device.change(0, 1)
	if device.raw[0] != 1020 {
		t.Errorf("a register that overflows becomes %v", device.raw[0])
	}
}

func TestAPollThatToldTooLittleIsNotReported(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	one := cases["poll_1000_changed_1000"]
	if err := one.call(ctx, 2, 0); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, says string) {
		t.Helper()
		if err := one.verify(ctx, 2, 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := one.verify(ctx, 2, 0); err != nil {
		t.Fatal(err)
	}
	server.raw.HSet(ctx, "{bench}:comsrv:10002:T", "7", "1.500000")
	expect("another value", "point 7 of channel 10002 holds 1.5 (good) and the device has ")
	if err := one.call(ctx, 2, 1); err != nil {
		t.Fatal(err)
	}
	server.raw.HDel(ctx, "{bench}:hissrv:sources", "comsrv:10002:T")
	expect("no mapping", "what was sent made 0 entries of history instead of 5")
	server.device(largeDevice, 2).told[9] = rtdb.Told{}
	if err := server.device(largeDevice, 2).poll(ctx, server.db, ems.SystemClock{}.Now()); err != nil {
		t.Fatal(err)
	}
	expect("one point alone", "a poll told 1 points where 1000 had changed")
}

func TestNativeWritesAreReadBack(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	for name, key := range map[string]string{"native_hset_100": "{bench}:native:8:0", "native_hset_100_pipelined": "{bench}:native:3:9"} {
		one := cases[name]
		if err := one.call(ctx, 3, 9); err != nil {
			t.Fatal(err)
		}
		if err := one.verify(ctx, 3, 9); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Batch 9 is variant 1: 1009 + 2 x 7919 = 16847, in thousandths.
		if stored := server.raw.HGetAll(ctx, key).Val(); len(stored) != 100 || stored["3"] != "16.847000" {
			t.Errorf("%s: %s holds %d fields, %s in the third", name, key, len(stored), stored["3"])
		}
		if err := one.verify(ctx, 3, 10); err == nil || !strings.Contains(err.Error(), "after \"") {
			t.Errorf("%s after the next call: %v", name, err)
		}
		server.raw.HDel(ctx, key, "55")
		if err := one.verify(ctx, 3, 9); err == nil || !strings.Contains(err.Error(), key+" holds 99 fields instead of 100") {
			t.Errorf("%s without a field: %v", name, err)
		}
	}
	server.raw.HDel(ctx, "{bench}:comsrv:1:T", "5")
	if err := cases["native_hmget_50"].call(ctx, 0, 0); err == nil || !strings.Contains(err.Error(), "HMGET answered <nil> for point 5") {
		t.Errorf("%v", err)
	}
	if err := cases["native_hget"].call(ctx, 0, 54); err == nil {
		t.Error("HGET found a point that is not there")
	}
}
