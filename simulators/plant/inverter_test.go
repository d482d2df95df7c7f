package plant

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/simulators/physics"
)

const (
	sunnyPV    = "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0}"
	followerPV = "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0, reconnect_s: 30, reconnect_ramp_s: 20}"
)

// ticksUntil steps a plant until a quantity has a value, and returns how many ticks that
// took, most if it never has it.
func ticksUntil(t *testing.T, p *Plant, id, name string, want float64, most int) int {
	t.Helper()
	for tick := 1; tick < most; tick++ {
		if steps(p, 1); value(t, p, id, name) == want {
			return tick
		}
	}
	return most
}

// Each limit trips an inverter after its clearing time, and no earlier; it comes back
// when its bus has been sound for long enough, and slowly.
func TestAnInverterTripsAndComesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		input string
		to    float64
		ticks int // of 100 ms, after that in which the bus is so
	}{
		"over_voltage_2":    {"voltage_pct", 121, 2},
		"over_voltage_1":    {"voltage_pct", 111, 130},
		"under_voltage_1":   {"voltage_pct", 87, 210},
		"over_frequency_2":  {"frequency_hz", 51.7, 2},
		"over_frequency_1":  {"frequency_hz", 51.05, 3000},
		"under_frequency_1": {"frequency_hz", 48.7, 3000},
		"under_frequency_2": {"frequency_hz", 47, 2},
	} {
		p := newIsland(t, followerPV)
		steps(p, 5)
		expect(t, p, "pv", "power_kw", 100, 0)
		healthy := map[string]float64{"voltage_pct": 100, "frequency_hz": 50}[c.input]
		set(t, p, "grid", c.input, c.to)
		steps(p, 1)
		if got := ticksUntil(t, p, "pv", "in_service", 0, 4000); got != c.ticks {
			t.Errorf("%s: tripped after %d ticks, want %d", name, got, c.ticks)
		}
		expect(t, p, "pv", "trip_"+name, 1, 0)
		expect(t, p, "pv", "power_kw", 0, 0)
		set(t, p, "grid", c.input, healthy)
		steps(p, 1)
		expect(t, p, "pv", "reconnect_in_s", 30, 0)
		steps(p, 150)
		expect(t, p, "pv", "reconnect_in_s", 15, 1e-9)
		set(t, p, "grid", "frequency_hz", 50.1) // not sound enough to come back
		steps(p, 2)
		set(t, p, "grid", "frequency_hz", 50)
		steps(p, 1)
		if got := ticksUntil(t, p, "pv", "in_service", 1, 1000); got != 300 {
			t.Errorf("%s: in service after %d ticks", name, got)
		}
		expect(t, p, "pv", "trip_"+name, 0, 0)
		steps(p, 100)
		expect(t, p, "pv", "power_kw", 50, 1e-6)
		steps(p, 100)
		expect(t, p, "pv", "power_kw", 100, 0)
	}
}

// A voltage within the limits for less than the clearing time only makes it cease.
func TestMomentaryCessation(t *testing.T) {
	t.Parallel()
	p := newIsland(t, followerPV)
	steps(p, 5)
	set(t, p, "grid", "voltage_pct", 112)
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 0, 0)
	expect(t, p, "pv", "momentary_cessation", 1, 0)
	steps(p, 120)
	set(t, p, "grid", "voltage_pct", 100)
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 25, 1e-6)
	steps(p, 3)
	expect(t, p, "pv", "power_kw", 100, 0)
	expect(t, p, "pv", "in_service", 1, 0)
	// And a sag below half the voltage trips it after 2 s.
	set(t, p, "grid", "voltage_pct", 50)
	steps(p, 100)
	expect(t, p, "pv", "in_service", 1, 0)
	p.member("grid").device.(*grid).model.voltageNoise = 0.001 // the input goes no lower than half
	p.member("grid").device.(*grid).Voltage.Value = -20
	if got := ticksUntil(t, p, "pv", "in_service", 0, 100); got > 25 {
		t.Errorf("in service for %d ticks", got)
	}
	expect(t, p, "pv", "trip_under_voltage_2", 1, 0)
}

