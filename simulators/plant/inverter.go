package plant

import (
	"math"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// inverterModel is the parameters that inverters of arrays and of batteries share.
type inverterModel struct {
	nominalHz     float64
	ratedKW       float64
	ratedKVA      float64
	reactiveKVar  float64 // given or drawn at most
	reactiveFirst bool    // where the apparent power is too small for both
	deadBandHz    float64 // about the nominal frequency, within which the power does not follow it
	droop         float64 // part of the nominal frequency over which all of the rating is taken back
	response      time.Duration
	reconnect     time.Duration // of a sound bus, before it enters service
	softStart     time.Duration // from no power to all of it then
}

func readInverter(m *document.Mapping, ratedKW float64) inverterModel {
	model := inverterModel{
		ratedKW:       ratedKW,
		ratedKVA:      m.About("most that the converter carries: its most active power, where it is not told, to twice as much").Number("apparent_power_kva", ratedKW, 2*ratedKW, ratedKW),
		reactiveFirst: m.About("which power gives way where that is too little for both").Choice("priority", []string{"reactive", "active"}, "reactive") == "reactive",
		deadBandHz:    m.About("about the nominal frequency, within which the power does not follow it").Number("over_frequency_dead_band_hz", 0.017, 1, 0.036),
		droop:         m.About("part of the frequency over which all of the power is taken back").Number("over_frequency_droop_pct", 2, 7, 5) / 100,
		// The open loop response time of the standard is that to 90 % of a change.
		response:  time.Duration(m.About("to 90 % of a change").Number("over_frequency_response_s", 0.2, 10, 0.5) / math.Ln10 * float64(time.Second)),
		reconnect: seconds(m.About("of a sound bus, before it comes back after a trip"), "reconnect_s", 0, 3600, 5*time.Minute),
		softStart: seconds(m.About("from no power to all of it then"), "reconnect_ramp_s", 0, 3600, 5*time.Minute),
	}
	model.reactiveKVar = model.ratedKVA * m.About("of the apparent power, given or drawn at most").Number("reactive_power_max_pct", 0, 100, 44) / 100
	return model
}

// inverter is what turns DC into AC, and how it supports its bus as IEEE 1547-2018 has
// it. Reactive power is positive where it is given to the bus.
type inverter struct {
	model       inverterModel
	curtailment curtailment

	powerFactor              float64 // setpoint; one below 0 draws reactive power
	powerFactorRevert        revert
	reactivePct              float64 // setpoint, of the most that it can give
	reactiveRevert           revert
	voltVar, voltWatt, hertz float64 // setpoints: whether the power follows voltage and frequency
	forced, deratePct        float64 // inputs: it trips by itself, and gives so much less
}

type inverterState struct {
	Begun       bool
	Beyond      [8]time.Duration // how long each of the trip limits has been exceeded
	Trip        int              // which of them took it out of service, from 1; 0 for none
	Islanded    bool             // its bus died
	Down        bool             // out of service
	Sound       time.Duration    // how long its bus has been so since then
	Ceased      bool             // it gives nothing while the voltage is far off
	Started     float64          // part of the rating that it has come back to, after a trip
	Recovered   float64          // and after it has ceased
	VoltVar     float64          // reactive power, in parts of the apparent one
	VoltWatt    float64          // most active power, in parts of the rating
	PowerFactor revertState
	Reactive    revertState
	Curtailment curtailmentState
}

func newInverterState() inverterState {
	return inverterState{Started: 1, Recovered: 1, VoltWatt: 1, Curtailment: noCurtailment()}
}

func (v *inverter) points(s *inverterState) points {
	named := points{
		quantities: []quantity{
			{Name: "reconnect_in_s", read: func() float64 {
				if !s.Down {
					return 0
				}
				return (v.model.reconnect - s.Sound).Seconds()
			}},
			signal("in_service", func() bool { return !s.Down }),
			signal("momentary_cessation", func() bool { return s.Ceased }),
			signal("anti_islanding", func() bool { return s.Islanded }),
			signal("tripped", func() bool { return v.forced == 1 }),
			signal("power_factor_active", func() bool { return v.powerFactorRevert.holds(&s.PowerFactor) }),
			signal("reactive_power_active", func() bool { return v.reactiveRevert.holds(&s.Reactive) }),
		},
		setpoints: []Setting{
			control("volt_var_enabled", 0, &v.voltVar),
			control("volt_watt_enabled", 0, &v.voltWatt),
			control("frequency_watt_enabled", 1, &v.hertz),
		},
	}
	named.setpoints = append(named.setpoints, v.powerFactorRevert.points("power_factor", Setting{Name: "power_factor", Least: -1, Most: 1, Initial: 1, value: &v.powerFactor}, 0)...)
	named.setpoints = append(named.setpoints, v.reactiveRevert.points("reactive_power", Setting{Name: "reactive_power_pct", Least: -100, Most: 100, value: &v.reactivePct}, 0)...)
	named.inputs = []Setting{
		control("forced_trip", 0, &v.forced),
		{Name: "derate_pct", Most: 100, value: &v.deratePct},
	}
	for i, limit := range physics.TripLimits {
		named.quantities = append(named.quantities, signal("trip_"+limit.Name, func() bool { return s.Trip == i+1 }))
	}
	return named.and(v.curtailment.points(&s.Curtailment))
}

// outputPoints are what an inverter shows of its power; the power factor is negative
// while it draws active power, and 1 without any.
func outputPoints(active, reactive *Power) points {
	apparent := func() float64 { return math.Hypot(active.KW(), reactive.KW()) }
	return points{quantities: []quantity{
		{Name: "reactive_power_kvar", read: func() float64 { return reactive.KW() }},
		{Name: "apparent_power_kva", read: apparent},
		{Name: "actual_power_factor", read: func() float64 {
			if s := apparent(); s > 0 {
				return active.KW() / s
			}
			return 1
		}},
	}}
}

// watch looks at the bus as the last tick left it, and takes the inverter out of service
// and back. A plant starts in service.
func (v *inverter) watch(s *inverterState, now moment, on bus) {
	if !s.Begun {
		s.Begun = true
		return
	}
	voltage, frequency := on.VoltagePU, on.FrequencyHz/v.model.nominalHz
	switch {
	case !on.Live:
		s.Down, s.Islanded = true, true
	case v.forced == 1:
		s.Down, s.Sound = true, 0
	case !s.Down:
		for i, limit := range physics.TripLimits {
			if !limit.Beyond(voltage, frequency) {
				s.Beyond[i] = 0
			} else if s.Beyond[i] += now.step; s.Beyond[i] >= limit.Clearing && !s.Down {
				s.Down, s.Trip = true, i+1
			}
		}
	}
	s.Ceased = on.Live && physics.Ceases(voltage)
	if s.Ceased {
		s.Recovered = 0
	} else {
		s.Recovered = min(1, s.Recovered+now.seconds()/physics.CessationRecovery.Seconds())
	}
	if s.Down {
		s.Beyond, s.Started = [8]time.Duration{}, 0
		v.enter(s, now, on.Live && v.forced == 0 && physics.MayEnterService(voltage, frequency))
	} else if s.Started < 1 {
		s.Started = min(1, s.Started+now.seconds()/v.model.softStart.Seconds())
	}
}

// enter counts how long the bus has been sound, and takes the inverter back into service
// when that was long enough.
func (v *inverter) enter(s *inverterState, now moment, sound bool) {
	if !sound {
		s.Sound = 0
		return
	}
	if s.Sound += now.step; s.Sound < v.model.reconnect {
		return
	}
	s.Down, s.Islanded, s.Trip, s.Sound = false, false, 0, 0
	if v.model.softStart == 0 {
		s.Started = 1
	}
}

// stay keeps the inverter in service, whatever its bus is like: it forms that itself.
func (s *inverterState) stay() {
	kept := newInverterState()
	kept.Begun, kept.VoltVar, kept.VoltWatt = true, s.VoltVar, s.VoltWatt
	kept.PowerFactor, kept.Reactive, kept.Curtailment = s.PowerFactor, s.Reactive, s.Curtailment
	*s = kept
}

// follow moves timers and what follows the voltage on, and returns the most active power
// that the inverter may give and take now.
func (v *inverter) follow(s *inverterState, now moment, on bus) (give, take Power) {
	voltage := 1.0
	if on.Live {
		voltage = on.VoltagePU
	}
	if v.voltVar == 1 {
		s.VoltVar = physics.Respond(s.VoltVar, physics.Interpolate(physics.VoltVar, voltage), now.step, physics.VoltVarResponse)
	} else {
		s.VoltVar = 0
	}
	if v.voltWatt == 1 {
		s.VoltWatt = physics.Respond(s.VoltWatt, physics.Interpolate(physics.VoltWatt, voltage), now.step, physics.VoltWattResponse)
	} else {
		s.VoltWatt = 1
	}
	v.powerFactorRevert.next(&s.PowerFactor, now.step)
	v.reactiveRevert.next(&s.Reactive, now.step)
	part := v.curtailment.next(&s.Curtailment, now.step)
	if s.Down || s.Ceased || v.forced == 1 {
		return 0, 0
	}
	part = min(part, s.Started, s.Recovered, 1-v.deratePct/100)
	return powerOfKW(v.model.ratedKW * min(part, s.VoltWatt)), powerOfKW(v.model.ratedKW * part)
}

// within returns what an inverter gives that wants to give so much active power: that
// and the reactive power, within its rating.
func (v *inverter) within(s *inverterState, wanted Power) (active, reactive Power) {
	if s.Down || s.Ceased {
		return 0, 0
	}
	asked := 0.0
	switch {
	case v.voltVar == 1:
		asked = s.VoltVar * v.model.ratedKVA
	case v.reactiveRevert.holds(&s.Reactive):
		asked = v.reactivePct / 100 * v.model.reactiveKVar
	case v.powerFactorRevert.holds(&s.PowerFactor):
		factor := max(leastFactor, math.Abs(v.powerFactor))
		asked = math.Copysign(math.Abs(wanted.KW())*math.Tan(math.Acos(factor)), v.powerFactor)
	}
	p, q := physics.WithinRating(wanted.KW(), asked, v.model.ratedKVA, v.model.reactiveKVar, v.model.reactiveFirst)
	if active = wanted; p != wanted.KW() {
		active = towardsZero(p)
	}
	return active, towardsZero(q)
}

// leastFactor is the power factor that one closer to 0 is taken for.
const leastFactor = 0.1

// towardsZero rounds so that a limit is not exceeded.
func towardsZero(kw float64) Power { return Power(math.Trunc(kw * milliwattsPerKW)) }

// room is the most active power beside a reactive one.
func (v *inverter) room(reactive Power) Power {
	active, _ := physics.WithinRating(v.model.ratedKVA, reactive.KW(), v.model.ratedKVA, v.model.ratedKVA, true)
	return towardsZero(active)
}

// governor is how an inverter that does not form an island follows its frequency, from
// the power that it wants to give: it gives less above the dead band, down to least, and
// more below it, up to most, where that is above what it wants.
// Source: IEEE 1547-2018, 6.5.2.7: p = ppre - (f - f0 - db) / (f0 k).
func (v *inverter) governor(wanted, least, most, driving Power, on bus) governor {
	band := powerOfKW(v.model.ratedKW * v.model.deadBandHz / (v.model.droop * v.model.nominalHz))
	g := governor{
		rating: powerOfKW(v.model.ratedKW), least: least, most: wanted, reference: wanted + band,
		droop: v.model.droop, lag: v.model.response, driving: driving,
	}
	if on.Live && on.FrequencyHz < v.model.nominalHz && most > wanted {
		g.least, g.most, g.reference = wanted, most, wanted-band
	}
	return g
}

// follower returns the offer of an inverter that does not form an island.
func (v *inverter) follower(wanted, least, most, reactive, driving Power, on bus) offer {
	if v.hertz == 0 {
		return offer{active: wanted, reactive: reactive}
	}
	g := v.governor(wanted, least, most, driving, on)
	o := offer{active: wanted, reactive: reactive, governor: &g}
	if on.Live {
		o.active = g.at(on.FrequencyHz, v.model.nominalHz)
	}
	return o
}
