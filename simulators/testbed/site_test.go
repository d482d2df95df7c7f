package testbed

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const microgrid = "../../scenarios/microgrid"

// The types below read the site folder and the profiles once more, with nothing
// of the packages that the plant is made of, so that the two check each other.

type siteChannel struct {
	ID       int
	Name     string
	Protocol string
	Address  string
}

type plantDevice struct {
	ID      string
	Listen  string
	Unit    int
	Profile string
}

type profileRow struct {
	Table    string
	Address  int
	Type     string
	Order    string
	Scale    *float64
	Offset   float64
	Bit      *int
	Quantity string
	Setpoint string
	Readonly bool
}

// siteRow is a point and its mapping, column by column.
type siteRow struct {
	kind   string // T, S, C or A
	point  map[string]string
	places map[string]string
}

func (r siteRow) name() string { return r.point["signal_name"] }

func (r siteRow) integer(t testing.TB, column string) int {
	t.Helper()
	number, err := strconv.Atoi(r.places[column])
	if err != nil {
		t.Fatalf("%s: %s: %v", r.name(), column, err)
	}
	return number
}

func (r siteRow) number(t testing.TB, column string) float64 {
	t.Helper()
	number, err := strconv.ParseFloat(r.point[column], 64)
	if err != nil {
		t.Fatalf("%s: %s: %v", r.name(), column, err)
	}
	return number
}

