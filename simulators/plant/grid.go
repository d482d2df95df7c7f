package plant

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// gridModel is the connection to the public grid with its breaker and meter.
// Power is positive while it is imported.
type gridModel struct {
	importAlarmKW float64
	maximumKW     float64   // greatest import threshold that the meter accepts
	voltageNoise  float64   // standard deviation, part of 1
	frequencyHz   float64   // standard deviation
	perKW         float64   // part of the voltage lost for each kW taken
	perKVar       float64   // and for each kvar
	distortionPct float64   // harmonics of the voltage
	buy, sell     []float64 // for each kWh by hour of the day, in the zone of the plant's start
	exportLimitKW float64
}

func readGrid(m *document.Mapping) model {
	model := gridModel{
		importAlarmKW: m.About("import above which it raises an alarm, to begin with").Number("import_alarm_kw", 0, 1e6, 200),
		maximumKW:     m.About("most that this may be set to").Number("import_alarm_max_kw", 1, 1e6, 1000),
		voltageNoise:  m.About("standard deviation of the voltage").Number("voltage_noise_pct", 0, 5, 0.3) / 100,
		frequencyHz:   m.About("standard deviation of the frequency").Number("frequency_noise_hz", 0, 0.5, 0.01),
	}
	// A short circuit draws its power at the nominal voltage: |Z| = 1 / Ssc in parts
	// of the voltage for each kVA.
	short, ratio := m.About("where the plant is connected: the voltage falls less behind a greater one").Number("short_circuit_power_mva", 0.1, 1e5, 20)*1000, m.About("reactance over resistance of the supply").Number("x_to_r", 0, 100, 2)
	model.perKW = 1 / short / math.Hypot(1, ratio)
	model.perKVar = model.perKW * ratio
	model.distortionPct = m.About("harmonics of the voltage, to begin with").Number("voltage_distortion_pct", 0, 50, 2)
	model.buy = m.About("by hour of the day").Numbers("buy_price_per_kwh", 24, -10, 100, slices.Repeat([]float64{0.30}, 24))
	model.sell = m.About("by hour of the day").Numbers("sell_price_per_kwh", 24, -10, 100, slices.Repeat([]float64{0.08}, 24))
	model.exportLimitKW = m.About("above which it tells that too much is exported, to begin with: import_alarm_max_kw, where it is not told").Number("export_limit_kw", 0, 1e6, model.maximumKW)
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
	distortionPct, exportLimitKW     float64
	priceChange                      float64
	event, eventVoltagePct           float64
	eventHz, eventSeconds            float64

	gridState
}

// Limits of a sound supply. Source: EN 50160: a dip begins below 90 % of the nominal
// voltage and a swell above 110 %, and the frequency stays within 1 %.
// Below 5 % it is no dip but an interruption.
const (
	sagPart         = 0.9
	swellPart       = 1.1
	soundPart       = 0.01
	interruptedPart = 0.05
)

type gridState struct {
	Voltage, Rate      noise
	Power, Reactive    Power
	Imported, Exported Energy
	On                 bus
	Event              time.Duration // left of a disturbance
	EventSeen          bool
	Sagging, Swelling  bool
	Sags, Swells       float64
	Joined             bool    // it held its bus in the last tick
	OutOfStep          float64 // how often it came back to a bus that was not in step with it
	Buy, Sell          float64 // now, for each kWh
	Cost               float64 // of what was bought, less what was sold
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
			{Name: "voltage_distortion_pct", read: g.distortion},
			{Name: "price_per_kwh", read: func() float64 { return g.Buy }},
			{Name: "sell_price_per_kwh", read: func() float64 { return g.Sell }},
			{Name: "cost", read: func() float64 { return g.Cost }},
			{Name: "export_limit_kw", read: func() float64 { return g.exportLimitKW }},
			{Name: "sags", read: func() float64 { return g.Sags }},
			{Name: "swells", read: func() float64 { return g.Swells }},
			state("out_of_step_closings", func() float64 { return g.OutOfStep }),
			signal("sag", func() bool { return g.Sagging }),
			signal("swell", func() bool { return g.Swelling }),
			signal("frequency_excursion", func() bool { return g.On.Live && absolute(g.On.FrequencyHz/g.nominalHz-1) > soundPart }),
			signal("export_limited", func() bool { return g.exportLimitKW < g.model.maximumKW }),
			signal("export_exceeded", func() bool { return -g.Power > powerOfKW(g.exportLimitKW) }),
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
			{Name: "voltage_distortion_pct", Most: 50, Initial: g.model.distortionPct, value: &g.distortionPct},
			{Name: "export_limit_kw", Most: 1e6, Initial: g.model.exportLimitKW, value: &g.exportLimitKW},
			{Name: "price_change_per_kwh", Least: -10, Most: 10, value: &g.priceChange},
			control("event", 0, &g.event),
			{Name: "event_voltage_pct", Least: -100, Most: 50, Initial: -30, value: &g.eventVoltagePct},
			{Name: "event_frequency_hz", Least: -5, Most: 5, value: &g.eventHz},
			{Name: "event_duration_s", Least: 0.01, Most: 3600, Initial: 0.5, value: &g.eventSeconds},
		},
	}
}

