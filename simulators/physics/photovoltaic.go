package physics

import "math"

// CellTemperature returns the temperature of a solar cell in C from the irradiance in
// W/m2, the air in C and the wind in m/s.
// Source: D. L. King et al., Sandia Photovoltaic Array Performance Model,
// SAND2004-3535, for glass-glass modules on an open rack:
// a = -3.47, b = -0.0594, dT = 3.
func CellTemperature(irradiance, ambientC, windMPerS float64) float64 {
	const a, b, difference = -3.47, -0.0594, 3.0
	module := irradiance*math.Exp(a+b*windMPerS) + ambientC
	return module + irradiance/1000*difference
}

// PVWattsDC returns the DC power of an array at its maximum power point, in the unit of
// rated, for an irradiance in W/m2, cells in C and a coefficient of power in 1/C.
// Source: A. P. Dobos, PVWatts Version 5 Manual, NREL/TP-6A20-62641:
// P = Pdc0 E/1000 (1 + g (Tc - 25)).
func PVWattsDC(irradiance, cellC, rated, coefficient float64) float64 {
	return math.Max(0, rated*irradiance/1000*(1+coefficient*(cellC-25)))
}

// PVWattsAC returns the AC power of an inverter from its DC power, in the same unit,
// with rated the DC power at which the AC rating is reached and nominal the efficiency,
// from 0 to 1.
// Source: A. P. Dobos, PVWatts Version 5 Manual, NREL/TP-6A20-62641:
// eta = nominal/0.9637 (-0.0162 z - 0.0059/z + 0.9858), z = P/rated, clipped at
// nominal x rated.
func PVWattsAC(dc, rated, nominal float64) float64 {
	if dc <= 0 {
		return 0
	}
	part := dc / rated
	efficiency := nominal / 0.9637 * (-0.0162*part - 0.0059/part + 0.9858)
	return max(0, min(nominal*rated, efficiency*dc))
}
