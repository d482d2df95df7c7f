package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// transformerModel is an oil-immersed transformer between two buses, with taps that
// change under load on the winding of its first bus.
type transformerModel struct {
	ratedKVA        float64
	noLoad, load    float64 // losses, parts of the rating
	magnetizing     float64 // current without load, part of the rated one
	perKW, perKVar  float64 // part of the nominal voltage lost
	reactance       float64 // parts of 1
	tapStep         float64 // part of the nominal voltage
	taps            float64 // each way
	tapTime         time.Duration
	fans            bool
	withoutFans     float64 // part of the rating that is left without them
	plate           physics.OilNameplate
	breaker         string // that it trips, "" for none
	ambientC        float64
	fanC            float64 // top oil at which the fans start; they stop fanHysteresisC below
	overload        float64 // part of the rating
	topOilC, alarmC float64 // alarms of top oil and hot spot
	topTripC, tripC float64 // trips of them
}

const (
	fanHysteresisC  = 10.0
	tripClearC      = 10.0 // below which a trip can be reset
	insulationLifeH = 180_000.0
)

func readTransformer(m *document.Mapping) model {
	model := transformerModel{
		ratedKVA:    m.About("apparent power that it carries for ever").Number("rated_kva", 1, 1e6),
		noLoad:      m.About("of the rating, in the iron").Number("no_load_losses_pct", 0.01, 5, 0.2) / 100,
		load:        m.About("of the rating, at the rating, in the windings").Number("load_losses_pct", 0.01, 10, 0.9) / 100,
		magnetizing: m.About("that magnetizes it").Number("no_load_current_pct", 0, 10, 0.5) / 100,
		tapStep:     m.About("of the nominal voltage").Number("tap_step_pct", 0, 5, 1.25) / 100,
		taps:        float64(m.About("of the winding of its first bus").Integer("taps_each_way", 0, 20, 8)),
		tapTime:     seconds(m.About("that one step takes"), "tap_change_s", 0, 60, 5*time.Second),
		fans:        m.About("onaf has fans").Choice("cooling", []string{"onan", "onaf"}, "onan") == "onaf",
		withoutFans: m.About("of the rating, that is left to one with fans where they stand still").Number("rating_without_fans_pct", 30, 100, 70) / 100,
		breaker:     m.About("id of the breaker that it trips").Text("breaker", ""),
		ambientC:    m.About("of the air, to begin with").Number("ambient_temperature_c", -40, 60, 20),
		fanC:        m.About("at which the fans start").Number("fan_start_top_oil_c", 30, 100, 65),
		overload:    m.About("of the rating, above which it raises an alarm").Number("overload_alarm_pct", 50, 200, 110) / 100,
		topOilC:     m.About("above which it raises an alarm").Number("top_oil_alarm_c", 50, 150, 90),
		alarmC:      m.About("above which it raises an alarm").Number("hot_spot_alarm_c", 50, 200, 120),
		topTripC:    m.About("above which it trips").Number("top_oil_trip_c", 50, 150, 105),
		tripC:       m.About("above which it trips").Number("hot_spot_trip_c", 50, 200, 140),
	}
	impedance := m.About("of the nominal voltage, lost at the rated current").Number("short_circuit_voltage_pct", 1, 25, 6) / 100
	if impedance < model.load {
		m.Fault("short_circuit_voltage_pct", "%v is below load_losses_pct (%v), which are a part of it", impedance*100, model.load*100)
	}
	model.reactance = math.Sqrt(math.Max(0, impedance*impedance-model.load*model.load))
	model.perKW, model.perKVar = model.load/model.ratedKVA, model.reactance/model.ratedKVA
	model.plate = physics.OilNameplate{
		TopOilRiseK: m.About("of the top oil over the air, at the rating").Number("top_oil_rise_k", 10, 80, 52), GradientK: m.About("of the hot spot over the top oil, at the rating").Number("hot_spot_gradient_k", 5, 60, 26), LossRatio: model.load / model.noLoad,
	}
	return model
}

func (model transformerModel) refers() reference {
	return reference{key: "breaker", id: model.breaker, kind: "breaker"}
}

func (model transformerModel) build(_ site, _ *rand.Rand) device {
	t := &transformer{model: model}
	t.Heat = physics.SteadyOilHeat(0, model.ambientC, model.plate, physics.NaturalCooling())
	return t
}

type transformer struct {
	model transformerModel

	tap, fanControl, reset float64 // setpoints
	ambientC, fansFailed   float64 // inputs
	tapJammed              float64

	transformerState
}

type transformerState struct {
	Active, Reactive Power // through it, towards the first bus
	Losses, Drawn    Power // the losses as they are drawn, and its reactive power
	Lost             Energy
	From, To         bus
	Tap              float64 // whole steps
	TapMoving        time.Duration
	TapChanges       float64
	Fans             bool
	Heat             physics.OilHeat
	AgedH            float64
	Tripped          bool
}

func (t *transformer) state() any { return &t.transformerState }

