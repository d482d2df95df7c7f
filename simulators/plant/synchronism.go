package plant

// Parts of the nominal values that two live buses may differ by where contacts close
// between them. Source: IEEE 1547-2018, table 5, for up to 500 kVA.
const (
	syncVoltage = 0.10
	syncHz      = 0.3
)

// inStep reports whether two buses may be joined: one of them is dead, or they
// hardly differ.
func inStep(from, to bus) bool {
	if !from.Live || !to.Live {
		return true
	}
	return absolute(from.VoltagePU-to.VoltagePU) <= syncVoltage && absolute(from.FrequencyHz-to.FrequencyHz) <= syncHz
}

// closing is a device with contacts that may be about to close a connection. It is asked
// when all offers are known and before the tick is settled.
type closing interface {
	closes() (way int, now bool)
	// meet closes the contacts where their two sides are in step, and else says so.
	meet(inStep bool)
}

// join closes the contacts that are about to, one after the other: a second one onto a
// bus that was dead meets what the first has joined that with.
func (n *network) join(devices []device, offers []offer) {
	for _, c := range n.connections {
		contacts, ok := devices[c.device].(closing)
		if !ok {
			continue
		}
		if way, now := contacts.closes(); now && way == c.way {
			contacts.meet(inStep(n.side(c.from, devices, offers), n.side(c.to, devices, offers)))
		}
	}
}

// side returns what contacts meet at a bus: that as the last tick left it. One that was
// dead is as the live ones that it is joined with by now, or as what lights it in this
// tick: a grid before whatever would form an island.
func (n *network) side(at int, devices []device, offers []offer) bus {
	if n.state[at].Live {
		return n.state[at]
	}
	z := n.zoneOf(at, devices, offers, make([]bool, len(n.state)))
	for _, b := range z.buses {
		if n.state[b].Live {
			return n.state[b]
		}
	}
	switch {
	case z.grid >= 0:
		voltagePU, frequencyHz := devices[z.grid].(feeding).supply(0, 0)
		return bus{Live: true, VoltagePU: voltagePU, FrequencyHz: frequencyHz}
	case z.forms:
		return bus{Live: true, VoltagePU: 1, FrequencyHz: n.nominalHz}
	default:
		return bus{}
	}
}

// frequencyOf returns the frequency that a zone without a grid begins the tick with. Where
// islands that are in step are joined it is the mean of theirs by the inertia of what
// forms them, as the angular momentum of their rotors is kept: the sum of H S f. What
// starts from the dark has the nominal frequency.
func (n *network) frequencyOf(z *zone, offers []offer) float64 {
	first, moved, weight := 0.0, 0.0, 0.0
	for _, i := range z.governors {
		g, on := offers[i].governor, n.state[n.place[i]]
		if !g.forms || !on.Live {
			continue
		}
		if weight == 0 {
			first = on.FrequencyHz
		}
		inertia := g.inertia.Seconds() * g.rating.KW()
		moved, weight = moved+inertia*(on.FrequencyHz-first), weight+inertia
	}
	if weight > 0 {
		return first + moved/weight
	}
	for _, b := range z.buses {
		if n.state[b].Live {
			return n.state[b].FrequencyHz
		}
	}
	return n.nominalHz
}
