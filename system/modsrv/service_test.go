package modsrv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/modsrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// soon bounds what happens within a few steps of the programs under test.
const soon = 15 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func number(value float64) *float64 { return &value }

func testSite() *config.Site {
	point := func(kind ems.PointType, id ems.PointID, name, unit string) config.MappedPoint {
		return config.MappedPoint{Point: ems.Point{ID: id, Type: kind, Name: name, Unit: unit, Scale: 1, Group: ems.DefaultGroup}}
	}
	limited := point(ems.Adjustment, 1, "power setpoint", "kW")
	limited.Min, limited.Max = number(-40), number(40)
	return &config.Site{
		Name: "test",
		Channels: []config.Channel{{
			ID: 1001, Name: "battery", Enabled: true,
			Points: []config.MappedPoint{
				point(ems.Telemetry, 1, "power", "kW"), point(ems.Telemetry, 2, "state of charge", "%"),
				point(ems.Signal, 1, "running", ""), point(ems.Control, 1, "start", ""), limited,
			},
		}},
		Templates: []ems.Template{{
			ID: "battery", Name: "Battery",
			Data:   []ems.TemplateField{{Name: "power", Unit: "kW"}, {Name: "soc", Unit: "%"}, {Name: "running"}},
			Action: []ems.TemplateField{{Name: "start"}, {Name: "set_power", Unit: "kW", Min: number(-50), Max: number(50)}},
		}},
		Models: []ems.Model{{
			ID: "battery_001", Name: "Battery 1", Template: "battery",
			Mapping: ems.ModelMapping{
				Channel: 1001,
				Data:    map[string]ems.ModelPoint{"power": "1", "soc": "2", "running": "S:1"},
				Action:  map[string]ems.ModelPoint{"start": "1", "set_power": "A:1"},
			},
		}},
	}
}

type fixture struct {
	t     *testing.T
	redis *testkit.RedisServer
	db    *rtdb.Client
	url   string
}