// A dead bus stops it, and an island that a battery forms later does not have it back at
// once.
func TestAntiIslanding(t *testing.T) {
	t.Parallel()
	p := newIsland(t, followerPV, "battery {capacity_kwh: 200, rated_kw: 150}", strings.Replace(steadyLoad, "base_kw: 50", "base_kw: 100", 1))
	write(t, p, "battery", "run", 0)
	steps(p, 5)
	expect(t, p, "pv", "power_kw", 100, 0)
	set(t, p, "grid", "available", 0) // the load takes just what the array gives
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 0, 0)
	expect(t, p, "pv", "anti_islanding", 1, 0)
	expect(t, p, "load", "supplied", 0, 0)
	write(t, p, "battery", "run", 1)
	steps(p, 250)
	expect(t, p, "load", "supplied", 1, 0)
	expect(t, p, "pv", "in_service", 0, 0)
	expect(t, p, "battery", "power_kw", 100, 0)
	steps(p, 800)
	expect(t, p, "pv", "in_service", 1, 0)
	expect(t, p, "pv", "anti_islanding", 0, 0)
	if value(t, p, "pv", "power_kw") < 90 {
		t.Errorf("%v kW", value(t, p, "pv", "power_kw"))
	}
}

// Reactive power goes by the modes, volt-var before a fixed one before the power factor,
// and active power makes room for it.
func TestReactivePowerOfAnInverter(t *testing.T) {
	t.Parallel()
	p := newPlant(t, sunnyPV)
	write(t, p, "pv", "power_factor_enabled", 1)
	write(t, p, "pv", "power_factor", 0.95)
	write(t, p, "pv", "power_limit_pct", 50)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 50, 0)
	expect(t, p, "pv", "reactive_power_kvar", 50*0.328684105, 1e-6)
	expect(t, p, "grid", "reactive_power_kvar", -50*0.328684105, 1e-6)
	write(t, p, "pv", "power_factor", -0.95)
	steps(p, 1)
	expect(t, p, "pv", "reactive_power_kvar", -50*0.328684105, 1e-6)
	write(t, p, "pv", "reactive_power_enabled", 1)
	write(t, p, "pv", "reactive_power_pct", 100)
	write(t, p, "pv", "power_limit_pct", 100)
	steps(p, 1)
	expect(t, p, "pv", "reactive_power_kvar", 44, 0)
	expect(t, p, "pv", "power_kw", 89.799777, 1e-6)
	expect(t, p, "pv", "apparent_power_kva", 100, 1e-6)
	expect(t, p, "pv", "actual_power_factor", 0.89799777, 1e-8)
	expect(t, p, "pv", "current_a", 100e3/(1.7320508075688772*value(t, p, "pv", "voltage_v")), 1e-4)
	write(t, p, "pv", "volt_var_enabled", 1)
	set(t, p, "grid", "voltage_pct", 92.5)
	steps(p, 5)
	expect(t, p, "pv", "reactive_power_kvar", 40.333*0.84, 0.3) // on its way: 90 % in 5 s
	steps(p, 60)
	expect(t, p, "pv", "reactive_power_kvar", 40.333, 1e-3)
	expect(t, p, "pv", "power_kw", 91.505, 2e-3)
	write(t, p, "pv", "enabled", 0)
	steps(p, 1)
	expect(t, p, "pv", "reactive_power_kvar", 0, 0)
	first := newPlant(t, strings.Replace(sunnyPV, "cloud", "priority: active, cloud", 1))
	write(t, first, "pv", "reactive_power_enabled", 1)
	write(t, first, "pv", "reactive_power_pct", -100)
	steps(first, 1)
	expect(t, first, "pv", "power_kw", 100, 0)
	expect(t, first, "pv", "reactive_power_kvar", 0, 0)
	write(t, first, "pv", "power_limit_pct", 96)
	steps(first, 1)
	expect(t, first, "pv", "reactive_power_kvar", -28, 1e-6)
}

func TestVoltageAndFrequencyLimitActivePower(t *testing.T) {
	t.Parallel()
	p := newPlant(t, sunnyPV)
	write(t, p, "pv", "volt_watt_enabled", 1)
	set(t, p, "grid", "voltage_pct", 108)
	steps(p, 60)
	expect(t, p, "pv", "power_kw", 50, 0.1)
	write(t, p, "pv", "volt_watt_enabled", 0)
	set(t, p, "grid", "voltage_pct", 100)
	set(t, p, "grid", "frequency_hz", 50.536)
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 80, 1e-6)
	write(t, p, "pv", "frequency_watt_enabled", 0)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 100, 0)
}

