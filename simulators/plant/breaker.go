package plant

import (
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// breakerModel is a circuit breaker between two buses.
type breakerModel struct {
	ratedA     float64
	operating  time.Duration // from the command to the contacts
	springLoad time.Duration // before it can be closed again
	closed     float64
}

func readBreaker(m *document.Mapping) model {
	return breakerModel{
		ratedA:     m.About("carried for ever; twice as much trips it after a minute").Number("rated_current_a", 1, 1e5),
		operating:  seconds(m.About("from the command to the contacts"), "operating_s", 0, 10, 50*time.Millisecond),
		springLoad: seconds(m.About("after it has closed, before it can close again"), "spring_charge_s", 0, 60, 3*time.Second),
		closed:     flag(m.About("how it begins").Truth("closed", true)),
	}
}

func (model breakerModel) build(_ site, _ *rand.Rand) device {
	return &breaker{model: model, breakerState: breakerState{Closed: model.closed == 1}}
}

// tripSeconds is how long a breaker carries twice its rated current; it carries n
// times for tripSeconds x 3 / (n^2 - 1), as I^2 t protection does.
const tripSeconds = 60.0

type breaker struct {
	model breakerModel

	close, reset   float64 // setpoints
	welded, locked float64 // inputs

	about bool // to close, in the tick at hand

	breakerState
}

type breakerState struct {
	Closed    bool
	Tripped   bool          // by overcurrent or a contact, until it is reset
	Held      bool          // by such a contact
	Refused   bool          // its buses are not in step
	Moving    time.Duration // since the command
	Charging  time.Duration // until the spring is charged
	Heat      float64       // of the overcurrent release, which trips at 1
	Active    Power         // towards the first bus
	Reactive  Power
	From, To  bus
	Operation float64 // how often it has closed or opened
}

func (b *breaker) state() any { return &b.breakerState }

func (b *breaker) points() points {
	return points{
		quantities: []quantity{
			signal("closed", func() bool { return b.Closed }),
			signal("tripped", func() bool { return b.Tripped }),
			signal("not_in_step", func() bool { return b.Refused }),
			signal("spring_charged", func() bool { return b.Charging == 0 }),
			{Name: "power_kw", read: func() float64 { return b.Active.KW() }},
			{Name: "reactive_power_kvar", read: func() float64 { return b.Reactive.KW() }},
			{Name: "current_a", read: b.current},
			{Name: "voltage_from_v", read: func() float64 { return b.From.VoltageV }},
			{Name: "voltage_to_v", read: func() float64 { return b.To.VoltageV }},
			{Name: "operations", read: func() float64 { return b.Operation }},
		},
		setpoints: []Setting{
			control("close", b.model.closed, &b.close),
			control("reset", 0, &b.reset),
		},
		inputs: []Setting{
			control("contacts_welded", 0, &b.welded),
			control("mechanism_locked", 0, &b.locked),
		},
	}
}

func (b *breaker) current() float64 { return lineCurrent(b.Active, b.Reactive, b.From.VoltageV) }

// offer opens the contacts, or lets them be about to close: welded ones stay closed, and
// ones that are locked stay as they are.
func (b *breaker) offer(now moment, _ bus) offer {
	b.about = false
	if b.reset == 1 && b.close == 0 && !b.Held {
		b.Tripped = false
	}
	b.Charging = max(0, b.Charging-now.step)
	wanted := b.close == 1 && !b.Tripped
	if wanted == b.Closed {
		b.Moving, b.Refused = 0, false
		return offer{}
	}
	if b.Moving += now.step; b.Moving < b.model.operating || b.locked == 1 || !wanted && b.welded == 1 {
		return offer{}
	}
	if b.about = wanted; !wanted {
		b.move(false)
	}
	return offer{}
}

func (b *breaker) closes() (way int, now bool) { return 0, b.about }

// meet closes the contacts, for which the spring must be charged.
func (b *breaker) meet(inStep bool) {
	if b.Refused = !inStep; b.Refused || b.Charging > 0 {
		return
	}
	b.Charging = b.model.springLoad
	b.move(true)
}

func (b *breaker) move(closed bool) {
	b.Closed, b.Moving = closed, 0
	b.Operation++
}

// follow trips it while the contact of what it protects is closed.
func (b *breaker) follow(closed bool) { b.Held, b.Tripped = closed, b.Tripped || closed }

func (b *breaker) closed(int) bool { return b.Closed }

func (b *breaker) impedance(int) (perKW, perKVar float64) { return 0, 0 }

func (b *breaker) ratio(int) float64 { return 1 }

func (b *breaker) commit(now moment, got flow) {
	way := got.through[0]
	b.Active, b.Reactive, b.From, b.To = way.active, way.reactive, way.from, way.to
	load := b.current() / b.model.ratedA
	b.Heat = max(0, b.Heat+(load*load-1)/(3*tripSeconds)*now.seconds())
	if b.Heat >= 1 {
		b.Tripped, b.Heat = true, 0
	}
}

func absolute(number float64) float64 { return max(number, -number) }
