package physics

import (
	"math"
	"testing"
)

func TestChargeTaper(t *testing.T) {
	t.Parallel()
	for charge, want := range map[float64]float64{0: 1, 0.8: 1, 0.9: 0.5, 0.99: 0.05, 1: 0.05} {
		within(t, "taper", ChargeTaper(charge), want, 1e-12)
	}
	// Beyond 80 % the current decays exponentially.
	charge, hours := 0.8, 0.0
	for ; charge < 0.9; hours += 1e-5 {
		charge += ChargeTaper(charge) * 1e-5
	}
	within(t, "hours to halve it", hours, 0.2*math.Ln2, 1e-3)
}

// 11 kW and 22 kW are the usual stations of 16 A and 32 A.
func TestAdvertisedPower(t *testing.T) {
	t.Parallel()
	within(t, "16 A", AdvertisedPower(16, 400, 3), 11.085, 1e-3)
	within(t, "32 A", AdvertisedPower(32, 400, 3), 22.17, 1e-2)
	within(t, "6 A of one phase", AdvertisedPower(6, 400, 1), 1.386, 1e-3)
	within(t, "too little", AdvertisedPower(5.9, 400, 3), 0, 0)
}
