package plant

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// What the DC side shows is the curve of a cell times how many there are.
func TestRacksAndCells(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 200, rated_kw: 100, ramp_kw_per_s: 1000, racks: 4, modules_per_rack: 14, cells_per_module: 16, resistance_ohm: 0, discharge_efficiency_pct: 100}")
	steps(p, 1)
	curve := physics.Cell{FullV: 4.1, ExponentialV: 4.05, NominalV: 3.4, CapacityAh: 2.25, ExponentialAh: 0.04, NominalAh: 2}.Curve()
	cell := curve.OpenCircuit(0.5 * usedPart * 2.25)
	expect(t, p, "battery", "state_of_charge_pct", 50, 1e-6)
	expect(t, p, "battery", "voltage_v", 224*cell, 1e-6)
	expect(t, p, "battery", "rack_voltage_v", 224*cell, 1e-6)
	expect(t, p, "battery", "module_voltage_v", 16*cell, 1e-6)
	expect(t, p, "battery", "cell_voltage_mean_v", cell, 1e-9)
	expect(t, p, "battery", "cell_voltage_max_v", cell+0.005, 1e-9)
	expect(t, p, "battery", "cell_voltage_min_v", cell-0.005, 1e-9)
	for name, want := range map[string]float64{"racks": 4, "modules_per_rack": 14, "cells_per_module": 16} {
		expect(t, p, "battery", name, want, 0)
	}
	write(t, p, "battery", "power_setpoint_kw", 100)
	steps(p, 1)
	expect(t, p, "battery", "rack_current_a", value(t, p, "battery", "current_a")/4, 1e-9)
	expect(t, p, "battery", "current_a", 100e3/value(t, p, "battery", "voltage_v"), 1e-6)
	expect(t, p, "battery", "dc_power_kw", 100, 1e-9)
	expect(t, p, "battery", "actual_power_factor", 1, 0)
}

// Cells that cannot be are named.
func TestCellsAreChecked(t *testing.T) {
	t.Parallel()
	for parameters, want := range map[string]string{
		"cell_voltage_exponential_v: 4.2":          "key \"devices[1].parameters.cell_voltage_exponential_v\": 4.2 is above cell_voltage_full_v (4.1)",
		"cell_voltage_nominal_v: 4.08":             "key \"devices[1].parameters.cell_voltage_nominal_v\": 4.08 is above cell_voltage_exponential_v (4.05)",
		"cell_voltage_max_v: 4, resistance_ohm: 0": "key \"devices[1].parameters.cell_voltage_max_v\": 4 is below the voltage of a full cell (4.100)",
		"cell_voltage_min_v: 3, resistance_ohm: 0": "key \"devices[1].parameters.cell_voltage_min_v\": 3 is above the voltage of an empty cell (2.506)",
		"racks: 0":               "key \"devices[1].parameters.racks\": 0 is out of range: use 1 to 1000",
		"apparent_power_kva: 99": "key \"devices[1].parameters.apparent_power_kva\": 99 is out of range: use 100 to 200",
		"priority: both":         "key \"devices[1].parameters.priority\": \"both\" is unknown: use one of reactive, active",
	} {
		var faults document.Faults
		ReadDefinition("plant.yaml", []byte(plantText("battery {capacity_kwh: 400, rated_kw: 100, "+parameters+"}")), Addresses{}, &faults)
		if err := faults.Err(); err == nil || err.Error() != "plant.yaml:10: "+want {
			t.Errorf("%s: %v\nwant %s", parameters, err, want)
		}
	}
}

// The currents that went in and out add up to the charge that is gone.
func TestCoulombsAreCounted(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 100, rated_kw: 50, ramp_kw_per_s: 1000, initial_state_of_charge_pct: 80, cycle_life: 0, calendar_life_years: 0}")
	steps(p, 1)
	before, counted := value(t, p, "battery", "charge_ah"), 0.0
	for tick := range 6000 {
		if tick%1500 == 0 {
			write(t, p, "battery", "power_setpoint_kw", []float64{50, -20, 35, 10}[tick/1500])
		}
		steps(p, 1)
		counted -= value(t, p, "battery", "current_a") / 3600
	}
	near(t, "charge", value(t, p, "battery", "charge_ah"), before+counted, 1e-3)
	if counted > -40 {
		t.Errorf("only %v Ah went out", -counted)
	}
}

