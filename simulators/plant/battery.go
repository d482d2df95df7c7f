package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// batteryModel is a battery behind a power conversion system (PCS). Power is AC
// at the bus: positive while it discharges, negative while it charges.
type batteryModel struct {
	capacityKWh         float64 // of new cells
	rampKWPerS          float64
	chargeEfficiency    float64 // AC to stored energy, 0 to 1, with what heats the cells
	dischargeEfficiency float64 // stored energy to AC, 0 to 1
	chargeRate          float64 // most power, in parts of the capacity an hour
	dischargeRate       float64
	initialPct          float64
	leastPct, mostPct   float64 // initial limits of the state of charge
	deratePct           float64 // width of the band below and above those limits over which power falls to 0
	heatCapacityKJPerK  float64
	coolingKWPerK       float64
	roomC               float64
	healthPct           float64 // initial state of health
	cycleLife           float64 // full cycles to the end of life, 0 for no end
	calendarYears       float64 // at 25 C, 0 for no end
	forming             float64 // initially 1 where it forms islands, 0 where it follows its bus
	cells               cells
	bms                 bmsModel
	inverter            inverterModel
	island              forming
}

func readBattery(m *document.Mapping) model {
	capacityKWh, ratedKW := m.About("energy that new cells hold").Number("capacity_kwh", 0.1, 1e6), m.About("most power of the converter, in both directions").Number("rated_kw", 0.1, 1e5)
	model := batteryModel{
		capacityKWh:         capacityKWh,
		rampKWPerS:          m.About("how fast the power follows its setpoint").Number("ramp_kw_per_s", 0.01, 1e6, 50),
		chargeEfficiency:    m.About("from the bus to stored energy").Number("charge_efficiency_pct", 50, 100, 96) / 100,
		dischargeEfficiency: m.About("from stored energy to the bus").Number("discharge_efficiency_pct", 50, 100, 96) / 100,
		chargeRate:          m.About("most power while it charges, in parts of the capacity").Number("charge_rate_max_per_h", 0.01, 100, 100),
		dischargeRate:       m.About("the same while it discharges").Number("discharge_rate_max_per_h", 0.01, 100, 100),
		initialPct:          m.About("state of charge that it begins with").Number("initial_state_of_charge_pct", 0, 100, 50),
		leastPct:            m.About("where it stops discharging, to begin with").Number("state_of_charge_min_pct", 0, 50, 10),
		mostPct:             m.About("where it stops charging, to begin with").Number("state_of_charge_max_pct", 50, 100, 95),
		deratePct:           m.About("width of the band inside these limits over which the power falls to 0").Number("derate_band_pct", 0.1, 20, 5),
		heatCapacityKJPerK:  m.About("of all cells").Number("heat_capacity_kj_per_k", 1, 1e6, 1600),
		coolingKWPerK:       m.About("heat that leaves the cells for each degree above the room").Number("cooling_kw_per_k", 0.001, 1000, 0.1),
		roomC:               m.About("of the air around it, to begin with").Number("room_temperature_c", -20, 50, 25),
		healthPct:           m.About("part of the capacity that is left, to begin with").Number("state_of_health_pct", 50, 100, 100),
		cycleLife:           m.About("full cycles to 80 % of the capacity, 0 for no end").Number("cycle_life", 0, 1e6, 6000),
		calendarYears:       m.About("years at 25 C to the same, 0 for no end").Number("calendar_life_years", 0, 100, 15),
		forming:             flag(m.About("whether it forms islands, to begin with, or follows its bus").Truth("grid_forming", true)),
		inverter:            readInverter(m, ratedKW),
		island:              readForming(m, 1, time.Second, 0),
	}
	model.cells = readCells(m, capacityKWh)
	model.bms = readBMS(m, model.cells, ratedKW)
	return model
}

func (model batteryModel) build(site site, _ *rand.Rand) device {
	model.inverter.nominalHz = site.nominalHz
	b := &battery{model: model, inverter: inverter{model: model.inverter}, batteryState: batteryState{
		Charge: model.initialPct / 100, Health: model.healthPct / 100, CellC: model.roomC, Inverter: newInverterState(),
	}}
	taken := model.cells.curve.Energy((1 - b.Charge) * model.cells.emptyAh)
	b.StoredKWh = b.capacityKWh() * (1 - taken/model.cells.energyWh)
	b.BMS.Closed = true
	b.measure()
	return b
}

