package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

const drivers = "testdata/drivers"

func measured(id ems.PointID, name, unit string, scale float64, address string) config.MappedPoint {
	made := config.MappedPoint{Point: ems.Point{ID: id, Type: ems.Telemetry, Name: name, Scale: scale, Unit: unit, Group: "default"}}
	if address != "" {
		made.Mapping = config.Mapping{Text: address, Bit: -1}
	}
	return made
}

func TestChannelsWithoutRegistersAreReadWhole(t *testing.T) {
	t.Parallel()
	site, err := config.ReadSite(drivers, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	initial := 50.0
	want := []config.Channel{{
		ID: 2001, Name: "totals", Protocol: "virtual", PollPeriod: time.Second, Timeout: time.Second, Enabled: true,
		Points: []config.MappedPoint{
			measured(1, "outdoor_temperature", "°C", 1, ""), measured(2, "tariff", "€/kWh", 1, ""), measured(3, "wind", "m/s", 1, ""),
			measured(4, "cost", "€/h", 1, ""), measured(5, "power", "kW", 1, ""), measured(6, "reading", "kWh", 1, ""),
			{Point: ems.Point{ID: 1, Type: ems.Adjustment, Name: "limit", Scale: 1, Unit: "kW", Group: "default"}},
		},
		Virtual: config.Virtual{Seed: 7, MaxAge: 5 * time.Minute, Points: map[string]config.VirtualPoint{
			"outdoor_temperature": {Wave: config.Sine, Period: 24 * time.Hour, Amplitude: 8, Offset: 12, Phase: 6 * time.Hour},
			"tariff":              {Wave: config.Steps, Period: 24 * time.Hour, Steps: []config.Step{{Value: 0.21}, {At: 6 * time.Hour, Value: 0.34}}},
			"wind":                {Wave: config.Walk, Period: time.Second, Amplitude: 6, Step: 0.4, Offset: 6},
			"cost":                {Expression: "tariff * power"},
			"power":               {Expression: "2 * limit"},
			"limit":               {Initial: &initial},
		}},
	}, {
		ID: 3001, Name: "chiller", Protocol: "grpc", Address: "unix:/run/chiller.sock",
		PollPeriod: time.Second, Timeout: time.Second, Enabled: true,
		Points: []config.MappedPoint{measured(1, "supply", "°C", 0.001, "temp1_input"), measured(2, "temp2_input", "°C", 0.001, "")},
		GRPC:   config.GRPC{Settings: map[string]string{"folder": "/sys/class/hwmon/hwmon0", "retries": "3"}},
	}}
	if difference := cmp.Diff(want, site.Channels); difference != "" {
		t.Error(difference)
	}
}

// A channel that stands in for a device keeps its address, its settings and its
// mapping tables, so that it becomes that device again by one word.
func TestAVirtualChannelMayStandInForADevice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/channels.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/channels.yaml", []byte(strings.Replace(string(text), "modbus_tcp", "virtual\n    modbus: {retries: 1}\n    serial: {parity: odd}\n    grpc: {settings: {a: b}}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	site, err := config.ReadSite(dir, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	channel := site.Channels[0]
	if channel.Protocol != "virtual" || len(channel.Points) != 4 || channel.Points[0].Mapping != (config.Mapping{}) {
		t.Errorf("%+v", channel)
	}
	if diff := cmp.Diff(config.Modbus{}, channel.Modbus) + cmp.Diff(config.GRPC{}, channel.GRPC); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfChannelsWithoutRegisters(t *testing.T) {
	t.Parallel()
	const virtual = "channels.yaml:10: channels[0].virtual." // the line of outdoor_temperature
	for _, test := range []struct {
		name, file, old, new string
		want                 []string // all of them
	}{
		{"no such point", "channels.yaml", "outdoor_temperature", "outdoor", []string{virtual + "points.outdoor: no point of channel 2001 has this signal_name"}},
		{"unknown key", "channels.yaml", "phase", "phse", []string{`channels.yaml:10: unknown key "phse": check its spelling and indentation`}},
		{"unknown wave", "channels.yaml", "sine", "sinus", []string{virtual + `points.outdoor_temperature.wave: unknown wave "sinus": use one of constant, ramp, sine, square, steps, walk`}},
		{"no period", "channels.yaml", "sine, period: 24h, amplitude: 8, offset: 12, phase: 6h", "sine, amplitude: 8", []string{virtual + "points.outdoor_temperature: wave sine needs period"}},
		{"two sources", "channels.yaml", "wave: sine", "expression: wind, wave: sine", []string{virtual + "points.outdoor_temperature: say where the values come from by one of wave, expression and initial"}},
		{"no source", "channels.yaml", "wave: sine, ", "", []string{virtual + "points.outdoor_temperature: say where the values come from by one of wave, expression and initial"}},
		{"period of no wave", "channels.yaml", "initial: 50", "initial: 50\n          offset: 3", []string{"channels.yaml:25: channels[0].virtual.points.limit.offset: this belongs to a wave"}},
		{"key of another wave", "channels.yaml", "amplitude: 8", "amplitude: 8, step: 2", []string{virtual + "points.outdoor_temperature.step: wave sine has none: it has period, amplitude, offset, phase"}},
		{"not finite", "channels.yaml", "amplitude: 8", "amplitude: .inf", []string{virtual + "points.outdoor_temperature.amplitude: +Inf is not a finite number"}},
		{"initial not finite", "channels.yaml", "initial: 50", "initial: .nan", []string{"channels.yaml:24: channels[0].virtual.points.limit.initial: NaN is not a finite number"}},
		{"short period", "channels.yaml", "period: 24h, amplitude: 8, offset: 12, phase: 6h", "period: 9ms, amplitude: 8", []string{virtual + "points.outdoor_temperature.period: 9ms is not between 10ms and 87600h0m0s"}},
		{"long period", "channels.yaml", "period: 24h, amplitude", "period: 87601h, amplitude", []string{virtual + "points.outdoor_temperature.period: 87601h0m0s is not between 10ms and 87600h0m0s"}},
		{"phase past the period", "channels.yaml", "phase: 6h", "phase: 24h", []string{virtual + "points.outdoor_temperature.phase: 24h0m0s is not from 0s to less than the period of 24h0m0s"}},
		{"wide step", "channels.yaml", "step: 0.4", "step: 12.1", []string{"channels.yaml:18: channels[0].virtual.points.wind.step: 12.1 is not from 0 to twice the amplitude of 6"}},
		{"first step", "channels.yaml", "at: 0s", "at: 1s", []string{"channels.yaml:15: channels[0].virtual.points.tariff.steps[0].at: the first step is at 0s, so that there is always a value"}},
		{"order of steps", "channels.yaml", "at: 6h", "at: 0s", []string{"channels.yaml:16: channels[0].virtual.points.tariff.steps[1].at: 0s is not after the step before"}},
		{"step past the period", "channels.yaml", "at: 6h", "at: 24h", []string{"channels.yaml:16: channels[0].virtual.points.tariff.steps[1].at: 24h0m0s is not within the period of 24h0m0s"}},
		{"step not finite", "channels.yaml", "value: 0.34", "value: -.inf", []string{"channels.yaml:16: channels[0].virtual.points.tariff.steps[1].value: -Inf is not a finite number"}},
		{"expression", "channels.yaml", "2 * limit", "2 * ^", []string{"channels.yaml:22: channels[0].virtual.points.power.expression: byte 5: expected a number, a name, - or (, found '^'"}},
		{"unknown input", "channels.yaml", "2 * limit", "2 * limits", []string{`channels.yaml:22: channels[0].virtual.points.power.expression: no point of channel 2001 has the signal_name "limits"`}},
		{"loop", "channels.yaml", "2 * limit", "limit + cost", []string{"channels.yaml:20: channels[0].virtual.points.cost.expression: the points would be computed from one another without end: cost -> power -> cost"}},
		{"of itself", "channels.yaml", "2 * limit", "power + 1", []string{"channels.yaml:22: channels[0].virtual.points.power.expression: the points would be computed from one another without end: power -> power"}},
		{"generated control", "channels.yaml", "initial: 50", "wave: constant", []string{"channels.yaml:24: channels[0].virtual.points.limit: what is written cannot be generated too: a control or an adjustment has initial or nothing"}},
		{"age", "channels.yaml", "max_age: 5m", "max_age: -5m", []string{"channels.yaml:7: channels[0].virtual.max_age: -5m0s is less than 0"}},
		{"section of another protocol", "channels.yaml", "address: unix:/run/chiller.sock", "address: unix:/run/chiller.sock\n    serial: {parity: odd}", []string{
			"channels.yaml:29: channels[1].serial: the protocol of this channel is grpc: these settings are for protocol modbus_rtu",
		}},
		{"virtual of another protocol", "channels.yaml", "protocol: virtual", "protocol: grpc\n    address: plc:7001", []string{
			"channels.yaml:7: channels[0].virtual: the protocol of this channel is grpc: these settings are for protocol virtual",
		}},
		{"path of a socket", "channels.yaml", "unix:/run", "unix:run", []string{`channels.yaml:28: channels[1].address: "unix:run/chiller.sock": name the socket by its whole path, for example unix:/run/driver.sock`}},
		{"no address", "channels.yaml", "unix:/run/chiller.sock", "chiller", []string{`channels.yaml:28: channels[1].address: "chiller" is not host:port, for example 127.0.0.1:7001`}},
		{"long setting", "channels.yaml", "retries: 3", "retries: " + strings.Repeat("3", 1001), []string{"channels.yaml:32: channels[1].grpc.settings.retries: a setting has a name, and name and value have at most 1000 bytes each"}},
		{"address of no point", "points/3001/telemetry_mapping.csv", "1,temp1_input", "3,temp1_input", []string{"points/3001/telemetry_mapping.csv:2: point_id 3 has no row in points/3001/telemetry.csv"}},
		{"address twice", "points/3001/telemetry_mapping.csv", "1,temp1_input", "1,temp1_input\n1,b", []string{"points/3001/telemetry_mapping.csv:3: point_id 1 stands already in line 2: give each point of a table its own"}},
		{"registers", "points/3001/telemetry_mapping.csv", "point_id,address", "point_id,slave_id", []string{
			`points/3001/telemetry_mapping.csv:1: unknown column "slave_id": the columns are point_id,address`, `points/3001/telemetry_mapping.csv:1: column "address" is missing`,
		}},
		{"what only follows", "points/2001/telemetry.csv", "signal_name", "signal", []string{
			`points/2001/telemetry.csv:1: unknown column "signal": the columns are point_id,signal_name,scale,offset,unit,reverse,data_type, and where wanted deadband,min,max,poll_group,max_step,max_rate,safe_value,select_timeout`,
			`points/2001/telemetry.csv:1: column "signal_name" is missing`,
		}},
		{"long address", "points/3001/telemetry_mapping.csv", "temp1_input", strings.Repeat("x", 201), []string{"points/3001/telemetry_mapping.csv:2: address has 201 bytes, more than the 200 that fit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := test.want[0]
			if len(test.want) > 1 {
				want = fmt.Sprintf("%d faults:\n  %s", len(test.want), strings.Join(test.want, "\n  "))
			}
			if got := spoilt(t, drivers, test.file, test.old, test.new); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestTheChannelsOfTheReadmeWork reads the example as a site that has its points.
func TestTheChannelsOfTheReadmeWork(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(readText(t, "../../README.md"), "## Channels without Modbus\n")
	_, block, _ := strings.Cut(section, "```yaml\n")
	block, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatalf("no example in %q", section)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/points/2001", 0o750); err != nil {
		t.Fatal(err)
	}
	table := "point_id,signal_name,scale,offset,unit,reverse,data_type\n"
	for i, name := range []string{"outdoor", "tariff", "wind", "net_power", "pv_power", "load_power"} {
		table += fmt.Sprintf("%d,%s,1,0,,0,\n", i+1, name)
	}
	for file, text := range map[string]string{
		"site.yaml": "site: {name: readme}", "channels.yaml": block, "points/2001/telemetry.csv": table,
		"points/2001/adjustment.csv": "point_id,signal_name,scale,offset,unit,reverse,data_type\n1,export_limit,1,0,,0,\n",
	} {
		if err := os.WriteFile(dir+"/"+file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site, err := config.ReadSite(dir, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	if got := len(site.Channels[0].Virtual.Points); got != 5 || site.Channels[1].GRPC.Settings["folder"] == "" {
		t.Errorf("%d points, settings %v", got, site.Channels[1].GRPC.Settings)
	}
}

// FuzzVirtual: whatever stands in the section of a virtual channel is taken or
// refused, and what is taken names points of the channel alone.
func FuzzVirtual(f *testing.F) {
	text, err := os.ReadFile(drivers + "/channels.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("channels: [{id: 2001, name: a, protocol: virtual, virtual: &v {points: {wind: {wave: walk, period: 1s, step: 1, amplitude: 1}}}}]")
	f.Add("channels: [{id: 2001, name: a, protocol: virtual, virtual: {points: {wind: {expression: wind}, cost: null}}}]")
	dir := f.TempDir()
	if err := os.CopyFS(dir, os.DirFS(drivers)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(dir+"/channels.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		site, err := config.ReadSite(dir, nil, protocols())
		if err != nil {
			return
		}
		for _, channel := range site.Channels {
			names := map[string]bool{}
			for _, point := range channel.Points {
				names[point.Name] = true
			}
			for name := range channel.Virtual.Points {
				if !names[name] {
					t.Fatalf("%q was accepted, and channel %d has no such point", name, channel.ID)
				}
			}
		}
	})
}
