package plant

import (
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// settings are what was last asked of a device. They reach it when the next
// tick begins.
type settings struct {
	list      []Setting
	index     map[string]int
	requested []float64
	by        []string // who asked for each since the last tick, "" if nobody did
}

func newSettings(list []Setting) settings {
	s := settings{list: list, index: map[string]int{}, requested: make([]float64, len(list)), by: make([]string, len(list))}
	for i, one := range list {
		s.index[one.Name] = i
		s.requested[i] = one.Initial
	}
	return s
}

// apply gives the device what was asked for, and returns an event for each that
// somebody asked for.
func (s *settings) apply(device string, kind EventKind) []Event {
	var events []Event
	for i := range s.list {
		if one := &s.list[i]; one.written != nil {
			*one.written = false
		}
	}
	for i := range s.list {
		one := &s.list[i]
		if s.by[i] != "" {
			if one.written != nil {
				*one.written = true
			}
			events = append(events, Event{Kind: kind, Device: device, Name: one.Name, From: *one.value, To: s.requested[i], By: s.by[i]})
			s.by[i] = ""
		}
		*one.value = s.requested[i]
	}
	return events
}

// Setpoints returns what the registers of a device may write.
func (p *Plant) Setpoints(id string) []Setting { return p.settings(id, setpointsOf) }

// Inputs returns what the operator of the simulator may set on a device.
func (p *Plant) Inputs(id string) []Setting { return p.settings(id, inputsOf) }

func (p *Plant) settings(id string, of func(*member) *settings) []Setting {
	m := p.member(id)
	if m == nil {
		return nil
	}
	return of(m).list
}

func setpointsOf(m *member) *settings { return &m.setpoints }
func inputsOf(m *member) *settings    { return &m.inputs }

// Requested returns the setpoints last written to a device, in the order of
// Setpoints; they may be newer than the last tick.
func (p *Plant) Requested(id string) []float64 { return p.requested(id, setpointsOf) }

// RequestedInputs returns the inputs last set on a device, in the order of
// Inputs.
func (p *Plant) RequestedInputs(id string) []float64 { return p.requested(id, inputsOf) }

func (p *Plant) requested(id string, of func(*member) *settings) []float64 {
	m := p.member(id)
	if m == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]float64(nil), of(m).requested...)
}

// Write asks for a setpoint, and says who does. It takes effect when the next tick
// begins.
func (p *Plant) Write(id, setpoint string, value float64, by string) error {
	return p.request(id, "setpoint", setpoint, value, by, setpointsOf)
}

// Write is what a setpoint is to be.
type Write struct {
	Setpoint string
	Value    float64
}

// WriteAll asks for several setpoints of a device, which take effect in the same tick:
// what a client writes in one piece is not torn. One that is refused is not written, nor
// are the others.
func (p *Plant) WriteAll(id string, writes []Write, by string) error {
	for _, one := range writes {
		if err := p.check(id, "setpoint", one.Setpoint, one.Value, setpointsOf); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range writes {
		p.member(id).setpoints.ask(one.Setpoint, one.Value, by)
	}
	return nil
}

// SetInput sets an input, and says who does. It takes effect when the next tick
// begins. CONFLICT says that a disturbance moves it.
func (p *Plant) SetInput(id, input string, value float64, by string) error {
	p.stepping.Lock()
	defer p.stepping.Unlock()
	if err := p.moved(id, input); err != nil {
		return err
	}
	return p.request(id, "input", input, value, by, inputsOf)
}

func (p *Plant) request(id, what, name string, value float64, by string, of func(*member) *settings) error {
	if err := p.check(id, what, name, value, of); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	of(p.member(id)).ask(name, value, by)
	return nil
}

func (s *settings) ask(name string, value float64, by string) {
	s.requested[s.index[name]], s.by[s.index[name]] = value, by
}

// check returns why a setting cannot take a value, nil if it can.
func (p *Plant) check(id, what, name string, value float64, of func(*member) *settings) error {
	m := p.member(id)
	if m == nil {
		return ems.Errorf(ems.CodeNotFound, "no device %q: the plant has %s", id, strings.Join(p.ids(), ", "))
	}
	s := of(m)
	i, ok := s.index[name]
	if !ok {
		return ems.Errorf(ems.CodeNotFound, "device %s has no %s %q: it has %s", id, what, name, strings.Join(settingNames(s.list), ", "))
	}
	if one := s.list[i]; !one.Accepts(value) {
		if one.Boolean {
			return ems.Errorf(ems.CodeInvalid, "%s %s of %s cannot be %v: use 0 or 1", what, name, id, value)
		}
		return ems.Errorf(ems.CodeInvalid, "%s %s of %s cannot be %v: use %v to %v", what, name, id, value, one.Least, one.Most)
	}
	return nil
}

func settingNames(list []Setting) []string {
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = one.Name
	}
	return names
}
