package plant

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// chargerModel is a charging station of a depot and the vehicles that come to it.
type chargerModel struct {
	direct       bool    // current
	ratedKW      float64 // of each connector, of a DC station
	ratedA       float64 // the same of an AC station
	phases       int
	connectors   int
	efficiency   float64 // from the bus to the vehicle's battery, 0 to 1
	tangent      float64 // reactive power for each unit of active power
	rampKWPerS   float64
	arrivalsPerH []float64 // by hour of the day, at each free connector
	stay         time.Duration
	capacityKWh  float64 // of a vehicle
	vehicleKW    float64 // most that it takes from the station
	targetPct    float64 // state of charge that it wants to leave with
}

// mostConnectors is how many a station has at most.
const mostConnectors = 4

// depotEvening is when the vehicles of a depot come home.
func depotEvening() []float64 {
	perH := make([]float64, 24)
	copy(perH[15:], []float64{0.3, 0.8, 1.5, 1.5, 0.8, 0.3})
	return perH
}

func readCharger(m *document.Mapping) model {
	model := chargerModel{
		direct:       m.About("what its connectors give").Choice("current", []string{"ac", "dc"}, "ac") == "dc",
		connectors:   int(m.About("vehicles that it charges at once").Integer("connectors", 1, mostConnectors, 1)),
		phases:       3,
		tangent:      math.Tan(math.Acos(m.About("inductive").Number("power_factor", 0.8, 1, 0.99))),
		rampKWPerS:   m.About("how fast a connector takes up its power").Number("ramp_kw_per_s", 0.1, 1e4, 10),
		arrivalsPerH: m.About("by hour of the day, at each free connector").Numbers("arrivals_per_h", 24, 0, 60, depotEvening()),
		stay:         time.Duration(m.About("mean of how long a vehicle stays").Number("stay_h", 0.1, 48, 11) * float64(time.Hour)),
		capacityKWh:  m.About("of the usual vehicle").Number("vehicle_capacity_kwh", 5, 1000, 60),
		targetPct:    m.About("that vehicles want to leave with").Number("target_state_of_charge_pct", 20, 100, 90),
	}
	if model.direct {
		model.ratedKW = m.About("of each connector").Number("rated_kw", 1, 2000, 150)
		model.vehicleKW = m.About("most that a vehicle takes").Number("vehicle_kw", 1, 2000, 120)
		model.efficiency = m.About("from the bus to the battery of the vehicle").Number("efficiency_pct", 50, 100, 95) / 100
		return model
	}
	model.ratedA = m.About("of each connector").Number("rated_current_a", 6, 80, 32)
	if m.About("that each connector uses").Choice("phases", []string{"1", "3"}, "3") == "1" {
		model.phases = 1
	}
	model.vehicleKW = m.About("most that a vehicle takes").Number("vehicle_kw", 1, 2000, 11)
	model.efficiency = m.About("from the bus to the battery of the vehicle").Number("efficiency_pct", 50, 100, 90) / 100
	return model
}

func (model chargerModel) build(_ site, random *rand.Rand) device {
	c := &charger{model: model, random: random}
	for i := range c.Connectors {
		c.Connectors[i].State = chargerFree
	}
	return c
}

// States of a connector, as its state quantity gives them: those of IEC 61851-1 from A
// on. D, charging with ventilation, and E, no pilot, are not simulated.
const (
	chargerFree      = 1 // A: no vehicle
	chargerConnected = 2 // B: a vehicle that is not charged
	chargerCharging  = 3 // C
	chargerFault     = 6 // F: the station is not available
)

type charger struct {
	model  chargerModel
	random *rand.Rand

	enabled, limit       float64 // setpoints: A of each conductor, or kW, of each connector
	fault, arrive, leave float64 // inputs

	chargerState
}

type chargerState struct {
	Connectors            [mostConnectors]connector
	Active, Reactive      Power // drawn
	Energy                Energy
	Sessions, Short       float64 // vehicles that came, and that left with less than they wanted
	ArriveSeen, LeaveSeen bool
	On                    bus
}

// connector is one outlet and the vehicle at it.
type connector struct {
	State       int
	CapacityKWh float64 // of the vehicle, 0 where there is none
	StoredKWh   float64
	TargetKWh   float64 // that it wants to leave with
	SessionKWh  float64 // drawn
	Stay        time.Duration
	Power       Power
}

func (c *charger) state() any { return &c.chargerState }

func (c *charger) points() points {
	limit := Setting{Name: "current_limit_a", Most: c.model.ratedA, Initial: c.model.ratedA, value: &c.limit}
	if c.model.direct {
		limit = Setting{Name: "power_limit_kw", Most: c.model.ratedKW, Initial: c.model.ratedKW, value: &c.limit}
	}
	list := []quantity{
		{Name: "power_kw", read: func() float64 { return c.Active.KW() }},
		{Name: "reactive_power_kvar", read: func() float64 { return c.Reactive.KW() }},
		{Name: "voltage_v", read: func() float64 { return c.On.VoltageV }},
		{Name: "current_a", read: func() float64 { return lineCurrent(c.Active, c.Reactive, c.On.VoltageV) }},
		{Name: "energy_kwh", read: func() float64 { return c.Energy.KWh() }},
		{Name: "sessions", read: func() float64 { return c.Sessions }},
		{Name: "sessions_short", read: func() float64 { return c.Short }},
		{Name: "vehicles", read: func() float64 { return c.count(func(one *connector) bool { return one.CapacityKWh > 0 }) }},
		{Name: "vehicles_charging", read: func() float64 { return c.count(func(one *connector) bool { return one.State == chargerCharging }) }},
		signal("charging", func() bool { return c.Active > 0 }),
		signal("fault", func() bool { return c.fault == 1 }),
	}
	for i := range c.model.connectors {
		list = append(list, c.Connectors[i].points("connector_"+strconv.Itoa(i+1)+"_")...)
	}
	return points{
		quantities: list,
		setpoints:  []Setting{control("enabled", 1, &c.enabled), limit},
		inputs:     []Setting{control("fault", 0, &c.fault), control("arrive", 0, &c.arrive), control("leave", 0, &c.leave)},
	}
}

