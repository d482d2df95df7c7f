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
	capacityKWh         float64
	ratedKW             float64 // of the PCS, both ways
	rampKWPerS          float64
	chargeEfficiency    float64 // AC to stored energy, 0 to 1
	dischargeEfficiency float64 // stored energy to AC, 0 to 1
	initialPct          float64
	leastPct, mostPct   float64 // initial limits of the state of charge
	deratePct           float64 // width of the band below and above those limits over which power falls to 0
	nominalV            float64 // half charged, without current
	resistanceOhm       float64 // of the whole battery
	heatCapacityKJPerK  float64
	coolingKWPerK       float64
	roomC               float64
	tripC               float64 // the PCS blocks above it, and resumes tripHysteresisC below
	island              forming
}

const (
	tripHysteresisC = 5.0
	cellSpreadC     = 1.5 // hottest cell above the mean, at rated power
)

func readBattery(m *document.Mapping) model {
	model := batteryModel{
		capacityKWh:         m.Number("capacity_kwh", 0.1, 1e6),
		ratedKW:             m.Number("rated_kw", 0.1, 1e5),
		rampKWPerS:          m.Number("ramp_kw_per_s", 0.01, 1e6, 50),
		chargeEfficiency:    m.Number("charge_efficiency_pct", 50, 100, 96) / 100,
		dischargeEfficiency: m.Number("discharge_efficiency_pct", 50, 100, 96) / 100,
		initialPct:          m.Number("initial_state_of_charge_pct", 0, 100, 50),
		leastPct:            m.Number("state_of_charge_min_pct", 0, 50, 10),
		mostPct:             m.Number("state_of_charge_max_pct", 50, 100, 95),
		deratePct:           m.Number("derate_band_pct", 0.1, 20, 5),
		nominalV:            m.Number("nominal_voltage_v", 24, 1500, 750),
		resistanceOhm:       m.Number("resistance_ohm", 0, 1, 0.05),
		heatCapacityKJPerK:  m.Number("heat_capacity_kj_per_k", 1, 1e6, 1600),
		coolingKWPerK:       m.Number("cooling_kw_per_k", 0.001, 1000, 0.1),
		roomC:               m.Number("room_temperature_c", -20, 50, 25),
		tripC:               m.Number("cell_temperature_trip_c", 40, 100, 70),
		island:              readForming(m, 1, time.Second, 0),
	}
	return model
}

func (model batteryModel) build(site site, _ *rand.Rand) device {
	return &battery{model: model, nominalHz: site.nominalHz, batteryState: batteryState{StoredKWh: model.capacityKWh * model.initialPct / 100, CellC: model.roomC}}
}

// States of a battery, as its state quantity gives them.
const (
	batteryStopped = 0
	batteryRunning = 1
	batteryFault   = 2
)

type battery struct {
	model     batteryModel
	nominalHz float64

	run, setpointKW, leastPct, mostPct float64 // setpoints
	riseC, roomC, selfDischargeKW      float64 // inputs

	batteryState
}

type batteryState struct {
	StoredKWh             float64
	CellC                 float64 // mean
	Tripped               bool
	LetGo                 bool  // an island fell apart: it forms none until it is stopped, or the bus lives again
	MaxCharge, MaxRelease Power // what it can take and give in this tick, 0 or more
	Power, Reactive       Power
	Driving               Power // what its governor gives
	Restoring             Power // added to the setpoint while it forms an island, to bring the frequency back
	Charged, Discharged   Energy
	On                    bus
}

func (b *battery) state() any { return &b.batteryState }

func (b *battery) points() points {
	return points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return b.Power.KW() }},
			{Name: "state_of_charge_pct", read: b.stateOfCharge},
			{Name: "stored_energy_kwh", read: func() float64 { return b.StoredKWh }},
			{Name: "voltage_v", read: func() float64 { v, _ := b.terminal(); return v }},
			{Name: "current_a", read: func() float64 { _, a := b.terminal(); return a }},
			{Name: "cell_temperature_max_c", read: b.hottestCell},
			{Name: "cell_temperature_mean_c", read: func() float64 { return b.CellC }},
			{Name: "available_charge_kw", read: func() float64 { return b.MaxCharge.KW() }},
			{Name: "available_discharge_kw", read: func() float64 { return b.MaxRelease.KW() }},
			{Name: "energy_charged_kwh", read: func() float64 { return b.Charged.KWh() }},
			{Name: "energy_discharged_kwh", read: func() float64 { return b.Discharged.KWh() }},
			{Name: "frequency_hz", read: func() float64 { return b.On.FrequencyHz }},
			state("state", b.mode),
			signal("running", func() bool { return b.mode() == batteryRunning }),
			signal("fault", func() bool { return b.Tripped }),
			signal("charging", func() bool { return b.Power < 0 }),
			signal("discharging", func() bool { return b.Power > 0 }),
			signal("derated", func() bool {
				return b.mode() == batteryRunning && min(b.MaxCharge, b.MaxRelease) < powerOfKW(b.model.ratedKW)
			}),
		},
		setpoints: []Setting{
			control("run", 1, &b.run),
			{Name: "power_setpoint_kw", Least: -b.model.ratedKW, Most: b.model.ratedKW, value: &b.setpointKW},
			{Name: "state_of_charge_min_pct", Most: 50, Initial: b.model.leastPct, value: &b.leastPct},
			{Name: "state_of_charge_max_pct", Least: 50, Most: 100, Initial: b.model.mostPct, value: &b.mostPct},
		},
		inputs: []Setting{
			{Name: "cell_temperature_rise_c", Most: 100, value: &b.riseC},
			{Name: "room_temperature_c", Least: -20, Most: 50, Initial: b.model.roomC, value: &b.roomC},
			{Name: "self_discharge_kw", Most: 1e6, value: &b.selfDischargeKW},
		},
	}
}

