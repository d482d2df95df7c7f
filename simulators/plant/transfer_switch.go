package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// transferSwitchModel connects its bus to one of two others, the utility's and a
// generator's, and never to both.
type transferSwitchModel struct {
	genset              string
	outage              time.Duration // before the generator is called
	sound               time.Duration // of the generator before the load is given to it
	retransfer          time.Duration // of the utility before the load goes back
	coolDown            time.Duration // of the generator after that
	transition          time.Duration // open, between the two
	leastPart, mostPart float64       // of the nominal voltage
	leastRate, mostRate float64       // of the nominal frequency
}

func readTransferSwitch(m *document.Mapping) model {
	return transferSwitchModel{
		genset:     m.About("id of the genset that it starts").Text("genset", ""),
		outage:     seconds(m.About("of the utility, before the genset is called"), "outage_s", 0, 600, 10*time.Second),
		sound:      seconds(m.About("of a sound generator, before the load is given to it"), "transfer_delay_s", 0, 600, 3*time.Second),
		retransfer: seconds(m.About("of a sound utility, before the load goes back"), "retransfer_s", 0, 3600, 15*time.Second),
		coolDown:   seconds(m.About("for which the genset runs on after that"), "cool_down_s", 0, 3600, time.Minute),
		transition: seconds(m.About("open, between the two"), "transition_s", 0, 60, 500*time.Millisecond),
		leastPart:  m.About("of the nominal voltage, below which a side is not sound").Number("under_voltage_pct", 50, 99, 85) / 100,
		mostPart:   m.About("above which it is not").Number("over_voltage_pct", 101, 150, 110) / 100,
		leastRate:  m.About("of the nominal frequency, below which a side is not sound").Number("under_frequency_pct", 80, 99.9, 95) / 100,
		mostRate:   m.About("above which it is not").Number("over_frequency_pct", 100.1, 120, 105) / 100,
	}
}

func (model transferSwitchModel) refers() reference {
	return reference{key: "genset", id: model.genset, kind: "genset"}
}

func (model transferSwitchModel) build(site site, _ *rand.Rand) device {
	return &transferSwitch{model: model, nominalHz: site.nominalHz, transferState: transferState{Position: transferUtility, Wanted: transferUtility}}
}

// Positions of a transfer switch, as its position quantity gives them. The other two
// are the ways by their numbers, and 1.
const (
	transferOpen      = 0
	transferUtility   = 1
	transferGenerator = 2
)

type transferSwitch struct {
	model     transferSwitchModel
	nominalHz float64

	automatic, position, test float64 // setpoints
	jammed                    float64 // input

	about bool // to close, in the tick at hand

	transferState
}

type transferState struct {
	Position, Wanted       int
	Moving                 time.Duration // open since
	Sound                  [2]time.Duration
	Lost                   time.Duration // the utility
	Calling                bool          // the generator
	Cooling                time.Duration // left
	Refused                bool
	Utility, Generator, On bus
	Active, Reactive       Power // to its bus
	Transfers              float64
}

func (s *transferSwitch) state() any { return &s.transferState }

func (s *transferSwitch) points() points {
	return points{
		quantities: []quantity{
			state("position", func() float64 { return float64(s.Position) }),
			signal("on_utility", func() bool { return s.Position == transferUtility }),
			signal("on_generator", func() bool { return s.Position == transferGenerator }),
			signal("utility_available", func() bool { return s.Sound[0] > 0 }),
			signal("generator_available", func() bool { return s.Sound[1] > 0 }),
			signal("start_generator", s.contact),
			signal("cooling_down", func() bool { return s.Cooling > 0 }),
			signal("not_in_step", func() bool { return s.Refused }),
			{Name: "power_kw", read: func() float64 { return s.Active.KW() }},
			{Name: "reactive_power_kvar", read: func() float64 { return s.Reactive.KW() }},
			{Name: "current_a", read: func() float64 { return lineCurrent(s.Active, s.Reactive, s.On.VoltageV) }},
			{Name: "utility_voltage_v", read: func() float64 { return s.Utility.VoltageV }},
			{Name: "generator_voltage_v", read: func() float64 { return s.Generator.VoltageV }},
			{Name: "generator_frequency_hz", read: func() float64 { return s.Generator.FrequencyHz }},
			{Name: "voltage_v", read: func() float64 { return s.On.VoltageV }},
			{Name: "transfers", read: func() float64 { return s.Transfers }},
		},
		setpoints: []Setting{
			control("automatic", 1, &s.automatic),
			{Name: "position", Most: transferGenerator, Initial: transferUtility, value: &s.position},
			control("generator_start", 0, &s.test),
		},
		inputs: []Setting{control("mechanism_jammed", 0, &s.jammed)},
	}
}

