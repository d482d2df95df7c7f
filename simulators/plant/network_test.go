package plant

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/simulators/document"
)

const feederYAML = `
name: feeder
seed: 1
start: 2026-06-21T12:00:00Z
step: 100ms
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:0
buses:
  - {id: supply, nominal_voltage_v: 400}
  - {id: hall, nominal_voltage_v: 400}
  - {id: end, nominal_voltage_v: 400}
devices:
  - {id: grid, type: grid, bus: supply, listen: "127.0.0.1:0", profile: p.yaml, parameters: {voltage_noise_pct: 0, frequency_noise_hz: 0}}
  - {id: first, type: breaker, between: [supply, hall], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 400}}
  - {id: second, type: breaker, between: [end, hall], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 400}}
  - {id: battery, type: battery, bus: hall, listen: "127.0.0.1:0", profile: p.yaml, parameters: {capacity_kwh: 100, rated_kw: 50, ramp_kw_per_s: 1000}}
  - {id: load, type: load, bus: end, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 20, maximum_kw: 40, noise_pct: 0, power_factor: 1, hourly_pct: [100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100]}}
`

func TestBreakersPartAPlant(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, feederYAML))
	write(t, p, "battery", "power_setpoint_kw", 5)
	steps(p, 2)
	expect(t, p, "grid", "power_kw", 15, 0)
	expect(t, p, "first", "power_kw", -15, 0) // away from supply, the first that it names
	expect(t, p, "second", "power_kw", 20, 0)
	expect(t, p, "second", "current_a", 20e3/(1.7320508075688772*value(t, p, "second", "voltage_from_v")), 1e-9)

	write(t, p, "first", "close", 0)
	steps(p, 20)
	expect(t, p, "grid", "power_kw", 0, 0)
	expect(t, p, "first", "power_kw", 0, 0)
	expect(t, p, "first", "closed", 0, 0)
	expect(t, p, "battery", "power_kw", 20, 0)
	expect(t, p, "second", "power_kw", 20, 0)
	if buses := p.Latest().Buses; !buses[0].Live || !buses[1].Live || !buses[2].Live || buses[0].FrequencyHz != 50 || buses[1].FrequencyHz >= 50 {
		t.Errorf("%+v", buses)
	}

	write(t, p, "battery", "run", 0)
	steps(p, 2)
	expect(t, p, "load", "supplied", 0, 0)
	write(t, p, "first", "close", 1)
	steps(p, 2)
	expect(t, p, "load", "power_kw", 20, 0)
	expect(t, p, "first", "operations", 2, 0)
	expect(t, p, "first", "spring_charged", 0, 0)
	steps(p, 40)
	expect(t, p, "first", "spring_charged", 1, 0)
	set(t, p, "first", "contacts_welded", 1)
	write(t, p, "first", "close", 0)
	steps(p, 10)
	expect(t, p, "first", "closed", 1, 0)
}

// A breaker does not join two live buses that are not in step.
func TestABreakerWaitsUntilItsBusesAreInStep(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, strings.Replace(feederYAML, "ramp_kw_per_s: 1000", "ramp_kw_per_s: 1000, island_droop_pct: 10, frequency_reset_s: 20", 1)))
	steps(p, 1)
	write(t, p, "first", "close", 0)
	steps(p, 15)
	write(t, p, "first", "close", 1)
	steps(p, 25)
	expect(t, p, "first", "closed", 0, 0)
	expect(t, p, "first", "not_in_step", 1, 0)
	steps(p, 1500)
	expect(t, p, "first", "closed", 1, 0)
	expect(t, p, "first", "not_in_step", 0, 0)
	expect(t, p, "grid", "frequency_hz", 50, 0)
}

