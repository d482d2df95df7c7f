package modsrv_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// idsReply and reloadReply are the wire form of what a reload replies.
type idsReply struct{ Added, Changed, Removed []string }

type reloadReply struct {
	DryRun            bool `json:"dry_run"`
	Templates, Models idsReply
	Channels          []int
}

func changed(added, changed, removed []string) idsReply {
	listed := func(ids []string) []string { return append([]string{}, ids...) }
	return idsReply{listed(added), listed(changed), listed(removed)}
}

// diskFolder is a site folder on disk.
type diskFolder struct {
	dir string
	t   *testing.T
}

func (d diskFolder) write(name, text string) {
	d.t.Helper()
	path := filepath.Join(d.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d diskFolder) read() (*config.Site, error) {
	return config.ReadSite(d.dir, nil, []string{"modbus_tcp"})
}

const (
	diskChannels = `channels:
  - {id: 1001, name: battery, protocol: modbus_tcp, address: "127.0.0.1:5022", poll_period: 500ms, timeout: 400ms}
`
	diskTemplate = `id: rack
name: Rack
data:
  - {name: power, unit: kW}
  - {name: soc, unit: "%"}
`
	diskModels = `models:
  - id: rack_1
    template: rack
    mapping: {channel: 1001, data: {power: 1, soc: 2}}
  - id: rack_2
    mapping: {channel: 1001, data: {power: 1}}
    metadata: {floor: 2}
`
)

// startOnDisk runs the service with a site folder on disk.
func startOnDisk(t *testing.T) (*plant, diskFolder) {
	t.Helper()
	folder := diskFolder{t.TempDir(), t}
	folder.write("site.yaml", "site:\n  name: small\n")
	folder.write("channels.yaml", diskChannels)
	folder.write("points/1001/telemetry.csv", "point_id,signal_name,scale,offset,unit,reverse,data_type\n1,power,1,0,kW,0,float\n2,soc,1,0,%,0,float\n")
	folder.write("points/1001/telemetry_mapping.csv",
		"point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n1,1,3,10,uint16,AB,\n2,1,3,11,uint16,AB,\n")
	folder.write("templates/rack.yaml", diskTemplate)
	folder.write("models.yaml", diskModels)
	site, err := folder.read()
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{Fixture: servicetest.New(t, ems.SystemClock{}), t: t}
	p.runReading(site, folder.read)
	p.AwaitHealth(http.StatusOK)
	return p, folder
}

func TestAReloadPutsTheFolderInUse(t *testing.T) {
	t.Parallel()
	p, folder := startOnDisk(t)
	p.does(http.MethodPost, "/api/templates", `{"id":"api-kind","extends":"rack","metadata":{"a":1}}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-m","template":"api-kind","mapping":{"channel":1001,"data":{"power":1}}}`, http.StatusCreated, nil)
	var library []string
	for _, template := range shownTemplates(p) {
		if template.Origin == "library" {
			library = append(library, template.ID)
		}
	}
	if len(library) == 0 {
		t.Fatal("no template of the library is there")
	}

	folder.write("templates/rack.yaml", strings.Replace(diskTemplate, "unit: kW", "unit: W", 1))
	folder.write("templates/unit.yaml", "id: unit\nname: Unit\nextends: rack\n")
	// A template of the library gives way to the site's own.
	folder.write("templates/own.yaml", "id: "+library[0]+"\nname: Own\ndata:\n  - {name: x}\n")
	folder.write("models.yaml", strings.NewReplacer("rack_1", "rack_3", "floor: 2", "floor: 3").Replace(diskModels))
	before := p.contents()
	want := reloadReply{
		DryRun: true, Templates: changed([]string{"unit"}, []string{library[0], "rack"}, nil), Models: changed([]string{"rack_3"}, []string{"rack_2"}, []string{"rack_1"}),
	}
	if library[0] > "rack" {
		want.Templates.Changed = []string{"rack", library[0]}
	}
	var reply reloadReply
	p.does(http.MethodPost, "/api/models/reload?dry_run=true", "", http.StatusOK, &reply)
	servicetest.Same(t, reply, want)
	servicetest.Same(t, p.contents(), before)
	p.Refused(http.MethodGet, "/api/models/rack_3", "", http.StatusNotFound, ems.CodeNotFound, "rack_3")
	p.Refused(http.MethodDelete, "/api/models/rack_1", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")

	reply = reloadReply{}
	want.DryRun = false
	p.does(http.MethodPost, "/api/models/reload", "", http.StatusOK, &reply)
	servicetest.Same(t, reply, want)
	servicetest.Same(t, p.ids("/api/models"), []string{"api-m", "rack_2", "rack_3"})
	var expansion ems.Expansion
	p.does(http.MethodGet, "/api/models/api-m/expanded", "", http.StatusOK, &expansion)
	servicetest.Same(t, expansion.Data[0].Unit, "W")
	p.Refused(http.MethodDelete, "/api/models/rack_1", "", http.StatusNotFound, ems.CodeNotFound, "rack_1")
	p.Refused(http.MethodDelete, "/api/models/rack_3", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	origins := map[string]string{}
	for _, template := range shownTemplates(p) {
		origins[template.ID] = template.Origin
	}
	servicetest.Same(t, []string{origins["unit"], origins[library[0]], origins["api-kind"]}, []string{"site", "site", "api"})

	after := p.contents()
	reply = reloadReply{}
	p.does(http.MethodPost, "/api/models/reload", "", http.StatusOK, &reply)
	servicetest.Same(t, reply, reloadReply{Templates: changed(nil, nil, nil), Models: changed(nil, nil, nil)})
	servicetest.Same(t, p.contents(), after)
	p.Refused(http.MethodPost, "/api/models/reload?dryrun=true", "", http.StatusBadRequest, ems.CodeInvalid, "dryrun")
}

func shownTemplates(p *plant) []shownTemplate {
	p.t.Helper()
	var templates []shownTemplate
	p.does(http.MethodGet, "/api/templates?limit=1000", "", http.StatusOK, &templates)
	return templates
}

// Every fault is told with its place, and all stays as it was: also what is sound
// in front of it.
func TestAFolderAtFaultChangesNothing(t *testing.T) {
	t.Parallel()
	p, folder := startOnDisk(t)
	p.does(http.MethodPost, "/api/models", `{"id":"api-m","template":"rack","mapping":{"channel":1001,"data":{"power":1}}}`, http.StatusCreated, nil)
	before := p.contents()
	newModels := strings.Replace(diskModels, "floor: 2", "floor: 3", 1) + `  - id: rack_3
    template: rack
    mapping: {channel: 1001, data: {power: 1}}
  - id: rack_4
    template: rack
    mapping:
      channel: 1001
      data:
        power: 1
        volume: 2
        soc: 77
    computed:
      - {name: x, expression: "power +"}
`
	folder.write("models.yaml", newModels)
	for _, query := range []string{"", "?dry_run=true"} {
		fault := p.refusal(http.MethodPost, "/api/models/reload"+query, "", http.StatusBadRequest)
		servicetest.Same(t, fault.Code, ems.CodeInvalid)
		if len(fault.Details) != 2 || !strings.HasPrefix(fault.Details[0], `models.yaml:17: models[3].mapping.data.volume: the template has no "volume"`) ||
			!strings.HasPrefix(fault.Details[1], "models.yaml:20: models[3].computed[0].expression: byte 8") {
			t.Errorf("got %q", fault.Details)
		}
		servicetest.Same(t, p.contents(), before)
	}
	folder.write("models.yaml", strings.Replace(newModels, "        volume: 2\n", "", 1))
	folder.write("rules.yaml", "rules: 5\n")
	fault := p.refusal(http.MethodPost, "/api/models/reload", "", http.StatusBadRequest)
	if len(fault.Details) != 2 || !strings.HasPrefix(fault.Details[1], "rules.yaml:1: ") {
		t.Errorf("a fault elsewhere in the folder: %q", fault.Details)
	}
	folder.write("rules.yaml", "")
	folder.write("templates/rack.yaml", strings.Replace(diskTemplate, "power", "api", 1)+"colour: 1\n")
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusBadRequest, ems.CodeInvalid, "templates/rack.yaml:6: unknown key")
	folder.write("templates/rack.yaml", diskTemplate)
	folder.write("models.yaml", strings.Replace(diskModels, "rack_1", "api-1", 1))
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusBadRequest, ems.CodeInvalid, `"api-1"`)
	folder.write("models.yaml", "models: []\n")
	folder.write("templates/rack.yaml", strings.Replace(diskTemplate, "power", "energy", 1))
	fault = p.refusal(http.MethodPost, "/api/models/reload", "", http.StatusConflict)
	servicetest.Same(t, fault.Details, []string{
		`model api-m: mapping.data.power: the template has no "power"; change it with PUT /api/models/api-m, or take it away with DELETE /api/models/api-m`,
	})
	servicetest.Same(t, p.contents(), before)
	p.AwaitHealth(http.StatusOK)
	if err := os.RemoveAll(folder.dir); err != nil {
		t.Fatal(err)
	}
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusBadRequest, ems.CodeInvalid, "cannot be read")
	servicetest.Same(t, p.contents(), before)
	p.does(http.MethodPost, "/api/models", `{"id":"api-n","template":"rack","mapping":{"channel":1001,"data":{"power":1}}}`, http.StatusCreated, nil)
}

