package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// gridModel is the connection to the public grid with its breaker and meter.
// Power is positive while it is imported.
type gridModel struct {
	importAlarmKW float64
	maximumKW     float64 // greatest import threshold that the meter accepts
	voltageNoise  float64 // standard deviation, part of 1
	frequencyHz   float64 // standard deviation
	perKW         float64 // part of the voltage lost for each kW taken
	perKVar       float64 // and for each kvar
}

func readGrid(m *document.Mapping) model {
	model := gridModel{
		importAlarmKW: m.Number("import_alarm_kw", 0, 1e6, 200),
		maximumKW:     m.Number("import_alarm_max_kw", 1, 1e6, 1000),
		voltageNoise:  m.Number("voltage_noise_pct", 0, 5, 0.3) / 100,
		frequencyHz:   m.Number("frequency_noise_hz", 0, 0.5, 0.01),
	}
	// A short circuit draws its power at the nominal voltage: |Z| = 1 / Ssc in parts
	// of the voltage for each kVA.
	short, ratio := m.Number("short_circuit_power_mva", 0.1, 1e5, 20)*1000, m.Number("x_to_r", 0, 100, 2)
	model.perKW = 1 / short / math.Hypot(1, ratio)
	model.perKVar = model.perKW * ratio
	if model.importAlarmKW > model.maximumKW {
		m.Fault("import_alarm_kw", "%v is above import_alarm_max_kw (%v)", model.importAlarmKW, model.maximumKW)
	}
	return model
}

func (model gridModel) build(site site, random *rand.Rand) device {
	return &grid{model: model, nominalHz: site.nominalHz, random: random}
}

// Times over which the supply forgets where it was.
const (
	voltageConstant = 30 * time.Second
	rateConstant    = 10 * time.Second
)

type grid struct {
	model     gridModel
	nominalHz float64
	random    *rand.Rand

	breaker, alarmKW                 float64 // setpoints
	available, voltagePct, frequency float64 // inputs

	gridState
}

type gridState struct {
	Voltage, Rate      noise
	Power, Reactive    Power
	Imported, Exported Energy
	On                 bus
}

func (g *grid) state() any { return &g.gridState }

func (g *grid) points() points {
	return points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return g.Power.KW() }},
			{Name: "reactive_power_kvar", read: func() float64 { return g.Reactive.KW() }},
			{Name: "voltage_v", read: func() float64 { return g.On.VoltageV }},
			{Name: "current_a", read: func() float64 { return lineCurrent(g.Power, g.Reactive, g.On.VoltageV) }},
			{Name: "frequency_hz", read: func() float64 { return g.On.FrequencyHz }},
			{Name: "energy_imported_kwh", read: func() float64 { return g.Imported.KWh() }},
			{Name: "energy_exported_kwh", read: func() float64 { return g.Exported.KWh() }},
			signal("connected", func() bool { return g.connected() }),
			state("grid_available", func() float64 { return g.available }),
			state("breaker_position", func() float64 { return g.breaker }),
			signal("exporting", func() bool { return g.Power < 0 }),
			signal("import_alarm", func() bool { return g.Power > powerOfKW(g.alarmKW) }),
		},
		setpoints: []Setting{
			control("breaker_closed", 1, &g.breaker),
			{Name: "import_alarm_kw", Most: g.model.maximumKW, Initial: g.model.importAlarmKW, value: &g.alarmKW},
		},
		inputs: []Setting{
			control("available", 1, &g.available),
			{Name: "voltage_pct", Least: 50, Most: 150, Initial: 100, value: &g.voltagePct},
			{Name: "frequency_hz", Least: 45, Most: 65, Initial: g.nominalHz, value: &g.frequency},
		},
	}
}

func (g *grid) connected() bool { return g.available == 1 && g.breaker == 1 }

// offer is empty: the grid takes what the others leave. It moves the noise of
// the supply on.
func (g *grid) offer(now moment, _ bus) offer {
	g.Voltage.next(now.step, voltageConstant, g.random)
	g.Rate.next(now.step, rateConstant, g.random)
	return offer{}
}

// supply returns what the grid holds its bus at: the voltage falls by what flows
// through its impedance.
func (g *grid) supply(active, reactive Power) (voltagePU, frequencyHz float64) {
	voltagePU = g.voltagePct/100 + g.model.voltageNoise*g.Voltage.Value - g.model.perKW*active.KW() - g.model.perKVar*reactive.KW()
	return max(0, voltagePU), g.frequency + g.model.frequencyHz*g.Rate.Value
}

func (g *grid) commit(now moment, got flow) {
	power := got.active
	g.Power, g.Reactive, g.On = power, got.reactive, got.on
	if power > 0 {
		g.Imported.Add(power, now.step)
	} else {
		g.Exported.Add(-power, now.step)
	}
}
