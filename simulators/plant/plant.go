// Package plant is the physics of a simulated microgrid: devices that hang on
// one electrical bus and are computed together in fixed steps of simulated time.
//
// A plant is repeatable: with the same definition, the same writes at the same
// ticks and nothing else it goes through the same states, whatever the wall
// clock does. Simulated time is counted in whole nanoseconds, each device draws
// from a random source of its own, and power is an integer.
package plant

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Plant is a running simulation. Step is called by one goroutine at a time;
// everything else may be called from any.
type Plant struct {
	definition *Definition
	members    []*member // ordered by id
	grid       *grid
	tick       uint64
	latest     atomic.Pointer[Snapshot]

	mu       sync.Mutex // guards what is requested
	stepping sync.Mutex
}

// member is a device with its names.
type member struct {
	id, kind  string
	device    device
	points    points
	setpoints settings
	inputs    settings
}

// settings are what was last asked of a device. They reach it when the next
// tick begins.
type settings struct {
	list      []Setting
	index     map[string]int
	requested []float64
}

func newSettings(list []Setting) settings {
	s := settings{list: list, index: map[string]int{}, requested: make([]float64, len(list))}
	for i, one := range list {
		s.index[one.Name] = i
		s.requested[i] = one.Initial
	}
	return s
}

func (s *settings) apply() {
	for i, one := range s.list {
		*one.value = s.requested[i]
	}
}

// New builds the plant of a definition that was read without a fault.
func New(definition *Definition) *Plant {
	p := &Plant{definition: definition}
	for _, one := range definition.Devices {
		built := one.model.build(randomOf(definition.Seed, one.ID))
		named := built.points()
		p.members = append(p.members, &member{
			id: one.ID, kind: one.Type, device: built, points: named,
			setpoints: newSettings(named.setpoints), inputs: newSettings(named.inputs),
		})
		if connection, ok := built.(*grid); ok {
			p.grid = connection
		}
	}
	sort.Slice(p.members, func(i, j int) bool { return p.members[i].id < p.members[j].id })
	return p
}

// Definition returns what the plant was built from.
func (p *Plant) Definition() *Definition { return p.definition }

// Step computes one tick and returns its values. wall is when that happened; it
// has no influence on the physics.
func (p *Plant) Step(wall time.Time) *Snapshot {
	p.stepping.Lock()
	defer p.stepping.Unlock()
	p.mu.Lock()
	for _, m := range p.members {
		m.setpoints.apply()
		m.inputs.apply()
	}
	p.mu.Unlock()

	p.tick++
	now := moment{
		at:       p.definition.Start.Add(time.Duration(p.tick) * p.definition.Step),
		step:     p.definition.Step,
		location: p.definition.Location,
	}
	offers := make([]offer, len(p.members))
	for i, m := range p.members {
		offers[i] = m.device.offer(now)
	}
	settled := settle(offers, p.grid.connected())
	on := p.grid.electrical(offers, settled)
	for i, m := range p.members {
		if m.device == p.grid {
			m.device.commit(now, settled.grid, on)
			continue
		}
		m.device.commit(now, settled.power[i], on)
	}
	snapshot := p.snapshot(now, wall)
	p.latest.Store(snapshot)
	return snapshot
}

// Latest returns the values of the last tick, nil before the first.
func (p *Plant) Latest() *Snapshot { return p.latest.Load() }

// Names of the quantities of a device, in the order of Snapshot values, nil if
// there is no such device.
func (p *Plant) Names(id string) []string {
	m := p.member(id)
	if m == nil {
		return nil
	}
	return quantityNames(m.points.quantities)
}

func quantityNames(list []quantity) []string {
	names := make([]string, len(list))
	for i, q := range list {
		names[i] = q.Name
	}
	return names
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

// Write asks for a setpoint. It takes effect when the next tick begins.
func (p *Plant) Write(id, setpoint string, value float64) error {
	return p.request(id, "setpoint", setpoint, value, setpointsOf)
}

// SetInput sets an input. It takes effect when the next tick begins.
func (p *Plant) SetInput(id, input string, value float64) error {
	return p.request(id, "input", input, value, inputsOf)
}

func (p *Plant) request(id, what, name string, value float64, of func(*member) *settings) error {
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
	p.mu.Lock()
	defer p.mu.Unlock()
	s.requested[i] = value
	return nil
}

func (p *Plant) member(id string) *member {
	i := sort.Search(len(p.members), func(i int) bool { return p.members[i].id >= id })
	if i == len(p.members) || p.members[i].id != id {
		return nil
	}
	return p.members[i]
}

func (p *Plant) ids() []string {
	ids := make([]string, len(p.members))
	for i, m := range p.members {
		ids[i] = m.id
	}
	return ids
}

func settingNames(list []Setting) []string {
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = one.Name
	}
	return names
}

// Snapshot is the truth about a plant at the end of one tick. It is never
// changed once it was published.
type Snapshot struct {
	Tick      uint64
	Simulated time.Time
	Wall      time.Time
	Devices   []DeviceSnapshot // ordered by id
	Digest    uint64           // FNV-1a of all values of this tick
}

// DeviceSnapshot is the values of one device: quantities in the order of
// Plant.Names, setpoints and inputs as the tick used them.
type DeviceSnapshot struct {
	ID        string
	Type      string
	Values    []float64
	Setpoints []float64
	Inputs    []float64
}

// Device returns the values of one device.
func (s *Snapshot) Device(id string) (DeviceSnapshot, bool) {
	i := sort.Search(len(s.Devices), func(i int) bool { return s.Devices[i].ID >= id })
	if i == len(s.Devices) || s.Devices[i].ID != id {
		return DeviceSnapshot{}, false
	}
	return s.Devices[i], true
}

func (p *Plant) snapshot(now moment, wall time.Time) *Snapshot {
	s := &Snapshot{Tick: p.tick, Simulated: now.at, Wall: wall, Devices: make([]DeviceSnapshot, len(p.members))}
	hash := fnv.New64a()
	var number [8]byte
	note := func(value uint64) {
		binary.BigEndian.PutUint64(number[:], value)
		_, _ = hash.Write(number[:]) // a hash never fails
	}
	note(p.tick)
	for i, m := range p.members {
		d := DeviceSnapshot{ID: m.id, Type: m.kind}
		for _, q := range m.points.quantities {
			d.Values = append(d.Values, q.read())
		}
		for _, one := range m.setpoints.list {
			d.Setpoints = append(d.Setpoints, *one.value)
		}
		for _, one := range m.inputs.list {
			d.Inputs = append(d.Inputs, *one.value)
		}
		_, _ = hash.Write([]byte(m.id))
		for _, list := range [][]float64{d.Values, d.Setpoints, d.Inputs} {
			for _, value := range list {
				note(math.Float64bits(value))
			}
		}
		s.Devices[i] = d
	}
	s.Digest = hash.Sum64()
	return s
}
