package plant

import (
	"math"
	"testing"
	"time"
)

const testHz = 50.0

// swingBy steps one governor of 100 kW, with H of 2 s and a droop of 5 %, from rest at
// nominal frequency under a load of 60 kW more than its reference, and returns the
// frequency after each part of h.
func swingBy(lag time.Duration, h float64, parts int) []float64 {
	g := governor{
		forms: true, rating: powerOfKW(100), most: powerOfKW(100), droop: 0.05, inertia: 2 * time.Second, lag: lag,
	}
	driving, f := []float64{0}, testHz
	var curve []float64
	for range parts {
		f = swingPart([]governor{g}, driving, 60, f, testHz, 2*2*100/testHz, h)
		curve = append(curve, f)
	}
	return curve
}

// The closed form of a first-order governor behind a rotor, in parts of the nominal
// frequency: 2 H T s^2 + 2 H s + 1/R = 0, from rest, with -dP R in the end. Without a
// lag it is -dP R (1 - exp(-t / (2 H R))).
func closedForm(lag, t float64) float64 {
	const inertia, droop, step = 2.0, 0.05, 0.6
	end := -step * droop
	if lag == 0 {
		return testHz * (1 + end*(1-math.Exp(-t/(2*inertia*droop))))
	}
	decay := 1 / (2 * lag)
	angular := math.Sqrt(1/(2*inertia*lag*droop) - decay*decay)
	sine := (-step/(2*inertia) - decay*end) / angular
	return testHz * (1 + end + math.Exp(-decay*t)*(-end*math.Cos(angular*t)+sine*math.Sin(angular*t)))
}

// The response is that of the closed form, and halving the step halves the error.
func TestSwingFollowsTheClosedForm(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{0, 300 * time.Millisecond} {
		errors := make([]float64, 2)
		for k, h := range []float64{0.010, 0.005} {
			for i, f := range swingBy(lag, h, int(3/h)) {
				errors[k] = math.Max(errors[k], math.Abs(f-closedForm(lag.Seconds(), float64(i+1)*h)))
			}
		}
		if errors[0] > 0.05 {
			t.Errorf("lag %v: %v Hz from the closed form", lag, errors[0])
		}
		if ratio := errors[0] / errors[1]; ratio < 1.9 || ratio > 2.1 {
			t.Errorf("lag %v: halving the step makes the error %v times smaller", lag, ratio)
		}
		near(t, "the end", closedForm(lag.Seconds(), 60), testHz*(1-0.6*0.05), 1e-6)
	}
}

// What drives the rotors less what is drawn from them is what they have gained, over
// every tick.
func TestSwingConservesEnergy(t *testing.T) {
	t.Parallel()
	governors := []governor{
		{forms: true, rating: powerOfKW(100), most: powerOfKW(90), droop: 0.04, inertia: 2 * time.Second, lag: 400 * time.Millisecond, reference: powerOfKW(20)},
		{forms: true, rating: powerOfKW(60), least: powerOfKW(-60), most: powerOfKW(60), droop: 0.01, inertia: time.Second},
		{rating: powerOfKW(80), most: powerOfKW(50), reference: powerOfKW(52), droop: 0.05, lag: 200 * time.Millisecond},
	}
	const storedPerHz = 2 * (2*100 + 1*60) / testHz
	f := testHz
	for tick, load := range []float64{30, 120, 180, 180, 10, -40, 0, 90} {
		for range 5 {
			moved := swing(governors, powerOfKW(load), f, testHz, 100*time.Millisecond)
			gained := -load
			for i := range governors {
				gained += moved.mean[i].KW()
				governors[i].driving = moved.driving[i]
				if d := moved.driving[i]; d < governors[i].least || d > governors[i].most {
					t.Errorf("tick %d: governor %d gives %v", tick, i, d)
				}
			}
			near(t, "energy of the rotors", (moved.frequencyHz-f)*storedPerHz, gained*0.1, 1e-6)
			f = moved.frequencyHz
		}
	}
}

// A droop shares a load in proportion to ratings, whatever the sizes.
func TestDroopSharesTheLoad(t *testing.T) {
	t.Parallel()
	governors := []governor{
		{forms: true, rating: powerOfKW(100), most: powerOfKW(100), droop: 0.05, inertia: 2 * time.Second, lag: 300 * time.Millisecond},
		{forms: true, rating: powerOfKW(300), most: powerOfKW(300), droop: 0.05, inertia: 4 * time.Second, lag: time.Second},
	}
	f := testHz
	for range 600 {
		moved := swing(governors, powerOfKW(200), f, testHz, 100*time.Millisecond)
		f = moved.frequencyHz
		for i := range governors {
			governors[i].driving = moved.driving[i]
		}
	}
	near(t, "frequency", f, testHz*(1-0.05*200/400), 1e-6)
	near(t, "the small one", governors[0].driving.KW(), 50, 1e-4)
	near(t, "the large one", governors[1].driving.KW(), 150, 1e-4)
}

// A governor that does not form an island is at its limit below its dead band, and
// follows the frequency above it, as at says.
func TestWhatOnlyFollowsTheFrequency(t *testing.T) {
	t.Parallel()
	g := governor{rating: powerOfKW(100), most: powerOfKW(80), reference: powerOfKW(80 + 100*0.036/(0.05*testHz)), droop: 0.05}
	for hz, want := range map[float64]float64{49: 80, 50.036: 80, 50.536: 60, 52.036: 0, 60: 0} {
		near(t, "at", g.at(hz, testHz).KW(), want, 1e-6)
	}
}
