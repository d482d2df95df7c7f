package plant

import (
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/simulators/physics"
)

// An array that is tilted towards the sun of a winter's noon sees what the formulas say.
func TestATiltedArray(t *testing.T) {
	t.Parallel()
	text := strings.Replace(plantText("pv {dc_rated_kw: 100, inverter_rated_kw: 100, cloud_cover_pct: 50, tilt_deg: 60, azimuth_deg: 170, albedo: 0.3}"), "2026-06-21", "2026-12-21", 1)
	p := New(mustRead(t, text))
	steps(p, 1)
	sun := physics.Sun{Extraterrestrial: physics.Extraterrestrial(355)}
	sun.ElevationDeg, sun.AzimuthDeg = physics.SunPosition(p.definition.Start.Add(time.Second), 40, 0)
	horizontal := value(t, p, "pv", "irradiance_horizontal_w_per_m2")
	want := physics.Plane{TiltDeg: 60, AzimuthDeg: 170, Albedo: 0.3}.Irradiance(sun, physics.Split(horizontal, sun))
	expect(t, p, "pv", "irradiance_w_per_m2", want, 0)
	if want < 1.5*horizontal {
		t.Errorf("%v W/m2 on the plane, %v on the ground", want, horizontal)
	}
	night := New(mustRead(t, strings.Replace(text, "T12:00", "T21:00", 1)))
	steps(night, 1)
	expect(t, night, "pv", "irradiance_w_per_m2", 0, 0)
	expect(t, night, "pv", "power_kw", 0, 0)
}

// The limit goes back to all of the rating unless it is written again in time, counted
// from the write, and takes its ramp both ways.
func TestTheLimitOfAnArrayReverts(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0}")
	steps(p, 1)
	write(t, p, "pv", "power_limit_revert_s", 10)
	write(t, p, "pv", "power_limit_pct", 30)
	steps(p, 10)
	expect(t, p, "pv", "power_kw", 30, 0)
	write(t, p, "pv", "power_limit_pct", 30) // the same again starts the timer again
	steps(p, 10)
	expect(t, p, "pv", "power_kw", 30, 0)
	expect(t, p, "pv", "power_limit_active", 1, 0)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 100, 0)
	expect(t, p, "pv", "power_limit_active", 0, 0)
	expect(t, p, "pv", "power_limit_reverted", 1, 0)
	write(t, p, "pv", "power_limit_enabled", 1)
	write(t, p, "pv", "power_limit_ramp_s", 7)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 90, 1e-6)
	steps(p, 3)
	expect(t, p, "pv", "power_kw", 60, 1e-6)
	write(t, p, "pv", "power_limit_pct", 95)
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 70, 1e-6)
	write(t, p, "pv", "power_limit_enabled", 0)
	steps(p, 7)
	expect(t, p, "pv", "power_limit_effective_pct", 100, 0)
	expect(t, p, "pv", "power_kw", 100, 0)
	write(t, p, "pv", "power_limit_revert_s", 0)
	write(t, p, "pv", "power_limit_ramp_s", 0)
	write(t, p, "pv", "power_limit_enabled", 1)
	write(t, p, "pv", "power_limit_pct", 20)
	steps(p, 1000)
	expect(t, p, "pv", "power_kw", 20, 0)
}

// A write that a snapshot caught before its tick starts the timer in the restored plant
// too, and is an event there.
func TestAPendingWriteIsSaved(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0}")
	write(t, p, "pv", "power_limit_revert_s", 10)
	write(t, p, "pv", "power_limit_pct", 30)
	steps(p, 9)
	write(t, p, "pv", "power_limit_pct", 30)
	other := newPlant(t, "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0}")
	if _, err := other.Restore(saved(t, p), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for range 15 {
		if a, b := p.Step(time.Time{}).Digest, other.Step(time.Time{}).Digest; a != b {
			t.Fatal("the plants part")
		}
	}
	events, _, _ := other.Events().After(0)
	if len(events) == 0 || events[0].Kind != EventWrite || events[0].By != "test" {
		t.Errorf("%+v", events)
	}
}

// The state of an array says why it gives what it gives.
func TestStatesOfAnArray(t *testing.T) {
	t.Parallel()
	text := plantText("pv {dc_rated_kw: 100, inverter_rated_kw: 100, cloud_cover_pct: 0, reconnect_s: 5, reconnect_ramp_s: 0}")
	p := New(mustRead(t, text))
	state := func(want float64) {
		t.Helper()
		steps(p, 1)
		expect(t, p, "pv", "state", want, 0)
	}
	state(pvRunning)
	write(t, p, "pv", "power_limit_pct", 10)
	state(pvThrottled)
	write(t, p, "pv", "power_limit_pct", 100)
	state(pvRunning)
	set(t, p, "grid", "available", 0)
	state(pvThrottled) // its bus is dead, which it sees in the next tick
	state(pvWaiting)
	set(t, p, "grid", "available", 1)
	steps(p, 5)
	expect(t, p, "pv", "state", pvWaiting, 0)
	state(pvRunning)
	write(t, p, "pv", "enabled", 0)
	state(pvStopped)
	p = New(mustRead(t, strings.Replace(text, "T12:00", "T22:00", 1)))
	state(pvAsleep)
}
