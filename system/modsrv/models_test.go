package modsrv_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/modsrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestSiteModelsAreStoredAndListed(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	var models []ems.Model
	p.does(http.MethodGet, "/api/models", "", http.StatusOK, &models)
	servicetest.Same(t, models, testSite().Models)
	var model ems.Model
	p.does(http.MethodGet, "/api/models/battery_001", "", http.StatusOK, &model)
	servicetest.Same(t, model, testSite().Models[0])
	for path, message := range map[string]string{
		"/api/models/a%20b": "model id", "/api/models/a%20b/expanded": "model id", "/api/models/a%20b/values": "model id",
		"/api/models?limit=0": "limit", "/api/models?limit=1001": "limit", "/api/models?limit=x": "limit", "/api/models?after=a%2Ab": "after",
		"/api/models?template=a%20b": "template", "/api/models?channel=0": "channel", "/api/models?channel=x": "channel",
		"/api/points/1001/X/1/models": "point type", "/api/points/0/T/1/models": "channel", "/api/points/1001/T/01/models": "point",
	} {
		p.Refused(http.MethodGet, path, "", http.StatusBadRequest, ems.CodeInvalid, message)
	}
	for _, path := range []string{"/api/models/nobody", "/api/models/nobody/expanded", "/api/models/nobody/values"} {
		p.Refused(http.MethodGet, path, "", http.StatusNotFound, ems.CodeNotFound, "nobody")
	}
}

