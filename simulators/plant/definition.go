package plant

import (
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// Definition is a plant as its plant.yaml describes it, checked.
type Definition struct {
	Name        string
	Description string // one line, "" if there is none
	Seed        uint64
	Start       time.Time // simulated time before the first tick; its zone is that of the load profiles
	Step        time.Duration
	Location    Location
	// NominalHz is the nominal frequency of the whole plant, from 50 to 60.
	NominalHz float64
	Control   string // host:port of the truth and control API, on loopback
	Buses     []BusDefinition
	Devices   []DeviceDefinition
}

// Location is where a plant stands.
type Location struct {
	LatitudeDeg  float64 // -90 to 90, north positive
	LongitudeDeg float64 // -180 to 180, east positive
}

// BusDefinition is an electrical node of a plant.
type BusDefinition struct {
	ID       string
	NominalV float64 // between two conductors
}

// DeviceDefinition is one device of a plant and where it listens.
type DeviceDefinition struct {
	ID        string
	Type      string
	Listen    string // host:port, or the path of a serial line; devices with different units may share one
	Transport Transport
	Unit      uint8       // Modbus unit id, 1 to 247
	Profile   string      // file of the register profile, relative to plant.yaml
	Line      int         // where Profile stands in plant.yaml
	Bus       string      // that it hangs on
	Joins     [][2]string // buses that each of its connections joins, none of most devices
	Refers    string      // id of the device that its parameters name, "" for none
	model     model
}

// Names returns the quantities and setpoints that a device of this definition
// has, nil if its type is unknown.
func (d DeviceDefinition) Names() (quantities []string, setpoints []Setting) {
	if d.model == nil {
		return nil, nil
	}
	named := d.model.build(site{nominalHz: leastHz}, rand.New(randomOf(0, d.ID))).points()
	return quantityNames(named.quantities), named.setpoints
}

// Limits of the nominal frequency, and of the step: a whole number of milliseconds
// between them.
const (
	leastHz   = 50
	mostHz    = 60
	leastStep = time.Millisecond
	mostStep  = 10 * time.Second
)

var deviceID = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// ReadDefinition reads a plant.yaml. Every fault is noted with its line and key;
// the definition may be used only if none was. The addresses replace those of
// the file before they are checked.
func ReadDefinition(file string, data []byte, addresses Addresses, faults *document.Faults) *Definition {
	m, ok := document.Read(file, data, faults)
	if !ok {
		return nil
	}
	definition := &Definition{
		Name:        m.Text("name"),
		Description: m.Text("description", ""),
		Seed:        uint64(m.Integer("seed", 0, 1<<53)),
		Start:       readTime(m, "start"),
		Step:        readStep(m, "step"),
	}
	definition.NominalHz = m.Number("nominal_frequency_hz", leastHz, mostHz, leastHz)
	place := m.Mapping("location", false)
	definition.Location = Location{
		LatitudeDeg:  place.Number("latitude_deg", -90, 90),
		LongitudeDeg: place.Number("longitude_deg", -180, 180),
	}
	place.Close()

	check := newAddressCheck(addresses)
	definition.Control = check.control(m)
	copies := readCopies(m)
	wiring := readBuses(m)
	var devices []DeviceDefinition
	places := m.Mappings("devices")
	for _, place := range places {
		devices = append(devices, readDevice(place, wiring))
	}
	wiring.check(m, devices)
	definition.Buses, definition.Devices = copies.sites(wiring.buses, devices, places, check)
	check.unknown(m)
	m.Close()
	return definition
}

func readDevice(m *document.Mapping, wiring *wiring) DeviceDefinition {
	one := DeviceDefinition{
		ID:      m.Text("id"),
		Type:    m.Choice("type", kindNames()),
		Unit:    uint8(m.Integer("unit", 1, 247, 1)),
		Profile: m.Text("profile"),
		Line:    m.Line("profile"),
	}
	if one.ID != "" && !deviceID.MatchString(one.ID) {
		m.Fault("id", "%q is not a name: use lower-case letters, digits and _, beginning with a letter", one.ID)
	}
	if one.Profile != "" && !filepath.IsLocal(one.Profile) {
		m.Fault("profile", "%q leads out of the plant's folder", one.Profile)
	}
	one.Transport = readTransport(m)
	one.Listen = m.Text("listen")
	wiring.read(m, &one)
	parameters := m.Mapping("parameters", true)
	if one.model = readModel(one.Type, parameters); one.model != nil {
		one.Refers = wiring.refer(parameters, one.model)
		parameters.Close()
	}
	m.Close()
	return one
}

func readTime(m *document.Mapping, key string) time.Time {
	text := m.Text(key)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		m.Fault(key, "%q is not a time: write it as 2026-06-21T11:00:00Z", text)
	}
	if _, offset := at.Zone(); at.Location() == time.Local { // its summer time is not that of the plant
		return at.In(time.FixedZone("", offset))
	}
	return at
}

func readStep(m *document.Mapping, key string) time.Duration {
	text := m.Text(key, "100ms")
	if text == "" {
		return 0
	}
	step, err := time.ParseDuration(text)
	if err != nil || step < leastStep || step > mostStep || step%time.Millisecond != 0 {
		m.Fault(key, "%q is not a step: use whole milliseconds from %v to %v, for example 100ms", text, leastStep, mostStep)
		return 0
	}
	return step
}
