package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
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

	crankFailure    float64       // probability that one attempt fails
	synchronize     time.Duration // most that it takes
	minimumLoadPct  float64
	wetAlarmPct     float64
	coolantTripC    float64
	oilTripBar      float64
	overspeedPart   float64 // of the rated speed
	reversePart     float64 // of the rated power, taken from the bus, above which it trips
	reverseDelay    time.Duration
	serviceInterval time.Duration
}

func readGenset(m *document.Mapping) model {
	return gensetModel{
		crankFailure:    m.About("probability that an attempt to start fails").Number("crank_failure_pct", 0, 100, 0) / 100,
		synchronize:     seconds(m.About("most that it takes, or the start fails"), "synchronize_s", 1, 3600, 60*time.Second),
		minimumLoadPct:  m.About("below which it tells of a low load").Number("minimum_load_pct", 0, 60, 30),
		wetAlarmPct:     m.About("unburnt fuel in the exhaust at which it tells of it").Number("wet_stacking_alarm_pct", 1, 100, 50),
		coolantTripC:    m.About("above which it trips").Number("coolant_trip_c", 80, 130, 105),
		oilTripBar:      m.About("below which it trips").Number("oil_pressure_trip_bar", 0.1, 3, 1),
		overspeedPart:   m.About("of the rated speed, above which it trips").Number("overspeed_pct", 105, 130, 110) / 100,
		reversePart:     m.About("of the rated power, taken from the bus, above which it trips (ANSI 32); the engine takes up 20").Number("reverse_power_pct", 1, 50, 10) / 100,
		reverseDelay:    seconds(m.About("for how long, before it trips"), "reverse_power_s", 0.1, 3600, 3*time.Second),
		serviceInterval: time.Duration(m.About("of running, after which it wants service").Number("service_interval_h", 1, 5000, 250) * float64(time.Hour)),

		ratedKW:        m.About("most power").Number("rated_kw", 1, 1e5),
		ratedRPM:       m.About("at the nominal frequency").Number("rated_speed_rpm", 500, 3600, 1500),
		rampKWPerS:     m.About("how fast the power follows its setpoint beside a grid").Number("ramp_kw_per_s", 0.01, 1e5, 10),
		tankL:          m.About("what its tank holds").Number("fuel_tank_l", 1, 1e6),
		initialFuelPct: m.About("that it begins with").Number("initial_fuel_level_pct", 0, 100, 80),
		crank:          seconds(m.About("how long the starter turns it in one attempt"), "crank_s", 0.1, 3600, 3*time.Second),
		rest:           seconds(m.About("between two attempts"), "crank_rest_s", 0.1, 3600, 5*time.Second),
		attempts:       int(m.About("before the start has failed").Integer("crank_attempts", 1, 10, 3)),
		warmUp:         seconds(m.About("without load, before it closes onto its bus"), "warm_up_s", 0, 3600, 10*time.Second),
		coolDown:       seconds(m.About("without load, before it stops"), "cool_down_s", 0, 3600, 20*time.Second),
		ambientC:       m.About("of the air around it, to begin with").Number("ambient_temperature_c", -40, 60, 25),
		runningC:       m.About("that it warms up to").Number("coolant_temperature_running_c", 60, 110, 85),
		nominalV:       m.About("at the rated speed").Number("nominal_voltage_v", 100, 1e6, 400),
		island:         readForming(m, 4, 1500*time.Millisecond, 300*time.Millisecond),
	}
}

func (model gensetModel) build(site site, random *rand.Rand) device {
	return &genset{
		model: model, nominalHz: site.nominalHz, random: random,
		gensetStatus: gensetStatus{FuelL: model.tankL * model.initialFuelPct / 100, CoolantC: model.ambientC, StarterPct: 100},
	}
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
	gensetFailed        // until it is reset or, where that was no trip, the run control is taken back
	gensetSynchronizing // before it closes onto a live bus
)

// gensetCause is why a set has failed.
type gensetCause int

// The causes, as the trip_cause quantity gives them. Those of the engine are reset by
// hand.
const (
	gensetSound gensetCause = iota
	gensetNotStarted
	gensetOutOfFuel
	gensetLetGo // its island fell apart
	gensetNotInStep
	gensetOilLow
	gensetCoolantHigh
	gensetOverspeed
	gensetEmergencyStop
	gensetReversePower // ANSI 32: its bus drove it
)

// byHand reports whether a cause stays until it is reset, whatever the run control does.
func (c gensetCause) byHand() bool { return c >= gensetOilLow && c <= gensetEmergencyStop }

