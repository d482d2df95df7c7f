package config_test

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// whole returns a template of the library with all that it extends, every field
// at a point.
func whole(t *testing.T, site *config.Site, id string) ems.Expansion {
	t.Helper()
	zero := 0
	expansion, faults := ems.Expand(ems.Model{ID: "m", Template: id, Mapping: ems.ModelMapping{Channel: 1, Offset: &zero}}, site.Template)
	if faults != nil || len(expansion.Unmapped) != 0 {
		t.Fatalf("%s: %v, unmapped %v", id, faults, expansion.Unmapped)
	}
	return expansion
}

func TestTheLibraryIsThereForEverySite(t *testing.T) {
	site := readSite(t, sound)
	got := map[string]string{}
	for _, template := range site.Library {
		got[template.ID] = template.Extends
	}
	if difference := cmp.Diff(map[string]string{
		"battery_rack": "battery", "bms": "battery", "ev_charger": "", "genset": "three_phase", "grid_meter": "meter", "load": "three_phase",
		"meter": "three_phase", "pcs": "three_phase", "pv_inverter": "three_phase", "three_phase": "", "transformer": "three_phase", "weather_station": "",
	}, got); difference != "" {
		t.Error(difference) // battery is the site's own
	}
	if len(site.Templates) != 1 {
		t.Errorf("%d templates of the site", len(site.Templates))
	}
	own, found := site.Template("battery")
	if !found || len(own.Data) != 1 {
		t.Errorf("battery is %+v", own)
	}
	if _, found := site.Template(""); found {
		t.Error("a template without an id")
	}
}

