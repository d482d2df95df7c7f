package plant

import (
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// mainBus is the bus of a plant that names none.
const mainBus = "main"

// wiring is the buses of a plant while its devices are read.
type wiring struct {
	buses []BusDefinition
	lines []wire

	references []reference
	places     []*document.Mapping // where each stands
}

// wire is one connection between two buses.
type wire struct {
	device string
	way    int
	ends   [2]string
}

// readBuses reads the buses of a plant: one of 400 V where it names none.
func readBuses(m *document.Mapping) *wiring {
	w := &wiring{}
	if !m.Has("buses") {
		w.buses = []BusDefinition{{ID: mainBus, NominalV: 400}}
		return w
	}
	for _, row := range m.Mappings("buses") {
		one := BusDefinition{ID: row.Text("id"), NominalV: row.Number("nominal_voltage_v", 100, 1e6)}
		switch {
		case one.ID == "":
		case !deviceID.MatchString(one.ID):
			row.Fault("id", "%q is not a name: use lower-case letters, digits and _, beginning with a letter", one.ID)
		case w.has(one.ID):
			row.Fault("id", "%q stands twice: give each bus its own", one.ID)
		default:
			w.buses = append(w.buses, one)
		}
		row.Close()
	}
	return w
}

func (w *wiring) has(bus string) bool { return slices.Contains(w.names(), bus) }

func (w *wiring) names() []string {
	var names []string
	for _, one := range w.buses {
		names = append(names, one.ID)
	}
	return names
}

// joins says how many connections a type of device has, and whether they lead to a
// bus of its own.
func joins(kind string) (ways int, toOwn bool) {
	switch kind {
	case "breaker", "transformer":
		return 1, false
	case "transfer_switch":
		return 2, true
	default:
		return 0, false
	}
}

// read reads where a device hangs, and what it joins.
func (w *wiring) read(m *document.Mapping, one *DeviceDefinition) {
	ways, toOwn := joins(one.Type)
	if ways == 0 || toOwn {
		fallback := []string{}
		if len(w.buses) == 1 {
			fallback = append(fallback, w.buses[0].ID)
		}
		one.Bus = w.known(m, "bus", m.Text("bus", fallback...))
	}
	if ways == 0 {
		return
	}
	between := m.Texts("between", 2)
	if len(between) != 2 {
		return
	}
	for _, bus := range between {
		w.known(m, "between", bus)
	}
	if !toOwn {
		one.Bus, one.Joins = between[0], [][2]string{{between[0], between[1]}}
	} else {
		one.Joins = [][2]string{{between[0], one.Bus}, {between[1], one.Bus}}
	}
	if between[0] == between[1] || toOwn && slices.Contains(between, one.Bus) {
		m.Fault("between", "%s joins a bus with itself: name different ones", one.ID)
	}
}

func (w *wiring) known(m *document.Mapping, key, bus string) string {
	if bus != "" && !w.has(bus) && len(w.buses) > 0 {
		m.Fault(key, "no bus %q: there are %s", bus, strings.Join(w.names(), ", "))
	}
	return bus
}

// check notes wiring that forms no plant: a bus on which nothing hangs or that
// nothing can feed, buses in a ring, and two grids on buses that can be joined.
func (w *wiring) check(m *document.Mapping, devices []DeviceDefinition) {
	w.checkReferences(devices)
	feeders := map[string]bool{}
	used := map[string]bool{}
	for _, d := range devices {
		used[d.Bus] = true
		feeds := d.Type == "grid" || d.Type == "battery" || d.Type == "genset"
		feeders[d.Bus] = feeders[d.Bus] || feeds
		for way, ends := range d.Joins {
			w.lines = append(w.lines, wire{device: d.ID, way: way, ends: ends})
			used[ends[0]], used[ends[1]] = true, true
		}
	}
	for _, way := range []int{0, 1} { // a transfer switch has one of its ways closed
		w.checkJoined(m, devices, way)
	}
	all := w.groups(func(wire) bool { return true }, nil)
	for _, b := range w.buses {
		fed := false
		for other := range feeders {
			fed = fed || feeders[other] && all[other] == all[b.ID]
		}
		switch {
		case !used[b.ID]:
			m.Fault("buses", "nothing hangs on bus %s: remove it, or give it devices", b.ID)
		case !fed && len(devices) > 0:
			m.Fault("devices", "nothing can feed bus %s: join it to one with a grid, a battery or a genset", b.ID)
		}
	}
}

// checkJoined notes rings and grids that meet where the transfer switches have one
// way closed.
func (w *wiring) checkJoined(m *document.Mapping, devices []DeviceDefinition, way int) {
	two := map[string]bool{}
	for _, line := range w.lines {
		two[line.device] = two[line.device] || line.way == 1
	}
	joined := w.groups(func(line wire) bool { return !two[line.device] || line.way == way }, func(line wire) {
		m.Fault("devices", "%s closes a ring of buses: buses form a tree, leave it out", line.device)
	})
	grids := map[int]string{}
	for _, d := range devices {
		if d.Type != "grid" || d.Bus == "" {
			continue
		}
		if other, taken := grids[joined[d.Bus]]; taken {
			m.Fault("devices", "grid %s and grid %s can meet on joined buses: one closes the power balance, part them by a transfer switch", other, d.ID)
			continue
		}
		grids[joined[d.Bus]] = d.ID
	}
}

// groups gives every bus the number of the group that it is joined with.
func (w *wiring) groups(closed func(wire) bool, ring func(wire)) map[string]int {
	group := map[string]int{}
	for i, b := range w.buses {
		group[b.ID] = i
	}
	for _, line := range w.lines {
		a, aKnown := group[line.ends[0]]
		b, bKnown := group[line.ends[1]]
		if !closed(line) || !aKnown || !bKnown {
			continue
		}
		if a == b {
			if ring != nil {
				ring(line)
			}
			continue
		}
		for bus, of := range group {
			if of == b {
				group[bus] = a
			}
		}
	}
	return group
}

// newNetwork builds the network of a definition whose members are in this order.
func newNetwork(definition *Definition, ids []string) network {
	n := network{nominalHz: definition.NominalHz, place: make([]int, len(ids))}
	index := map[string]int{}
	for i, b := range definition.Buses {
		index[b.ID] = i
		n.names, n.nominalV = append(n.names, b.ID), append(n.nominalV, b.NominalV)
	}
	n.members, n.touching = make([][]int, len(n.names)), make([][]int, len(n.names))
	n.state, n.at = make([]bus, len(n.names)), make([]int, len(n.names))
	byID := map[string]DeviceDefinition{}
	for _, d := range definition.Devices {
		byID[d.ID] = d
	}
	for i, id := range ids {
		d := byID[id]
		n.place[i] = index[d.Bus]
		n.members[n.place[i]] = append(n.members[n.place[i]], i)
		for way, ends := range d.Joins {
			c := connection{device: i, way: way, from: index[ends[0]], to: index[ends[1]]}
			n.touching[c.from] = append(n.touching[c.from], len(n.connections))
			n.touching[c.to] = append(n.touching[c.to], len(n.connections))
			n.connections = append(n.connections, c)
		}
	}
	return n
}
