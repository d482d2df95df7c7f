package plant

import (
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// reference is a device that the parameters of another one name.
type reference struct {
	key, id string // the key that names it; no id where none is named
	kind    string // that it must be of, "" for any
}

// referring is a model that names another device.
type referring interface{ refers() reference }

// measured is a flow as a meter sees it: positive where it flows in from the grid,
// into a machine, or through a device that joins buses away from its first one.
type measured struct {
	active, reactive Power
	on               bus // of the machine, or the far one of what joins buses
}

// metering is a device that is told the flow of the one it refers to, after the
// balance and before any device commits.
type metering interface{ measure(m measured) }

// signalling is a device with a contact that is wired to the one it refers to: a
// transfer switch starts its genset by it, and a transformer trips its breaker.
type signalling interface{ contact() bool }

// signalled is a device that follows such a contact.
type signalled interface{ follow(closed bool) }

// outdoor is a device under the weather of the station that it refers to, which makes
// that of a tick before it is asked for its offer.
type outdoor interface{ under(station *weather) }

// link is two members, of which the first refers to the other.
type link struct{ from, to int }

func (p *Plant) newLinks() []link {
	var links []link
	for _, one := range p.definition.Devices {
		if one.Refers != "" {
			links = append(links, link{from: p.place(one.ID), to: p.place(one.Refers)})
		}
	}
	return links
}

// expose puts devices under the weather that they refer to, and sets the order of offers.
func (p *Plant) expose() {
	for _, l := range p.links {
		station, makes := p.devices[l.to].(*weather)
		if under, ok := p.devices[l.from].(outdoor); ok && makes {
			under.under(station)
		}
	}
	for _, first := range []bool{true, false} {
		for i, d := range p.devices {
			if _, makes := d.(*weather); makes == first {
				p.asking = append(p.asking, i)
			}
		}
	}
}

// signal hands on, before the tick, which contacts the last one left closed. One of
// several that lead to the same device is enough.
func (p *Plant) signal() {
	for _, closed := range []bool{false, true} {
		for _, l := range p.links {
			if from, ok := p.devices[l.from].(signalling); ok && (!closed || from.contact()) {
				p.devices[l.to].(signalled).follow(closed)
			}
		}
	}
}

// measure tells each meter what it measures.
func (p *Plant) measure(flows []flow) {
	for _, l := range p.links {
		if meter, ok := p.devices[l.from].(metering); ok {
			meter.measure(flows[l.to].measuredAt(p.devices[l.to]))
		}
	}
}

func (f flow) measuredAt(d device) measured {
	if _, ok := d.(feeding); ok {
		return measured{active: f.active, reactive: f.reactive, on: f.on}
	}
	if len(f.through) == 0 {
		return measured{active: -f.active, reactive: -f.reactive, on: f.on}
	}
	m := measured{on: f.through[0].to}
	for _, way := range f.through {
		m.active, m.reactive = m.active-way.active, m.reactive-way.reactive
	}
	return m
}

// refer returns the device that another one names, "" for none, and notes it, to be
// looked for when all are read.
func (w *wiring) refer(parameters *document.Mapping, model model) string {
	named, ok := model.(referring)
	if !ok || named.refers().id == "" {
		return ""
	}
	w.references = append(w.references, named.refers())
	w.places = append(w.places, parameters)
	return named.refers().id
}

// checkReferences notes what is named and not there, or of another kind.
func (w *wiring) checkReferences(devices []DeviceDefinition) {
	var ids []string
	for _, d := range devices {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	for i, one := range w.references {
		at := slices.IndexFunc(devices, func(d DeviceDefinition) bool { return d.ID == one.id })
		switch {
		case at < 0:
			w.places[i].Fault(one.key, "no device %q: there are %s", one.id, strings.Join(ids, ", "))
		case one.kind != "" && devices[at].Type != one.kind:
			w.places[i].Fault(one.key, "%s is a %s: name a %s", one.id, devices[at].Type, one.kind)
		}
	}
}