// States of a battery, as its state quantity gives them.
const (
	batteryStopped = 0
	batteryRunning = 1
	batteryFault   = 2
	batteryWaiting = 3 // until its bus is sound
)

type battery struct {
	model    batteryModel
	inverter inverter

	run, setpointKW, leastPct, mostPct, forming, reset float64 // setpoints
	riseC, roomC, selfDischargeKW, welded, spreadMV    float64 // inputs

	batteryState
}

type batteryState struct {
	StoredKWh             float64
	Charge                float64 // state of charge, 0 to 1
	Health                float64 // state of health, 0 to 1
	Cycles                float64 // full ones, by the energy that went in and out
	LossesKWh             float64 // what went in, did not come out and is not stored
	CellC                 float64 // mean
	VoltageV, CurrentA    float64 // DC, positive while it discharges
	LetGo                 bool    // an island fell apart: it forms none until it is stopped, or the bus lives again
	Holds                 bool    // it forms an island
	MaxCharge, MaxRelease Power   // what it can take and give in this tick, 0 or more
	Power, Reactive       Power
	Asked                 Power // what the ramp towards the setpoint has reached
	Driving               Power // what its governor gives
	Restoring             Power // added to the setpoint while it forms an island, to bring the frequency back
	Charged, Discharged   Energy
	BMS                   bmsState
	Inverter              inverterState
	On                    bus
}

func (b *battery) state() any { return &b.batteryState }

func (b *battery) points() points {
	named := points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return b.Power.KW() }},
			{Name: "state_of_charge_pct", read: b.stateOfCharge},
			{Name: "stored_energy_kwh", read: func() float64 { return b.StoredKWh }},
			{Name: "voltage_v", read: func() float64 { return b.VoltageV }},
			{Name: "current_a", read: func() float64 { return b.CurrentA }},
			{Name: "dc_power_kw", read: func() float64 { return b.VoltageV * b.CurrentA / 1000 }},
			{Name: "cell_temperature_max_c", read: b.hottestCell},
			{Name: "cell_temperature_mean_c", read: func() float64 { return b.CellC }},
			{Name: "cell_temperature_min_c", read: b.coldestCell},
			{Name: "available_charge_kw", read: func() float64 { return b.MaxCharge.KW() }},
			{Name: "available_discharge_kw", read: func() float64 { return b.MaxRelease.KW() }},
			{Name: "energy_charged_kwh", read: func() float64 { return b.Charged.KWh() }},
			{Name: "energy_discharged_kwh", read: func() float64 { return b.Discharged.KWh() }},
			{Name: "energy_losses_kwh", read: func() float64 { return b.LossesKWh }},
			{Name: "ac_voltage_v", read: func() float64 { return b.On.VoltageV }},
			{Name: "ac_current_a", read: func() float64 { return lineCurrent(b.Power, b.Reactive, b.On.VoltageV) }},
			{Name: "frequency_hz", read: func() float64 { return b.On.FrequencyHz }},
			state("state", b.mode),
			{Name: "charge_state", read: b.chargeMode}, // its changes are those of charging and discharging
			signal("running", func() bool { return b.mode() == batteryRunning }),
			signal("fault", b.BMS.tripped),
			signal("charging", func() bool { return b.Power < 0 }),
			signal("discharging", func() bool { return b.Power > 0 }),
			signal("derated", func() bool {
				return b.mode() == batteryRunning && min(b.MaxCharge, b.MaxRelease) < powerOfKW(b.model.inverter.ratedKW)
			}),
			signal("forms_island", func() bool { return b.Holds }),
		},
		setpoints: []Setting{
			control("run", 1, &b.run),
			{Name: "power_setpoint_kw", Least: -b.model.inverter.ratedKW, Most: b.model.inverter.ratedKW, value: &b.setpointKW},
			{Name: "state_of_charge_min_pct", Most: 50, Initial: b.model.leastPct, value: &b.leastPct},
			{Name: "state_of_charge_max_pct", Least: 50, Most: 100, Initial: b.model.mostPct, value: &b.mostPct},
			control("grid_forming", b.model.forming, &b.forming),
		},
		inputs: []Setting{
			{Name: "cell_temperature_rise_c", Most: 100, value: &b.riseC},
			{Name: "room_temperature_c", Least: -20, Most: 50, Initial: b.model.roomC, value: &b.roomC},
			{Name: "self_discharge_kw", Most: 1e6, value: &b.selfDischargeKW},
		},
	}
	return named.and(b.packPoints()).and(b.bmsPoints()).and(outputPoints(&b.Power, &b.Reactive)).and(b.inverter.points(&b.Inverter))
}

