package physics

import "math"

// PhaseParts returns what each of three conductors has of their mean where they differ
// from it by at most an imbalance, a part of 1 from 0 to 1: the first is above the
// mean, the third below.
//
// Source: NEMA MG 1, 14.36: the greatest deviation from the mean over the mean.
func PhaseParts(imbalance float64) [3]float64 { return [3]float64{1 + imbalance, 1, 1 - imbalance} }

// LineVoltage returns the voltage between two conductors from their voltages to the
// neutral, which stand 120 degrees apart, in the unit of those.
func LineVoltage(a, b float64) float64 { return math.Sqrt(a*a + b*b + a*b) }

// NeutralCurrent returns the current of the neutral from those of the conductors,
// which have the same power factor, in their unit.
func NeutralCurrent(a, b, c float64) float64 {
	return math.Sqrt(math.Max(0, a*a+b*b+c*c-a*b-b*c-c*a))
}
