// Package grafana_test holds the dashboards to what the system really exposes:
// a panel on a metric or a field that does not exist stays empty in silence.
package grafana_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type target struct {
	RefID      string `json:"refId"`
	Datasource source `json:"datasource"`
	Expr       string `json:"expr"`  // of Prometheus
	Query      string `json:"query"` // of InfluxDB
}

type panel struct {
	ID          int     `json:"id"`
	Type        string  `json:"type"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Datasource  *source `json:"datasource"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets []target `json:"targets"`
}

type dashboard struct {
	file       string
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Datasource source `json:"datasource"`
			Query      struct {
				Query string `json:"query"`
			} `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		one := dashboard{file: file}
		if err := json.Unmarshal(text, &one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, one)
	}
	var names []string
	for _, one := range all {
		names = append(names, one.file)
	}
	if want := []string{"dashboards/bench.json", "dashboards/plant.json"}; !slices.Equal(names, want) {
		t.Fatalf("dashboards %v, want %v", names, want)
	}
	return all
}

// targets calls visit for every query of every panel.
func targets(t *testing.T, visit func(where string, target target)) {
	t.Helper()
	for _, one := range dashboards(t) {
		for _, panel := range one.Panels {
			for _, target := range panel.Targets {
				visit(fmt.Sprintf("%s, %q %s", one.file, panel.Title, target.RefID), target)
			}
		}
	}
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// provisioned returns the type of each data source by uid.
func provisioned(t *testing.T) map[string]string {
	t.Helper()
	var file struct {
		Datasources []struct{ UID, Type, URL string }
	}
	readYAML(t, "provisioning/datasources/datasources.yaml", &file)
	types := map[string]string{}
	for _, one := range file.Datasources {
		if types[one.UID] != "" || one.URL == "" {
			t.Errorf("data source %q stands twice or has no address", one.UID)
		}
		types[one.UID] = one.Type
	}
	return types
}

func TestDashboardsAreWhole(t *testing.T) {
	sources := provisioned(t)
	if sources["prometheus"] != "prometheus" || sources["influxdb"] != "influxdb" {
		t.Fatalf("data sources %v", sources)
	}
	uids := map[string]string{}
	for _, one := range dashboards(t) {
		if one.UID == "" || one.Title == "" || uids[one.UID] != "" {
			t.Errorf("%s: uid %q and title %q: each dashboard needs its own", one.file, one.UID, one.Title)
		}
		uids[one.UID] = one.file
		ids := map[int]bool{}
		for i, panel := range one.Panels {
			where := fmt.Sprintf("%s: panel %q", one.file, panel.Title)
			if panel.Title == "" || panel.ID == 0 || ids[panel.ID] {
				t.Errorf("%s: no title, or id %d twice", where, panel.ID)
			}
			ids[panel.ID] = true
			for _, other := range one.Panels[:i] {
				if overlap(panel, other) {
					t.Errorf("%s lies over %q", where, other.Title)
				}
			}
			if panel.Type != "row" {
				checkPanel(t, where, panel, sources)
			}
		}
		for _, variable := range one.Templating.List {
			if sources[variable.Datasource.UID] != variable.Datasource.Type || variable.Query.Query == "" {
				t.Errorf("%s: variable %s has no query or an unknown data source", one.file, variable.Name)
			}
		}
	}
}

func overlap(a, b panel) bool {
	p, q := a.GridPos, b.GridPos
	return p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H
}

func checkPanel(t *testing.T, where string, panel panel, sources map[string]string) {
	t.Helper()
	if panel.Description == "" || panel.GridPos.W == 0 || panel.GridPos.X+panel.GridPos.W > 24 {
		t.Errorf("%s says nothing about itself, or does not fit its row", where)
	}
	if len(panel.Targets) == 0 || panel.Datasource == nil || sources[panel.Datasource.UID] != panel.Datasource.Type {
		t.Errorf("%s has no targets or an unknown data source", where)
	}
	refs := map[string]bool{}
	for _, target := range panel.Targets {
		if refs[target.RefID] || sources[target.Datasource.UID] != target.Datasource.Type {
			t.Errorf("%s: target %s stands twice or has an unknown data source", where, target.RefID)
		}
		refs[target.RefID] = true
		switch target.Datasource.Type {
		case "prometheus":
			if target.Expr == "" || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
				t.Errorf("%s: %q is no expression", where, target.Expr)
			}
		case "influxdb":
			if target.Query == "" || strings.Count(target.Query, "(") != strings.Count(target.Query, ")") {
				t.Errorf("%s: %q is no query", where, target.Query)
			}
		}
	}
}

func TestDashboardsAreProvisionedFromWhereTheyAreMounted(t *testing.T) {
	var file struct {
		Providers []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	readYAML(t, "provisioning/dashboards/dashboards.yaml", &file)
	if len(file.Providers) != 1 || file.Providers[0].Type != "file" {
		t.Fatalf("providers %+v", file.Providers)
	}
	var deployment struct {
		Services map[string]struct{ Volumes []string }
	}
	readYAML(t, "../compose.yaml", &deployment)
	mounts := deployment.Services["grafana"].Volumes
	for _, want := range []string{
		"./grafana/dashboards:" + file.Providers[0].Options.Path + ":ro",
		"./grafana/provisioning:/etc/grafana/provisioning:ro",
	} {
		if !slices.Contains(mounts, want) {
			t.Errorf("compose.yaml mounts %v, which lacks %s", mounts, want)
		}
	}
}

// literals are the texts that the Go sources of one folder hold.
type literals map[string]bool

// goLiterals reads the sources of the repository without their tests.
func goLiterals(t *testing.T) map[string]literals {
	t.Helper()
	folders := map[string]literals{}
	for _, root := range []string{"../system", "../bench"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			folder := filepath.Dir(path)
			if folders[folder] == nil {
				folders[folder] = literals{}
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					if text, err := strconv.Unquote(literal.Value); err == nil {
						folders[folder][text] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return folders
}

// holds reports whether a folder names a metric: at full length, or as a prefix
// that ends in _ and the rest.
func (l literals) holds(metric string) bool {
	if l[metric] {
		return true
	}
	for text := range l {
		rest, found := strings.CutPrefix(metric, text)
		if found && strings.HasPrefix(text, "voltage_") && strings.HasSuffix(text, "_") && l[rest] {
			return true
		}
	}
	return false
}

var (
	metricName = regexp.MustCompile(`\bvoltage_[a-z0-9_]+`)
	histogram  = regexp.MustCompile(`_(bucket|count|sum)$`)
)

func TestEveryMetricExists(t *testing.T) {
	folders := goLiterals(t)
	exists := func(metric string) bool {
		for _, folder := range folders {
			if folder.holds(metric) || folder.holds(histogram.ReplaceAllString(metric, "")) {
				return true
			}
		}
		return false
	}
	for _, made := range []string{"voltage_comsrv_no_such_total", "voltage_bench_call", "voltage_"} {
		if exists(made) {
			t.Errorf("%s is found, and there is no such metric: the search proves nothing", made)
		}
	}
	named := map[string]bool{}
	check := func(where, text string) {
		for _, metric := range metricName.FindAllString(text, -1) {
			named[histogram.ReplaceAllString(metric, "")] = true
			if !exists(metric) {
				t.Errorf("%s asks for %s, which no source names", where, metric)
			}
		}
	}
	targets(t, func(where string, target target) { check(where, target.Expr) })
	for _, one := range dashboards(t) {
		for _, variable := range one.Templating.List {
			check(one.file+", variable "+variable.Name, variable.Query.Query)
		}
	}
	for _, metric := range []string{
		"voltage_bench_call_seconds", "voltage_comsrv_channel_online", "voltage_comsrv_points_total", "voltage_comsrv_polls_total",
		"voltage_comsrv_poll_seconds", "voltage_alarmsrv_active", "voltage_hissrv_waiting", "voltage_hissrv_dropped", "voltage_hissrv_dead_letters",
	} {
		if !named[metric] {
			t.Errorf("no panel shows %s", metric)
		}
	}
}

const site = "../scenarios/microgrid"

// history is what the microgrid writes: measurement, device, fields.
type history map[string]map[string][]string

func readHistory(t *testing.T) history {
	t.Helper()
	var file struct {
		Mappings []struct {
			Source, Measurement string
			Tags                map[string]string
			Fields              map[string]string
		}
	}
	readYAML(t, site+"/history.yaml", &file)
	tables := map[string]string{"T": "telemetry", "S": "signal", "C": "control", "A": "adjustment"}
	written := history{}
	for _, mapping := range file.Mappings {
		parts := strings.Split(mapping.Source, ":")
		text, err := os.Open(filepath.Join(site, "points", parts[1], tables[parts[2]]+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(text).ReadAll()
		_ = text.Close()
		if err != nil {
			t.Fatal(err)
		}
		if written[mapping.Measurement] == nil {
			written[mapping.Measurement] = map[string][]string{}
		}
		device := mapping.Tags["device"]
		for _, row := range rows[1:] {
			name := row[1]
			if other := mapping.Fields[row[0]]; other != "" {
				name = other
			}
			written[mapping.Measurement][device] = append(written[mapping.Measurement][device], name)
		}
	}
	return written
}

var comparison = regexp.MustCompile(`r\.(_?\w+) == "([^"]*)"`)

