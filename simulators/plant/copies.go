package plant

import (
	"net"
	"strconv"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// mostCopies is how many copies of its devices a plant has at most.
const mostCopies = 10_000

// copies is how many sites a plant is made of that are like the one which its file
// describes. Each has its own buses, so no power flows between them.
type copies struct {
	count  int // 0 for the one site itself, whose names stay as they are
	stride int // between the ports of a site and those of the next
}

func readCopies(m *document.Mapping) copies {
	if !m.Has("copies") {
		return copies{}
	}
	c := copies{count: int(m.Integer("copies", 1, mostCopies)), stride: int(m.Integer("port_stride", 1, 65535))}
	if c.stride == 0 {
		return copies{} // at fault already, and every port would clash
	}
	return c
}

// suffix is what copy k, counted from 0, adds to every name.
func (c copies) suffix(k int) string {
	if c.count == 0 {
		return ""
	}
	return "_" + strconv.Itoa(k+1)
}

// address returns where a device of copy k listens that the file puts at an address: at
// a port further up, or on a serial line of its own. It is for take to find fault with
// one that is none.
func (c copies) address(m *document.Mapping, address string, kind TransportKind, k int) string {
	if c.count == 0 {
		return address
	}
	if kind == RTU {
		return address + c.suffix(k)
	}
	host, text, err := net.SplitHostPort(address)
	port, portErr := strconv.Atoi(text)
	if err != nil || portErr != nil || port == 0 {
		return address
	}
	if port += k * c.stride; port > 65535 && port-c.stride <= 65535 {
		m.Fault("listen", "copy %d would listen at port %d, above 65535: use fewer copies, or a smaller port_stride or port", k+1, port)
	}
	if port > 65535 {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// of returns a device as copy k has it.
func (c copies) of(one DeviceDefinition, k int) DeviceDefinition {
	suffix := c.suffix(k)
	one.ID, one.Bus = one.ID+suffix, one.Bus+suffix
	if one.Refers != "" {
		one.Refers += suffix
	}
	joins := make([][2]string, len(one.Joins))
	for i, ends := range one.Joins {
		joins[i] = [2]string{ends[0] + suffix, ends[1] + suffix}
	}
	one.Joins = joins
	return one
}

// sites returns the buses and the devices of all copies, copy by copy, with where they
// listen. The devices are given as the file has them, with where each stands.
func (c copies) sites(buses []BusDefinition, devices []DeviceDefinition, places []*document.Mapping, check *addressCheck) ([]BusDefinition, []DeviceDefinition) {
	var allBuses []BusDefinition
	var allDevices []DeviceDefinition
	for k := range max(1, c.count) {
		for _, b := range buses {
			allBuses = append(allBuses, BusDefinition{ID: b.ID + c.suffix(k), NominalV: b.NominalV})
		}
		for i, d := range devices {
			one := c.of(d, k)
			one.Listen = check.device(places[i], &one, c.address(places[i], d.Listen, d.Transport.Kind, k))
			allDevices = append(allDevices, one)
		}
	}
	return allBuses, allDevices
}
