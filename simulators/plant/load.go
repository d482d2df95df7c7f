package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// loadModel is the consumption of a site over the day.
type loadModel struct {
	baseKW         float64   // what 100 % of the daily profile means
	maximumKW      float64   // of the connection: more cannot be drawn, but by motors
	hourlyPct      []float64 // 24 values, each at the full hour, of the base
	weekendPct     []float64 // the same of Saturdays and Sundays
	noisePct       float64   // standard deviation
	powerFactor    float64   // inductive
	byVoltage      float64   // exponent: 0 draws the same power, 1 the same current, 2 is an impedance
	nonCriticalPct float64   // the part behind the non-critical contactor
	shedPart       float64   // of the nominal frequency, below which that contactor opens by itself
	restore        time.Duration
	stepKW         float64 // that comes and goes by chance
	stepsPerH      float64 // how often it does either
	motor          motorModel
}

// motorModel is the motors of a load, as one that is started directly.
type motorModel struct {
	ratedKW      float64
	startCurrent float64 // over the rated one
	startFactor  float64 // power factor at rest
	powerFactor  float64 // at the rating
	runUp        time.Duration
}

// officeDay is the daily profile that a load has unless it is told another: a
// site with people from morning to evening.
var officeDay = []float64{
	55, 52, 50, 50, 52, 60, 75, 90, 98, 100, 102, 104,
	100, 102, 103, 102, 100, 96, 92, 88, 80, 72, 65, 58,
}

func readLoad(m *document.Mapping) model {
	model := loadModel{
		baseKW:         m.About("what 100 % of the profile is, to begin with").Number("base_kw", 0, 1e5),
		maximumKW:      m.About("of its connection: no more is drawn, but by motors").Number("maximum_kw", 0.1, 1e5),
		hourlyPct:      m.About("of base_kw, at each full hour").Numbers("hourly_pct", 24, 0, 1000, officeDay),
		noisePct:       m.About("standard deviation").Number("noise_pct", 0, 50, 3),
		powerFactor:    m.About("inductive").Number("power_factor", 0.1, 1, 0.95),
		byVoltage:      m.About("of the voltage: 0 draws the same power, 1 the same current, 2 is an impedance").Number("voltage_exponent", 0, 3, 0),
		nonCriticalPct: m.About("part behind the non-critical contactor").Number("non_critical_pct", 0, 100, 40),
		shedPart:       m.About("of the nominal frequency, below which that contactor opens").Number("under_frequency_shed_pct", 90, 99, 98) / 100,
		restore:        seconds(m.About("of a sound frequency, before it closes again"), "under_frequency_restore_s", 0, 3600, 5*time.Minute),
		stepKW:         m.About("that comes and goes by chance").Number("random_step_kw", 0, 1e5, 0),
		stepsPerH:      m.About("how often it does either").Number("random_steps_per_h", 0, 3600, 6),
		motor: motorModel{
			ratedKW:      m.About("rating of its motors, which are started directly").Number("motor_kw", 0, 1e5, 0),
			startCurrent: m.About("over the rated one").Number("motor_start_current", 1.5, 12, 6),
			startFactor:  m.About("at rest").Number("motor_start_power_factor", 0.05, 0.9, 0.3),
			powerFactor:  m.About("at the rating").Number("motor_power_factor", 0.5, 0.98, 0.85),
			runUp:        seconds(m.About("until they have run up"), "motor_start_s", 0.1, 120, 5*time.Second),
		},
	}
	model.weekendPct = m.About("the same on Saturdays and Sundays: hourly_pct, where it is not told").Numbers("weekend_pct", 24, 0, 1000, model.hourlyPct)
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

	nonCritical, limitKW, motorRun float64 // setpoints
	baseKW, stepKW                 float64 // inputs

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
	StepOn           bool          // the step that comes by chance
	Turning          time.Duration // since the motor was started
	Motor            float64       // kW that it draws
	Tangent          float64       // reactive power for each unit of active power
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
			{Name: "motor_power_kw", read: l.motorPower},
			signal("motor_running", func() bool { return l.Turning > 0 }),
			signal("motor_starting", func() bool { return l.Turning > 0 && l.Turning < l.model.motor.runUp }),
			signal("supplied", func() bool { return l.On.Live }),
			signal("shedding", func() bool { return l.Power < l.Demand }),
			signal("non_critical_open", func() bool { return l.nonCritical == 0 || l.Shed }),
			signal("under_frequency", func() bool { return l.Shed }),
		},
		setpoints: []Setting{
			control("non_critical_connected", 1, &l.nonCritical),
			{Name: "demand_limit_kw", Most: l.model.maximumKW, Initial: l.model.maximumKW, value: &l.limitKW},
			control("motor_run", 0, &l.motorRun),
		},
		inputs: []Setting{
			{Name: "base_kw", Most: l.model.maximumKW, Initial: l.model.baseKW, value: &l.baseKW},
			{Name: "step_kw", Least: -l.model.maximumKW, Most: l.model.maximumKW, value: &l.stepKW},
		},
	}
}