func TestModelsArePagedAndFiltered(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	for i, id := range []string{"api-c", "api-a", "api-e", "api-b", "api-d"} {
		template, channel := []string{"", "meter"}[i%2], 1001+i%2
		p.does(http.MethodPost, "/api/models", fmt.Sprintf(`{"id":%q,"template":%q,"mapping":{"channel":%d,"data":{"power":1}}}`, id, template, channel), http.StatusCreated, nil)
	}
	for query, want := range map[string][][]string{
		"?limit=2":                               {{"api-a", "api-b"}, {"api-c", "api-d"}, {"api-e", "battery_001"}, {}},
		"?limit=4":                               {{"api-a", "api-b", "api-c", "api-d"}, {"api-e", "battery_001"}},
		"":                                       {{"api-a", "api-b", "api-c", "api-d", "api-e", "battery_001"}},
		"?template=meter&limit=1":                {{"api-a"}, {"api-b"}, {}},
		"?template=battery":                      {{"battery_001"}},
		"?template=nothing":                      {{}},
		"?channel=1001&limit=3":                  {{"api-c", "api-d", "api-e"}, {"battery_001"}},
		"?channel=1002":                          {{"api-a", "api-b"}},
		"?channel=9":                             {{}},
		"?template=meter&channel=1002":           {{"api-a", "api-b"}},
		"?template=meter&channel=1001&limit=1":   {{}, {}, {}},
		"?template=battery&channel=1001&limit=1": {{"battery_001"}, {}},
	} {
		if got := p.pages("/api/models" + query); asJSON(t, got) != asJSON(t, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	p.does(http.MethodDelete, "/api/models/api-a", "", http.StatusOK, nil)
	servicetest.Same(t, p.ids("/api/models?template=meter"), []string{"api-b"})
	p.does(http.MethodPut, "/api/models/api-b", `{"mapping":{"channel":1001}}`, http.StatusOK, nil)
	servicetest.Same(t, p.ids("/api/models?channel=1002"), []string(nil))
	servicetest.Same(t, p.ids("/api/models?channel=1001&template=meter"), []string(nil))
}

func TestModelMadeThroughTheAPIIsKept(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	body := `{"id":"api-spare","template":"battery","mapping":{"channel":1001,"data":{"power":1},"action":{"set_power":"A:1"}},"metadata":{"floor":2}}`
	want := ems.Model{
		ID: "api-spare", Template: "battery", Metadata: map[string]any{"floor": 2.0},
		Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{"power": "1"}, Action: map[string]ems.ModelPoint{"set_power": "A:1"}},
	}
	var made ems.Model
	p.does(http.MethodPost, "/api/models", body, http.StatusCreated, &made)
	servicetest.Same(t, made, want)

	p.Redis.Restart()
	p.AwaitHealth(http.StatusOK)
	var found ems.Model
	testkit.Eventually(t, servicetest.Soon, func() error {
		if status, text := p.Ask(http.MethodGet, "/api/models/api-spare", "", &found); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	}, "the model after a restart of redis")
	servicetest.Same(t, found, want)

	var names []rtdb.ModelName
	p.does(http.MethodGet, "/api/points/1001/T/1/models", "", http.StatusOK, &names)
	servicetest.Same(t, names, []rtdb.ModelName{{Model: "api-spare", Name: "power"}, {Model: "battery_001", Name: "power"}})
	p.does(http.MethodDelete, "/api/models/api-spare", "", http.StatusOK, nil)
	p.Refused(http.MethodGet, "/api/models/api-spare", "", http.StatusNotFound, ems.CodeNotFound, "api-spare")
	p.Refused(http.MethodDelete, "/api/models/api-spare", "", http.StatusNotFound, ems.CodeNotFound, "api-spare")
	p.does(http.MethodGet, "/api/points/1001/T/1/models", "", http.StatusOK, &names)
	servicetest.Same(t, names, []rtdb.ModelName{{Model: "battery_001", Name: "power"}})
	p.does(http.MethodGet, "/api/points/1001/T/99/models", "", http.StatusOK, &names)
	servicetest.Same(t, names, []rtdb.ModelName{})
}

func TestAModelIsReplacedWhole(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	p.does(http.MethodPost, "/api/models", `{"id":"api-a","name":"A","mapping":{"channel":1001,"data":{"x":1,"y":"S:1"}}}`, http.StatusCreated, nil)
	var put, found ems.Model
	p.does(http.MethodPut, "/api/models/api-a", `{"mapping":{"channel":1002,"data":{"x":1}}}`, http.StatusOK, &put)
	want := ems.Model{ID: "api-a", Mapping: ems.ModelMapping{Channel: 1002, Data: map[string]ems.ModelPoint{"x": "1"}}}
	servicetest.Same(t, put, want)
	p.does(http.MethodGet, "/api/models/api-a", "", http.StatusOK, &found)
	servicetest.Same(t, found, want)
	p.does(http.MethodPut, "/api/models/api-a", `{"id":"api-a","mapping":{"channel":1001,"data":{"z":4}}}`, http.StatusOK, nil)
	for path, want := range map[string][]rtdb.ModelName{
		"1001/T/1": {{Model: "battery_001", Name: "power"}}, "1001/S/1": {{Model: "battery_001", Name: "running"}}, "1002/T/1": {}, "1001/T/4": {{Model: "api-a", Name: "z"}},
	} {
		var names []rtdb.ModelName
		p.does(http.MethodGet, "/api/points/"+path+"/models", "", http.StatusOK, &names)
		servicetest.Same(t, names, want)
	}
	p.Refused(http.MethodPut, "/api/models/api-a", `{"id":"api-b","mapping":{"channel":1001}}`, http.StatusBadRequest, ems.CodeInvalid, `"api-b" in the body is not "api-a"`)
	p.Refused(http.MethodPut, "/api/models/api-b", `{"mapping":{"channel":1001}}`, http.StatusNotFound, ems.CodeNotFound, "api-b")
	p.Refused(http.MethodPut, "/api/models/nobody", `{"mapping":{"channel":1001}}`, http.StatusNotFound, ems.CodeNotFound, "nobody")
	p.Refused(http.MethodDelete, "/api/models/nobody", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
}

func TestUnusableModelsAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	before := p.contents()
	for body, message := range map[string]string{
		`{`:                                      "the body is not the JSON",
		`{"id":"api-a","colour":1}`:              "colour",
		`{"id":"api-a","mapping":{"chanel":1}}`:  "chanel",
		`{"id":"a b"}`:                           "model id",
		`{"id":"api-a"}`:                         "mapping.channel: a model needs the channel",
		`{"id":"api-a","mapping":{"channel":7}}`: "no channel 7",
		`{"id":"api-a","template":"none","mapping":{"channel":1001}}`:                          `template: no template "none"`,
		`{"id":"api-a","template":"a b","mapping":{"channel":1001}}`:                           `template: no template "a b"`,
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":9}}}`:                             "mapping.data.x: the site has no point comsrv:1001:T:9",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":"comsrv:7:T:1"}}}`:                "mapping.data.x: the site has no point comsrv:7:T:1",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x y":1}}}`:                           "mapping.data.x y: name",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":"Q:1"}}}`:                         "mapping.data.x: unknown point type",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":null}}}`:                          "mapping.data.x: point",
		`{"id":"api-a","mapping":{"channel":1001,"data":{"x":{}}}}`:                            "mapping.data.x: point",
		`{"id":"api-a","mapping":{"channel":1001,"action":{"x":"T:1"}}}`:                       "mapping.action.x: T:1 cannot be written",
		`{"id":"api-a","mapping":{"channel":1001,"offset":1}}`:                                 "mapping.offset: an offset counts from the fields of a template",
		`{"id":"api-a","template":"battery","mapping":{"channel":1001,"data":{"voltage":1}}}`:  `the template has no "voltage"`,
		`{"id":"api-a","template":"battery","mapping":{"channel":1001,"offset":2}}`:            "mapping.offset: the site has no point comsrv:1001:T:5 (running)",
		`{"id":"api-a","mapping":{"channel":1001},"computed":[{"name":"x","expression":"y"}]}`: `computed[0].expression: there is no data and no computed value "y"`,
		`{"id":"api-a","mapping":{"channel":1001},"computed":[{"name":"x"}]}`:                  "computed[0]: a computed value needs a function of names, or an expression",
	} {
		p.Refused(http.MethodPost, "/api/models", body, http.StatusBadRequest, ems.CodeInvalid, message)
		p.Refused(http.MethodPost, "/api/models?dry_run=true", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	fault := p.refusal(http.MethodPost, "/api/models", `{"id":"api-a","mapping":{"channel":1001,"data":{"x":9,"y":"S:9"},"action":{"z":"A:9"}}}`, http.StatusBadRequest)
	servicetest.Same(t, fault.Details, []string{
		"mapping.data.x: the site has no point comsrv:1001:T:9", "mapping.data.y: the site has no point comsrv:1001:S:9",
		"mapping.action.z: the site has no point comsrv:1001:A:9",
	})
	p.Refused(http.MethodPost, "/api/models", `{"id":"battery_001","mapping":{"channel":1001}}`, http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	p.Refused(http.MethodPost, "/api/models", `{"id":"spare","mapping":{"channel":1001}}`, http.StatusBadRequest, ems.CodeInvalid, `for example "api-spare"`)
	p.Refused(http.MethodPut, "/api/models/battery_001", `{"mapping":{"channel":1001}}`, http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	p.Refused(http.MethodDelete, "/api/models/battery_001", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	sound := `{"id":"api-a","mapping":{"channel":1001}}`
	p.Refused(http.MethodPost, "/api/models?dry_run=yes", sound, http.StatusBadRequest, ems.CodeInvalid, `dry_run "yes"`)
	p.Refused(http.MethodPost, "/api/models?dry_run", sound, http.StatusBadRequest, ems.CodeInvalid, `dry_run ""`)
	p.Refused(http.MethodPost, "/api/models?dryrun=true", sound, http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "dryrun"`)
	p.Refused(http.MethodPut, "/api/models/api-a?dry_run=true", sound, http.StatusNotFound, ems.CodeNotFound, "api-a")
	servicetest.Same(t, p.contents(), before)

	for what, site := range map[string]func() error{
		`model id "api-battery"`: func() error {
			site := testSite()
			site.Models[0].ID = "api-battery"
			_, err := modsrv.New(modsrv.Options{Site: site})
			return err
		},
		`template id "api-kind"`: func() error {
			site := testSite()
			site.Templates[0].ID = "api-kind"
			_, err := modsrv.New(modsrv.Options{Site: site})
			return err
		},
	} {
		if err := site(); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), what) {
			t.Errorf("a site with an id of the API: %v", err)
		}
	}
}

