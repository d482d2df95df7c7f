package config

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Virtual says where the points of a channel without a device have their values
// from. A point that it does not name has none until it is set through the API,
// or written, if it is a control or an adjustment.
type Virtual struct {
	Seed   uint64                  `yaml:"seed"`    // of everything random
	MaxAge time.Duration           `yaml:"max_age"` // a value set through the API is bad after that; 0 is never
	Points map[string]VirtualPoint `yaml:"points"`  // by the name of the point
}

// VirtualPoint is the source of one point: exactly one of Initial, Expression and
// Wave. All its numbers are in the unit of the point.
type VirtualPoint struct {
	Initial    *float64 `yaml:"initial"`    // until it is set or written
	Expression string   `yaml:"expression"` // a formula over names of points of the channel

	Wave      Wave          `yaml:"wave"`
	Period    time.Duration `yaml:"period"` // counted from 1970-01-01 00:00 UTC; a walk from when comsrv began
	Phase     time.Duration `yaml:"phase"`  // by how much the wave is ahead, less than the period
	Offset    float64       `yaml:"offset"`
	Amplitude float64       `yaml:"amplitude"`
	Step      float64       `yaml:"step"`
	Steps     []Step        `yaml:"steps"`
}

// Wave is the shape of a generated signal.
type Wave string

// The waves.
const (
	Constant Wave = "constant" // the offset
	Sine     Wave = "sine"     // offset ± amplitude, rising from the offset
	Ramp     Wave = "ramp"     // from the offset to offset + amplitude, then from the offset again
	Square   Wave = "square"   // offset + amplitude for half a period, then the offset
	Steps    Wave = "steps"    // a table that begins anew each period
	Walk     Wave = "walk"     // each period by at most a step up or down, within offset ± amplitude
)

// Step is a row of a step table: the value from that time of the period on.
type Step struct {
	At    time.Duration `yaml:"at"`
	Value float64       `yaml:"value"`
}

// waveKeys lists what each wave takes. It may do without offset and phase.
var waveKeys = map[Wave][]string{
	Constant: {"offset"},
	Sine:     {"period", "amplitude", "offset", "phase"},
	Ramp:     {"period", "amplitude", "offset", "phase"},
	Square:   {"period", "amplitude", "offset", "phase"},
	Steps:    {"period", "steps", "phase"},
	Walk:     {"period", "amplitude", "step", "offset"},
}

// Bounds of the period of a wave.
const (
	shortestPeriod = 10 * time.Millisecond
	longestPeriod  = 10 * 365 * 24 * time.Hour
)

// checkVirtual checks the section of a virtual channel against its points.
func (c *Channel) checkVirtual(doc *document, at []any) {
	if c.Virtual.MaxAge < 0 {
		doc.add(append(at, "max_age"), "%v is less than 0", c.Virtual.MaxAge)
	}
	at = append(at, "points")
	points := map[string]*MappedPoint{}
	for i := range c.Points {
		points[c.Points[i].Name] = &c.Points[i]
	}
	inputs := map[string][]string{} // of each expression
	for _, name := range slices.Sorted(maps.Keys(c.Virtual.Points)) {
		here := append(slices.Clone(at), name)
		point := points[name]
		if point == nil {
			doc.addReference(pointTables, here, "no point of channel %d has this signal_name", c.ID)
			continue
		}
		source := c.Virtual.Points[name]
		if !source.checkKind(doc, here, point.Type) {
			continue
		}
		if source.Wave != "" {
			source.checkWave(doc, here)
		}
		if source.Expression == "" {
			continue
		}
		formula, err := ems.ParseFormula(source.Expression)
		if err != nil {
			doc.add(append(here, "expression"), "%v", err)
			continue
		}
		inputs[name] = formula.Names()
		for _, input := range formula.Names() {
			if points[input] == nil {
				doc.addReference(pointTables, append(here, "expression"), "no point of channel %d has the signal_name %q", c.ID, input)
			}
		}
	}
	if loop := findLoop(inputs); loop != nil {
		doc.add(append(at, loop[0], "expression"), "the points would be computed from one another without end: %s", strings.Join(loop, " -> "))
	}
}

