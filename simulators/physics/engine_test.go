package physics

import "testing"

func TestFuelChart(t *testing.T) {
	t.Parallel()
	for load, want := range map[float64]float64{25: 9.8, 50: 15.5, 75: 22.0, 100: 28.0} {
		within(t, "fuel of 100 kW", DieselFuel(load, 100), want, 0.03*want)
		within(t, "fuel of 500 kW", DieselFuel(5*load, 500), 5*want, 0.15*want)
	}
	within(t, "fuel between two loads", DieselFuel(62.5, 100), (15.5+22)/2, 1e-9)
	within(t, "fuel without load", DieselFuel(0, 100), 9.8-(15.5-9.8), 1e-9)
	within(t, "fuel of one that is driven", DieselFuel(-10, 100), 4.1-0.4*5.7, 1e-9)
	within(t, "fuel of one that is driven by all of its friction", DieselFuel(-20, 100), 0, 0)
}

func TestEngine(t *testing.T) {
	t.Parallel()
	within(t, "oil, warm", OilPressure(1, 85), 4, 1e-9)
	within(t, "oil, cold", OilPressure(1, 20), 5.6, 1e-9)
	within(t, "oil, at rest", OilPressure(0, 20), 0, 0)
	within(t, "wet stacking without load", WetStacking(0), 12.5, 1e-9)
	within(t, "wet stacking at 15 %", WetStacking(0.15), 6.25, 1e-9)
	within(t, "wet stacking at half load", WetStacking(0.5), 0, 0)
	within(t, "wet stacking at full load", WetStacking(1), -50, 1e-9)
	within(t, "battery at rest", StarterVoltage(1, false, false), 25.44, 1e-9)
	within(t, "battery cranking", StarterVoltage(1, true, true), 20.44, 1e-9)
	within(t, "battery floating", StarterVoltage(0.5, false, true), 27.24, 1e-9)
}
