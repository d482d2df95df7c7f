package plant

import (
	"strings"
	"testing"
	"time"
)

// newIsland builds a plant of the devices given beside a grid that has failed, in
// steps of 100 ms.
func newIsland(t testing.TB, devices ...string) *Plant {
	t.Helper()
	return New(mustRead(t, strings.Replace(plantText(devices...), "step: 1s", "step: 100ms", 1)))
}

const islandBattery = "battery {capacity_kwh: 200, rated_kw: 40, ramp_kw_per_s: 1000}"

// A battery that is smaller than the load sheds what is not critical by the frequency,
// and brings that back.
func TestAnIslandShedsLoadByFrequency(t *testing.T) {
	t.Parallel()
	p := newIsland(t, strings.Replace(steadyLoad, "base_kw", "under_frequency_restore_s: 120, base_kw", 1), islandBattery)
	steps(p, 10)
	set(t, p, "grid", "available", 0)
	lowest, shedAt := 50.0, 0
	for tick := range 20 {
		steps(p, 1)
		lowest = min(lowest, value(t, p, "grid", "frequency_hz"))
		if shedAt == 0 && value(t, p, "load", "under_frequency") == 1 {
			shedAt = tick + 1
		}
	}
	if lowest < 45 || lowest > 49 || shedAt < 2 || shedAt > 6 {
		t.Errorf("the frequency fell to %v Hz, and load was shed in tick %d", lowest, shedAt)
	}
	steps(p, 1000)
	expect(t, p, "grid", "power_kw", 0, 0)
	expect(t, p, "load", "demand_kw", 50, 0)
	expect(t, p, "load", "power_kw", 30, 0)
	expect(t, p, "load", "unserved_kw", 20, 0)
	expect(t, p, "load", "shedding", 1, 0)
	expect(t, p, "battery", "power_kw", 30, 0)
	expect(t, p, "grid", "frequency_hz", 50, 0.01) // the governor has brought it back
	set(t, p, "grid", "available", 1)
	steps(p, 1300) // two minutes of a sound frequency
	expect(t, p, "load", "power_kw", 50, 0)
}

// Without a reset the frequency stays where the droop leaves it.
func TestDroopOfAnIsland(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad, "battery {capacity_kwh: 200, rated_kw: 100, frequency_reset_s: 0}")
	write(t, p, "battery", "power_setpoint_kw", 30)
	steps(p, 100)
	set(t, p, "grid", "available", 0)
	steps(p, 100)
	expect(t, p, "battery", "power_kw", 50, 0)
	expect(t, p, "grid", "frequency_hz", 50*(1-0.01*20/100), 1e-6)
}

// A full battery takes no more: the frequency rises, and the array gives less.
func TestSurplusOfAnIsland(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad, islandBattery, "pv {dc_rated_kw: 100, inverter_rated_kw: 90, cloud_cover_pct: 0}")
	set(t, p, "load", "base_kw", 20)
	write(t, p, "pv", "power_limit_pct", 50)
	steps(p, 10)
	set(t, p, "grid", "available", 0)
	steps(p, 1)
	expect(t, p, "battery", "power_kw", -25, 2)
	steps(p, 1000) // the governor brings the frequency back into the dead band of the array
	expect(t, p, "battery", "power_kw", -25, 1e-6)
	expect(t, p, "pv", "power_kw", 45, 0)
	for limit := 50.0; limit <= 100; limit += 5 {
		write(t, p, "pv", "power_limit_pct", limit)
		steps(p, 10)
	}
	steps(p, 300)
	available := value(t, p, "pv", "available_power_kw")
	if available < 70 {
		t.Fatalf("only %v kW of sun at noon", available)
	}
	expect(t, p, "battery", "power_kw", -40, 1e-6)
	expect(t, p, "pv", "power_kw", 60, 1e-6)
	expect(t, p, "pv", "curtailed", 1, 0)
	expect(t, p, "load", "unserved_kw", 0, 0)
	// In the end the governor of the array gives 60 kW at this frequency.
	expect(t, p, "grid", "frequency_hz", 50.036+(available-60)/90*0.05*50, 1e-3)
}

// Where nothing forms it the bus is dead; a battery that is started lights it again.
func TestADeadBusAndABlackStart(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad, "battery {capacity_kwh: 200, rated_kw: 100}", "pv {dc_rated_kw: 100, inverter_rated_kw: 90, cloud_cover_pct: 0}")
	set(t, p, "grid", "available", 0)
	write(t, p, "battery", "run", 0)
	steps(p, 1)
	for id, name := range map[string]string{"pv": "power_kw", "load": "power_kw", "battery": "power_kw", "grid": "voltage_v"} {
		expect(t, p, id, name, 0, 0)
	}
	expect(t, p, "pv", "bus_fault", 1, 0)
	expect(t, p, "load", "supplied", 0, 0)
	expect(t, p, "load", "unserved_kw", 50, 0)
	write(t, p, "battery", "run", 1)
	write(t, p, "pv", "enabled", 0)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 50, 0)
	expect(t, p, "grid", "connected", 0, 0)
	expect(t, p, "grid", "power_kw", 0, 0)
}

// An island beyond its sources falls apart, and a battery does not form it again
// until somebody stops and starts it.
func TestAnIslandThatFallsApart(t *testing.T) {
	t.Parallel()
	p := newIsland(t, strings.Replace(steadyLoad, "base_kw: 50", "base_kw: 180", 1), islandBattery)
	steps(p, 10)
	set(t, p, "grid", "available", 0)
	steps(p, 20)
	expect(t, p, "load", "supplied", 0, 0)
	expect(t, p, "battery", "power_kw", 0, 0)
	set(t, p, "load", "base_kw", 10)
	steps(p, 100)
	expect(t, p, "load", "supplied", 0, 0)
	write(t, p, "battery", "run", 0)
	steps(p, 1)
	write(t, p, "battery", "run", 1)
	steps(p, 10)
	expect(t, p, "load", "supplied", 1, 0)
	expect(t, p, "load", "power_kw", 10, 0)
}

func TestRunningGensetCarriesTheIsland(t *testing.T) {
	t.Parallel()
	p := newIsland(t, quickGenset, steadyLoad)
	write(t, p, "genset", "run", 1)
	write(t, p, "genset", "power_setpoint_kw", 30)
	steps(p, 200)
	expect(t, p, "genset", "power_kw", 30, 0)
	set(t, p, "grid", "available", 0)
	lowest := 50.0
	for range 50 {
		steps(p, 1)
		lowest = min(lowest, value(t, p, "genset", "frequency_hz"))
		expect(t, p, "genset", "power_kw", 50, 0) // the rotor gives at once what the engine does not
	}
	// It swings below the 49.6 Hz of the droop before the engine has followed.
	if lowest > 49.55 || lowest < 49.0 {
		t.Errorf("the frequency fell to %v Hz", lowest)
	}
	steps(p, 600)
	expect(t, p, "genset", "frequency_hz", 50, 0.01)
	expect(t, p, "load", "unserved_kw", 0, 0)
	if p.Latest().Simulated.Sub(p.definition.Start) != 85*time.Second {
		t.Errorf("850 steps lead to %v", p.Latest().Simulated)
	}
}
