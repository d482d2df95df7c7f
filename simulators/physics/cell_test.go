package physics

import (
	"math"
	"testing"
)

func testCell() Cell {
	return Cell{FullV: 4.1, ExponentialV: 4.05, NominalV: 3.4, CapacityAh: 2.25, ExponentialAh: 0.04, NominalAh: 2, RatePerHour: 0.2, ResistanceOhm: 0.2}
}

// The first value is that of NREL's lib_battery_voltage_test: five strings, half charged,
// after an hour at 2 A.
func TestTremblay(t *testing.T) {
	t.Parallel()
	curve := testCell().Curve()
	taken := (5*2.25*0.5 + 2) / 5
	isNear(t, "voltage of a cell", curve.OpenCircuit(taken)-0.2*2/5, 3.889, 1e-3)
	rated := 0.2 * 2.25
	isNear(t, "full", curve.OpenCircuit(0)-0.2*rated, 4.1, 1e-12)
	isNear(t, "end of the nominal zone", curve.OpenCircuit(2)-0.2*rated, 3.4, 1e-12)
	for taken := 0.01; taken < 2.2; taken += 0.01 {
		if curve.OpenCircuit(taken) >= curve.OpenCircuit(taken-0.01) {
			t.Fatalf("the voltage rises at %v Ah", taken)
		}
	}
}

// The energy is the integral of the voltage, and the charge is found back from it.
func TestEnergyOfACell(t *testing.T) {
	t.Parallel()
	curve := testCell().Curve()
	const parts = 200_000
	sum := 0.0
	for i := range parts {
		sum += curve.OpenCircuit((float64(i)+0.5)/parts*2.1) * 2.1 / parts
	}
	isNear(t, "energy", curve.Energy(2.1), sum, 1e-8)
	isNear(t, "energy of a full one", curve.Energy(0), 0, 0)
	for taken := 0.0; taken <= 2.1; taken += 0.05 {
		for _, from := range []float64{0, taken, 1.3, 2.13} {
			isNear(t, "taken", curve.Taken(curve.Energy(taken), from), taken, 1e-12)
		}
	}
	flat := Cell{FullV: 3.2, ExponentialV: 3.2, NominalV: 3.2, CapacityAh: 2, ExponentialAh: 0.1, NominalAh: 1.8}.Curve()
	isNear(t, "a flat one", flat.Taken(3.2, 0.1), 1, 1e-15)
}

func TestFade(t *testing.T) {
	t.Parallel()
	isNear(t, "half of its cycles", CycleFade(3000, 6000), 0.1, 1e-15)
	isNear(t, "its years", CalendarFadePerHour(15, 25)*15*8766, 0.2, 1e-12)
	isNear(t, "in the heat", CalendarFadePerHour(15, 45)/CalendarFadePerHour(15, 25), 4, 1e-12)
	if math.IsInf(CalendarFadePerHour(1, 500), 0) {
		t.Error("no number")
	}
}
