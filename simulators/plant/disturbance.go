package plant

import (
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// mostDisturbances is how many inputs may be moved at once.
const mostDisturbances = 1000

// Disturbance moves an input of a device for a while, in simulated time, and then puts
// it back: a fault of a machine, or of what surrounds it.
type Disturbance struct {
	ID     uint64  `json:"id"`
	Device string  `json:"device"`
	Input  string  `json:"input"`
	From   float64 `json:"from"`  // what it was before it was moved, and is put back to
	To     float64 `json:"to"`    // in a straight line from Begin to Full
	Begin  uint64  `json:"begin"` // ticks; the first that it is moved in
	Full   uint64  `json:"full"`
	End    uint64  `json:"end"` // the first in which it is back, 0 for never
}

// at returns the value of the input in a tick.
func (d Disturbance) at(tick uint64, boolean bool) float64 {
	if tick >= d.Full || boolean {
		return d.To
	}
	return d.From + (d.To-d.From)*float64(tick-d.Begin+1)/float64(d.Full-d.Begin+1)
}

// over reports whether it ends in a tick, or has.
func (d Disturbance) over(tick uint64) bool { return d.End != 0 && tick >= d.End }

// Disturb moves an input to a value: after a delay, over a ramp, and for a duration, or
// for good where that is 0. An input that is moved already is refused.
func (p *Plant) Disturb(id uint64, device, input string, to float64, delay, ramp, duration time.Duration) error {
	if err := p.check(device, "input", input, to, inputsOf); err != nil {
		return err
	}
	p.stepping.Lock()
	defer p.stepping.Unlock()
	if len(p.disturbances) >= mostDisturbances {
		return ems.Errorf(ems.CodeConflict, "%d faults of machines are under way, which is the limit: clear some", mostDisturbances)
	}
	if slices.ContainsFunc(p.disturbances, func(d Disturbance) bool { return d.Device == device && d.Input == input && !d.over(p.tick+1) }) {
		return ems.Errorf(ems.CodeConflict, "a fault moves input %s of %s already: clear that first", input, device)
	}
	step := p.definition.Step
	ticks := func(d time.Duration) uint64 { return uint64((max(0, d) + step - 1) / step) }
	m := p.member(device)
	p.mu.Lock()
	one := Disturbance{ID: id, Device: device, Input: input, From: m.inputs.requested[m.inputs.index[input]], To: to, Begin: p.tick + 1 + ticks(delay)}
	p.mu.Unlock()
	one.Full = one.Begin + ticks(ramp)
	if duration > 0 {
		one.End = one.Begin + max(1, ticks(duration))
	}
	p.disturbances = append(p.disturbances, one)
	return nil
}

// Undisturb puts an input back that was moved, with the next tick. It reports false if
// none was moved by that.
func (p *Plant) Undisturb(id uint64) bool {
	p.stepping.Lock()
	defer p.stepping.Unlock()
	found := false
	for i, d := range p.disturbances {
		if d.ID == id {
			p.disturbances[i].End, found = p.tick+1, true
		}
	}
	return found
}

// Disturbances returns what moves inputs in the next tick, or will.
func (p *Plant) Disturbances() []Disturbance {
	p.stepping.Lock()
	defer p.stepping.Unlock()
	return slices.DeleteFunc(slices.Clone(p.disturbances), func(d Disturbance) bool { return d.over(p.tick + 1) })
}

// moved returns an error where a disturbance moves an input in the next tick, which
// would undo what is asked for. It needs the lock of the tick.
func (p *Plant) moved(device, input string) error {
	for _, d := range p.disturbances {
		if d.Device == device && d.Input == input && p.tick+1 >= d.Begin && !d.over(p.tick+1) {
			return ems.Errorf(ems.CodeConflict, "input %s of %s is moved by a fault: clear that first", input, device)
		}
	}
	return nil
}

// disturb moves the inputs for a tick, and returns an event for each that begins or
// ends. It needs both locks.
func (p *Plant) disturb(tick uint64) []Event {
	var events []Event
	kept := p.disturbances[:0]
	for _, d := range p.disturbances {
		m := p.member(d.Device)
		i := m.inputs.index[d.Input]
		if tick == d.Begin {
			d.From = m.inputs.requested[i]
		}
		switch {
		case d.over(tick):
			if tick > d.Begin {
				m.inputs.requested[i] = d.From
				events = append(events, Event{Kind: EventCleared, Device: d.Device, Name: d.Input, From: d.To, To: d.From})
			}
			continue
		case tick >= d.Begin:
			m.inputs.requested[i] = d.at(tick, m.inputs.list[i].Boolean)
			if tick == d.Begin {
				events = append(events, Event{Kind: EventFault, Device: d.Device, Name: d.Input, From: d.From, To: d.To})
			}
		}
		kept = append(kept, d)
	}
	p.disturbances = kept
	return events
}