// What is stored is what was, and what came in less what went out and was lost, over any
// operation.
func TestTheEnergyOfABatteryIsConserved(t *testing.T) {
	t.Parallel()
	p := newMicrogrid(t, 4)
	p.Step(time.Time{})
	first := value(t, p, "battery", "stored_energy_kwh")
	random := rand.New(rand.NewPCG(4, 4))
	least, most := 100.0, 0.0
	for tick := range 6_000 {
		if tick%5 == 0 {
			operate(t, p, random)
			set(t, p, "battery", "forced_trip", 0)
			set(t, p, "battery", "derate_pct", 0)
			set(t, p, "battery", "self_discharge_kw", []float64{0, 0, 0, 10}[tick/100%4])
		}
		if tick%100 == 0 {
			set(t, p, "battery", "cell_temperature_rise_c", 0)
			write(t, p, "battery", "run", 1)
			write(t, p, "battery", "reset", 1)
			write(t, p, "battery", "power_setpoint_kw", []float64{-90, 80, -70, 95}[tick/1500])
		}
		p.Step(time.Time{})
		stored := value(t, p, "battery", "stored_energy_kwh")
		balance := first + value(t, p, "battery", "energy_charged_kwh") - value(t, p, "battery", "energy_discharged_kwh") - value(t, p, "battery", "energy_losses_kwh")
		if math.Abs(stored-balance) > 1e-9 {
			t.Fatalf("tick %d: %v kWh stored, %v by the counters", tick, stored, balance)
		}
		least, most = min(least, value(t, p, "battery", "state_of_charge_pct")), max(most, value(t, p, "battery", "state_of_charge_pct"))
	}
	if least > 49 || most < 53 || value(t, p, "battery", "energy_losses_kwh") < 0.2 || value(t, p, "battery", "energy_charged_kwh") < 0.2 {
		t.Errorf("from %v to %v %%, %v kWh in, %v kWh lost", least, most, value(t, p, "battery", "energy_charged_kwh"), value(t, p, "battery", "energy_losses_kwh"))
	}
}

func TestTemperatureDeratesABattery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ room, rise, charge, discharge float64 }{
		{25, 0, 100, 100}, {25, 40, 50, 50}, {5, 0, 50, 100}, {0, 0, 0, 100}, {-5, 0, 0, 100}, {-10, 0, 0, 50},
	} {
		p := newPlant(t, "battery {capacity_kwh: 400, rated_kw: 100}")
		b := p.member("battery").device.(*battery)
		b.CellC = c.room
		set(t, p, "battery", "room_temperature_c", c.room)
		set(t, p, "battery", "cell_temperature_rise_c", c.rise)
		steps(p, 1)
		expect(t, p, "battery", "available_charge_kw", c.charge, 1e-6)
		expect(t, p, "battery", "available_discharge_kw", c.discharge, 1e-6)
	}
	slow := newPlant(t, "battery {capacity_kwh: 400, rated_kw: 100, charge_rate_max_per_h: 0.1, discharge_rate_max_per_h: 0.2}")
	steps(slow, 1)
	expect(t, slow, "battery", "available_charge_kw", 40, 1e-4)
	expect(t, slow, "battery", "available_discharge_kw", 80, 1e-4)
}

