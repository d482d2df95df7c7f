package plant

import (
	"math"
	"time"
)

// Power is electrical power in whole milliwatts, or reactive power in whole
// millivars. Because it is an integer the balance of the plant closes exactly,
// whatever the order in which its devices are added up.
type Power int64

const milliwattsPerKW = 1e6

// powerOfKW rounds kilowatts to the nearest milliwatt.
func powerOfKW(kw float64) Power { return Power(math.Round(kw * milliwattsPerKW)) }

// KW returns the power in kilowatts, or in kilovars.
func (p Power) KW() float64 { return float64(p) / milliwattsPerKW }

// Energy counts energy without loss: whole watt hours, and below them whole
// milliwatt milliseconds.
type Energy struct {
	WattHours int64
	Rest      int64 // mW ms, from 0 to restPerWattHour - 1
}

const restPerWattHour = 1000 * 3_600_000 // mW ms

// Add counts a power of 0 or more held for a whole number of milliseconds.
func (e *Energy) Add(p Power, duration time.Duration) {
	e.Rest += int64(p) * duration.Milliseconds()
	e.WattHours += e.Rest / restPerWattHour
	e.Rest %= restPerWattHour
}

// KWh returns the energy in kilowatt hours.
func (e Energy) KWh() float64 {
	return float64(e.WattHours)/1000 + float64(e.Rest)/(1000*restPerWattHour)
}

// approach moves from towards target by at most limit, a change of 0 or more.
func approach(from, target, limit Power) Power {
	switch {
	case target > from+limit:
		return from + limit
	case target < from-limit:
		return from - limit
	default:
		return target
	}
}

// clamp limits a number to the range from least to greatest.
func clamp(number, least, greatest float64) float64 {
	return math.Max(least, math.Min(greatest, number))
}
