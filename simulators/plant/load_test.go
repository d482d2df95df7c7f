package plant

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/simulators/physics"
)

// A motor that is started directly draws several times its current at a low power
// factor until it has run up, and again after an outage.
func TestAMotorRunsUp(t *testing.T) {
	t.Parallel()
	p := newIsland(t, strings.Replace(steadyLoad, "base_kw", "motor_kw: 30, motor_start_s: 4, base_kw", 1))
	steps(p, 5)
	expect(t, p, "load", "power_kw", 50, 0)
	write(t, p, "load", "motor_run", 1)
	steps(p, 1)
	active, reactive := physics.MotorRunUp(0, 6, 0.3, 0.85)
	expect(t, p, "load", "power_kw", 50+30*active, 1e-6)
	expect(t, p, "load", "reactive_power_kvar", 30*reactive, 1e-4)
	expect(t, p, "load", "motor_starting", 1, 0)
	peak := value(t, p, "load", "current_a")
	steps(p, 20)
	active, _ = physics.MotorRunUp(0.5, 6, 0.3, 0.85)
	expect(t, p, "load", "motor_power_kw", 30*active, 1e-6)
	steps(p, 20)
	expect(t, p, "load", "motor_starting", 0, 0)
	expect(t, p, "load", "power_kw", 80, 0)
	expect(t, p, "load", "reactive_power_kvar", 30*math.Tan(math.Acos(0.85)), 1e-4)
	if running := value(t, p, "load", "current_a"); peak < 2*running {
		t.Errorf("%v A at the start and %v A in the end", peak, running)
	}
	set(t, p, "grid", "available", 0)
	steps(p, 3)
	expect(t, p, "load", "motor_power_kw", 0, 0)
	expect(t, p, "load", "motor_running", 0, 0)
	set(t, p, "grid", "available", 1)
	steps(p, 2)
	expect(t, p, "load", "motor_starting", 1, 0)
	write(t, p, "load", "motor_run", 0)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 50, 0)
}

func TestStepsOfALoad(t *testing.T) {
	t.Parallel()
	p := newPlant(t, strings.Replace(steadyLoad, "base_kw", "random_step_kw: 20, random_steps_per_h: 600, base_kw", 1))
	changes, on, before := 0, 0, 50.0
	for range 2 * 3600 {
		steps(p, 1)
		power := value(t, p, "load", "power_kw")
		if power != 50 && power != 70 {
			t.Fatalf("%v kW", power)
		}
		if power != before {
			changes, before = changes+1, power
		}
		on += int(power-50) / 20
	}
	if changes < 1100 || changes > 1300 || on < 3200 || on > 4000 {
		t.Errorf("%d steps in 2 h, on for %d s", changes, on)
	}
	p = newPlant(t, steadyLoad)
	set(t, p, "load", "step_kw", 25)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 75, 0)
	set(t, p, "load", "step_kw", -60)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 0, 0)
}

func TestWeekendsHaveAProfileOfTheirOwn(t *testing.T) {
	t.Parallel()
	week, weekend := make([]float64, 24), make([]float64, 24)
	week[23], weekend[0], weekend[12] = 80, 40, 70
	for at, want := range map[string]float64{"2026-06-26T23:30:00Z": 0.6, "2026-06-27T12:00:00Z": 0.7, "2026-06-28T12:00:00Z": 0.7, "2026-06-29T12:00:00Z": 0} {
		instant, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		near(t, at, dailyPart(instant, week, weekend), want, 1e-12)
	}
}

// A load follows its voltage by its exponent, in active and reactive power, and that is
// no demand that is not served; its motor does not, and what limits it holds at any voltage.
func TestALoadFollowsItsVoltage(t *testing.T) {
	t.Parallel()
	for exponent, c := range map[string]struct{ part, limitedKW float64 }{"0": {1, 50}, "1": {0.9, 55}, "2": {0.81, 55}, "1.5": {0.8538149682454624, 55}} {
		part := c.part
		p := newPlant(t, strings.Replace(steadyLoad, "power_factor: 1", "power_factor: 0.8, motor_kw: 10, voltage_exponent: "+exponent, 1))
		steps(p, 2)
		expect(t, p, "load", "power_kw", 50, 1e-3)
		set(t, p, "grid", "voltage_pct", 90)
		steps(p, 2)
		expect(t, p, "load", "power_kw", 50*part, 1e-3)
		expect(t, p, "load", "reactive_power_kvar", 37.5*part, 1e-3)
		expect(t, p, "load", "demand_kw", value(t, p, "load", "power_kw"), 0)
		expect(t, p, "load", "shedding", 0, 0)
		write(t, p, "load", "motor_run", 1)
		steps(p, 100)
		expect(t, p, "load", "power_kw", 50*part+10, 1e-3)
		write(t, p, "load", "motor_run", 0)
		set(t, p, "grid", "voltage_pct", 120) // 60 kW or more, but for the first
		write(t, p, "load", "demand_limit_kw", 55)
		steps(p, 2)
		expect(t, p, "load", "power_kw", c.limitedKW, 1e-3)
		set(t, p, "grid", "available", 0)
		steps(p, 2)
		expect(t, p, "load", "unserved_kw", 50, 1e-3) // as at the nominal voltage
	}
}
