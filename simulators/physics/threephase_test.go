package physics

import (
	"math"
	"math/cmplx"
	"testing"
)

// The formulas are held against the sum of the phasors.
func TestThreePhases(t *testing.T) {
	t.Parallel()
	within(t, "line voltage", LineVoltage(230, 230), 230*math.Sqrt(3), 1e-9)
	turn := cmplx.Rect(1, 2*math.Pi/3)
	within(t, "line voltage of unlike ones", LineVoltage(240, 220), cmplx.Abs(240-220*turn), 1e-9)
	within(t, "neutral of like currents", NeutralCurrent(7, 7, 7), 0, 1e-9)
	within(t, "neutral current", NeutralCurrent(10, 6, 3), cmplx.Abs(10+6*turn+3*turn*turn), 1e-9)
	parts := PhaseParts(0.1)
	within(t, "mean", parts[0]+parts[1]+parts[2], 3, 1e-12)
	within(t, "first", parts[0], 1.1, 1e-12)
}
