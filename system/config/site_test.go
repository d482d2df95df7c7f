package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

const sound = "testdata/site"

func protocols() []string {
	return []string{"grpc", "modbus_rtu", "modbus_rtu_over_tcp", "modbus_tcp", "modbus_tls", "virtual"}
}

func TestASoundSiteIsReadWhole(t *testing.T) {
	site, err := config.ReadSite(sound, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	least, most := -50.0, 50.0
	want := []config.Channel{{
		ID: 1001, Name: "battery", Protocol: "modbus_tcp", Address: "127.0.0.1:5022",
		PollPeriod: 500 * time.Millisecond, Timeout: 400 * time.Millisecond, Enabled: true, Modbus: config.Modbus{Reads: config.Reads{}.OrDefault()},
		Points: []config.MappedPoint{
			{
				Point:   ems.Point{ID: 1, Type: ems.Telemetry, Name: "state_of_charge", Scale: 0.1, Unit: "%", Group: "default", Deadband: 0.5},
				Mapping: config.Mapping{Unit: 1, Function: 3, Address: 10, DataType: config.Uint16, ByteOrder: "AB", Bit: -1},
			},
			{
				Point:   ems.Point{ID: 2, Type: ems.Telemetry, Name: "cell_temperature", Scale: 0.1, Offset: -40, Unit: "°C", Group: "default"},
				Mapping: config.Mapping{Unit: 1, Function: 4, Address: 11, DataType: config.Int32, ByteOrder: "CDAB", Bit: -1},
			},
			{
				Point:   ems.Point{ID: 1, Type: ems.Signal, Name: "fault", Scale: 1, Reverse: true, Group: "default"},
				Mapping: config.Mapping{Unit: 1, Function: 3, Address: 20, DataType: config.Bool, ByteOrder: "AB", Bit: 15},
			},
			{
				Point:   ems.Point{ID: 1, Type: ems.Adjustment, Name: "power_setpoint", Scale: 0.1, Unit: "kW", Group: "default", Min: &least, Max: &most},
				Mapping: config.Mapping{Unit: 1, Function: 16, Address: 100, DataType: config.Float32, ByteOrder: "ABCD", Bit: -1},
			},
		},
	}}
	if difference := cmp.Diff(want, site.Channels); difference != "" {
		t.Error(difference)
	}
	if site.Name != "north" || site.Namespace != "{north}:" {
		t.Errorf("site %q in namespace %q", site.Name, site.Namespace)
	}
	if len(site.Rules) != 2 || site.Rules[0].ID != "hot" || site.Rules[1].ID != "rule_001" || site.Rules[1].Conditions[0].Value.Number != 80 {
		t.Errorf("rules %+v", site.Rules)
	}
	if len(site.Models) != 1 || site.Models[0].Mapping.Data["soc"] != "1" || site.Models[0].Mapping.Action["power"] != "A:1" {
		t.Errorf("models %+v", site.Models)
	}
	wantFields := map[ems.PointID]string{1: "state_of_charge", 2: "hottest_cell"}
	if difference := cmp.Diff(wantFields, site.History[0].Fields); difference != "" {
		t.Error(difference)
	}
	if site.Retention != (config.AlarmRetention{MaxAge: 24 * time.Hour, MaxCount: 50}) {
		t.Errorf("retention %+v", site.Retention)
	}
	wantForward := config.Forward{Enabled: true, Target: "https://cloud.example/ingest", Notify: []config.NotifyTarget{
		{
			Name: "control_room", URL: "https://alerts.example/site", Levels: []ems.AlarmLevel{ems.Critical, ems.Major},
			Kinds: []string{ems.NotifyAlarm, ems.NotifySummary}, Timeout: 5 * time.Second, GiveUpAfter: 48 * time.Hour,
		},
		{Name: "duty", Log: true, To: []string{"shift lead"}, Timeout: 10 * time.Second, GiveUpAfter: 24 * time.Hour},
	}}
	if difference := cmp.Diff(wantForward, site.Forward); difference != "" {
		t.Error(difference)
	}
}

func TestTheEnvironmentOverridesAddressAndNamespace(t *testing.T) {
	site, err := config.ReadSite(sound, []string{"COMSRV_CHANNEL_1001_ADDRESS=10.0.0.7:502", "VOLTAGE_SITE_NAMESPACE=south"}, protocols())
	if err != nil {
		t.Fatal(err)
	}
	if site.Channels[0].Address != "10.0.0.7:502" || site.Namespace != "{south}:" {
		t.Errorf("address %s, namespace %s", site.Channels[0].Address, site.Namespace)
	}
}

// Each case spoils one place of the sound site; the error must name exactly
// that place.
func TestEveryFaultNamesFileLineAndRemedy(t *testing.T) {
	for _, test := range []struct {
		name, file, old, new string
		want                 []string
	}{
		{"unknown key", "channels.yaml", "poll_period", "pol_period", []string{`channels.yaml:6: unknown key "pol_period"`}},
		{"wrong type", "channels.yaml", "id: 1001", "id: many", []string{`channels.yaml:2: channels[0].id: "many" where a whole number from 0 to 4294967295 is expected`}},
		{"fraction", "channels.yaml", "id: 1001", "id: 1001.5", []string{"channels.yaml:2: 1001.5 is not a whole number"}},
		{"text of a type", "templates/battery.yaml", "name: power", "type: X", []string{`templates/battery.yaml:7: unknown point type "X": use T (telemetry)`}},
		{"conditions of themselves", "rules.yaml", "conditions:\n      - source: comsrv:1001:T:2\n        operator: \">\"\n        value: 55", "conditions: &all\n      - logic: OR\n        conditions: *all", []string{
			"rules.yaml:6: rules[0].conditions[0].conditions: *all repeats what it stands in itself, without end",
		}},
		{"rule that repeats itself", "rules.yaml", "- id: hot", "- &hot\n    <<: *hot\n    id: hot", []string{"rules.yaml:3: rules[0].<<: *hot repeats what it stands in itself, without end"}},
		{"alias of itself", "models.yaml", "models:", "models: &all\n  - *all", []string{"models.yaml:2: models[0]: *all repeats what it stands in itself, without end"}},
		{"two documents", "rules.yaml", "rules:", "rules: []\n---\nrules:", []string{"rules.yaml:2: a second YAML document: put everything into one"}},
		{"key and type", "channels.yaml", "poll_period: 500ms", "poll_periood: x\n    enabled: 7", []string{`channels.yaml:6: unknown key "poll_periood"`, `channels.yaml:7: channels[0].enabled: "7" where true or false is expected`}},
		{"NUL", "rules.yaml", "rules:", "rules:\n # \x00", []string{"rules.yaml:2: column 4: a NUL byte: this is not a text file"}},
		{"not YAML", "rules.yaml", "rules:", "rules: [", []string{"rules.yaml:"}},
		{"no driver", "channels.yaml", "modbus_tcp", "profibus", []string{`channels.yaml:4: channels[0].protocol: no driver for "profibus": use one of grpc, modbus_rtu, modbus_rtu_over_tcp, modbus_tcp, modbus_tls, virtual`}},
		{"address", "channels.yaml", "127.0.0.1:5022", "here", []string{`channels.yaml:5: channels[0].address: "here" is not host:port`}},
		{"no host", "channels.yaml", "127.0.0.1:5022", ":502", []string{`channels.yaml:5: channels[0].address: ":502" is not host:port`}},
		{"port by name", "channels.yaml", "127.0.0.1:5022", "plc:abc", []string{`channels.yaml:5: channels[0].address: port "abc" is not a number from 1 to 65535`}},
		{"port too large", "channels.yaml", "127.0.0.1:5022", "plc:99999", []string{`channels.yaml:5: channels[0].address: port "99999" is not a number from 1 to 65535`}},
		{"port 0", "channels.yaml", "127.0.0.1:5022", "plc:0", []string{`channels.yaml:5: channels[0].address: port "0" is not a number from 1 to 65535`}},
		{"timeout", "channels.yaml", "400ms", "600ms", []string{"channels.yaml:7: channels[0].timeout: 600ms is not between 1ms and the shortest poll period of 500ms"}},
		{"template name", "models.yaml", "soc: 1", "charge: 1", []string{`models.yaml:7: models[0].mapping.data.charge: the template has no "charge"`}},
		{"model point", "models.yaml", "soc: 1", "soc: 9", []string{"models.yaml:7: models[0].mapping.data.soc: the site has no point comsrv:1001:T:9"}},
		{"action reads", "models.yaml", "A:1", "T:1", []string{"models.yaml:9: models[0].mapping.action.power: T:1 cannot be written"}},
		{"no template", "models.yaml", "template: battery", "template: tank", []string{`models.yaml:3: models[0].template: no template "tank"`}},
		{"rule source", "rules.yaml", "comsrv:1001:T:2", "comsrv:1001:T:9", []string{"rules.yaml:5: rules[0].conditions[0].source: no point comsrv:1001:T:9 in this site (rule hot)"}},
		{"rule operator", "rules.yaml", `operator: ">"`, `operator: "=>"`, []string{`rules.yaml:6: rules[0].conditions[0].operator: unknown operator "=>"`}},
		{"rule value", "rules.yaml", "value: 55", "value: .nan", []string{"rules.yaml:7: rules[0].conditions[0].value: NaN is not a finite number (rule hot)"}},
		{"rule action", "rules.yaml", "create_alarm", "ring_bell", []string{`rules.yaml:9: rules[0].actions[0].type: unknown action "ring_bell"`}},
		{"alarm level", "rules.yaml", "level: Critical", "level: Awful", []string{`rules.yaml:11: rules[0].actions[0].params.level: unknown alarm level "Awful"`}},
		{"rule text for a number", "rules.yaml", "value: 55", "value: fifty", []string{`rules.yaml:7: rules[0].conditions[0].value: "fifty" is neither a number nor a list of numbers`}},
		{"rule of a model that is not", "rules.yaml", "comsrv:1001:T:2", "modsrv:tank:level", []string{`rules.yaml:5: rules[0].conditions[0].source: no model "tank" in this site`}},
		{"rule of a name that is not", "rules.yaml", "comsrv:1001:T:2", "modsrv:battery_001:level", []string{`rules.yaml:5: rules[0].conditions[0].source: model "battery_001" has no data and no computed value "level"`}},
		{"rule source of a kind", "rules.yaml", "comsrv:1001:T:2", "gps:1", []string{`rules.yaml:5: rules[0].conditions[0].source: unknown source "gps:1": write comsrv:`}},
		{"rule id of the API", "rules.yaml", "id: hot", "id: export", []string{`rules.yaml:2: rules[0].id: rule id "export" is a word of the API, /api/rules/export: take another`}},
		{"rule key", "rules.yaml", "name: Too hot", "hysterisis: 1", []string{`rules.yaml:3: unknown key "hysterisis": check its spelling`}},
		{"rule delay", "rules.yaml", "name: Too hot", "on_delay: 10", []string{`rules.yaml:3: rules[0].on_delay: "10" is not a duration: write a length of time from 0s to 24h0m0s`}},
		{"rule schedule", "rules.yaml", "name: Too hot", "schedule: {time_zone: Europe/Berlln, days: [mon, someday], from: \"8\", to: \"18:00\"}", []string{
			`rules.yaml:3: rules[0].schedule.time_zone: unknown time zone "Europe/Berlln"`, `rules.yaml:3: rules[0].schedule.days[1]: unknown day "someday"`,
			`rules.yaml:3: rules[0].schedule.from: "8" is not a time of the day`,
		}},
		{"rule command beyond the limits", "rules.yaml", "type: create_alarm\n        params:\n          level: Critical\n          title: Cell temperature high", "type: control\n        params:\n          target: comsrv:1001:A:1\n          value: 50.5", []string{
			"rules.yaml:12: rules[0].actions[0].params.value: 50.5 is above the greatest value of battery_001.power, 50 kW (rule hot)",
		}},
		{"rule that feeds itself", "rules.yaml", "type: create_alarm\n        params:\n          level: Critical\n          title: Cell temperature high",
			"type: set_value\n        params: {name: a, value: 1}\n  - {id: b, name: b, conditions: [{source: custom:a, operator: changed}], actions: [{type: set_value, params: {name: c, value: 1}}]}\n" +
				"  - {id: c, name: c, conditions: [{source: custom:c, operator: changed}], actions: [{type: set_value, params: {name: a, value: 2}}]}", []string{
				"rules.yaml:11: rules[1]: rules would set off one another without end: b (line 11) -> c (line 12) -> b (line 11)",
			}},
		{"history source", "history.yaml", "comsrv:1001:T", "comsrv:7:T", []string{"history.yaml:3: mappings[0].source: no channel 7"}},
		{"history field", "history.yaml", "hottest_cell", "time", []string{`history.yaml:2: mappings[0]: field "time" is a name that InfluxDB keeps`}},
		{"retention", "alarms.yaml", "24h", "1s", []string{"alarms.yaml:2: retention.max_age: 1s is below one minute"}},
		{"forward", "forward.yaml", "https://", "ftp://", []string{`forward.yaml:2: target: "ftp://cloud.example/ingest" is not a URL of the form http://`}},
		{"nobody to escalate to", "alarms.yaml", "notify: shift lead", "notify: night shift", []string{`alarms.yaml:5: escalation[0].notify: nobody is told as "night shift": make it the name of a target under notify in forward.yaml`}},
		{"nobody to notify", "rules.yaml", "to: control_room", "to: duti", []string{`rules.yaml:26: rule.actions[1].params.to: nobody is told as "duti": make it the name of a target`}},
		{"notify to nobody", "rules.yaml", "to: control_room", `to: ""`, []string{`rules.yaml:26: rule.actions[1].params.to: it is empty`}},
		{"a time", "channels.yaml", "poll_period: 500ms", "poll_period: fast", []string{`channels[0].poll_period: "fast" where a time with its unit (500ms, 60s, 24h) is expected`}},
		{"list for a text", "channels.yaml", "name: battery", "name: [a]", []string{"channels.yaml:3: channels[0].name: a list where a text is expected"}},
		{"namespace", "site.yaml", "namespace: north", "namespace: no/rth", []string{`site.yaml:3: site.namespace: namespace "no/rth" has an unusable character '/'`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, filepath.FromSlash(test.file))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoilt := strings.Replace(string(text), test.old, test.new, 1)
			if spoilt == string(text) {
				t.Fatalf("%q does not stand in %s", test.old, test.file)
			}
			if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = config.ReadSite(dir, nil, protocols())
			if ems.CodeOf(err) != ems.CodeInvalid {
				t.Fatalf("got %v, want INVALID", err)
			}
			var coded *ems.Error
			if !errors.As(err, &coded) {
				t.Fatalf("%T carries no details", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got:\n%v\nwant: %s", err, want)
				}
			}
		})
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/bad")); err != nil {
		t.Fatal(err)
	}
	_, err := config.ReadSite(dir, nil, protocols())
	golden, readErr := os.ReadFile("testdata/bad.txt")
	if readErr != nil {
		t.Fatal(readErr)
	}
	if err == nil || err.Error()+"\n" != string(golden) {
		t.Errorf("got:\n%v\nwant:\n%s", err, golden)
	}
}

