package testbed

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	peer "github.com/andig/gosunspec"
	over "github.com/andig/gosunspec/modbus"
	_ "github.com/andig/gosunspec/models" // which registers what that library knows of each model
	client "github.com/grid-x/modbus"
	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

const solarStorage = "../../scenarios/solar-storage-1mw"

// startFrozen runs a plant on free ports, which stands still until it is stepped.
func startFrozen(t *testing.T, folder string) *Testbed {
	t.Helper()
	bed, err := Start(Options{
		Folder: folder, Addresses: plant.Addresses{Free: true}, Mode: &plant.Mode{Speed: 1, Frozen: true},
		Clock: ems.NewManualClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	return bed
}

func advance(t *testing.T, bed *Testbed, ticks int) {
	t.Helper()
	if _, err := bed.runner.Advance(t.Context(), ticks); err != nil {
		t.Fatal(err)
	}
}

// sunspecRow is a point of a profile, read with nothing of the package that serves it.
type sunspecRow struct {
	Point    string
	Part     int
	Text     *string
	Value    *float64
	Bit      *int
	Codes    []float64
	Factor   *float64
	Offset   float64
	Quantity string
	Setpoint string
}

type sunspecModelRows struct {
	Model, Parts int
	Points       []sunspecRow
}

// sunspecModelsOf returns the models of a profile, none of one that has none.
func sunspecModelsOf(t *testing.T, folder, profile string) []sunspecModelRows {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, profile))
	if err != nil {
		t.Fatal(err)
	}
	var sheet struct {
		SunSpec struct{ Models []sunspecModelRows }
	}
	if err := yaml.Unmarshal(data, &sheet); err != nil {
		t.Fatal(err)
	}
	return sheet.SunSpec.Models
}

// modbusClient connects a client that nobody here wrote to a device, as that speaks.
func modbusClient(t *testing.T, bed *Testbed, device plant.DeviceDefinition) client.Client {
	t.Helper()
	if device.Transport.Kind == plant.RTUOverTCP {
		handler := client.NewRTUOverTCPClientHandler(bed.Address(device.ID))
		handler.SlaveID, handler.Timeout = device.Unit, 20*time.Second
		t.Cleanup(func() { _ = handler.Close() })
		return client.NewClient(handler)
	}
	handler := client.NewTCPClientHandler(bed.Address(device.ID))
	handler.SlaveID, handler.Timeout = device.Unit, 20*time.Second
	t.Cleanup(func() { _ = handler.Close() })
	return client.NewClient(handler)
}

// discover lets a SunSpec client that nobody here wrote find the models of a device,
// and reads them.
func discover(t *testing.T, bed *Testbed, device plant.DeviceDefinition) []peer.Model {
	t.Helper()
	found, err := over.Open(modbusClient(t, bed, device))
	if err != nil {
		t.Fatalf("%s: %v", device.ID, err)
	}
	var models []peer.Model
	found.Do(func(one peer.Device) {
		one.Do(func(model peer.Model) {
			models = append(models, model)
			model.Do(func(block peer.Block) {
				if err := block.Read(); err != nil {
					t.Fatalf("%s model %d: %v", device.ID, model.Id(), err)
				}
			})
		})
	})
	return models
}

// pointOf returns a point of a model or of one of its parts.
func pointOf(t *testing.T, model peer.Model, row sunspecRow) peer.Point {
	t.Helper()
	block := row.Part
	if row.Part > 0 && model.Blocks() > 0 && !slices.Contains([]peer.ModelId{160, 803}, model.Id()) {
		block-- // a model that is all parts
	}
	point, err := model.MustBlock(block).Point(row.Point)
	if err != nil {
		t.Fatalf("model %d: %v", model.Id(), err)
	}
	return point
}

func rawOf(value any) float64 {
	of := reflect.ValueOf(value)
	if of.CanInt() {
		return float64(of.Int())
	}
	return float64(of.Uint())
}

// readingOf returns the value of a point in its unit.
func readingOf(point peer.Point) float64 {
	switch point.Type() {
	case "enum16", "bitfield16", "bitfield32":
		return rawOf(point.Value())
	default:
		return point.ScaledValue()
	}
}

