package plant

import (
	"math"
	"math/rand/v2"

	"github.com/voltageems/voltageems-go/simulators/document"
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
	}
	return model
}

func (model batteryModel) build(*rand.Rand) device {
	return &battery{model: model, storedKWh: model.capacityKWh * model.initialPct / 100, cellC: model.roomC}
}

// States of a battery, as its state quantity gives them.
const (
	batteryStopped = 0
	batteryRunning = 1
	batteryFault   = 2
)

type battery struct {
	model batteryModel

	run, setpointKW, leastPct, mostPct float64 // setpoints
	riseC, roomC, selfDischargeKW      float64 // inputs

	storedKWh             float64
	cellC                 float64 // mean
	tripped               bool
	maxCharge, maxRelease Power // what it can take and give in this tick, 0 or more
	power                 Power
	charged, discharged   Energy
	on                    bus
}

func (b *battery) points() points {
	return points{
		quantities: []quantity{
			{"power_kw", func() float64 { return b.power.KW() }},
			{"state_of_charge_pct", b.stateOfCharge},
			{"stored_energy_kwh", func() float64 { return b.storedKWh }},
			{"voltage_v", func() float64 { v, _ := b.terminal(); return v }},
			{"current_a", func() float64 { _, a := b.terminal(); return a }},
			{"cell_temperature_max_c", b.hottestCell},
			{"cell_temperature_mean_c", func() float64 { return b.cellC }},
			{"available_charge_kw", func() float64 { return b.maxCharge.KW() }},
			{"available_discharge_kw", func() float64 { return b.maxRelease.KW() }},
			{"energy_charged_kwh", func() float64 { return b.charged.KWh() }},
			{"energy_discharged_kwh", func() float64 { return b.discharged.KWh() }},
			{"frequency_hz", func() float64 { return b.on.frequencyHz }},
			{"state", b.state},
			{"running", func() float64 { return flag(b.state() == batteryRunning) }},
			{"fault", func() float64 { return flag(b.tripped) }},
			{"charging", func() float64 { return flag(b.power < 0) }},
			{"discharging", func() float64 { return flag(b.power > 0) }},
			{"derated", func() float64 {
				return flag(b.state() == batteryRunning && min(b.maxCharge, b.maxRelease) < powerOfKW(b.model.ratedKW))
			}},
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

func (b *battery) stateOfCharge() float64 { return b.storedKWh / b.model.capacityKWh * 100 }

func (b *battery) state() float64 {
	switch {
	case b.tripped:
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
	load := math.Abs(b.power.KW()) / b.model.ratedKW
	return b.cellC + cellSpreadC*load + b.riseC
}

func (b *battery) offer(now moment) offer {
	hottest := b.hottestCell()
	if hottest > b.model.tripC {
		b.tripped = true
	} else if hottest < b.model.tripC-tripHysteresisC {
		b.tripped = false
	}
	b.maxCharge, b.maxRelease = 0, 0
	if b.state() != batteryRunning {
		return offer{rank: rankBattery}
	}
	rated := powerOfKW(b.model.ratedKW)
	soc := b.stateOfCharge()
	b.maxCharge = b.limit(b.mostPct-soc, (b.model.capacityKWh-b.storedKWh)/b.model.chargeEfficiency, now)
	b.maxRelease = b.limit(soc-b.leastPct, b.storedKWh*b.model.dischargeEfficiency, now)

	wanted := approach(b.power, powerOfKW(b.setpointKW), powerOfKW(b.model.rampKWPerS*now.seconds()))
	wanted = max(-b.maxCharge, min(b.maxRelease, wanted))
	return offer{rank: rankBattery, wanted: wanted, least: -b.maxCharge, most: b.maxRelease, forms: true, rating: rated}
}

// limit is the rated power, falling in a straight line to 0 where the room to
// the limit of the state of charge is narrower than the derate band, and never
// more than the energy at hand lasts for one tick.
func (b *battery) limit(roomPct, energyKWh float64, now moment) Power {
	derated := b.model.ratedKW * clamp(roomPct/b.model.deratePct, 0, 1)
	return Power(math.Floor(math.Min(derated, energyKWh/now.hours()) * milliwattsPerKW))
}

func (b *battery) commit(now moment, power Power, on bus) {
	b.power, b.on = power, on
	if power > 0 {
		b.discharged.Add(power, now.step)
	} else {
		b.charged.Add(-power, now.step)
	}
	b.storedKWh += storedChange(power.KW(), b.model.chargeEfficiency, b.model.dischargeEfficiency) * now.hours()
	b.storedKWh = clamp(b.storedKWh-b.selfDischargeKW*now.hours(), 0, b.model.capacityKWh)

	_, current := b.terminal()
	heatKW := current * current * b.model.resistanceOhm / 1000
	b.cellC += cellWarming(heatKW, b.cellC-b.roomC, b.model.coolingKWPerK, b.model.heatCapacityKJPerK) * now.seconds()
}

// storedChange returns the rate of the stored energy in kW for an AC power in
// kW, positive while it discharges: coulomb counting at the nominal voltage,
// where charge and energy are in proportion, with the losses of each way.
func storedChange(powerKW, chargeEfficiency, dischargeEfficiency float64) float64 {
	if powerKW > 0 {
		return -powerKW / dischargeEfficiency
	}
	return -powerKW * chargeEfficiency
}

// cellWarming returns dT/dt in K/s from the balance of heat of the cells:
// m Cp dT/dt = I^2 R - h A (T - Troom).
func cellWarming(heatKW, aboveRoomK, coolingKWPerK, heatCapacityKJPerK float64) float64 {
	return (heatKW - coolingKWPerK*aboveRoomK) / heatCapacityKJPerK
}

// terminal returns the DC voltage in V and the DC current in A, positive while it
// discharges. The open-circuit voltage rises in a straight line by 16 % from
// empty to full; the current is what the DC power draws at it.
func (b *battery) terminal() (voltageV, currentA float64) {
	open := b.model.nominalV * (0.92 + 0.16*b.stateOfCharge()/100)
	dcKW := -storedChange(b.power.KW(), b.model.chargeEfficiency, b.model.dischargeEfficiency)
	currentA = dcKW * 1000 / open
	return open - currentA*b.model.resistanceOhm, currentA
}
