package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// meterModel is an energy meter behind current transformers.
type meterModel struct {
	measures         string
	class            float64 // part of 1: of the error at any load
	primaryA         float64 // of the current transformers that are built in
	secondaryA       float64
	currentImbalance float64 // parts of 1
	voltageImbalance float64
	period           time.Duration // of the demand
	rollover         int64         // of the energy registers, Wh
}

func readMeter(m *document.Mapping) model {
	model := meterModel{
		measures:         m.About("id of the device whose flow it measures").Text("measures"),
		primaryA:         m.About("of the current transformers that are built in").Number("ct_primary_a", 1, 1e5, 400),
		secondaryA:       m.About("of the same").Number("ct_secondary_a", 1, 5, 5),
		currentImbalance: m.About("between the phases").Number("current_imbalance_pct", 0, 100, 0) / 100,
		voltageImbalance: m.About("between the phases").Number("voltage_imbalance_pct", 0, 20, 0) / 100,
		period:           time.Duration(m.About("over which the demand is a mean").Integer("demand_period_min", 1, 60, 15)) * time.Minute,
		rollover:         1000,
	}
	switch m.About("in percent: what its errors keep within").Choice("accuracy_class", []string{"0.2", "0.5", "1"}, "0.5") {
	case "0.2":
		model.class = 0.002
	case "0.5":
		model.class = 0.005
	case "1":
		model.class = 0.01
	}
	for range m.About("of energy in kWh, before a register begins again at 0").Integer("register_digits", 4, 9, 8) {
		model.rollover *= 10
	}
	return model
}

func (model meterModel) refers() reference { return reference{key: "measures", id: model.measures} }

// build draws the errors that a meter keeps all its life, within its class.
func (model meterModel) build(_ site, random *rand.Rand) device {
	m := &meter{model: model, random: random}
	m.Gain = model.class * clamp(random.NormFloat64()/3, -1, 1)
	m.VoltageGain = model.class / 2 * clamp(random.NormFloat64()/3, -1, 1)
	return m
}

type meter struct {
	model  meterModel
	random *rand.Rand

	primaryA, resetPeak float64 // setpoints
	reversed            float64 // input

	meterState
}

type meterState struct {
	Gain, VoltageGain  float64
	Active, Reactive   Power // as it shows them
	VoltageV           float64
	FrequencyHz        float64
	Imported, Exported Energy
	Quadrants          [4]Energy // reactive, from the first quadrant on
	BlockSum           int64     // imported in this period, mW ms
	BlockTime          time.Duration
	Demand, Peak       Power
	ResetSeen          bool
}

func (m *meter) state() any { return &m.meterState }

func (m *meter) points() points {
	return points{
		quantities: append(m.totals(), m.phases()...),
		setpoints: []Setting{
			{Name: "ct_primary_a", Least: m.model.primaryA / 10, Most: m.model.primaryA * 10, Initial: m.model.primaryA, value: &m.primaryA},
			control("reset_peak_demand", 0, &m.resetPeak),
		},
		inputs: []Setting{control("ct_reversed", 0, &m.reversed)},
	}
}

func (m *meter) totals() []quantity {
	quadrant := func(name string, of ...int) quantity {
		return quantity{Name: name, read: func() float64 {
			sum := 0.0
			for _, i := range of {
				sum += m.register(m.Quadrants[i])
			}
			return math.Mod(sum, float64(m.model.rollover)/1000)
		}}
	}
	return []quantity{
		{Name: "power_kw", read: func() float64 { return m.Active.KW() }},
		{Name: "reactive_power_kvar", read: func() float64 { return m.Reactive.KW() }},
		{Name: "apparent_power_kva", read: m.apparent},
		{Name: "power_factor", read: m.powerFactor},
		{Name: "frequency_hz", read: func() float64 { return m.FrequencyHz }},
		{Name: "voltage_v", read: func() float64 { return m.VoltageV }},
		{Name: "current_a", read: m.current},
		{Name: "ct_ratio", read: func() float64 { return m.primaryA / m.model.secondaryA }},
		{Name: "energy_imported_kwh", read: func() float64 { return m.register(m.Imported) }},
		{Name: "energy_exported_kwh", read: func() float64 { return m.register(m.Exported) }},
		quadrant("reactive_energy_imported_kvarh", 0, 1),
		quadrant("reactive_energy_exported_kvarh", 2, 3),
		quadrant("reactive_energy_q1_kvarh", 0),
		quadrant("reactive_energy_q2_kvarh", 1),
		quadrant("reactive_energy_q3_kvarh", 2),
		quadrant("reactive_energy_q4_kvarh", 3),
		{Name: "demand_kw", read: func() float64 { return m.Demand.KW() }},
		{Name: "demand_present_kw", read: func() float64 { return m.mean().KW() }},
		{Name: "demand_peak_kw", read: func() float64 { return m.Peak.KW() }},
		signal("energized", func() bool { return m.VoltageV > 0 }),
		signal("exporting", func() bool { return m.Active < 0 }),
	}
}

