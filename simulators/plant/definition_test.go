package plant

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/voltageems/voltageems-go/simulators/document"
)

func faultsOf(text string, addresses Addresses) []string {
	var faults document.Faults
	ReadDefinition("plant.yaml", []byte(text), addresses, &faults)
	if err := faults.Err(); err != nil {
		return strings.Split(err.Error(), "\n")
	}
	return nil
}

func TestEveryFaultOfADefinitionAtOnce(t *testing.T) {
	t.Parallel()
	const text = `name: test
seed: -1
start: yesterday
step: 1ns
location: {latitude_deg: 91, longitude_deg: 0, height: 3}
control: 0.0.0.0:5021
colour: red
devices:
  - {id: pv, type: pv, listen: "127.0.0.1:5021", profile: p.yaml, parameters: {dc_rated_kw: 0, inverter_rated_kw: 100, wind: 3}}
  - {id: pv, type: wind, listen: "127.0.0.1:5022", profile: p.yaml}
  - {id: Battery, type: battery, listen: "127.0.0.1", profile: ../p.yaml}
  - {id: load, type: load, listen: "127.0.0.1:5023", profile: p.yaml, parameters: {base_kw: 3, maximum_kw: 2}}
  - id: other
    type: load
    listen: "127.0.0.1:5023"
    unit: 248
    profile: p.yaml
    parameters: {base_kw: 1, maximum_kw: 2, hourly_pct: [1, 2]}
  - {id: third, type: genset, listen: "127.0.0.1:5023", profile: p.yaml, parameters: {rated_kw: 10, fuel_tank_l: 10}}
`
	want := []string{
		`plant.yaml:2: key "seed": -1 is out of range: use 0 to 9007199254740992`,
		`plant.yaml:3: key "start": "yesterday" is not a time: write it as 2026-06-21T11:00:00Z`,
		`plant.yaml:4: key "step": "1ns" is not a step: use whole milliseconds from 1ms to 10s, for example 100ms`,
		`plant.yaml:5: key "location.latitude_deg": 91 is out of range: use -90 to 90`,
		`plant.yaml:5: key "location.height" is unknown: known here are latitude_deg, longitude_deg`,
		`plant.yaml:6: key "control": "0.0.0.0:5021" is not on loopback: the control API asks for no password, use 127.0.0.1`,
		`plant.yaml:7: key "colour" is unknown: known here are buses, control, copies, description, devices, location, name, nominal_frequency_hz, seed, start, step`,
		`plant.yaml:9: key "devices[0].parameters.dc_rated_kw": 0 is out of range: use 0.1 to 100000`,
		`plant.yaml:9: key "devices[0].parameters.wind" is unknown: known here are albedo, ambient_temperature_c, apparent_power_kva, azimuth_deg, cloud_cover_pct, dc_rated_kw, dc_voltage_v, inverter_efficiency_pct, inverter_rated_kw, night_consumption_kw, over_frequency_dead_band_hz, over_frequency_droop_pct, over_frequency_response_s, priority, reactive_power_max_pct, reconnect_ramp_s, reconnect_s, temperature_coefficient_pct_per_c, tilt_deg, weather, wind_speed_m_per_s`,
		`plant.yaml:9: key "devices[0].listen": 127.0.0.1:5021 is taken by the control API: use another port`,
		`plant.yaml:10: key "devices[1].type": "wind" is unknown: use one of battery, breaker, ev_charger, genset, grid, load, meter, pv, transfer_switch, transformer, weather_station`,
		`plant.yaml:10: key "devices[1].id": "pv" stands twice: give each device its own`,
		`plant.yaml:11: key "devices[2].id": "Battery" is not a name: use lower-case letters, digits and _, beginning with a letter`,
		`plant.yaml:11: key "devices[2].profile": "../p.yaml" leads out of the plant's folder`,
		`plant.yaml:11: key "devices[2].parameters.capacity_kwh" is missing`,
		`plant.yaml:11: key "devices[2].parameters.rated_kw" is missing`,
		`plant.yaml:11: key "devices[2].listen": "127.0.0.1" is not an address: write it as 127.0.0.1:5021`,
		`plant.yaml:12: key "devices[3].parameters.base_kw": 3 is above maximum_kw (2)`,
		`plant.yaml:16: key "devices[4].unit": 248 is out of range: use 1 to 247`,
		`plant.yaml:18: key "devices[4].parameters.hourly_pct": must be a list of 24 numbers`,
		`plant.yaml:19: key "devices[5].listen": 127.0.0.1:5023 unit 1 is taken by device load: use another port or another unit`,
	}
	if diff := cmp.Diff(want, faultsOf(text, Addresses{})); diff != "" {
		t.Error(diff)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(microgridYAML, 1)
	cases := map[string]struct {
		addresses Addresses
		want      []string
	}{
		"none": {},
		"replaced": {
			addresses: Addresses{Listen: map[string]string{"pv": "127.0.0.1:0", "grid": "127.0.0.1:0"}, Control: "localhost:0"},
		},
		"unknown device": {
			addresses: Addresses{Listen: map[string]string{"wind": "127.0.0.1:1"}},
			want:      []string{`plant.yaml:8: key "devices": no device "wind" to give another address: there are battery, genset, grid, load, pv`},
		},
		"replaced into a clash": {
			addresses: Addresses{Listen: map[string]string{"grid": ":5021"}},
			want:      []string{`plant.yaml:13: key "devices[4].listen": :5021 unit 1 is taken by device pv: use another port or another unit`},
		},
		"control abroad": {
			addresses: Addresses{Control: "10.0.0.1:80"},
			want:      []string{`plant.yaml:7: key "control": "10.0.0.1:80" is not on loopback: the control API asks for no password, use 127.0.0.1`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, faultsOf(text, c.addresses)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFreeAddresses(t *testing.T) {
	t.Parallel()
	var faults document.Faults
	definition := ReadDefinition("plant.yaml", fmt.Appendf(nil, microgridYAML, 1), Addresses{Free: true, Listen: map[string]string{"pv": "127.0.0.1:7777"}}, &faults)
	got := []string{definition.Control}
	for _, one := range definition.Devices {
		got = append(got, one.ID+" "+one.Listen)
	}
	want := []string{"127.0.0.1:0", "pv 127.0.0.1:7777", "battery 127.0.0.1:0", "genset 127.0.0.1:0", "load 127.0.0.1:0", "grid 127.0.0.1:0"}
	if diff := cmp.Diff(want, got); diff != "" || faults.Err() != nil {
		t.Error(diff, faults.Err())
	}
}

func TestUnitsShareAPort(t *testing.T) {
	t.Parallel()
	text := strings.Replace(fmt.Sprintf(microgridYAML, 1), `listen: "127.0.0.1:5022"`, `unit: 2, listen: "127.0.0.1:5021"`, 1)
	if got := faultsOf(text, Addresses{}); got != nil {
		t.Error(got)
	}
	text = strings.Replace(text, `unit: 2, listen: "127.0.0.1:5021"`, `unit: 2, listen: "0.0.0.0:5021"`, 1)
	want := []string{`plant.yaml:10: key "devices[1].listen": 0.0.0.0:5021 overlaps the address of device pv: units that share a port name the same host`}
	if diff := cmp.Diff(want, faultsOf(text, Addresses{})); diff != "" {
		t.Error(diff)
	}
}

// FuzzReadDefinition shows that whatever is accepted can be run.
func FuzzReadDefinition(f *testing.F) {
	f.Add(fmt.Appendf(nil, microgridYAML, 1))
	f.Add([]byte(campusYAML))
	f.Add([]byte("devices: [{type: grid}]"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var faults document.Faults
		definition := ReadDefinition("plant.yaml", data, Addresses{}, &faults)
		if faults.Err() != nil {
			return
		}
		p := New(definition)
		for range 3 {
			p.Step(definition.Start)
		}
	})
}

// The hours of a plant follow the offset of its start, and not the summer time of the
// machine that it runs on.
func TestTheZoneOfTheMachineHasNoInfluence(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Local
	defer func() { time.Local = before }()
	time.Local = berlin
	p := New(mustRead(t, strings.Replace(plantText(steadyLoad), "start: 2026-06-21T12:00:00Z", "start: 2026-03-29T00:00:00+01:00", 1)))
	if got := p.definition.Start.Add(6 * time.Hour).Format(time.RFC3339); got != "2026-03-29T06:00:00+01:00" {
		t.Errorf("six hours later it is %s", got)
	}
}

// Every parameter of every type says what it is, and stands once unless a choice changes it.
func TestParametersAreDescribed(t *testing.T) {
	t.Parallel()
	count := 0
	for _, kind := range Kinds() {
		always := map[string]bool{}
		for _, one := range kind.Parameters() {
			count++
			if one.About == "" || one.Allowed == "" {
				t.Errorf("%s: %+v", kind.Name, one)
			}
			if always[one.Key] && one.When == "" {
				t.Errorf("%s: %s twice", kind.Name, one.Key)
			}
			always[one.Key] = true
		}
		if kind.About == "" {
			t.Errorf("nothing says what a %s is", kind.Name)
		}
	}
	if count < 150 {
		t.Errorf("only %d parameters", count)
	}
}
