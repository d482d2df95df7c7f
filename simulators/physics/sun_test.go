package physics

import (
	"math"
	"testing"
	"time"
)

func isNear(t *testing.T, what string, got, want, tolerance float64) {
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
		isNear(t, "clear sky", ClearSky(elevation), want, 1e-9)
	}
	isNear(t, "overcast", ThroughClouds(1000, 1), 250, 1e-9)
	isNear(t, "half covered", ThroughClouds(1000, 0.5), 928.9508, 1e-4)
	isNear(t, "no cloud", ThroughClouds(1000, 0), 1000, 0)
}

// The instant and place are those of pvlib-python's tests/test_solarposition.py,
// after NREL's solar position algorithm report.
func TestSunPosition(t *testing.T) {
	t.Parallel()
	at := time.Date(2003, 10, 17, 12, 30, 30, 0, time.FixedZone("MST", -7*3600))
	elevation, azimuth := SunPosition(at, 39.742476, -105.1786)
	isNear(t, "elevation", elevation, 39.872, 0.1)
	isNear(t, "azimuth", azimuth, 194.340, 0.1)
	south, north := SunPosition(time.Date(2026, 6, 21, 12, 2, 0, 0, time.UTC), -33.9, 0)
	isNear(t, "elevation in the south in winter", south, 90-33.9-23.44, 0.1)
	isNear(t, "azimuth in the south", math.Min(north, 360-north), 0, 1)
}