// phases returns what the meter shows of single conductors. Their parts follow the
// imbalance, and their powers add up to that of the connection.
func (m *meter) phases() []quantity {
	voltages, currents := physics.PhaseParts(m.model.voltageImbalance), physics.PhaseParts(m.model.currentImbalance)
	weight := voltages[0]*currents[0] + voltages[1]*currents[1] + voltages[2]*currents[2]
	var list []quantity
	for i, name := range []string{"l1", "l2", "l3"} {
		part := voltages[i] * currents[i] / weight
		list = append(list,
			quantity{Name: "voltage_" + name + "_v", read: func() float64 { return m.VoltageV / math.Sqrt(3) * voltages[i] }},
			quantity{Name: "current_" + name + "_a", read: func() float64 { return m.current() * currents[i] }},
			quantity{Name: "power_" + name + "_kw", read: func() float64 { return m.Active.KW() * part }},
			quantity{Name: "reactive_power_" + name + "_kvar", read: func() float64 { return m.Reactive.KW() * part }},
		)
	}
	for i, name := range []string{"voltage_l12_v", "voltage_l23_v", "voltage_l31_v"} {
		between := physics.LineVoltage(voltages[i], voltages[(i+1)%3]) / math.Sqrt(3)
		list = append(list, quantity{Name: name, read: func() float64 { return m.VoltageV * between }})
	}
	neutral := physics.NeutralCurrent(currents[0], currents[1], currents[2])
	return append(list, quantity{Name: "current_n_a", read: func() float64 { return m.current() * neutral }})
}

func (m *meter) apparent() float64 { return math.Hypot(m.Active.KW(), m.Reactive.KW()) }
func (m *meter) current() float64  { return lineCurrent(m.Active, m.Reactive, m.VoltageV) }

// powerFactor is negative while power is exported, and 1 where nothing flows.
func (m *meter) powerFactor() float64 {
	if m.Active == 0 && m.Reactive == 0 {
		return 1
	}
	return m.Active.KW() / m.apparent()
}

// register is what an energy register shows: it begins again at 0 where its digits end.
func (m *meter) register(e Energy) float64 {
	e.WattHours %= m.model.rollover
	return e.KWh()
}

func (m *meter) offer(moment, bus) offer { return offer{} }

// noisePart is how much a meter wavers, in parts of its class.
const noisePart = 0.1

// measure shows a true flow with the errors of the meter and of how it is wired.
func (m *meter) measure(is measured) {
	wavers := func() float64 { return m.model.class * noisePart * m.random.NormFloat64() }
	scale := m.primaryA / m.model.primaryA
	if m.reversed == 1 {
		scale = -scale
	}
	m.Active = Power(math.Round(float64(is.active) * scale * (1 + m.Gain + wavers())))
	m.Reactive = Power(math.Round(float64(is.reactive) * scale * (1 + m.Gain + wavers())))
	m.VoltageV = is.on.VoltageV * (1 + m.VoltageGain + wavers()/2)
	m.FrequencyHz = is.on.FrequencyHz
}

func (m *meter) commit(now moment, _ flow) {
	if m.Active > 0 {
		m.Imported.Add(m.Active, now.step)
	} else {
		m.Exported.Add(-m.Active, now.step)
	}
	switch reactive := &m.Quadrants; {
	case m.Reactive >= 0 && m.Active >= 0:
		reactive[0].Add(m.Reactive, now.step)
	case m.Reactive >= 0:
		reactive[1].Add(m.Reactive, now.step)
	case m.Active < 0:
		reactive[2].Add(-m.Reactive, now.step)
	default:
		reactive[3].Add(-m.Reactive, now.step)
	}
	m.countDemand(now)
}

// countDemand takes the mean of what is imported over periods that begin with the
// clock's.
func (m *meter) countDemand(now moment) {
	m.BlockSum += int64(max(0, m.Active)) * now.step.Milliseconds()
	m.BlockTime += now.step
	period := m.model.period.Milliseconds()
	if end := now.at.UnixMilli(); end/period != (end-now.step.Milliseconds())/period {
		m.Demand = m.mean()
		m.Peak = max(m.Peak, m.Demand)
		m.BlockSum, m.BlockTime = 0, 0
	}
	if m.resetPeak == 1 && !m.ResetSeen {
		m.Peak = 0
	}
	m.ResetSeen = m.resetPeak == 1
}

func (m *meter) mean() Power {
	if m.BlockTime == 0 {
		return 0
	}
	return Power(m.BlockSum / m.BlockTime.Milliseconds())
}
