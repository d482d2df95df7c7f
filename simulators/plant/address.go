package plant

import (
	"net"
	"sort"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// Addresses replace the listen addresses of a plant.yaml.
type Addresses struct {
	Listen  map[string]string // by device id, host:port
	Control string            // host:port, "" keeps that of the file
	Free    bool              // whatever is not named above takes a free port of 127.0.0.1
}

const freePort = "127.0.0.1:0"

// addressCheck gives every device its address and finds those that clash.
type addressCheck struct {
	addresses Addresses
	ids       map[string]bool
	taken     map[int][]listener // by port, and under serialLine
}

// serialLine stands for the port of one that has none.
const serialLine = -1

type listener struct {
	owner     string // how a fault names it
	host      string
	unit      uint8 // 0 for the control API, which shares with nothing
	transport Transport
}

func newAddressCheck(addresses Addresses) *addressCheck {
	return &addressCheck{addresses: addresses, ids: map[string]bool{}, taken: map[int][]listener{}}
}

// device returns the address of a device, that of the file unless another takes its
// place, and notes whatever is wrong with it.
func (c *addressCheck) device(m *document.Mapping, one *DeviceDefinition, address string) string {
	id, unit := one.ID, one.Unit
	if id == "" {
		return address
	}
	if c.ids[id] {
		m.Fault("id", "%q stands twice: give each device its own", id)
		return address
	}
	c.ids[id] = true
	if replaced, ok := c.addresses.Listen[id]; ok {
		address = replaced
	} else if c.addresses.Free && one.Transport.Kind == RTU {
		address = "" // a serial line without a link
	} else if c.addresses.Free {
		address = freePort
	}
	if one.Transport.Kind == RTU {
		c.line(m, address, one)
	} else if unit != 0 { // else it was at fault, and what it clashes with is unknown
		c.take(m, "listen", address, listener{owner: "device " + id, unit: unit, transport: one.Transport})
	}
	return address
}

// line notes a serial line on which a unit stands twice.
func (c *addressCheck) line(m *document.Mapping, path string, one *DeviceDefinition) {
	for _, other := range c.taken[serialLine] {
		if path != "" && other.host == path && other.unit == one.Unit {
			m.Fault("listen", "%s unit %d is taken by %s: use another unit", path, one.Unit, other.owner)
			return
		}
	}
	c.taken[serialLine] = append(c.taken[serialLine], listener{owner: "device " + one.ID, host: path, unit: one.Unit, transport: one.Transport})
}

// control returns the address of the control API, which must be on loopback
// because it lets anybody who reaches it change the plant.
func (c *addressCheck) control(m *document.Mapping) string {
	address := m.Text("control")
	if c.addresses.Free {
		address = freePort
	}
	if c.addresses.Control != "" {
		address = c.addresses.Control
	}
	if host, ok := c.take(m, "control", address, listener{owner: "the control API"}); ok && !isLoopback(host) {
		m.Fault("control", "%q is not on loopback: the control API asks for no password, use 127.0.0.1", address)
	}
	return address
}

// take notes an address that is none or that another already listens at.
func (c *addressCheck) take(m *document.Mapping, key, address string, l listener) (host string, ok bool) {
	if address == "" {
		return "", false
	}
	host, portText, err := net.SplitHostPort(address)
	port, portErr := strconv.Atoi(portText)
	if err != nil || portErr != nil || port < 0 || port > 65535 {
		m.Fault(key, "%q is not an address: write it as 127.0.0.1:5021", address)
		return "", false
	}
	l.host = host
	for _, other := range c.taken[port] {
		if port == 0 || !sameHost(other.host, host) {
			continue
		}
		if other.unit == 0 || l.unit == 0 {
			m.Fault(key, "%s is taken by %s: use another port", address, other.owner)
			return host, true
		}
		if other.unit == l.unit {
			m.Fault(key, "%s unit %d is taken by %s: use another port or another unit", address, l.unit, other.owner)
			return host, true
		}
		if other.transport != l.transport {
			m.Fault(key, "%s is that of %s by another transport: units that share a port share how they are spoken with", address, other.owner)
			return host, true
		}
		if other.host != host {
			m.Fault(key, "%s overlaps the address of %s: units that share a port name the same host", address, other.owner)
			return host, true
		}
	}
	if port != 0 { // else each gets another
		c.taken[port] = append(c.taken[port], l)
	}
	return host, true
}

// unknown notes addresses for devices that the plant does not have.
func (c *addressCheck) unknown(m *document.Mapping) {
	var wrong, known []string
	for id := range c.addresses.Listen {
		if !c.ids[id] {
			wrong = append(wrong, id)
		}
	}
	for id := range c.ids {
		known = append(known, id)
	}
	sort.Strings(wrong)
	sort.Strings(known)
	for _, id := range wrong {
		m.Fault("devices", "no device %q to give another address: there are %s", id, strings.Join(known, ", "))
	}
}

func sameHost(a, b string) bool {
	return a == b || isWildcard(a) || isWildcard(b)
}

func isWildcard(host string) bool {
	return host == "" || host == "0.0.0.0" || host == "::"
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