func readYAML(t testing.TB, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(microgrid, file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func readChannels(t testing.TB) []siteChannel {
	t.Helper()
	var file struct{ Channels []siteChannel }
	readYAML(t, "channels.yaml", &file)
	return file.Channels
}

// deviceOf returns the device that a channel speaks to.
func deviceOf(t testing.TB, channel siteChannel) plantDevice {
	t.Helper()
	var file struct{ Devices []plantDevice }
	readYAML(t, "plant.yaml", &file)
	for _, one := range file.Devices {
		if one.Listen == channel.Address {
			return one
		}
	}
	t.Fatalf("no device listens at %s of channel %d", channel.Address, channel.ID)
	return plantDevice{}
}

func readProfileRows(t testing.TB, file string) []profileRow {
	t.Helper()
	var profile struct{ Registers []profileRow }
	readYAML(t, file, &profile)
	return profile.Registers
}

var tableOfKind = map[string]string{"T": "telemetry", "S": "signal", "C": "control", "A": "adjustment"}

// readRows returns the points of a channel, keyed "T:1".
func readRows(t testing.TB, channel siteChannel) map[string]siteRow {
	t.Helper()
	rows := map[string]siteRow{}
	for kind, table := range tableOfKind {
		points := readCSV(t, channel.ID, table, "point_id,signal_name,scale,offset,unit,reverse,data_type")
		places := readCSV(t, channel.ID, table+"_mapping", "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position")
		if len(points) == 0 || len(points) != len(places) {
			t.Fatalf("channel %d has %d points and %d places of %s", channel.ID, len(points), len(places), table)
		}
		for i, point := range points {
			if point["point_id"] != strconv.Itoa(i+1) || places[i]["point_id"] != point["point_id"] {
				t.Fatalf("channel %d: %s row %d has point %s, place %s", channel.ID, table, i+1, point["point_id"], places[i]["point_id"])
			}
			rows[kind+":"+point["point_id"]] = siteRow{kind: kind, point: point, places: places[i]}
		}
	}
	return rows
}

func readCSV(t testing.TB, channel int, table, header string) []map[string]string {
	t.Helper()
	file := filepath.Join(microgrid, "points", strconv.Itoa(channel), table+".csv")
	lines := readLines(t, file)
	if got := strings.TrimSuffix(strings.Join(lines[0], ","), ",min,max"); got != header { // what a command may carry is optional
		t.Fatalf("%s: columns %s", file, got)
	}
	return readTable(t, file)
}

func readLines(t testing.TB, name string) [][]string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return lines
}

// readTable returns the rows of a table by their columns.
func readTable(t testing.TB, name string) []map[string]string {
	t.Helper()
	lines := readLines(t, name)
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, column := range lines[0] {
			row[column] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// tableOfFunction says which table a function code speaks of.
var tableOfFunction = map[int]string{1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil", 16: "holding"}

// find returns the register of a profile that a point is mapped to.
func find(t testing.TB, row siteRow, profile []profileRow) (profileRow, bool) {
	t.Helper()
	for _, r := range profile {
		bit := ""
		if r.Bit != nil {
			bit = strconv.Itoa(*r.Bit)
		}
		if r.Table == tableOfFunction[row.integer(t, "function_code")] && r.Address == row.integer(t, "register_address") && bit == row.places["bit_position"] {
			return r, true
		}
	}
	return profileRow{}, false
}

// TestPointsAgreeWithProfiles compares every mapped point of the site with the
// register that it names.
func TestPointsAgreeWithProfiles(t *testing.T) {
	t.Parallel()
	functions, orders := map[int]bool{}, map[string]bool{}
	shown := map[string]bool{}
	for _, channel := range readChannels(t) {
		one := deviceOf(t, channel)
		profile := readProfileRows(t, one.Profile)
		for key, row := range readRows(t, channel) {
			at := fmt.Sprintf("channel %d %s %s", channel.ID, key, row.name())
			r, ok := find(t, row, profile)
			if !ok {
				t.Errorf("%s: %s has no such register", at, one.Profile)
				continue
			}
			kind := r.Type
			if kind == "" {
				kind = "bool"
			}
			if row.places["data_type"] != kind || row.point["data_type"] != kind {
				t.Errorf("%s: types %s and %s, the device has %s", at, row.places["data_type"], row.point["data_type"], kind)
			}
			if kind != "bool" && row.places["byte_order"] != r.Order {
				t.Errorf("%s: order %s, the device has %s", at, row.places["byte_order"], r.Order)
			}
			scale := 1.0
			if r.Scale != nil {
				scale = *r.Scale
			}
			if row.number(t, "scale") != scale || row.number(t, "offset") != r.Offset {
				t.Errorf("%s: scale %s and offset %s, the device has %v and %v", at, row.point["scale"], row.point["offset"], scale, r.Offset)
			}
			if row.integer(t, "slave_id") != one.Unit {
				t.Errorf("%s: slave %s, the device is unit %d", at, row.places["slave_id"], one.Unit)
			}
			if writes := row.kind == "C" || row.kind == "A"; writes != (r.Setpoint != "" && !r.Readonly) {
				t.Errorf("%s: is %s, the device shows %s%s", at, row.kind, r.Quantity, r.Setpoint)
			}
			functions[row.integer(t, "function_code")] = true
			orders[row.places["byte_order"]] = true
			shown[one.ID+" "+r.Table+strconv.Itoa(r.Address)+fmt.Sprint(row.places["bit_position"])] = true
		}
		for _, r := range profile {
			bit := ""
			if r.Bit != nil {
				bit = strconv.Itoa(*r.Bit)
			}
			if !shown[one.ID+" "+r.Table+strconv.Itoa(r.Address)+bit] {
				t.Errorf("%s: %s %d (%s%s) is no point of channel %d", one.Profile, r.Table, r.Address, r.Quantity, r.Setpoint, channel.ID)
			}
		}
	}
	for code := range tableOfFunction {
		if !functions[code] {
			t.Errorf("no point uses function code %d", code)
		}
	}
	for _, order := range []string{"AB", "BA", "ABCD", "DCBA", "BADC", "CDAB", "ABCDEFGH", "BADCFEHG", "GHEFCDAB"} {
		if !orders[order] {
			t.Errorf("no point has byte order %s", order)
		}
	}
}

// TestModelsAgreeWithPoints compares the names of models and points.
func TestModelsAgreeWithPoints(t *testing.T) {
	t.Parallel()
	var models struct {
		Models []struct {
			ID      string
			Mapping struct {
				Channel int
				Data    map[string]string
				Action  map[string]string
			}
		}
	}
	readYAML(t, "models.yaml", &models)
	rows := map[int]map[string]siteRow{}
	for _, channel := range readChannels(t) {
		rows[channel.ID] = readRows(t, channel)
	}
	var ids []string
	for _, model := range models.Models {
		ids = append(ids, model.ID)
		mapped := map[string]bool{}
		for _, part := range []struct {
			mapping map[string]string
			kinds   string
		}{{model.Mapping.Data, "TS"}, {model.Mapping.Action, "CA"}} {
			for name, point := range part.mapping {
				row, ok := rows[model.Mapping.Channel][point]
				if !ok || row.name() != name || !strings.Contains(part.kinds, row.kind) {
					t.Errorf("%s %s is %s, which is %s", model.ID, name, point, row.name())
				}
				mapped[point] = true
			}
		}
		if len(mapped) != len(rows[model.Mapping.Channel]) {
			t.Errorf("%s shows %d points of %d", model.ID, len(mapped), len(rows[model.Mapping.Channel]))
		}
	}
	if got := strings.Join(ids, " "); got != "pv_001 battery_001 genset_001 load_001 grid_001" {
		t.Errorf("models %s", got)
	}
}
