package physics

import "testing"

func TestCellWarmingSettles(t *testing.T) {
	t.Parallel()
	temperature := 25.0
	for range 20_000 {
		temperature += CellWarming(2, temperature-25, 0.1, 100) * 1
	}
	isNear(t, "steady state", temperature, 25+2/0.1, 1e-6)
	isNear(t, "rate from cold", CellWarming(2, 0, 0.1, 100), 0.02, 1e-12)
}

func TestStoredChange(t *testing.T) {
	t.Parallel()
	isNear(t, "discharge", StoredChange(40, 0.9, 0.8), -50, 1e-12)
	isNear(t, "charge", StoredChange(-40, 0.9, 0.8), 36, 1e-12)
	isNear(t, "rest", StoredChange(0, 0.9, 0.8), 0, 0)
}
