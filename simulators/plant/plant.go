// Package plant is the physics of a simulated plant: devices that hang on
// electrical buses and are computed together in fixed steps of simulated time.
//
// A plant is repeatable: with the same definition, the same writes at the same
// ticks and nothing else it goes through the same states, whatever the wall
// clock does. Simulated time is counted in whole nanoseconds, each device draws
// from a random source of its own, and power is an integer.
package plant

import (
	"math/rand/v2"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Plant is a running simulation. Step is called by one goroutine at a time;
// everything else may be called from any.
type Plant struct {
	definition *Definition
	members    []*member // ordered by id
	devices    []device  // of the members
	offers     []offer   // of the devices, in the tick at hand
	asking     []int     // the devices in the order of their offers: those that make weather go first
	network    network
	links      []link // of members that refer to others
	events     *Events
	tick       uint64
	// disturbances move inputs; they are guarded by stepping, as the tick is.
	disturbances []Disturbance
	latest       atomic.Pointer[Truth]

	mu       sync.Mutex // guards what is requested
	stepping sync.Mutex
}

// member is a device with its names.
type member struct {
	id, kind  string
	device    device
	random    *rand.PCG
	points    points
	signals   []int // of its quantities: those of which each change is an event
	setpoints settings
	inputs    settings
}

// New builds the plant of a definition that was read without a fault.
func New(definition *Definition) *Plant {
	p := &Plant{definition: definition, events: newEvents()}
	for _, one := range definition.Devices {
		random := randomOf(definition.Seed, one.ID)
		built := one.model.build(site{nominalHz: definition.NominalHz}, rand.New(random))
		named := built.points()
		p.members = append(p.members, &member{
			id: one.ID, kind: one.Type, device: built, random: random, points: named, signals: signalsOf(named.quantities),
			setpoints: newSettings(named.setpoints), inputs: newSettings(named.inputs),
		})
	}
	sort.Slice(p.members, func(i, j int) bool { return p.members[i].id < p.members[j].id })
	for _, m := range p.members {
		p.devices = append(p.devices, m.device)
	}
	p.offers = make([]offer, len(p.devices))
	p.network = newNetwork(definition, p.ids())
	p.links = p.newLinks()
	p.expose()
	return p
}

// Definition returns what the plant was built from.
func (p *Plant) Definition() *Definition { return p.definition }

// Events returns the last events of the plant.
func (p *Plant) Events() *Events { return p.events }

// Step computes one tick and returns its values. wall is when that happened; it
// has no influence on the physics.
func (p *Plant) Step(wall time.Time) *Truth {
	p.stepping.Lock()
	defer p.stepping.Unlock()
	var events []Event
	p.mu.Lock()
	events = append(events, p.disturb(p.tick+1)...)
	for _, m := range p.members {
		events = append(events, m.setpoints.apply(m.id, EventWrite)...)
		events = append(events, m.inputs.apply(m.id, EventInput)...)
	}
	p.mu.Unlock()

	p.tick++
	p.signal()
	now := p.definition.momentAt(p.simulated())
	for _, i := range p.asking {
		p.offers[i] = p.devices[i].offer(now, p.network.state[p.network.place[i]])
	}
	flows := p.network.settle(p.devices, p.offers, now.step)
	p.measure(flows)
	for i, got := range flows {
		p.devices[i].commit(now, got)
	}
	truth := p.observe(wall)
	p.note(events, p.latest.Load(), truth)
	p.latest.Store(truth)
	return truth
}

// simulated returns the time at the end of the last tick.
func (p *Plant) simulated() time.Time {
	return p.definition.Start.Add(time.Duration(p.tick) * p.definition.Step)
}

// note keeps the events of a tick: what was asked for, with its effect, and every
// signal that changed.
func (p *Plant) note(events []Event, before, after *Truth) {
	if before == nil {
		before = after
	}
	for i := range events {
		one := &events[i]
		one.Tick = after.Tick
		place := p.place(one.Device)
		for k, q := range p.members[place].points.quantities {
			if from, to := before.Devices[place].Values[k], after.Devices[place].Values[k]; from != to {
				one.Effect = append(one.Effect, Change{Name: q.Name, From: from, To: to})
			}
		}
	}
	for i, m := range p.members {
		was, is := before.Devices[i].Values, after.Devices[i].Values
		for _, k := range m.signals {
			if from, to := was[k], is[k]; from != to {
				events = append(events, Event{Tick: after.Tick, Kind: EventSignal, Device: m.id, Name: m.points.quantities[k].Name, From: from, To: to})
			}
		}
	}
	p.events.Add(events...)
}

func signalsOf(list []quantity) []int {
	var signals []int
	for k, q := range list {
		if q.event {
			signals = append(signals, k)
		}
	}
	return signals
}

// place returns where a member stands, -1 if there is none of that id.
func (p *Plant) place(id string) int {
	i := sort.Search(len(p.members), func(i int) bool { return p.members[i].id >= id })
	if i == len(p.members) || p.members[i].id != id {
		return -1
	}
	return i
}

func (p *Plant) member(id string) *member {
	if i := p.place(id); i >= 0 {
		return p.members[i]
	}
	return nil
}

func (p *Plant) ids() []string {
	ids := make([]string, len(p.members))
	for i, m := range p.members {
		ids[i] = m.id
	}
	return ids
}

// now returns the number of the last tick, 0 before the first.
func (p *Plant) now() uint64 {
	if latest := p.Latest(); latest != nil {
		return latest.Tick
	}
	return 0
}
