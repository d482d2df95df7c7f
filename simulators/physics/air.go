package physics

import "math"

// VapourPressure returns the pressure in hPa of water vapour that saturates air over
// water, at -45 to 60 C.
//
// Source: the Magnus formula of the WMO, Guide to Instruments and Methods of
// Observation (WMO-No. 8), annex 4.B: e = 6.112 exp(17.62 t / (243.12 + t)).
func VapourPressure(airC float64) float64 {
	return 6.112 * math.Exp(17.62*airC/(243.12+airC))
}

// DewPoint returns the temperature in C at which air with a relative humidity, in parts
// of 1 and above 0, would be saturated: the Magnus formula solved for it.
func DewPoint(airC, humidity float64) float64 {
	logarithm := math.Log(humidity) + 17.62*airC/(243.12+airC)
	return 243.12 * logarithm / (17.62 - logarithm)
}

// DailyWave returns how far the air is above the mean of its day at an hour from 0 to
// 24, in parts of the greatest distance: warmest three hours after noon, as a sine.
func DailyWave(hour float64) float64 { return math.Cos((hour - 15) / 24 * 2 * math.Pi) }
