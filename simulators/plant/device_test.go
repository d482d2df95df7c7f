package plant

import (
	"fmt"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/simulators/physics"
)

// newPlant builds a plant of the devices given and a grid, without noise and
// impedance, at noon of midsummer. Steps are of one second.
func newPlant(t testing.TB, devices ...string) *Plant {
	t.Helper()
	return New(mustRead(t, plantText(devices...)))
}

func plantText(devices ...string) string {
	text := `
name: test
seed: 1
start: 2026-06-21T12:00:00Z
step: 1s
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:5020
devices:
  - {id: grid, type: grid, listen: "127.0.0.1:5025", profile: p.yaml, parameters: {voltage_noise_pct: 0, frequency_noise_hz: 0, short_circuit_power_mva: 100000}}
`
	for i, one := range devices {
		kind, parameters, _ := strings.Cut(one, " ")
		text += fmt.Sprintf("  - {id: %s, type: %s, listen: \"127.0.0.1:%d\", profile: p.yaml, parameters: %s}\n", kind, kind, 5030+i, parameters)
	}
	return text
}

func expect(t *testing.T, p *Plant, id, name string, want, tolerance float64) {
	t.Helper()
	near(t, id+" "+name, value(t, p, id, name), want, tolerance)
}

const steadyLoad = "load {base_kw: 50, maximum_kw: 200, noise_pct: 0, power_factor: 1, hourly_pct: [100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100]}"

// idealCells have a voltage that never changes, so that charge and energy are in
// proportion, and do not age.
const idealCells = "cell_voltage_full_v: 3.2, cell_voltage_exponential_v: 3.2, cell_voltage_nominal_v: 3.2, cycle_life: 0, calendar_life_years: 0, "

// The case is that of OpenEMS's SimulatorEssSymmetricReacting test: 10 kWh at
// 50 %, charged with 10 kW for 15 minutes, then discharged with 10 kW for 30.
func TestBatteryCapacity(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {"+idealCells+"capacity_kwh: 10, rated_kw: 10, ramp_kw_per_s: 1000000, charge_efficiency_pct: 100, discharge_efficiency_pct: 100, state_of_charge_min_pct: 0, state_of_charge_max_pct: 100}")
	write(t, p, "battery", "power_setpoint_kw", -10)
	steps(p, 15*60)
	expect(t, p, "battery", "state_of_charge_pct", 75, 1e-9)
	expect(t, p, "battery", "energy_charged_kwh", 2.5, 0)
	expect(t, p, "grid", "energy_imported_kwh", 2.5, 0)
	write(t, p, "battery", "power_setpoint_kw", 10)
	steps(p, 30*60)
	expect(t, p, "battery", "state_of_charge_pct", 25, 1e-9)
	expect(t, p, "battery", "energy_discharged_kwh", 5, 0)
	expect(t, p, "grid", "energy_exported_kwh", 5, 0)
}

func TestBatteryEfficiencyRampAndTerminal(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 100, rated_kw: 50, ramp_kw_per_s: 20, charge_efficiency_pct: 90, discharge_efficiency_pct: 80, nominal_voltage_v: 1000, resistance_ohm: 0.1}")
	stored := value0(p)
	write(t, p, "battery", "power_setpoint_kw", 40)
	for _, want := range []float64{20, 40, 40} {
		steps(p, 1)
		expect(t, p, "battery", "power_kw", want, 0)
	}
	stored -= (20.0 + 40 + 40) / 0.8 / 3600
	expect(t, p, "battery", "stored_energy_kwh", stored, 1e-9)
	expect(t, p, "battery", "discharging", 1, 0)
	open := value(t, p, "battery", "voltage_v") + value(t, p, "battery", "current_a")*0.1
	expect(t, p, "battery", "current_a", 40/0.8*1000/open, 1e-9)
	write(t, p, "battery", "power_setpoint_kw", -10)
	steps(p, 3)
	expect(t, p, "battery", "power_kw", -10, 0)
	stored += -20/0.8/3600 - 0/0.8/3600 + 10*0.9/3600
	expect(t, p, "battery", "stored_energy_kwh", stored, 1e-9)
	write(t, p, "battery", "run", 0)
	steps(p, 1)
	expect(t, p, "battery", "power_kw", 0, 0)
	expect(t, p, "battery", "state", batteryStopped, 0)
	expect(t, p, "battery", "available_charge_kw", 0, 0)
}

