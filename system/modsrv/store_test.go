package modsrv_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestRedisThatComesBackEmptyIsFilledAgain(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	before := p.contents()
	p.does(http.MethodPost, "/api/models", `{"id":"api-lost","mapping":{"channel":1001}}`, http.StatusCreated, nil)
	p.Empty()
	p.Redis.Stop()
	p.AwaitHealth(http.StatusServiceUnavailable)
	for _, path := range []string{"/api/models", "/api/templates", "/api/models/battery_001/values", "/api/points/1001/T/1/models"} {
		p.Refused(http.MethodGet, path, "", http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
	}
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
	p.Redis.Start()
	p.Load()
	testkit.Eventually(t, servicetest.Soon, func() error {
		if status, text := p.Ask(http.MethodGet, "/api/models/battery_001", "", nil); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	}, "the model of the site")
	p.AwaitHealth(http.StatusOK)
	servicetest.Same(t, p.contents(), before)
}

// More models than one page holds are taken out of the folder, and a template:
// what was made through the API stays, nothing else.
func TestWhatIsTakenOutOfTheFolderIsGone(t *testing.T) {
	t.Parallel()
	p := &plant{Fixture: servicetest.New(t, ems.SystemClock{}), t: t}
	before := testSite()
	before.Templates = append(before.Templates, ems.Template{ID: "old_kind", Extends: "battery"})
	for i := range 1001 {
		old := batteryModel(fmt.Sprintf("old_%04d", i))
		old.Template = "old_kind"
		before.Models = append(before.Models, old)
	}
	stop := p.run(before)
	p.AwaitHealth(http.StatusOK)
	p.does(http.MethodPost, "/api/models", `{"id":"api-mine","template":"battery","mapping":{"channel":1001,"data":{"power":1}}}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/templates", `{"id":"api-kind","extends":"meter"}`, http.StatusCreated, nil)
	servicetest.Same(t, len(p.ids("/api/models")), 1003)
	stop()
	p.run(testSite())
	p.AwaitHealth(http.StatusOK)
	servicetest.Same(t, p.ids("/api/models"), []string{"api-mine", "battery_001"})
	servicetest.Same(t, p.ids("/api/templates"), []string{"api-kind", "battery", "meter"})
	p.Refused(http.MethodPost, "/api/models/old_0000/actions/start", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "old_0000")
	var names []rtdb.ModelName
	p.does(http.MethodGet, "/api/points/1001/T/1/models", "", http.StatusOK, &names)
	servicetest.Same(t, names, []rtdb.ModelName{{Model: "api-mine", Name: "power"}, {Model: "battery_001", Name: "power"}})

	p.does(http.MethodDelete, "/api/models/api-mine", "", http.StatusOK, nil)
	p.does(http.MethodDelete, "/api/templates/api-kind", "", http.StatusOK, nil)
	other := start(t, testSite()) // which never held anything else
	servicetest.Same(t, without(p.contents()), without(other.contents()))
}

func TestNothingIsStoredAnewWhenNothingIsDifferent(t *testing.T) {
	t.Parallel()
	p := &plant{Fixture: servicetest.New(t, ems.SystemClock{}), t: t}
	site := testSite()
	site.Models[0].Metadata = map[string]any{ // as YAML is read
		"floor": 2, "serial": 1152921504606846977, "ratio": 1.0 / 3, "built": time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC), "tags": []any{"a", 1}, "none": nil, "list": []any{},
	}
	site.Templates[0].Data[0].Max = number(1e21)
	stop := p.run(site)
	p.AwaitHealth(http.StatusOK)
	p.does(http.MethodPost, "/api/models", `{"id":"api-mine","template":"battery","mapping":{"channel":1001,"data":{"power":1}},"metadata":{"n":1e3}}`, http.StatusCreated, nil)
	before := p.contents()
	stop()
	stop = p.run(site)
	p.AwaitHealth(http.StatusOK)
	servicetest.Same(t, p.contents(), before)
	var reply reloadReply
	p.does(http.MethodPost, "/api/models/reload", "", http.StatusOK, &reply)
	servicetest.Same(t, reply, reloadReply{Templates: changed(nil, nil, nil), Models: changed(nil, nil, nil)})
	servicetest.Same(t, p.contents(), before)
	stop()

	// What another library has laid out is laid out anew.
	if err := p.Raw.Set(t.Context(), "modsrv:library", "1.0:000000000000", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := p.Raw.HSet(t.Context(), "modsrv:model:battery_001", "layout", "as it was then").Err(); err != nil {
		t.Fatal(err)
	}
	p.run(site)
	p.AwaitHealth(http.StatusOK)
	if after := p.contents(); after["modsrv:version"] == before["modsrv:version"] {
		t.Error("the version is the same")
	} else {
		servicetest.Same(t, without(after), without(before))
	}
}

// The service stays up, so that what does not fit can be changed or deleted.
func TestWhatWasMadeThroughTheAPIAndNoLongerFitsIsNamed(t *testing.T) {
	t.Parallel()
	p := &plant{Fixture: servicetest.New(t, ems.SystemClock{}), t: t}
	before := testSite()
	before.Templates = append(before.Templates, ems.Template{ID: "old_kind", Data: []ems.TemplateField{{Name: "power"}}})
	stop := p.run(before)
	p.AwaitHealth(http.StatusOK)
	p.does(http.MethodPost, "/api/templates", `{"id":"api-kind","extends":"old_kind"}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-a","template":"battery","mapping":{"channel":1001,"data":{"soc":4}}}`, http.StatusCreated, nil)
	p.does(http.MethodPost, "/api/models", `{"id":"api-b","mapping":{"channel":1002,"data":{"power":1}}}`, http.StatusCreated, nil)
	stored := p.contents()
	stop()

	after := testSite()
	after.Channels = after.Channels[:1]
	after.Templates[0].Data = after.Templates[0].Data[:1]
	after.Models = []ems.Model{{ID: "battery_002", Template: "battery", Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{"power": "1"}}}}
	p.run(after)
	details := []string{
		`template api-kind: extends: no template "old_kind", which api-kind extends; change it with PUT /api/templates/api-kind, or take it away with DELETE /api/templates/api-kind`,
		`model api-a: mapping.data.soc: the template has no "soc"; change it with PUT /api/models/api-a, or take it away with DELETE /api/models/api-a`,
		`model api-b: mapping.channel: the site has no channel 1002; change it with PUT /api/models/api-b, or take it away with DELETE /api/models/api-b`,
	}
	awaitReason(p, "1 templates, 1 models of the site are not in use: the site folder is not put in use, because what was made through the API does not fit it: "+details[0])
	servicetest.Same(t, p.contents(), stored)
	fault := p.refusal(http.MethodPost, "/api/models/reload", "", http.StatusConflict)
	servicetest.Same(t, fault.Details, details)
	servicetest.Same(t, p.contents(), stored)

	p.does(http.MethodDelete, "/api/templates/api-kind", "", http.StatusOK, nil)
	awaitReason(p, details[1])
	p.does(http.MethodPut, "/api/models/api-a", `{"template":"battery","mapping":{"channel":1001,"data":{"power":4}}}`, http.StatusOK, nil)
	awaitReason(p, details[2])
	p.does(http.MethodDelete, "/api/models/api-b", "", http.StatusOK, nil)
	p.AwaitHealth(http.StatusOK)
	servicetest.Same(t, p.ids("/api/models"), []string{"api-a", "battery_002"})
	servicetest.Same(t, p.ids("/api/templates"), []string{"battery", "meter"})
}

// awaitReason waits until the health of the service names a reason.
func awaitReason(p *plant, reason string) {
	p.t.Helper()
	testkit.Eventually(p.t, servicetest.Soon, func() error {
		status, text := p.Ask(http.MethodGet, "/health/detailed", "", nil)
		if status != http.StatusServiceUnavailable || !strings.Contains(text, strings.Trim(asJSON(p.t, reason), `"`)) {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	}, "the reason")
}

// A site that the function library refuses is not put in use in part, whatever
// read it.
func TestASiteThatTheFunctionLibraryRefusesChangesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	before := p.contents()
	site := testSite()
	site.Templates[0].Name = "changed"
	bad := batteryModel("last")
	bad.Mapping.Data = map[string]ems.ModelPoint{"power": "0"}
	site.Models = append(site.Models, batteryModel("first"), bad)
	p.folder.Store(site)
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusBadRequest, ems.CodeInvalid, "model last: mapping.data.power '0' is not a point")
	servicetest.Same(t, p.contents(), before)
	p.AwaitHealth(http.StatusOK)
}