// Channels of the folder are known from the reload on, and what names them is held to
// them.
func TestAReloadKnowsTheChannelsOfTheFolder(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	site := testSite()
	site.Channels[0].Points[0].Unit = "W"
	site.Channels[1] = config.Channel{ID: 7, Name: "new", Points: []config.MappedPoint{testPoint(ems.Telemetry, 1, "x", "")}}
	site.Models = append(site.Models, ems.Model{ID: "new_1", Mapping: ems.ModelMapping{Channel: 7, Data: map[string]ems.ModelPoint{"x": "1"}}})
	p.folder.Store(site)
	const names7 = `{"id":"api-a","mapping":{"channel":7,"data":{"x":1}}}`
	for _, query := range []string{"?dry_run=true", ""} {
		p.Refused(http.MethodPost, "/api/models", names7, http.StatusBadRequest, ems.CodeInvalid, "no channel 7")
		var reply reloadReply
		p.does(http.MethodPost, "/api/models/reload"+query, "", http.StatusOK, &reply)
		servicetest.Same(t, reply, reloadReply{
			DryRun: query != "", Templates: changed(nil, nil, nil), Models: changed([]string{"new_1"}, nil, nil), Channels: []int{7, 1001, 1002},
		})
	}
	var values []modelValue
	p.does(http.MethodGet, "/api/models/new_1/values", "", http.StatusOK, &values)
	servicetest.Same(t, values, []modelValue{{Name: "x", Point: "comsrv:7:T:1", Quality: "bad"}})
	p.Refused(http.MethodPost, "/api/models", `{"id":"api-a","mapping":{"channel":1002,"data":{"x":1}}}`, http.StatusBadRequest, ems.CodeInvalid, "no channel 1002")
	p.does(http.MethodPost, "/api/models", names7, http.StatusCreated, nil)
	p.folder.Store(testSite())
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusConflict, ems.CodeConflict, "model api-a: ")

	moved := testSite()
	moved.Namespace = "{north}:"
	p.folder.Store(moved)
	before := p.contents()
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusConflict, ems.CodeConflict, `the namespace "north"`)
	servicetest.Same(t, p.contents(), before)
}