func TestBatteryDeratesAndStopsAtItsLimits(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {"+idealCells+"capacity_kwh: 10, rated_kw: 100, ramp_kw_per_s: 1000, initial_state_of_charge_pct: 50, state_of_charge_min_pct: 10, state_of_charge_max_pct: 90, derate_band_pct: 10, charge_efficiency_pct: 100, discharge_efficiency_pct: 100}")
	write(t, p, "battery", "power_setpoint_kw", 100)
	derated := false
	for range 3600 {
		steps(p, 1)
		soc := value(t, p, "battery", "state_of_charge_pct")
		if soc < 10 {
			t.Fatalf("state of charge %v is below its limit", soc)
		}
		if soc > 10.5 && soc < 19 {
			power := value(t, p, "battery", "power_kw")
			before := soc + power/3600/10*100
			near(t, "derated power", power, (before-10)/10*100, 1e-5)
			derated = derated || value(t, p, "battery", "derated") == 1
		}
	}
	if !derated {
		t.Error("the band was never reached")
	}
	expect(t, p, "battery", "state_of_charge_pct", 10, 0.01)
	set(t, p, "battery", "self_discharge_kw", 1e6)
	steps(p, 1)
	expect(t, p, "battery", "state_of_charge_pct", 0, 0)
	set(t, p, "battery", "self_discharge_kw", 0)
	write(t, p, "battery", "power_setpoint_kw", -100)
	steps(p, 3600)
	expect(t, p, "battery", "state_of_charge_pct", 90, 0.01)
}

func TestCellTemperatureRiseShowsAtTheNextTickAndTrips(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 200, rated_kw: 100, room_temperature_c: 25, cell_temperature_trip_c: 70}", steadyLoad)
	steps(p, 5)
	expect(t, p, "battery", "cell_temperature_max_c", 25, 0)
	set(t, p, "battery", "cell_temperature_rise_c", 35)
	steps(p, 1)
	expect(t, p, "battery", "cell_temperature_max_c", 60, 0)
	expect(t, p, "battery", "running", 1, 0)
	set(t, p, "battery", "cell_temperature_rise_c", 50)
	write(t, p, "battery", "power_setpoint_kw", 20)
	steps(p, 2)
	expect(t, p, "battery", "state", batteryFault, 0)
	expect(t, p, "battery", "fault", 1, 0)
	expect(t, p, "battery", "power_kw", 0, 0)
	set(t, p, "battery", "cell_temperature_rise_c", 42)
	steps(p, 2)
	expect(t, p, "battery", "fault", 1, 0) // 67 C is within the hysteresis
	set(t, p, "battery", "cell_temperature_rise_c", 0)
	steps(p, 2)
	expect(t, p, "battery", "fault", 0, 0)
	expect(t, p, "battery", "power_kw", 20, 0)
}

func TestBatteryWarmsUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 1000, rated_kw: 100, ramp_kw_per_s: 1000, nominal_voltage_v: 500, resistance_ohm: 0.2, heat_capacity_kj_per_k: 100, cooling_kw_per_k: 1, discharge_efficiency_pct: 100}")
	write(t, p, "battery", "power_setpoint_kw", 100)
	steps(p, 1200)
	current := value(t, p, "battery", "current_a")
	// With a time constant of 100 s the cells follow the slow fall of the voltage.
	near(t, "mean above room", value(t, p, "battery", "cell_temperature_mean_c")-25, current*current*0.2/1000, 0.02)
	expect(t, p, "battery", "cell_temperature_max_c", value(t, p, "battery", "cell_temperature_mean_c")+cellSpreadC, 1e-9)
}