func TestNightConsumption(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, strings.Replace(plantText("pv {dc_rated_kw: 100, inverter_rated_kw: 100, night_consumption_kw: 0.06}"), "T12:00", "T00:00", 1)))
	steps(p, 3600)
	expect(t, p, "pv", "power_kw", -0.06, 0)
	expect(t, p, "pv", "running", 0, 0)
	expect(t, p, "pv", "curtailed", 0, 0)
	expect(t, p, "pv", "energy_consumed_kwh", 0.06, 1e-12)
	expect(t, p, "pv", "energy_kwh", 0, 0)
	expect(t, p, "grid", "energy_imported_kwh", 0.06, 1e-12)
}

// Whatever is set, the apparent power of one that follows is within its rating.
func TestApparentPowerNeverExceedsTheRating(t *testing.T) {
	t.Parallel()
	p := newMicrogrid(t, 9)
	random := rand.New(rand.NewPCG(11, 9))
	reactive := 0
	for tick := range 8_000 {
		if tick%5 == 0 {
			operate(t, p, random)
			set(t, p, "pv", "forced_trip", 0)
		}
		if tick%250 == 0 { // else it is mostly out of service
			for name, to := range map[string]float64{"voltage_pct": 100, "frequency_hz": 50, "available": 1} {
				set(t, p, "grid", name, to)
			}
			p.member("pv").device.(*pv).Inverter = newInverterState()
			write(t, p, "pv", "enabled", 1)
		}
		p.Step(time.Time{})
		active, q := milli(t, p, "pv", "power_kw"), milli(t, p, "pv", "reactive_power_kvar")
		if active*active+q*q > 100e6*100e6 {
			t.Fatalf("tick %d: %d mW and %d mvar", tick, active, q)
		}
		if q != 0 && active != 0 {
			reactive++
		}
	}
	if reactive < 200 {
		t.Errorf("reactive power in %d ticks only", reactive)
	}
	if len(physics.TripLimits) != len(inverterState{}.Beyond) {
		t.Error("a limit has no timer")
	}
}

// A forced trip takes an inverter out until it is over, and its bus was sound for long
// enough; a derated one gives less.
func TestAForcedTripAndDerating(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0, reconnect_s: 60, reconnect_ramp_s: 0}")
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 100, 0)
	set(t, p, "pv", "derate_pct", 30)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 70, 0)
	set(t, p, "pv", "derate_pct", 0)
	set(t, p, "pv", "forced_trip", 1)
	steps(p, 100)
	expect(t, p, "pv", "power_kw", 0, 0)
	expect(t, p, "pv", "tripped", 1, 0)
	expect(t, p, "pv", "in_service", 0, 0)
	set(t, p, "pv", "forced_trip", 0)
	steps(p, 59)
	expect(t, p, "pv", "power_kw", 0, 0)
	expect(t, p, "pv", "tripped", 0, 0)
	steps(p, 2)
	expect(t, p, "pv", "power_kw", 100, 0)
}

// A power factor and a reactive power go back to none unless they are written again in
// time, and so they do while the converter forms its bus.
func TestReactivePowerReverts(t *testing.T) {
	t.Parallel()
	p := newPlant(t, sunnyPV, "battery {capacity_kwh: 400, rated_kw: 100, grid_forming: true}")
	for _, c := range []struct {
		id, name, factor string
		value, want      float64
	}{
		{"pv", "reactive_power", "reactive_power_pct", 50, 22}, {"pv", "power_factor", "power_factor", 0.95, 32.86841},
		{"battery", "reactive_power", "reactive_power_pct", -50, -22},
	} {
		write(t, p, c.id, c.name+"_revert_s", 10)
		write(t, p, c.id, c.factor, c.value)
		write(t, p, c.id, c.name+"_enabled", 1)
		steps(p, 8)
		write(t, p, c.id, c.factor, c.value) // the same again, which starts the timer again
		steps(p, 10)
		expect(t, p, c.id, c.name+"_active", 1, 0)
		expect(t, p, c.id, "reactive_power_kvar", c.want, 1e-5)
		steps(p, 1)
		expect(t, p, c.id, c.name+"_active", 0, 0)
		expect(t, p, c.id, "reactive_power_kvar", 0, 0)
		write(t, p, c.id, c.name+"_enabled", 1)
		steps(p, 1)
		expect(t, p, c.id, "reactive_power_kvar", c.want, 1e-5)
		write(t, p, c.id, c.name+"_enabled", 0)
		steps(p, 1)
		expect(t, p, c.id, c.name+"_active", 0, 0)
	}
}