// Twice the rated current trips it within a minute, and the rated one never.
func TestABreakerTripsByOvercurrent(t *testing.T) {
	t.Parallel()
	for rated, want := range map[string]int{"28.87": 0, "14.4": 600} {
		p := New(mustRead(t, strings.Replace(feederYAML, "rated_current_a: 400", "rated_current_a: "+rated, 1)))
		tripped := 0
		for tick := 1; tick <= 1200 && tripped == 0; tick++ {
			steps(p, 1)
			if value(t, p, "first", "tripped") == 1 {
				tripped = tick
			}
		}
		if tripped < want-15 || tripped > want+15 {
			t.Errorf("%s A: tripped in tick %d, want %d", rated, tripped, want)
		}
		if want == 0 {
			continue
		}
		steps(p, 2)
		expect(t, p, "first", "closed", 0, 0)
		write(t, p, "first", "reset", 1)
		write(t, p, "first", "close", 0)
		steps(p, 2)
		expect(t, p, "first", "tripped", 0, 0)
	}
}

// Wiring that forms no plant is named.
func TestWiringIsChecked(t *testing.T) {
	t.Parallel()
	for change, want := range map[[2]string]string{
		{"bus: end, listen", "bus: attic, listen"}:          `:17: key "devices[4].bus": no bus "attic": there are supply, hall, end`,
		{"between: [end, hall]", "between: [end, attic]"}:   `:15: key "devices[2].between": no bus "attic": there are supply, hall, end`,
		{"between: [end, hall]", "between: [end]"}:          `:15: key "devices[2].between": must be a list of 2 texts`,
		{"between: [end, hall]", "between: [hall, hall]"}:   `:15: key "devices[2].between": second joins a bus with itself: name different ones`,
		{"between: [end, hall]", "between: [hall, supply]"}: `:12: key "devices": second closes a ring of buses: buses form a tree, leave it out`,
		{"type: battery, bus: hall", "type: pv, bus: hall"}: `:16: key "devices[3].parameters.capacity_kwh" is unknown`,
		{"  - {id: end, nominal_voltage_v: 400}", "  - {id: end, nominal_voltage_v: 400}\n  - {id: cellar, nominal_voltage_v: 400}"}: `:8: key "buses": nothing hangs on bus cellar: remove it, or give it devices`,
		{"bus: hall, listen", "listen"}: `:16: key "devices[3].bus" is missing`,
		{"type: battery, bus: hall, listen: \"127.0.0.1:0\", profile: p.yaml, parameters: {capacity_kwh: 100, rated_kw: 50, ramp_kw_per_s: 1000}", "type: grid, bus: hall, listen: \"127.0.0.1:0\", profile: p.yaml"}: `:12: key "devices": grid grid and grid battery can meet on joined buses: one closes the power balance, part them by a transfer switch`,
		{"{id: hall, nominal", "{id: supply, nominal"}: `:10: key "buses[1].id": "supply" stands twice: give each bus its own`,
	} {
		text := strings.Replace(feederYAML, change[0], change[1], 1)
		if text == feederYAML {
			t.Fatalf("no %q", change[0])
		}
		var faults document.Faults
		ReadDefinition("plant.yaml", []byte(text), Addresses{}, &faults)
		if err := faults.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", change[1], err, want)
		}
	}
	var faults document.Faults
	text := strings.NewReplacer("type: grid, bus: supply", "type: load, bus: supply", "parameters: {voltage_noise_pct: 0, frequency_noise_hz: 0}", "parameters: {base_kw: 1, maximum_kw: 1}",
		"type: battery", "type: load", "capacity_kwh: 100, rated_kw: 50, ramp_kw_per_s: 1000", "base_kw: 1, maximum_kw: 1").Replace(feederYAML)
	ReadDefinition("plant.yaml", []byte(text), Addresses{}, &faults)
	want := []string{
		`plant.yaml:12: key "devices": nothing can feed bus supply: join it to one with a grid, a battery or a genset`,
		`plant.yaml:12: key "devices": nothing can feed bus hall: join it to one with a grid, a battery or a genset`,
		`plant.yaml:12: key "devices": nothing can feed bus end: join it to one with a grid, a battery or a genset`,
	}
	if diff := cmp.Diff(want, strings.Split(faults.Err().Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}
