package plant

import "time"

// curtailment is the limit that is set on the active power of an inverter, with the
// timers of SunSpec's model 123: it is in force while it is enabled, is reached in a
// straight line over its ramp, and goes back to 100 % by itself where it was not written
// again in time.
type curtailment struct {
	limitPct, rampS float64 // setpoints
	revert          revert
}

type curtailmentState struct {
	revertState
	Pct     float64       // what holds now
	FromPct float64       // where the ramp began
	ToPct   float64       // where it leads
	Ramped  time.Duration // how long it has lasted
}

// revert is the timer of a setpoint that is in force while it is enabled, and where it
// was not written again in time is not.
type revert struct {
	enabled, seconds float64 // setpoints; 0 for no end
	written          bool    // the setpoint, or that it is in force
}

type revertState struct {
	Since    time.Duration // it was written
	Reverted bool
}

// points returns a setpoint with those of its timer.
func (r *revert) points(name string, of Setting, enabled float64) []Setting {
	of.written = &r.written
	on := control(name+"_enabled", enabled, &r.enabled)
	on.written = &r.written
	return []Setting{of, on, {Name: name + "_revert_s", Most: mostTimer, value: &r.seconds}}
}

// next moves the timer on, and reports whether the setpoint is in force.
func (r *revert) next(state *revertState, step time.Duration) bool {
	if r.written {
		state.Since, state.Reverted = 0, false
	} else {
		state.Since += step
	}
	if r.enabled == 1 && r.seconds > 0 && state.Since >= asDuration(r.seconds) {
		state.Reverted = true
	}
	return r.holds(state)
}

func (r *revert) holds(state *revertState) bool { return r.enabled == 1 && !state.Reverted }

// noCurtailment is the state of an inverter that nobody has limited.
func noCurtailment() curtailmentState { return curtailmentState{Pct: 100, FromPct: 100, ToPct: 100} }

// mostTimer is the longest time that a register of SunSpec's model 123 holds.
const mostTimer = 65534

func (c *curtailment) points(state *curtailmentState) points {
	return points{
		quantities: []quantity{
			{Name: "power_limit_effective_pct", read: func() float64 { return state.Pct }},
			signal("power_limit_active", func() bool { return c.revert.holds(&state.revertState) }),
			signal("power_limit_reverted", func() bool { return state.Reverted }),
		},
		setpoints: append(c.revert.points("power_limit", Setting{Name: "power_limit_pct", Most: 100, Initial: 100, value: &c.limitPct}, 1),
			Setting{Name: "power_limit_ramp_s", Most: mostTimer, value: &c.rampS}),
	}
}

// next moves the timers on and returns the part of the rating that may be given.
func (c *curtailment) next(state *curtailmentState, step time.Duration) float64 {
	wanted := 100.0
	if c.revert.next(&state.revertState, step) {
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
