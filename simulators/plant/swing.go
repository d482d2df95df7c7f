package plant

import (
	"math"
	"time"
)

// governor is how the power of a device follows the frequency of an island. A device
// that forms one carries what the others leave; one that does not, an inverter that
// gives less at high frequency, delivers what its governor says.
type governor struct {
	forms       bool
	rating      Power
	least, most Power
	reference   Power         // at nominal frequency
	droop       float64       // part of the nominal frequency that it falls by from no load to the rating, above 0
	inertia     time.Duration // H of one that forms, above 0: the kinetic energy over the rating; a converter emulates it
	lag         time.Duration // its time constant, 0 for a converter
	driving     Power         // what it delivers now, or what drives the rotor
}

// at returns what a governor gives in the end at a frequency that stays.
func (g governor) at(frequencyHz, nominalHz float64) Power {
	gain := g.rating.KW() / (g.droop * nominalHz)
	return max(g.least, min(g.most, g.reference+powerOfKW(gain*(nominalHz-frequencyHz))))
}

// swingStep is the longest part of a tick that the frequency is computed over in
// one go.
const swingStep = 10 * time.Millisecond

// swung is an island after one tick: its frequency, and for each governor the power
// at the end and the mean.
type swung struct {
	frequencyHz float64
	driving     []Power
	mean        []Power
}

// swing moves the frequency of an island over a tick in which what has no governor
// draws a constant power.
//
// Source: P. Kundur, Power System Stability and Control, 1994, (3.209) and 11.1:
// 2 H S / f0 df/dt = Pdriving - Pelectrical, with each governor
// T dP/dt = Pref - S (f - f0) / (R f0) - P within its limits. The equations are
// stepped by the backward Euler method, which is stable for any step, and solved
// for the frequency at the end of each; a governor that reaches a limit stays there.
func swing(governors []governor, electrical Power, frequencyHz, nominalHz float64, step time.Duration) swung {
	parts := max(1, int((step+swingStep-1)/swingStep))
	h := step.Seconds() / float64(parts)
	stored := 0.0 // 2 H S / f0, in kW s per Hz
	driving, mean := make([]float64, len(governors)), make([]float64, len(governors))
	for i, g := range governors {
		if g.forms {
			stored += 2 * g.inertia.Seconds() * g.rating.KW() / nominalHz
		}
		driving[i] = g.driving.KW()
	}
	for range parts {
		frequencyHz = swingPart(governors, driving, electrical.KW(), frequencyHz, nominalHz, stored, h)
		for i := range mean {
			mean[i] += driving[i] / float64(parts)
		}
	}
	result := swung{frequencyHz: frequencyHz, driving: make([]Power, len(governors)), mean: make([]Power, len(governors))}
	for i := range governors {
		result.driving[i], result.mean[i] = powerOfKW(driving[i]), powerOfKW(mean[i])
	}
	return result
}

// swingPart makes one step of h seconds: it changes what each governor gives, in kW,
// and returns the frequency at its end.
func swingPart(governors []governor, driving []float64, electricalKW, frequencyHz, nominalHz, stored, h float64) float64 {
	limited := make([]float64, len(governors)) // NaN where one follows the frequency
	for i := range limited {
		limited[i] = math.NaN()
	}
	for {
		// Each that follows gives a - b f at the end of the step.
		constant, slope := 0.0, 0.0
		for i, g := range governors {
			a, b := g.following(driving[i], nominalHz, h)
			if !math.IsNaN(limited[i]) {
				a, b = limited[i], 0
			}
			constant, slope = constant+a, slope+b
		}
		end := (stored*frequencyHz + h*(constant-electricalKW)) / (stored + h*slope)
		again := false
		for i, g := range governors {
			if !math.IsNaN(limited[i]) {
				continue
			}
			a, b := g.following(driving[i], nominalHz, h)
			if power := a - b*end; power > g.most.KW() || power < g.least.KW() {
				limited[i], again = clamp(power, g.least.KW(), g.most.KW()), true
			}
		}
		if again {
			continue
		}
		for i, g := range governors {
			a, b := g.following(driving[i], nominalHz, h)
			driving[i] = a - b*end
			if !math.IsNaN(limited[i]) {
				driving[i] = limited[i]
			}
		}
		return end
	}
}

// following returns what a governor gives at the end of a step of h seconds as
// a - b f, in kW and kW per Hz, f being the frequency then.
func (g governor) following(driving, nominalHz, h float64) (a, b float64) {
	gain := g.rating.KW() / (g.droop * nominalHz)
	part := 1.0
	if g.lag > 0 {
		part = h / (h + g.lag.Seconds())
	}
	return driving*(1-part) + part*(g.reference.KW()+gain*nominalHz), part * gain
}
