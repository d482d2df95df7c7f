package plant

import (
	"strings"
	"testing"
)

const standbyYAML = `
name: standby
seed: 1
start: 2026-06-21T12:00:00Z
step: 100ms
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:0
buses:
  - {id: utility, nominal_voltage_v: 400}
  - {id: generator, nominal_voltage_v: 400}
  - {id: main, nominal_voltage_v: 400}
devices:
  - {id: grid, type: grid, bus: utility, listen: "127.0.0.1:0", profile: p.yaml, parameters: {voltage_noise_pct: 0, frequency_noise_hz: 0}}
  - {id: genset, type: genset, bus: generator, listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_kw: 100, fuel_tank_l: 100, crank_s: 3, warm_up_s: 10, cool_down_s: 5}}
  - {id: switch, type: transfer_switch, between: [utility, generator], bus: main, listen: "127.0.0.1:0", profile: p.yaml, parameters: {genset: genset, cool_down_s: 20}}
  - {id: load, type: load, bus: main, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 50, maximum_kw: 200, noise_pct: 0, power_factor: 1}}
`

// until steps a plant until a quantity has a value and returns how many ticks that took.
func until(t *testing.T, p *Plant, id, name string, want float64, most int) int {
	t.Helper()
	for tick := 1; tick <= most; tick++ {
		steps(p, 1)
		if value(t, p, id, name) == want {
			return tick
		}
	}
	t.Fatalf("%s %s is not %v within %d ticks", id, name, want, most)
	return 0
}

// between reports a number of ticks that is not within limits.
func between(t *testing.T, what string, ticks, least, most int) {
	t.Helper()
	if ticks < least || ticks > most {
		t.Errorf("%s after %d ticks, want %d to %d", what, ticks, least, most)
	}
}

// The times are those of the transfer switches that are sold: a start after 10 s of
// outage, back after 15 s of a healthy utility, and a generator that cools after it.
func TestATransferSwitchCarriesALoadThroughAnOutage(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, standbyYAML))
	steps(p, 50)
	expect(t, p, "switch", "position", transferUtility, 0)
	served := value(t, p, "load", "power_kw")
	expect(t, p, "grid", "power_kw", served, 0)
	expect(t, p, "switch", "power_kw", served, 0)

	set(t, p, "grid", "available", 0)
	between(t, "the call", until(t, p, "switch", "start_generator", 1, 200), 100, 102)
	expect(t, p, "load", "supplied", 0, 0)
	between(t, "the transfer", until(t, p, "switch", "position", transferGenerator, 400), 165, 180)
	steps(p, 1)
	expect(t, p, "load", "supplied", 1, 0)
	expect(t, p, "genset", "power_kw", value(t, p, "load", "power_kw"), 0)
	expect(t, p, "grid", "power_kw", 0, 0)

	set(t, p, "grid", "available", 1)
	between(t, "the way back", until(t, p, "switch", "position", transferOpen, 200), 150, 152)
	between(t, "the other side", until(t, p, "switch", "position", transferUtility, 20), 5, 6)
	expect(t, p, "switch", "start_generator", 1, 0)
	between(t, "the end of cooling", until(t, p, "switch", "start_generator", 0, 400), 200, 202)
	until(t, p, "genset", "state", float64(gensetCoolingDown), 5)
	between(t, "the end", until(t, p, "genset", "state", float64(gensetStopped), 100), 49, 51)
	expect(t, p, "switch", "transfers", 2, 0)
	steps(p, 3000)
	expect(t, p, "genset", "state", float64(gensetStopped), 0)
}

// What the operator does by hand is done, a side that is lost is left at once, and the
// sides are never joined.
func TestATransferSwitchByHandAndInTrouble(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, standbyYAML))
	write(t, p, "switch", "automatic", 0)
	write(t, p, "switch", "generator_start", 1)
	until(t, p, "switch", "generator_available", 1, 400)
	write(t, p, "switch", "position", transferGenerator)
	steps(p, 10)
	expect(t, p, "switch", "position", transferGenerator, 0)
	expect(t, p, "genset", "power_kw", value(t, p, "load", "power_kw"), 0)
	expect(t, p, "grid", "power_kw", 0, 0)
	write(t, p, "switch", "position", transferOpen)
	steps(p, 10)
	expect(t, p, "load", "supplied", 0, 0)
	write(t, p, "switch", "automatic", 1)
	steps(p, 10)
	expect(t, p, "switch", "position", transferUtility, 0)

	set(t, p, "grid", "available", 0)
	until(t, p, "switch", "position", transferGenerator, 400)
	set(t, p, "grid", "available", 1)
	steps(p, 20) // sound for 2 s of the 15
	set(t, p, "genset", "fuel_leak_l_per_h", 1e6)
	between(t, "the utility instead", until(t, p, "switch", "position", transferUtility, 100), 5, 20)

	p = New(mustRead(t, standbyYAML))
	set(t, p, "switch", "mechanism_jammed", 1)
	set(t, p, "grid", "available", 0)
	steps(p, 1000)
	expect(t, p, "switch", "position", transferUtility, 0)
	expect(t, p, "switch", "generator_available", 1, 0)
}

func TestTheGensetOfASwitchMustBeOne(t *testing.T) {
	t.Parallel()
	got := faultsOf(strings.Replace(standbyYAML, "genset: genset", "genset: load", 1), Addresses{})
	want := `plant.yaml:15: key "devices[2].parameters.genset": load is a load: name a genset`
	if len(got) != 1 || got[0] != want {
		t.Errorf("%v, want %s", got, want)
	}
}
