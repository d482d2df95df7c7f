package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

const models = "testdata/models.good"

func readSite(t *testing.T, dir string) *config.Site {
	t.Helper()
	site, err := config.ReadSite(dir, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// expand returns an expansion of a site's model.
func expand(t *testing.T, site *config.Site, id string) ems.Expansion {
	t.Helper()
	i := slices.IndexFunc(site.Models, func(model ems.Model) bool { return model.ID == id })
	expansion, faults := ems.Expand(site.Models[i], site.Template)
	if faults != nil {
		t.Fatal(faults)
	}
	return expansion
}

func TestModelsOfASiteExtendMoveAndCompute(t *testing.T) {
	site := readSite(t, models)
	zero, full, most, factor := 0.0, 100.0, 900.0, 0.9
	point := func(text string) ems.PointRef {
		ref, err := ems.ParsePointRef(text)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	want := ems.Expansion{
		ID: "rack_2", Template: "rack", Templates: []string{"dc", "rack"},
		Data: []ems.ExpandedField{
			{Name: "voltage", Point: point("comsrv:1001:T:21"), Unit: "V", Min: &zero, Max: &most},
			{Name: "current", Point: point("comsrv:1002:T:2"), Unit: "A"},
			{Name: "soc", Point: point("comsrv:1001:T:23"), Unit: "%", Min: &zero, Max: &full},
		},
		Action: []ems.ExpandedField{{Name: "close", Point: point("comsrv:1001:C:21"), ValueType: ems.ZeroOrOne}},
		Computed: []ems.ComputedField{
			{Name: "usable", Function: "scale", Of: []string{"soc"}, Factor: &factor},
			{Name: "least", Function: "min", Of: []string{"usable", "soc"}},
			{Name: "power", Unit: "W", Expression: "voltage * current"},
		},
		Unmapped: []string{},
		Metadata: map[string]any{"kind": "rack", "serial": "X2"},
	}
	if difference := cmp.Diff(want, expand(t, site, "rack_2")); difference != "" {
		t.Error(difference)
	}
	meter := expand(t, site, "meter")
	if !slices.Equal(meter.Templates, []string{"three_phase", "meter", "grid_meter"}) || len(meter.Data) != 1 || len(meter.Computed) != 2 || len(meter.Unmapped) < 30 {
		t.Errorf("a model of the library: %+v", meter)
	}
}

func TestEveryFaultOfTemplatesAndModelsIsToldOnce(t *testing.T) {
	_, err := config.ReadSite("testdata/models.bad", nil, protocols())
	golden, readErr := os.ReadFile("testdata/models.bad.txt")
	if readErr != nil {
		t.Fatal(readErr)
	}
	if err == nil || err.Error()+"\n" != string(golden) {
		t.Errorf("got:\n%v\nwant:\n%s", err, golden)
	}
}

// spoilt returns the verdict on a copy of a site with one text of one file
// replaced; a file that is not there begins empty.
func spoilt(t *testing.T, dir, file, old, text string) string {
	t.Helper()
	place := t.TempDir()
	if err := os.CopyFS(place, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(place, filepath.FromSlash(file))
	before, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if !strings.Contains(string(before), old) {
		t.Fatalf("%q does not stand in %s", old, file)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(before), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = config.ReadSite(place, nil, protocols()); err == nil {
		return ""
	}
	return err.Error()
}

// Each case spoils one place of the sound site; the whole error must be that
// place alone.
func TestOneFaultOfATemplateOrModelIsOneFault(t *testing.T) {
	for _, test := range []struct{ name, file, old, new, want string }{
		{"unknown extends", "templates/rack.yaml", "extends: dc", "extends: ac", `templates/rack.yaml:3: extends: no template "ac" in templates/ or in the library`},
		{"template metadata", "templates/rack.yaml", "kind: rack", "kind: .inf", "templates/rack.yaml:1: id: it cannot be written as JSON: json: unsupported value: +Inf"},
		{"circle", "templates/dc.yaml", "name: DC", "extends: rack\nname: DC", "templates/dc.yaml:2: extends: templates extend each other in a circle: dc -> rack -> dc"},
		{"itself", "templates/dc.yaml", "name: DC", "extends: dc\nname: DC", "templates/dc.yaml:2: extends: templates extend each other in a circle: dc -> dc"},
		{"misspelt extends", "templates/rack.yaml", "extends", "extend", `templates/rack.yaml:3: unknown key "extend": check its spelling and indentation`},
		{"template id", "templates/dc.yaml", "id: dc", "id: d/c", `templates/dc.yaml:1: id: template id "d/c" has an unusable character '/': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`},
		{"name twice", "templates/rack.yaml", "name: voltage", "name: soc", `templates/rack.yaml:9: data[1].name: "soc" stands twice in data`},
		{"data of a computed name", "templates/rack.yaml", "name: soc", "name: power", `templates/rack.yaml:5: data[0].name: "power" is already the name of a computed value` + "\n" + `templates/rack.yaml:15: computed[0].of: there is no data and no computed value "soc"`},
		{"max below an inherited min", "templates/rack.yaml", "max: 900", "max: -1", "templates/rack.yaml:9: data[1].max: -1 is below min 0"},
		{"value type", "templates/rack.yaml", "value_type: bool", "value_type: boolean", `templates/rack.yaml:11: action[0].value_type: unknown value_type "boolean": use number, integer or bool`},
		{"point type", "templates/rack.yaml", "value_type: bool", "type: D", `templates/rack.yaml:11: unknown point type "D": use T (telemetry), S (signal), C (control) or A (adjustment)`},
		{"action that reads", "templates/rack.yaml", "value_type: bool", "type: S", "templates/rack.yaml:11: action[0].type: an action is a control (C) or an adjustment (A), not S"},
		{"point 0", "templates/dc.yaml", "unit: A", "point: -1", "templates/dc.yaml:5: data[1].point: \"-1\" where a whole number from 0 to 4294967295 is expected"},
		{"expression", "templates/dc.yaml", "* current", "x current", `templates/dc.yaml:7: computed[0].expression: byte 9: expected +, -, *, / or the end, found 'x'`},
		{"unknown input", "templates/rack.yaml", "[soc]", "[sock]", `templates/rack.yaml:15: computed[0].of: there is no data and no computed value "sock"`},
		{"count", "templates/rack.yaml", "[soc]", "[soc, voltage]", "templates/rack.yaml:15: computed[0].of: scale takes one name, not 2"},
		{"function", "templates/rack.yaml", "scale", "scaled", `templates/rack.yaml:14: computed[0].function: unknown function "scaled": use sum, difference, mean, min, max or scale`},
		{"both forms", "templates/rack.yaml", "factor: 0.9", "expression: soc", "templates/rack.yaml:16: computed[0].expression: a computed value has either a function of names or an expression, not both"},
		{"factor", "templates/rack.yaml", "scale", "sum", "templates/rack.yaml:16: computed[0].factor: only the function scale takes a factor"},
		{"infinite factor", "templates/rack.yaml", "0.9", ".inf", "templates/rack.yaml:16: computed[0].factor: +Inf is not a finite number"},
		{"unknown template", "models.yaml", "template: rack", "template: rock", `models.yaml:3: models[0].template: no template "rock" in templates/ or in the library`},
		{"no channel", "models.yaml", "channel: 1001", "channel: 1003", "models.yaml:5: models[0].mapping.channel: the site has no channel 1003"},
		{"offset", "models.yaml", "offset: 10", "offset: 11", "models.yaml:6: models[0].mapping.offset: the site has no point comsrv:1001:T:14 (soc), comsrv:1001:C:12 (close): name the points of the model in data and action, or give the channel all that the template counts"},
		{"offset below 1", "models.yaml", "offset: 10", "offset: -3", "models.yaml:6: models[0].mapping.offset: -3 gives voltage the point T:-2, which is not from 1 to 4294967295"},
		{"half an offset", "models.yaml", "offset: 10", "offset: 0.5", "models.yaml:6: 0.5 is not a whole number"},
		{"offset without a template", "models.yaml", "template: rack\n", "name: rack\n", "models.yaml:6: models[0].mapping.offset: an offset counts from the fields of a template, and this model has none"},
		{"another channel", "models.yaml", "comsrv:1002:T:2", "comsrv:1002:T:9", "models.yaml:13: models[1].mapping.data.current: the site has no point comsrv:1002:T:9"},
		{"no such channel", "models.yaml", "comsrv:1002:T:2", "comsrv:7:T:2", "models.yaml:13: models[1].mapping.data.current: the site has no point comsrv:7:T:2"},
		{"name of no field", "models.yaml", "current: comsrv", "amps: comsrv", `models.yaml:13: models[1].mapping.data.amps: the template has no "amps"`},
		{"computed of data's name", "models.yaml", "name: least", "name: soc", `models.yaml:15: models[1].computed[0].name: "soc" is already the name of a data value`},
		{"computed circle", "models.yaml", "[usable, soc]", "[power, least]", "models.yaml:15: models[1].computed[0]: computed values need each other in a circle: least -> least"},
		{"computed of no input", "models.yaml", "voltage * current", "voltage * amps", `models.yaml:20: models[1].computed[1].expression: there is no data and no computed value "amps"`},
		{"input without a point", "models.yaml", "        power: 1\n", "        power: 1\n    computed:\n      - {name: x, expression: voltage_l1}\n", `models.yaml:30: models[2].computed[0].expression: this model has no point for "voltage_l1", which the template has`},
		{"misspelt computed", "models.yaml", "expression: v", "expresion: v", `models.yaml:20: unknown key "expresion": check its spelling and indentation`},
		{"metadata", "models.yaml", "serial: X2", "serial: .nan", "models.yaml:7: models[1]: it cannot be written as JSON: json: unsupported value: NaN"},
		{"the site takes the place of a template", "templates/three_phase.yaml", "", "id: three_phase\ndata: [{name: power}, {name: energy_imported}, {name: voltage}]\n", ""},
		{
			"a template of the library that no longer fits", "templates/three_phase.yaml", "", "name: Ours\nid: three_phase\n",
			"templates/three_phase.yaml:2: id: template transformer of the library extends three_phase and does not fit this one: " +
				`computed[0].expression: there is no data and no computed value "voltage": give it all fields of the original, or another id`,
		},
		{"a circle through the library", "templates/meter.yaml", "", "id: meter\nextends: grid_meter\n", "templates/meter.yaml:2: extends: templates extend each other in a circle: meter -> grid_meter -> meter"},
		{"one of the library under its own name", "templates/load.yaml", "", "id: load\nextends: load\n", "templates/load.yaml:2: extends: templates extend each other in a circle: load -> load"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := spoilt(t, models, test.file, test.old, test.new)
			if _, several, found := strings.Cut(got, " faults:\n  "); found {
				got = strings.ReplaceAll(several, "\n  ", "\n")
			}
			if got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

// A fault of one table says nothing of references into another.
func TestAFaultyTemplateHidesNoMissingPoint(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(models)); err != nil {
		t.Fatal(err)
	}
	for file, change := range map[string][2]string{
		"templates/rack.yaml": {"[soc]", "[sock]"},
		"models.yaml":         {"power: 1", "power: 9"},
	} {
		path := filepath.Join(dir, filepath.FromSlash(file))
		text := strings.Replace(readText(t, path), change[0], change[1], 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := config.ReadSite(dir, nil, protocols())
	const want = `2 faults:
  models.yaml:28: models[2].mapping.data.power: the site has no point comsrv:1002:T:9
  templates/rack.yaml:15: computed[0].of: there is no data and no computed value "sock"`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestPointsThatASiteLacksAreNamed(t *testing.T) {
	site := readSite(t, models)
	shift := 5
	model := ems.Model{ID: "m", Template: "pcs", Mapping: ems.ModelMapping{Channel: 1001, Offset: &shift, Data: map[string]ems.ModelPoint{"power": "11"}}}
	expansion, faults := ems.Expand(model, site.Template)
	if faults != nil {
		t.Fatal(faults)
	}
	faults = site.PointFaults(&model, expansion)
	const want = "mapping.offset: the site has no point comsrv:1001:T:7 (reactive_power), comsrv:1001:T:8 (power_factor), comsrv:1001:T:9 (frequency), " +
		"comsrv:1001:T:10 (voltage), comsrv:1001:T:14 (voltage_l1) and 19 more: name the points of the model in data and action, or give the channel all that the template counts"
	if len(faults) != 1 || faults[0].String() != want {
		t.Errorf("got  %v\nwant %s", faults, want)
	}
}

// TestTheExampleOfTheReadmeWorks reads the example as a site whose channel has
// all points that it names.
func TestTheExampleOfTheReadmeWorks(t *testing.T) {
	_, section, _ := strings.Cut(readText(t, "../../README.md"), "## Templates\n")
	_, block, _ := strings.Cut(section, "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	template, list, found := strings.Cut(block, "---\n")
	if !found {
		t.Fatalf("no example in %q", section)
	}
	files := map[string]string{
		"site.yaml": "site: {name: readme}", "channels.yaml": `channels: [{id: 1002, name: racks, protocol: virtual, address: "h:1"}]`,
		"templates/rack.yaml": template, "models.yaml": list,
	}
	for _, table := range []struct{ name, function, kind string }{{"telemetry", "3", "float32"}, {"signal", "2", "bool"}, {"control", "5", "bool"}} {
		points := "point_id,signal_name,scale,offset,unit,reverse,data_type\n"
		mapping := "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n"
		for id := range 130 {
			points += fmt.Sprintf("%d,%s_%d,1,0,,0,\n", id+1, table.name, id+1)
			mapping += fmt.Sprintf("%d,1,%s,%d,%s,,\n", id+1, table.function, 2*id, table.kind)
		}
		files["points/1002/"+table.name+".csv"], files["points/1002/"+table.name+"_mapping.csv"] = points, mapping
	}
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := readSite(t, dir)
	first, second := expand(t, site, "rack_1"), expand(t, site, "rack_2")
	var computed []string
	for _, field := range first.Computed {
		computed = append(computed, field.Name)
	}
	if got := strings.Join(computed, " "); len(first.Data) != 3 || got != "dc_power stored_energy" {
		t.Errorf("rack_1 has %d data and computes %s", len(first.Data), got)
	}
	points := map[string]string{}
	for _, field := range second.Data {
		points[field.Name] = field.Point.String()
	}
	if points["voltage"] != "comsrv:1002:T:101" || points["current"] != "comsrv:1002:T:102" || points["charging"] != "comsrv:1002:S:101" || len(second.Unmapped) != 0 {
		t.Errorf("rack_2 has %v without %v", points, second.Unmapped)
	}
}

// A template file of another ending would be passed over in silence.
func TestATemplateFileOfAnotherEndingIsToldOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../scenarios/microgrid")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "templates", "spare.yml"), []byte("id: spare\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.ReadSite(dir, nil, []string{"modbus_tcp"})
	if err == nil || !strings.Contains(err.Error(), "templates/spare.yml: templates are read from files that end in .yaml: rename it") {
		t.Errorf("got %v", err)
	}
}
