package plant

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
	"github.com/voltageems/voltageems-go/system/ems"
)

const microgridYAML = `
name: test
seed: %d
start: 2026-06-21T11:00:00Z
step: 100ms
location: {latitude_deg: 40.4, longitude_deg: -3.7}
control: 127.0.0.1:5020
devices:
  - {id: pv, type: pv, listen: "127.0.0.1:5021", profile: p.yaml, parameters: {dc_rated_kw: 120, inverter_rated_kw: 100}}
  - {id: battery, type: battery, listen: "127.0.0.1:5022", profile: p.yaml, parameters: {capacity_kwh: 20, rated_kw: 100, initial_state_of_charge_pct: 50}}
  - {id: genset, type: genset, listen: "127.0.0.1:5023", profile: p.yaml, parameters: {rated_kw: 100, fuel_tank_l: 400, warm_up_s: 2, cool_down_s: 2}}
  - {id: load, type: load, listen: "127.0.0.1:5024", profile: p.yaml, parameters: {base_kw: 90, maximum_kw: 200}}
  - {id: grid, type: grid, listen: "127.0.0.1:5025", profile: p.yaml}
`

func mustRead(t testing.TB, text string) *Definition {
	t.Helper()
	var faults document.Faults
	definition := ReadDefinition("plant.yaml", []byte(text), Addresses{}, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return definition
}

func newMicrogrid(t testing.TB, seed uint64) *Plant {
	t.Helper()
	return New(mustRead(t, fmt.Sprintf(microgridYAML, seed)))
}

// value returns one quantity of the last tick.
func value(t testing.TB, p *Plant, id, name string) float64 {
	t.Helper()
	i := slices.Index(p.Names(id), name)
	if i < 0 {
		t.Fatalf("%s has no quantity %s", id, name)
	}
	device, _ := p.Latest().Device(id)
	return device.Values[i]
}

// milli returns a power quantity in whole milliwatts.
func milli(t testing.TB, p *Plant, id, name string) int64 {
	t.Helper()
	return int64(math.Round(value(t, p, id, name) * milliwattsPerKW))
}

func write(t testing.TB, p *Plant, id, setpoint string, value float64) {
	t.Helper()
	if err := p.Write(id, setpoint, value, "test"); err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, p *Plant, id, input string, value float64) {
	t.Helper()
	if err := p.SetInput(id, input, value, "test"); err != nil {
		t.Fatal(err)
	}
}

func steps(p *Plant, n int) {
	for range n {
		p.Step(time.Time{})
	}
}

// operate writes one random setting of one random device to a random value.
func operate(t testing.TB, p *Plant, random *rand.Rand) {
	t.Helper()
	ids := p.ids()
	id := ids[random.IntN(len(ids))]
	list, write := p.Setpoints(id), p.Write
	if random.IntN(2) == 0 || len(list) == 0 {
		list, write = p.Inputs(id), p.SetInput
	}
	one := list[random.IntN(len(list))]
	value := one.Least + (one.Most-one.Least)*random.Float64()
	if one.Boolean {
		value = float64(random.IntN(2))
	}
	if err := write(id, one.Name, value, "test"); err != nil {
		t.Fatal(err)
	}
}

func digests(t testing.TB, p *Plant, ticks int) []uint64 {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 7))
	var list []uint64
	for tick := range ticks {
		if tick%10 == 0 {
			operate(t, p, random)
		}
		list = append(list, p.Step(time.Now()).Digest) // the wall clock has no influence
	}
	return list
}

func TestSameSeedSameDigests(t *testing.T) {
	t.Parallel()
	const ticks = 2000
	first := digests(t, newMicrogrid(t, 1), ticks)
	if diff := cmp.Diff(first, digests(t, newMicrogrid(t, 1), ticks)); diff != "" {
		t.Error("the same seed went another way")
	}
	other := digests(t, newMicrogrid(t, 2), ticks)
	for i := range first {
		if first[i] == other[i] {
			t.Fatalf("another seed has the same digest at tick %d", i+1)
		}
	}
}