const (
	crankingRPM      = 200
	speedConstantS   = 1.0 // first-order lag of the speed
	coolantConstantS = 120.0
	starterLeastPct  = 10.0 // of the starter battery, to turn the engine
	starterUsePerS   = 0.5  // percent while it cranks
	starterGainPerH  = 20.0 // percent while a charger holds it
	starterLossPerH  = 1.0  // percent without one
)

// motoringPart is the part of the rated power that an engine without fuel takes up where
// its bus drives it: of a diesel engine 5 to 25 %, and relays against that are set to 5
// to 15 %. Source: IEEE C37.102.
const motoringPart = 0.2

// oilGrace is how long after it fires an engine needs for its oil pressure.
const oilGrace = 5 * time.Second

type genset struct {
	model     gensetModel
	nominalHz float64
	random    *rand.Rand

	run, setpointKW, reset, serviced           float64 // setpoints
	leakLPerH, refillLPerH, startBlocked, airC float64 // inputs
	failedCranks, coolantRiseC, oilLossPct     float64
	overspeedPct, emergencyStop                float64
	chargerFailed, synchronizerFailed          float64

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
	Driving         Power         // of the engine
	Restoring       Power         // added to the setpoint while it forms an island, to bring the frequency back
	LetGo           bool          // its island fell apart
	Reversed        time.Duration // how long its bus has driven it with more than it bears
	Energy          Energy
	Consumed        Energy // where an island with a surplus drove it
	Ran             time.Duration
	On              bus

	Cause      gensetCause
	ResetSeen  bool
	Chance     float64       // of the attempt to crank that ends in this tick: it fails below the probability
	Fired      time.Duration // since the engine fired
	Starts     float64
	StarterPct float64       // charge of the starter battery
	WetPct     float64       // wet stacking
	Serviced   time.Duration // running time at the last service
}

func (g *genset) state() any { return &g.gensetStatus }

func (g *genset) points() points {
	return points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return g.Power.KW() }},
			{Name: "speed_rpm", read: g.speed},
			{Name: "coolant_temperature_c", read: func() float64 { return g.CoolantC }},
			{Name: "fuel_level_pct", read: func() float64 { return g.FuelL / g.model.tankL * 100 }},
			{Name: "fuel_rate_l_per_h", read: func() float64 { return g.FuelRate }},
			{Name: "energy_kwh", read: func() float64 { return g.Energy.KWh() }},
			{Name: "energy_consumed_kwh", read: func() float64 { return g.Consumed.KWh() }},
			{Name: "running_time_h", read: func() float64 { return g.Ran.Hours() }},
			{Name: "voltage_v", read: g.voltage},
			{Name: "frequency_hz", read: g.frequency},
			{Name: "reactive_power_kvar", read: func() float64 { return g.Reactive.KW() }},
			{Name: "load_pct", read: func() float64 { return g.load() * 100 }},
			{Name: "oil_pressure_bar", read: g.oilPressure},
			{Name: "battery_voltage_v", read: g.starterVoltage},
			{Name: "starts", read: func() float64 { return g.Starts }},
			{Name: "wet_stacking_pct", read: func() float64 { return g.WetPct }},
			{Name: "service_due_h", read: func() float64 { return (g.model.serviceInterval - (g.Ran - g.Serviced)).Hours() }},
			state("state", func() float64 { return float64(g.State) }),
			state("trip_cause", func() float64 { return float64(g.Cause) }),
			signal("called", func() bool { return g.Called }),
			signal("low_load", func() bool { return g.State == gensetRunning && g.load()*100 < g.model.minimumLoadPct }),
			signal("wet_stacking_alarm", func() bool { return g.WetPct >= g.model.wetAlarmPct }),
			signal("service_due", func() bool { return g.Ran-g.Serviced >= g.model.serviceInterval }),
			signal("battery_low", func() bool { return g.StarterPct < 3*starterLeastPct }),
			signal("running", func() bool { return g.State == gensetRunning }),
			signal("starting", func() bool {
				return g.State == gensetCranking || g.State == gensetResting || g.State == gensetWarmingUp || g.State == gensetSynchronizing
			}),
			signal("fault", func() bool { return g.State == gensetFailed }),
			signal("reverse_power_trip", func() bool { return g.Cause == gensetReversePower }),
		},
		setpoints: []Setting{
			control("run", 0, &g.run),
			{Name: "power_setpoint_kw", Most: g.model.ratedKW, Initial: g.model.ratedKW / 2, value: &g.setpointKW},
			control("reset", 0, &g.reset),
			control("service_done", 0, &g.serviced),
		},
		inputs: []Setting{
			{Name: "fuel_leak_l_per_h", Most: 1e6, value: &g.leakLPerH},
			{Name: "fuel_refill_l_per_h", Most: 1e6, value: &g.refillLPerH},
			control("start_blocked", 0, &g.startBlocked),
			{Name: "ambient_temperature_c", Least: -40, Most: 60, Initial: g.model.ambientC, value: &g.airC},
			{Name: "failed_cranks", Most: 10, value: &g.failedCranks},
			{Name: "coolant_rise_c", Most: 100, value: &g.coolantRiseC},
			{Name: "oil_pressure_loss_pct", Most: 100, value: &g.oilLossPct},
			{Name: "overspeed_pct", Most: 50, value: &g.overspeedPct},
			control("emergency_stop", 0, &g.emergencyStop),
			control("battery_charger_failed", 0, &g.chargerFailed),
			control("synchronizer_failed", 0, &g.synchronizerFailed),
		},
	}
}