// Two who reload, two who use the API, and one who goes past the service: nothing
// that was acknowledged is lost, and nothing is half there.
func TestReloadsAndChangesAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	sites := [2]*ems.Template{}
	p := start(t, testSite())
	for i := range sites {
		template := batteryTemplate()
		template.Name = fmt.Sprintf("version %d", i)
		sites[i] = &template
	}
	const rounds = 25
	var group sync.WaitGroup
	for i := range sites {
		group.Go(func() {
			site := testSite()
			site.Templates = []ems.Template{*sites[i]}
			second := batteryModel(fmt.Sprintf("second_%d", i))
			site.Models = append(site.Models, second)
			for range rounds {
				p.folder.Store(site)
				status, text, err := p.Request(http.MethodPost, "/api/models/reload", "")
				// Whoever goes past the service may always have been faster.
				if err != nil || status != http.StatusOK && !strings.Contains(text, string(ems.CodeConflict)) {
					t.Errorf("reload: %d %s %v", status, text, err)
				}
			}
		})
	}
	for i := range 2 {
		group.Go(func() {
			for round := range rounds {
				method, path := http.MethodPost, "/api/templates"
				if round > 0 {
					method, path = http.MethodPut, fmt.Sprintf("/api/templates/api-t%d", i)
				}
				for _, request := range [][3]string{
					{method, path, fmt.Sprintf(`{"id":"api-t%d","extends":"battery","metadata":{"round":%d}}`, i, round)},
					{http.MethodPost, "/api/models", fmt.Sprintf(`{"id":"api-m%d-%d","template":"api-t%d","mapping":{"channel":1001,"data":{"power":1}}}`, i, round, i)},
					{http.MethodPost, "/api/models", fmt.Sprintf(`{"id":"api-gone%d","template":"battery","mapping":{"channel":1001,"offset":0,"data":{"running":"S:1"},"action":{"set_power":"A:1"}}}`, i)},
					{http.MethodDelete, fmt.Sprintf("/api/models/api-gone%d", i), ""},
				} {
					if status, text, err := p.Request(request[0], request[1], request[2]); err != nil || status >= http.StatusBadRequest {
						t.Errorf("%q: %d %s %v", request, status, text, err)
					}
				}
			}
		})
	}
	group.Go(func() {
		for round := range 4 * rounds {
			if err := p.DB.UpsertModel(t.Context(), batteryModel(fmt.Sprintf("api-past-%d", round))); err != nil {
				t.Errorf("past the service: %v", err)
			}
		}
	})
	group.Wait()
	p.folder.Store(testSite())
	p.does(http.MethodPost, "/api/models/reload", "", http.StatusOK, nil)

	other := start(t, testSite())
	for i := range 2 {
		other.does(http.MethodPost, "/api/templates", fmt.Sprintf(`{"id":"api-t%d","extends":"battery","metadata":{"round":%d}}`, i, rounds-1), http.StatusCreated, nil)
	}
	for round := range rounds {
		for i := range 2 {
			other.does(http.MethodPost, "/api/models", fmt.Sprintf(`{"id":"api-m%d-%d","template":"api-t%d","mapping":{"channel":1001,"data":{"power":1}}}`, i, round, i), http.StatusCreated, nil)
		}
	}
	for round := range 4 * rounds {
		if err := other.DB.UpsertModel(t.Context(), batteryModel(fmt.Sprintf("api-past-%d", round))); err != nil {
			t.Fatal(err)
		}
	}
	servicetest.Same(t, without(p.contents()), without(other.contents()))
}