// Each protection has an alarm before its trip; a trip opens the contactor and waits for
// its reset, unless the temperature made it.
func TestTheBMSProtectsTheCells(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parameters  string
		alarm, trip func(*testing.T, *Plant)
		healthy     func(*testing.T, *Plant)
		resets      bool
	}{
		"cell_over_voltage": {
			"initial_state_of_charge_pct: 99.9, resistance_ohm: 0",
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_voltage_spread_mv", 300) },
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_voltage_spread_mv", 450) },
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_voltage_spread_mv", 10) }, true,
		},
		"cell_under_voltage": {
			"initial_state_of_charge_pct: 0",
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_voltage_spread_mv", 200) },
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_voltage_spread_mv", 350) },
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_voltage_spread_mv", 10) }, true,
		},
		"cell_over_temperature": {
			"",
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_temperature_rise_c", 36) },
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_temperature_rise_c", 46) },
			func(t *testing.T, p *Plant) { set(t, p, "battery", "cell_temperature_rise_c", 0) }, false,
		},
		"cell_under_temperature": {
			"",
			func(_ *testing.T, p *Plant) { p.member("battery").device.(*battery).CellC = -12 },
			func(_ *testing.T, p *Plant) { p.member("battery").device.(*battery).CellC = -16 },
			func(_ *testing.T, p *Plant) { p.member("battery").device.(*battery).CellC = 0 }, false,
		},
		"overcurrent": {
			"ramp_kw_per_s: 1000, current_max_a: 100",
			func(t *testing.T, p *Plant) { write(t, p, "battery", "power_setpoint_kw", 70) },
			func(t *testing.T, p *Plant) { write(t, p, "battery", "power_setpoint_kw", 90) },
			func(t *testing.T, p *Plant) { write(t, p, "battery", "power_setpoint_kw", 0) }, true,
		},
	} {
		p := newPlant(t, "battery {capacity_kwh: 400, rated_kw: 100, "+c.parameters+"}")
		is := func(quantity string, want float64) {
			t.Helper()
			if got := value(t, p, "battery", quantity); got != want {
				t.Errorf("%s: %s is %v", name, quantity, got)
			}
		}
		steps(p, 2)
		is("alarm", 0)
		is("contactor_closed", 1)
		c.alarm(t, p)
		steps(p, 3)
		is(name+"_alarm", 1)
		is("alarm", 1)
		is("fault", 0)
		c.trip(t, p)
		steps(p, 3)
		is(name+"_trip", 1)
		is("state", batteryFault)
		is("power_kw", 0)
		is("contactor_closed", 0)
		is("dc_link_voltage_v", 0)
		c.healthy(t, p)
		steps(p, 3)
		is("fault", flag(c.resets))
		write(t, p, "battery", "reset", 1)
		steps(p, 2)
		is("fault", 0)
		is("alarm", 0)
		is("running", 1)
		is("contactor_closed", 1)
	}
}

// A contactor that is welded stays closed, and says so.
func TestAWeldedContactor(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 400, rated_kw: 100}")
	steps(p, 1)
	set(t, p, "battery", "contactor_welded", 1)
	write(t, p, "battery", "run", 0)
	steps(p, 2)
	expect(t, p, "battery", "contactor_closed", 1, 0)
	expect(t, p, "battery", "contactor_fault", 1, 0)
	expect(t, p, "battery", "dc_link_voltage_v", value(t, p, "battery", "voltage_v"), 0)
	set(t, p, "battery", "contactor_welded", 0)
	steps(p, 1)
	expect(t, p, "battery", "contactor_closed", 0, 0)
	expect(t, p, "battery", "contactor_fault", 0, 0)
	set(t, p, "battery", "contactor_welded", 1) // while it is open: it has nothing to hold
	steps(p, 1)
	expect(t, p, "battery", "contactor_closed", 0, 0)
}

// Cycles and years cost capacity, and full cells then hold less.
func TestABatteryAges(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 10, rated_kw: 10, ramp_kw_per_s: 1000, initial_state_of_charge_pct: 90, cycle_life: 100, calendar_life_years: 0, state_of_health_pct: 95}")
	write(t, p, "battery", "power_setpoint_kw", 5)
	steps(p, 3600)
	expect(t, p, "battery", "cycles", 0.25, 1e-9)
	expect(t, p, "battery", "state_of_health_pct", 95-20*0.25/100, 1e-9)
	expect(t, p, "battery", "capacity_kwh", 9.5-2*0.25/100, 1e-9)
	old := newPlant(t, "battery {capacity_kwh: 10, rated_kw: 10, cycle_life: 0, calendar_life_years: 1, initial_state_of_charge_pct: 100, room_temperature_c: 35}")
	stored := value0(old)
	steps(old, 3600)
	lost := 0.2 / 8766 * 2
	expect(t, old, "battery", "state_of_health_pct", 100*(1-lost), 1e-9)
	expect(t, old, "battery", "state_of_charge_pct", 100, 0)
	expect(t, old, "battery", "energy_losses_kwh", stored*lost, 1e-9)
}

