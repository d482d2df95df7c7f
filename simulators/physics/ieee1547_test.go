package physics

import (
	"math"
	"testing"
	"time"
)

// The table is that of OpenDER's tests/opender/test_volt_var.py: 100 kVA of category B,
// to a tenth of a kW.
func TestVoltVar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ voltage, available, p, q float64 }{
		{0.985, 100, 100, 0}, {0.975, 100, 99.9, 3.7}, {0.95, 100, 97.5, 22.0}, {0.925, 100, 91.5, 40.3}, {0.915, 100, 89.8, 44.0},
		{1.015, 100, 100, 0}, {1.025, 100, 99.9, -3.7}, {1.05, 100, 97.5, -22.0}, {1.075, 100, 91.5, -40.3}, {1.085, 100, 89.8, -44.0},
		{0.985, 50, 50, 0}, {0.975, 50, 50, 3.7}, {0.95, 50, 50, 22.0}, {0.925, 50, 50, 40.3}, {1.085, 50, 50, -44.0},
	} {
		p, q := WithinRating(c.available, 100*Interpolate(VoltVar, c.voltage), 100, 44, true)
		isNear(t, "active", p, c.p, 0.051)
		isNear(t, "reactive", q, c.q, 0.051)
	}
}

func TestWithinRating(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		active, reactive float64
		reactiveFirst    bool
		p, q             float64
	}{
		{-100, 60, true, -80, 60},
		{80, -80, false, 80, -60},
		{120, 80, false, 100, 0},
		{0, 90, true, 0, 80},
		{0, -90, false, 0, -80},
	} {
		p, q := WithinRating(c.active, c.reactive, 100, 80, c.reactiveFirst)
		isNear(t, "active", p, c.p, 1e-9)
		isNear(t, "reactive", q, c.q, 1e-9)
	}
}

func TestVoltWatt(t *testing.T) {
	t.Parallel()
	for voltage, want := range map[float64]float64{0.9: 1, 1.06: 1, 1.08: 0.5, 1.10: 0, 1.2: 0} {
		isNear(t, "most", Interpolate(VoltWatt, voltage), want, 1e-9)
	}
	value := 0.0
	for range 50 {
		value = Respond(value, 1, 100*time.Millisecond, VoltVarResponse)
	}
	isNear(t, "after the response time", value, 0.9, 1e-12)
}

func TestTripLimits(t *testing.T) {
	t.Parallel()
	for at, want := range map[[2]float64]string{
		{1, 1}: "", {1.2, 1}: "over_voltage_1 ", {1.21, 1}: "over_voltage_2 over_voltage_1 ", {0.87, 1}: "under_voltage_1 ",
		{0.49, 1}: "under_voltage_1 under_voltage_2 ", {1, 51.01 / 50}: "over_frequency_1 ", {1, 51.7 / 50}: "over_frequency_2 over_frequency_1 ",
		{1, 48.74 / 50}: "under_frequency_1 ", {1, 47 / 50.0}: "under_frequency_1 under_frequency_2 ",
	} {
		beyond := ""
		for _, limit := range TripLimits {
			if limit.Beyond(at[0], at[1]) {
				beyond += limit.Name + " "
			}
		}
		if beyond != want {
			t.Errorf("%v is beyond %s, want %s", at, beyond, want)
		}
	}
	if Ceases(1.1) || Ceases(0.5) || !Ceases(1.11) || !Ceases(0.49) {
		t.Error("it ceases where it should not")
	}
	for at, want := range map[[2]float64]bool{
		{1, 1}: true, {0.917, 1}: true, {0.916, 1}: false, {1.051, 1}: false, {1, 49.5 / 50}: false, {1, 49.6 / 50}: true, {1, 50.1 / 50}: false,
	} {
		if MayEnterService(at[0], at[1]) != want {
			t.Errorf("%v: %v", at, !want)
		}
	}
	if math.IsNaN(leg(1, 2)) {
		t.Error("no leg")
	}
}
