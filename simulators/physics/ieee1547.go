package physics

import (
	"math"
	"time"
)

// CurvePoint is a corner of a curve.
type CurvePoint struct{ X, Y float64 }

// Interpolate returns the height of a curve, whose corners stand in the order of X: a
// straight line between them, level beyond the first and the last.
func Interpolate(curve []CurvePoint, x float64) float64 {
	if x <= curve[0].X {
		return curve[0].Y
	}
	for i := 1; i < len(curve); i++ {
		if from, to := curve[i-1], curve[i]; x <= to.X {
			return from.Y + (to.Y-from.Y)*(x-from.X)/(to.X-from.X)
		}
	}
	return curve[len(curve)-1].Y
}

// VoltVar is the reactive power that an inverter gives, in parts of its apparent power,
// for its voltage in parts of the nominal one.
// Source: IEEE 1547-2018, table 8, category B.
var VoltVar = []CurvePoint{{0.92, 0.44}, {0.98, 0}, {1.02, 0}, {1.08, -0.44}}

// VoltWatt is the most active power that an inverter gives, in parts of its rating, for
// its voltage in parts of the nominal one.
// Source: IEEE 1547-2018, table 31, category B, of one that can go down to 0.
var VoltWatt = []CurvePoint{{1.06, 1}, {1.10, 0}}

// Open loop response times: after them 90 % of a change is made.
// Source: IEEE 1547-2018, tables 8 and 31, category B.
const (
	VoltVarResponse  = 5 * time.Second
	VoltWattResponse = 10 * time.Second
)

// Respond moves a value towards a target that it reaches 90 % of in a response time.
func Respond(value, target float64, step, response time.Duration) float64 {
	return target + (value-target)*math.Exp(-math.Ln10*step.Seconds()/response.Seconds())
}

// TripLimit is a limit beyond which an inverter ceases to energize after a while.
type TripLimit struct {
	Name      string
	Frequency bool    // of the frequency, and not of the voltage
	Over      bool    // above, and not below
	Limit     float64 // in parts of the nominal value
	Clearing  time.Duration
}

// Beyond reports whether a voltage and a frequency, in parts of the nominal ones, are
// beyond the limit.
func (l TripLimit) Beyond(voltage, frequency float64) bool {
	value := voltage
	if l.Frequency {
		value = frequency
	}
	return l.Over && value > l.Limit || !l.Over && value < l.Limit
}

// TripLimits is the default settings for trips.
// Source: IEEE 1547-2018, table 13 (voltage, category III) and table 18 (frequency, of a
// nominal 60 Hz).
var TripLimits = [8]TripLimit{
	{Name: "over_voltage_2", Over: true, Limit: 1.20, Clearing: 160 * time.Millisecond},
	{Name: "over_voltage_1", Over: true, Limit: 1.10, Clearing: 13 * time.Second},
	{Name: "under_voltage_1", Limit: 0.88, Clearing: 21 * time.Second},
	{Name: "under_voltage_2", Limit: 0.50, Clearing: 2 * time.Second},
	{Name: "over_frequency_2", Frequency: true, Over: true, Limit: 62.0 / 60, Clearing: 160 * time.Millisecond},
	{Name: "over_frequency_1", Frequency: true, Over: true, Limit: 61.2 / 60, Clearing: 300 * time.Second},
	{Name: "under_frequency_1", Frequency: true, Limit: 58.5 / 60, Clearing: 300 * time.Second},
	{Name: "under_frequency_2", Frequency: true, Limit: 56.5 / 60, Clearing: 160 * time.Millisecond},
}

// Ceases reports whether an inverter gives no power at a voltage in parts of the nominal
// one, without having tripped.
// Source: IEEE 1547-2018, table 16, category III: momentary cessation.
func Ceases(voltage float64) bool { return voltage > 1.10 || voltage < 0.50 }

// CessationRecovery is how long it takes from no power to all of it after that.
// Source: IEEE 1547-2018, 6.4.2.7: 80 % within 0.4 s.
const CessationRecovery = 400 * time.Millisecond

// MayEnterService reports whether an inverter that was out of service may count the time
// until it enters it, at a voltage and a frequency in parts of the nominal ones.
// Source: IEEE 1547-2018, table 4.
func MayEnterService(voltage, frequency float64) bool {
	return voltage >= 0.917 && voltage <= 1.05 && frequency >= 59.5/60 && frequency <= 60.1/60
}

// WithinRating limits active and reactive power to a circle of apparent power, and the
// reactive power to its most. What comes first takes what it wants, the other has what
// is left.
// Source: IEEE 1547-2018, 5.2, and 5.3.3 for the priority of reactive power.
func WithinRating(active, reactive, apparent, mostReactive float64, reactiveFirst bool) (p, q float64) {
	q = max(-mostReactive, min(mostReactive, reactive))
	if reactiveFirst {
		room := leg(apparent, q)
		return max(-room, min(room, active)), q
	}
	p = max(-apparent, min(apparent, active))
	room := leg(apparent, p)
	return p, max(-room, min(room, q))
}

// leg returns the other leg of a right triangle.
func leg(hypotenuse, one float64) float64 {
	return math.Sqrt(max(0, (hypotenuse-math.Abs(one))*(hypotenuse+math.Abs(one))))
}