// contact calls the generator.
func (s *transferSwitch) contact() bool { return s.Calling || s.Cooling > 0 || s.test == 1 }

// offer moves the switch: it opens first, and is about to close the other way after that.
func (s *transferSwitch) offer(now moment, _ bus) offer {
	if s.automatic == 1 {
		s.Wanted = s.choose()
	} else {
		s.Wanted = int(math.Round(s.position))
	}
	s.call(now)
	s.move(now)
	return offer{}
}

// watch counts for how long each side has been sound, and the utility lost.
func (s *transferSwitch) watch(now moment) {
	for i, side := range []bus{s.Utility, s.Generator} {
		if s.sound(side) {
			s.Sound[i] += now.step
		} else {
			s.Sound[i] = 0
		}
	}
	if s.Lost += now.step; s.Sound[0] > 0 {
		s.Lost = 0
	}
}

func (s *transferSwitch) sound(side bus) bool {
	rate := side.FrequencyHz / s.nominalHz
	return side.Live && side.VoltagePU >= s.model.leastPart && side.VoltagePU <= s.model.mostPart && rate >= s.model.leastRate && rate <= s.model.mostRate
}

// choose returns the position that the automatic wants.
func (s *transferSwitch) choose() int {
	onGenerator := s.Wanted == transferGenerator
	switch {
	case s.Sound[0] >= s.model.retransfer && s.Sound[0] > 0:
		return transferUtility
	case s.Sound[0] > 0 && !(onGenerator && s.Sound[1] > 0): // a generator that is lost is not waited with
		return transferUtility
	case !onGenerator && s.Lost > 0 && s.Calling && s.Sound[1] > 0 && s.Sound[1] >= s.model.sound:
		return transferGenerator
	default:
		return max(s.Wanted, transferUtility)
	}
}

// call closes the start contact after an outage, and opens it when the load is back
// and the generator has cooled.
func (s *transferSwitch) call(now moment) {
	s.Cooling = max(0, s.Cooling-now.step)
	switch {
	case s.automatic == 0:
		s.Calling, s.Cooling = false, 0
	case s.Lost > 0 && s.Lost >= s.model.outage:
		s.Calling = true
	case s.Calling && s.Sound[0] > 0 && s.Position == transferUtility:
		s.Calling, s.Cooling = false, s.model.coolDown
	}
}

func (s *transferSwitch) move(now moment) {
	s.Refused, s.about = false, false
	if s.Position == s.Wanted || s.jammed == 1 {
		return
	}
	if s.Position != transferOpen {
		s.Position, s.Moving = transferOpen, 0
		return
	}
	s.Moving += now.step
	s.about = s.Moving >= s.model.transition
}

func (s *transferSwitch) closes() (way int, now bool) { return s.Wanted - 1, s.about }

func (s *transferSwitch) meet(inStep bool) {
	if s.Refused = !inStep; s.Refused {
		return
	}
	s.Position = s.Wanted
	s.Transfers++
}

func (s *transferSwitch) closed(way int) bool { return s.Position == way+1 }

func (s *transferSwitch) impedance(int) (perKW, perKVar float64) { return 0, 0 }

func (s *transferSwitch) ratio(int) float64 { return 1 }

func (s *transferSwitch) commit(now moment, got flow) {
	s.Utility, s.Generator, s.On = got.through[0].from, got.through[1].from, got.on
	s.Active = -got.through[0].active - got.through[1].active
	s.Reactive = -got.through[0].reactive - got.through[1].reactive
	s.watch(now)
}
