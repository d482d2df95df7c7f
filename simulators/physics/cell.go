package physics

import "math"

// Cell is what the discharge curve of a cell shows on a data sheet: its voltages when it
// is full, at the end of the exponential zone and at the end of the nominal one, and the
// charge that was taken by then, at a rate of discharge in parts of the capacity an hour.
type Cell struct {
	FullV, ExponentialV, NominalV        float64
	CapacityAh, ExponentialAh, NominalAh float64
	RatePerHour                          float64
	ResistanceOhm                        float64
}

// CellCurve is the voltage of a cell over the charge that was taken from it.
// Source: O. Tremblay, L.-A. Dessaint, A.-I. Dekkiche, "A generic battery model for the
// dynamic simulation of hybrid electric vehicles", IEEE VPPC 2007:
// V = E0 - K Q/(Q - it) + A exp(-B it) - R I.
type CellCurve struct {
	constantV     float64 // E0
	polarizationV float64 // K
	amplitudeV    float64 // A
	decayPerAh    float64 // B
	capacityAh    float64 // Q
}

// Curve returns the curve through the points of a data sheet.
func (c Cell) Curve() CellCurve {
	amplitude, decay := c.FullV-c.ExponentialV, 3/c.ExponentialAh
	polarization := (c.FullV - c.NominalV + amplitude*(math.Exp(-decay*c.NominalAh)-1)) * (c.CapacityAh - c.NominalAh) / c.NominalAh
	return CellCurve{
		constantV:     c.FullV + polarization + c.ResistanceOhm*c.CapacityAh*c.RatePerHour - amplitude,
		polarizationV: polarization, amplitudeV: amplitude, decayPerAh: decay, capacityAh: c.CapacityAh,
	}
}

// OpenCircuit returns the voltage without current when so much charge was taken, 0 and
// more and less than the capacity.
func (c CellCurve) OpenCircuit(takenAh float64) float64 {
	return c.constantV - c.polarizationV*c.capacityAh/(c.capacityAh-takenAh) + c.amplitudeV*math.Exp(-c.decayPerAh*takenAh)
}

// Energy returns the integral of that in Wh from a full cell on: what a current without
// losses has brought.
func (c CellCurve) Energy(takenAh float64) float64 {
	return c.constantV*takenAh + c.polarizationV*c.capacityAh*math.Log1p(-takenAh/c.capacityAh) -
		c.amplitudeV/c.decayPerAh*math.Expm1(-c.decayPerAh*takenAh)
}

// Taken returns the charge in Ah that has brought an energy in Wh, which a cell of this
// capacity holds. It searches from a charge near it by Newton's method, which does not
// leave the range because the voltage falls all the way.
func (c CellCurve) Taken(energyWh, nearAh float64) float64 {
	taken := nearAh
	for range 30 {
		next := max(0, taken-(c.Energy(taken)-energyWh)/c.OpenCircuit(taken))
		done := math.Abs(next-taken) <= 1e-14*c.capacityAh
		if taken = next; done {
			break
		}
	}
	return taken
}

// Fade is the part of the capacity that a battery has lost at the end of its life.
const Fade = 0.2

// CycleFade returns the part of the capacity that so many full cycles cost one that
// lasts for life cycles, more than 0: in a straight line.
func CycleFade(cycles, life float64) float64 { return Fade * cycles / life }

// CalendarFadePerHour returns the part of the capacity that an hour costs a battery which
// lasts for years at 25 C, more than 0: it doubles for each 10 K.
// Source: the rule of thumb after S. Arrhenius.
func CalendarFadePerHour(years, cellC float64) float64 {
	return Fade / (years * 8766) * math.Exp2((cellC-25)/10)
}
