package plant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Snapshot is the complete state of a plant between two ticks: one that is restored
// goes on as the one that was saved did.
type Snapshot struct {
	Plant   string                 `json:"plant"`
	Seed    uint64                 `json:"seed"`
	Tick    uint64                 `json:"tick"`
	Digest  string                 `json:"digest"` // of the last tick, in hexadecimal; "" before the first
	Buses   map[string]bus         `json:"buses"`
	Devices map[string]savedDevice `json:"devices"`
	// Disturbances go on where they were.
	Disturbances []Disturbance `json:"disturbances,omitempty"`
}

type savedDevice struct {
	Type      string                  `json:"type"`
	State     json.RawMessage         `json:"state"`
	Random    []byte                  `json:"random"`
	Setpoints map[string]savedSetting `json:"setpoints"`
	Inputs    map[string]savedSetting `json:"inputs"`
}

// savedSetting is a setting as the last tick used it, and as the next will.
type savedSetting struct {
	Used      float64 `json:"used"`
	Requested float64 `json:"requested"`
	By        string  `json:"by,omitempty"` // who asked for it since the last tick
}

func (s *settings) save() map[string]savedSetting {
	saved := make(map[string]savedSetting, len(s.list))
	for i, one := range s.list {
		saved[one.Name] = savedSetting{Used: *one.value, Requested: s.requested[i], By: s.by[i]}
	}
	return saved
}

// Save returns the state after the last tick.
func (p *Plant) Save() (*Snapshot, error) {
	p.stepping.Lock()
	defer p.stepping.Unlock()
	s := &Snapshot{
		Plant: p.definition.Name, Seed: p.definition.Seed, Tick: p.tick,
		Buses: make(map[string]bus, len(p.network.names)), Devices: make(map[string]savedDevice, len(p.members)),
	}
	s.Disturbances = slices.Clone(p.disturbances)
	if latest := p.latest.Load(); latest != nil {
		s.Digest = hexadecimal(latest.Digest)
	}
	for i, name := range p.network.names {
		s.Buses[name] = p.network.state[i]
	}
	for _, m := range p.members {
		state, err := json.Marshal(m.device.state())
		if err != nil {
			return nil, ems.Errorf(ems.CodeInternal, "the state of %s cannot be saved: %w", m.id, err)
		}
		random, err := m.random.MarshalBinary()
		if err != nil {
			return nil, ems.Errorf(ems.CodeInternal, "the random source of %s cannot be saved: %w", m.id, err)
		}
		p.mu.Lock()
		s.Devices[m.id] = savedDevice{Type: m.kind, State: state, Random: random, Setpoints: m.setpoints.save(), Inputs: m.inputs.save()}
		p.mu.Unlock()
	}
	return s, nil
}

// Fits returns why a snapshot cannot be restored, nil if it can. It changes nothing.
func (p *Plant) Fits(s *Snapshot) error {
	if s.Plant != p.definition.Name {
		return ems.Errorf(ems.CodeInvalid, "this is a snapshot of plant %q, and not of %q", s.Plant, p.definition.Name)
	}
	if err := p.names(s); err != nil {
		return err
	}
	trial := New(p.definition)
	if err := trial.take(s); err != nil {
		return err
	}
	if found := hexadecimal(trial.observe(time.Time{}).Digest); s.Tick > 0 && found != s.Digest {
		return ems.Errorf(ems.CodeInvalid, "the plant is not as it was when the snapshot was saved (digest %s, saved %s): was plant.yaml changed, or the file?", found, s.Digest)
	}
	return nil
}

// Restore puts a snapshot in the place of the present state. One that does not fit
// the plant is refused, and changes nothing. wall is when that happened.
func (p *Plant) Restore(s *Snapshot, wall time.Time) (*Truth, error) {
	if err := p.Fits(s); err != nil {
		return nil, err
	}
	p.stepping.Lock()
	defer p.stepping.Unlock()
	if err := p.take(s); err != nil {
		return nil, err
	}
	truth := p.observe(wall)
	p.latest.Store(truth)
	return truth, nil
}

// take decodes a snapshot that fits.
func (p *Plant) take(s *Snapshot) error {
	for _, d := range s.Disturbances {
		for _, value := range []float64{d.From, d.To} {
			if err := p.check(d.Device, "input", d.Input, value, inputsOf); err != nil {
				return err
			}
		}
	}
	p.tick, p.disturbances = s.Tick, slices.Clone(s.Disturbances)
	for i, name := range p.network.names {
		p.network.state[i] = s.Buses[name]
	}
	for _, m := range p.members {
		saved := s.Devices[m.id]
		state := m.device.state()
		reflect.ValueOf(state).Elem().SetZero() // what is decoded is all that there is
		decoder := json.NewDecoder(bytes.NewReader(saved.State))
		decoder.DisallowUnknownFields()
		if err := errors.Join(decoder.Decode(state), m.random.UnmarshalBinary(saved.Random)); err != nil {
			return ems.Errorf(ems.CodeInvalid, "the state of %s in the snapshot cannot be read: %w", m.id, err)
		}
		p.mu.Lock()
		err := errors.Join(m.setpoints.take(m.id, saved.Setpoints), m.inputs.take(m.id, saved.Inputs))
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) take(device string, saved map[string]savedSetting) error {
	for i, one := range s.list {
		value, ok := saved[one.Name]
		if !ok || !one.Accepts(value.Used) || !one.Accepts(value.Requested) {
			return ems.Errorf(ems.CodeInvalid, "the snapshot has no fit %s of %s: it is of another plant.yaml", one.Name, device)
		}
		*one.value, s.requested[i], s.by[i] = value.Used, value.Requested, value.By
	}
	return nil
}

// names returns an error that names a device or a bus that one of the two lacks.
func (p *Plant) names(s *Snapshot) error {
	for _, m := range p.members {
		if saved, ok := s.Devices[m.id]; !ok || saved.Type != m.kind {
			return ems.Errorf(ems.CodeInvalid, "the snapshot has no %s %s: it is of another plant.yaml", m.kind, m.id)
		}
	}
	for id := range s.Devices {
		if p.member(id) == nil {
			return ems.Errorf(ems.CodeInvalid, "the plant has no device %s of the snapshot: it is of another plant.yaml", id)
		}
	}
	for _, name := range p.network.names {
		if _, ok := s.Buses[name]; !ok {
			return ems.Errorf(ems.CodeInvalid, "the snapshot has no bus %s: it is of another plant.yaml", name)
		}
	}
	return nil
}

// hexadecimal writes a digest so that no reader of JSON rounds it.
func hexadecimal(digest uint64) string { return fmt.Sprintf("%016x", digest) }
