package modsrv_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/modsrv"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servicetest.DriverDials()) }

func number(value float64) *float64 { return &value }

func offset(value int) *int { return &value }

func testPoint(kind ems.PointType, id ems.PointID, name, unit string) config.MappedPoint {
	return config.MappedPoint{Point: ems.Point{ID: id, Type: kind, Name: name, Unit: unit, Scale: 1, Group: ems.DefaultGroup}}
}

func testChannels() []config.Channel {
	limited := testPoint(ems.Adjustment, 1, "power setpoint", "kW")
	limited.Min, limited.Max = number(-40), number(40)
	return []config.Channel{
		{ID: 1001, Name: "battery", Enabled: true, Points: []config.MappedPoint{
			testPoint(ems.Telemetry, 1, "power", "kW"), testPoint(ems.Telemetry, 2, "state of charge", "%"),
			testPoint(ems.Telemetry, 3, "current", "A"), testPoint(ems.Telemetry, 4, "energy", "kWh"),
			testPoint(ems.Signal, 1, "running", ""), testPoint(ems.Control, 1, "start", ""), limited,
		}},
		{ID: 1002, Name: "meter", Enabled: true, Points: []config.MappedPoint{testPoint(ems.Telemetry, 1, "power", "kW")}},
	}
}

func batteryTemplate() ems.Template {
	return ems.Template{
		ID: "battery", Name: "Battery",
		Data:   []ems.TemplateField{{Name: "power", Unit: "kW"}, {Name: "soc", Unit: "%", Min: number(0), Max: number(100)}, {Name: "running"}},
		Action: []ems.TemplateField{{Name: "start", ValueType: ems.ZeroOrOne}, {Name: "set_power", Unit: "kW", Min: number(-50), Max: number(50)}},
	}
}

func batteryModel(id string) ems.Model {
	return ems.Model{
		ID: id, Name: "Battery 1", Template: "battery",
		Mapping: ems.ModelMapping{
			Channel: 1001,
			Data:    map[string]ems.ModelPoint{"power": "1", "soc": "2", "running": "S:1"},
			Action:  map[string]ems.ModelPoint{"start": "1", "set_power": "A:1"},
		},
	}
}

func testSite() *config.Site {
	return &config.Site{
		Name: "test", Channels: testChannels(), Templates: []ems.Template{batteryTemplate()}, Models: []ems.Model{batteryModel("battery_001")},
		Library: []ems.Template{{ID: "meter", Name: "Meter", Data: []ems.TemplateField{{Name: "power", Unit: "kW"}}}},
	}
}

// plant is a service, a Redis of its own, and the folder that it reads when it is
// told to.
type plant struct {
	*servicetest.Fixture
	folder atomic.Pointer[config.Site]
	t      testing.TB
}

// start runs the service on a Redis of its own.
func start(t testing.TB, site *config.Site) *plant {
	t.Helper()
	p := &plant{Fixture: servicetest.New(t, ems.SystemClock{}), t: t}
	p.run(site)
	p.AwaitHealth(http.StatusOK)
	return p
}

// run runs a service that was started with a site.
func (p *plant) run(site *config.Site) (stop func()) {
	p.t.Helper()
	return p.runReading(site, func() (*config.Site, error) { return p.folder.Load(), nil })
}

func (p *plant) runReading(site *config.Site, read func() (*config.Site, error)) (stop func()) {
	p.t.Helper()
	p.folder.Store(site)
	service, err := modsrv.New(modsrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: site, ReadSite: read, DB: p.DB,
		Clock: ems.SystemClock{}, Logger: testkit.Logger(p.t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.Run(service)
}

// does sends a request that must succeed with that status, and decodes the data
// of the answer unless into is nil.
func (p *plant) does(method, path, body string, want int, into any) {
	p.t.Helper()
	if status, text := p.Ask(method, path, body, into); status != want {
		p.t.Fatalf("%s %s %s: %d %s", method, path, body, status, text)
	}
}

// refusal sends a request that must be refused, and returns the error.
func (p *plant) refusal(method, path, body string, want int) httpserver.Fault {
	p.t.Helper()
	status, text := p.Ask(method, path, body, nil)
	var envelope httpserver.Envelope
	if err := json.Unmarshal([]byte(text), &envelope); err != nil || status != want || envelope.Error == nil {
		p.t.Fatalf("%s %s %s: %d %s", method, path, body, status, text)
	}
	return *envelope.Error
}

// pages returns the ids of a list, page by page as the replies lead on.
func (p *plant) pages(path string) [][]string {
	p.t.Helper()
	var all [][]string
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for next := ""; ; {
		status, text := p.Ask(http.MethodGet, path+separator+"after="+next, "", nil)
		var page struct {
			Data []struct{ ID string }
			Next string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK {
			p.t.Fatalf("GET %s: %d %s", path, status, text)
		}
		ids := []string{}
		for _, item := range page.Data {
			ids = append(ids, item.ID)
		}
		all = append(all, ids)
		if next = page.Next; next == "" {
			return all
		}
	}
}

// ids returns the ids of a whole list.
func (p *plant) ids(path string) []string {
	p.t.Helper()
	return slices.Concat(p.pages(path)...)
}

// contents is all that Redis holds of templates and models. The points of the
// reverse map name their models in no particular order.
func (p *plant) contents() map[string]string {
	p.t.Helper()
	keys, err := p.Raw.Keys(p.t.Context(), "modsrv:*").Result()
	if err != nil {
		p.t.Fatal(err)
	}
	contents := map[string]string{}
	for _, key := range keys {
		contents[key] = p.content(key)
	}
	return contents
}

func (p *plant) content(key string) string {
	p.t.Helper()
	ctx := p.t.Context()
	var lines []string
	var err error
	switch kind := p.Raw.Type(ctx, key).Val(); kind {
	case "string":
		return p.Raw.Get(ctx, key).Val()
	case "zset":
		lines, err = p.Raw.ZRange(ctx, key, 0, -1).Result()
	case "set":
		lines, err = p.Raw.SMembers(ctx, key).Result()
	case "hash":
		var fields map[string]string
		fields, err = p.Raw.HGetAll(ctx, key).Result()
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			words := []string{fields[name]}
			if strings.HasPrefix(key, "modsrv:reverse:") {
				words = strings.Fields(fields[name])
				slices.Sort(words)
			}
			lines = append(lines, fmt.Sprintf("%s=%s", name, strings.Join(words, " ")))
		}
	default:
		p.t.Fatalf("%s is a %s", key, kind)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// without returns contents without the version, which counts changes.
func without(contents map[string]string) map[string]string {
	delete(contents, "modsrv:version")
	return contents
}

func asJSON(t testing.TB, thing any) string {
	t.Helper()
	text, err := json.Marshal(thing)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
