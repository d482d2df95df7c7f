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
	shedPart       float64   // of the nominal frequency, below which that contactor opens by itself
	restore        time.Duration
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
		shedPart:       m.Number("under_frequency_shed_pct", 90, 99, 98) / 100,
		restore:        seconds(m, "under_frequency_restore_s", 0, 3600, 5*time.Minute),
	}
	if model.baseKW > model.maximumKW {
		m.Fault("base_kw", "%v is above maximum_kw (%v)", model.baseKW, model.maximumKW)
	}
	return model
}

func (model loadModel) build(site site, random *rand.Rand) device {
	return &load{model: model, nominalHz: site.nominalHz, random: random}
}

// loadConstant is the time over which the consumption forgets where it was.
const loadConstant = 2 * time.Minute

type load struct {
	model     loadModel
	nominalHz float64
	random    *rand.Rand

	nonCritical, limitKW float64 // setpoints
	baseKW               float64 // input

	loadState
}

type loadState struct {
	Variation        noise
	Demand, Power    Power // wanted and served, 0 or more
	Reactive         Power
	Shed             bool          // the frequency was low: the non-critical part is off
	Healthy          time.Duration // how long it has been back since then
	Energy, Unserved Energy
	On               bus
}

func (l *load) state() any { return &l.loadState }

func (l *load) points() points {
	return points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return l.Power.KW() }},
			{Name: "reactive_power_kvar", read: func() float64 { return l.Reactive.KW() }},
			{Name: "demand_kw", read: func() float64 { return l.Demand.KW() }},
			{Name: "unserved_kw", read: func() float64 { return (l.Demand - l.Power).KW() }},
			{Name: "voltage_v", read: func() float64 { return l.On.VoltageV }},
			{Name: "current_a", read: func() float64 { return lineCurrent(l.Power, l.Reactive, l.On.VoltageV) }},
			{Name: "energy_kwh", read: func() float64 { return l.Energy.KWh() }},
			{Name: "unserved_energy_kwh", read: func() float64 { return l.Unserved.KWh() }},
			signal("supplied", func() bool { return l.On.Live }),
			signal("shedding", func() bool { return l.Power < l.Demand }),
			signal("non_critical_open", func() bool { return l.nonCritical == 0 || l.Shed }),
			signal("under_frequency", func() bool { return l.Shed }),
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

func (l *load) offer(now moment, on bus) offer {
	l.watchFrequency(now, on)
	demandKW := l.baseKW * dailyPart(now.at, l.model.hourlyPct) * (1 + l.model.noisePct/100*l.Variation.next(now.step, loadConstant, l.random))
	if l.nonCritical == 0 {
		demandKW *= 1 - l.model.nonCriticalPct/100
	}
	l.Demand = powerOfKW(clamp(demandKW, 0, math.Min(l.limitKW, l.model.maximumKW)))
	served := l.Demand
	if l.Shed && l.nonCritical == 1 {
		served = powerOfKW(l.Demand.KW() * (1 - l.model.nonCriticalPct/100))
	}
	return offer{active: -served, tangent: l.tangent()}
}

// restoredPart is the part of the nominal frequency from which shed load waits to
// come back.
const restoredPart = 0.995

// watchFrequency sheds the non-critical part at a low frequency, and takes it back
// when that has been sound for long enough.
func (l *load) watchFrequency(now moment, on bus) {
	switch {
	case on.Live && on.FrequencyHz < l.model.shedPart*l.nominalHz:
		l.Shed, l.Healthy = true, 0
	case !l.Shed:
	case !on.Live || on.FrequencyHz < restoredPart*l.nominalHz:
		l.Healthy = 0
	default:
		if l.Healthy += now.step; l.Healthy >= l.model.restore {
			l.Shed, l.Healthy = false, 0
		}
	}
}

// tangent is the reactive power for each unit of active power.
func (l *load) tangent() float64 { return math.Tan(math.Acos(l.model.powerFactor)) }

func (l *load) commit(now moment, got flow) {
	l.Power, l.Reactive, l.On = -got.active, -got.reactive, got.on
	l.Energy.Add(l.Power, now.step)
	l.Unserved.Add(l.Demand-l.Power, now.step)
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
