package plant

import (
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// pvModel is an array behind one inverter.
type pvModel struct {
	dcRatedKW              float64 // at 1000 W/m2 and 25 C
	inverterEfficiency     float64 // nominal, 0 to 1
	temperatureCoefficient float64 // of power, 1/C
	dcVoltageV             float64 // at the maximum power point, 25 C
	weather                string  // id of the station whose weather it is under, "" for one of its own
	ambientC               float64
	windMPerS              float64
	cloudCoverPct          float64
	plane                  physics.Plane
	nightKW                float64 // what the inverter draws in the dark
	inverter               inverterModel
}

func readPV(m *document.Mapping) model {
	model := pvModel{
		dcRatedKW:              m.About("power of the modules at 1000 W/m2 and 25 C").Number("dc_rated_kw", 0.1, 1e5),
		inverterEfficiency:     m.About("of the inverter at its rating").Number("inverter_efficiency_pct", 80, 100, 96) / 100,
		temperatureCoefficient: m.About("by which the power changes with the temperature of the cells").Number("temperature_coefficient_pct_per_c", -1, 0, -0.35) / 100,
		dcVoltageV:             m.About("at the maximum power point and 25 C").Number("dc_voltage_v", 50, 1500, 700),
		weather:                m.About("id of the weather_station whose sky the array is under").Text("weather", ""),
		plane:                  readPlane(m),
		nightKW:                m.About("that the inverter draws in the dark").Number("night_consumption_kw", 0, 100, 0),
		inverter:               readInverter(m, m.About("most active power of the inverter").Number("inverter_rated_kw", 0.1, 1e5)),
	}
	if model.weather != "" {
		for _, key := range []string{"ambient_temperature_c", "wind_speed_m_per_s", "cloud_cover_pct"} {
			if m.Has(key) {
				m.Fault(key, "the array is under the weather of %s: set it there, or name no weather", model.weather)
			}
		}
	} else {
		model.ambientC = m.About("of the air, to begin with, where no weather is named").Number("ambient_temperature_c", -40, 60, 22)
		model.windMPerS = m.About("to begin with, where no weather is named").Number("wind_speed_m_per_s", 0, 40, 2)
		model.cloudCoverPct = m.About("mean part of the sky that is covered, to begin with, where no weather is named").Number("cloud_cover_pct", 0, 100, 20)
	}
	return model
}

// readPlane reads how an array is mounted.
func readPlane(m *document.Mapping) physics.Plane {
	return physics.Plane{
		TiltDeg:    m.About("from the horizontal").Number("tilt_deg", 0, 90, 0),
		AzimuthDeg: m.About("where it looks, clockwise from north").Number("azimuth_deg", 0, 360, 180),
		Albedo:     m.About("part of the light that the ground reflects").Number("albedo", 0, 1, 0.2),
	}
}

func (model pvModel) refers() reference {
	return reference{key: "weather", id: model.weather, kind: "weather_station"}
}

func (model pvModel) build(site site, random *rand.Rand) device {
	model.inverter.nominalHz = site.nominalHz
	return &pv{model: model, random: random, inverter: inverter{model: model.inverter}, pvState: pvState{Inverter: newInverterState()}}
}

// cloudConstant is the time over which clouds forget where they were.
const cloudConstant = 5 * time.Minute

type pv struct {
	model   pvModel
	random  *rand.Rand
	station *weather // that it is under, nil where its weather is its own

	enabled                            float64 // setpoint
	inverter                           inverter
	cloudCoverPct, ambientC, windMPerS float64 // inputs, where its weather is its own

	pvState
}

type pvState struct {
	Clouds                 noise
	ElevationDeg, CellC    float64
	Horizontal, Irradiance float64 // W/m2
	Inverter               inverterState
	DCKW                   float64
	Available              Power // without limit and with the inverter on
	Power, Reactive        Power
	Driving                Power // what its governor gives
	Energy, Consumed       Energy
	On                     bus
}

func (p *pv) state() any { return &p.pvState }

// States of an array's inverter, as its state quantity gives them.
const (
	pvStopped   = 0
	pvAsleep    = 1 // in the dark
	pvRunning   = 2 // gives all that there is
	pvThrottled = 3 // could give more
	pvWaiting   = 4 // until its bus is sound
)

func (p *pv) mode() float64 {
	switch {
	case p.enabled == 0:
		return pvStopped
	case p.Inverter.Down:
		return pvWaiting
	case p.Available == 0:
		return pvAsleep
	case p.Power < p.Available:
		return pvThrottled
	default:
		return pvRunning
	}
}

func (p *pv) points() points {
	named := points{
		quantities: []quantity{
			{Name: "power_kw", read: func() float64 { return p.Power.KW() }},
			{Name: "available_power_kw", read: func() float64 { return p.Available.KW() }},
			{Name: "dc_power_kw", read: func() float64 { return p.DCKW }},
			{Name: "dc_voltage_v", read: p.dcVoltage},
			{Name: "irradiance_w_per_m2", read: func() float64 { return p.Irradiance }},
			{Name: "irradiance_horizontal_w_per_m2", read: func() float64 { return p.Horizontal }},
			{Name: "sun_elevation_deg", read: func() float64 { return p.ElevationDeg }},
			{Name: "cell_temperature_c", read: func() float64 { return p.CellC }},
			{Name: "ambient_temperature_c", read: func() float64 {
				temperatureC, _ := p.air()
				return temperatureC
			}},
			{Name: "energy_kwh", read: func() float64 { return p.Energy.KWh() }},
			{Name: "voltage_v", read: func() float64 { return p.On.VoltageV }},
			{Name: "current_a", read: func() float64 { return lineCurrent(p.Power, p.Reactive, p.On.VoltageV) }},
			{Name: "dc_current_a", read: p.dcCurrent},
			{Name: "energy_consumed_kwh", read: func() float64 { return p.Consumed.KWh() }},
			{Name: "frequency_hz", read: func() float64 { return p.On.FrequencyHz }},
			state("state", p.mode),
			signal("running", func() bool { return p.Power > 0 }),
			signal("curtailed", func() bool { return p.Available > 0 && p.Power < p.Available }),
			signal("daylight", func() bool { return p.ElevationDeg > 0 }),
			signal("bus_fault", func() bool { return !p.On.Live }),
		},
		setpoints: []Setting{
			control("enabled", 1, &p.enabled),
		},
	}
	if p.model.weather == "" {
		named.inputs = []Setting{
			{Name: "cloud_cover_pct", Most: 100, Initial: p.model.cloudCoverPct, value: &p.cloudCoverPct},
			{Name: "ambient_temperature_c", Least: -40, Most: 60, Initial: p.model.ambientC, value: &p.ambientC},
			{Name: "wind_speed_m_per_s", Most: 40, Initial: p.model.windMPerS, value: &p.windMPerS},
		}
	}
	return named.and(outputPoints(&p.Power, &p.Reactive)).and(p.inverter.points(&p.Inverter))
}

// under puts the array under the weather of a station, which is asked for its offer first.
func (p *pv) under(station *weather) { p.station = station }

// air returns the temperature and the wind that cool the array.
func (p *pv) air() (temperatureC, windMPerS float64) {
	if p.station != nil {
		return p.station.AirC, p.station.WindMPerS
	}
	return p.ambientC, p.windMPerS
}

func (p *pv) offer(now moment, on bus) offer {
	p.shine(now)
	airC, windMPerS := p.air()
	p.CellC = physics.CellTemperature(p.Irradiance, airC, windMPerS)
	potentialKW := physics.PVWattsDC(p.Irradiance, p.CellC, p.model.dcRatedKW, p.model.temperatureCoefficient)
	rated := p.model.inverter.ratedKW / p.model.inverterEfficiency
	p.Available = powerOfKW(physics.PVWattsAC(potentialKW, rated, p.model.inverterEfficiency))
	p.DCKW = potentialKW

	p.inverter.watch(&p.Inverter, now, on)
	limit, _ := p.inverter.follow(&p.Inverter, now, on)
	if p.Available == 0 {
		return offer{active: -powerOfKW(p.model.nightKW)}
	}
	if p.enabled == 0 {
		return offer{}
	}
	active, reactive := p.inverter.within(&p.Inverter, min(p.Available, limit))
	return p.inverter.follower(active, 0, active, reactive, p.Driving, on)
}

// shine sees what comes through the clouds: those of its station, or its own, which it
// moves on, drawing one number.
func (p *pv) shine(now moment) {
	p.ElevationDeg = now.sun.ElevationDeg
	sky := physics.Sky{}
	if p.station != nil {
		sky = p.station.Sky
	} else {
		cover := wandering(p.cloudCoverPct/100, p.Clouds.next(now.step, cloudConstant, p.random))
		sky = physics.Split(physics.ThroughClouds(physics.ClearSky(p.ElevationDeg), cover), now.sun)
	}
	p.Horizontal = sky.Global
	p.Irradiance = p.model.plane.Irradiance(now.sun, sky)
}

func (p *pv) commit(now moment, got flow) {
	power := got.active
	p.Power, p.Reactive, p.Driving, p.On = power, got.reactive, got.driving, got.on
	if p.Available > 0 {
		p.DCKW *= float64(power) / float64(p.Available)
	} else {
		p.DCKW = 0
	}
	p.Energy.Add(max(0, power), now.step)
	p.Consumed.Add(max(0, -power), now.step)
}

// dcVoltage falls with the cell temperature as the power does and is 0 in the
// dark.
func (p *pv) dcVoltage() float64 {
	if p.Irradiance <= 0 {
		return 0
	}
	return p.model.dcVoltageV * (1 + p.model.temperatureCoefficient*(p.CellC-25))
}

func (p *pv) dcCurrent() float64 {
	if voltage := p.dcVoltage(); voltage > 0 {
		return p.DCKW * 1000 / voltage
	}
	return 0
}
