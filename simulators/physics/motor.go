package physics

import "math"

// MotorRunUp returns what an induction motor draws while it runs up, in parts of its
// rated active power. progress goes from 0, at rest, to 1, at its rated speed, which
// it reaches at a steady acceleration; startCurrent is the current at rest in parts of
// the rated one, startFactor and factor are the power factors at rest and at the
// rating.
//
// Source: the equivalent circuit of S. J. Chapman, Electric Machinery Fundamentals,
// 6.3: a rotor resistance over the slip in series with the reactances,
// I = U / sqrt((R/s)^2 + X^2), beside a magnetizing branch of constant reactive power.
func MotorRunUp(progress, startCurrent, startFactor, factor float64) (active, reactive float64) {
	r, x := startFactor, math.Sqrt(1-startFactor*startFactor)
	rated := r / math.Sqrt(startCurrent*startCurrent-x*x) // slip
	series := func(slip float64) (active, reactive float64) {
		square := r*r/(slip*slip) + x*x
		return startCurrent * startCurrent * r / slip / square, startCurrent * startCurrent * x / square
	}
	unit, own := series(rated)
	active, reactive = series(1 - progress*(1-rated))
	magnetizing := math.Tan(math.Acos(factor)) - own/unit
	return active / unit, reactive/unit + magnetizing
}
