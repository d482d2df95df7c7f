package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// pvModel is a horizontal array behind one inverter.
type pvModel struct {
	dcRatedKW              float64 // at 1000 W/m2 and 25 C
	inverterRatedKW        float64 // AC
	inverterEfficiency     float64 // nominal, 0 to 1
	temperatureCoefficient float64 // of power, 1/C
	dcVoltageV             float64 // at the maximum power point, 25 C
	ambientC               float64
	windMPerS              float64
	cloudCoverPct          float64
}

func readPV(m *document.Mapping) model {
	return pvModel{
		dcRatedKW:              m.Number("dc_rated_kw", 0.1, 1e5),
		inverterRatedKW:        m.Number("inverter_rated_kw", 0.1, 1e5),
		inverterEfficiency:     m.Number("inverter_efficiency_pct", 80, 100, 96) / 100,
		temperatureCoefficient: m.Number("temperature_coefficient_pct_per_c", -1, 0, -0.35) / 100,
		dcVoltageV:             m.Number("dc_voltage_v", 50, 1500, 700),
		ambientC:               m.Number("ambient_temperature_c", -40, 60, 22),
		windMPerS:              m.Number("wind_speed_m_per_s", 0, 40, 2),
		cloudCoverPct:          m.Number("cloud_cover_pct", 0, 100, 20),
	}
}

func (model pvModel) build(random *rand.Rand) device {
	return &pv{model: model, clouds: noise{random: random, constant: 5 * time.Minute}}
}

type pv struct {
	model  pvModel
	clouds noise

	enabled, limitPct                  float64 // setpoints
	cloudCoverPct, ambientC, windMPerS float64 // inputs

	elevationDeg, irradiance, cellC float64
	dcKW                            float64
	available                       Power // without limit and with the inverter on
	power                           Power
	energy                          Energy
	on                              bus
}

func (p *pv) points() points {
	return points{
		quantities: []quantity{
			{"power_kw", func() float64 { return p.power.KW() }},
			{"available_power_kw", func() float64 { return p.available.KW() }},
			{"dc_power_kw", func() float64 { return p.dcKW }},
			{"dc_voltage_v", p.dcVoltage},
			{"irradiance_w_per_m2", func() float64 { return p.irradiance }},
			{"sun_elevation_deg", func() float64 { return p.elevationDeg }},
			{"cell_temperature_c", func() float64 { return p.cellC }},
			{"ambient_temperature_c", func() float64 { return p.ambientC }},
			{"energy_kwh", func() float64 { return p.energy.KWh() }},
			{"voltage_v", func() float64 { return p.on.voltageV }},
			{"frequency_hz", func() float64 { return p.on.frequencyHz }},
			{"running", func() float64 { return flag(p.power > 0) }},
			{"curtailed", func() float64 { return flag(p.power < p.available) }},
			{"daylight", func() float64 { return flag(p.elevationDeg > 0) }},
			{"bus_fault", func() float64 { return flag(!p.on.live) }},
		},
		setpoints: []Setting{
			control("enabled", 1, &p.enabled),
			{Name: "power_limit_pct", Most: 100, Initial: 100, value: &p.limitPct},
		},
		inputs: []Setting{
			{Name: "cloud_cover_pct", Most: 100, Initial: p.model.cloudCoverPct, value: &p.cloudCoverPct},
			{Name: "ambient_temperature_c", Least: -40, Most: 60, Initial: p.model.ambientC, value: &p.ambientC},
			{Name: "wind_speed_m_per_s", Most: 40, Initial: p.model.windMPerS, value: &p.windMPerS},
		},
	}
}

func (p *pv) offer(now moment) offer {
	p.elevationDeg, _ = sunPosition(now.at, now.location)
	mean := p.cloudCoverPct / 100
	// Clouds wander about the mean most freely under a half-covered sky, and not
	// at all under a clear or a wholly covered one.
	cover := clamp(mean+0.8*mean*(1-mean)*p.clouds.next(now.step), 0, 1)
	p.irradiance = throughClouds(clearSky(p.elevationDeg), cover)
	p.cellC = cellTemperature(p.irradiance, p.ambientC, p.windMPerS)
	potentialKW := pvDC(p.irradiance, p.cellC, p.model.dcRatedKW, p.model.temperatureCoefficient)
	rated := p.model.inverterRatedKW / p.model.inverterEfficiency
	p.available = powerOfKW(pvAC(potentialKW, rated, p.model.inverterEfficiency))

	wanted := Power(0)
	if p.enabled == 1 {
		wanted = min(p.available, powerOfKW(p.model.inverterRatedKW*p.limitPct/100))
	}
	p.dcKW = potentialKW
	return offer{rank: rankPV, wanted: wanted, most: wanted}
}

func (p *pv) commit(now moment, power Power, on bus) {
	p.power, p.on = power, on
	if p.available > 0 {
		p.dcKW *= float64(power) / float64(p.available)
	} else {
		p.dcKW = 0
	}
	p.energy.Add(power, now.step)
}

// dcVoltage falls with the cell temperature as the power does and is 0 in the
// dark.
func (p *pv) dcVoltage() float64 {
	if p.irradiance <= 0 {
		return 0
	}
	return p.model.dcVoltageV * (1 + p.model.temperatureCoefficient*(p.cellC-25))
}

// cellTemperature returns the temperature of a cell in C from the irradiance in
// W/m2, the air in C and the wind in m/s.
// Source: D. L. King et al., Sandia Photovoltaic Array Performance Model,
// SAND2004-3535, for glass-glass modules on an open rack:
// a = -3.47, b = -0.0594, dT = 3.
func cellTemperature(irradiance, ambientC, windMPerS float64) float64 {
	const a, b, difference = -3.47, -0.0594, 3.0
	module := irradiance*math.Exp(a+b*windMPerS) + ambientC
	return module + irradiance/1000*difference
}

// pvDC returns the DC power at the maximum power point, in the unit of rated.
// Source: A. P. Dobos, PVWatts Version 5 Manual, NREL/TP-6A20-62641:
// P = Pdc0 E/1000 (1 + g (Tc - 25)).
func pvDC(irradiance, cellC, rated, coefficient float64) float64 {
	return math.Max(0, rated*irradiance/1000*(1+coefficient*(cellC-25)))
}

// pvAC returns the AC power of an inverter from its DC power, in the same unit,
// with rated the DC power at which the AC rating is reached.
// Source: A. P. Dobos, PVWatts Version 5 Manual, NREL/TP-6A20-62641:
// eta = nominal/0.9637 (-0.0162 z - 0.0059/z + 0.9858), z = P/rated, clipped at
// nominal x rated.
func pvAC(dc, rated, nominal float64) float64 {
	if dc <= 0 {
		return 0
	}
	part := dc / rated
	efficiency := nominal / 0.9637 * (-0.0162*part - 0.0059/part + 0.9858)
	return clamp(efficiency*dc, 0, nominal*rated)
}