func (g *genset) offer(now moment, _ bus) offer {
	g.Elapsed += now.step
	g.Chance = g.random.Float64()
	if cause := g.trouble(); cause != gensetSound {
		g.State, g.Elapsed, g.Cause = gensetFailed, 0, cause
	}
	if next := g.next(); next != g.State {
		g.enter(next)
	}
	g.ResetSeen = g.reset == 1
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
// no more than most. Its engine brakes what its island has too much, unless it is to
// stop: one that unloads must come to nothing.
func (g *genset) governor(referenceKW float64, most Power) governor {
	return governor{
		forms: true, rating: powerOfKW(g.model.ratedKW), least: powerOfKW(-motoringPart * g.model.ratedKW * flag(g.wanted())), most: most,
		reference: powerOfKW(referenceKW) + g.Restoring,
		droop:     g.model.island.droop, inertia: g.model.island.inertia, lag: g.model.island.lag, driving: g.Driving,
	}
}

func (g *genset) follow(closed bool) { g.Called = closed }

// wanted reports whether the set is to run.
func (g *genset) wanted() bool { return g.run == 1 || g.Called }

func (g *genset) enter(next gensetState) {
	switch {
	case next == gensetCranking:
		g.Cranked++
	case next == gensetWarmingUp:
		g.Starts++
		g.Fired = 0
	case next == gensetStopped:
		g.Cranked, g.Cause = 0, gensetSound
	case next == gensetFailed && g.State == gensetSynchronizing:
		g.Cause = gensetNotInStep
	case next == gensetFailed:
		g.Cause = gensetNotStarted
	}
	g.State, g.Elapsed = next, 0
}

// trouble returns what stops a set that turns, gensetSound if nothing does.
func (g *genset) trouble() gensetCause {
	turns := g.fired() || g.State == gensetCranking || g.State == gensetResting
	switch {
	case g.emergencyStop == 1 && turns:
		return gensetEmergencyStop
	case !g.fired():
		return gensetSound
	case g.speed() > g.model.overspeedPart*g.model.ratedRPM:
		return gensetOverspeed
	case g.Fired >= oilGrace && g.oilPressure() < g.model.oilTripBar:
		return gensetOilLow
	case g.CoolantC > g.model.coolantTripC:
		return gensetCoolantHigh
	case g.FuelL <= 0:
		return gensetOutOfFuel
	case g.LetGo:
		return gensetLetGo
	case g.Reversed >= g.model.reverseDelay:
		return gensetReversePower
	default:
		return gensetSound
	}
}

// next returns the state that follows: crank, rest and retry until the engine
// fires, warm up, synchronize, run, unload and cool down. A failed set stays so until it
// is reset or, where that was no trip, its run control is taken back.
func (g *genset) next() gensetState {
	switch {
	case g.State == gensetFailed && (g.reset == 1 && !g.ResetSeen || !g.wanted() && !g.Cause.byHand()):
		return gensetStopped
	case g.State == gensetStopped && g.wanted() && g.emergencyStop == 0:
		return gensetCranking
	case (g.State == gensetCranking || g.State == gensetResting || g.State == gensetWarmingUp) && !g.wanted():
		return gensetStopped
	case g.State == gensetCranking && g.Elapsed >= g.model.crank:
		return g.afterCranking()
	case g.State == gensetResting && g.Elapsed >= g.model.rest:
		return gensetCranking
	case g.State == gensetWarmingUp && g.Elapsed >= g.model.warmUp:
		return g.afterWarmingUp()
	case g.State == gensetSynchronizing && !g.wanted():
		return gensetCoolingDown
	case g.State == gensetSynchronizing && g.inStep():
		return gensetRunning
	case g.State == gensetSynchronizing && g.Elapsed >= g.model.synchronize:
		return gensetFailed
	case g.State == gensetRunning && !g.wanted() && g.Power == 0:
		return gensetCoolingDown
	case g.State == gensetCoolingDown && g.wanted():
		return g.afterWarmingUp()
	case g.State == gensetCoolingDown && g.Elapsed >= g.model.coolDown:
		return gensetStopped
	default:
		return g.State
	}
}

func (g *genset) afterCranking() gensetState {
	fires := g.startBlocked == 0 && g.FuelL > 0 && g.StarterPct >= starterLeastPct &&
		float64(g.Cranked) > math.Floor(g.failedCranks) && g.Chance >= g.model.crankFailure
	switch {
	case fires:
		return gensetWarmingUp
	case g.Cranked >= g.model.attempts:
		return gensetFailed
	default:
		return gensetResting
	}
}

func (g *genset) afterWarmingUp() gensetState {
	if g.inStep() {
		return gensetRunning
	}
	return gensetSynchronizing
}

// inStep reports whether the set may close onto its bus: that is dead, or hardly
// differs from what the set gives.
func (g *genset) inStep() bool {
	if !g.On.Live {
		return true
	}
	own := g.SpeedRPM / g.model.ratedRPM
	return g.synchronizerFailed == 0 && inStep(bus{Live: true, VoltagePU: own, FrequencyHz: own * g.nominalHz}, g.On)
}

// fired reports whether the engine burns fuel.
func (g *genset) fired() bool {
	return g.State == gensetWarmingUp || g.State == gensetSynchronizing || g.State == gensetRunning || g.State == gensetCoolingDown
}

func (g *genset) commit(now moment, got flow) {
	power := got.active
	g.Power, g.Reactive, g.Driving, g.On, g.LetGo = power, got.reactive, got.driving, got.on, got.fell
	g.Restoring = g.model.island.restore(g.Restoring, g.governor(g.setpointKW, powerOfKW(g.model.ratedKW)), got, g.nominalHz, now)
	g.Energy.Add(max(0, power), now.step)
	g.Consumed.Add(max(0, -power), now.step)
	if g.Reversed += now.step; -g.load() <= g.model.reversePart {
		g.Reversed = 0
	}
	targetRPM, targetC := 0.0, g.airC
	g.FuelRate = 0
	switch {
	case g.fired():
		targetRPM, targetC = g.targetRPM(), g.model.runningC+g.coolantRiseC
		g.FuelRate = physics.DieselFuel(power.KW(), g.model.ratedKW)
		g.Ran += now.step
		g.Fired += now.step
		g.WetPct = clamp(g.WetPct+physics.WetStacking(g.load())*now.hours(), 0, 100)
	case g.State == gensetCranking && g.StarterPct >= starterLeastPct:
		targetRPM = crankingRPM
	}
	g.SpeedRPM += (targetRPM - g.SpeedRPM) * (1 - math.Exp(-now.seconds()/speedConstantS))
	g.CoolantC += (targetC - g.CoolantC) * (1 - math.Exp(-now.seconds()/coolantConstantS))
	g.useStarter(now)
	if g.serviced == 1 {
		g.Serviced = g.Ran
	}
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

// targetRPM is the speed that the governor leads the engine to: that of a live bus.
func (g *genset) targetRPM() float64 {
	if (g.State == gensetRunning || g.State == gensetSynchronizing) && g.On.Live {
		return g.model.ratedRPM * g.On.FrequencyHz / g.nominalHz
	}
	return g.model.ratedRPM
}

// useStarter empties the starter battery while it cranks, and charges it from the
// engine or the bus.
func (g *genset) useStarter(now moment) {
	perS := -starterLossPerH / 3600
	switch {
	case g.State == gensetCranking:
		perS = -starterUsePerS
	case g.charging():
		perS = starterGainPerH / 3600
	}
	g.StarterPct = clamp(g.StarterPct+perS*now.seconds(), 0, 100)
}

func (g *genset) charging() bool { return g.chargerFailed == 0 && (g.fired() || g.On.Live) }

func (g *genset) load() float64 { return g.Power.KW() / g.model.ratedKW }

// speed is what the pickup shows.
func (g *genset) speed() float64 { return g.SpeedRPM * (1 + g.overspeedPct/100) }

func (g *genset) oilPressure() float64 {
	return physics.OilPressure(g.SpeedRPM/g.model.ratedRPM, g.CoolantC) * (1 - g.oilLossPct/100)
}

func (g *genset) starterVoltage() float64 {
	return physics.StarterVoltage(g.StarterPct/100, g.State == gensetCranking, g.charging())
}