func (one *connector) points(prefix string) []quantity {
	return []quantity{
		state(prefix+"state", func() float64 { return float64(one.State) }),
		{Name: prefix + "power_kw", read: func() float64 { return one.Power.KW() }},
		{Name: prefix + "energy_kwh", read: func() float64 { return one.SessionKWh }},
		{Name: prefix + "wanted_kwh", read: func() float64 { return max(0, one.TargetKWh-one.StoredKWh) }},
		{Name: prefix + "state_of_charge_pct", read: func() float64 { return one.charge() * 100 }},
		{Name: prefix + "departure_min", read: func() float64 { return one.Stay.Minutes() }},
	}
}

func (one *connector) charge() float64 {
	if one.CapacityKWh == 0 {
		return 0
	}
	return one.StoredKWh / one.CapacityKWh
}

func (c *charger) count(is func(*connector) bool) float64 {
	count := 0.0
	for i := range c.model.connectors {
		count += flag(is(&c.Connectors[i]))
	}
	return count
}

// offer lets vehicles come and go, and draws what those that are there may take. It
// draws the same numbers in every tick.
func (c *charger) offer(now moment, on bus) offer {
	rate := c.model.arrivalsPerH[now.at.Hour()] * now.hours()
	arrive, leave := c.arrive == 1 && !c.ArriveSeen, c.leave == 1 && !c.LeaveSeen
	c.ArriveSeen, c.LeaveSeen = c.arrive == 1, c.leave == 1
	var total Power
	for i := range c.model.connectors {
		one := &c.Connectors[i]
		chances := [4]float64{c.random.Float64(), c.random.Float64(), c.random.Float64(), c.random.Float64()}
		if one.Stay = max(0, one.Stay-now.step); one.CapacityKWh > 0 && (one.Stay == 0 || leave) {
			c.depart(one)
		} else if one.CapacityKWh == 0 && (arrive || chances[0] < rate) {
			c.plugIn(one, chances)
			arrive = false
		}
		c.charge(one, now, on)
		total += one.Power
	}
	return offer{active: -total, tangent: c.model.tangent}
}

// plugIn connects a vehicle that comes with 10 to 60 % of its charge, which is 80 to
// 120 % of the usual one's, and stays for half to one and a half of the usual time.
func (c *charger) plugIn(one *connector, chances [4]float64) {
	*one = connector{State: chargerConnected, CapacityKWh: c.model.capacityKWh * (0.8 + 0.4*chances[1])}
	one.StoredKWh = one.CapacityKWh * (0.1 + 0.5*chances[2])
	one.TargetKWh = max(one.StoredKWh, one.CapacityKWh*c.model.targetPct/100)
	one.Stay = time.Duration(float64(c.model.stay) * (0.5 + chances[3])).Truncate(time.Millisecond)
	c.Sessions++
}

// shortKWh is what a vehicle may lack without being one that left short.
const shortKWh = 0.1

func (c *charger) depart(one *connector) {
	c.Short += flag(one.TargetKWh-one.StoredKWh > shortKWh)
	*one = connector{State: chargerFree}
}

// charge sets the state and the power of a connector.
func (c *charger) charge(one *connector, now moment, on bus) {
	lacks := one.TargetKWh - one.StoredKWh
	wanted := 0.0
	if on.Live && c.enabled == 1 && c.fault == 0 && lacks > 0 {
		limit := c.limit
		if !c.model.direct {
			limit = physics.AdvertisedPower(c.limit, on.VoltageV, c.model.phases)
		}
		wanted = min(limit, c.model.vehicleKW*physics.ChargeTaper(one.charge()), lacks/c.model.efficiency/now.hours())
	}
	one.Power = min(powerOfKW(wanted), approach(one.Power, powerOfKW(wanted), powerOfKW(c.model.rampKWPerS*now.seconds())))
	switch {
	case c.fault == 1:
		one.State = chargerFault
	case one.CapacityKWh == 0:
		one.State = chargerFree
	case one.Power > 0:
		one.State = chargerCharging
	default:
		one.State = chargerConnected
	}
}

func (c *charger) commit(now moment, got flow) {
	c.Active, c.Reactive, c.On = -got.active, -got.reactive, got.on
	c.Energy.Add(c.Active, now.step)
	for i := range c.model.connectors {
		one := &c.Connectors[i]
		if !got.on.Live {
			if one.Power = 0; one.State == chargerCharging {
				one.State = chargerConnected
			}
			continue
		}
		drawn := one.Power.KW() * now.hours()
		one.SessionKWh += drawn
		one.StoredKWh = min(one.CapacityKWh, one.StoredKWh+drawn*c.model.efficiency)
	}
}
