package plant

import (
	options "flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// simulated is how long the campus is operated: a week in make soak.
var simulated = options.Duration("simulated", 24*time.Hour, "simulated time of random operation")

// campusYAML has a device of every type, in steps as long as they may be.
const campusYAML = `
name: campus
seed: 7
start: 2026-06-21T06:00:00Z
step: 10s
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:0
buses:
  - {id: mv, nominal_voltage_v: 20000}
  - {id: bar, nominal_voltage_v: 20000}
  - {id: lv, nominal_voltage_v: 400}
  - {id: yard, nominal_voltage_v: 400}
  - {id: standby, nominal_voltage_v: 400}
  - {id: clinic, nominal_voltage_v: 400}
devices:
  - {id: grid, type: grid, bus: mv, listen: "127.0.0.1:0", profile: p.yaml}
  - {id: transformer, type: transformer, between: [bar, lv], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_kva: 630, cooling: onaf, breaker: incomer}}
  - {id: incomer, type: breaker, between: [mv, bar], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 100}}
  - {id: pv, type: pv, bus: lv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {dc_rated_kw: 700, inverter_rated_kw: 600, night_consumption_kw: 0.02, weather: weather}}
  - {id: battery, type: battery, bus: lv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {capacity_kwh: 500, rated_kw: 250, resistance_ohm: 0.02}}
  - {id: load, type: load, bus: lv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 100, maximum_kw: 300, motor_kw: 40, random_step_kw: 30}}
  - {id: breaker, type: breaker, between: [lv, yard], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 800}}
  - {id: chargers, type: ev_charger, bus: yard, listen: "127.0.0.1:0", profile: p.yaml, parameters: {connectors: 4, arrivals_per_h: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], stay_h: 6}}
  - {id: fast, type: ev_charger, bus: yard, listen: "127.0.0.1:0", profile: p.yaml, parameters: {current: dc}}
  - {id: genset, type: genset, bus: standby, listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_kw: 150, fuel_tank_l: 100000}}
  - {id: switch, type: transfer_switch, between: [lv, standby], bus: clinic, listen: "127.0.0.1:0", profile: p.yaml, parameters: {genset: genset}}
  - {id: wards, type: load, bus: clinic, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 60, maximum_kw: 100, voltage_exponent: 1.3}}
  - {id: meter, type: meter, bus: mv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {measures: grid}}
  - {id: submeter, type: meter, bus: clinic, listen: "127.0.0.1:0", profile: p.yaml, parameters: {measures: switch}}
  - {id: weather, type: weather_station, bus: lv, listen: "127.0.0.1:0", profile: p.yaml}
`

// balance is what devices have given to their buses, less what they have taken.
type balance struct{ active, reactive Power }

// counted is the energy of that in mW ms.
func (e Energy) counted() int64 { return e.WattHours*restPerWattHour + e.Rest }

// add adds what a device gave in the last tick, and returns the energy that it has
// counted since the first.
func (b *balance) add(t *testing.T, of device) (energy int64) {
	t.Helper()
	switch d := of.(type) {
	case *grid:
		b.active, b.reactive = b.active+d.Power, b.reactive+d.Reactive
		return d.Imported.counted() - d.Exported.counted()
	case *pv:
		b.active, b.reactive = b.active+d.Power, b.reactive+d.Reactive
		return d.Energy.counted() - d.Consumed.counted()
	case *battery:
		b.active, b.reactive = b.active+d.Power, b.reactive+d.Reactive
		return d.Discharged.counted() - d.Charged.counted()
	case *genset:
		b.active, b.reactive = b.active+d.Power, b.reactive+d.Reactive
		return d.Energy.counted() - d.Consumed.counted()
	case *load:
		b.active, b.reactive = b.active-d.Power, b.reactive-d.Reactive
		return -d.Energy.counted()
	case *charger:
		b.active, b.reactive = b.active-d.Active, b.reactive-d.Reactive
		return -d.Energy.counted()
	case *transformer:
		b.active, b.reactive = b.active-d.Losses, b.reactive-d.Drawn
		return -d.Lost.counted()
	case *meter, *weather, *breaker, *transferSwitch:
		return 0
	default:
		t.Fatalf("a %T is not in the balance", of)
		return 0
	}
}

// steer sees to it that a random operation reaches what it is to reach, whatever settings
// there are: in some rounds a switch is open and the grid gone, which most of the time
// is there and sound, or the inverters would rest.
func steer(t *testing.T, p *Plant, round int) {
	t.Helper()
	for _, fault := range [][2]string{{"breaker", "contacts_welded"}, {"breaker", "mechanism_locked"}, {"switch", "mechanism_jammed"}, {"incomer", "mechanism_locked"}, {"transformer", "fans_failed"}} {
		set(t, p, fault[0], fault[1], 0)
	}
	write(t, p, "breaker", "close", float64(min(1, round%5)))
	write(t, p, "switch", "automatic", float64(min(1, round%6)))
	write(t, p, "switch", "position", transferGenerator)
	write(t, p, "load", "motor_run", float64(round%2))
	write(t, p, "incomer", "close", float64(min(1, round%19)))
	write(t, p, "incomer", "reset", float64(1-min(1, round%19)))
	write(t, p, "transformer", "reset", float64(round%2))
	write(t, p, "grid", "breaker_closed", 1)
	set(t, p, "grid", "available", float64(min(1, round%20)))
	if round%10 > 0 {
		set(t, p, "grid", "voltage_pct", 100)
		set(t, p, "grid", "frequency_hz", 50)
	}
}

// In every tick of a long random operation what the devices give and take adds up to
// nothing, to the milliwatt, and so does all that they have counted.
func TestSoakOfACampusConservesEnergy(t *testing.T) {
	t.Parallel()
	for _, kind := range kindNames() {
		if !strings.Contains(campusYAML, "type: "+kind+",") {
			t.Errorf("no %s in the plant", kind)
		}
	}
	p := New(mustRead(t, campusYAML))
	random := rand.New(rand.NewPCG(9, 9))
	of := func(id string) device { return p.member(id).device }
	chargers, standby, tie, utility := of("chargers").(*charger), of("switch").(*transferSwitch), of("breaker").(*breaker), of("grid").(*grid)
	reached := []struct {
		what  string
		is    func() bool
		ticks int
	}{
		{what: "charging", is: func() bool { return chargers.Active > 0 }},
		{what: "on the generator", is: func() bool { return standby.Position == transferGenerator }},
		{what: "with an open breaker", is: func() bool { return !tie.Closed }},
		{what: "without the grid", is: func() bool { return !utility.connected() }},
		{what: "exporting", is: func() bool { return utility.Power < 0 }},
		{what: "starting a motor", is: func() bool { return of("load").(*load).Turning > 0 }},
	}
	for tick := range int(*simulated / (10 * time.Second)) {
		if tick%20 == 0 {
			for range 3 {
				operate(t, p, random)
			}
			steer(t, p, tick/20)
		}
		p.Step(time.Time{})
		var sum balance
		var energy int64
		for _, d := range p.devices {
			energy += sum.add(t, d)
		}
		if sum != (balance{}) || energy != 0 {
			t.Fatalf("tick %d: %d mW, %d mvar and %d mW ms are left over", tick+1, sum.active, sum.reactive, energy)
		}
		for i, one := range reached {
			if one.is() {
				reached[i].ticks++
			}
		}
	}
	for _, one := range reached {
		if one.ticks < 20 {
			t.Errorf("only %d ticks %s: the operation reached too little", one.ticks, one.what)
		}
	}
}
