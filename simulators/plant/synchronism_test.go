package plant

import (
	"strings"
	"testing"
)

// tieYAML is two islands, of 40 and 160 kW, with a dead bus between their breakers.
const tieYAML = `
name: tie
seed: 1
start: 2026-06-21T12:00:00Z
step: 100ms
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:0
buses:
  - {id: west, nominal_voltage_v: 400}
  - {id: tie, nominal_voltage_v: 400}
  - {id: east, nominal_voltage_v: 400}
devices:
  - {id: small, type: battery, bus: west, listen: "127.0.0.1:0", profile: p.yaml, parameters: {capacity_kwh: 100, rated_kw: 40, ramp_kw_per_s: 1000, frequency_reset_s: 0}}
  - {id: large, type: battery, bus: east, listen: "127.0.0.1:0", profile: p.yaml, parameters: {capacity_kwh: 100, rated_kw: 160, ramp_kw_per_s: 1000, frequency_reset_s: 0}}
  - {id: lathe, type: load, bus: west, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 20, maximum_kw: 40, noise_pct: 0, power_factor: 1, hourly_pct: [100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100,100]}}
  - {id: west_breaker, type: breaker, between: [west, tie], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 400, closed: false}}
  - {id: east_breaker, type: breaker, between: [tie, east], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 400, closed: false}}
`

// closeBoth closes both breakers in one tick.
func closeBoth(t *testing.T, p *Plant) {
	t.Helper()
	write(t, p, "west_breaker", "close", 1)
	write(t, p, "east_breaker", "close", 1)
	steps(p, 1)
}

// Two breakers that close onto a dead bus in one tick do not join what is out of step.
func TestTwoBreakersCloseOntoADeadBus(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, strings.ReplaceAll(tieYAML, "frequency_reset_s: 0", "frequency_reset_s: 0, island_droop_pct: 2")))
	steps(p, 100)
	expect(t, p, "small", "frequency_hz", 49.5, 1e-9)
	expect(t, p, "large", "frequency_hz", 50, 1e-9)
	closeBoth(t, p)
	// Either is the first; the other one waits.
	if a, b := value(t, p, "west_breaker", "closed"), value(t, p, "east_breaker", "closed"); a+b != 1 {
		t.Fatalf("closed: %v and %v", a, b)
	}
	if a, b := value(t, p, "west_breaker", "not_in_step"), value(t, p, "east_breaker", "not_in_step"); a+b != 1 {
		t.Fatalf("not in step: %v and %v", a, b)
	}
	steps(p, 100)
	expect(t, p, "small", "frequency_hz", 49.5, 1e-9)
	write(t, p, "small", "power_setpoint_kw", 20)
	steps(p, 100)
	expect(t, p, "west_breaker", "closed", 1, 0)
	expect(t, p, "east_breaker", "closed", 1, 0)
	expect(t, p, "small", "frequency_hz", 50, 1e-9)
}

// A bus that a set lights in the same tick is none that a breaker may close onto blindly.
func TestABreakerClosesOntoABusThatIsLit(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, strings.ReplaceAll(tieYAML, "frequency_reset_s: 0", "frequency_reset_s: 0, island_droop_pct: 2")))
	write(t, p, "large", "run", 0)
	steps(p, 100)
	write(t, p, "east_breaker", "close", 1)
	steps(p, 2)
	expect(t, p, "east_breaker", "closed", 1, 0) // of two dead buses
	write(t, p, "large", "run", 1)
	write(t, p, "west_breaker", "close", 1)
	steps(p, 1)
	expect(t, p, "large", "frequency_hz", 50, 0)
	expect(t, p, "small", "frequency_hz", 49.5, 1e-9)
	expect(t, p, "west_breaker", "not_in_step", 1, 0)
}

// Where a grid comes back in the same tick it is the grid that lights the bus, and not a
// battery that is nearer.
func TestABreakerClosesOntoABusThatAGridLights(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(tieYAML, "frequency_reset_s: 0", "frequency_reset_s: 0, island_droop_pct: 2")
	text = strings.Replace(text, "{id: large, type: battery, bus: east", "{id: large, type: battery, bus: tie", 1)
	p := New(mustRead(t, text+"  - {id: utility, type: grid, bus: east, listen: \"127.0.0.1:0\", profile: p.yaml, parameters: {frequency_noise_hz: 0}}\n"))
	set(t, p, "utility", "available", 0)
	set(t, p, "utility", "frequency_hz", 49.4)
	write(t, p, "large", "run", 0)
	write(t, p, "east_breaker", "close", 1)
	steps(p, 100)
	expect(t, p, "east_breaker", "closed", 1, 0) // of two dead buses
	expect(t, p, "small", "frequency_hz", 49.5, 1e-9)
	set(t, p, "utility", "available", 1)
	write(t, p, "large", "run", 1)
	write(t, p, "west_breaker", "close", 1)
	steps(p, 1)
	expect(t, p, "west_breaker", "not_in_step", 0, 0)
	expect(t, p, "west_breaker", "closed", 1, 0)
	expect(t, p, "small", "frequency_hz", 49.4, 1e-9)
}

// Islands that are joined swing on from the mean of their frequencies by inertia.
func TestJoinedIslandsKeepTheirMomentum(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, tieYAML))
	steps(p, 100)
	expect(t, p, "small", "frequency_hz", 49.75, 1e-9)
	n := &p.network
	devices, offers := p.devices, make([]offer, len(p.devices))
	for i, d := range devices {
		offers[i] = d.offer(p.definition.momentAt(p.simulated()), n.state[n.place[i]])
	}
	for _, id := range []string{"west_breaker", "east_breaker"} {
		p.member(id).device.(*breaker).Closed = true
	}
	z := n.zoneOf(0, devices, offers, make([]bool, len(n.state)))
	near(t, "the mean", n.frequencyOf(&z, offers), 49.75+0.25*160/200, 1e-9)

	p = New(mustRead(t, tieYAML))
	steps(p, 100)
	closeBoth(t, p)
	steps(p, 1)
	// From the mean the droop of both leads to where they carry the load together.
	steps(p, 200)
	expect(t, p, "small", "frequency_hz", 50-0.5*20/200, 1e-6)
	expect(t, p, "small", "power_kw", 4, 1e-3)
	expect(t, p, "large", "power_kw", 16, 1e-3)
}