func TestEveryFieldExistsInTheMicrogrid(t *testing.T) {
	written := readHistory(t)
	powers := map[string]bool{}
	targets(t, func(where string, target target) {
		if target.Query == "" {
			return
		}
		filter := map[string]string{}
		for _, found := range comparison.FindAllStringSubmatch(strings.Split(target.Query, "|> map")[0], -1) {
			filter[found[1]] = found[2]
		}
		measurement, field := filter["_measurement"], filter["_field"]
		if measurement == "" || field == "" {
			t.Fatalf("%s names no measurement or no field:\n%s", where, target.Query)
		}
		devices := written[measurement]
		if device := filter["device"]; device != "" {
			devices = map[string][]string{device: written[measurement][device]}
		}
		if len(devices) == 0 {
			t.Errorf("%s reads measurement %s, which the microgrid does not write", where, measurement)
		}
		for device, fields := range devices {
			if !slices.Contains(fields, field) {
				t.Errorf("%s reads %s of %s %s, which has %v", where, field, device, measurement, fields)
			}
			powers[device] = powers[device] || field == "power"
		}
		bounded := strings.Contains(target.Query, "range(start: v.timeRangeStart, stop: v.timeRangeStop)")
		thinned := strings.Contains(target.Query, "createEmpty: false") || strings.Contains(target.Query, "|> last()")
		if !bounded || !thinned {
			t.Errorf("%s is not bounded by the time range and by windows:\n%s", where, target.Query)
		}
	})
	for _, device := range []string{"pv", "battery", "genset", "load", "grid"} {
		if !powers[device] {
			t.Errorf("the power of %s is not shown", device)
		}
	}
}
