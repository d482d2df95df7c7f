package physics

import "math"

// ChargeTaper returns the part of its greatest power that a vehicle takes at a state of
// charge, a part of 1: all of it at constant current, and from 80 % on, at constant
// voltage, less and less: a current that decays exponentially falls in a straight line
// over the charge. A twentieth is left in the end.
//
// Source: constant current, constant voltage charging as in the IEC 62660-1 tests; the
// 80 % are those that vehicles show on public curves of DC charging.
func ChargeTaper(charge float64) float64 {
	return max(0.05, min(1, (1-charge)/0.2))
}

// AdvertisedPower returns the greatest power in kW that a charging station of one or
// three phases advertises with a current in A at a voltage between two conductors in V:
// nothing below the 6 A that a pilot of IEC 61851-1 begins with.
func AdvertisedPower(currentA, voltageV float64, phases int) float64 {
	if currentA < 6 {
		return 0
	}
	return float64(phases) * voltageV / math.Sqrt(3) * currentA / 1000
}
