package plant

import (
	"strings"
	"testing"
)

const largeTank = "genset {rated_kw: 100, fuel_tank_l: 100000, ramp_kw_per_s: 100, crank_s: 3, crank_rest_s: 2, crank_attempts: 3, warm_up_s: 10, cool_down_s: 5}"

// run starts the genset of a plant in steps of a second.
func run(t *testing.T, p *Plant) {
	t.Helper()
	write(t, p, "genset", "run", 1)
	until(t, p, "genset", "state", float64(gensetRunning), 60)
}

func TestCranksThatFail(t *testing.T) {
	t.Parallel()
	p := newPlant(t, largeTank, steadyLoad)
	set(t, p, "genset", "failed_cranks", 2)
	write(t, p, "genset", "run", 1)
	if got := states(t, p, 30); got != "1:1 4:2 6:1 9:2 11:1 14:3 24:4" {
		t.Errorf("it went %s", got)
	}
	expect(t, p, "genset", "starts", 1, 0)
	// Each attempt may fail by chance, too.
	fired := 0
	p = newPlant(t, strings.Replace(largeTank, "crank_s: 3, crank_rest_s: 2, crank_attempts: 3", "crank_s: 1, crank_attempts: 1, crank_failure_pct: 50", 1), steadyLoad)
	for range 100 {
		write(t, p, "genset", "run", 1)
		steps(p, 2)
		fired += int(1 - value(t, p, "genset", "fault"))
		if value(t, p, "genset", "fault") == 1 {
			expect(t, p, "genset", "trip_cause", float64(gensetNotStarted), 0)
		}
		write(t, p, "genset", "run", 0)
		steps(p, 1)
	}
	if fired < 35 || fired > 65 {
		t.Errorf("%d of 100 attempts fired", fired)
	}
}

func TestAnEmptyStarterBatteryDoesNotCrank(t *testing.T) {
	t.Parallel()
	p := newPlant(t, largeTank, steadyLoad)
	steps(p, 1)
	expect(t, p, "genset", "battery_voltage_v", 27.24, 1e-9)
	set(t, p, "genset", "start_blocked", 1)
	set(t, p, "genset", "battery_charger_failed", 1)
	for range 30 {
		write(t, p, "genset", "run", 1)
		steps(p, 20)
		write(t, p, "genset", "run", 0)
		steps(p, 2)
	}
	expect(t, p, "genset", "battery_low", 1, 0)
	set(t, p, "genset", "start_blocked", 0)
	write(t, p, "genset", "run", 1)
	until(t, p, "genset", "fault", 1, 60)
	expect(t, p, "genset", "starts", 0, 0)
	write(t, p, "genset", "run", 0)
	set(t, p, "genset", "battery_charger_failed", 0)
	steps(p, 3600)
	run(t, p)
}

// A set with little load fills its exhaust, and one with much burns it clean.
func TestWetStacking(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, strings.Replace(plantText(strings.Replace(largeTank, "rated_kw", "service_interval_h: 12, rated_kw", 1), steadyLoad), "step: 1s", "step: 10s", 1)))
	write(t, p, "genset", "power_setpoint_kw", 15)
	run(t, p)
	steps(p, 360*9)
	expect(t, p, "genset", "low_load", 1, 0)
	expect(t, p, "genset", "wet_stacking_pct", 9*6.25, 0.5)
	expect(t, p, "genset", "wet_stacking_alarm", 1, 0)
	write(t, p, "genset", "power_setpoint_kw", 60)
	steps(p, 360)
	expect(t, p, "genset", "wet_stacking_pct", 9*6.25, 0.5)
	write(t, p, "genset", "power_setpoint_kw", 90)
	steps(p, 360)
	expect(t, p, "genset", "wet_stacking_pct", 9*6.25-50, 0.6)
	expect(t, p, "genset", "wet_stacking_alarm", 0, 0)
	expect(t, p, "genset", "service_due_h", 12-value(t, p, "genset", "running_time_h"), 1e-9)
	steps(p, 360*2)
	expect(t, p, "genset", "service_due", 1, 0)
	write(t, p, "genset", "service_done", 1)
	steps(p, 1)
	expect(t, p, "genset", "service_due_h", 12, 0)
}

// A trip stays until it is reset, whatever the run control does.
func TestGensetTrips(t *testing.T) {
	t.Parallel()
	for input, c := range map[string]struct {
		to    float64
		cause gensetCause
		ticks int
	}{
		"oil_pressure_loss_pct": {90, gensetOilLow, 2},
		"coolant_rise_c":        {40, gensetCoolantHigh, 600},
		"overspeed_pct":         {20, gensetOverspeed, 2},
		"emergency_stop":        {1, gensetEmergencyStop, 1},
	} {
		p := newPlant(t, largeTank, steadyLoad)
		run(t, p)
		steps(p, 10)
		expect(t, p, "genset", "oil_pressure_bar", 5, 1)
		set(t, p, "genset", input, c.to)
		until(t, p, "genset", "fault", 1, c.ticks)
		expect(t, p, "genset", "trip_cause", float64(c.cause), 0)
		expect(t, p, "genset", "power_kw", 0, 0)
		write(t, p, "genset", "run", 0)
		set(t, p, "genset", input, 0)
		steps(p, 600)
		expect(t, p, "genset", "fault", 1, 0)
		write(t, p, "genset", "reset", 1)
		steps(p, 1)
		expect(t, p, "genset", "state", float64(gensetStopped), 0)
		run(t, p)
		set(t, p, "genset", input, c.to) // the control that is still there resets nothing
		until(t, p, "genset", "fault", 1, c.ticks+5)
		steps(p, 5)
		expect(t, p, "genset", "fault", 1, 0)
	}
}