func TestChargingMovesTheMeter(t *testing.T) {
	t.Parallel()
	p := newPlant(t, steadyLoad, "battery {capacity_kwh: 200, rated_kw: 100}")
	steps(p, 1)
	expect(t, p, "grid", "power_kw", 50, 0)
	expect(t, p, "grid", "voltage_v", 400, 1e-3)
	expect(t, p, "grid", "import_alarm", 0, 0)
	write(t, p, "battery", "power_setpoint_kw", -25)
	write(t, p, "grid", "import_alarm_kw", 70)
	steps(p, 1)
	expect(t, p, "grid", "power_kw", 75, 0)
	expect(t, p, "grid", "import_alarm", 1, 0)
	write(t, p, "battery", "power_setpoint_kw", 75)
	steps(p, 5)
	expect(t, p, "grid", "power_kw", -25, 0)
	expect(t, p, "grid", "exporting", 1, 0)
}

func TestPVFollowsItsLimit(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "pv {dc_rated_kw: 200, inverter_rated_kw: 100, cloud_cover_pct: 0}")
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 100, 0) // the array is larger than the inverter
	expect(t, p, "pv", "irradiance_w_per_m2", physics.ClearSky(value(t, p, "pv", "sun_elevation_deg")), 1e-9)
	expect(t, p, "grid", "power_kw", -100, 0)
	write(t, p, "pv", "power_limit_pct", 30)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 30, 0)
	expect(t, p, "pv", "available_power_kw", 100, 0)
	expect(t, p, "pv", "curtailed", 1, 0)
	write(t, p, "pv", "power_limit_pct", 100)
	set(t, p, "pv", "cloud_cover_pct", 100)
	steps(p, 1)
	expect(t, p, "pv", "irradiance_w_per_m2", physics.ClearSky(value(t, p, "pv", "sun_elevation_deg"))/4, 1e-9)
	write(t, p, "pv", "enabled", 0)
	steps(p, 1)
	expect(t, p, "pv", "power_kw", 0, 0)
	expect(t, p, "pv", "running", 0, 0)
	steps(p, 12*3600)
	for _, name := range []string{"available_power_kw", "dc_power_kw", "dc_voltage_v", "irradiance_w_per_m2", "daylight"} {
		expect(t, p, "pv", name, 0, 0)
	}
}

func TestCloudsWander(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "pv {dc_rated_kw: 100, inverter_rated_kw: 100, cloud_cover_pct: 50}")
	least, most := 1.0, 0.0
	for range 3600 {
		steps(p, 1)
		part := value(t, p, "pv", "irradiance_w_per_m2") / physics.ClearSky(value(t, p, "pv", "sun_elevation_deg"))
		least, most = min(least, part), max(most, part)
		if part < 0.25-1e-9 || part > 1+1e-9 {
			t.Fatalf("clouds let %v through", part)
		}
	}
	if most-least < 0.05 {
		t.Errorf("clouds moved from %v to %v only", least, most)
	}
}

func TestLoadObeysItsControls(t *testing.T) {
	t.Parallel()
	p := newPlant(t, strings.Replace(steadyLoad, "power_factor: 1", "power_factor: 0.8, non_critical_pct: 40", 1))
	steps(p, 1)
	expect(t, p, "load", "power_kw", 50, 0)
	expect(t, p, "load", "reactive_power_kvar", 37.5, 1e-6)
	expect(t, p, "grid", "reactive_power_kvar", 37.5, 1e-6)
	expect(t, p, "grid", "current_a", 62.5e3/(1.7320508075688772*400), 1e-3)
	write(t, p, "load", "non_critical_connected", 0)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 30, 0)
	expect(t, p, "load", "non_critical_open", 1, 0)
	write(t, p, "load", "demand_limit_kw", 12)
	steps(p, 1)
	expect(t, p, "load", "demand_kw", 12, 0)
	set(t, p, "load", "base_kw", 10)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 6, 0)
}

