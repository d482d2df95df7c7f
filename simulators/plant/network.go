package plant

import (
	"math"
	"time"
)

// offer is what a device would do in one tick. Power is positive where it flows
// into the bus.
type offer struct {
	active   Power     // while the bus is live; of one with a governor: beside a grid
	reactive Power     // given to the bus, as far as it does not follow the active power
	tangent  float64   // reactive power drawn for each unit of active power drawn
	governor *governor // nil where it does not follow the frequency of an island
}

// flow is what a tick brought to a device: what it gave to its bus, and for a device
// that joins buses what flowed through each of its connections, positive towards the
// first bus that it names.
type flow struct {
	active, reactive Power
	driving          Power // of one with a governor: what that gave at the end of the tick
	holds            bool  // the device forms an island
	fell             bool  // the device was to form an island, which could not be held
	on               bus   // its bus at the end of the tick
	through          []through
}

// through is the flow through a connection, 0 where it is open.
type through struct {
	active, reactive Power
	from, to         bus
}

// bus is an electrical node at the end of a tick.
type bus struct {
	Live        bool
	VoltageV    float64 // between two conductors, 0 where the bus is dead
	VoltagePU   float64 // part of the nominal voltage
	FrequencyHz float64 // 0 where the bus is dead
}

// connection joins two buses while its device keeps it closed.
type connection struct {
	device   int // of the members
	way      int // of the connections of that device
	from, to int // buses
}

// joining is a device with connections between buses. It is asked before the tick
// is settled, after all offers.
type joining interface {
	closed(way int) bool
	// impedance returns the resistance and reactance of a connection in parts of
	// nominal voltage lost for each kW and kvar that flow to its far end.
	impedance(way int) (perKW, perKVar float64)
	// ratio returns the voltage of the second bus over that of the first where nothing
	// flows, in parts of the nominal ones: that of the taps.
	ratio(way int) float64
}

// feeding is a device that holds whatever bus it is connected to: the public grid.
type feeding interface {
	connected() bool
	// supply returns the voltage in parts of the nominal one and the frequency where
	// the plant takes this much from it.
	supply(active, reactive Power) (voltagePU, frequencyHz float64)
}

// Limits of the frequency of an island, in parts of the nominal one: beyond them
// whatever formed it has let go.
const (
	leastHeld = 0.90
	mostHeld  = 1.10
)

// voltageDroop is the part of the nominal voltage by which an island's falls at the
// reactive power of the rating of what forms it.
const voltageDroop = 0.05

// network is the buses of a plant and what hangs on them. Closed connections form
// trees: a plant whose buses could form a ring is refused when it is read.
type network struct {
	nominalHz   float64
	names       []string
	nominalV    []float64
	members     [][]int // of each bus
	place       []int   // of each member: its bus
	connections []connection
	touching    [][]int // of each bus: its connections
	state       []bus   // at the end of the last tick
	at          []int   // of each bus: its place in the zone that is being settled
}

// zone is the buses that closed connections join, as a tree: each bus but the first
// comes after the one that it hangs on.
type zone struct {
	buses     []int
	above     []int // of each of buses: the connection to the bus that it hangs on, -1 for the first
	grid      int   // of the members, -1 for none
	governors []int // of the members
	forms     bool  // one of them forms it
}

// settle closes the power balance of all zones and returns the flow of each device.
// The active power of a zone adds up to 0, exactly, and so does the reactive power.
func (n *network) settle(devices []device, offers []offer, step time.Duration) []flow {
	n.join(devices, offers)
	flows := make([]flow, len(devices))
	for _, c := range n.connections {
		flows[c.device].through = append(flows[c.device].through, through{})
	}
	next := make([]bus, len(n.state))
	seen := make([]bool, len(n.state))
	for root := range n.state {
		if !seen[root] {
			z := n.zoneOf(root, devices, offers, seen)
			n.settleZone(&z, devices, offers, flows, next, step)
		}
	}
	n.state = next
	for _, c := range n.connections {
		t := &flows[c.device].through[c.way]
		t.from, t.to = next[c.from], next[c.to]
	}
	for i := range flows {
		flows[i].on = next[n.place[i]]
	}
	return flows
}

// zoneOf returns the zone that a bus lies in. It begins at the bus of what feeds it.
func (n *network) zoneOf(root int, devices []device, offers []offer, seen []bool) zone {
	z := n.walk(root, devices, seen)
	z.grid = -1
	feeder, rating := root, Power(-1)
	for _, b := range z.buses {
		for _, i := range n.members[b] {
			if grid, ok := devices[i].(feeding); ok && grid.connected() && z.grid < 0 {
				z.grid, feeder = i, b
			}
			g := offers[i].governor
			if g == nil {
				continue
			}
			z.governors = append(z.governors, i)
			if z.forms = z.forms || g.forms; g.forms && z.grid < 0 && g.rating > rating {
				feeder, rating = b, g.rating
			}
		}
	}
	if feeder != root {
		for _, b := range z.buses {
			seen[b] = false
		}
		again := n.walk(feeder, devices, seen)
		z.buses, z.above = again.buses, again.above
	}
	return z
}