// scaleOf returns what a raw value of a point is multiplied with: what the value 1 means.
func scaleOf(t *testing.T, point peer.Point) float64 {
	t.Helper()
	switch kind := point.Type(); kind {
	case "int16":
		point.SetInt16(1)
	case "uint16":
		point.SetUint16(1)
	case "uint32":
		point.SetUint32(1)
	case "acc32":
		point.SetAcc32(1)
	case "acc64":
		point.SetAcc64(1)
	default:
		t.Fatalf("%s is a %s", point.Id(), kind)
	}
	return point.ScaledValue()
}

// expectPoint holds a point as it was read to the truth. What a device does not tell
// in its truth, its heartbeat, is left out.
func expectPoint(t *testing.T, bed *Testbed, device string, point peer.Point, row sunspecRow) {
	t.Helper()
	what := fmt.Sprintf("%s %s of part %d", device, row.Point, row.Part)
	switch {
	case row.Quantity == "heartbeat":
		return
	case row.Text != nil:
		// That library takes the registers of a text for its bytes: it reads half of them.
		read := point.StringValue()
		want := strings.ReplaceAll(*row.Text, "{id}", device)
		if got := strings.TrimRight(read, "\x00"); got == "" || got != want[:min(len(want), len(read))] {
			t.Errorf("%s reads %q", what, got)
		}
		return
	case point.NotImplemented():
		t.Errorf("%s reads as not implemented", what)
		return
	case row.Value != nil:
		if got := rawOf(point.Value()); got != *row.Value {
			t.Errorf("%s holds %v, not %v", what, got, *row.Value)
		}
		return
	}
	truth := float64(bed.Plant().Latest().Simulated.Truncate(time.Second).Unix())
	if row.Quantity != "clock_s" { // which a device does not tell in its truth either
		truth = truthOf(t, bed.Plant(), device, profileRow{Quantity: row.Quantity, Setpoint: row.Setpoint})
	}
	got, want, tolerance := rawOf(point.Value()), truth, 0.0
	switch {
	case row.Bit != nil:
		got = float64(uint32(got) >> *row.Bit & 1)
	case row.Codes != nil:
		want = row.Codes[int(truth)]
	case point.Type() == "enum16":
	default:
		if row.Factor != nil {
			want *= *row.Factor
		}
		got = point.ScaledValue() + row.Offset
		tolerance = 0.5000001 * scaleOf(t, point) // of a whole number
	}
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s reads %v, the truth is %v", what, got, want)
	}
}

