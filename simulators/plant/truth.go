package plant

import (
	"math"
	"sort"
	"time"
)

// Truth is all values of a plant at the end of one tick. It is never changed once
// it was published.
type Truth struct {
	Tick      uint64
	Simulated time.Time
	Wall      time.Time
	Devices   []DeviceTruth // ordered by id
	Buses     []BusTruth    // in the order of the definition
	Digest    uint64        // of all values of this tick but the wall clock's
}

// DeviceTruth is the values of one device: quantities in the order of Plant.Names,
// setpoints and inputs as the tick used them.
type DeviceTruth struct {
	ID        string
	Type      string
	Values    []float64
	Setpoints []float64
	Inputs    []float64
}

// BusTruth is the state of one bus.
type BusTruth struct {
	ID          string
	Live        bool
	VoltageV    float64 // between two conductors, 0 where it is dead
	FrequencyHz float64 // 0 where it is dead
}

// Device returns the values of one device.
func (t *Truth) Device(id string) (DeviceTruth, bool) {
	i := sort.Search(len(t.Devices), func(i int) bool { return t.Devices[i].ID >= id })
	if i == len(t.Devices) || t.Devices[i].ID != id {
		return DeviceTruth{}, false
	}
	return t.Devices[i], true
}

// Latest returns the values of the last tick, nil before the first.
func (p *Plant) Latest() *Truth { return p.latest.Load() }

// Names of the quantities of a device, in the order of its values, nil if there is
// no such device.
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

// observe reads all values, as of a tick that ended at a simulated time.
func (p *Plant) observe(wall time.Time) *Truth {
	t := &Truth{
		Tick: p.tick, Simulated: p.simulated(), Wall: wall,
		Devices: make([]DeviceTruth, len(p.members)), Buses: make([]BusTruth, len(p.network.state)),
	}
	for i, b := range p.network.state {
		t.Buses[i] = BusTruth{ID: p.network.names[i], Live: b.Live, VoltageV: b.VoltageV, FrequencyHz: b.FrequencyHz}
	}
	all := make([]float64, p.width()) // one piece of memory for all devices: a tick is to be quick
	for i, m := range p.members {
		quantities, setpoints, inputs := m.points.quantities, m.setpoints.list, m.inputs.list
		count := len(quantities) + len(setpoints) + len(inputs)
		values := all[:count:count]
		all = all[count:]
		for k := range quantities {
			values[k] = quantities[k].read()
		}
		rest := values[len(quantities):]
		for k := range setpoints {
			rest[k] = *setpoints[k].value
		}
		for k := range inputs {
			rest[len(setpoints)+k] = *inputs[k].value
		}
		t.Devices[i] = DeviceTruth{
			ID: m.id, Type: m.kind, Values: values[:len(quantities):len(quantities)],
			Setpoints: rest[:len(setpoints):len(setpoints)], Inputs: rest[len(setpoints):],
		}
	}
	t.Digest = t.digest()
	return t
}

// width returns how many values the plant has.
func (p *Plant) width() int {
	width := 0
	for _, m := range p.members {
		width += len(m.points.quantities) + len(m.setpoints.list) + len(m.inputs.list)
	}
	return width
}

func (t *Truth) digest() uint64 {
	hash := mix(0, t.Tick)
	for _, b := range t.Buses {
		for _, value := range [...]float64{flag(b.Live), b.VoltageV, b.FrequencyHz} {
			hash = mix(hash, math.Float64bits(value))
		}
	}
	for _, d := range t.Devices {
		for i := range len(d.ID) {
			hash = mix(hash, uint64(d.ID[i]))
		}
		for _, list := range [...][]float64{d.Values, d.Setpoints, d.Inputs} {
			for _, value := range list {
				hash = mix(hash, math.Float64bits(value))
			}
		}
	}
	return hash
}

// mix adds a word to a digest: for the same digest two words give different ones, and
// each bit of it moves others, which that of a word alone would not.
func mix(hash, word uint64) uint64 {
	hash = (hash ^ word) * 0x9e3779b97f4a7c15
	return hash ^ hash>>32
}