func TestModelMadeWithoutIDGetsOne(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	var made [2]ems.Model
	for i := range made {
		p.does(http.MethodPost, "/api/models", `{"mapping":{"channel":1001}}`, http.StatusCreated, &made[i])
		if !strings.HasPrefix(made[i].ID, "api-") || ems.CheckID("id", made[i].ID) != nil {
			t.Errorf("made %+v", made[i])
		}
	}
	want := []string{made[0].ID, made[1].ID, "battery_001"}
	slices.Sort(want)
	servicetest.Same(t, p.ids("/api/models"), want)
}

// What a dry run answers is what is there after the same request in earnest.
func TestADryRunOfAModelTellsWhatWouldBeStored(t *testing.T) {
	t.Parallel()
	site := testSite()
	site.Templates = append(site.Templates, ems.Template{
		ID: "rack", Extends: "battery", Metadata: map[string]any{"maker": "Acme", "volts": 0.1},
		Data:     []ems.TemplateField{{Name: "soc", Min: number(1.0 / 3)}, {Name: "current", Unit: "A", Description: "DC"}, {Name: "running", Type: ems.Signal}},
		Action:   []ems.TemplateField{{Name: "set_power", Type: ems.Adjustment}},
		Computed: []ems.ComputedField{{Name: "twice", Unit: "kW", Function: "scale", Of: []string{"power"}, Factor: number(2)}, {Name: "lost", Expression: "twice + current"}},
	})
	p := start(t, site)
	before := p.contents()
	body := `{"id":"api-r","name":"Rack","template":"rack","mapping":{"channel":1001,"offset":0,"data":{"current":"comsrv:1002:T:1"}},
		"computed":[{"name":"half","expression":"power / 2"}],"metadata":{"floor":2,"maker":"Other"}}`
	ref := func(channel ems.ChannelID, kind ems.PointType, point ems.PointID) ems.PointRef {
		return ems.PointRef{Channel: channel, Type: kind, Point: point}
	}
	want := ems.Expansion{
		ID: "api-r", Name: "Rack", Template: "rack", Templates: []string{"battery", "rack"},
		Data: []ems.ExpandedField{
			{Name: "power", Point: ref(1001, 'T', 1), Unit: "kW"}, {Name: "soc", Point: ref(1001, 'T', 2), Unit: "%", Min: number(1.0 / 3), Max: number(100)},
			{Name: "running", Point: ref(1001, 'S', 1)}, {Name: "current", Point: ref(1002, 'T', 1), Unit: "A", Description: "DC"},
		},
		Action: []ems.ExpandedField{
			{Name: "start", Point: ref(1001, 'C', 1), ValueType: ems.ZeroOrOne},
			{Name: "set_power", Point: ref(1001, 'A', 1), Unit: "kW", Min: number(-50), Max: number(50)},
		},
		Computed: []ems.ComputedField{
			{Name: "twice", Unit: "kW", Function: "scale", Of: []string{"power"}, Factor: number(2)},
			{Name: "lost", Expression: "twice + current"}, {Name: "half", Expression: "power / 2"},
		},
		Unmapped: []string{}, Metadata: map[string]any{"maker": "Other", "volts": 0.1, "floor": 2.0},
	}
	var tried, expanded ems.Expansion
	p.does(http.MethodPost, "/api/models?dry_run=true", body, http.StatusOK, &tried)
	servicetest.Same(t, tried, want)
	servicetest.Same(t, p.contents(), before)
	p.does(http.MethodPost, "/api/models?dry_run=false", body, http.StatusCreated, nil)
	p.does(http.MethodGet, "/api/models/api-r/expanded", "", http.StatusOK, &expanded)
	servicetest.Same(t, expanded, want)

	before = p.contents()
	tried = ems.Expansion{}
	p.does(http.MethodPut, "/api/models/api-r?dry_run=true", `{"template":"rack","mapping":{"channel":1002,"data":{"power":1}}}`, http.StatusOK, &tried)
	servicetest.Same(t, tried.Unmapped, []string{"soc", "running", "current", "start", "set_power", "lost"})
	servicetest.Same(t, p.contents(), before)
}

