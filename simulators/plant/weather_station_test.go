package plant

import (
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

func TestAWeatherStationShowsTheDay(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, strings.Replace(plantText("weather_station {noise_pct: 0, cloud_cover_pct: 0, tilt_deg: 30, relative_humidity_pct: 60}", "pv {dc_rated_kw: 100, inverter_rated_kw: 100, cloud_cover_pct: 0, tilt_deg: 30}"), "step: 1s", "step: 10s", 1)))
	steps(p, 1)
	elevation := value(t, p, "weather_station", "sun_elevation_deg")
	expect(t, p, "weather_station", "irradiance_horizontal_w_per_m2", physics.ClearSky(elevation), 1e-9)
	for station, array := range map[string]string{"irradiance_horizontal_w_per_m2": "irradiance_horizontal_w_per_m2", "irradiance_plane_w_per_m2": "irradiance_w_per_m2", "sun_elevation_deg": "sun_elevation_deg"} {
		expect(t, p, "weather_station", station, value(t, p, "pv", array), 1e-9) // they stand under the same sky
	}
	plane := value(t, p, "weather_station", "irradiance_plane_w_per_m2")
	air, module := value(t, p, "weather_station", "ambient_temperature_c"), value(t, p, "weather_station", "module_temperature_c")
	near(t, "module", module, physics.CellTemperature(plane, air, 2)-0.003*plane, 1e-9)
	near(t, "air at noon", air, 22+5*0.7071, 0.01)
	expect(t, p, "weather_station", "relative_humidity_pct", 60*physics.VapourPressure(22)/physics.VapourPressure(air), 1e-9)
	expect(t, p, "weather_station", "dew_point_c", physics.DewPoint(22, 0.6), 1e-9)
	set(t, p, "weather_station", "soiling_pct", 10)
	set(t, p, "weather_station", "rain_mm_per_h", 6)
	set(t, p, "weather_station", "wind_direction_deg", 360)
	steps(p, 60)
	expect(t, p, "weather_station", "irradiance_plane_w_per_m2", 0.9*value(t, p, "pv", "irradiance_w_per_m2"), 1e-9)
	expect(t, p, "weather_station", "rain_mm", 1, 1e-9)
	expect(t, p, "weather_station", "raining", 1, 0)
	expect(t, p, "weather_station", "wind_direction_deg", 0, 1e-9)
	steps(p, 15*360-61) // three at night
	expect(t, p, "weather_station", "ambient_temperature_c", 17, 1e-3)
	expect(t, p, "weather_station", "irradiance_horizontal_w_per_m2", 0, 0)
	expect(t, p, "weather_station", "daylight", 0, 0)
}

func TestWeatherStrays(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "weather_station {cloud_cover_pct: 50, wind_speed_m_per_s: 5, wind_direction_deg: 10}")
	least, most, sum, north := 1e9, 0.0, 0.0, 0
	for range 4 * 3600 {
		steps(p, 1)
		wind := value(t, p, "weather_station", "wind_speed_m_per_s")
		least, most, sum = min(least, wind), max(most, wind), sum+wind
		if direction := value(t, p, "weather_station", "wind_direction_deg"); direction < 0 || direction >= 360 {
			t.Fatalf("wind from %v degrees", direction)
		} else if direction > 300 {
			north++
		}
	}
	near(t, "mean wind", sum/4/3600, 5, 0.3)
	if least > 2 || least < 0 || most < 8 || most > 13 || north == 0 {
		t.Errorf("wind of %v to %v m/s, and %d times from the north-west", least, most, north)
	}
}

// parkYAML is two arrays under the sky of a station, which comes after one of them and
// before the other in whatever order there is, and one under a sky of its own.
const parkYAML = `
name: park
seed: 1
start: 2026-06-21T12:00:00Z
step: 1s
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:0
devices:
  - {id: grid, type: grid, listen: "127.0.0.1:0", profile: p.yaml}
  - {id: east, type: pv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {dc_rated_kw: 100, inverter_rated_kw: 100, tilt_deg: 25, weather: station}}
  - {id: west, type: pv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {dc_rated_kw: 50, inverter_rated_kw: 50, tilt_deg: 25, weather: station}}
  - {id: alone, type: pv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {dc_rated_kw: 100, inverter_rated_kw: 100, tilt_deg: 25, cloud_cover_pct: 50}}
  - {id: station, type: weather_station, listen: "127.0.0.1:0", profile: p.yaml, parameters: {cloud_cover_pct: 50, tilt_deg: 25}}
`

// The irradiance of a station explains the power of the arrays that name it, in every tick.
func TestArraysUnderOneSky(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, parkYAML))
	others := 0
	for range 600 {
		steps(p, 1)
		plane, air := value(t, p, "station", "irradiance_plane_w_per_m2"), value(t, p, "station", "ambient_temperature_c")
		for _, id := range []string{"east", "west"} {
			expect(t, p, id, "irradiance_w_per_m2", plane, 0)
			expect(t, p, id, "irradiance_horizontal_w_per_m2", value(t, p, "station", "irradiance_horizontal_w_per_m2"), 0)
			expect(t, p, id, "ambient_temperature_c", air, 0)
			expect(t, p, id, "cell_temperature_c", physics.CellTemperature(plane, air, value(t, p, "station", "wind_speed_m_per_s")), 0)
		}
		expect(t, p, "east", "power_kw", 2*value(t, p, "west", "power_kw"), 1e-5)
		if value(t, p, "alone", "irradiance_w_per_m2") != plane {
			others++
		}
	}
	if others < 599 {
		t.Errorf("an array that names no station is under its sky in %d ticks", 600-others)
	}
	before := value(t, p, "east", "power_kw")
	set(t, p, "station", "cloud_cover_pct", 100)
	steps(p, 1)
	if covered := value(t, p, "east", "power_kw"); covered <= 0 || covered > 0.7*before {
		t.Errorf("%v kW under clouds after %v kW", covered, before)
	}
	set(t, p, "station", "soiling_pct", 50) // of the pyranometer alone
	steps(p, 1)
	expect(t, p, "station", "irradiance_plane_w_per_m2", value(t, p, "east", "irradiance_w_per_m2")/2, 1e-9)
	if err := p.SetInput("east", "cloud_cover_pct", 0, "test"); err == nil || !strings.Contains(err.Error(), `device east has no input "cloud_cover_pct"`) {
		t.Errorf("clouds of an array without a sky of its own: %v", err)
	}
}

// An array names a station that there is, or has weather of its own, and not both.
func TestTheSkyOfAnArrayIsChecked(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"weather: west":                        `plant.yaml:10: key "devices[1].parameters.weather": west is a pv: name a weather_station`,
		"weather: stations":                    `plant.yaml:10: key "devices[1].parameters.weather": no device "stations": there are alone, east, grid, station, west`,
		"weather: station, cloud_cover_pct: 5": `plant.yaml:10: key "devices[1].parameters.cloud_cover_pct": the array is under the weather of station: set it there, or name no weather`,
	} {
		var faults document.Faults
		ReadDefinition("plant.yaml", []byte(strings.Replace(parkYAML, "weather: station", change, 1)), Addresses{}, &faults)
		if err := faults.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", change, err, want)
		}
	}
}
