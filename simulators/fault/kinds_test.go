package fault

import (
	"slices"
	"testing"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/plant"
)

const plantYAML = `
name: everything
seed: 1
start: 2026-06-21T11:00:00Z
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:0
buses:
  - {id: mv, nominal_voltage_v: 20000}
  - {id: lv, nominal_voltage_v: 400}
  - {id: hall, nominal_voltage_v: 400}
  - {id: stand, nominal_voltage_v: 400}
  - {id: critical, nominal_voltage_v: 400}
devices:
  - {id: grid, type: grid, bus: mv, listen: "127.0.0.1:0", profile: p.yaml}
  - {id: transformer, type: transformer, between: [mv, lv], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_kva: 500}}
  - {id: breaker, type: breaker, between: [lv, hall], listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_current_a: 400}}
  - {id: pv, type: pv, bus: hall, listen: "127.0.0.1:0", profile: p.yaml, parameters: {dc_rated_kw: 100, inverter_rated_kw: 90}}
  - {id: battery, type: battery, bus: hall, listen: "127.0.0.1:0", profile: p.yaml, parameters: {capacity_kwh: 100, rated_kw: 50}}
  - {id: load, type: load, bus: hall, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 10, maximum_kw: 40}}
  - {id: genset, type: genset, bus: stand, listen: "127.0.0.1:0", profile: p.yaml, parameters: {rated_kw: 50, fuel_tank_l: 100}}
  - {id: transfer_switch, type: transfer_switch, between: [hall, stand], bus: critical, listen: "127.0.0.1:0", profile: p.yaml}
  - {id: meter, type: meter, bus: hall, listen: "127.0.0.1:0", profile: p.yaml, parameters: {measures: breaker}}
  - {id: weather_station, type: weather_station, bus: hall, listen: "127.0.0.1:0", profile: p.yaml}
  - {id: essential, type: load, bus: critical, listen: "127.0.0.1:0", profile: p.yaml, parameters: {base_kw: 5, maximum_kw: 10}}
`

// Every kind names inputs that its devices have, with an amount that they take.
func TestMachineKindsFitTheirDevices(t *testing.T) {
	t.Parallel()
	var faults document.Faults
	definition := plant.ReadDefinition("plant.yaml", []byte(plantYAML), plant.Addresses{}, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	p := plant.New(definition)
	for _, kind := range machineKinds() {
		for of, input := range kind.inputs {
			i := slices.IndexFunc(p.Inputs(of), func(one plant.Setting) bool { return one.Name == input })
			if i < 0 {
				t.Errorf("%s: a %s has no input %s", kind.name, of, input)
				continue
			}
			if one := p.Inputs(of)[i]; !one.Accepts(kind.amount) || one.Initial == kind.amount {
				t.Errorf("%s: %s of a %s cannot be %v, or is so already", kind.name, input, of, kind.amount)
			}
		}
	}
	names := map[string]bool{}
	for _, kind := range Kinds() {
		if names[kind.Name] || kind.Does == "" || kind.Group == "" {
			t.Errorf("%+v stands twice, or says too little", kind)
		}
		names[kind.Name] = true
	}
}
