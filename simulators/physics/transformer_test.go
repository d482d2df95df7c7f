package physics

import (
	"math"
	"testing"
	"time"
)

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s = %v, want %v +- %v", what, got, want, tolerance)
	}
}

// The values are those of pvlib-python's tests/test_transformer.py.
func TestTransformerLosses(t *testing.T) {
	t.Parallel()
	const in, out = 1511820.166, 1500588.399
	within(t, "output", TransformerOutput(in, 2.75e6, 0.002, 0.007), out, 2e-3)
	within(t, "losses", TransformerLosses(out, 2.75e6, 0.002, 0.007), in-out, 2e-3)
	within(t, "losses without load", TransformerLosses(0, 2.75e6, 0.002, 0.007), 5500, 1e-9)
	within(t, "output without load losses", TransformerOutput(1000, 1000, 0.01, 0), 990, 1e-9)
}

// The example is that of IEC 60076-7, annex C (annex K of 2018): what the standard
// computes for the end of each step of the load, as transformer-thermal-model's
// tests/model/test_model.py gives it, with the tolerance there.
func TestOilHeatFollowsTheExampleOfTheStandard(t *testing.T) {
	t.Parallel()
	plate := OilNameplate{TopOilRiseK: 38.3, GradientK: 14.5 * 1.4, LossRatio: 1000}
	heat := OilHeat{TopOilC: 25.6 + 12.7}
	before := 0
	for _, one := range []struct {
		until                 int
		load, topOil, hotSpot float64
	}{
		{190, 1.0, 61.9, 83.8}, {365, 0.6, 44.4, 54.0}, {500, 1.5, 89.2, 127}, {705, 0.3, 35, 37.54}, {730, 2.1, 67.9, 138.6}, {745, 0, 60.3, 75.3},
	} {
		parts := heat
		for range 10 {
			parts = parts.After(time.Duration(one.until-before)*time.Minute/10, one.load, 25.6, plate, ForcedCooling())
		}
		heat = heat.After(time.Duration(one.until-before)*time.Minute, one.load, 25.6, plate, ForcedCooling())
		within(t, "top oil", heat.TopOilC, one.topOil, 1.1)
		within(t, "hot spot", heat.HotSpotC(), one.hotSpot, 1.1)
		within(t, "hot spot in small steps", parts.HotSpotC(), heat.HotSpotC(), 1e-9)
		before = one.until
	}
	steady := SteadyOilHeat(1, 20, OilNameplate{TopOilRiseK: 55, GradientK: 23, LossRatio: 5}, NaturalCooling())
	within(t, "top oil at the rating", steady.TopOilC, 75, 1e-12)
	within(t, "hot spot at the rating", steady.HotSpotC(), 98, 1e-12)
}

// The values are those of the table of ageing acceleration factors in IEEE C57.91, annex I.
func TestAgeingFactor(t *testing.T) {
	t.Parallel()
	for at, want := range map[float64]float64{80: 0.0358, 100: 0.3499, 110: 1, 120: 2.7089, 130: 6.9842, 140: 17.1995} {
		within(t, "ageing", AgeingFactor(at), want, 1e-4*math.Max(1, want))
	}
}