// A table that is itself at fault must not drown its one fault in references
// that lead nowhere.
func TestWhatOnlyFollowsFromAnotherFaultIsNotTold(t *testing.T) {
	for file, misspelt := range map[string][2]string{
		"channels.yaml":             {"poll_period", "poll_periood"},
		"points/1001/telemetry.csv": {"signal_name", "signal"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(file))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), misspelt[0], misspelt[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = config.ReadSite(dir, nil, protocols())
		var coded *ems.Error
		if !errors.As(err, &coded) {
			t.Fatalf("%s: got %v", file, err)
		}
		for _, fault := range coded.Details {
			if strings.HasPrefix(fault, "rules.yaml") || strings.HasPrefix(fault, "models.yaml") || strings.HasPrefix(fault, "history.yaml") {
				t.Errorf("%s misspelt: %s", file, fault)
			}
		}
	}
}

func TestAFileThatNothingReadsIsAFault(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "ruels.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := config.ReadSite(dir, nil, protocols()); err == nil || !strings.Contains(err.Error(), "ruels.yaml: no file of a site has this name: use one of site.yaml, channels.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestAMissingFolderOrFileIsSaidPlainly(t *testing.T) {
	_, err := config.ReadSite(filepath.Join(t.TempDir(), "none"), nil, nil)
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), "name a folder that holds site.yaml") {
		t.Errorf("missing folder: %v", err)
	}
	_, err = config.ReadSite(t.TempDir(), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "channels.yaml: missing") || !strings.Contains(err.Error(), "site.yaml: missing") {
		t.Errorf("empty folder: %v", err)
	}
	_, err = config.ReadSite(sound+"/site.yaml", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "is not a folder") {
		t.Errorf("a file: %v", err)
	}
}