func TestTemplatesComeAfterThoseThatTheyExtend(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(models)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "id: a\nextends: z", "b": "id: meter\nextends: a\ndata: [{name: power}]", "c": "id: z\nextends: weather_station"} {
		if err := os.WriteFile(filepath.Join(dir, "templates", name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := readSite(t, dir)
	seen := map[string]bool{"": true}
	for _, template := range site.AllTemplates() {
		if !seen[template.Extends] || seen[template.ID] {
			t.Errorf("%s stands before %s, or twice", template.ID, template.Extends)
		}
		seen[template.ID] = true
	}
	if all := len(site.Templates) + len(site.Library); len(site.Templates) != 5 || len(seen) != all+1 || !seen["grid_meter"] {
		t.Errorf("%d templates of %d", len(seen)-1, all)
	}
}

// TestFieldsOfTheLibrary: one word for a thing, one spelling for a unit, and
// limits wherever nature has them.
func TestFieldsOfTheLibrary(t *testing.T) {
	units := strings.Fields("kW kvar kVA kWh kvarh V mV kV A Hz % °C K ° kΩ kPa hPa rpm l/h l/kWh h W/m2 m/s mm mm/h")
	site := readSite(t, models)
	unitOf := map[string]string{}
	spelt := func(template, name, unit, description string) {
		if description == "" || unit != "" && !slices.Contains(units, unit) {
			t.Errorf("%s.%s: unit %q, description %q", template, name, unit, description)
		}
		if other, known := unitOf[name]; known && other != unit {
			t.Errorf("%s.%s has the unit %q here and %q elsewhere", template, name, unit, other)
		}
		unitOf[name] = unit
	}
	for _, template := range site.Library {
		expansion := whole(t, site, template.ID)
		if template.Name == "" || template.Description == "" || expansion.Metadata["kind"] != template.ID {
			t.Errorf("%s: name %q, description %q, metadata %v", template.ID, template.Name, template.Description, expansion.Metadata)
		}
		for _, field := range slices.Concat(expansion.Data, expansion.Action) {
			spelt(template.ID, field.Name, field.Unit, field.Description)
			digital := field.Point.Type == ems.Signal || field.Point.Type == ems.Control
			if digital != (field.ValueType == ems.ZeroOrOne) {
				t.Errorf("%s.%s is %s and %q", template.ID, field.Name, field.Point.Type, field.ValueType)
			}
			if least := field.Min; field.Unit == "%" && (least == nil || *least != 0) || field.Unit == "°C" && (least == nil || field.Max == nil) {
				t.Errorf("%s.%s in %s is without limits", template.ID, field.Name, field.Unit)
			}
		}
		for _, field := range expansion.Computed {
			spelt(template.ID, field.Name, field.Unit, field.Description)
		}
	}
}

// TestComputedValuesOfTheLibrary: exact results for equipment at work, and a
// number, not a bad value, for equipment that stands still.
func TestComputedValuesOfTheLibrary(t *testing.T) {
	site := readSite(t, models)
	three := map[string]float64{
		"power": 60, "voltage": 400, "voltage_l1_l2": 390, "voltage_l2_l3": 400, "voltage_l3_l1": 410,
		"current": -100, "current_l1": -80, "current_l2": -100, "current_l3": -120,
	}
	with := func(more map[string]float64) map[string]float64 {
		all := maps.Clone(three)
		maps.Copy(all, more)
		return all
	}
	base := map[string]float64{"apparent_power": 69.282, "voltage_imbalance": 2.5, "current_imbalance": 20}
	and := func(more map[string]float64) map[string]float64 {
		all := maps.Clone(base)
		maps.Copy(all, more)
		return all
	}
	cells := map[string]float64{
		"voltage": 800, "current": -50, "cell_voltage_max": 3.4, "cell_voltage_min": 3.25, "cell_temperature_max": 31, "cell_temperature_min": 27.5,
		"energy_charged": 1000, "energy_discharged": 900, "racks": 8, "racks_online": 7,
	}
	battery := map[string]float64{"dc_power": -40, "cell_voltage_spread": 150, "cell_temperature_spread": 3.5, "net_energy": 100, "energy_efficiency": 90}
	for id, test := range map[string]struct{ inputs, want map[string]float64 }{
		"three_phase":  {three, base},
		"meter":        {with(map[string]float64{"energy_imported": 500, "energy_exported": 120}), and(map[string]float64{"net_energy": 380})},
		"grid_meter":   {with(map[string]float64{"power": -45}), and(map[string]float64{"net_energy": 0, "imported_power": 0, "exported_power": 45})},
		"pv_inverter":  {with(map[string]float64{"dc_power": 62.5, "available_power": 75}), and(map[string]float64{"efficiency": 96, "unused_power": 15})},
		"pcs":          {with(map[string]float64{"power": -50, "dc_power": -48, "energy_charged": 10, "energy_discharged": 4}), and(map[string]float64{"losses": 2, "efficiency": 96, "net_energy": 6})},
		"genset":       {with(map[string]float64{"fuel_rate": 15, "energy": 900, "running_time": 12}), and(map[string]float64{"specific_fuel_consumption": 0.25, "mean_power": 75})},
		"transformer":  {with(map[string]float64{"primary_voltage": 20, "oil_temperature": 70, "ambient_temperature": 25, "winding_temperature": 85}), and(map[string]float64{"voltage_ratio": 50, "oil_temperature_rise": 45, "winding_temperature_rise": 15})},
		"load":         {with(map[string]float64{"peak_power": 80}), and(map[string]float64{"peak_ratio": 75})},
		"battery":      {cells, battery},
		"battery_rack": {cells, battery},
		"bms": {cells, map[string]float64{
			"dc_power": -40, "cell_voltage_spread": 150, "cell_temperature_spread": 3.5, "net_energy": 100, "energy_efficiency": 90, "racks_offline": 1,
		}},
		"weather_station": {
			map[string]float64{"global_irradiance": 900, "diffuse_irradiance": 150, "module_temperature": 55, "ambient_temperature": 25},
			map[string]float64{"direct_irradiance": 750, "module_temperature_rise": 30},
		},
		"ev_charger": {
			map[string]float64{"session_energy": 22, "session_time": 2, "current_l1": 16, "current_l2": 15.5},
			map[string]float64{"session_power": 11, "current_spread": 16},
		},
	} {
		for _, inputs := range []map[string]float64{test.inputs, {}} {
			values := maps.Clone(inputs)
			got := map[string]float64{}
			for _, field := range whole(t, site, id).Computed {
				formula, err := field.Formula()
				if err != nil {
					t.Fatal(err)
				}
				value := formula.Eval(func(name string) float64 { return values[name] })
				if math.IsNaN(value) || math.IsInf(value, 0) {
					t.Errorf("%s.%s is %v from %v", id, field.Name, value, inputs)
				}
				values[field.Name], got[field.Name] = value, math.Round(value*1e4)/1e4
			}
			if len(inputs) == 0 {
				continue
			}
			want := maps.Clone(test.want)
			if _, threePhase := want["apparent_power"]; threePhase {
				want["apparent_power"] = 69.282
			}
			if difference := cmp.Diff(want, got); difference != "" {
				t.Errorf("%s: %s", id, difference)
			}
		}
	}
	if len(site.Library) != 13 {
		t.Errorf("%d templates of the library, 13 were computed", len(site.Library))
	}
}

// TestTheMicrogridNamesEveryPoint: the models of the microgrid extend the
// library, name all points of their devices as these are called, and show their
// units.
func TestTheMicrogridNamesEveryPoint(t *testing.T) {
	site := readSite(t, "../../scenarios/microgrid")
	if len(site.Templates) != 5 || len(site.Library) != 13 {
		t.Errorf("%d templates, %d of the library", len(site.Templates), len(site.Library))
	}
	computed := map[string]string{
		"pv_001": "efficiency unused_power", "battery_001": "dc_power net_energy energy_efficiency losses",
		"genset_001": "specific_fuel_consumption mean_power", "load_001": "apparent_power unserved_share",
		"grid_001": "apparent_power net_energy imported_power exported_power",
	}
	for _, model := range site.Models {
		expansion := expand(t, site, model.ID)
		if len(expansion.Templates) < 2 {
			t.Errorf("%s extends nothing", model.ID)
		}
		named := map[ems.PointRef]bool{}
		for _, field := range slices.Concat(expansion.Data, expansion.Action) {
			point, found := site.Point(field.Point)
			if !found || point.Name != field.Name || point.Unit != field.Unit {
				t.Errorf("%s.%s in %q is %s, which is %s in %q", model.ID, field.Name, field.Unit, field.Point, point.Name, point.Unit)
			}
			named[field.Point] = true
		}
		channel, _ := site.Channel(model.Mapping.Channel)
		if len(named) != len(channel.Points) {
			t.Errorf("%s names %d points of %d", model.ID, len(named), len(channel.Points))
		}
		var names []string
		for _, field := range expansion.Computed {
			names = append(names, field.Name)
		}
		if got := strings.Join(names, " "); got != computed[model.ID] {
			t.Errorf("%s computes %s", model.ID, got)
		}
	}
}
