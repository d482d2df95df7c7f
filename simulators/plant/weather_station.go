package plant

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// weatherModel is a weather station beside an array.
type weatherModel struct {
	plane         physics.Plane // of its second pyranometer and of the module whose temperature it takes
	cloudCoverPct float64
	ambientC      float64 // mean of the day
	swingK        float64 // between that and the warmest hour
	windMPerS     float64
	windDeg       float64 // from where it blows, clockwise from north
	humidityPct   float64 // at the mean temperature
	pressureHPa   float64
	noise         float64 // 1 for weather that wavers as it does, 0 for none
}

func readWeather(m *document.Mapping) model {
	return weatherModel{
		plane:         readPlane(m),
		cloudCoverPct: m.About("mean part of the sky that is covered, to begin with").Number("cloud_cover_pct", 0, 100, 20),
		ambientC:      m.About("mean of the day, to begin with").Number("ambient_temperature_c", -40, 60, 22),
		swingK:        m.About("between that and the warmest hour").Number("daily_swing_k", 0, 20, 5),
		windMPerS:     m.About("mean, to begin with").Number("wind_speed_m_per_s", 0, 40, 2),
		windDeg:       m.About("from where it blows, clockwise from north, to begin with").Number("wind_direction_deg", 0, 360, 240),
		humidityPct:   m.About("at the mean temperature, to begin with").Number("relative_humidity_pct", 1, 100, 60),
		pressureHPa:   m.About("mean, to begin with").Number("pressure_hpa", 500, 1100, 1013),
		noise:         m.About("how much the weather wavers: 100 as it does, 0 not at all").Number("noise_pct", 0, 300, 100) / 100,
	}
}

func (model weatherModel) build(_ site, random *rand.Rand) device {
	return &weather{model: model, random: random}
}

// Times over which the weather forgets where it was, and how far it strays.
const (
	gustConstant     = 20 * time.Second
	veerConstant     = 3 * time.Minute
	airConstant      = 10 * time.Minute
	pressureConstant = 6 * time.Hour
	gustPart         = 0.3 // of the wind
	veerDeg          = 15.0
	airK             = 0.4
	pressureHPa      = 3.0
)

type weather struct {
	model  weatherModel
	random *rand.Rand

	cloudCoverPct, ambientC, windMPerS, windDeg float64 // inputs
	humidityPct, pressureHPa, rainMMPerH        float64
	soilingPct                                  float64

	weatherState
}

type weatherState struct {
	Clouds, Gust, Veer, Air, Pressure noise
	Sun                               physics.Sun
	Sky                               physics.Sky
	Plane                             float64 // W/m2 in the plane
	AirC, ModuleC                     float64
	WindMPerS, WindDeg                float64
	Humidity                          float64 // parts of 1
	PressureHPa                       float64
	RainMM                            float64
}

func (w *weather) state() any { return &w.weatherState }