// FuzzModels: whatever stands in models.yaml and a template, every model that is
// accepted names points of the site alone.
func FuzzModels(f *testing.F) {
	for _, pair := range [][2]string{{models + "/models.yaml", models + "/templates/rack.yaml"}, {"testdata/models.bad/models.yaml", "testdata/models.bad/templates/formulas.yaml"}} {
		var texts [2]string
		for i, file := range pair {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			texts[i] = string(text)
		}
		f.Add(texts[0], texts[1])
	}
	f.Add("models: [{id: a, mapping: {channel: 1001, data: &d {a: 11}, action: *d}}]", "id: &i a\nextends: *i")
	dir := f.TempDir()
	if err := os.CopyFS(dir, os.DirFS(models)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list, template string) {
		for file, text := range map[string]string{"models.yaml": list, "templates/rack.yaml": template} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		site, err := config.ReadSite(dir, nil, nil)
		if err != nil {
			return
		}
		for _, model := range site.Models {
			expansion, faults := ems.Expand(model, site.Template)
			for _, field := range slices.Concat(expansion.Data, expansion.Action) {
				if _, found := site.Point(field.Point); !found {
					t.Fatalf("%s names %s", model.ID, field.Point)
				}
			}
			if faults != nil {
				t.Fatalf("%s was accepted: %v", model.ID, faults)
			}
		}
	})
}
