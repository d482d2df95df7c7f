package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// gensetModel is a diesel engine with a generator.
type gensetModel struct {
	ratedKW        float64
	ratedRPM       float64
	rampKWPerS     float64
	tankL          float64
	initialFuelPct float64
	crank, rest    time.Duration
	attempts       int
	warmUp         time.Duration
	coolDown       time.Duration
	ambientC       float64
	runningC       float64 // of the coolant, warm
	nominalV       float64 // at rated speed
	island         forming
}

func readGenset(m *document.Mapping) model {
	seconds := func(key string, least, fallback float64) time.Duration {
		return time.Duration(m.Number(key, least, 3600, fallback) * float64(time.Second))
	}
	return gensetModel{
		ratedKW:        m.Number("rated_kw", 1, 1e5),
		ratedRPM:       m.Number("rated_speed_rpm", 500, 3600, 1500),
		rampKWPerS:     m.Number("ramp_kw_per_s", 0.01, 1e5, 10),
		tankL:          m.Number("fuel_tank_l", 1, 1e6),
		initialFuelPct: m.Number("initial_fuel_level_pct", 0, 100, 80),
		crank:          seconds("crank_s", 0.1, 3),
		rest:           seconds("crank_rest_s", 0.1, 5),
		attempts:       int(m.Integer("crank_attempts", 1, 10, 3)),
		warmUp:         seconds("warm_up_s", 0, 10),
		coolDown:       seconds("cool_down_s", 0, 20),
		ambientC:       m.Number("ambient_temperature_c", -40, 60, 25),
		runningC:       m.Number("coolant_temperature_running_c", 60, 110, 85),
		nominalV:       m.Number("nominal_voltage_v", 100, 1e6, 400),
		island:         readForming(m, 4, 1500*time.Millisecond, 300*time.Millisecond),
	}
}

func (model gensetModel) build(site site, _ *rand.Rand) device {
	return &genset{model: model, nominalHz: site.nominalHz, gensetStatus: gensetStatus{FuelL: model.tankL * model.initialFuelPct / 100, CoolantC: model.ambientC}}
}

// gensetState is a step of the start and stop sequence.
type gensetState int

// The states, as the state quantity gives them.
const (
	gensetStopped gensetState = iota
	gensetCranking
	gensetResting // between two attempts to crank
	gensetWarmingUp
	gensetRunning
	gensetCoolingDown
	gensetFailed // until the run control is taken back
)

const (
	crankingRPM      = 200
	speedConstantS   = 1.0 // first-order lag of the speed
	coolantConstantS = 120.0
	chartKW          = 100.0 // rating of the set that the fuel chart describes
)

// fuelChart is the fuel of a 100 kW diesel set in litres an hour at 1/4, 1/2, 3/4
// and full load. Source: the approximate diesel fuel consumption chart that
// generator dealers publish (2.6, 4.1, 5.8 and 7.4 US gallons an hour).
var fuelChart = [...]float64{9.8, 15.5, 22.0, 28.0}

type genset struct {
	model     gensetModel
	nominalHz float64

	run, setpointKW                            float64 // setpoints
	leakLPerH, refillLPerH, startBlocked, airC float64 // inputs

	gensetStatus
}

type gensetStatus struct {
	State           gensetState
	Called          bool          // by a contact, as by its run control
	Elapsed         time.Duration // in the state
	Cranked         int           // attempts of this start
	FuelL           float64
	FuelRate        float64 // L/h
	SpeedRPM        float64
	CoolantC        float64
	Power, Reactive Power
	Driving         Power // of the engine
	Restoring       Power // added to the setpoint while it forms an island, to bring the frequency back
	LetGo           bool  // its island fell apart
	Energy          Energy
	Ran             time.Duration
	On              bus
}

func (g *genset) state() any { return &g.gensetStatus }

func (g *genset) points() points {
	return points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return g.Power.KW() }},
			{Name: "speed_rpm", read: func() float64 { return g.SpeedRPM }},
			{Name: "coolant_temperature_c", read: func() float64 { return g.CoolantC }},
			{Name: "fuel_level_pct", read: func() float64 { return g.FuelL / g.model.tankL * 100 }},
			{Name: "fuel_rate_l_per_h", read: func() float64 { return g.FuelRate }},
			{Name: "energy_kwh", read: func() float64 { return g.Energy.KWh() }},
			{Name: "running_time_h", read: func() float64 { return g.Ran.Hours() }},
			{Name: "voltage_v", read: g.voltage},
			{Name: "frequency_hz", read: g.frequency},
			state("state", func() float64 { return float64(g.State) }),
			signal("running", func() bool { return g.State == gensetRunning }),
			signal("starting", func() bool {
				return g.State == gensetCranking || g.State == gensetResting || g.State == gensetWarmingUp
			}),
			signal("fault", func() bool { return g.State == gensetFailed }),
		},
		setpoints: []Setting{
			control("run", 0, &g.run),
			{Name: "power_setpoint_kw", Most: g.model.ratedKW, Initial: g.model.ratedKW / 2, value: &g.setpointKW},
		},
		inputs: []Setting{
			{Name: "fuel_leak_l_per_h", Most: 1e6, value: &g.leakLPerH},
			{Name: "fuel_refill_l_per_h", Most: 1e6, value: &g.refillLPerH},
			control("start_blocked", 0, &g.startBlocked),
			{Name: "ambient_temperature_c", Least: -40, Most: 60, Initial: g.model.ambientC, value: &g.airC},
		},
	}
}

