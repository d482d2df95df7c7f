package plant

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// quantity is one true value of a device. Names end in the unit; signals have
// none and are 0 or 1; states are small whole numbers.
type quantity struct {
	Name  string
	read  func() float64
	event bool // each change of it is one
}

// signal is a quantity that is 0 or 1, of which each change is an event.
func signal(name string, of func() bool) quantity {
	return quantity{Name: name, read: func() float64 { return flag(of()) }, event: true}
}

// state is a quantity that is a small whole number, of which each change is an event.
func state(name string, of func() float64) quantity {
	return quantity{Name: name, read: of, event: true}
}

// Setting is a value of a device that is written from outside: a setpoint or
// control by way of the device's registers, an input by the operator of the
// simulator.
type Setting struct {
	Name    string
	Least   float64
	Most    float64
	Initial float64
	Boolean bool // 0 or 1 and nothing between
	value   *float64
	written *bool // true in each tick that it was written for, nil where the device does not ask
}

// Accepts reports whether the setting may take the value.
func (s Setting) Accepts(value float64) bool {
	if s.Boolean {
		return value == 0 || value == 1
	}
	return value >= s.Least && value <= s.Most
}

func control(name string, initial float64, value *float64) Setting {
	return Setting{Name: name, Least: 0, Most: 1, Initial: initial, Boolean: true, value: value}
}

// points is everything of a device that has a name.
type points struct {
	quantities []quantity
	setpoints  []Setting
	inputs     []Setting
}

// moment is the tick being computed: the simulated time at its end and its
// length, a whole number of milliseconds, and where the sun stands then.
type moment struct {
	at       time.Time
	step     time.Duration
	location Location
	sun      physics.Sun
}

// momentAt returns the tick of a plant that ends at a simulated time.
func (d *Definition) momentAt(at time.Time) moment {
	sun := physics.Sun{Extraterrestrial: physics.Extraterrestrial(at.UTC().YearDay())}
	sun.ElevationDeg, sun.AzimuthDeg = physics.SunPosition(at, d.Location.LatitudeDeg, d.Location.LongitudeDeg)
	return moment{at: at, step: d.Step, location: d.Location, sun: sun}
}

func (m moment) seconds() float64 { return m.step.Seconds() }
func (m moment) hours() float64   { return m.step.Hours() }

// device is one simulated machine. In every tick offer is called once for each
// device, in any order but for the weather, with its bus as the last tick left it, then
// commit once for each with the flow that the balance gave it.
type device interface {
	points() points
	// state returns a pointer to all that changes in the device but its settings: its
	// exported fields are what a snapshot holds.
	state() any
	offer(now moment, on bus) offer
	commit(now moment, got flow)
}

// model is the parameters of one device as plant.yaml gives them, checked.
type model interface {
	build(site site, random *rand.Rand) device
}

// site is what all devices of a plant share.
type site struct {
	nominalHz float64
}

// Kind is a type of device that plant.yaml may name.
type Kind struct {
	Name  string
	About string
	read  func(*document.Mapping) model
}

// Kinds lists them.
func Kinds() []Kind {
	return []Kind{
		{"battery", "a battery with its converter, which follows its bus or forms an island", readBattery},
		{"breaker", "a circuit breaker between two buses", readBreaker},
		{"ev_charger", "a charging station and the vehicles that come to it", readCharger},
		{"genset", "a diesel engine with a generator", readGenset},
		{"grid", "the connection to the public grid with its breaker", readGrid},
		{"load", "what a site consumes over the day, and its motors", readLoad},
		{"meter", "an energy meter that measures another device", readMeter},
		{"pv", "an array of modules behind one inverter", readPV},
		{"transfer_switch", "connects its bus to one of two others, and starts a genset", readTransferSwitch},
		{"transformer", "an oil-immersed transformer between two buses, with taps", readTransformer},
		{"weather_station", "the weather, which arrays may be under", readWeather},
	}
}

// Parameters returns what plant.yaml may say of a device of the type, as what reads it
// asks for it.
func (k Kind) Parameters() []document.Parameter {
	return document.Describe(func(m *document.Mapping) { k.read(m) })
}

// readModel reads the parameters of a device of one of these types, nil of another.
func readModel(name string, parameters *document.Mapping) model {
	for _, one := range Kinds() {
		if one.Name == name {
			return one.read(parameters)
		}
	}
	return nil
}

// kindNames lists the names of all types.
func kindNames() []string {
	var names []string
	for _, one := range Kinds() {
		names = append(names, one.Name)
	}
	return names
}

// randomOf returns the random source of one device. It depends on the seed of
// the plant and on the device's id alone, so neither the order of the devices
// nor the presence of others changes what a device does.
func randomOf(seed uint64, id string) *rand.PCG {
	hash := sha256.New()
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], seed)
	hash.Write(number[:])
	hash.Write([]byte(id))
	sum := hash.Sum(nil)
	return rand.NewPCG(binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:]))
}

// noise is an Ornstein-Uhlenbeck process: it wanders about 0 with a standard
// deviation of 1 and forgets where it was over its time constant. Each step
// draws one number, whatever the device is doing.
type noise struct{ Value float64 }

// next uses the exact solution over one step:
// x(t+h) = x(t) e^(-h/T) + sqrt(1 - e^(-2h/T)) N(0,1).
func (n *noise) next(step, constant time.Duration, random *rand.Rand) float64 {
	kept := math.Exp(-step.Seconds() / constant.Seconds())
	n.Value = n.Value*kept + math.Sqrt(1-kept*kept)*random.NormFloat64()
	return n.Value
}

func flag(truth bool) float64 {
	if truth {
		return 1
	}
	return 0
}