// TestOrderAndCompanyDoNotMatter shows that a device does the same wherever it
// stands in the file and whoever else is in the plant.
func TestOrderAndCompanyDoNotMatter(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(microgridYAML, 1)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	devices := lines[len(lines)-5:]
	reversed := append([]string(nil), lines[:len(lines)-5]...)
	for i := range devices {
		reversed = append(reversed, devices[len(devices)-1-i])
	}
	first, second := newMicrogrid(t, 1), New(mustRead(t, strings.Join(reversed, "\n")))
	third := New(mustRead(t, text+`  - {id: a_second, type: load, listen: "127.0.0.1:5026", profile: p.yaml, parameters: {base_kw: 10, maximum_kw: 20}}`))
	for range 500 {
		if a, b := first.Step(time.Time{}).Digest, second.Step(time.Time{}).Digest; a != b {
			t.Fatal("the order in the file changed the plant")
		}
		third.Step(time.Time{})
		if a, b := value(t, first, "pv", "irradiance_w_per_m2"), value(t, third, "pv", "irradiance_w_per_m2"); a != b {
			t.Fatalf("another device changed the clouds: %v, %v", a, b)
		}
	}
}

// TestBalanceAndEnergyUnderRandomOperation holds the balance of every tick and
// what the meters have counted to the last milliwatt, while an operator turns
// every knob at random.
func TestBalanceAndEnergyUnderRandomOperation(t *testing.T) {
	t.Parallel()
	p := newMicrogrid(t, 3)
	random := rand.New(rand.NewPCG(3, 3))
	sums := map[string]int64{} // mW x 100 ms
	counters := map[string]func(int64) int64{
		"pv energy_kwh":                 positive,
		"genset energy_kwh":             positive,
		"load energy_kwh":               positive,
		"battery energy_discharged_kwh": positive,
		"battery energy_charged_kwh":    negative,
		"grid energy_imported_kwh":      positive,
		"grid energy_exported_kwh":      negative,
	}
	stored := value0(p)
	islanded, dead, curtailed, shed := 0, 0, 0, 0
	for tick := range 20_000 {
		if tick%5 == 0 {
			operate(t, p, random)
			set(t, p, "battery", "self_discharge_kw", 0)
		}
		p.Step(time.Time{})
		load, pv := milli(t, p, "load", "power_kw"), milli(t, p, "pv", "power_kw")
		genset, battery := milli(t, p, "genset", "power_kw"), milli(t, p, "battery", "power_kw")
		grid := milli(t, p, "grid", "power_kw")
		if grid != load-battery-pv-genset {
			t.Fatalf("tick %d: import %d, load %d, PV %d, genset %d, battery %d", tick, grid, load, pv, genset, battery)
		}
		if unserved := milli(t, p, "load", "unserved_kw"); load+unserved != milli(t, p, "load", "demand_kw") || unserved < 0 {
			t.Fatalf("tick %d: load %d and unserved %d are not the demand", tick, load, unserved)
		} else if unserved > 0 {
			shed++
		}
		if value(t, p, "grid", "connected") == 0 {
			islanded++
			if grid != 0 {
				t.Fatalf("tick %d: %d from a grid that is not connected", tick, grid)
			}
		} else if milli(t, p, "load", "unserved_kw") != 0 && value(t, p, "load", "under_frequency") == 0 {
			t.Fatalf("tick %d: load shed with a grid", tick)
		}
		if value(t, p, "load", "supplied") == 0 {
			dead++
		}
		if value(t, p, "pv", "curtailed") == 1 {
			curtailed++
		}
		stored += physics.StoredChange(float64(battery)/milliwattsPerKW, 0.96, 0.96) * 0.1 / 3600
		for name, of := range counters {
			id, _, _ := strings.Cut(name, " ")
			sums[name] += of(milli(t, p, id, "power_kw"))
		}
	}
	for name, sum := range sums {
		id, quantity, _ := strings.Cut(name, " ")
		near(t, name, value(t, p, id, quantity), float64(sum)*100/(1000*restPerWattHour), 1e-12*float64(sum))
	}
	near(t, "stored energy", value(t, p, "battery", "stored_energy_kwh"), stored, 1e-6)
	for what, count := range map[string]int{"islanded": islanded, "dead": dead, "curtailed": curtailed, "shed": shed} {
		if count < 100 {
			t.Errorf("only %d ticks %s: the operation reached too little", count, what)
		}
	}
}

func positive(p int64) int64 { return max(p, 0) }
func negative(p int64) int64 { return max(-p, 0) }