// Two services of one site, as while one takes over from the other: what is in
// use is the folder of one of them, never something of both.
func TestTwoServicesThatReloadAtOnceMixNothing(t *testing.T) {
	t.Parallel()
	first := start(t, testSite())
	second := &plant{Fixture: &servicetest.Fixture{}, t: t}
	*second.Fixture = *first.Fixture
	var sites [2]*config.Site
	for i := range sites {
		sites[i] = testSite()
		sites[i].Models = nil
		for n := range 20 {
			sites[i].Models = append(sites[i].Models, batteryModel(fmt.Sprintf("model_%d_%d", i, n)))
		}
	}
	second.run(testSite())
	second.AwaitHealth(http.StatusOK)
	var group sync.WaitGroup
	var done atomic.Int32
	for i, p := range []*plant{first, second} {
		group.Go(func() {
			for range 20 {
				p.folder.Store(sites[i])
				status, text, err := p.Request(http.MethodPost, "/api/models/reload", "")
				if status == http.StatusOK {
					done.Add(1)
				} else if err != nil || !strings.Contains(text, string(ems.CodeConflict)) {
					t.Errorf("reload: %d %s %v", status, text, err)
				}
			}
		})
	}
	stopped := make(chan struct{})
	go func() { group.Wait(); close(stopped) }()
	for running := true; running; {
		select {
		case <-stopped:
			running = false
		default:
		}
		ids := first.ids("/api/models")
		if len(ids) == 1 && ids[0] == "battery_001" {
			continue
		}
		if len(ids) != 20 || ids[0][:8] != ids[19][:8] {
			t.Fatalf("a mixture: %v", ids)
		}
	}
	if done.Load() == 0 {
		t.Error("no reload got through")
	}
	for _, key := range first.Raw.Keys(t.Context(), "modsrv:staged:*").Val() {
		t.Errorf("%s is left", key)
	}
}