// Between reading what is to be kept and beginning to prepare, and between that
// and the end, a change makes the whole begin again.
func TestASiteIsNotPutOverAChangeThatItHasNotSeen(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	version, current, err := p.DB.ModelsVersion(t.Context())
	if err != nil || !current {
		t.Fatal(version, current, err)
	}
	p.does(http.MethodPost, "/api/models", `{"id":"api-m","mapping":{"channel":1001}}`, http.StatusCreated, nil)
	before := p.contents()
	err = p.DB.ReplaceModels(t.Context(), version, testSite().AllTemplates(), testSite().Models)
	if ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("put over a model that was not seen: %v", err)
	}
	servicetest.Same(t, p.contents(), before)
	if version, _, err = p.DB.ModelsVersion(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.DB.ReplaceModels(t.Context(), version, nil, nil); err != nil {
		t.Fatal(err)
	}
	servicetest.Same(t, p.ids("/api/models"), []string(nil))
}

func TestAFullSiteTakesNoModelMore(t *testing.T) {
	t.Parallel()
	site := testSite()
	for i := range 4999 {
		site.Models = append(site.Models, ems.Model{ID: fmt.Sprintf("m%04d", i), Mapping: ems.ModelMapping{Channel: 1001}})
	}
	p := start(t, site)
	before := p.contents()
	p.Refused(http.MethodPost, "/api/models", `{"id":"api-more","mapping":{"channel":1001}}`, http.StatusInsufficientStorage, ems.CodeFull, "at most 5000 models")
	more := *site
	more.Models = append(more.Models[:5000:5000], ems.Model{ID: "more", Mapping: ems.ModelMapping{Channel: 1001}})
	p.folder.Store(&more)
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusInsufficientStorage, ems.CodeFull, "model more: a site has at most 5000 models")
	servicetest.Same(t, p.contents(), before)
}

// At the limit of its memory Redis stores no site and keeps the one it has.
func TestAReloadThatFindsNoMemoryChangesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	before := p.contents()
	site := testSite()
	site.Models = append(site.Models, batteryModel("battery_002"))
	p.folder.Store(site)
	if err := p.Raw.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	p.Refused(http.MethodPost, "/api/models/reload", "", http.StatusInsufficientStorage, ems.CodeFull, "memory limit")
	servicetest.Same(t, p.contents(), before)
	if err := p.Raw.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	p.does(http.MethodPost, "/api/models/reload", "", http.StatusOK, nil)
	servicetest.Same(t, p.ids("/api/models"), []string{"battery_001", "battery_002"})
}
