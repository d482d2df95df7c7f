package physics

import "math"

// DieselFuel returns the fuel of a running diesel set in litres an hour at a power up to
// its rating, both in kW: the chart of a 100 kW set, scaled to the rating, in straight
// lines between its loads, and on through no load to where its bus drives it (below 0)
// with what its friction takes, and it burns nothing.
//
// Source: the approximate diesel fuel consumption chart that generator dealers publish
// (2.6, 4.1, 5.8 and 7.4 US gallons an hour at 1/4, 1/2, 3/4 and full load).
func DieselFuel(powerKW, ratedKW float64) float64 {
	chart := [...]float64{9.8, 15.5, 22.0, 28.0}
	quarters := powerKW / ratedKW * 4
	lower := int(max(1, min(3, math.Floor(quarters))))
	slope := chart[lower] - chart[lower-1]
	return max(0, chart[lower-1]+slope*(quarters-float64(lower))) * ratedKW / 100
}

// OilPressure returns the pressure of an engine's oil in bar at a speed in parts of
// the rated one and a temperature of the coolant in C. A pump delivers in proportion
// to the speed against an oil that is thicker when it is cold: 4 bar warm and 5.6 bar
// at 20 C, at the rated speed, where the gauge of a healthy industrial diesel stands
// between 3 and 6.
func OilPressure(speed, coolantC float64) float64 {
	return 4 * speed * (1.4 - 0.4*max(0, min(1, (coolantC-20)/65)))
}

// WetStacking returns by how many percent an hour unburnt fuel fills the exhaust of a
// diesel at a load in parts of its rating: below 30 % it gathers, within 8 hours
// without load, and above 75 % it burns off within 2.
//
// Source: NFPA 110, 8.4.2, exercises a set at 30 % of its rating at least, and with up
// to 75 % where it does not reach that, because of wet stacking. The hours are those of
// operators' experience, not of a standard.
func WetStacking(load float64) float64 {
	switch {
	case load < 0.30:
		return 100.0 / 8 * (0.30 - load) / 0.30
	case load > 0.75:
		return -100.0 / 2
	default:
		return 0
	}
}

// StarterVoltage returns the voltage in V of a lead-acid starter battery of 24 V that
// is charged to a part of 1, at rest, while it cranks the engine, or while a charger
// holds it: 1.97 to 2.12 V a cell at rest, 2.27 V floating.
func StarterVoltage(charge float64, cranking, charging bool) float64 {
	rest := 12 * (1.97 + 0.15*charge)
	switch {
	case cranking:
		return rest - 5
	case charging:
		return 12 * 2.27
	default:
		return rest
	}
}