func (t *transformer) points() points {
	taps := t.model.taps
	return points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return t.Active.KW() }},
			{Name: "reactive_power_kvar", read: func() float64 { return t.Reactive.KW() }},
			{Name: "apparent_power_kva", read: t.apparent},
			{Name: "load_pct", read: func() float64 { return t.loading() * 100 }},
			{Name: "losses_kw", read: func() float64 { return t.Losses.KW() }},
			{Name: "losses_energy_kwh", read: func() float64 { return t.Lost.KWh() }},
			{Name: "voltage_from_v", read: func() float64 { return t.From.VoltageV }},
			{Name: "voltage_to_v", read: func() float64 { return t.To.VoltageV }},
			{Name: "current_from_a", read: func() float64 { return lineCurrent(t.Active, t.Reactive, t.From.VoltageV) }},
			{Name: "current_to_a", read: func() float64 { return lineCurrent(t.Active, t.Reactive, t.To.VoltageV) }},
			{Name: "top_oil_temperature_c", read: func() float64 { return t.Heat.TopOilC }},
			{Name: "hot_spot_temperature_c", read: func() float64 { return t.Heat.HotSpotC() }},
			{Name: "ambient_temperature_c", read: func() float64 { return t.ambientC }},
			{Name: "ageing_pct", read: func() float64 { return physics.AgeingFactor(t.Heat.HotSpotC()) * 100 }},
			{Name: "life_used_h", read: func() float64 { return t.AgedH }},
			{Name: "life_used_pct", read: func() float64 { return t.AgedH / insulationLifeH * 100 }},
			{Name: "tap_changes", read: func() float64 { return t.TapChanges }},
			state("tap_position", func() float64 { return t.Tap }),
			signal("tap_moving", func() bool { return t.TapMoving > 0 }),
			signal("energized", func() bool { return t.From.Live }),
			signal("fans_running", func() bool { return t.Fans }),
			signal("overload_alarm", func() bool { return t.loading() > t.model.overload }),
			signal("top_oil_alarm", func() bool { return t.Heat.TopOilC > t.model.topOilC }),
			signal("hot_spot_alarm", func() bool { return t.Heat.HotSpotC() > t.model.alarmC }),
			signal("trip", func() bool { return t.Tripped }),
		},
		setpoints: []Setting{
			{Name: "tap_position", Least: -taps, Most: taps, value: &t.tap},
			control("fans", 0, &t.fanControl),
			control("reset", 0, &t.reset),
		},
		inputs: []Setting{
			{Name: "ambient_temperature_c", Least: -40, Most: 60, Initial: t.model.ambientC, value: &t.ambientC},
			control("fans_failed", 0, &t.fansFailed),
			control("tap_changer_jammed", 0, &t.tapJammed),
		},
	}
}

func (t *transformer) apparent() float64 { return math.Hypot(t.Active.KW(), t.Reactive.KW()) }
func (t *transformer) loading() float64  { return t.apparent() / t.model.ratedKVA }

// offer draws the losses that go with the flow of the last tick from the first bus,
// and moves the taps by one step at a time.
func (t *transformer) offer(now moment, on bus) offer {
	t.moveTaps(now)
	t.Losses, t.Drawn = 0, 0
	if !on.Live {
		return offer{}
	}
	out := t.apparent()
	if t.Active > 0 { // that is what flows in: the losses are a part of it
		out = math.Max(0, physics.TransformerOutput(out, t.model.ratedKVA, t.model.noLoad, t.model.load))
	}
	t.Losses = powerOfKW(physics.TransformerLosses(out, t.model.ratedKVA, t.model.noLoad, t.model.load))
	t.Drawn = powerOfKW(t.model.magnetizing*t.model.ratedKVA + t.model.reactance*out*out/t.model.ratedKVA)
	return offer{active: -t.Losses, reactive: -t.Drawn}
}

func (t *transformer) moveTaps(now moment) {
	wanted := math.Round(t.tap)
	if wanted == t.Tap || t.tapJammed == 1 {
		t.TapMoving = 0
		return
	}
	if t.TapMoving += now.step; t.TapMoving < t.model.tapTime {
		return
	}
	t.Tap += math.Copysign(1, wanted-t.Tap)
	t.TapMoving = 0
	t.TapChanges++
}

// contact trips its breaker.
func (t *transformer) contact() bool { return t.Tripped }

func (t *transformer) closed(int) bool { return true }

func (t *transformer) impedance(int) (perKW, perKVar float64) { return t.model.perKW, t.model.perKVar }

// ratio falls with the number of turns that the tap adds to the first winding.
func (t *transformer) ratio(int) float64 { return 1 / (1 + t.Tap*t.model.tapStep) }

// commit warms the oil: without fans a transformer that has some is a smaller one.
func (t *transformer) commit(now moment, got flow) {
	way := got.through[0]
	t.Active, t.Reactive, t.From, t.To = way.active, way.reactive, way.from, way.to
	t.Losses, t.Drawn = -got.active, -got.reactive
	t.Lost.Add(t.Losses, now.step)
	load, cooling := t.loading(), physics.NaturalCooling()
	switch {
	case t.model.fans && t.Fans:
		cooling = physics.ForcedCooling()
	case t.model.fans:
		load /= t.model.withoutFans
	}
	if t.From.Live {
		t.Heat = t.Heat.After(now.step, load, t.ambientC, t.model.plate, cooling)
	} else {
		t.Heat = t.Heat.Cooled(now.step, t.ambientC, cooling)
	}
	hotSpot := t.Heat.HotSpotC()
	t.AgedH += physics.AgeingFactor(hotSpot) * now.hours()
	t.control(hotSpot)
}

func (t *transformer) control(hotSpotC float64) {
	t.Fans = t.model.fans && t.fansFailed == 0 &&
		(t.fanControl == 1 || t.Heat.TopOilC > t.model.fanC || t.Fans && t.Heat.TopOilC > t.model.fanC-fanHysteresisC)
	if hotSpotC > t.model.tripC || t.Heat.TopOilC > t.model.topTripC {
		t.Tripped = true
	} else if t.reset == 1 && hotSpotC < t.model.tripC-tripClearC && t.Heat.TopOilC < t.model.topTripC-tripClearC {
		t.Tripped = false
	}
}
