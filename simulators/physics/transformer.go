package physics

import (
	"math"
	"time"
)

// TransformerLosses returns the losses of a transformer that delivers an apparent
// power of 0 or more, in the unit of that and of the rating. noLoad and load are the
// losses without load and those of the windings at the rating, in parts of it.
//
// Source: pvlib-python, transformer.simple_efficiency, after K. A. Klise and J. S.
// Stein: Pin = Pout + nl S + ll Pout^2 / S.
func TransformerLosses(out, rating, noLoad, load float64) float64 {
	return noLoad*rating + load*out*out/rating
}

// TransformerOutput returns what a transformer delivers of an input, both as in
// TransformerLosses. Below the losses without load it is negative.
func TransformerOutput(in, rating, noLoad, load float64) float64 {
	if load == 0 {
		return in - noLoad*rating
	}
	a, c := load/rating, noLoad*rating-in
	return (math.Sqrt(1-4*a*c) - 1) / (2 * a)
}

// OilNameplate is how warm a transformer becomes at its rating.
type OilNameplate struct {
	TopOilRiseK float64 // of the top oil above the air, at rated losses
	GradientK   float64 // of the hot spot above the top oil, at rated current
	LossRatio   float64 // load losses at rated current over the losses without load, above 0
}

// OilCooling is how a transformer cools.
type OilCooling struct {
	OilExponent, WindingExponent float64
	OilTime, WindingTime         time.Duration
	K11, K21, K22                float64
}

// NaturalCooling is that of a distribution transformer without fans (ONAN).
// Source: IEC 60076-7:2005, table 5.
func NaturalCooling() OilCooling {
	return OilCooling{OilExponent: 0.8, WindingExponent: 1.6, OilTime: 180 * time.Minute, WindingTime: 4 * time.Minute, K11: 1, K21: 1, K22: 2}
}

// ForcedCooling is that of one with fans (ONAF).
// Source: IEC 60076-7:2005, table 5.
func ForcedCooling() OilCooling {
	return OilCooling{OilExponent: 0.8, WindingExponent: 1.3, OilTime: 150 * time.Minute, WindingTime: 7 * time.Minute, K11: 0.5, K21: 2, K22: 2}
}

// OilHeat is how warm a transformer is.
type OilHeat struct {
	TopOilC      float64
	FastK, SlowK float64 // parts of the hot spot's rise above the top oil: of the winding, and of the oil that comes to cool it
}

// HotSpotC returns the temperature of the hottest spot of the windings.
func (h OilHeat) HotSpotC() float64 { return h.TopOilC + h.FastK - h.SlowK }

// SteadyOilHeat returns the temperatures that a transformer reaches in the end under
// a load in parts of its rating.
func SteadyOilHeat(load, ambientC float64, of OilNameplate, by OilCooling) OilHeat {
	losses := (1 + of.LossRatio*load*load) / (1 + of.LossRatio)
	gradient := of.GradientK * math.Pow(load, by.WindingExponent)
	return OilHeat{
		TopOilC: ambientC + of.TopOilRiseK*math.Pow(losses, by.OilExponent),
		FastK:   by.K21 * gradient, SlowK: (by.K21 - 1) * gradient,
	}
}

// After returns the temperatures after a time under a load that stays, exactly,
// however long that is.
//
// Source: IEC 60076-7:2005, 8.2.3: the top oil follows with k11 tauO, and the two parts
// of the gradient with k22 tauW and tauO / k22.
func (h OilHeat) After(step time.Duration, load, ambientC float64, of OilNameplate, by OilCooling) OilHeat {
	end := SteadyOilHeat(load, ambientC, of, by)
	follow := func(from, to, constant float64) float64 {
		return to + (from-to)*math.Exp(-step.Seconds()/constant)
	}
	return OilHeat{
		TopOilC: follow(h.TopOilC, end.TopOilC, by.K11*by.OilTime.Seconds()),
		FastK:   follow(h.FastK, end.FastK, by.K22*by.WindingTime.Seconds()),
		SlowK:   follow(h.SlowK, end.SlowK, by.OilTime.Seconds()/by.K22),
	}
}

// AgeingFactor returns how fast thermally upgraded paper ages at a temperature of the
// hottest spot, against its ageing at 110 C.
//
// Source: IEEE C57.91-2011, (2): FAA = exp(15000 / 383 - 15000 / (T + 273)).
func AgeingFactor(hotSpotC float64) float64 {
	return math.Exp(15000.0/383 - 15000/(hotSpotC+273))
}

// Cooled returns the temperatures after a time without voltage: no losses are left.
func (h OilHeat) Cooled(step time.Duration, ambientC float64, by OilCooling) OilHeat {
	return h.After(step, 0, ambientC, OilNameplate{LossRatio: 1}, by)
}