func (b *battery) stateOfCharge() float64 { return b.StoredKWh / b.model.capacityKWh * 100 }

func (b *battery) mode() float64 {
	switch {
	case b.Tripped:
		return batteryFault
	case b.run == 1:
		return batteryRunning
	default:
		return batteryStopped
	}
}

// hottestCell is the mean cell temperature, the spread between cells under load
// and the rise that the operator adds, in C.
func (b *battery) hottestCell() float64 {
	load := math.Abs(b.Power.KW()) / b.model.ratedKW
	return b.CellC + cellSpreadC*load + b.riseC
}

func (b *battery) offer(now moment, on bus) offer {
	hottest := b.hottestCell()
	if hottest > b.model.tripC {
		b.Tripped = true
	} else if hottest < b.model.tripC-tripHysteresisC {
		b.Tripped = false
	}
	b.LetGo = b.LetGo && b.run == 1 && !on.Live
	b.MaxCharge, b.MaxRelease = 0, 0
	if b.mode() != batteryRunning {
		return offer{}
	}
	soc := b.stateOfCharge()
	b.MaxCharge = b.limit(b.mostPct-soc, (b.model.capacityKWh-b.StoredKWh)/b.model.chargeEfficiency, now)
	b.MaxRelease = b.limit(soc-b.leastPct, b.StoredKWh*b.model.dischargeEfficiency, now)

	wanted := approach(b.Power, powerOfKW(b.setpointKW), powerOfKW(b.model.rampKWPerS*now.seconds()))
	wanted = max(-b.MaxCharge, min(b.MaxRelease, wanted))
	if b.LetGo {
		return offer{active: wanted}
	}
	governor := b.governor()
	return offer{active: wanted, governor: &governor}
}

// governor is how the battery holds an island.
func (b *battery) governor() governor {
	return governor{
		forms: true, rating: powerOfKW(b.model.ratedKW), least: -b.MaxCharge, most: b.MaxRelease,
		reference: powerOfKW(b.setpointKW) + b.Restoring, droop: b.model.island.droop, inertia: b.model.island.inertia, driving: b.Driving,
	}
}

// limit is the rated power, falling in a straight line to 0 where the room to
// the limit of the state of charge is narrower than the derate band, and never
// more than the energy at hand lasts for one tick.
func (b *battery) limit(roomPct, energyKWh float64, now moment) Power {
	derated := b.model.ratedKW * clamp(roomPct/b.model.deratePct, 0, 1)
	return Power(math.Floor(math.Min(derated, energyKWh/now.hours()) * milliwattsPerKW))
}

func (b *battery) commit(now moment, got flow) {
	power := got.active
	b.Power, b.Reactive, b.Driving, b.On = power, got.reactive, got.driving, got.on
	b.LetGo = b.LetGo || got.fell
	b.Restoring = b.model.island.restore(b.Restoring, b.governor(), got, b.nominalHz, now)
	if power > 0 {
		b.Discharged.Add(power, now.step)
	} else {
		b.Charged.Add(-power, now.step)
	}
	b.StoredKWh += physics.StoredChange(power.KW(), b.model.chargeEfficiency, b.model.dischargeEfficiency) * now.hours()
	b.StoredKWh = clamp(b.StoredKWh-b.selfDischargeKW*now.hours(), 0, b.model.capacityKWh)

	_, current := b.terminal()
	heatKW := current * current * b.model.resistanceOhm / 1000
	b.CellC += physics.CellWarming(heatKW, b.CellC-b.roomC, b.model.coolingKWPerK, b.model.heatCapacityKJPerK) * now.seconds()
}

// terminal returns the DC voltage in V and the DC current in A, positive while it
// discharges. The open-circuit voltage rises in a straight line by 16 % from
// empty to full; the current is what the DC power draws at it.
func (b *battery) terminal() (voltageV, currentA float64) {
	open := b.model.nominalV * (0.92 + 0.16*b.stateOfCharge()/100)
	dcKW := -physics.StoredChange(b.Power.KW(), b.model.chargeEfficiency, b.model.dischargeEfficiency)
	currentA = dcKW * 1000 / open
	return open - currentA*b.model.resistanceOhm, currentA
}