func (w *weather) points() points {
	return points{
		quantities: []quantity{
			{Name: "irradiance_horizontal_w_per_m2", read: func() float64 { return w.seen(w.Sky.Global) }},
			{Name: "irradiance_plane_w_per_m2", read: func() float64 { return w.seen(w.Plane) }},
			{Name: "irradiance_diffuse_w_per_m2", read: func() float64 { return w.seen(w.Sky.Diffuse) }},
			{Name: "irradiance_direct_w_per_m2", read: func() float64 { return w.seen(w.Sky.Beam) }},
			{Name: "sun_elevation_deg", read: func() float64 { return w.Sun.ElevationDeg }},
			{Name: "sun_azimuth_deg", read: func() float64 { return w.Sun.AzimuthDeg }},
			{Name: "ambient_temperature_c", read: func() float64 { return w.AirC }},
			{Name: "module_temperature_c", read: func() float64 { return w.ModuleC }},
			{Name: "wind_speed_m_per_s", read: func() float64 { return w.WindMPerS }},
			{Name: "wind_direction_deg", read: func() float64 { return w.WindDeg }},
			{Name: "relative_humidity_pct", read: func() float64 { return w.Humidity * 100 }},
			{Name: "dew_point_c", read: w.dewPoint},
			{Name: "pressure_hpa", read: func() float64 { return w.PressureHPa }},
			{Name: "rain_mm_per_h", read: func() float64 { return w.rainMMPerH }},
			{Name: "rain_mm", read: func() float64 { return w.RainMM }},
			signal("daylight", func() bool { return w.Sun.ElevationDeg > 0 }),
			signal("raining", func() bool { return w.rainMMPerH > 0 }),
		},
		inputs: []Setting{
			{Name: "cloud_cover_pct", Most: 100, Initial: w.model.cloudCoverPct, value: &w.cloudCoverPct},
			{Name: "ambient_temperature_c", Least: -40, Most: 60, Initial: w.model.ambientC, value: &w.ambientC},
			{Name: "wind_speed_m_per_s", Most: 40, Initial: w.model.windMPerS, value: &w.windMPerS},
			{Name: "wind_direction_deg", Most: 360, Initial: w.model.windDeg, value: &w.windDeg},
			{Name: "relative_humidity_pct", Least: 1, Most: 100, Initial: w.model.humidityPct, value: &w.humidityPct},
			{Name: "pressure_hpa", Least: 500, Most: 1100, Initial: w.model.pressureHPa, value: &w.pressureHPa},
			{Name: "rain_mm_per_h", Most: 200, value: &w.rainMMPerH},
			{Name: "soiling_pct", Most: 100, value: &w.soilingPct},
		},
	}
}

// seen is what a pyranometer that has become dirty shows.
func (w *weather) seen(irradiance float64) float64 { return irradiance * (1 - w.soilingPct/100) }

func (w *weather) dewPoint() float64 {
	if w.Humidity == 0 {
		return 0 // before the first tick
	}
	return physics.DewPoint(w.AirC, w.Humidity)
}

// offer moves the weather on. It draws one number for each noise.
func (w *weather) offer(now moment, _ bus) offer {
	strays := func(n *noise, constant time.Duration) float64 {
		return w.model.noise * n.next(now.step, constant, w.random)
	}
	w.Sun = now.sun
	cover := wandering(w.cloudCoverPct/100, strays(&w.Clouds, cloudConstant))
	w.Sky = physics.Split(physics.ThroughClouds(physics.ClearSky(w.Sun.ElevationDeg), cover), w.Sun)
	w.Plane = w.model.plane.Irradiance(w.Sun, w.Sky)

	hour := now.at.Sub(now.at.Truncate(24*time.Hour)).Hours() + now.location.LongitudeDeg/15 // by the sun
	w.AirC = w.ambientC + w.model.swingK*physics.DailyWave(hour) + airK*strays(&w.Air, airConstant)
	w.WindMPerS = max(0, w.windMPerS*(1+gustPart*strays(&w.Gust, gustConstant)))
	w.WindDeg = math.Mod(w.windDeg+veerDeg*strays(&w.Veer, veerConstant)+720, 360)
	w.PressureHPa = w.pressureHPa + pressureHPa*strays(&w.Pressure, pressureConstant)
	// The air holds the same vapour all day, and no more than it can.
	vapour := w.humidityPct / 100 * physics.VapourPressure(w.ambientC)
	w.Humidity = min(1, vapour/physics.VapourPressure(w.AirC))
	// The back of a module is cooler than its cells by 3 K at 1000 W/m2.
	w.ModuleC = physics.CellTemperature(w.Plane, w.AirC, w.WindMPerS) - 3*w.Plane/1000
	w.RainMM += w.rainMMPerH * now.hours()
	return offer{}
}

// wandering returns a cloud cover that strays from its mean, both from 0 to 1: most
// freely under a half-covered sky, and not at all under a clear or a wholly covered one.
func wandering(mean, strays float64) float64 { return clamp(mean+0.8*mean*(1-mean)*strays, 0, 1) }

func (w *weather) commit(moment, flow) {}
