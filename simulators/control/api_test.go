package control

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/simulators/device"
	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/fault"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const plantYAML = `
name: small
seed: 1
start: 2026-06-21T11:00:00Z
location: {latitude_deg: 40, longitude_deg: 0}
control: 127.0.0.1:5020
devices:
  - {id: load, type: load, listen: "127.0.0.1:5024", profile: p.yaml, parameters: {base_kw: 90, maximum_kw: 200, noise_pct: 0}}
  - {id: grid, type: grid, listen: "127.0.0.1:5025", profile: p.yaml, parameters: {voltage_noise_pct: 0}}
`

// line notes the faults on the wire of devices that nobody asks.
type line struct{ set []modbusserver.Fault }

func (l *line) SetFaults(faults []modbusserver.Fault) error {
	for _, one := range faults {
		if err := one.Check(); err != nil {
			return err
		}
	}
	l.set = faults
	return nil
}

func (l *line) Faults() []modbusserver.FaultState { return nil }

type fixture struct {
	t      *testing.T
	plant  *plant.Plant
	runner *plant.Runner
	folder string
	faults *fault.Registry
	line   *line
	server *Server
	client *http.Client
}

func start(t *testing.T) *fixture {
	t.Helper()
	var faults document.Faults
	definition := plant.ReadDefinition("plant.yaml", []byte(plantYAML), plant.Addresses{}, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "simulator_answer"}, func() float64 { return 42 }))
	f := &fixture{t: t, plant: plant.New(definition), folder: t.TempDir(), client: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	f.runner = plant.NewRunner(f.plant, ems.NewManualClock(time.Unix(1_900_000_000, 0)), func(*plant.Truth) {}, func(time.Duration) {})
	f.line = &line{}
	width := func(string) int { return 2 }
	f.faults = fault.NewRegistry(f.plant, map[string]fault.Place{
		"load": {Type: "load", View: device.NewView(f.plant.Names("load"), [2]uint64{1, 1}), Width: width, Line: f.line, Unit: 3},
		"grid": {Type: "grid", View: device.NewView(f.plant.Names("grid"), [2]uint64{1, 2}), Width: width, Line: f.line, Unit: 4},
	}, ems.SystemClock{})
	f.server = Serve(listener, Options{
		Plant: f.plant, Runner: f.runner, Faults: f.faults, Conditions: f.folder, Metrics: registry, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		if err := f.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// ask returns the status and the body of a request.
func (f *fixture) ask(method, path, body string) (int, string) {
	f.t.Helper()
	request, err := http.NewRequest(method, "http://"+f.server.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	response, err := f.client.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(text))
}

func (f *fixture) want(method, path, body string, status int, text string) {
	f.t.Helper()
	gotStatus, got := f.ask(method, path, body)
	if gotStatus != status || got != text {
		f.t.Errorf("%s %s %s: %d %s\nwant %d %s", method, path, body, gotStatus, got, status, text)
	}
}

func TestHealthFollowsTheTicks(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("GET", "/health", "", 503, `{"success":false,"error":{"code":"UNAVAILABLE","message":"the plant has not made its first tick yet: ask again"}}`)
	f.plant.Step(time.Now())
	f.want("GET", "/health", "", 200, `{"success":true,"data":{"status":"healthy","plant":"small","tick":1}}`)
}

func TestTruthShowsEveryValueOfATick(t *testing.T) {
	t.Parallel()
	f := start(t)
	wall := time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC)
	f.plant.Step(wall)
	f.want("PUT", "/inputs/load/base_kw", `{"value": 50}`, 200, `{"success":true,"data":{"device":"load","input":"base_kw","value":50}}`)
	read := func() (answer struct {
		Success bool
		Data    truth
	}) {
		t.Helper()
		status, text := f.ask("GET", "/truth", "")
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || !answer.Success {
			t.Fatalf("%d %s: %v", status, text, err)
		}
		return answer
	}
	before := read().Data
	if before.Tick != 1 || !before.WallTime.Equal(wall) || !before.SimulatedTime.Equal(time.Date(2026, 6, 21, 11, 0, 0, 1e8, time.UTC)) {
		t.Errorf("tick %d at %v, wall %v", before.Tick, before.SimulatedTime, before.WallTime)
	}
	if before.Devices["load"].Inputs["base_kw"] != 90 {
		t.Error("the input shows before its tick")
	}
	f.plant.Step(wall)
	after := read().Data
	load, grid := after.Devices["load"], after.Devices["grid"]
	if load.Inputs["base_kw"] != 50 || grid.Values["power_kw"] != load.Values["power_kw"] || grid.Values["voltage_v"] != load.Values["voltage_v"] || load.Values["voltage_v"] < 399 {
		t.Errorf("after the tick: load %+v, grid %+v", load, grid)
	}
	if load.Type != "load" || load.Setpoints["non_critical_connected"] != 1 {
		t.Errorf("load %+v", load)
	}
	for id, device := range after.Devices {
		if len(device.Values) != len(f.plant.Names(id)) {
			t.Errorf("%s shows %d values of %d", id, len(device.Values), len(f.plant.Names(id)))
		}
	}
}

func TestInputsShowRanges(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("PUT", "/inputs/grid/available", `{"value": 0}`, 200, `{"success":true,"data":{"device":"grid","input":"available","value":0}}`)
	var answer struct{ Data map[string]map[string]input }
	status, text := f.ask("GET", "/inputs", "")
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	for of, want := range map[[2]string]input{
		{"grid", "available"}:    {Value: 0, Max: 1, Truth: true},
		{"grid", "frequency_hz"}: {Value: 50, Min: 45, Max: 65},
		{"load", "base_kw"}:      {Value: 90, Max: 200},
	} {
		if got := answer.Data[of[0]][of[1]]; got != want {
			t.Errorf("%v: %+v, want %+v", of, got, want)
		}
	}
}

func TestBadRequestsAreExplained(t *testing.T) {
	t.Parallel()
	f := start(t)
	const routes = "; GET /openapi.yaml says what there is"
	cases := []struct {
		method, path, body string
		status             int
		code, message      string
	}{
		{"PUT", "/inputs/wind/base_kw", `{"value":1}`, 404, "NOT_FOUND", `no device "wind": the plant has grid, load`},
		{"PUT", "/inputs/load/wind", `{"value":1}`, 404, "NOT_FOUND", `device load has no input "wind": it has base_kw, step_kw`},
		{"PUT", "/inputs/load/base_kw", `{"value":201}`, 400, "INVALID", `input base_kw of load cannot be 201: use 0 to 200`},
		{"PUT", "/inputs/grid/available", `{"value":2}`, 400, "INVALID", `input available of grid cannot be 2: use 0 or 1`},
		{"PUT", "/inputs/load/base_kw", `{"values":1}`, 400, "INVALID", `the body cannot be read (unknown field "values"): send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `{}`, 400, "INVALID", `the body has no value: send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `{"value":null}`, 400, "INVALID", `the body has no value: send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `{"value":"hot"}`, 400, "INVALID", `the body cannot be read (value is not a number): send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `[1]`, 400, "INVALID", `the body cannot be read (it is not an object): send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `{"value":1`, 400, "INVALID", `the body cannot be read (it breaks off): send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", ``, 400, "INVALID", `the body cannot be read (it is empty): send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `{"value":1} 2`, 400, "INVALID", `the body goes on after its object: send {"value": 12.5}`},
		{"PUT", "/inputs/load/base_kw", `{"value":` + strings.Repeat(" ", mostBody) + `1}`, 400, "INVALID", `the body cannot be read (it is larger than 4096 bytes): send {"value": 12.5}`},
		{"POST", "/inputs/load/base_kw", `{"value":1}`, 405, "INVALID", "POST /inputs/load/base_kw: Method Not Allowed" + routes},
		{"GET", "/nowhere", "", 404, "NOT_FOUND", "GET /nowhere: Not Found" + routes},
	}
	for _, c := range cases {
		status, text := f.ask(c.method, c.path, c.body)
		var got envelope
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := envelope{Error: &problem{Code: "", Message: c.message}}
		want.Error.Code = got.Error.Code
		if diff := cmp.Diff(want, got); diff != "" || status != c.status || string(got.Error.Code) != c.code {
			t.Errorf("%s %s: %d %s, want %d %s %s", c.method, c.path, status, text, c.status, c.code, diff)
		}
	}
	if got := f.plant.RequestedInputs("load")[0]; got != 90 {
		t.Errorf("a refused request set %v", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := start(t)
	status, text := f.ask("GET", "/metrics", "")
	if status != 200 || !strings.Contains(text, "simulator_answer 42") {
		t.Errorf("%d %s", status, text)
	}
}

func TestCloseEndsTheServer(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.ask("GET", "/inputs", "")
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", f.server.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}