// A client that nobody here wrote discovers every SunSpec device of the park, finds the
// models that its profile has, and reads the truth at every point of them.
func TestASunSpecClientReadsThePark(t *testing.T) {
	t.Parallel()
	bed := startFrozen(t, solarStorage)
	for id, writes := range map[string]map[string]float64{
		"inverter_02": {"power_limit_pct": 40}, "inverter_07": {"enabled": 0},
		"inverter_03": {"power_factor": -0.9, "power_factor_enabled": 1},
		"rack_1":      {"power_setpoint_kw": 80}, "rack_2": {"power_setpoint_kw": -60}, "rack_3": {"run": 0},
	} {
		for setpoint, value := range writes {
			if err := bed.Plant().Write(id, setpoint, value, "test"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := bed.Plant().SetInput("rack_4", "cell_temperature_rise_c", 40, "test"); err != nil { // which trips it
		t.Fatal(err)
	}
	advance(t, bed, 600)
	// What some must read, whatever their profile says.
	known := map[string]float64{
		"inverter_02 103 W": 40000, "inverter_02 103 St": 5, "inverter_07 103 St": 1, "inverter_07 123 Conn": 0, "inverter_02 123 WMaxLimPct": 40,
		"inverter_03 123 OutPFSet": -0.9, "inverter_01 120 WRtg": 100000, "rack_1 124 OutWRte": 64, "rack_1 124 ChaSt": 3, "rack_1 103 W": 80000,
		"inverter_03 122 StActCtl": 1<<0 | 1<<2, "inverter_03 122 Tms": 835437660, // 2026-06-22T10:01:00Z
		"rack_2 124 ChaSt": 4, "rack_2 103 W": -60000, "rack_3 802 State": 1, "rack_3 802 SetOp": 2, "rack_4 802 State": 99, "rack_4 802 Evt1": 1<<1 | 1<<2,
		"rack_4 103 St": 7, "rack_1 803 NStrCon": 1, "rack_4 803 NStrCon": 0,
	}
	devices, points := map[string]int{}, 0
	for _, device := range bed.Plant().Definition().Devices {
		rows := sunspecModelsOf(t, solarStorage, device.Profile)
		if len(rows) == 0 {
			continue
		}
		var want, got []int
		models := discover(t, bed, device)
		for _, one := range models {
			got = append(got, int(one.Id()))
		}
		for _, one := range rows {
			want = append(want, one.Model)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s has the models %v, not %v", device.ID, got, want)
		}
		devices[fmt.Sprint(device.Type, want)]++
		if device.Type == "pv" { // all are under the sky that the station measures
			got, want := truthOf(t, bed.Plant(), device.ID, profileRow{Quantity: "irradiance_w_per_m2"}), truthOf(t, bed.Plant(), "weather", profileRow{Quantity: "irradiance_plane_w_per_m2"})
			if got != want || want < 100 {
				t.Errorf("%s sees %v W/m2, the weather station %v", device.ID, got, want)
			}
		}
		for i, model := range rows {
			for _, row := range model.Points {
				if row.Value != nil && strings.HasSuffix(row.Point, "_SF") {
					continue // scales the others
				}
				point := pointOf(t, models[i], row)
				name := fmt.Sprintf("%s %d %s", device.ID, model.Model, row.Point)
				if want, is := known[name]; is {
					if got := readingOf(point); math.Abs(got-want) > 1e-9 {
						t.Errorf("%s reads %v, not %v", name, got, want)
					}
					delete(known, name)
				}
				expectPoint(t, bed, device.ID, point, row)
				points++
			}
		}
	}
	if len(known) > 0 {
		t.Errorf("not found: %v", known)
	}
	for what, count := range map[string]int{
		"pv[1 103 120 121 122 123 160]": 10, "battery[1 103 120 121 123 124 802 803]": 4, "meter[1 203]": 1, "weather_station[1 307 302 303]": 1,
	} {
		if devices[what] != count {
			t.Errorf("%d of %s", devices[what], what)
		}
	}
	if points < 1500 {
		t.Errorf("only %d points", points)
	}
}

// A limit that is written to model 123 takes hold with the next tick, and reverts
// where it is not written again in time.
func TestALimitOverSunSpecReverts(t *testing.T) {
	t.Parallel()
	bed := startFrozen(t, solarStorage)
	device := bed.Plant().Definition().Devices[slices.IndexFunc(bed.Plant().Definition().Devices, func(d plant.DeviceDefinition) bool { return d.ID == "inverter_08" })]
	power := func() float64 {
		return truthOf(t, bed.Plant(), device.ID, profileRow{Quantity: "power_kw"})
	}
	advance(t, bed, 1)
	if before := power(); before < 60 {
		t.Fatalf("%v kW before the limit", before)
	}
	models := discover(t, bed, device)
	block := models[slices.IndexFunc(models, func(m peer.Model) bool { return m.Id() == 123 })].MustBlock(0)
	write := func(name string, raw uint16) {
		t.Helper()
		point := block.MustPoint(name)
		point.SetUint16(raw)
		if err := block.Write(name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	write("WMaxLimPct_RvrtTms", 5)
	write("WMaxLimPct", 2500)
	advance(t, bed, 1)
	for range 49 {
		if got := power(); got != 25 {
			t.Fatalf("%v kW under a limit of 25 %%", got)
		}
		advance(t, bed, 1)
	}
	write("WMaxLimPct", 2500) // the same again, which starts the timer again
	advance(t, bed, 50)
	if got := power(); got != 25 {
		t.Errorf("%v kW after the limit was written again", got)
	}
	advance(t, bed, 1)
	if got := power(); got < 60 {
		t.Errorf("%v kW after the limit reverted", got)
	}
	if err := block.Read(); err != nil {
		t.Fatal(err)
	}
	if got := block.MustPoint("WMaxLimPct").ScaledValue(); got != 25 { // what was written stands
		t.Errorf("the limit reads %v", got)
	}
	state, err := modbusClient(t, bed, device).ReadHoldingRegisters(41010, 1)
	if err != nil || binary.BigEndian.Uint16(state)&2 == 0 {
		t.Errorf("status % X: %v", state, err)
	}
}

// eventBits are events of the models 103 and 802, by the bit that each has there.
var eventBits = map[string]int{
	"grid_disconnect": 4, "over_frequency": 8, "under_frequency": 9, "ac_over_volt": 10, "ac_under_volt": 11,
	"over_temp_alarm": 1, "over_temp_warning": 2, "over_volt_alarm": 9, "under_volt_alarm": 11, "contactor_error": 20,
}

// parkRows returns the points of a channel of the park, with where each is mapped to.
func parkRows(t *testing.T, channel int) []siteRow {
	t.Helper()
	var rows []siteRow
	for _, table := range []string{"telemetry", "signal", "adjustment"} {
		folder := filepath.Join(solarStorage, "points", strconv.Itoa(channel))
		if _, err := os.Stat(filepath.Join(folder, table+".csv")); err != nil {
			continue // a meter has values alone
		}
		points, places := readTable(t, filepath.Join(folder, table+".csv")), readTable(t, filepath.Join(folder, table+"_mapping.csv"))
		for i, point := range points {
			if point["point_id"] != places[i]["point_id"] {
				t.Fatalf("channel %d: %s row %d has another point than its mapping", channel, table, i+1)
			}
			rows = append(rows, siteRow{point: point, places: places[i]})
		}
	}
	return rows
}

// The point tables of the park as a site name the registers where a SunSpec client finds
// the points after which they are named, with their scale.
func TestThePointsOfTheParkAreWhereTheirModelsSay(t *testing.T) {
	t.Parallel()
	bed := startFrozen(t, solarStorage)
	for _, err := range []error{
		bed.Plant().Write("rack_2", "power_setpoint_kw", -60, "test"), bed.Plant().Write("rack_3", "run", 0, "test"),
		bed.Plant().SetInput("rack_3", "contactor_welded", 1, "test"), bed.Plant().SetInput("rack_4", "cell_temperature_rise_c", 40, "test"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	advance(t, bed, 300)
	var site struct{ Channels []siteChannel }
	data, err := os.ReadFile(filepath.Join(solarStorage, "channels.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &site); err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`^m(\d+)_([A-Z][A-Za-z0-9]*(?:_RvrtTms|_Ena)?)(?:_([a-z_]+))?$`)
	points, events := 0, 0
	for _, channel := range site.Channels {
		devices := bed.Plant().Definition().Devices
		device := devices[slices.IndexFunc(devices, func(d plant.DeviceDefinition) bool { return d.ID == channel.Name })]
		models := map[string]peer.Model{}
		for _, model := range discover(t, bed, device) {
			models[strconv.Itoa(int(model.Id()))] = model
		}
		client := modbusClient(t, bed, device)
		for _, row := range parkRows(t, channel.ID) {
			if got := row.places["slave_id"]; got != strconv.Itoa(int(device.Unit)) {
				t.Errorf("%s %s is read of unit %s", channel.Name, row.name(), got)
			}
			parts := named.FindStringSubmatch(row.name())
			if parts == nil || models[parts[1]] == nil {
				t.Fatalf("%s has no %s", channel.Name, row.name())
			}
			if row.places["function_code"] == "6" {
				row.places["function_code"] = "3"
			}
			point := pointOf(t, models[parts[1]], sunspecRow{Point: parts[2]})
			want := readingOf(point)
			if parts[3] != "" {
				bit, known := eventBits[parts[3]]
				if !known {
					t.Fatalf("%s is no event of SunSpec", row.name())
				}
				want = float64(uint32(want) >> bit & 1)
				events += int(want)
			}
			if got := read(t, client, row); math.Abs(got-want) > 1e-9*math.Abs(want)+1e-12 {
				t.Errorf("%s %s reads %v, the model says %v", channel.Name, row.name(), got, want)
			}
			points++
		}
	}
	if points != 457 || events != 3 { // the alarm and warning of rack_4, the contactor of rack_3
		t.Errorf("%d points, %d events", points, events)
	}
}