func (g *grid) connected() bool { return g.available == 1 && g.breaker == 1 && !g.interrupted() }

// interrupted reports whether a disturbance takes all of the voltage.
func (g *grid) interrupted() bool {
	return g.Event > 0 && (g.voltagePct+g.eventVoltagePct)/100 < interruptedPart
}

// offer is empty: the grid takes what the others leave. It moves the noise of
// the supply on. A grid that comes back to a bus that others hold takes it over as it
// is: that they were not in step, which breaks shafts, is counted.
func (g *grid) offer(now moment, on bus) offer {
	g.Voltage.next(now.step, voltageConstant, g.random)
	g.Rate.next(now.step, rateConstant, g.random)
	if g.Event = max(0, g.Event-now.step); g.event == 1 && !g.EventSeen {
		g.Event = time.Duration(g.eventSeconds * float64(time.Second))
	}
	g.EventSeen = g.event == 1
	hour := now.at.Add(-now.step).Hour() // the tick lies before its end
	g.Buy, g.Sell = g.model.buy[hour]+g.priceChange, g.model.sell[hour]+g.priceChange
	if g.connected() && !g.Joined {
		voltagePU, frequencyHz := g.supply(0, 0)
		g.OutOfStep += flag(!inStep(on, bus{Live: true, VoltagePU: voltagePU, FrequencyHz: frequencyHz}))
	}
	g.Joined = g.connected()
	return offer{}
}

// supply returns what the grid holds its bus at: the voltage falls by what flows
// through its impedance, and a disturbance is added while it lasts.
func (g *grid) supply(active, reactive Power) (voltagePU, frequencyHz float64) {
	voltagePU = g.voltagePct/100 + g.model.voltageNoise*g.Voltage.Value - g.model.perKW*active.KW() - g.model.perKVar*reactive.KW()
	frequencyHz = g.frequency + g.model.frequencyHz*g.Rate.Value
	if g.Event > 0 {
		voltagePU, frequencyHz = voltagePU+g.eventVoltagePct/100, frequencyHz+g.eventHz
	}
	return max(0, voltagePU), frequencyHz
}

// distortion is the total harmonic distortion of the voltage, which wavers by a tenth.
func (g *grid) distortion() float64 {
	if !g.connected() {
		return 0
	}
	return g.distortionPct * max(0, 1+0.1*g.Rate.Value)
}

func (g *grid) commit(now moment, got flow) {
	power := got.active
	g.Power, g.Reactive, g.On = power, got.reactive, got.on
	if power > 0 {
		g.Imported.Add(power, now.step)
	} else {
		g.Exported.Add(-power, now.step)
	}
	price := g.Buy
	if power < 0 {
		price = g.Sell
	}
	g.Cost += power.KW() * now.hours() * price
	sagging, swelling := g.connected() && g.On.VoltagePU < sagPart, g.connected() && g.On.VoltagePU > swellPart
	g.Sags, g.Swells = g.Sags+flag(sagging && !g.Sagging), g.Swells+flag(swelling && !g.Swelling)
	g.Sagging, g.Swelling = sagging, swelling
}
