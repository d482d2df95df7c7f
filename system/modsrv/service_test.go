package modsrv_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/modsrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

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

// start runs the service on a Redis of its own.
func start(t *testing.T, site *config.Site) *servicetest.Fixture {
	t.Helper()
	f := servicetest.New(t, ems.SystemClock{})
	run(t, f, site)
	return f
}

func run(t *testing.T, f *servicetest.Fixture, site *config.Site) (stop func()) {
	t.Helper()
	service, err := modsrv.New(modsrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: site, DB: f.DB,
		Clock: ems.SystemClock{}, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	stop = f.Run(service)
	f.AwaitHealth(http.StatusOK)
	return stop
}

// ids returns the id of every model, page by page.
func ids(f *servicetest.Fixture, limit int) []string {
	var all []string
	after := ""
	for {
		var page []ems.Model
		f.Ask(http.MethodGet, fmt.Sprintf("/api/models?limit=%d&after=%s", limit, after), "", &page)
		if len(page) == 0 {
			return all
		}
		for _, model := range page {
			all = append(all, model.ID)
		}
		after = all[len(all)-1]
	}
}

func TestSiteModelsAreStoredAndListed(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	var models []ems.Model
	if status, text := f.Ask(http.MethodGet, "/api/models", "", &models); status != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, models, testSite().Models)
	var model ems.Model
	f.Ask(http.MethodGet, "/api/models/battery_001", "", &model)
	servicetest.Same(t, model, testSite().Models[0])
	f.Refused(http.MethodGet, "/api/models/nobody", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
	f.Refused(http.MethodGet, "/api/models/a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "model id")
	f.Refused(http.MethodGet, "/api/models?limit=0", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.Refused(http.MethodGet, "/api/models?limit=1001", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.Refused(http.MethodGet, "/api/models?after=a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "after")
}

func TestModelsArePaged(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	for _, id := range []string{"api-c", "api-a", "api-b"} {
		body := `{"id":"` + id + `","mapping":{"channel":1001,"data":{"power":1}}}`
		if status, text := f.Ask(http.MethodPost, "/api/models", body, nil); status != http.StatusCreated {
			t.Fatalf("%d %s", status, text)
		}
	}
	servicetest.Same(t, ids(f, 2), []string{"api-a", "api-b", "api-c", "battery_001"})
}

func TestModelMadeThroughTheAPIIsKept(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	body := `{"id":"api-spare","template":"battery","mapping":{"channel":1001,"data":{"power":1},"action":{"set_power":"A:1"}},"metadata":{"floor":2}}`
	want := ems.Model{
		ID: "api-spare", Template: "battery", Metadata: map[string]any{"floor": 2.0},
		Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{"power": "1"}, Action: map[string]ems.ModelPoint{"set_power": "A:1"}},
	}
	var made ems.Model
	if status, text := f.Ask(http.MethodPost, "/api/models", body, &made); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	servicetest.Same(t, made, want)

	f.Redis.Restart()
	f.AwaitHealth(http.StatusOK)
	var found ems.Model
	testkit.Eventually(t, servicetest.Soon, func() error {
		if status, text := f.Ask(http.MethodGet, "/api/models/api-spare", "", &found); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	}, "the model after a restart of redis")
	servicetest.Same(t, found, want)

	var names []rtdb.ModelName
	f.Ask(http.MethodGet, "/api/points/1001/T/1/models", "", &names)
	servicetest.Same(t, names, []rtdb.ModelName{{Model: "battery_001", Name: "power"}, {Model: "api-spare", Name: "power"}})
	if status, text := f.Ask(http.MethodDelete, "/api/models/api-spare", "", nil); status != http.StatusOK {
		t.Fatal(text)
	}
	f.Refused(http.MethodGet, "/api/models/api-spare", "", http.StatusNotFound, ems.CodeNotFound, "api-spare")
	f.Refused(http.MethodDelete, "/api/models/api-spare", "", http.StatusNotFound, ems.CodeNotFound, "api-spare")
	f.Ask(http.MethodGet, "/api/points/1001/T/1/models", "", &names)
	servicetest.Same(t, names, []rtdb.ModelName{{Model: "battery_001", Name: "power"}})
	f.Ask(http.MethodGet, "/api/points/1001/T/99/models", "", &names)
	servicetest.Same(t, names, []rtdb.ModelName{})
	f.Refused(http.MethodGet, "/api/points/1001/X/1/models", "", http.StatusBadRequest, ems.CodeInvalid, "point type")
}

func TestUnusableModelsAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	for body, message := range map[string]string{
		`{`:                                      "the body is not the JSON",
		`{"id":"api-a","colour":1}`:              "colour",
		`{"id":"a b"}`:                           "model id",
		`{"id":"api-a","mapping":{"channel":7}}`: "no channel 7",
		`{"id":"api-a","template":"none","mapping":{"channel":1001}}`:                         `no template "none"`,
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":9}}}`:                            "mapping.data.x: the site has no point comsrv:1001:T:9",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x y":1}}}`:                          "mapping.data.x y: name",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":"Q:1"}}}`:                        "mapping.data.x: unknown point type",
		`{"id":"api-a","mapping":{"channel":1001,"action":{"x":"T:1"}}}`:                      "mapping.action.x: comsrv:1001:T:1 cannot be written",
		`{"id":"api-a","template":"battery","mapping":{"channel":1001,"data":{"voltage":1}}}`: `the template has no "voltage"`,
	} {
		f.Refused(http.MethodPost, "/api/models", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	f.Refused(http.MethodPost, "/api/models", `{"id":"battery_001","mapping":{"channel":1001}}`, http.StatusBadRequest, ems.CodeInvalid, "belong to models.yaml")
	f.Refused(http.MethodPost, "/api/models", `{"id":"spare","mapping":{"channel":1001}}`, http.StatusBadRequest, ems.CodeInvalid, `for example "api-spare"`)
	f.Refused(http.MethodDelete, "/api/models/battery_001", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	servicetest.Same(t, ids(f, 10), []string{"battery_001"})

	site := testSite()
	site.Models[0].ID = "api-battery"
	_, err := modsrv.New(modsrv.Options{Site: site})
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), `model id "api-battery"`) {
		t.Errorf("a site model with an id of the API: %v", err)
	}
}

func TestModelMadeWithoutIDGetsOne(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	var made [2]ems.Model
	for i := range made {
		if status, text := f.Ask(http.MethodPost, "/api/models", `{"mapping":{"channel":1001}}`, &made[i]); status != http.StatusCreated {
			t.Fatalf("%d %s", status, text)
		}
		if !strings.HasPrefix(made[i].ID, "api-") || ems.CheckID("id", made[i].ID) != nil {
			t.Errorf("made %+v", made[i])
		}
	}
	want := []string{made[0].ID, made[1].ID, "battery_001"}
	slices.Sort(want)
	servicetest.Same(t, ids(f, 10), want)
}

// More models than one page holds are taken out of the folder: their actions end
// with them, and what was made through the API stays.
func TestModelTakenOutOfTheFolderIsGone(t *testing.T) {
	t.Parallel()
	f := servicetest.New(t, ems.SystemClock{})
	before := testSite()
	for i := range 1001 {
		old := before.Models[0]
		old.ID = fmt.Sprintf("old_%04d", i)
		before.Models = append(before.Models, old)
	}
	stop := run(t, f, before)
	body := `{"id":"api-mine","template":"battery","mapping":{"channel":1001,"data":{"power":1}}}`
	if status, text := f.Ask(http.MethodPost, "/api/models", body, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	servicetest.Same(t, len(ids(f, 1000)), 1003)
	stop()
	run(t, f, testSite())
	servicetest.Same(t, ids(f, 1000), []string{"api-mine", "battery_001"})
	f.Refused(http.MethodPost, "/api/models/old_0000/actions/start", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "old_0000")
	var names []rtdb.ModelName
	f.Ask(http.MethodGet, "/api/points/1001/T/1/models", "", &names)
	servicetest.Same(t, names, []rtdb.ModelName{{Model: "api-mine", Name: "power"}, {Model: "battery_001", Name: "power"}})
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
	err := f.DB.Ingest(t.Context(),
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
	if status, text := f.Ask(http.MethodGet, "/api/models/battery_001/values", "", &values); status != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, values, want)
	f.Refused(http.MethodGet, "/api/models/nobody/values", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
}

func TestActionEndsAsItsCommandDoes(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	device := f.DB.ReadCommands("device", []ems.ChannelID{1001})
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
					if err := f.DB.BeginCommand(t.Context(), delivery); err != nil {
						t.Errorf("begin: %v", err)
					}
					read := delivery.Value
					result := ems.CommandResult{State: state, Reason: reason, Time: time.Now()}
					if state == ems.CommandDone {
						result.ReadBack = &read
					}
					if err := f.DB.FinishCommand(t.Context(), delivery, result); err != nil {
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
	if status, text := f.Ask(http.MethodPost, "/api/models/battery_001/actions/set_power", `{"value":-7.5}`, &result); status != http.StatusOK {
		t.Fatal(text)
	}
	command := <-taken
	servicetest.Same(t, command.Target, ems.PointRef{Channel: 1001, Type: ems.Adjustment, Point: 1})
	servicetest.Same(t, command.Value, -7.5)
	servicetest.Same(t, command.Origin, "api:model:battery_001")
	servicetest.Same(t, command.Deadline.Sub(command.Issued), ems.DefaultCommandLifetime)
	servicetest.Same(t, result.ID, command.ID)
	servicetest.Same(t, result.State, ems.CommandDone)
	servicetest.Same(t, result.ReadBack, number(-7.5))

	taken = execute(ems.CommandFailed, "the device refused it")
	f.Refused(http.MethodPost, "/api/models/battery_001/actions/start", `{"value":1}`, http.StatusConflict, ems.CodeConflict, "the device refused it")
	servicetest.Same(t, (<-taken).Target, ems.PointRef{Channel: 1001, Type: ems.Control, Point: 1})

	taken = execute(ems.CommandUnknown, "no answer")
	f.Refused(http.MethodPost, "/api/models/battery_001/actions/start", `{"value":0}`, http.StatusGatewayTimeout, ems.CodeUnknown, "is unknown: no answer")
	<-taken

	path := "/api/models/battery_001/actions/"
	f.Refused(http.MethodPost, path+"set_power", `{"value":45}`, http.StatusBadRequest, ems.CodeInvalid, "45 is above the greatest value of ")
	f.Refused(http.MethodPost, path+"set_power", `{"value":-55}`, http.StatusBadRequest, ems.CodeInvalid, "-55 is below the least value of power setpoint, -40 kW")
	f.Refused(http.MethodPost, path+"set_power", `{}`, http.StatusBadRequest, ems.CodeInvalid, "value")
	f.Refused(http.MethodPost, path+"explode", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "explode")
	f.Refused(http.MethodPost, "/api/models/nobody/actions/start", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "nobody")
}

func TestRedisThatComesBackEmptyIsFilledAgain(t *testing.T) {
	t.Parallel()
	f := start(t, testSite())
	f.Empty()
	f.Redis.Stop()
	f.AwaitHealth(http.StatusServiceUnavailable)
	f.Refused(http.MethodGet, "/api/models", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
	f.Redis.Start()
	if err := f.DB.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var model ems.Model
	testkit.Eventually(t, servicetest.Soon, func() error {
		if status, text := f.Ask(http.MethodGet, "/api/models/battery_001", "", &model); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	}, "the model of the site")
	servicetest.Same(t, model, testSite().Models[0])
	f.AwaitHealth(http.StatusOK)
}
