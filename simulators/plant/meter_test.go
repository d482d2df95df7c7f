package plant

import (
	"math"
	"strings"
	"testing"
)

const meterLine = `  - {id: meter, type: meter, bus: lv, listen: "127.0.0.1:0", profile: p.yaml, parameters: {measures: transformer}}
`

// newMetered builds the station with a meter of these parameters.
func newMetered(t testing.TB, parameters string, changes ...string) *Plant {
	t.Helper()
	last := `  - {id: battery,`
	return newStation(t, append([]string{last, strings.Replace(meterLine, "measures: transformer", parameters, 1) + last}, changes...)...)
}

// A meter is wrong by what its class allows: by the same part always, and a little more
// or less each time.
func TestAMeterKeepsToItsClass(t *testing.T) {
	t.Parallel()
	gains := map[float64]bool{}
	for class, most := range map[string]float64{"0.2": 0.002, "0.5": 0.005, "1": 0.01} {
		p := newMetered(t, "measures: transformer, accuracy_class: "+class)
		steps(p, 3)
		gain := p.member("meter").device.(*meter).Gain
		sum, least, greatest := 0.0, 1e9, 0.0
		for range 2000 {
			steps(p, 1)
			part := value(t, p, "meter", "power_kw")/800 - 1
			sum, least, greatest = sum+part, min(least, part), max(greatest, part)
		}
		if gain == 0 || math.Abs(gain) > most || gains[gain] {
			t.Errorf("class %s: gain %v", class, gain)
		}
		gains[gain] = true
		near(t, "mean error", sum/2000, gain, most/100)
		if spread := greatest - least; spread < 0.4*most || spread > 1.2*most {
			t.Errorf("class %s wavers by %v", class, spread)
		}
		expect(t, p, "meter", "voltage_v", value(t, p, "transformer", "voltage_to_v"), 400*most)
		expect(t, p, "meter", "frequency_hz", 50, 0)
	}
}

func TestAMeterTellsTheDirection(t *testing.T) {
	t.Parallel()
	for measures, want := range map[string][2]float64{"grid": {800, 600}, "transformer": {800, 600}, "load": {800, 600}, "battery": {0, 0}} {
		p := newMetered(t, "accuracy_class: 0.2, measures: "+measures, "power_factor: 1", "power_factor: 0.8")
		steps(p, 3)
		expect(t, p, "meter", "power_kw", want[0], 0.02*800)
		expect(t, p, "meter", "reactive_power_kvar", want[1], 150)
	}
	p := newMetered(t, "measures: transformer, accuracy_class: 0.2", "power_factor: 1", "power_factor: 0.8")
	steps(p, 3600)
	expect(t, p, "meter", "energy_imported_kwh", 800, 2)
	expect(t, p, "meter", "energy_exported_kwh", 0, 0)
	expect(t, p, "meter", "reactive_energy_q1_kvarh", 600, 2)
	expect(t, p, "meter", "power_factor", 0.8, 1e-3)
	set(t, p, "meter", "ct_reversed", 1)
	steps(p, 1800)
	expect(t, p, "meter", "power_kw", -800, 4)
	expect(t, p, "meter", "exporting", 1, 0)
	expect(t, p, "meter", "energy_exported_kwh", 400, 1)
	expect(t, p, "meter", "reactive_energy_q3_kvarh", 300, 1)
	expect(t, p, "meter", "reactive_energy_exported_kvarh", 300, 1)
	set(t, p, "meter", "ct_reversed", 0)
	write(t, p, "battery", "power_setpoint_kw", 1000)
	steps(p, 1800)
	expect(t, p, "meter", "power_kw", -200, 2)
	expect(t, p, "meter", "reactive_energy_q2_kvarh", 300, 2)
	expect(t, p, "meter", "reactive_energy_imported_kvarh", 900, 3)
	expect(t, p, "meter", "energy_imported_kwh", 800, 2) // what it has counted stays
	write(t, p, "meter", "ct_primary_a", 800)
	steps(p, 1)
	expect(t, p, "meter", "power_kw", -400, 3) // told of other transformers than there are
	expect(t, p, "meter", "ct_ratio", 160, 0)
}

func TestAMeterShowsItsPhases(t *testing.T) {
	t.Parallel()
	p := newMetered(t, "measures: load, accuracy_class: 0.2, current_imbalance_pct: 10, voltage_imbalance_pct: 2")
	steps(p, 3)
	voltage, current := value(t, p, "meter", "voltage_v"), value(t, p, "meter", "current_a")
	expect(t, p, "meter", "voltage_l1_v", voltage/math.Sqrt(3)*1.02, 1e-9)
	expect(t, p, "meter", "voltage_l31_v", voltage/math.Sqrt(3)*math.Sqrt(0.98*0.98+1.02*1.02+0.98*1.02), 1e-9)
	expect(t, p, "meter", "current_l1_a", current*1.1, 1e-9)
	expect(t, p, "meter", "current_l3_a", current*0.9, 1e-9)
	expect(t, p, "meter", "current_n_a", current*0.1*math.Sqrt(3), 1e-9)
	expect(t, p, "meter", "power_l1_kw", value(t, p, "meter", "power_kw")*1.1*1.02/3.004, 1e-9)
	sum := value(t, p, "meter", "power_l1_kw") + value(t, p, "meter", "power_l2_kw") + value(t, p, "meter", "power_l3_kw")
	expect(t, p, "meter", "power_kw", sum, 1e-9)
}

// The plant begins at noon: demand is that of quarters of the clock.
func TestDemandIsTheMeanOfAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	p := newMetered(t, "measures: load, accuracy_class: 0.2")
	steps(p, 450)
	expect(t, p, "meter", "demand_present_kw", 800, 2)
	set(t, p, "load", "base_kw", 400)
	steps(p, 449)
	expect(t, p, "meter", "demand_kw", 0, 0)
	steps(p, 1)
	expect(t, p, "meter", "demand_kw", 600, 1)
	expect(t, p, "meter", "demand_peak_kw", 600, 1)
	steps(p, 900)
	expect(t, p, "meter", "demand_kw", 400, 1)
	expect(t, p, "meter", "demand_peak_kw", 600, 1)
	write(t, p, "meter", "reset_peak_demand", 1)
	steps(p, 1)
	expect(t, p, "meter", "demand_peak_kw", 0, 0)
	steps(p, 899)
	expect(t, p, "meter", "demand_peak_kw", 400, 1) // the control that stays resets nothing more
}

func TestRegistersRollOver(t *testing.T) {
	t.Parallel()
	p := newMetered(t, "measures: load, register_digits: 4", "step: 1s", "step: 10s")
	steps(p, 360*12)
	expect(t, p, "meter", "energy_imported_kwh", 9600, 50)
	steps(p, 360)
	expect(t, p, "meter", "energy_imported_kwh", 400, 52)
}

func TestWhatIsMeasuredMustBeThere(t *testing.T) {
	t.Parallel()
	got := faultsOf(strings.Replace(stationYAML+meterLine, "measures: transformer", "measures: roof", 1), Addresses{})
	want := `plant.yaml:16: key "devices[4].parameters.measures": no device "roof": there are battery, grid, load, meter, transformer`
	if len(got) != 1 || got[0] != want {
		t.Errorf("%v, want %s", got, want)
	}
}
