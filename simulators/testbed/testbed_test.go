package testbed

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// copySite copies the microgrid into a folder that the test may spoil.
func copySite(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(microgrid)); err != nil {
		t.Fatal(err)
	}
	return folder
}

func replace(t *testing.T, file, from, to string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), from) {
		t.Fatalf("%s does not hold %q", file, from)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func tryStart(folder string, addresses plant.Addresses) error {
	bed, err := Start(Options{Folder: folder, Addresses: addresses, Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = bed.Close()
	}
	return err
}

func TestEveryFaultOfEveryFileAtOnce(t *testing.T) {
	t.Parallel()
	folder := copySite(t)
	replace(t, filepath.Join(folder, "plant.yaml"), "rated_kw: 100\n      ramp", "rated_kw: -1\n      ramp")
	replace(t, filepath.Join(folder, "plant.yaml"), "profiles/genset.yaml", "profiles/gone.yaml")
	replace(t, filepath.Join(folder, "profiles/pv.yaml"), "quantity: dc_power_kw", "quantity: wind_kw")
	replace(t, filepath.Join(folder, "profiles/load.yaml"), "address: 2, ", "address: 1, ")
	err := tryStart(folder, plant.Addresses{})
	if ems.CodeOf(err) != ems.CodeInvalid {
		t.Fatalf("%v", err)
	}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line, _, _ = strings.Cut(strings.TrimPrefix(line, folder+"/"), ": it has")
		got = append(got, strings.ReplaceAll(line, folder, ""))
	}
	want := []string{
		`plant.yaml:30: key "devices[1].parameters.rated_kw": -1 is out of range: use 0.1 to 100000`,
		`plant.yaml:44: the profile of device genset cannot be read: open /profiles/gone.yaml: no such file or directory`,
		`profiles/load.yaml:7: input 1 is taken by power_kw in line 6, and reactive_power_kvar (float32) needs it too`,
		`profiles/pv.yaml:8: the device has no quantity "wind_kw"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFolderWithoutPlant(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	err := tryStart(folder, plant.Addresses{})
	want := folder + "/plant.yaml does not exist: name the folder of a plant, which holds a plant.yaml"
	if err == nil || err.Error() != want || ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("%v", err)
	}
	if err := os.Mkdir(filepath.Join(folder, "plant.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := tryStart(folder, plant.Addresses{}); err == nil || !strings.Contains(err.Error(), "the plant cannot be read") {
		t.Errorf("%v", err)
	}
}

// TestPortsInUseAreAllNamed holds two of the addresses while the plant starts:
// both are named and none of the others stays open.
func TestPortsInUseAreAllNamed(t *testing.T) {
	t.Parallel()
	taken := make([]string, 2)
	for i := range taken {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		taken[i] = listener.Addr().String()
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	err = tryStart(microgrid, plant.Addresses{Free: true, Control: taken[0], Listen: map[string]string{"battery": taken[1], "load": address}})
	if err == nil || ems.CodeOf(err) != ems.CodeConflict {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{taken[0] + " (the control API) is in use", taken[1] + " (battery) is in use"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %s", err, part)
		}
	}
	if strings.Contains(err.Error(), address) {
		t.Errorf("%v names an address that was free", err)
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("a listener was left open: %v", err)
	}
	_ = again.Close()
}

func TestDevicesMayShareAPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	clock := ems.NewManualClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	bed, err := Start(Options{
		Folder: microgrid, Clock: clock, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Addresses: plant.Addresses{Free: true, Listen: map[string]string{"genset": address, "grid": address}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if bed.Address("genset") != address || bed.Address("grid") != address || bed.Address("pv") == address || bed.Address("wind") != "" {
		t.Errorf("genset at %s, grid at %s", bed.Address("genset"), bed.Address("grid"))
	}
	genset, grid := connect(t, bed, "genset", 3), connect(t, bed, "grid", 7)
	if data, err := genset.ReadHoldingRegisters(1004, 1); err != nil || !bytes.Equal(data, []byte{0x40, 0x1F}) { // 8000, bytes swapped
		t.Errorf("fuel % X, %v", data, err)
	}
	if _, err := grid.ReadInputRegisters(3008, 1); err != nil {
		t.Error(err)
	}
	if _, err := connect(t, bed, "grid", 1).ReadInputRegisters(3008, 1); err == nil || !strings.Contains(err.Error(), "exception '11'") {
		t.Errorf("unit 1: %v", err)
	}
	if err := bed.Close(); err != nil {
		t.Error(err)
	}
	for device, unit := range map[string]string{"pv": "1", "battery": "1", "genset": "3", "load": "1", "grid": "7"} {
		if line := "msg=listening device=" + device + " address=" + bed.Address(device) + " unit=" + unit + "\n"; !strings.Contains(log.String(), line) {
			t.Errorf("the log lacks %s", line)
		}
	}
	if line := "msg=listening api=control address=" + bed.Control() + "\n"; !strings.Contains(log.String(), line) {
		t.Errorf("the log lacks %s", line)
	}
}

func TestLostTimeIsReported(t *testing.T) {
	t.Parallel()
	bed, clock := start(t)
	clock.AwaitTimers(1)
	clock.Advance(time.Hour)
	tick(t, bed, clock, 1)
	if got := bed.Plant().Latest().Tick; got != 3 {
		t.Errorf("tick %d after an hour of sleep", got)
	}
	if metrics := ask(t, bed, "GET", "/metrics", ""); !strings.Contains(metrics, "simulator_dropped_seconds_total 3599.9\n") {
		t.Error("the time lost is not counted")
	}
}

// What is wrong with a plant of several buses, of copies, or of SunSpec profiles is named
// with file and line before anything starts.
func TestFaultsOfPlantsAreNamed(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ folder, file, from, to, want string }{
		{solarStorage, "plant.yaml", "type: weather_station", "type: weather", `key "devices[3].type": "weather" is unknown: use one of battery, breaker, `},
		{solarStorage, "plant.yaml", "dc_rated_kw: 118", "dc_rated_kw: -118", `key "devices[5].parameters.dc_rated_kw": -118 is out of range: use 0.1 to 100000`},
		{solarStorage, "plant.yaml", "between: [mv, lv]", "between: [mv, hv]", `key "devices[1].between": no bus "hv": there are mv, lv`},
		{solarStorage, "plant.yaml", "between: [mv, lv]", "between: [lv, lv]", `key "devices[1].between": transformer joins a bus with itself`},
		{solarStorage, "plant.yaml", "127.0.0.1:5112", "127.0.0.1:5111", `key "devices[6].listen": 127.0.0.1:5111 unit 1 is taken by device inverter_01`},
		{solarStorage, "plant.yaml", "unit: 7", "unit: 6", `key "devices[11].listen": 127.0.0.1:5116 unit 6 is taken by device inverter_06`},
		{solarStorage, "plant.yaml", "127.0.0.1:5103", "127.0.0.1:5102", `key "devices[3].listen": 127.0.0.1:5102 is that of device meter by another transport`},
		{solarStorage, "plant.yaml", "measures: grid", "measures: feeder", `key "devices[2].parameters.measures": no device "feeder": there are `},
		{solarStorage, "profiles/pv_inverter.yaml", "sunspec:", "sunspec: {address: 50001}\nother:", `key "sunspec.address": 50001 is out of range: use 0 to 50000`},
		{solarStorage, "profiles/pv_inverter.yaml", "address: 41003", "address: 41002", `holding 41002 is taken by sun_elevation_deg in line `},
		{solarStorage, "profiles/meter.yaml", "- model: 203", "- model: 204", `key "sunspec.models[1].model": "204" is unknown: use one of 1, 103, `},
		{depot, "profiles/fast_charger.yaml", "address: 12, ", "address: 11, ", `input 11 is taken by power_kw in line 9, and reactive_power_kvar (int32) needs it too`},
		{depot, "profiles/wall_boxes.yaml", "quantity: vehicles}", "quantity: lorries}", `the device has no quantity "lorries": it has power_kw, `},
		{depot, "plant.yaml", "genset: genset", "genset: roof", `key "devices[9].parameters.genset": roof is a pv: name a genset`},
		{fleet, "plant.yaml", "port_stride: 2", "port_stride: 0", `key "port_stride": 0 is out of range: use 1 to 65535`},
		{fleet, "plant.yaml", "copies: 100 ", "copies: 30000 ", `key "copies": 30000 is out of range: use 1 to 10000`},
	} {
		t.Run(one.want, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(one.folder)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(folder, one.file)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, file, one.from, one.to)
			above, _, _ := strings.Cut(string(before), one.from)
			want := fmt.Sprintf("%s:%d: %s", file, 1+strings.Count(above, "\n"), one.want)
			err = tryStart(folder, plant.Addresses{})
			if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}