// packPoints are what the racks and cells show.
func (b *battery) packPoints() points {
	return points{quantities: []quantity{
		{Name: "racks", read: func() float64 { return b.model.cells.racks }},
		{Name: "modules_per_rack", read: func() float64 { return b.model.cells.modules }},
		{Name: "cells_per_module", read: func() float64 { return b.model.cells.perModule }},
		{Name: "rack_voltage_v", read: func() float64 { return b.VoltageV }},
		{Name: "rack_current_a", read: func() float64 { return b.CurrentA / b.model.cells.racks }},
		{Name: "module_voltage_v", read: func() float64 { return b.VoltageV / b.model.cells.modules }},
		{Name: "cell_voltage_max_v", read: b.highestCell},
		{Name: "cell_voltage_mean_v", read: b.meanCell},
		{Name: "cell_voltage_min_v", read: b.lowestCell},
		{Name: "dc_link_voltage_v", read: func() float64 { return b.VoltageV * flag(b.BMS.Closed) }},
		{Name: "charge_ah", read: func() float64 { return b.Charge * b.model.cells.capacityAh(b.capacityKWh()) }},
		{Name: "capacity_kwh", read: b.capacityKWh},
		{Name: "state_of_health_pct", read: func() float64 { return b.Health * 100 }},
		{Name: "cycles", read: func() float64 { return b.Cycles }},
	}}
}

func (b *battery) stateOfCharge() float64 { return b.Charge * 100 }

func (b *battery) capacityKWh() float64 { return b.model.capacityKWh * b.Health }

func (b *battery) mode() float64 {
	switch {
	case b.BMS.tripped():
		return batteryFault
	case b.run == 1 && b.Inverter.Down:
		return batteryWaiting
	case b.run == 1:
		return batteryRunning
	default:
		return batteryStopped
	}
}

// States of what a battery holds, as its charge_state quantity gives them.
const (
	chargeOff     = 0 // no converter is connected
	chargeEmpty   = 1 // at the lower limit
	chargeFalls   = 2
	chargeRises   = 3
	chargeFull    = 4 // at the upper limit
	chargeHolding = 5
)

// limitBandPct is how near to a limit the state of charge counts as at it, which the
// power that falls towards it never quite reaches.
const limitBandPct = 0.1

func (b *battery) chargeMode() float64 {
	switch {
	case b.mode() != batteryRunning:
		return chargeOff
	case b.Power > 0:
		return chargeFalls
	case b.Power < 0:
		return chargeRises
	case b.stateOfCharge() < b.leastPct+limitBandPct:
		return chargeEmpty
	case b.stateOfCharge() > b.mostPct-limitBandPct:
		return chargeFull
	default:
		return chargeHolding
	}
}

func (b *battery) offer(now moment, on bus) offer {
	b.protect(now)
	b.LetGo = b.LetGo && b.run == 1 && !on.Live
	if b.forming == 1 {
		b.Inverter.stay()
	} else {
		b.inverter.watch(&b.Inverter, now, on)
	}
	give, take := b.inverter.follow(&b.Inverter, now, on)
	asked := b.Asked
	b.MaxCharge, b.MaxRelease, b.Asked = 0, 0, 0
	if b.mode() != batteryRunning {
		return offer{}
	}
	charge, discharge := b.byTemperature()
	b.MaxCharge = min(take, b.limit(b.mostPct-b.stateOfCharge(), b.model.chargeRate, charge, (b.capacityKWh()-b.StoredKWh)/b.model.chargeEfficiency, now))
	b.MaxRelease = min(give, b.limit(b.stateOfCharge()-b.leastPct, b.model.dischargeRate, discharge, b.StoredKWh*b.model.dischargeEfficiency, now))

	asked = approach(asked, powerOfKW(b.setpointKW), powerOfKW(b.model.rampKWPerS*now.seconds()))
	b.Asked = max(-b.MaxCharge, min(b.MaxRelease, asked))
	active, reactive := b.inverter.within(&b.Inverter, b.Asked)
	if b.forming == 0 {
		room := b.inverter.room(reactive)
		return b.inverter.follower(active, -min(b.MaxCharge, room), min(b.MaxRelease, room), reactive, b.Driving, on)
	}
	if b.LetGo {
		return offer{active: active, reactive: reactive}
	}
	governor := b.governor()
	return offer{active: active, reactive: reactive, governor: &governor}
}

