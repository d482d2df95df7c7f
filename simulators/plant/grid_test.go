package plant

import (
	"strings"
	"testing"
)

// A disturbance begins when it is called for, lasts as long as it was told to, and is
// counted.
func TestDisturbancesOfTheGrid(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad)
	steps(p, 5)
	set(t, p, "grid", "event_voltage_pct", -40)
	set(t, p, "grid", "event_frequency_hz", -1)
	set(t, p, "grid", "event_duration_s", 0.7)
	steps(p, 5)
	expect(t, p, "grid", "voltage_v", 400, 0.1)
	set(t, p, "grid", "event", 1)
	for range 7 {
		steps(p, 1)
		expect(t, p, "grid", "voltage_v", 240, 0.1)
		expect(t, p, "grid", "frequency_hz", 49, 0)
		expect(t, p, "grid", "sag", 1, 0)
		expect(t, p, "grid", "frequency_excursion", 1, 0)
	}
	steps(p, 1)
	expect(t, p, "grid", "voltage_v", 400, 0.1) // though it is still called for
	expect(t, p, "grid", "sag", 0, 0)
	expect(t, p, "grid", "sags", 1, 0)
	set(t, p, "grid", "event_voltage_pct", 15)
	set(t, p, "grid", "event", 0)
	steps(p, 1)
	set(t, p, "grid", "event", 1)
	steps(p, 1)
	expect(t, p, "grid", "swell", 1, 0)
	expect(t, p, "grid", "swells", 1, 0)
	expect(t, p, "grid", "sags", 1, 0)
	set(t, p, "grid", "voltage_distortion_pct", 9)
	steps(p, 1)
	expect(t, p, "grid", "voltage_distortion_pct", 9, 9*0.5)
	set(t, p, "grid", "available", 0)
	steps(p, 20)
	for _, name := range []string{"voltage_distortion_pct", "sag", "swell", "frequency_excursion"} {
		expect(t, p, "grid", name, 0, 0)
	}
}

// An interruption leaves the plant in the dark, or to what forms an island; a grid that
// comes back while that is not in step is counted.
func TestAGridThatComesBackOutOfStepIsCounted(t *testing.T) {
	t.Parallel()
	p := newIsland(t, steadyLoad)
	set(t, p, "grid", "event_voltage_pct", -96)
	set(t, p, "grid", "event", 1)
	steps(p, 1)
	expect(t, p, "load", "power_kw", 0, 0)
	expect(t, p, "grid", "connected", 0, 0)
	steps(p, 5)
	expect(t, p, "load", "supplied", 1, 0)
	expect(t, p, "grid", "out_of_step_closings", 0, 0) // to a dead bus

	p = newIsland(t, steadyLoad, islandBattery)
	for _, c := range []struct{ frequencyHz, closings float64 }{{50, 0}, {48, 1}} {
		set(t, p, "load", "base_kw", 30)
		set(t, p, "grid", "available", 0)
		steps(p, 600)
		expect(t, p, "battery", "forms_island", 1, 0)
		expect(t, p, "battery", "frequency_hz", 50, 0.1)
		set(t, p, "grid", "frequency_hz", c.frequencyHz)
		set(t, p, "grid", "available", 1)
		steps(p, 20)
		expect(t, p, "grid", "out_of_step_closings", c.closings, 0)
	}
}

// The plant begins at noon. What is bought and sold costs what the hour says.
func TestTariffAndExportLimit(t *testing.T) {
	t.Parallel()
	buy := strings.Repeat("0.2,", 13) + strings.TrimSuffix(strings.Repeat("0.5,", 11), ",")
	sell := strings.TrimSuffix(strings.Repeat("0.1,", 24), ",")
	text := strings.Replace(plantText(steadyLoad, "battery {capacity_kwh: 1000, rated_kw: 200, ramp_kw_per_s: 1000}"), "voltage_noise_pct: 0", "voltage_noise_pct: 0, buy_price_per_kwh: ["+buy+"], sell_price_per_kwh: ["+sell+"]", 1)
	p := New(mustRead(t, text))
	steps(p, 3600)
	expect(t, p, "grid", "price_per_kwh", 0.2, 0)
	expect(t, p, "grid", "cost", 10, 1e-9)
	steps(p, 3600)
	expect(t, p, "grid", "price_per_kwh", 0.5, 0)
	expect(t, p, "grid", "cost", 35, 1e-9)
	set(t, p, "grid", "price_change_per_kwh", 0.1)
	write(t, p, "battery", "power_setpoint_kw", 150)
	steps(p, 1800)
	expect(t, p, "grid", "sell_price_per_kwh", 0.2, 1e-12)
	expect(t, p, "grid", "cost", 25, 1e-9)

	expect(t, p, "grid", "export_limited", 0, 0)
	set(t, p, "grid", "export_limit_kw", 60)
	steps(p, 1)
	expect(t, p, "grid", "export_limit_kw", 60, 0)
	expect(t, p, "grid", "export_limited", 1, 0)
	expect(t, p, "grid", "export_exceeded", 1, 0)
	write(t, p, "battery", "power_setpoint_kw", 110)
	steps(p, 2)
	expect(t, p, "grid", "export_exceeded", 0, 0)
}
