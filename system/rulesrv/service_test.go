package rulesrv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/rulesrv"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// soon bounds what happens within a few steps of the programs under test.
const soon = 15 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		Conditions: []ems.Condition{{Source: fmt.Sprintf("comsrv:1001:T:%d", point), Operator: ">", Value: &limit}},
	}
}

type fixture struct {
	t     *testing.T
	redis *testkit.RedisServer
	db    *rtdb.Client
	url   string
	log   *log
}

// prepare makes a Redis that holds the library.
func prepare(t *testing.T) *fixture {
	t.Helper()
	server := testkit.Redis(t)
	f := &fixture{t: t, redis: server, log: &log{}}
	db, err := rtdb.Open(rtdb.Options{URL: server.URL, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	f.db = db
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs the service until the returned function is called.
func (f *fixture) run(site *config.Site) (stop func()) {
	f.t.Helper()
	service, err := rulesrv.New(rulesrv.Options{
		Service: config.Service{Listen: "127.0.0.1:0"}, Site: site, DB: f.db,
		Clock: ems.SystemClock{}, Logger: slog.New(slog.NewJSONHandler(f.log, nil)), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.url = "http://" + service.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("Run: %v", err)
		}
	})
	f.t.Cleanup(stop)
	f.awaitHealth(http.StatusOK)
	return stop
}

// log keeps what the service logs, one JSON object a line.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// notifications returns rule and message of every notification in the log.
func (l *log) notifications() [][2]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := [][2]string{}
	for _, line := range l.lines {
		var entry struct{ Msg, Rule, Message string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "notification" {
			found = append(found, [2]string{entry.Rule, entry.Message})
		}
	}
	return found
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

// ingest stores one good value of a telemetry point of channel 1001.
func (f *fixture) ingest(point ems.PointID, value float64) {
	f.t.Helper()
	err := f.db.Ingest(f.t.Context(), rtdb.Batch{
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
	if status, text := f.ask(http.MethodGet, "/api/rules", "", &found); status != http.StatusOK {
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
	alarms, err := f.db.Alarms(f.t.Context(), rtdb.AlarmFilter{Active: true, Count: 10})
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
	if status, text := f.ask(http.MethodGet, "/api/rules/hot", "", &found); status != http.StatusOK {
		t.Fatal(text)
	}
	same(t, found, state{Rule: testSite().Rules[0], Status: "idle"})

	f.ingest(1, 60.000001)
	same(t, f.states(), []string{"hot active"})
	same(t, f.activeAlarms(), []string{"hot"})
	testkit.Eventually(t, soon, func() error {
		if got := f.log.notifications(); !cmp.Equal(got, [][2]string{{"hot", "the battery is hot"}}) {
			return fmt.Errorf("notifications are %v", got)
		}
		if _, text := f.ask(http.MethodGet, "/metrics", "", nil); !strings.Contains(text, "\nvoltage_rulesrv_notifications_total 1\n") {
			return errors.New("not counted")
		}
		return nil
	}, "the notification")
	f.ask(http.MethodGet, "/api/rules/hot", "", &found)
	if found.Fired != 1 || found.LastFired == nil || !found.Since.Equal(*found.LastFired) {
		t.Errorf("the rule says of itself: fired %d, since %v, last %v", found.Fired, found.Since, found.LastFired)
	}

	f.ingest(1, 60)
	same(t, f.states(), []string{"hot idle"})
	same(t, f.activeAlarms(), []string{})
	f.refused(http.MethodGet, "/api/rules/nobody", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
	f.refused(http.MethodGet, "/api/rules/a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "rule id")
	f.refused(http.MethodGet, "/api/rules?limit=0", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
}

func TestNotificationsTakenBeforeComeFirst(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	for _, rule := range []ems.Rule{
		above("first", 1, 0, ems.Action{Type: ems.ActionNotify, Params: map[string]any{"message": "one"}}),
		above("second", 2, 0, ems.Action{Type: ems.ActionNotify, Params: map[string]any{"message": "two"}}),
	} {
		if err := f.db.UpsertRule(t.Context(), rule); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.db.NextActions(t.Context(), "rulesrv", false, 0); err != nil {
		t.Fatal(err)
	}
	f.ingest(1, 1)
	taken, err := f.db.NextActions(t.Context(), "rulesrv", true, time.Second)
	if err != nil || len(taken) != 1 {
		t.Fatalf("%v %v", taken, err)
	}
	f.ingest(2, 1)
	stop := f.run(testSite())
	testkit.Eventually(t, soon, func() error {
		if got := f.log.notifications(); !cmp.Equal(got, [][2]string{{"first", "one"}, {"second", "two"}}) {
			return fmt.Errorf("notifications are %v", got)
		}
		return nil
	}, "both notifications, in order")
	stop()
	f.log.lines = nil
	f.run(testSite())
	f.ingest(1, 61)
	testkit.Eventually(t, soon, func() error {
		if got := f.log.notifications(); !cmp.Equal(got, [][2]string{{"hot", "the battery is hot"}}) {
			return fmt.Errorf("notifications are %v", got)
		}
		return nil
	}, "acknowledged notifications do not come again")
}

func TestRuleTakenOutOfTheFolderIsGone(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	before := testSite()
	before.Rules = append(before.Rules, above("old", 2, 5, ems.Action{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Info", "title": "old"}}))
	stop := f.run(before)
	f.ingest(2, 6)
	same(t, f.activeAlarms(), []string{"old"})
	body := `{"id":"api-mine","name":"mine","conditions":[{"source":"comsrv:1001:T:2","operator":">","value":5}],"actions":[]}`
	if status, text := f.ask(http.MethodPost, "/api/rules", body, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	same(t, f.states(), []string{"api-mine idle", "hot idle", "old active"})
	stop()
	f.run(testSite())
	same(t, f.states(), []string{"api-mine idle", "hot idle"})
	same(t, f.activeAlarms(), []string{})
}

func TestRulesMadeThroughTheAPI(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())
	body := `{"name":"mine","logic":"OR","conditions":[{"source":"comsrv:1001:T:1","operator":">","value":70},{"source":"comsrv:1001:T:2","operator":"<=","value":-1.5}],
		"actions":[{"type":"create_alarm","params":{"level":"Info","title":"mine"}}]}`
	var made state
	if status, text := f.ask(http.MethodPost, "/api/rules", body, &made); status != http.StatusCreated {
		t.Fatal(text)
	}
	id := made.Rule.ID
	if !strings.HasPrefix(id, "api-") || made.Status != "idle" {
		t.Errorf("made %+v", made)
	}
	f.ingest(2, -1.5)
	same(t, f.states(), []string{id + " active", "hot idle"})

	if status, text := f.ask(http.MethodPost, "/api/rules/"+id+"/disable", "", &made); status != http.StatusOK {
		t.Fatal(text)
	}
	same(t, made.Status, "disabled")
	same(t, f.activeAlarms(), []string{})
	f.ask(http.MethodPost, "/api/rules/"+id+"/evaluate", "", &made)
	same(t, made.Status, "disabled")
	f.ask(http.MethodPost, "/api/rules/"+id+"/enable", "", &made)
	same(t, made.Status, "idle")
	f.ask(http.MethodPost, "/api/rules/"+id+"/evaluate", "", &made)
	same(t, made.Status, "active")
	same(t, f.activeAlarms(), []string{"mine"})

	if status, text := f.ask(http.MethodDelete, "/api/rules/"+id, "", nil); status != http.StatusOK {
		t.Fatal(text)
	}
	same(t, f.states(), []string{"hot idle"})
	same(t, f.activeAlarms(), []string{})
	for _, step := range []string{"enable", "disable", "evaluate"} {
		f.refused(http.MethodPost, "/api/rules/"+id+"/"+step, "", http.StatusNotFound, ems.CodeNotFound, id)
	}
	f.refused(http.MethodDelete, "/api/rules/"+id, "", http.StatusNotFound, ems.CodeNotFound, id)
	f.refused(http.MethodDelete, "/api/rules/hot", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
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
	} {
		f.refused(http.MethodPost, "/api/rules", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	same(t, f.states(), []string{"hot idle"})

	site := testSite()
	site.Rules[0].ID = "api-hot"
	_, err := rulesrv.New(rulesrv.Options{Site: site})
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), `rule id "api-hot"`) {
		t.Errorf("a site rule with an id of the API: %v", err)
	}
}

func TestRedisThatComesBackEmptyIsFilledAgain(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.run(testSite())
	f.empty()
	f.redis.Stop()
	f.awaitHealth(http.StatusServiceUnavailable)
	f.refused(http.MethodGet, "/api/rules", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
	f.redis.Start()
	if err := f.db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, soon, func() error {
		if got := f.states(); !cmp.Equal(got, []string{"hot idle"}) {
			return fmt.Errorf("rules are %v", got)
		}
		return nil
	}, "the rule of the site")
	f.awaitHealth(http.StatusOK)
	f.ingest(1, 61)
	testkit.Eventually(t, soon, func() error {
		if got := f.log.notifications(); !cmp.Equal(got, [][2]string{{"hot", "the battery is hot"}}) {
			return fmt.Errorf("notifications are %v", got)
		}
		return nil
	}, "a notification after Redis came back")
}