const quickGenset = "genset {rated_kw: 100, fuel_tank_l: 100, ramp_kw_per_s: 20, crank_s: 3, crank_rest_s: 2, crank_attempts: 2, warm_up_s: 4, cool_down_s: 5}"

// states returns the states that a genset goes through with the tick at which
// it enters each, for a number of ticks.
func states(t *testing.T, p *Plant, ticks int) string {
	t.Helper()
	var seen []string
	last := -1.0
	for tick := 1; tick <= ticks; tick++ {
		steps(p, 1)
		if state := value(t, p, "genset", "state"); state != last {
			seen = append(seen, fmt.Sprintf("%d:%v", tick, state))
			last = state
		}
	}
	return strings.Join(seen, " ")
}

func TestGensetStartsRunsAndStops(t *testing.T) {
	t.Parallel()
	p := newPlant(t, quickGenset, steadyLoad)
	write(t, p, "genset", "run", 1)
	if got := states(t, p, 20); got != "1:1 4:3 8:7 9:4" {
		t.Errorf("start went %s", got)
	}
	expect(t, p, "genset", "power_kw", 50, 0) // its initial setpoint, half its rating
	expect(t, p, "grid", "power_kw", 0, 0)
	expect(t, p, "genset", "fuel_rate_l_per_h", 15.5, 1e-9)
	expect(t, p, "genset", "speed_rpm", 1500, 0.1)
	write(t, p, "genset", "power_setpoint_kw", 100)
	steps(p, 2)
	expect(t, p, "genset", "power_kw", 90, 0)
	steps(p, 3600)
	expect(t, p, "genset", "coolant_temperature_c", 85, 0.1)
	fuel := value(t, p, "genset", "fuel_level_pct")
	steps(p, 900)
	near(t, "fuel of a quarter of an hour", fuel-value(t, p, "genset", "fuel_level_pct"), 7, 1e-6)
	write(t, p, "genset", "run", 0)
	if got := states(t, p, 20); got != "1:4 6:5 11:0" {
		t.Errorf("stop went %s", got)
	}
	expect(t, p, "genset", "power_kw", 0, 0)
	expect(t, p, "genset", "speed_rpm", 0, 1)
	expect(t, p, "genset", "fuel_rate_l_per_h", 0, 0)
}

func TestGensetThatDoesNotFireFails(t *testing.T) {
	t.Parallel()
	p := newPlant(t, quickGenset, steadyLoad)
	set(t, p, "genset", "start_blocked", 1)
	write(t, p, "genset", "run", 1)
	if got := states(t, p, 30); got != "1:1 4:2 6:1 9:6" {
		t.Errorf("start went %s", got)
	}
	expect(t, p, "genset", "fault", 1, 0)
	set(t, p, "genset", "start_blocked", 0)
	steps(p, 10)
	expect(t, p, "genset", "fault", 1, 0)
	write(t, p, "genset", "run", 0)
	steps(p, 1)
	expect(t, p, "genset", "state", 0, 0)
	write(t, p, "genset", "run", 1)
	if got := states(t, p, 10); got != "1:1 4:3 8:7 9:4" {
		t.Errorf("second start went %s", got)
	}
	set(t, p, "genset", "fuel_leak_l_per_h", 1e6)
	steps(p, 2)
	expect(t, p, "genset", "fuel_level_pct", 0, 0)
	expect(t, p, "genset", "fault", 1, 0)
	expect(t, p, "genset", "power_kw", 0, 0)
	expect(t, p, "grid", "power_kw", 50, 0)
	set(t, p, "genset", "fuel_leak_l_per_h", 0)
	set(t, p, "genset", "fuel_refill_l_per_h", 3600*5)
	steps(p, 4)
	expect(t, p, "genset", "fuel_level_pct", 20, 1e-9)
}
