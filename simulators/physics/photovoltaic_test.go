package physics

import "testing"

// The values are those of pvlib-python's tests/test_temperature.py,
// test_pvsystem.py and test_inverter.py.
func TestPVWatts(t *testing.T) {
	t.Parallel()
	isNear(t, "cell temperature", CellTemperature(900, 20, 5), 43.509, 1e-3)
	isNear(t, "DC", PVWattsDC(900, 30, 100, -0.003), 88.65, 1e-9)
	isNear(t, "AC", PVWattsAC(90, 100, 0.95), 85.58556604752516, 1e-9)
	isNear(t, "AC of nothing", PVWattsAC(0, 100, 0.95), 0, 0)
	isNear(t, "AC below the inverter's own use", PVWattsAC(0.01, 100, 0.95), 0, 0)
	isNear(t, "AC clipped", PVWattsAC(200, 100, 0.95), 95, 1e-9)
	isNear(t, "DC in the heat", PVWattsDC(900, 500, 100, -0.003), 0, 0)
}