// governor is how the battery holds an island. What it gives leaves room for the
// reactive power that the island drew in the last tick.
func (b *battery) governor() governor {
	least, most := -b.MaxCharge, b.MaxRelease
	if b.Holds {
		room := b.inverter.room(b.Reactive)
		least, most = max(least, -room), min(most, room)
	}
	return governor{
		forms: true, rating: powerOfKW(b.model.inverter.ratedKW), least: least, most: most,
		reference: powerOfKW(b.setpointKW) + b.Restoring, droop: b.model.island.droop, inertia: b.model.island.inertia, driving: b.Driving,
	}
}

// limit is the rated power, or that of the rate in parts of the capacity an hour, times
// what the temperature allows, falling in a straight line to 0 where the room to
// the limit of the state of charge is narrower than the derate band, and never
// more than the energy at hand lasts for one tick.
func (b *battery) limit(roomPct, rate, allowed, energyKWh float64, now moment) Power {
	most := min(b.model.inverter.ratedKW, rate*b.capacityKWh()) * allowed
	derated := most * clamp(roomPct/b.model.deratePct, 0, 1)
	return Power(math.Floor(max(0, min(derated, energyKWh/now.hours())) * milliwattsPerKW))
}

func (b *battery) commit(now moment, got flow) {
	power := got.active
	b.Power, b.Reactive, b.Driving, b.On, b.Holds = power, got.reactive, got.driving, got.on, got.holds
	b.LetGo = b.LetGo || got.fell
	if b.forming == 1 {
		b.Asked = power // from what the island took it goes on to the setpoint
	}
	b.Restoring = b.model.island.restore(b.Restoring, b.governor(), got, b.inverter.model.nominalHz, now)
	if power > 0 {
		b.Discharged.Add(power, now.step)
	} else {
		b.Charged.Add(-power, now.step)
	}
	b.store(power.KW(), now)
	b.age(now)
	b.measure()
	heatKW := b.CurrentA * b.CurrentA * b.model.cells.resistanceOhm / 1000
	b.CellC += physics.CellWarming(heatKW, b.CellC-b.roomC, b.model.coolingKWPerK, b.model.heatCapacityKJPerK) * now.seconds()
}

// store counts what a power at the bus brings or takes, and what is lost on the way.
func (b *battery) store(powerKW float64, now moment) {
	changeKW := physics.StoredChange(powerKW, b.model.chargeEfficiency, b.model.dischargeEfficiency)
	stored := b.StoredKWh + changeKW*now.hours()
	b.LossesKWh += (-powerKW - changeKW) * now.hours()
	kept := clamp(stored-b.selfDischargeKW*now.hours(), 0, b.capacityKWh())
	b.LossesKWh += stored - kept
	b.StoredKWh = kept
}

// age wears the cells by what went through them and by time. What a battery that is full
// can no longer hold is lost.
func (b *battery) age(now moment) {
	cycles := math.Abs(b.Power.KW()) * now.hours() / (2 * b.model.capacityKWh)
	b.Cycles += cycles
	fade := 0.0
	if b.model.cycleLife > 0 {
		fade += physics.CycleFade(cycles, b.model.cycleLife)
	}
	if b.model.calendarYears > 0 {
		fade += physics.CalendarFadePerHour(b.model.calendarYears, b.CellC) * now.hours()
	}
	b.Health = max(leastHealth, b.Health-fade)
	if more := b.StoredKWh - b.capacityKWh(); more > 0 {
		b.StoredKWh -= more
		b.LossesKWh += more
	}
}

// leastHealth is where the fading of the capacity stops.
const leastHealth = 0.3

// measure sets the state of charge and what the DC side shows: the current is what the
// power inside the cells draws at their open-circuit voltage.
func (b *battery) measure() {
	c := b.model.cells
	b.Charge = clamp(c.chargeOf(clamp(b.StoredKWh/b.capacityKWh(), 0, 1), b.Charge), 0, 1)
	open := c.openCircuit(b.Charge) * c.series()
	insideKW := -physics.StoredChange(b.Power.KW(), b.model.chargeEfficiency, b.model.dischargeEfficiency)
	b.CurrentA = insideKW * 1000 / open
	b.VoltageV = open - b.CurrentA*c.resistanceOhm
}