func (l *load) offer(now moment, on bus) offer {
	l.watchFrequency(now, on)
	demandKW := l.baseKW * dailyPart(now.at, l.model.hourlyPct, l.model.weekendPct) * (1 + l.model.noisePct/100*l.Variation.next(now.step, loadConstant, l.random))
	demandKW += l.steps(now)
	if l.nonCritical == 0 {
		demandKW *= 1 - l.model.nonCriticalPct/100
	}
	demandKW = clamp(demandKW*l.atVoltage(on), 0, math.Min(l.limitKW, l.model.maximumKW))
	servedKW := demandKW
	if l.Shed && l.nonCritical == 1 {
		servedKW *= 1 - l.model.nonCriticalPct/100
	}
	motorKVar := l.turn()
	l.Demand = powerOfKW(demandKW + l.Motor)
	served := min(l.Demand, powerOfKW(servedKW+l.Motor))
	if l.Tangent = 0; served > 0 {
		l.Tangent = (servedKW*math.Tan(math.Acos(l.model.powerFactor)) + motorKVar) / (servedKW + l.Motor)
	}
	return offer{active: -served, tangent: l.Tangent}
}

// atVoltage returns the part of its demand that a load has at the voltage of the last
// tick, but for its motors: (U / U0)^n.
// Source: IEEE Task Force on Load Representation, IEEE Trans. Power Systems 8 (1993) 472.
func (l *load) atVoltage(on bus) float64 {
	if l.model.byVoltage == 0 || !on.Live {
		return 1
	}
	return math.Pow(on.VoltagePU, l.model.byVoltage)
}

// steps returns the part of the demand that comes and goes at once.
func (l *load) steps(now moment) float64 {
	if l.model.stepKW > 0 && l.random.Float64() < l.model.stepsPerH*now.hours() {
		l.StepOn = !l.StepOn
	}
	return l.stepKW + l.model.stepKW*flag(l.StepOn)
}

// turn runs the motor up, as far as it has been turning, and returns its reactive
// power in kvar.
func (l *load) turn() float64 {
	if l.Motor = 0; l.motorRun == 0 || l.model.motor.ratedKW == 0 {
		l.Turning = 0
		return 0
	}
	of := l.model.motor
	progress := min(1, l.Turning.Seconds()/of.runUp.Seconds())
	active, reactive := physics.MotorRunUp(progress, of.startCurrent, of.startFactor, of.powerFactor)
	l.Motor = of.ratedKW * active
	return of.ratedKW * reactive
}

func (l *load) motorPower() float64 {
	if !l.On.Live {
		return 0
	}
	return l.Motor
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

func (l *load) commit(now moment, got flow) {
	l.Power, l.Reactive, l.On = -got.active, -got.reactive, got.on
	l.Energy.Add(l.Power, now.step)
	l.Unserved.Add(l.Demand-l.Power, now.step)
	if l.Turning += now.step; l.Motor == 0 || !got.on.Live {
		l.Turning = 0 // without voltage it stands, and starts again with it
	}
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

// dailyPart returns the profile of a day at a time as a part of 1, in a straight line
// between full hours. The time is read in the zone of the plant's start.
func dailyPart(at time.Time, weekdayPct, weekendPct []float64) float64 {
	hourPct := func(at time.Time) float64 {
		if day := at.Weekday(); day == time.Saturday || day == time.Sunday {
			return weekendPct[at.Hour()]
		}
		return weekdayPct[at.Hour()]
	}
	part := (float64(at.Minute())*60 + float64(at.Second()) + float64(at.Nanosecond())/1e9) / 3600
	from, to := hourPct(at), hourPct(at.Add(time.Hour))
	return (from + (to-from)*part) / 100
}
