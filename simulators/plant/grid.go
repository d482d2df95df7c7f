package plant

import (
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// gridModel is the connection to the public grid with its breaker and meter.
// Power is positive while it is imported.
type gridModel struct {
	nominalV      float64 // between two conductors
	nominalHz     float64
	importAlarmKW float64
	maximumKW     float64 // greatest import threshold that the meter accepts
	voltageNoise  float64 // standard deviation, part of 1
	frequencyHz   float64 // standard deviation
	droop         float64 // of the frequency without the grid, at the full rating of what forms it; part of 1
}

func readGrid(m *document.Mapping) model {
	model := gridModel{
		nominalV:      m.Number("nominal_voltage_v", 100, 1e6, 400),
		nominalHz:     m.Number("nominal_frequency_hz", 50, 60, 50),
		importAlarmKW: m.Number("import_alarm_kw", 0, 1e6, 200),
		maximumKW:     m.Number("import_alarm_max_kw", 1, 1e6, 1000),
		voltageNoise:  m.Number("voltage_noise_pct", 0, 5, 0.3) / 100,
		frequencyHz:   m.Number("frequency_noise_hz", 0, 0.5, 0.01),
		droop:         m.Number("island_droop_pct", 0, 10, 1) / 100,
	}
	if model.importAlarmKW > model.maximumKW {
		m.Fault("import_alarm_kw", "%v is above import_alarm_max_kw (%v)", model.importAlarmKW, model.maximumKW)
	}
	return model
}

func (model gridModel) build(random *rand.Rand) device {
	return &grid{
		model:   model,
		voltage: noise{random: random, constant: 30 * time.Second},
		rate:    noise{random: random, constant: 10 * time.Second},
	}
}

type grid struct {
	model         gridModel
	voltage, rate noise

	breaker, alarmKW                 float64 // setpoints
	available, voltagePct, frequency float64 // inputs

	power, reactive    Power
	imported, exported Energy
	on                 bus
}

func (g *grid) points() points {
	return points{
		quantities: []quantity{
			{"power_kw", func() float64 { return g.power.KW() }},
			{"reactive_power_kvar", func() float64 { return g.reactive.KW() }},
			{"voltage_v", func() float64 { return g.on.voltageV }},
			{"current_a", func() float64 { return lineCurrent(g.power, g.reactive, g.on.voltageV) }},
			{"frequency_hz", func() float64 { return g.on.frequencyHz }},
			{"energy_imported_kwh", func() float64 { return g.imported.KWh() }},
			{"energy_exported_kwh", func() float64 { return g.exported.KWh() }},
			{"connected", func() float64 { return flag(g.connected()) }},
			{"grid_available", func() float64 { return g.available }},
			{"breaker_position", func() float64 { return g.breaker }},
			{"exporting", func() float64 { return flag(g.power < 0) }},
			{"import_alarm", func() float64 { return flag(g.power > powerOfKW(g.alarmKW)) }},
		},
		setpoints: []Setting{
			control("breaker_closed", 1, &g.breaker),
			{Name: "import_alarm_kw", Most: g.model.maximumKW, Initial: g.model.importAlarmKW, value: &g.alarmKW},
		},
		inputs: []Setting{
			control("available", 1, &g.available),
			{Name: "voltage_pct", Least: 50, Most: 150, Initial: 100, value: &g.voltagePct},
			{Name: "frequency_hz", Least: 45, Most: 65, Initial: g.model.nominalHz, value: &g.frequency},
		},
	}
}

func (g *grid) connected() bool { return g.available == 1 && g.breaker == 1 }

// offer is empty: the grid takes what the others leave. It moves the noise of
// the supply on.
func (g *grid) offer(now moment) offer {
	g.voltage.next(now.step)
	g.rate.next(now.step)
	return offer{rank: rankLoad}
}

// electrical returns the state of the bus that a settlement leads to: that of
// the public grid while connected, and otherwise nominal voltage with a
// frequency that falls in proportion to the load of what forms the bus.
func (g *grid) electrical(offers []offer, settled settlement) bus {
	on := bus{live: settled.live}
	var formed, rating Power
	for i, o := range offers {
		on.reactive += reactiveOf(-settled.power[i], o.tangent)
		if o.forms {
			formed += settled.power[i]
			rating += o.rating
		}
	}
	switch {
	case !settled.live:
		return bus{}
	case g.connected():
		on.voltageV = g.model.nominalV * (g.voltagePct/100 + g.model.voltageNoise*g.voltage.value)
		on.frequencyHz = g.frequency + g.model.frequencyHz*g.rate.value
	default:
		on.voltageV = g.model.nominalV
		on.frequencyHz = g.model.nominalHz * (1 - g.model.droop*float64(formed)/float64(rating))
	}
	return on
}

func (g *grid) commit(now moment, power Power, on bus) {
	g.power, g.on, g.reactive = power, on, 0
	if g.connected() {
		g.reactive = on.reactive
	}
	if power > 0 {
		g.imported.Add(power, now.step)
	} else {
		g.exported.Add(-power, now.step)
	}
}
