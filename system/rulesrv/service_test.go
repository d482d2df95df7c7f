package rulesrv_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/rulesrv"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servicetest.DriverDials()) }

func testSite() *config.Site {
	point := func(kind ems.PointType, id ems.PointID) config.MappedPoint {
		return config.MappedPoint{Point: ems.Point{ID: id, Type: kind, Scale: 1, Group: ems.DefaultGroup}}
	}
	return &config.Site{
		Name: "test",
		Channels: []config.Channel{{
			ID: 1001, Name: "battery", Enabled: true,
			Points: []config.MappedPoint{point(ems.Telemetry, 1), point(ems.Telemetry, 2), point(ems.Control, 1)},
		}},
		Rules: []ems.Rule{above("hot", 1, 60,
			ems.Action{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Major", "title": "hot"}},
			ems.Action{Type: ems.ActionNotify, Params: map[string]any{"message": "the battery is hot"}})},
	}
}

// above is a rule on one telemetry point of channel 1001.
func above(id string, point int, limit float64, actions ...ems.Action) ems.Rule {
	return ems.Rule{
		ID: id, Name: id, Actions: actions,
		Conditions: []ems.Condition{{Source: fmt.Sprintf("comsrv:1001:T:%d", point), Operator: ">", Value: ems.Number(limit)}},
	}
}

type fixture struct {
	*servicetest.Fixture
	t *testing.T
}

func prepare(t *testing.T) *fixture {
	t.Helper()
	return &fixture{Fixture: servicetest.New(t, ems.SystemClock{}), t: t}
}

// run runs the service until the returned function is called.
func (f *fixture) run(site *config.Site) (stop func()) {
	f.t.Helper()
	service, err := rulesrv.New(rulesrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: site, DB: f.DB,
		Clock: ems.SystemClock{}, Logger: testkit.Logger(f.t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	stop = f.Run(service)
	f.AwaitHealth(http.StatusOK)
	return stop
}

// notifications returns rule and message of every notification that waits.
func (f *fixture) notifications() [][2]string {
	f.t.Helper()
	messages, err := f.Raw.XRange(f.t.Context(), "rulesrv:actions", "-", "+").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	found := [][2]string{}
	for _, message := range messages {
		found = append(found, [2]string{message.Values["rule"].(string), message.Values["message"].(string)})
	}
	return found
}

// ingest stores one good value of a telemetry point of channel 1001.
func (f *fixture) ingest(point ems.PointID, value float64) {
	f.t.Helper()
	err := f.DB.Ingest(f.t.Context(), rtdb.Batch{
		Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: time.Now(),
		Samples: []rtdb.Sample{{Point: point, Number: value}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// state is the wire form of a rule and its state.
type state struct {
	Rule      ems.Rule
	Status    string
	Fired     int64
	Since     *time.Time
	LastFired *time.Time `json:"last_fired"`
}

// states lists id and status of all rules.
func (f *fixture) states() []string {
	f.t.Helper()
	var found []state
	if status, text := f.Ask(http.MethodGet, "/api/rules", "", &found); status != http.StatusOK {
		f.t.Fatal(text)
	}
	list := []string{}
	for _, rule := range found {
		list = append(list, rule.Rule.ID+" "+rule.Status)
	}
	return list
}

func (f *fixture) activeAlarms() []string {
	f.t.Helper()
	alarms, err := f.DB.Alarms(f.t.Context(), rtdb.AlarmFilter{Active: true, Count: 10})
	if err != nil {
		f.t.Fatal(err)
	}
	titles := []string{}
	for _, alarm := range alarms {
		titles = append(titles, alarm.Title)
	}
	return titles
}

func TestSiteRulesAreStoredAndAct(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())
	var found state
	if status, text := f.Ask(http.MethodGet, "/api/rules/hot", "", &found); status != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, found, state{Rule: testSite().Rules[0], Status: "idle"})

	f.ingest(1, 60.000001)
	servicetest.Same(t, f.states(), []string{"hot active"})
	servicetest.Same(t, f.activeAlarms(), []string{"hot"})
	servicetest.Same(t, f.notifications(), [][2]string{{"hot", "the battery is hot"}})
	f.Ask(http.MethodGet, "/api/rules/hot", "", &found)
	if found.Fired != 1 || found.LastFired == nil || !found.Since.Equal(*found.LastFired) {
		t.Errorf("the rule says of itself: fired %d, since %v, last %v", found.Fired, found.Since, found.LastFired)
	}

	f.ingest(1, 60)
	servicetest.Same(t, f.states(), []string{"hot idle"})
	servicetest.Same(t, f.activeAlarms(), []string{})
	f.Refused(http.MethodGet, "/api/rules/nobody", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
	f.Refused(http.MethodGet, "/api/rules/a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "rule id")
	f.Refused(http.MethodGet, "/api/rules?limit=0", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
}

func TestRuleTakenOutOfTheFolderIsGone(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	before := testSite()
	before.Rules = append(before.Rules, above("old", 2, 5, ems.Action{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Info", "title": "old"}}))
	stop := f.run(before)
	f.ingest(2, 6)
	servicetest.Same(t, f.activeAlarms(), []string{"old"})
	body := `{"id":"api-mine","name":"mine","conditions":[{"source":"comsrv:1001:T:2","operator":">","value":5}],"actions":[]}`
	if status, text := f.Ask(http.MethodPost, "/api/rules", body, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	servicetest.Same(t, f.states(), []string{"api-mine active", "hot idle", "old active"})
	stop()
	f.run(testSite())
	servicetest.Same(t, f.states(), []string{"api-mine active", "hot idle"})
	servicetest.Same(t, f.activeAlarms(), []string{})
}

func TestRulesMadeThroughTheAPI(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())
	body := `{"name":"mine","logic":"OR","conditions":[{"source":"comsrv:1001:T:1","operator":">","value":70},{"source":"comsrv:1001:T:2","operator":"<=","value":-1.5}],
		"actions":[{"type":"create_alarm","params":{"level":"Info","title":"mine"}}]}`
	var made state
	if status, text := f.Ask(http.MethodPost, "/api/rules", body, &made); status != http.StatusCreated {
		t.Fatal(text)
	}
	id := made.Rule.ID
	if !strings.HasPrefix(id, "api-") || made.Status != "idle" {
		t.Errorf("made %+v", made)
	}
	f.ingest(2, -1.5)
	servicetest.Same(t, f.states(), []string{id + " active", "hot idle"})

	if status, text := f.Ask(http.MethodPost, "/api/rules/"+id+"/disable", "", &made); status != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, made.Status, "disabled")
	servicetest.Same(t, f.activeAlarms(), []string{})
	f.Ask(http.MethodPost, "/api/rules/"+id+"/evaluate", "", &made)
	servicetest.Same(t, made.Status, "disabled")
	f.Ask(http.MethodPost, "/api/rules/"+id+"/enable", "", &made) // which looks at the values that stand
	servicetest.Same(t, made.Status, "active")
	servicetest.Same(t, f.activeAlarms(), []string{"mine"})
	f.Ask(http.MethodPost, "/api/rules/"+id+"/evaluate", "", &made)
	servicetest.Same(t, made.Status, "active")
	servicetest.Same(t, f.activeAlarms(), []string{"mine"})

	if status, text := f.Ask(http.MethodDelete, "/api/rules/"+id, "", nil); status != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, f.states(), []string{"hot idle"})
	servicetest.Same(t, f.activeAlarms(), []string{})
	for _, step := range []string{"enable", "disable", "evaluate"} {
		f.Refused(http.MethodPost, "/api/rules/"+id+"/"+step, "", http.StatusNotFound, ems.CodeNotFound, id)
	}
	f.Refused(http.MethodDelete, "/api/rules/"+id, "", http.StatusNotFound, ems.CodeNotFound, id)
	f.Refused(http.MethodDelete, "/api/rules/hot", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
}

func TestUnusableRulesAreRefused(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())
	condition := `"conditions":[{"source":"comsrv:1001:T:1","operator":">","value":1}]`
	for body, message := range map[string]string{
		`[]`:                              "the body is not the JSON",
		`{"id":"api-a","colour":1}`:       "colour",
		`{"id":"api-a"}`:                  "at least one condition",
		`{"id":"mine",` + condition + `}`: `for example "api-mine"`,
		`{"id":"hot",` + condition + `}`:  "belong to rules.yaml",
		`{"id":"api-a","conditions":[{"source":"comsrv:1001:T:1","operator":"=","value":1}]}`:                             "unknown operator",
		`{"id":"api-a","conditions":[{"source":"comsrv:1001:T:9","operator":">","value":1}]}`:                             "no point comsrv:1001:T:9",
		`{"id":"api-a",` + condition + `,"actions":[{"type":"control","params":{"target":"comsrv:1001:C:7","value":1}}]}`: "no point comsrv:1001:C:7",
		`{"id":"api-a",` + condition + `,"actions":[{"type":"email"}]}`:                                                   "unknown action",
		`{"id":"api-a",` + condition + `,"actions":[{"type":"notify","params":{"message":"x","to":"night"}}]}`:            `nobody is told as "night"`,
	} {
		f.Refused(http.MethodPost, "/api/rules", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	for _, word := range []string{"events", "export", "import", "reload", "test"} {
		f.Refused(http.MethodPut, "/api/rules/"+word, `{`+condition+`}`, http.StatusBadRequest, ems.CodeInvalid, "is a word of the API, /api/rules/"+word)
	}
	servicetest.Same(t, f.states(), []string{"hot idle"})

	site := testSite()
	site.Rules[0].ID = "api-hot"
	_, err := rulesrv.New(rulesrv.Options{Site: site})
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), `rule id "api-hot"`) {
		t.Errorf("a site rule with an id of the API: %v", err)
	}
}

// A Redis at its memory limit refuses to store rules. It is not asked to, where it
// holds them as they are.
func TestRulesThatStayTheSameAreNotStoredAgain(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())()
	if err := f.Raw.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	f.run(testSite())
	if diff := cmp.Diff([]string{"hot idle"}, f.states()); diff != "" {
		t.Error(diff)
	}
}

func TestRedisThatComesBackEmptyIsFilledAgain(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())
	f.Empty()
	f.Redis.Stop()
	f.AwaitHealth(http.StatusServiceUnavailable)
	f.Refused(http.MethodGet, "/api/rules", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
	f.Redis.Start()
	f.Load()
	testkit.Eventually(t, servicetest.Soon, func() error {
		if got := f.states(); !cmp.Equal(got, []string{"hot idle"}) {
			return fmt.Errorf("rules are %v", got)
		}
		return nil
	}, "the rule of the site")
	f.AwaitHealth(http.StatusOK)
	f.ingest(1, 61)
	servicetest.Same(t, f.notifications(), [][2]string{{"hot", "the battery is hot"}})
}
