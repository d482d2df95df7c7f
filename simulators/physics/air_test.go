package physics

import "testing"

// The values are those of the tables of psychrometry: 23.4 hPa at 20 C, 42.4 at 30, and
// a dew point of 9.3 C for 20 C and 50 %.
func TestAir(t *testing.T) {
	t.Parallel()
	within(t, "vapour at 0 C", VapourPressure(0), 6.11, 0.01)
	within(t, "vapour at 20 C", VapourPressure(20), 23.39, 0.1)
	within(t, "vapour at 30 C", VapourPressure(30), 42.47, 0.15)
	within(t, "dew point", DewPoint(20, 0.5), 9.27, 0.05)
	within(t, "dew point of saturated air", DewPoint(17, 1), 17, 1e-9)
	within(t, "vapour at the dew point", VapourPressure(DewPoint(25, 0.6)), 0.6*VapourPressure(25), 1e-9)
	within(t, "afternoon", DailyWave(15), 1, 1e-12)
	within(t, "night", DailyWave(3), -1, 1e-12)
}
