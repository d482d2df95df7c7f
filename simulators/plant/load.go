package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// loadModel is the consumption of a site over the day.
type loadModel struct {
	baseKW         float64   // what 100 % of the daily profile means
	maximumKW      float64   // of the connection: more cannot be drawn
	hourlyPct      []float64 // 24 values, each at the full hour, of the base
	noisePct       float64   // standard deviation
	powerFactor    float64   // inductive
	nonCriticalPct float64   // the part behind the non-critical contactor
}

// officeDay is the daily profile that a load has unless it is told another: a
// site with people from morning to evening.
var officeDay = []float64{
	55, 52, 50, 50, 52, 60, 75, 90, 98, 100, 102, 104,
	100, 102, 103, 102, 100, 96, 92, 88, 80, 72, 65, 58,
}

func readLoad(m *document.Mapping) model {
	model := loadModel{
		baseKW:         m.Number("base_kw", 0, 1e5),
		maximumKW:      m.Number("maximum_kw", 0.1, 1e5),
		hourlyPct:      m.Numbers("hourly_pct", 24, 0, 1000, officeDay),
		noisePct:       m.Number("noise_pct", 0, 50, 3),
		powerFactor:    m.Number("power_factor", 0.1, 1, 0.95),
		nonCriticalPct: m.Number("non_critical_pct", 0, 100, 40),
	}
	if model.baseKW > model.maximumKW {
		m.Fault("base_kw", "%v is above maximum_kw (%v)", model.baseKW, model.maximumKW)
	}
	return model
}

func (model loadModel) build(random *rand.Rand) device {
	return &load{model: model, variation: noise{random: random, constant: 2 * time.Minute}}
}

type load struct {
	model     loadModel
	variation noise

	nonCritical, limitKW float64 // setpoints
	baseKW               float64 // input

	demand, power    Power // wanted and served, 0 or more
	reactive         Power
	energy, unserved Energy
	on               bus
}

func (l *load) points() points {
	return points{
		quantities: []quantity{
			{"power_kw", func() float64 { return l.power.KW() }},
			{"reactive_power_kvar", func() float64 { return l.reactive.KW() }},
			{"demand_kw", func() float64 { return l.demand.KW() }},
			{"unserved_kw", func() float64 { return (l.demand - l.power).KW() }},
			{"voltage_v", func() float64 { return l.on.voltageV }},
			{"current_a", func() float64 { return lineCurrent(l.power, l.reactive, l.on.voltageV) }},
			{"energy_kwh", func() float64 { return l.energy.KWh() }},
			{"unserved_energy_kwh", func() float64 { return l.unserved.KWh() }},
			{"supplied", func() float64 { return flag(l.on.live) }},
			{"shedding", func() float64 { return flag(l.power < l.demand) }},
			{"non_critical_open", func() float64 { return flag(l.nonCritical == 0) }},
		},
		setpoints: []Setting{
			control("non_critical_connected", 1, &l.nonCritical),
			{Name: "demand_limit_kw", Most: l.model.maximumKW, Initial: l.model.maximumKW, value: &l.limitKW},
		},
		inputs: []Setting{
			{Name: "base_kw", Most: l.model.maximumKW, Initial: l.model.baseKW, value: &l.baseKW},
		},
	}
}

func (l *load) offer(now moment) offer {
	demandKW := l.baseKW * dailyPart(now.at, l.model.hourlyPct) * (1 + l.model.noisePct/100*l.variation.next(now.step))
	if l.nonCritical == 0 {
		demandKW *= 1 - l.model.nonCriticalPct/100
	}
	l.demand = powerOfKW(clamp(demandKW, 0, math.Min(l.limitKW, l.model.maximumKW)))
	return offer{rank: rankLoad, wanted: -l.demand, least: -l.demand, tangent: l.tangent()}
}

// tangent is the reactive power for each unit of active power.
func (l *load) tangent() float64 { return math.Tan(math.Acos(l.model.powerFactor)) }

func (l *load) commit(now moment, power Power, on bus) {
	l.power, l.on = -power, on
	l.reactive = reactiveOf(l.power, l.tangent())
	l.energy.Add(l.power, now.step)
	l.unserved.Add(l.demand-l.power, now.step)
}

// reactiveOf returns the reactive power that goes with an active one.
func reactiveOf(active Power, tangent float64) Power {
	return Power(math.Round(float64(active) * tangent))
}

// lineCurrent returns the current of each conductor of a three-phase connection
// in A: I = S / (sqrt(3) U).
func lineCurrent(active, reactive Power, voltageV float64) float64 {
	if voltageV <= 0 {
		return 0
	}
	return math.Hypot(active.KW(), reactive.KW()) * 1000 / (math.Sqrt(3) * voltageV)
}

// dailyPart returns the profile at a time as a part of 1, in a straight line
// between full hours. The time is read in the zone of the plant's start.
func dailyPart(at time.Time, hourlyPct []float64) float64 {
	hour := at.Hour()
	part := (float64(at.Minute())*60 + float64(at.Second()) + float64(at.Nanosecond())/1e9) / 3600
	from, to := hourlyPct[hour], hourlyPct[(hour+1)%24]
	return (from + (to-from)*part) / 100
}
