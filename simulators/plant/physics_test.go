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

// The values are those of pvlib-python's tests/test_clearsky.py.
func TestClearSky(t *testing.T) {
	t.Parallel()
	for elevation, want := range map[float64]float64{
		-20: 0, -0.05: 0, 5: 48.6298687941956, 10: 135.741748091813,
		30: 487.894132885425, 50: 778.766689344363, 90: 1035.09203253450,
	} {
		near(t, "clear sky", clearSky(elevation), want, 1e-9)
	}
	near(t, "overcast", throughClouds(1000, 1), 250, 1e-9)
	near(t, "half covered", throughClouds(1000, 0.5), 928.9508, 1e-4)
	near(t, "no cloud", throughClouds(1000, 0), 1000, 0)
}

// The instant and place are those of pvlib-python's tests/test_solarposition.py,
// after NREL's solar position algorithm report.
func TestSunPosition(t *testing.T) {
	t.Parallel()
	at := time.Date(2003, 10, 17, 12, 30, 30, 0, time.FixedZone("MST", -7*3600))
	elevation, azimuth := sunPosition(at, Location{LatitudeDeg: 39.742476, LongitudeDeg: -105.1786})
	near(t, "elevation", elevation, 39.872, 0.1)
	near(t, "azimuth", azimuth, 194.340, 0.1)
	south, north := sunPosition(time.Date(2026, 6, 21, 12, 2, 0, 0, time.UTC), Location{LatitudeDeg: -33.9})
	near(t, "elevation in the south in winter", south, 90-33.9-23.44, 0.1)
	near(t, "azimuth in the south", math.Min(north, 360-north), 0, 1)
}

// The values are those of pvlib-python's tests/test_temperature.py,
// test_pvsystem.py and test_inverter.py.
func TestPVWatts(t *testing.T) {
	t.Parallel()
	near(t, "cell temperature", cellTemperature(900, 20, 5), 43.509, 1e-3)
	near(t, "DC", pvDC(900, 30, 100, -0.003), 88.65, 1e-9)
	near(t, "AC", pvAC(90, 100, 0.95), 85.58556604752516, 1e-9)
	near(t, "AC of nothing", pvAC(0, 100, 0.95), 0, 0)
	near(t, "AC below the inverter's own use", pvAC(0.01, 100, 0.95), 0, 0)
	near(t, "AC clipped", pvAC(200, 100, 0.95), 95, 1e-9)
	near(t, "DC in the heat", pvDC(900, 500, 100, -0.003), 0, 0)
}

func TestCellWarmingSettles(t *testing.T) {
	t.Parallel()
	temperature := 25.0
	for range 20_000 {
		temperature += cellWarming(2, temperature-25, 0.1, 100) * 1
	}
	near(t, "steady state", temperature, 25+2/0.1, 1e-6)
	near(t, "rate from cold", cellWarming(2, 0, 0.1, 100), 0.02, 1e-12)
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
