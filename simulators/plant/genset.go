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
	nominalHz      float64 // at rated speed
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
		nominalHz:      m.Number("nominal_frequency_hz", 50, 60, 50),
	}
}

func (model gensetModel) build(*rand.Rand) device {
	return &genset{model: model, fuelL: model.tankL * model.initialFuelPct / 100, coolantC: model.ambientC}
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
	model gensetModel

	run, setpointKW                            float64 // setpoints
	leakLPerH, refillLPerH, startBlocked, airC float64 // inputs

	state    gensetState
	elapsed  time.Duration // in the state
	cranked  int           // attempts of this start
	fuelL    float64
	fuelRate float64 // L/h
	speedRPM float64
	coolantC float64
	power    Power
	energy   Energy
	ran      time.Duration
	on       bus
}

func (g *genset) points() points {
	return points{
		quantities: []quantity{
			{"power_kw", func() float64 { return g.power.KW() }},
			{"speed_rpm", func() float64 { return g.speedRPM }},
			{"coolant_temperature_c", func() float64 { return g.coolantC }},
			{"fuel_level_pct", func() float64 { return g.fuelL / g.model.tankL * 100 }},
			{"fuel_rate_l_per_h", func() float64 { return g.fuelRate }},
			{"energy_kwh", func() float64 { return g.energy.KWh() }},
			{"running_time_h", func() float64 { return g.ran.Hours() }},
			{"voltage_v", g.voltage},
			{"frequency_hz", g.frequency},
			{"state", func() float64 { return float64(g.state) }},
			{"running", func() float64 { return flag(g.state == gensetRunning) }},
			{"starting", func() float64 {
				return flag(g.state == gensetCranking || g.state == gensetResting || g.state == gensetWarmingUp)
			}},
			{"fault", func() float64 { return flag(g.state == gensetFailed) }},
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

func (g *genset) offer(now moment) offer {
	g.elapsed += now.step
	if next := g.next(); next != g.state {
		g.state, g.elapsed = next, 0
		if next == gensetCranking {
			g.cranked++
		}
	}
	if g.state == gensetStopped {
		g.cranked = 0
	}
	if g.state != gensetRunning {
		return offer{rank: rankGenset}
	}
	rated := powerOfKW(g.model.ratedKW)
	target, most := powerOfKW(g.setpointKW), rated
	if g.run == 0 {
		target = 0
	}
	wanted := approach(g.power, target, powerOfKW(g.model.rampKWPerS*now.seconds()))
	if g.run == 0 {
		most = wanted // a set that unloads takes up no more
	}
	return offer{rank: rankGenset, wanted: wanted, most: most, forms: true, rating: rated}
}

// next returns the state that follows: crank, rest and retry until the engine
// fires, warm up, run, unload and cool down. A failed set stays so until its run
// control is taken back.
func (g *genset) next() gensetState {
	switch {
	case g.state == gensetFailed && g.run == 0:
		return gensetStopped
	case g.state >= gensetWarmingUp && g.state <= gensetCoolingDown && g.fuelL <= 0:
		return gensetFailed
	case g.state == gensetStopped && g.run == 1:
		return gensetCranking
	case (g.state == gensetCranking || g.state == gensetResting || g.state == gensetWarmingUp) && g.run == 0:
		return gensetStopped
	case g.state == gensetCranking && g.elapsed >= g.model.crank:
		return g.afterCranking()
	case g.state == gensetResting && g.elapsed >= g.model.rest:
		return gensetCranking
	case g.state == gensetWarmingUp && g.elapsed >= g.model.warmUp:
		return gensetRunning
	case g.state == gensetRunning && g.run == 0 && g.power == 0:
		return gensetCoolingDown
	case g.state == gensetCoolingDown && g.run == 1:
		return gensetRunning
	case g.state == gensetCoolingDown && g.elapsed >= g.model.coolDown:
		return gensetStopped
	default:
		return g.state
	}
}

func (g *genset) afterCranking() gensetState {
	switch {
	case g.startBlocked == 0 && g.fuelL > 0:
		return gensetWarmingUp
	case g.cranked >= g.model.attempts:
		return gensetFailed
	default:
		return gensetResting
	}
}

// fired reports whether the engine burns fuel.
func (g *genset) fired() bool {
	return g.state == gensetWarmingUp || g.state == gensetRunning || g.state == gensetCoolingDown
}

func (g *genset) commit(now moment, power Power, on bus) {
	g.power, g.on = power, on
	g.energy.Add(power, now.step)
	targetRPM, targetC := 0.0, g.airC
	g.fuelRate = 0
	switch {
	case g.fired():
		targetRPM, targetC = g.model.ratedRPM, g.model.runningC
		g.fuelRate = fuelPerHour(power.KW(), g.model.ratedKW)
		g.ran += now.step
	case g.state == gensetCranking:
		targetRPM = crankingRPM
	}
	g.speedRPM += (targetRPM - g.speedRPM) * (1 - math.Exp(-now.seconds()/speedConstantS))
	g.coolantC += (targetC - g.coolantC) * (1 - math.Exp(-now.seconds()/coolantConstantS))
	change := (g.refillLPerH - g.leakLPerH - g.fuelRate) * now.hours()
	g.fuelL = clamp(g.fuelL+change, 0, g.model.tankL)
}

// voltage is that of the bus while the set is connected to it, and otherwise
// what its own speed gives.
func (g *genset) voltage() float64 {
	if g.state == gensetRunning {
		return g.on.voltageV
	}
	return g.model.nominalV * g.speedRPM / g.model.ratedRPM
}

func (g *genset) frequency() float64 {
	if g.state == gensetRunning {
		return g.on.frequencyHz
	}
	return g.model.nominalHz * g.speedRPM / g.model.ratedRPM
}

// fuelPerHour returns the fuel of a running set in litres an hour: the chart,
// scaled to the rating, in straight lines between its loads and on to no load.
func fuelPerHour(powerKW, ratedKW float64) float64 {
	quarters := powerKW / ratedKW * 4
	lower := int(clamp(math.Floor(quarters), 1, 3))
	slope := fuelChart[lower] - fuelChart[lower-1]
	return (fuelChart[lower-1] + slope*(quarters-float64(lower))) * ratedKW / chartKW
}