// walk goes from a bus through closed connections to all others.
func (n *network) walk(root int, devices []device, seen []bool) zone {
	z := zone{buses: []int{root}, above: []int{-1}}
	seen[root] = true
	for next := 0; next < len(z.buses); next++ {
		for _, i := range n.touching[z.buses[next]] {
			c := n.connections[i]
			other := c.from + c.to - z.buses[next]
			if !seen[other] && devices[c.device].(joining).closed(c.way) {
				seen[other] = true
				z.buses, z.above = append(z.buses, other), append(z.above, i)
			}
		}
	}
	return z
}

func (n *network) settleZone(z *zone, devices []device, offers []offer, flows []flow, next []bus, step time.Duration) {
	if z.grid < 0 && !z.forms {
		return // all of it is dead
	}
	var active, reactive Power
	each := func(do func(i int)) {
		for _, b := range z.buses {
			for _, i := range n.members[b] {
				do(i)
			}
		}
	}
	each(func(i int) {
		o := offers[i]
		flows[i].active, flows[i].driving = o.active, o.active
		flows[i].reactive = o.reactive - reactiveOf(-o.active, o.tangent)
		active, reactive = active+flows[i].active, reactive+flows[i].reactive
	})
	first := bus{Live: true}
	if z.grid >= 0 {
		flows[z.grid].active, flows[z.grid].reactive = -active, -reactive
		first.VoltagePU, first.FrequencyHz = devices[z.grid].(feeding).supply(-active, -reactive)
	} else if first = n.hold(z, offers, flows, active, reactive, step); !first.Live {
		each(func(i int) {
			g := offers[i].governor
			flows[i] = flow{through: flows[i].through, fell: g != nil && g.forms}
		})
		return
	}
	n.spread(z, devices, flows, next, first)
}

// hold lets what forms an island carry what the others leave: each gives what drives
// it, and of what is missing then a share that follows its inertia, out of its rotor
// or what stands for one. The bus that it returns is dead where the island falls apart.
func (n *network) hold(z *zone, offers []offer, flows []flow, active, reactive Power, step time.Duration) bus {
	governors := make([]governor, len(z.governors))
	inertia, ratings := make([]Power, len(governors)), make([]Power, len(governors)) // of what forms
	var rating, inertias Power
	for k, i := range z.governors {
		g := *offers[i].governor
		governors[k] = g
		active -= flows[i].active
		if g.forms {
			reactive -= flows[i].reactive
			inertia[k], ratings[k] = Power(g.inertia.Seconds()*float64(g.rating)), g.rating
			rating, inertias = rating+ratings[k], inertias+inertia[k]
		}
	}
	moved := swing(governors, -active, n.frequencyOf(z, offers), n.nominalHz, step)
	if moved.frequencyHz < leastHeld*n.nominalHz || moved.frequencyHz > mostHeld*n.nominalHz {
		return bus{}
	}
	missing := -active
	for _, mean := range moved.mean {
		missing -= mean
	}
	fromRotors, magnetizing := share(missing, inertia, inertias), share(-reactive, ratings, rating)
	for k, i := range z.governors {
		f := &flows[i]
		f.active, f.driving = moved.mean[k]+fromRotors[k], moved.driving[k]
		if governors[k].forms {
			f.reactive, f.holds = magnetizing[k], true
		}
	}
	return bus{Live: true, FrequencyHz: moved.frequencyHz, VoltagePU: max(0, 1+voltageDroop*reactive.KW()/rating.KW())}
}

// spread gives every bus of a zone its voltage and every connection its flow.
func (n *network) spread(z *zone, devices []device, flows []flow, next []bus, first bus) {
	active, reactive := make([]Power, len(z.buses)), make([]Power, len(z.buses)) // of a bus and all that hangs on it
	for k, b := range z.buses {
		n.at[b] = k
		for _, i := range n.members[b] {
			active[k], reactive[k] = active[k]+flows[i].active, reactive[k]+flows[i].reactive
		}
	}
	for k := len(z.buses) - 1; k > 0; k-- {
		c := n.connections[z.above[k]]
		above := n.at[c.from+c.to-z.buses[k]]
		active[above], reactive[above] = active[above]+active[k], reactive[above]+reactive[k]
		t := through{active: active[k], reactive: reactive[k]}
		if c.from == z.buses[k] {
			t.active, t.reactive = -t.active, -t.reactive
		}
		flows[c.device].through[c.way] = t
	}
	for k, b := range z.buses {
		here := first
		if k > 0 {
			c := n.connections[z.above[k]]
			here = next[c.from+c.to-b]
			joins := devices[c.device].(joining)
			if ratio := joins.ratio(c.way); c.from == b {
				here.VoltagePU /= ratio
			} else {
				here.VoltagePU *= ratio
			}
			perKW, perKVar := joins.impedance(c.way)
			here.VoltagePU = max(0, here.VoltagePU+perKW*active[k].KW()+perKVar*reactive[k].KW())
		}
		here.VoltageV = here.VoltagePU * n.nominalV[b]
		next[b] = here
	}
}

// share divides an amount in proportion to weights of 0 or more, which add up to
// total; what rounding leaves over goes to the first that has a weight.
func share(amount Power, weights []Power, total Power) []Power {
	parts := make([]Power, len(weights))
	if total == 0 {
		return parts
	}
	left := amount
	for i, weight := range weights {
		parts[i] = Power(math.Trunc(float64(amount) * (float64(weight) / float64(total))))
		left -= parts[i]
	}
	for i, weight := range weights {
		if weight > 0 {
			parts[i] += left
			break
		}
	}
	return parts
}