// checkKind makes sure that there is one source, which fits the type of point.
func (p *VirtualPoint) checkKind(doc *document, at []any, kind ems.PointType) bool {
	sources := 0
	for _, given := range []bool{p.Initial != nil, p.Expression != "", p.Wave != ""} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		doc.add(at, "say where the values come from by one of wave, expression and initial")
	case kind.Writable() && p.Initial == nil:
		doc.add(at, "what is written cannot be generated too: a control or an adjustment has initial or nothing")
	case p.Initial != nil && !finite(*p.Initial):
		doc.add(append(at, "initial"), "%v is not a finite number", *p.Initial)
	case p.Wave == "" && len(p.given()) > 0:
		doc.add(append(at, p.given()[0]), "this belongs to a wave")
	default:
		return true
	}
	return false
}

// given lists the keys that the wave of a point has.
func (p *VirtualPoint) given() []string {
	var keys []string
	for _, key := range []struct {
		name  string
		given bool
	}{
		{"period", p.Period != 0},
		{"phase", p.Phase != 0},
		{"offset", p.Offset != 0},
		{"amplitude", p.Amplitude != 0},
		{"step", p.Step != 0},
		{"steps", p.Steps != nil},
	} {
		if key.given {
			keys = append(keys, key.name)
		}
	}
	return keys
}

func (p *VirtualPoint) checkWave(doc *document, at []any) {
	takes, known := waveKeys[p.Wave]
	if !known {
		doc.add(append(at, "wave"), "unknown wave %q: use one of %s", p.Wave, listText(slices.Sorted(maps.Keys(waveKeys))))
		return
	}
	given := p.given()
	for _, key := range given {
		if !contains(takes, key) {
			doc.add(append(at, key), "wave %s has none: it has %s", p.Wave, listText(takes))
		}
	}
	for _, key := range takes {
		if key != "offset" && key != "phase" && !contains(given, key) {
			doc.add(at, "wave %s needs %s", p.Wave, key)
		}
	}
	for key, number := range map[string]float64{"offset": p.Offset, "amplitude": p.Amplitude, "step": p.Step} {
		if !finite(number) {
			doc.add(append(at, key), "%v is not a finite number", number)
		}
	}
	switch {
	case p.Period != 0 && (p.Period < shortestPeriod || p.Period > longestPeriod):
		doc.add(append(at, "period"), "%v is not between %v and %v", p.Period, shortestPeriod, longestPeriod)
	case p.Phase < 0 || p.Phase > 0 && p.Phase >= p.Period:
		doc.add(append(at, "phase"), "%v is not from 0s to less than the period of %v", p.Phase, p.Period)
	case p.Wave == Walk && (p.Amplitude < 0 || p.Step < 0 || p.Step > 2*p.Amplitude):
		doc.add(append(at, "step"), "%v is not from 0 to twice the amplitude of %v", p.Step, p.Amplitude)
	}
	p.checkSteps(doc, append(at, "steps"))
}

func (p *VirtualPoint) checkSteps(doc *document, at []any) {
	for i, step := range p.Steps {
		here := append(slices.Clone(at), i)
		switch {
		case !finite(step.Value):
			doc.add(append(here, "value"), "%v is not a finite number", step.Value)
		case i == 0 && step.At != 0:
			doc.add(append(here, "at"), "the first step is at 0s, so that there is always a value")
		case i > 0 && step.At <= p.Steps[i-1].At:
			doc.add(append(here, "at"), "%v is not after the step before", step.At)
		case i > 0 && step.At >= p.Period:
			doc.add(append(here, "at"), "%v is not within the period of %v", step.At, p.Period)
		}
	}
}

// findLoop returns names of which each is computed from the next, the last being
// the first, or nil.
func findLoop(inputs map[string][]string) []string {
	const followed, sound = 1, 2
	state := map[string]int{}
	var follow func(path []string) []string
	follow = func(path []string) []string {
		name := path[len(path)-1]
		switch state[name] {
		case followed:
			return path[slices.Index(path, name):]
		case sound:
			return nil
		}
		state[name] = followed
		for _, input := range inputs[name] {
			if loop := follow(append(path, input)); loop != nil {
				return loop
			}
		}
		state[name] = sound
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		if loop := follow([]string{name}); loop != nil {
			return loop
		}
	}
	return nil
}

func finite(number float64) bool { return !math.IsNaN(number) && !math.IsInf(number, 0) }