// A set waits until it is in step with a live bus, and closes onto a dead one at once.
func TestAGensetSynchronizes(t *testing.T) {
	t.Parallel()
	p := newPlant(t, largeTank, steadyLoad)
	set(t, p, "grid", "frequency_hz", 51.5)
	write(t, p, "genset", "run", 1)
	steps(p, 13)
	if got := states(t, p, 5); got != "1:7 3:4" {
		t.Errorf("it went %s", got)
	}
	expect(t, p, "genset", "speed_rpm", 1500*51.5/50, 10)

	p = newPlant(t, largeTank, steadyLoad)
	set(t, p, "genset", "synchronizer_failed", 1)
	write(t, p, "genset", "run", 1)
	if got := states(t, p, 100); got != "1:1 4:3 14:7 74:6" {
		t.Errorf("it went %s", got)
	}
	expect(t, p, "genset", "trip_cause", float64(gensetNotInStep), 0)
	set(t, p, "grid", "available", 0)
	write(t, p, "genset", "run", 0)
	steps(p, 2)
	run(t, p)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 50, 0)
}

// A set that the surplus of its island drives with more than its friction takes burns
// nothing, fills no tank, and its counter does not run backwards.
func TestASetThatIsDrivenFillsNoTank(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad, "genset {rated_kw: 120, fuel_tank_l: 1000}", islandBattery)
	set(t, p, "grid", "available", 0)
	write(t, p, "genset", "run", 1)
	steps(p, 2500)
	write(t, p, "battery", "grid_forming", 0)
	write(t, p, "battery", "power_setpoint_kw", 40)
	set(t, p, "load", "base_kw", 45)
	steps(p, 100)
	set(t, p, "load", "base_kw", 1)
	energy, fuel, driven := value(t, p, "genset", "energy_kwh"), value(t, p, "genset", "fuel_level_pct"), value(t, p, "genset", "energy_consumed_kwh")
	before := driven
	for range 10 {
		steps(p, 1)
		more, left := value(t, p, "genset", "energy_kwh"), value(t, p, "genset", "fuel_level_pct")
		if rate := value(t, p, "genset", "fuel_rate_l_per_h"); more < energy || left > fuel || rate != 0 {
			t.Fatalf("energy %v after %v kWh, fuel %v after %v %%, at %v kW", more, energy, left, fuel, value(t, p, "genset", "power_kw"))
		}
		energy, fuel, driven = more, left, driven-min(0, value(t, p, "genset", "power_kw"))/36000
	}
	if driven == before {
		t.Fatal("nothing drove it")
	}
	expect(t, p, "genset", "energy_consumed_kwh", driven, 1e-9)
}

// A set that its island drives with more than 10 % of its rating for 3 s leaves it: ANSI 32.
func TestASetThatIsDrivenTrips(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad, "genset {rated_kw: 120, fuel_tank_l: 1000}", "pv {dc_rated_kw: 150, inverter_rated_kw: 100, cloud_cover_pct: 0}")
	write(t, p, "pv", "power_limit_pct", 40)
	write(t, p, "pv", "frequency_watt_enabled", 0)
	write(t, p, "genset", "run", 1)
	write(t, p, "genset", "power_setpoint_kw", 5)
	until(t, p, "genset", "running", 1, 300)
	set(t, p, "load", "base_kw", 45)
	steps(p, 100)
	set(t, p, "grid", "available", 0)
	steps(p, 100)
	set(t, p, "load", "base_kw", 29)
	steps(p, 300)
	expect(t, p, "genset", "power_kw", -11, 0)
	expect(t, p, "genset", "running", 1, 0)
	set(t, p, "load", "base_kw", 27)
	steps(p, 30)
	expect(t, p, "genset", "power_kw", -13, 0)
	steps(p, 1)
	expect(t, p, "genset", "trip_cause", float64(gensetReversePower), 0)
	expect(t, p, "genset", "reverse_power_trip", 1, 0)
	expect(t, p, "genset", "power_kw", 0, 0)
	expect(t, p, "load", "supplied", 0, 0) // nothing else forms the island
	write(t, p, "genset", "run", 0)
	steps(p, 1)
	expect(t, p, "genset", "state", float64(gensetStopped), 0)
	expect(t, p, "genset", "reverse_power_trip", 0, 0)
	write(t, p, "genset", "run", 1)
	steps(p, 200)
	expect(t, p, "load", "power_kw", 27, 0)
}
