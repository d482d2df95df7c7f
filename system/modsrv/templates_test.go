package modsrv_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// shownTemplate is the wire form of a template.
type shownTemplate struct {
	ems.Template
	Origin string
}

func TestTemplatesAreListedWithTheirOrigin(t *testing.T) {
	t.Parallel()
	site := testSite()
	site.Templates = append(site.Templates, ems.Template{ID: "sub_meter", Extends: "meter"})
	p := start(t, site)
	for _, id := range []string{"api-b", "api-a"} {
		p.does(http.MethodPost, "/api/templates", fmt.Sprintf(`{"id":%q,"name":"Mine","extends":"meter"}`, id), http.StatusCreated, nil)
	}
	var templates []shownTemplate
	p.does(http.MethodGet, "/api/templates", "", http.StatusOK, &templates)
	servicetest.Same(t, templates, []shownTemplate{
		{ems.Template{ID: "api-a", Name: "Mine", Extends: "meter"}, "api"}, {ems.Template{ID: "api-b", Name: "Mine", Extends: "meter"}, "api"},
		{batteryTemplate(), "site"}, {site.Library[0], "library"}, {site.Templates[1], "site"},
	})
	for query, want := range map[string][][]string{
		"":                       {{"api-a", "api-b", "battery", "meter", "sub_meter"}},
		"?limit=2":               {{"api-a", "api-b"}, {"battery", "meter"}, {"sub_meter"}},
		"?limit=5":               {{"api-a", "api-b", "battery", "meter", "sub_meter"}, {}},
		"?extends=meter&limit=2": {{"api-a", "api-b"}, {"sub_meter"}},
		"?extends=battery":       {{}},
		"?extends=nothing":       {{}},
	} {
		if got := p.pages("/api/templates" + query); asJSON(t, got) != asJSON(t, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	var one shownTemplate
	p.does(http.MethodGet, "/api/templates/battery", "", http.StatusOK, &one)
	servicetest.Same(t, one, shownTemplate{batteryTemplate(), "site"})
	p.Refused(http.MethodGet, "/api/templates/nothing", "", http.StatusNotFound, ems.CodeNotFound, "nothing")
	for path, message := range map[string]string{
		"/a%20b": "template id", "?limit=0": "limit", "?after=a%20b": "after", "?extends=a%20b": "extends",
	} {
		p.Refused(http.MethodGet, "/api/templates"+path, "", http.StatusBadRequest, ems.CodeInvalid, message)
	}
}

// What a GET replies can be changed and put back.
func TestATemplateIsReplacedAndItsModelsFollow(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	var made shownTemplate
	p.does(http.MethodPost, "/api/templates", `{"id":"api-t","name":"Mine","data":[{"name":"x","unit":"kW"},{"name":"y"}]}`, http.StatusCreated, &made)
	servicetest.Same(t, made, shownTemplate{ems.Template{ID: "api-t", Name: "Mine", Data: []ems.TemplateField{{Name: "x", Unit: "kW"}, {Name: "y"}}}, "api"})
	p.does(http.MethodPost, "/api/models", `{"id":"api-m","template":"api-t","mapping":{"channel":1001,"data":{"x":1},"offset":2}}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/templates", `{"id":"api-child","name":"Child","extends":"api-t","data":[{"name":"x","max":5}]}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-n","template":"api-child","mapping":{"channel":1001,"data":{"x":2}}}`, http.StatusCreated, nil)

	body := `{"name":"Mine","origin":"api","data":[{"name":"x","unit":"W","min":1},{"name":"z"}]}`
	before := p.contents()
	var tried struct {
		Template shownTemplate
		Models   []ems.Expansion
	}
	p.does(http.MethodPut, "/api/templates/api-t?dry_run=true", body, http.StatusOK, &tried)
	servicetest.Same(t, p.contents(), before)
	wantTemplate := shownTemplate{ems.Template{ID: "api-t", Name: "Mine", Data: []ems.TemplateField{{Name: "x", Unit: "W", Min: number(1)}, {Name: "z"}}}, "api"}
	servicetest.Same(t, tried.Template, wantTemplate)
	var put, found shownTemplate
	p.does(http.MethodPut, "/api/templates/api-t", body, http.StatusOK, &put)
	servicetest.Same(t, put, wantTemplate)
	p.does(http.MethodGet, "/api/templates/api-t", "", http.StatusOK, &found)
	servicetest.Same(t, found, wantTemplate)

	var expansions [2]ems.Expansion
	for i, id := range []string{"api-m", "api-n"} {
		p.does(http.MethodGet, "/api/models/"+id+"/expanded", "", http.StatusOK, &expansions[i])
	}
	servicetest.Same(t, tried.Models, expansions[:])
	servicetest.Same(t, expansions[0].Data, []ems.ExpandedField{
		{Name: "x", Point: ems.PointRef{Channel: 1001, Type: 'T', Point: 1}, Unit: "W", Min: number(1)},
		{Name: "z", Point: ems.PointRef{Channel: 1001, Type: 'T', Point: 4}},
	})
	servicetest.Same(t, expansions[1].Data, []ems.ExpandedField{
		{Name: "x", Point: ems.PointRef{Channel: 1001, Type: 'T', Point: 2}, Unit: "W", Min: number(1), Max: number(5)},
	})
	servicetest.Same(t, expansions[1].Unmapped, []string{"z"})
}

func TestATemplateInUseIsGuarded(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	p.does(http.MethodPost, "/api/templates", `{"id":"api-t","data":[{"name":"x"},{"name":"y"}]}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/templates", `{"id":"api-child","extends":"api-t","computed":[{"name":"sum","expression":"x + y"}]}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-m","template":"api-t","mapping":{"channel":1001,"data":{"x":1,"y":2}}}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-n","template":"api-child","mapping":{"channel":1001,"data":{"y":2}}}`, http.StatusCreated, nil)
	before := p.contents()

	fault := p.refusal(http.MethodDelete, "/api/templates/api-t", "", http.StatusConflict)
	servicetest.Same(t, fault.Details, []string{"template api-child", "model api-m"})
	if !strings.Contains(fault.Message, `template "api-t" is in use by 2 others`) {
		t.Error(fault.Message)
	}
	for _, query := range []string{"", "?dry_run=true"} {
		fault = p.refusal(http.MethodPut, "/api/templates/api-t"+query, `{"data":[{"name":"x"}]}`, http.StatusConflict)
		servicetest.Same(t, fault.Code, ems.CodeConflict)
		servicetest.Same(t, fault.Details, []string{
			`template api-child: computed[0].expression: there is no data and no computed value "y"`,
			`model api-m: mapping.data.y: the template has no "y"`,
			`model api-n: template: template api-child cannot be used: computed[0].expression: there is no data and no computed value "y"`,
		})
		// A point that the site does not have would be named without anybody asking for it.
		p.Refused(http.MethodPut, "/api/templates/api-t"+query, `{"data":[{"name":"x"},{"name":"y","type":"A"},{"name":"x"}]}`, http.StatusBadRequest, ems.CodeInvalid, `data[2].name: "x" stands twice in data`)
		p.Refused(http.MethodPut, "/api/templates/api-t"+query, `{"extends":"api-child"}`, http.StatusBadRequest, ems.CodeInvalid, "extend each other in a circle: api-t -> api-child -> api-t")
	}
	servicetest.Same(t, p.contents(), before)

	// The function library guards both by itself, whoever calls it.
	err := p.DB.UpsertTemplate(t.Context(), ems.Template{ID: "api-t", Data: []ems.TemplateField{{Name: "x"}}})
	if ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), "would no longer fit") {
		t.Errorf("a template that its followers do not fit: %v", err)
	}
	p.does(http.MethodDelete, "/api/models/api-m", "", http.StatusOK, nil)
	p.does(http.MethodDelete, "/api/models/api-n", "", http.StatusOK, nil)
	err = p.DB.UpsertTemplate(t.Context(), ems.Template{ID: "api-t", Data: []ems.TemplateField{{Name: "x"}}})
	if ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), "template 'api-child' follows this template") {
		t.Errorf("a template that one without models does not fit: %v", err)
	}
	fault = p.refusal(http.MethodDelete, "/api/templates/api-t", "", http.StatusConflict)
	servicetest.Same(t, fault.Details, []string{"template api-child"})
	p.does(http.MethodDelete, "/api/templates/api-child", "", http.StatusOK, nil)
	p.does(http.MethodDelete, "/api/templates/api-t", "", http.StatusOK, nil)
	p.Refused(http.MethodDelete, "/api/templates/api-t", "", http.StatusNotFound, ems.CodeNotFound, "api-t")
	servicetest.Same(t, p.ids("/api/templates"), []string{"battery", "meter"})
}

// A field more in a template means a point more of every model with an offset.
func TestATemplateGivesNoModelAPointThatTheSiteLacks(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	p.does(http.MethodPost, "/api/templates", `{"id":"api-t","data":[{"name":"x"}]}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-m","template":"api-t","mapping":{"channel":1002,"offset":0}}`, http.StatusCreated, nil)
	before := p.contents()
	fault := p.refusal(http.MethodPut, "/api/templates/api-t", `{"data":[{"name":"x"},{"name":"y"}]}`, http.StatusConflict)
	if len(fault.Details) != 1 || !strings.HasPrefix(fault.Details[0], "model api-m: mapping.offset: the site has no point comsrv:1002:T:2 (y)") {
		t.Errorf("got %q", fault.Details)
	}
	servicetest.Same(t, p.contents(), before)
}

func TestUnusableTemplatesAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	before := p.contents()
	for body, message := range map[string]string{
		`[]`:                               "the body is not the JSON",
		`{"id":"api-t","colour":1}`:        "colour",
		`{"id":"a b"}`:                     "template id",
		`{"id":"api-t","data":[{}]}`:       "data[0].name: name",
		`{"id":"api-t","extends":"none"}`:  `extends: no template "none"`,
		`{"id":"api-t","extends":"api-t"}`: "extend each other in a circle",
		`{"id":"api-t","data":[{"name":"x","type":"Q"}]}`:                                         "unknown point type",
		`{"id":"api-t","data":[{"name":"x","value_type":"word"}]}`:                                "data[0].value_type: unknown value_type",
		`{"id":"api-t","data":[{"name":"x","min":2,"max":1}]}`:                                    "data[0].min: 2 is above max 1",
		`{"id":"api-t","action":[{"name":"x","type":"T"}]}`:                                       "action[0].type: an action is a control",
		`{"id":"api-t","computed":[{"name":"x","expression":"x +"}]}`:                             "computed[0].expression: byte 4",
		`{"id":"api-t","extends":"battery","data":[{"name":"soc","min":101}]}`:                    "data[0].min: 101 is above max 100",
		`{"id":"api-t","computed":[{"name":"a","expression":"b"},{"name":"b","expression":"a"}]}`: "in a circle",
	} {
		p.Refused(http.MethodPost, "/api/templates", body, http.StatusBadRequest, ems.CodeInvalid, message)
		p.Refused(http.MethodPost, "/api/templates?dry_run=true", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		p.Refused(method, "/api/templates/battery", `{"name":"x"}`, http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
		p.Refused(method, "/api/templates/meter", `{"name":"x"}`, http.StatusConflict, ems.CodeConflict, "belongs to the library")
		p.Refused(method, "/api/templates/nothing", `{"name":"x"}`, http.StatusNotFound, ems.CodeNotFound, "nothing")
		p.Refused(method, "/api/templates/api-nothing", `{"name":"x"}`, http.StatusNotFound, ems.CodeNotFound, "api-nothing")
		p.Refused(method, "/api/templates/a%20b", `{"name":"x"}`, http.StatusBadRequest, ems.CodeInvalid, "template id")
	}
	p.Refused(http.MethodPost, "/api/templates", `{"id":"battery"}`, http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	p.Refused(http.MethodPost, "/api/templates", `{"id":"meter"}`, http.StatusConflict, ems.CodeConflict, "belongs to the library")
	p.Refused(http.MethodPost, "/api/templates", `{"id":"kind"}`, http.StatusBadRequest, ems.CodeInvalid, `for example "api-kind"`)
	p.Refused(http.MethodPost, "/api/templates?dry_run=1", `{"id":"api-t"}`, http.StatusBadRequest, ems.CodeInvalid, `dry_run "1"`)
	servicetest.Same(t, p.contents(), before)
	var made shownTemplate
	p.does(http.MethodPost, "/api/templates", `{"name":"nameless"}`, http.StatusCreated, &made)
	if !strings.HasPrefix(made.ID, "api-") || made.Origin != "api" {
		t.Errorf("made %+v", made)
	}
}
