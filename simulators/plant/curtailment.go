package plant

import "time"

// curtailment is the limit that is set on the active power of an inverter, with the
// timers of SunSpec's model 123: it is in force while it is enabled, is reached in a
// straight line over its ramp, and goes back to 100 % by itself where it was not written
// again in time.
type curtailment struct {
	limitPct, enabled, revertS, rampS float64 // setpoints
	written                           bool    // the limit, or that it is in force
}

type curtailmentState struct {
	Since    time.Duration // the limit was written
	Reverted bool
	Pct      float64       // what holds now
	FromPct  float64       // where the ramp began
	ToPct    float64       // where it leads
	Ramped   time.Duration // how long it has lasted
}

// noCurtailment is the state of an inverter that nobody has limited.
func noCurtailment() curtailmentState { return curtailmentState{Pct: 100, FromPct: 100, ToPct: 100} }

// mostTimer is the longest time that a register of SunSpec's model 123 holds.
const mostTimer = 65534

func (c *curtailment) points(state *curtailmentState) points {
	return points{
		quantities: []quantity{
			{Name: "power_limit_effective_pct", read: func() float64 { return state.Pct }},
			signal("power_limit_active", func() bool { return c.enabled == 1 && !state.Reverted }),
			signal("power_limit_reverted", func() bool { return state.Reverted }),
		},
		setpoints: []Setting{
			{Name: "power_limit_pct", Most: 100, Initial: 100, value: &c.limitPct, written: &c.written},
			{Name: "power_limit_enabled", Most: 1, Initial: 1, Boolean: true, value: &c.enabled, written: &c.written},
			{Name: "power_limit_revert_s", Most: mostTimer, value: &c.revertS},
			{Name: "power_limit_ramp_s", Most: mostTimer, value: &c.rampS},
		},
	}
}

// next moves the timers on and returns the part of the rating that may be given.
func (c *curtailment) next(state *curtailmentState, step time.Duration) float64 {
	if c.written {
		state.Since, state.Reverted = 0, false
	} else {
		state.Since += step
	}
	if c.enabled == 1 && c.revertS > 0 && state.Since >= asDuration(c.revertS) {
		state.Reverted = true
	}
	wanted := 100.0
	if c.enabled == 1 && !state.Reverted {
		wanted = c.limitPct
	}
	if wanted != state.ToPct {
		state.FromPct, state.ToPct, state.Ramped = state.Pct, wanted, 0
	}
	if state.Ramped += step; state.Ramped >= asDuration(c.rampS) {
		state.Ramped, state.Pct = asDuration(c.rampS), wanted
	} else {
		state.Pct = state.FromPct + (wanted-state.FromPct)*(state.Ramped.Seconds()/c.rampS)
	}
	return state.Pct / 100
}

func asDuration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// and returns the points of two parts of a device, those of p first.
func (p points) and(more points) points {
	p.quantities = append(p.quantities, more.quantities...)
	p.setpoints = append(p.setpoints, more.setpoints...)
	p.inputs = append(p.inputs, more.inputs...)
	return p
}