// TestModelsOfMadeChannels: what was made through the API of comsrv is as good as
// what the folder names, also after a restart.
func TestModelsOfMadeChannels(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	model := `{"id":"api-a","mapping":{"channel":77,"data":{"power":1},"action":{"limit":"A:2"}}}`
	p.Refused(http.MethodPost, "/api/models", model, http.StatusBadRequest, ems.CodeInvalid, "the site has no channel 77")
	const header = `point_id,signal_name,scale,offset,unit,reverse,data_type,max\n`
	document := `{"id": 77, "name": "made", "protocol": "virtual", "points": {"telemetry": "` + header + `1,power,1,0,MW,,,\n", "adjustment": "` + header + `2,limit,1,0,MW,,,5\n"}}`
	if err := p.DB.StoreMade(t.Context(), rtdb.MadeChannel{ID: 77, Document: document}); err != nil {
		t.Fatal(err)
	}
	p.does(http.MethodPost, "/api/models", model, http.StatusCreated, nil)
	p.Refused(http.MethodPost, "/api/models", strings.Replace(strings.Replace(model, `"power":1`, `"power":3`, 1), "api-a", "api-b", 1), http.StatusBadRequest, ems.CodeInvalid,
		"the site has no point comsrv:77:T:3")
	var values []modelValue
	p.does(http.MethodGet, "/api/models/api-a/values", "", http.StatusOK, &values)
	servicetest.Same(t, values, []modelValue{{Name: "power", Unit: "MW", Point: "comsrv:77:T:1", Quality: "bad"}})
	p.Refused(http.MethodPost, "/api/models/api-a/actions/limit", `{"value": 6}`, http.StatusBadRequest, ems.CodeInvalid, "6 is above the greatest value of limit, 5")
	p.run(testSite())
	p.AwaitHealth(http.StatusOK)
	p.does(http.MethodGet, "/api/models/api-a", "", http.StatusOK, nil)
}