const followingBattery = "battery {capacity_kwh: 400, rated_kw: 100, ramp_kw_per_s: 1000, grid_forming: false, reconnect_s: 30, reconnect_ramp_s: 0}"

// One that follows its bus forms no island, and waits until its bus is sound again.
func TestAFollowingBattery(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad, followingBattery)
	write(t, p, "battery", "power_setpoint_kw", 50)
	steps(p, 3)
	expect(t, p, "battery", "power_kw", 50, 0)
	set(t, p, "grid", "available", 0)
	steps(p, 2)
	expect(t, p, "load", "supplied", 0, 0)
	expect(t, p, "battery", "power_kw", 0, 0)
	expect(t, p, "battery", "state", batteryWaiting, 0)
	expect(t, p, "battery", "running", 0, 0)
	expect(t, p, "battery", "anti_islanding", 1, 0)
	set(t, p, "grid", "available", 1)
	steps(p, 1)
	if got := ticksUntil(t, p, "battery", "in_service", 1, 1000); got != 300 {
		t.Errorf("in service after %d ticks", got)
	}
	expect(t, p, "battery", "power_kw", 50, 0)
	set(t, p, "grid", "voltage_pct", 121)
	steps(p, 4)
	expect(t, p, "battery", "trip_over_voltage_2", 1, 0)
	expect(t, p, "battery", "power_kw", 0, 0)
	write(t, p, "battery", "grid_forming", 1) // which needs no sound bus
	steps(p, 2)
	expect(t, p, "battery", "power_kw", 50, 0)
	set(t, p, "grid", "available", 0)
	steps(p, 2)
	expect(t, p, "load", "supplied", 1, 0)
	expect(t, p, "battery", "forms_island", 1, 0)
}

// Beside a grid a battery that follows takes more at a high frequency and gives more at a
// low one, as far as it can.
func TestAFollowingBatterySupportsTheFrequency(t *testing.T) {
	t.Parallel()
	p := newPlant(t, followingBattery)
	write(t, p, "battery", "power_setpoint_kw", 20)
	for hz, want := range map[float64]float64{50: 20, 50.036: 20, 49.964: 20, 50.536: 0, 50.836: -12, 49.464: 40, 48.8: 66.56} {
		set(t, p, "grid", "frequency_hz", hz)
		steps(p, 3)
		expect(t, p, "battery", "power_kw", want, 1e-6)
	}
	write(t, p, "battery", "reactive_power_enabled", 1)
	write(t, p, "battery", "reactive_power_pct", 100)
	write(t, p, "battery", "power_setpoint_kw", -100)
	set(t, p, "grid", "frequency_hz", 50)
	steps(p, 3)
	expect(t, p, "battery", "reactive_power_kvar", 44, 0)
	expect(t, p, "battery", "power_kw", -89.799777, 1e-6)
	set(t, p, "grid", "frequency_hz", 51)
	steps(p, 3)
	expect(t, p, "battery", "power_kw", -89.799777, 1e-6) // no more beside its reactive power
}

// What forms an island leaves room for the reactive power that it has to give.
func TestAnIslandsFormerLeavesRoomForReactivePower(t *testing.T) {
	t.Parallel()
	load := strings.Replace(steadyLoad, "power_factor: 1", "power_factor: 0.8, under_frequency_restore_s: 3600", 1)
	p := newIsland(t, strings.Replace(load, "base_kw: 50", "base_kw: 90", 1), "battery {capacity_kwh: 400, rated_kw: 100}")
	steps(p, 2)
	set(t, p, "grid", "available", 0)
	steps(p, 600)
	active, reactive := value(t, p, "battery", "power_kw"), value(t, p, "battery", "reactive_power_kvar")
	if active < 50 || math.Hypot(active, reactive) > 100 {
		t.Errorf("%v kW, %v kvar", active, reactive)
	}
	expect(t, p, "load", "under_frequency", 1, 0)
	expect(t, p, "load", "power_kw", active, 1e-6)
}

