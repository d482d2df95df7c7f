package plant

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/simulators/document"
)

const copiedYAML = `
name: copied
seed: 5
start: 2026-06-21T12:00:00Z
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:5020
copies: 3
port_stride: 10
buses:
  - {id: mv, nominal_voltage_v: 20000}
  - {id: lv, nominal_voltage_v: 400}
devices:
  - {id: grid, type: grid, bus: mv, listen: "127.0.0.1:6000", profile: p.yaml}
  - {id: transformer, type: transformer, between: [mv, lv], listen: "127.0.0.1:6000", unit: 2, profile: p.yaml, parameters: {rated_kva: 200}}
  - {id: load, type: load, bus: lv, listen: "127.0.0.1:6001", profile: p.yaml, parameters: {base_kw: 50, maximum_kw: 100}}
  - {id: meter, type: meter, bus: lv, listen: "/tmp/line", transport: rtu, profile: p.yaml, parameters: {measures: load, accuracy_class: "0.2"}}
`

// Each copy of a site has names, buses and ports of its own, and none knows another.
func TestCopies(t *testing.T) {
	t.Parallel()
	definition := mustRead(t, copiedYAML)
	var got []string
	for _, d := range definition.Devices[4:8] {
		got = append(got, d.ID+" "+d.Bus+" "+d.Listen+" "+d.Refers)
	}
	want := []string{"grid_2 mv_2 127.0.0.1:6010 ", "transformer_2 mv_2 127.0.0.1:6010 ", "load_2 lv_2 127.0.0.1:6011 ", "meter_2 lv_2 /tmp/line_2 load_2"}
	if diff := cmp.Diff(want, got); diff != "" || len(definition.Devices) != 12 || len(definition.Buses) != 6 {
		t.Errorf("%d devices on %d buses: %s", len(definition.Devices), len(definition.Buses), diff)
	}
	p := New(definition)
	set(t, p, "load_2", "base_kw", 90)
	set(t, p, "grid_3", "available", 0)
	steps(p, 3)
	for _, suffix := range []string{"_1", "_2"} {
		served := value(t, p, "load"+suffix, "power_kw")
		expect(t, p, "meter"+suffix, "power_kw", served, 0.005*served)
		expect(t, p, "grid"+suffix, "power_kw", served+value(t, p, "transformer"+suffix, "losses_kw"), 1e-9)
	}
	if one, two := value(t, p, "load_1", "power_kw"), value(t, p, "load_2", "power_kw"); two < 1.5*one || one == 0 {
		t.Errorf("the loads draw %v and %v kW", one, two)
	}
	expect(t, p, "load_3", "supplied", 0, 0)
	expect(t, p, "load_3", "power_kw", 0, 0)

	alone := New(mustRead(t, strings.Replace(copiedYAML, "copies: 3", "copies: 1", 1)))
	steps(alone, 3)
	if one, other := value(t, p, "load_1", "demand_kw"), value(t, alone, "load_1", "demand_kw"); one != other {
		t.Errorf("beside others a load wants %v kW, alone %v", one, other)
	}
}

// What is wrong with the copies is named.
func TestCopiesAreChecked(t *testing.T) {
	t.Parallel()
	for change, want := range map[[2]string]string{
		{"copies: 3", "copies: 0"}:               `:7: key "copies": 0 is out of range: use 1 to 10000`,
		{"copies: 3", "copies: 10001"}:           `:7: key "copies": 10001 is out of range: use 1 to 10000`,
		{"port_stride: 10\n", ""}:                `:2: key "port_stride" is missing`,
		{"copies: 3\n", ""}:                      `:7: key "port_stride" is unknown: known here are`,
		{"port_stride: 10", "port_stride: 1"}:    `:13: key "devices[0].listen": 127.0.0.1:6001 unit 1 is taken by device load_1: use another port or another unit`,
		{"copies: 3", "copies: 7000"}:            `:15: key "devices[2].listen": copy 5955 would listen at port 65541, above 65535: use fewer copies, or a smaller port_stride or port`,
		{"measures: load", "measures: load_1"}:   `:16: key "devices[3].parameters.measures": no device "load_1": there are grid, load, meter, transformer`,
		{"port_stride: 10", "port_stride: 5020"}: "",
	} {
		var faults document.Faults
		text := strings.Replace(copiedYAML, change[0], change[1], 1)
		ReadDefinition("plant.yaml", []byte(text), Addresses{}, &faults)
		err := faults.Err()
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "plant.yaml"+want) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
	if got := len(mustRead(t, strings.Replace(copiedYAML, "copies: 3", "copies: 5000", 1)).Devices); got != 20_000 {
		t.Errorf("%d devices", got)
	}
}