func (g *genset) offer(now moment, _ bus) offer {
	g.Elapsed += now.step
	if next := g.next(); next != g.State {
		g.State, g.Elapsed = next, 0
		if next == gensetCranking {
			g.Cranked++
		}
	}
	if g.State == gensetStopped {
		g.Cranked = 0
	}
	if g.State != gensetRunning {
		return offer{}
	}
	rated := powerOfKW(g.model.ratedKW)
	target, most := powerOfKW(g.setpointKW), rated
	if !g.wanted() {
		target = 0
	}
	wanted := approach(g.Power, target, powerOfKW(g.model.rampKWPerS*now.seconds()))
	if !g.wanted() {
		most = wanted // a set that unloads takes up no more
	}
	governor := g.governor(target.KW(), most)
	return offer{active: wanted, governor: &governor}
}

// governor is how the set holds an island while it is to give so much, and can give
// no more than most.
func (g *genset) governor(referenceKW float64, most Power) governor {
	return governor{
		forms: true, rating: powerOfKW(g.model.ratedKW), most: most, reference: powerOfKW(referenceKW) + g.Restoring,
		droop: g.model.island.droop, inertia: g.model.island.inertia, lag: g.model.island.lag, driving: g.Driving,
	}
}

func (g *genset) start(closed bool) { g.Called = closed }

// wanted reports whether the set is to run.
func (g *genset) wanted() bool { return g.run == 1 || g.Called }

// next returns the state that follows: crank, rest and retry until the engine
// fires, warm up, run, unload and cool down. A failed set stays so until its run
// control is taken back.
func (g *genset) next() gensetState {
	switch {
	case g.State == gensetFailed && !g.wanted():
		return gensetStopped
	case g.State >= gensetWarmingUp && g.State <= gensetCoolingDown && (g.FuelL <= 0 || g.LetGo):
		return gensetFailed
	case g.State == gensetStopped && g.wanted():
		return gensetCranking
	case (g.State == gensetCranking || g.State == gensetResting || g.State == gensetWarmingUp) && !g.wanted():
		return gensetStopped
	case g.State == gensetCranking && g.Elapsed >= g.model.crank:
		return g.afterCranking()
	case g.State == gensetResting && g.Elapsed >= g.model.rest:
		return gensetCranking
	case g.State == gensetWarmingUp && g.Elapsed >= g.model.warmUp:
		return gensetRunning
	case g.State == gensetRunning && !g.wanted() && g.Power == 0:
		return gensetCoolingDown
	case g.State == gensetCoolingDown && g.wanted():
		return gensetRunning
	case g.State == gensetCoolingDown && g.Elapsed >= g.model.coolDown:
		return gensetStopped
	default:
		return g.State
	}
}

func (g *genset) afterCranking() gensetState {
	switch {
	case g.startBlocked == 0 && g.FuelL > 0:
		return gensetWarmingUp
	case g.Cranked >= g.model.attempts:
		return gensetFailed
	default:
		return gensetResting
	}
}

// fired reports whether the engine burns fuel.
func (g *genset) fired() bool {
	return g.State == gensetWarmingUp || g.State == gensetRunning || g.State == gensetCoolingDown
}

func (g *genset) commit(now moment, got flow) {
	power := got.active
	g.Power, g.Reactive, g.Driving, g.On, g.LetGo = power, got.reactive, got.driving, got.on, got.fell
	g.Restoring = g.model.island.restore(g.Restoring, g.governor(g.setpointKW, powerOfKW(g.model.ratedKW)), got, g.nominalHz, now)
	g.Energy.Add(power, now.step)
	targetRPM, targetC := 0.0, g.airC
	g.FuelRate = 0
	switch {
	case g.fired():
		targetRPM, targetC = g.model.ratedRPM, g.model.runningC
		g.FuelRate = fuelPerHour(power.KW(), g.model.ratedKW)
		g.Ran += now.step
	case g.State == gensetCranking:
		targetRPM = crankingRPM
	}
	g.SpeedRPM += (targetRPM - g.SpeedRPM) * (1 - math.Exp(-now.seconds()/speedConstantS))
	g.CoolantC += (targetC - g.CoolantC) * (1 - math.Exp(-now.seconds()/coolantConstantS))
	change := (g.refillLPerH - g.leakLPerH - g.FuelRate) * now.hours()
	g.FuelL = clamp(g.FuelL+change, 0, g.model.tankL)
}

// voltage is that of the bus while the set is connected to it, and otherwise
// what its own speed gives.
func (g *genset) voltage() float64 {
	if g.State == gensetRunning {
		return g.On.VoltageV
	}
	return g.model.nominalV * g.SpeedRPM / g.model.ratedRPM
}

func (g *genset) frequency() float64 {
	if g.State == gensetRunning {
		return g.On.FrequencyHz
	}
	return g.nominalHz * g.SpeedRPM / g.model.ratedRPM
}

// fuelPerHour returns the fuel of a running set in litres an hour: the chart,
// scaled to the rating, in straight lines between its loads and on to no load.
func fuelPerHour(powerKW, ratedKW float64) float64 {
	quarters := powerKW / ratedKW * 4
	lower := int(clamp(math.Floor(quarters), 1, 3))
	slope := fuelChart[lower] - fuelChart[lower-1]
	return (fuelChart[lower-1] + slope*(quarters-float64(lower))) * ratedKW / chartKW
}