// In an island that another holds, one that follows takes its share by its droop, and one
// that was shut out of it stays so until the frequency is sound.
func TestAFollowingBatteryHelpsAnIsland(t *testing.T) {
	t.Parallel()
	text := plantText("battery {capacity_kwh: 400, rated_kw: 100, frequency_reset_s: 0}", steadyLoad)
	text = strings.Replace(text, "step: 1s", "step: 100ms", 1)
	text += `  - {id: helper, type: battery, listen: "127.0.0.1:5040", profile: p.yaml, parameters: {capacity_kwh: 400, rated_kw: 100, grid_forming: false}}` + "\n"
	p := New(mustRead(t, text))
	steps(p, 5)
	set(t, p, "grid", "available", 0)
	steps(p, 200)
	below := (50 + 40*0.036) / (200 + 40) // Hz: 200 kW a Hz of the one, 40 of the other beyond its dead band
	expect(t, p, "battery", "frequency_hz", 50-below, 1e-5)
	expect(t, p, "battery", "power_kw", 200*below, 1e-3)
	expect(t, p, "helper", "power_kw", 40*(below-0.036), 1e-3)
	set(t, p, "load", "base_kw", 0)
	write(t, p, "battery", "power_setpoint_kw", 50)
	steps(p, 200)
	above := (50 + 40*0.036) / (200 + 40)
	expect(t, p, "helper", "power_kw", -40*(above-0.036), 1e-3)
	expect(t, p, "helper", "in_service", 1, 0)
}

// The charge state says which way the charge goes, or why it stands still.
func TestChargeStates(t *testing.T) {
	t.Parallel()
	for parameters, want := range map[string]float64{
		"initial_state_of_charge_pct: 50":                              chargeHolding,
		"initial_state_of_charge_pct: 20, state_of_charge_min_pct: 20": chargeEmpty,
		"initial_state_of_charge_pct: 90, state_of_charge_max_pct: 90": chargeFull,
	} {
		p := newPlant(t, "battery {capacity_kwh: 200, rated_kw: 100, ramp_kw_per_s: 1000, derate_band_pct: 0.1, "+parameters+"}")
		steps(p, 1)
		expect(t, p, "battery", "charge_state", want, 0)
		for _, step := range []struct{ setpointKW, want float64 }{{10, chargeFalls}, {-10, chargeRises}} {
			write(t, p, "battery", "power_setpoint_kw", step.setpointKW)
			steps(p, 1)
			if at := want == chargeEmpty && step.setpointKW > 0 || want == chargeFull && step.setpointKW < 0; !at {
				expect(t, p, "battery", "charge_state", step.want, 0)
			}
		}
		write(t, p, "battery", "run", 0)
		steps(p, 1)
		expect(t, p, "battery", "charge_state", chargeOff, 0)
	}
}

// A battery that forms an island carries more reactive power than its converter is rated
// for, where others give the active power, for no longer than 5 s.
func TestAnIslandThatDrawsTooMuchTripsItsConverter(t *testing.T) {
	t.Parallel()
	build := func(factor string) *Plant {
		p := newIsland(t, strings.Replace(steadyLoad, "power_factor: 1", "power_factor: "+factor, 1), islandBattery, "pv {dc_rated_kw: 100, inverter_rated_kw: 90, cloud_cover_pct: 0}")
		set(t, p, "load", "base_kw", 30)
		write(t, p, "pv", "power_limit_pct", 40)
		steps(p, 10)
		set(t, p, "grid", "available", 0)
		steps(p, 1)
		return p
	}
	p := build("0.5")
	expect(t, p, "battery", "reactive_power_kvar", 30*1.7320508, 1e-5) // of 40 kVA
	steps(p, 1)
	expect(t, p, "battery", "overload_alarm", 1, 0)
	between(t, "the trip", until(t, p, "battery", "overload_trip", 1, 100), 49, 49)
	expect(t, p, "battery", "fault", 1, 0)
	expect(t, p, "load", "supplied", 0, 0)
	steps(p, 100)
	expect(t, p, "battery", "overload_trip", 1, 0)
	set(t, p, "load", "base_kw", 10)
	write(t, p, "battery", "run", 0)
	steps(p, 1)
	write(t, p, "battery", "run", 1)
	steps(p, 100)
	expect(t, p, "load", "power_kw", 10, 0)
	expect(t, p, "battery", "overload_alarm", 0, 0)

	p = build("0.6") // 40 kvar
	steps(p, 200)
	expect(t, p, "battery", "overload_trip", 0, 0)
	expect(t, p, "load", "supplied", 1, 0)
}