func value0(p *Plant) float64 {
	return p.member("battery").device.(*battery).StoredKWh
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	p := newMicrogrid(t, 1)
	cases := []struct {
		call func(string, string, float64, string) error
		id   string
		name string
		to   float64
		code ems.Code
		text string
	}{
		{p.Write, "nobody", "run", 1, ems.CodeNotFound, `no device "nobody": the plant has battery, genset, grid, load, pv`},
		{p.Write, "grid", "run", 1, ems.CodeNotFound, `device grid has no setpoint "run": it has breaker_closed, import_alarm_kw`},
		{p.SetInput, "grid", "breaker_closed", 1, ems.CodeNotFound, `device grid has no input "breaker_closed": it has available, voltage_pct, frequency_hz, voltage_distortion_pct, export_limit_kw, price_change_per_kwh, event, event_voltage_pct, event_frequency_hz, event_duration_s`},
		{p.Write, "battery", "power_setpoint_kw", 100.5, ems.CodeInvalid, `setpoint power_setpoint_kw of battery cannot be 100.5: use -100 to 100`},
		{p.Write, "battery", "power_setpoint_kw", math.NaN(), ems.CodeInvalid, `setpoint power_setpoint_kw of battery cannot be NaN: use -100 to 100`},
		{p.SetInput, "grid", "available", 0.5, ems.CodeInvalid, `input available of grid cannot be 0.5: use 0 or 1`},
		{p.SetInput, "battery", "cell_temperature_rise_c", math.Inf(1), ems.CodeInvalid, `input cell_temperature_rise_c of battery cannot be +Inf: use 0 to 100`},
	}
	for _, c := range cases {
		err := c.call(c.id, c.name, c.to, "test")
		if err == nil || err.Error() != c.text || ems.CodeOf(err) != c.code {
			t.Errorf("%v (%v), want %s (%v)", err, ems.CodeOf(err), c.text, c.code)
		}
	}
	if p.Names("nobody") != nil || p.Setpoints("nobody") != nil || p.Requested("nobody") != nil {
		t.Error("nobody has something")
	}
}

// TestRunFollowsTheClock drives a plant by a clock that is moved by hand.
func TestRunFollowsTheClock(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := ems.NewManualClock(start)
	p := newMicrogrid(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	seen, lost := make(chan *Truth, 1000), make(chan time.Duration, 1)
	done := make(chan struct{})
	runner := NewRunner(p, clock, func(s *Truth) { seen <- s }, func(d time.Duration) { lost <- d })
	go func() {
		defer close(done)
		runner.Run(ctx)
	}()
	next := func() *Truth {
		t.Helper()
		select {
		case s := <-seen:
			return s
		case <-time.After(10 * time.Second):
			t.Fatal("no tick")
			return nil
		}
	}
	clock.AwaitTimers(1)
	clock.Advance(99 * time.Millisecond)
	clock.AwaitTimers(1)
	if len(seen) != 0 {
		t.Fatal("a tick came early")
	}
	clock.Advance(time.Millisecond)
	first := next()
	if first.Tick != 1 || !first.Simulated.Equal(p.definition.Start.Add(100*time.Millisecond)) || !first.Wall.Equal(start.Add(100*time.Millisecond)) {
		t.Errorf("first tick %d at %v, wall %v", first.Tick, first.Simulated, first.Wall)
	}
	clock.AwaitTimers(1)
	clock.Advance(time.Second)
	for tick := uint64(2); tick <= 11; tick++ {
		if s := next(); s.Tick != tick || !s.Simulated.Equal(p.definition.Start.Add(time.Duration(tick)*100*time.Millisecond)) {
			t.Errorf("tick %d at %v, want %d", s.Tick, s.Simulated, tick)
		}
	}
	clock.AwaitTimers(1)
	clock.Advance(time.Hour)
	if s := next(); s.Tick != 12 {
		t.Errorf("tick %d after an hour of sleep", s.Tick)
	}
	if got := <-lost; got != time.Hour-100*time.Millisecond {
		t.Errorf("lost %v", got)
	}
	clock.AwaitTimers(1)
	cancel()
	<-done
	if len(seen) != 0 {
		t.Errorf("%d ticks after the sleep", len(seen))
	}
}
