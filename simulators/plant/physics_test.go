package plant

import (
	"math"
	"testing"
	"time"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s = %v, want %v +- %v", what, got, want, tolerance)
	}
}

func TestDailyPart(t *testing.T) {
	t.Parallel()
	profile := make([]float64, 24)
	profile[7], profile[8], profile[23], profile[0] = 40, 80, 10, 30
	zone := time.FixedZone("", 2*3600)
	near(t, "full hour", dailyPart(time.Date(2026, 1, 1, 7, 0, 0, 0, zone), profile, profile), 0.40, 1e-12)
	near(t, "between hours", dailyPart(time.Date(2026, 1, 1, 7, 30, 0, 0, zone), profile, profile), 0.60, 1e-12)
	near(t, "over midnight", dailyPart(time.Date(2026, 1, 1, 23, 45, 0, 0, zone), profile, profile), 0.25, 1e-12)
}

func TestLineCurrent(t *testing.T) {
	t.Parallel()
	near(t, "current", lineCurrent(powerOfKW(300), powerOfKW(400), 400), 500_000/(math.Sqrt(3)*400), 1e-9)
	near(t, "current of a dead bus", lineCurrent(powerOfKW(3), 0, 0), 0, 0)
}

func TestEnergyLosesNothing(t *testing.T) {
	t.Parallel()
	var e Energy
	for range 36_000 { // one hour in steps of 100 ms
		e.Add(Power(1), 100*time.Millisecond) // one milliwatt
	}
	if e != (Energy{Rest: 3_600_000}) || e.KWh() != 1e-6 {
		t.Errorf("one milliwatt hour is %+v, %v kWh", e, e.KWh())
	}
	for range 999 {
		e.Add(1, time.Hour)
	}
	if e != (Energy{WattHours: 1}) || e.KWh() != 0.001 {
		t.Errorf("one watt hour is %+v, %v kWh", e, e.KWh())
	}
}