// start runs the service on a Redis of its own.
func start(t *testing.T, site *config.Site) *fixture {
	t.Helper()
	server := testkit.Redis(t)
	logger := testkit.Logger(t)
	db, err := rtdb.Open(rtdb.Options{URL: server.URL, Namespace: site.Namespace, Clock: ems.SystemClock{}, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	service, err := modsrv.New(modsrv.Options{
		Service: config.Service{Listen: "127.0.0.1:0"}, Site: site, DB: db,
		Clock: ems.SystemClock{}, Logger: logger, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	f := &fixture{t: t, redis: server, db: db, url: "http://" + service.Addr()}
	f.awaitHealth(http.StatusOK)
	return f
}

func (f *fixture) awaitHealth(status int) {
	f.t.Helper()
	testkit.Eventually(f.t, soon, func() error {
		if found, text := f.ask(http.MethodGet, "/health/detailed", "", nil); found != status {
			return fmt.Errorf("health is %d: %s", found, text)
		}
		return nil
	}, "health")
}

// empty takes everything out of Redis, the functions too.
func (f *fixture) empty() {
	f.t.Helper()
	options, err := redis.ParseURL(f.redis.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	if err := errors.Join(client.FlushAll(f.t.Context()).Err(), client.FunctionFlush(f.t.Context()).Err()); err != nil {
		f.t.Fatal(err)
	}
}

// ask sends a request and decodes the data of the answer into the value that
// into points to, unless it is nil.
func (f *fixture) ask(method, path, body string, into any) (status int, text string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, bytes.NewBufferString(body))
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if into != nil {
		envelope := struct{ Data any }{into}
		if err := json.Unmarshal(read, &envelope); err != nil {
			f.t.Fatalf("%s %s: %d %s: %v", method, path, response.StatusCode, read, err)
		}
	}
	return response.StatusCode, string(read)
}

// refused expects an error with a code and a part of its message.
func (f *fixture) refused(method, path, body string, status int, code ems.Code, message string) {
	f.t.Helper()
	found, text := f.ask(method, path, body, nil)
	var envelope httpserver.Envelope
	if err := json.Unmarshal([]byte(text), &envelope); err != nil || envelope.Error == nil {
		f.t.Fatalf("%s %s: %d, no error in %s", method, path, found, text)
	}
	if found != status || envelope.Success || envelope.Error.Code != code || !bytes.Contains([]byte(envelope.Error.Message), []byte(message)) {
		f.t.Errorf("%s %s %s:\n got %d %s %q\nwant %d %s …%q…", method, path, body,
			found, envelope.Error.Code, envelope.Error.Message, status, code, message)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Errorf("-want +got:\n%s", difference)
	}
}

func TestSiteModelsAreStoredAndListed(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	var models []ems.Model
	if status, text := f.ask(http.MethodGet, "/api/models", "", &models); status != http.StatusOK {
		t.Fatal(text)
	}
	same(t, models, testSite().Models)
	var model ems.Model
	f.ask(http.MethodGet, "/api/models/battery_001", "", &model)
	same(t, model, testSite().Models[0])
	f.refused(http.MethodGet, "/api/models/nobody", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
	f.refused(http.MethodGet, "/api/models/a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "model id")
	f.refused(http.MethodGet, "/api/models?limit=0", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.refused(http.MethodGet, "/api/models?limit=1001", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.refused(http.MethodGet, "/api/models?after=a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "after")
}

func TestModelsArePaged(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	for _, id := range []string{"c", "a", "b"} {
		body := `{"id":"` + id + `","mapping":{"channel":1001,"data":{"power":1}}}`
		if status, text := f.ask(http.MethodPost, "/api/models", body, nil); status != http.StatusCreated {
			t.Fatalf("%d %s", status, text)
		}
	}
	var ids []string
	after := ""
	for {
		var page []ems.Model
		f.ask(http.MethodGet, "/api/models?limit=2&after="+after, "", &page)
		if len(page) == 0 {
			break
		}
		for _, model := range page {
			ids = append(ids, model.ID)
		}
		after = ids[len(ids)-1]
	}
	same(t, ids, []string{"a", "b", "battery_001", "c"})
}

func TestModelMadeThroughTheAPIIsKept(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	body := `{"id":"spare","template":"battery","mapping":{"channel":1001,"data":{"power":1},"action":{"set_power":"A:1"}},"metadata":{"floor":2}}`
	want := ems.Model{
		ID: "spare", Template: "battery", Metadata: map[string]any{"floor": 2.0},
		Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{"power": "1"}, Action: map[string]ems.ModelPoint{"set_power": "A:1"}},
	}
	var made ems.Model
	if status, text := f.ask(http.MethodPost, "/api/models", body, &made); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	same(t, made, want)

	f.redis.Restart()
	f.awaitHealth(http.StatusOK)
	var found ems.Model
	testkit.Eventually(t, soon, func() error {
		if status, text := f.ask(http.MethodGet, "/api/models/spare", "", &found); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	}, "the model after a restart of redis")
	same(t, found, want)

	var names []rtdb.ModelName
	f.ask(http.MethodGet, "/api/points/1001/T/1/models", "", &names)
	same(t, names, []rtdb.ModelName{{Model: "battery_001", Name: "power"}, {Model: "spare", Name: "power"}})
	if status, text := f.ask(http.MethodDelete, "/api/models/spare", "", nil); status != http.StatusOK {
		t.Fatal(text)
	}
	f.refused(http.MethodGet, "/api/models/spare", "", http.StatusNotFound, ems.CodeNotFound, "spare")
	f.refused(http.MethodDelete, "/api/models/spare", "", http.StatusNotFound, ems.CodeNotFound, "spare")
	f.ask(http.MethodGet, "/api/points/1001/T/1/models", "", &names)
	same(t, names, []rtdb.ModelName{{Model: "battery_001", Name: "power"}})
	f.ask(http.MethodGet, "/api/points/1001/T/99/models", "", &names)
	same(t, names, []rtdb.ModelName{})
	f.refused(http.MethodGet, "/api/points/1001/X/1/models", "", http.StatusBadRequest, ems.CodeInvalid, "point type")
}

func TestUnusableModelsAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	for body, message := range map[string]string{
		`{`:                                  "the body is not the JSON",
		`{"id":"a","colour":1}`:              "colour",
		`{"id":"a b"}`:                       "model id",
		`{"id":"a","mapping":{"channel":7}}`: "no channel 7",
		`{"id":"a","template":"none","mapping":{"channel":1001}}`:                         `no template "none"`,
		`{"id":"a","mapping":{"channel":1001,"data":{"x":9}}}`:                            "mapping.data.x: the site has no point comsrv:1001:T:9",
		`{"id":"a","mapping":{"channel":1001,"data":{"x y":1}}}`:                          "mapping.data.x y: name",
		`{"id":"a","mapping":{"channel":1001,"data":{"x":"Q:1"}}}`:                        "mapping.data.x: unknown point type",
		`{"id":"a","mapping":{"channel":1001,"action":{"x":"T:1"}}}`:                      "mapping.action.x: comsrv:1001:T:1 cannot be written",
		`{"id":"a","template":"battery","mapping":{"channel":1001,"data":{"voltage":1}}}`: `the template has no "voltage"`,
	} {
		f.refused(http.MethodPost, "/api/models", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	f.refused(http.MethodPost, "/api/models", `{"id":"battery_001","mapping":{"channel":1001}}`, http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	f.refused(http.MethodDelete, "/api/models/battery_001", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
}

// modelValue is the wire form of a value.
type modelValue struct {
	Name    string
	Point   string
	Value   *float64
	Unit    string
	Time    *int64
	Quality string
}

func TestValuesAreThoseOfTheDatabase(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	now := time.Now().Truncate(time.Millisecond)
	ms := now.UnixMilli()
	err := f.db.Ingest(t.Context(),
		rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: now, Samples: []rtdb.Sample{
			{Point: 1, Number: -12.345678, Quality: ems.Good}, {Point: 2, Number: 50, Quality: ems.Uncertain},
		}})
	if err != nil {
		t.Fatal(err)
	}
	want := []modelValue{
		{Name: "power", Point: "comsrv:1001:T:1", Value: number(-12.345678), Unit: "kW", Time: &ms, Quality: "good"},
		{Name: "running", Point: "comsrv:1001:S:1", Quality: "bad"},
		{Name: "soc", Point: "comsrv:1001:T:2", Value: number(50), Unit: "%", Time: &ms, Quality: "uncertain"},
	}
	var values []modelValue
	if status, text := f.ask(http.MethodGet, "/api/models/battery_001/values", "", &values); status != http.StatusOK {
		t.Fatal(text)
	}
	same(t, values, want)
	f.refused(http.MethodGet, "/api/models/nobody/values", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
}

func TestActionEndsAsItsCommandDoes(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	device := f.db.ReadCommands("device", []ems.ChannelID{1001})
	execute := func(state ems.CommandState, reason string) <-chan ems.Command {
		taken := make(chan ems.Command, 1)
		go func() {
			defer close(taken)
			for t.Context().Err() == nil {
				deliveries, err := device.Next(t.Context(), time.Second)
				if err != nil {
					t.Errorf("commands: %v", err)
					return
				}
				for _, delivery := range deliveries {
					if err := f.db.BeginCommand(t.Context(), delivery); err != nil {
						t.Errorf("begin: %v", err)
					}
					read := delivery.Value
					result := ems.CommandResult{State: state, Reason: reason, Time: time.Now()}
					if state == ems.CommandDone {
						result.ReadBack = &read
					}
					if err := f.db.FinishCommand(t.Context(), delivery, result); err != nil {
						t.Errorf("finish: %v", err)
					}
					taken <- delivery.Command
					return
				}
			}
		}()
		return taken
	}

	taken := execute(ems.CommandDone, "")
	var result ems.CommandResult
	if status, text := f.ask(http.MethodPost, "/api/models/battery_001/actions/set_power", `{"value":-7.5}`, &result); status != http.StatusOK {
		t.Fatal(text)
	}
	command := <-taken
	same(t, command.Target, ems.PointRef{Channel: 1001, Type: ems.Adjustment, Point: 1})
	same(t, command.Value, -7.5)
	same(t, command.Origin, "api:model:battery_001")
	same(t, command.Deadline.Sub(command.Issued), ems.DefaultCommandLifetime)
	same(t, result.ID, command.ID)
	same(t, result.State, ems.CommandDone)
	same(t, result.ReadBack, number(-7.5))

	taken = execute(ems.CommandFailed, "the device refused it")
	f.refused(http.MethodPost, "/api/models/battery_001/actions/start", `{"value":1}`, http.StatusConflict, ems.CodeConflict, "the device refused it")
	same(t, (<-taken).Target, ems.PointRef{Channel: 1001, Type: ems.Control, Point: 1})

	taken = execute(ems.CommandUnknown, "no answer")
	f.refused(http.MethodPost, "/api/models/battery_001/actions/start", `{"value":0}`, http.StatusGatewayTimeout, ems.CodeUnknown, "is unknown: no answer")
	<-taken

	path := "/api/models/battery_001/actions/"
	f.refused(http.MethodPost, path+"set_power", `{"value":45}`, http.StatusBadRequest, ems.CodeInvalid, "45 is above the greatest value of ")
	f.refused(http.MethodPost, path+"set_power", `{"value":-55}`, http.StatusBadRequest, ems.CodeInvalid, "-55 is below the least value of power setpoint, -40 kW")
	f.refused(http.MethodPost, path+"set_power", `{}`, http.StatusBadRequest, ems.CodeInvalid, "value")
	f.refused(http.MethodPost, path+"explode", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "explode")
	f.refused(http.MethodPost, "/api/models/nobody/actions/start", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "nobody")
}

func TestRedisThatComesBackEmptyIsFilledAgain(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	f.empty()
	f.redis.Stop()
	f.awaitHealth(http.StatusServiceUnavailable)
	f.refused(http.MethodGet, "/api/models", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
	f.redis.Start()
	if err := f.db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var model ems.Model
	testkit.Eventually(t, soon, func() error {
		if status, text := f.ask(http.MethodGet, "/api/models/battery_001", "", &model); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	}, "the model of the site")
	same(t, model, testSite().Models[0])
	f.awaitHealth(http.StatusOK)
}
