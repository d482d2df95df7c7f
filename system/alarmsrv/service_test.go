package alarmsrv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/alarmsrv"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// soon bounds what happens within a few steps of the programs under test.
const soon = 15 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	t     *testing.T
	redis *testkit.RedisServer
	clock *ems.ManualClock
	url   string
}

// begin is what the clock of every test shows at first.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 678_000_000, time.UTC)

// start runs the service on a Redis and a clock of its own.
func start(t *testing.T, retention config.AlarmRetention) *fixture {
	t.Helper()
	server := testkit.Redis(t)
	logger, clock := testkit.Logger(t), ems.NewManualClock(begin)
	site := &config.Site{Name: "test", Retention: retention}
	db, err := rtdb.Open(rtdb.Options{URL: server.URL, Namespace: site.Namespace, Clock: clock, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	service, err := alarmsrv.New(alarmsrv.Options{
		Service: config.Service{Listen: "127.0.0.1:0"}, Site: site, DB: db,
		Clock: clock, Logger: logger, Registry: prometheus.NewRegistry(),
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
	f := &fixture{t: t, redis: server, clock: clock, url: "http://" + service.Addr()}
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

var ample = config.AlarmRetention{MaxAge: 24 * time.Hour, MaxCount: 1000}

// raise raises an alarm and returns its id.
func (f *fixture) raise(source string, level ems.AlarmLevel) string {
	f.t.Helper()
	var alarm ems.Alarm
	body := fmt.Sprintf(`{"source":%q,"level":%q,"title":"test"}`, source, level)
	if status, text := f.ask(http.MethodPost, "/api/alarms", body, &alarm); status != http.StatusCreated {
		f.t.Fatalf("%d %s", status, text)
	}
	return alarm.ID
}

// closeAlarm acknowledges and resolves an alarm.
func (f *fixture) closeAlarm(id string) {
	f.t.Helper()
	for _, step := range []string{"acknowledge", "resolve"} {
		if status, text := f.ask(http.MethodPost, "/api/alarms/"+id+"/"+step, `{"by":"ann"}`, nil); status != http.StatusOK {
			f.t.Fatalf("%d %s", status, text)
		}
	}
}

// ids lists the alarms that a query finds.
func (f *fixture) ids(query string) []string {
	f.t.Helper()
	var alarms []ems.Alarm
	if status, text := f.ask(http.MethodGet, "/api/alarms"+query, "", &alarms); status != http.StatusOK {
		f.t.Fatalf("%d %s", status, text)
	}
	ids := []string{}
	for _, alarm := range alarms {
		ids = append(ids, alarm.ID)
	}
	return ids
}

func TestLifeOfAnAlarm(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	raised := ems.Alarm{
		ID: "1", Source: "comsrv:1001:T:1", Rule: "hot", Level: ems.Major, Title: "Zelle heiß", Description: "check\nthe fan",
		State: ems.ActiveUnacknowledged, Occurrences: 1, RaisedAt: begin, LastAt: begin,
	}
	body := `{"source":"comsrv:1001:T:1","rule":"hot","level":"Major","title":"Zelle heiß","description":"check\nthe fan"}`
	var alarm ems.Alarm
	if status, text := f.ask(http.MethodPost, "/api/alarms", body, &alarm); status != http.StatusCreated {
		t.Fatal(text)
	}
	same(t, alarm, raised)

	f.clock.Advance(time.Second)
	f.ask(http.MethodPost, "/api/alarms", body, &alarm)
	raised.Occurrences, raised.LastAt = 2, begin.Add(time.Second)
	same(t, alarm, raised)

	f.clock.Advance(time.Second)
	acknowledged := begin.Add(2 * time.Second)
	if status, text := f.ask(http.MethodPost, "/api/alarms/1/acknowledge", `{"by":"ann"}`, &alarm); status != http.StatusOK {
		t.Fatal(text)
	}
	raised.State, raised.Acknowledged, raised.AckedBy = ems.ActiveAcknowledged, &acknowledged, "ann"
	same(t, alarm, raised)
	f.refused(http.MethodPost, "/api/alarms/1/acknowledge", `{"by":"bob"}`, http.StatusConflict, ems.CodeConflict, "nothing to acknowledge")

	f.clock.Advance(time.Second)
	cleared := begin.Add(3 * time.Second)
	if status, text := f.ask(http.MethodPost, "/api/alarms/1/resolve", `{"by":"bob"}`, &alarm); status != http.StatusOK {
		t.Fatal(text)
	}
	raised.State, raised.ClearedAt = ems.Closed, &cleared
	same(t, alarm, raised)
	f.refused(http.MethodPost, "/api/alarms/1/resolve", `{"by":"bob"}`, http.StatusConflict, ems.CodeConflict, "not active")

	f.ask(http.MethodGet, "/api/alarms/1", "", &alarm)
	same(t, alarm, raised)
	f.refused(http.MethodGet, "/api/alarms/99", "", http.StatusNotFound, ems.CodeNotFound, "99")
	f.refused(http.MethodPost, "/api/alarms/99/acknowledge", `{"by":"ann"}`, http.StatusNotFound, ems.CodeNotFound, "99")
	f.refused(http.MethodGet, "/api/alarms/a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "alarm id")

	f.ask(http.MethodPost, "/api/alarms", body, &alarm)
	if alarm.ID != "2" || alarm.Occurrences != 1 {
		t.Errorf("an alarm that returns is %s with %d occurrences, not a new one", alarm.ID, alarm.Occurrences)
	}
}

func TestAlarmsAreListedNewestFirstAndNarrowed(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	for i, level := range []ems.AlarmLevel{ems.Critical, ems.Major, ems.Critical, ems.Info} {
		f.raise(fmt.Sprintf("device:%d", i+1), level)
		f.clock.Advance(time.Millisecond)
	}
	f.closeAlarm("3")
	same(t, f.ids(""), []string{"4", "3", "2", "1"})
	same(t, f.ids("?state=all"), []string{"4", "3", "2", "1"})
	same(t, f.ids("?state=active"), []string{"4", "2", "1"})
	same(t, f.ids("?state=active&limit=2"), []string{"4", "2"})
	same(t, f.ids("?level=Critical"), []string{"3", "1"})
	same(t, f.ids("?level=Critical&state=active"), []string{"1"})
	same(t, f.ids("?source=device:2"), []string{"2"})
	same(t, f.ids("?source=device:2&level=Info"), []string{})
	f.refused(http.MethodGet, "/api/alarms?state=open", "", http.StatusBadRequest, ems.CodeInvalid, "use active or all")
	f.refused(http.MethodGet, "/api/alarms?level=critical", "", http.StatusBadRequest, ems.CodeInvalid, "alarm level")
	f.refused(http.MethodGet, "/api/alarms?limit=1001", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.refused(http.MethodGet, "/api/alarms?limit=x", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.refused(http.MethodGet, "/api/alarms?source=a%0Ab", "", http.StatusBadRequest, ems.CodeInvalid, "control character")
}

func TestUnusableAlarmsAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	long := func(count int) string { return string(bytes.Repeat([]byte("x"), count)) }
	for body, message := range map[string]string{
		``:                            "the body is not the JSON",
		`{"level":"Info","colour":1}`: "colour",
		`{"source":"a","level":"Bad","title":"t"}`:                                     `unknown alarm level "Bad"`,
		`{"level":"Info","title":"t"}`:                                                 "source has 0 bytes",
		`{"source":"` + long(201) + `","level":"Info","title":"t"}`:                    "source has 201 bytes",
		`{"source":"a","level":"Info"}`:                                                "title has 0 bytes",
		`{"source":"a","level":"Info","title":"` + long(201) + `"}`:                    "title has 201 bytes",
		`{"source":"a","level":"Info","title":"a\u0007b"}`:                             "title holds a control character",
		`{"source":"a","level":"Info","title":"a\nb"}`:                                 "title holds a control character",
		`{"source":"a","level":"Info","title":"a\u0085b"}`:                             "title holds a control character",
		`{"source":"a","level":"Info","title":"t","description":"a\u0000b"}`:           "description holds a control character",
		`{"source":"a","level":"Info","title":"t","description":"` + long(2001) + `"}`: "description has 2001 bytes",
		`{"source":"a","level":"Info","title":"t","rule":"x y"}`:                       "rule",
	} {
		f.refused(http.MethodPost, "/api/alarms", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	id := f.raise("a", ems.Info)
	for _, body := range []string{`{}`, `{"by":""}`, `{"by":"a\u001bb"}`, `{"by":"` + long(101) + `"}`} {
		f.refused(http.MethodPost, "/api/alarms/"+id+"/acknowledge", body, http.StatusBadRequest, ems.CodeInvalid, `"by"`)
	}
	same(t, f.ids("?state=active"), []string{id})
}

func TestClosedAlarmsAreRemovedByAgeAndCount(t *testing.T) {
	t.Parallel()
	f := start(t, config.AlarmRetention{MaxAge: 30 * time.Minute, MaxCount: 2})
	f.clock.AwaitTimers(2) // the first round of both tasks is over
	open := f.raise("open", ems.Info)
	for i := range 4 {
		f.clock.Advance(time.Millisecond)
		f.closeAlarm(f.raise(fmt.Sprintf("device:%d", i), ems.Info))
	}
	same(t, f.ids(""), []string{"5", "4", "3", "2", open})
	f.clock.Advance(time.Minute)
	testkit.Eventually(t, soon, func() error { return f.left("5", "4", open) }, "the surplus is removed")
	f.clock.AwaitTimers(2)
	f.clock.Advance(30 * time.Minute)
	testkit.Eventually(t, soon, func() error { return f.left(open) }, "the old are removed")
}

// left compares the alarms that are kept.
func (f *fixture) left(want ...string) error {
	if got := f.ids(""); !cmp.Equal(got, want) {
		return fmt.Errorf("alarms are %v, not %v", got, want)
	}
	return nil
}

func TestActiveAlarmsAreCountedByLevel(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	f.clock.AwaitTimers(2)
	f.raise("a", ems.Critical)
	f.raise("b", ems.Critical)
	f.closeAlarm(f.raise("c", ems.Info))
	f.clock.Advance(5 * time.Second)
	testkit.Eventually(t, soon, func() error {
		_, text := f.ask(http.MethodGet, "/metrics", "", nil)
		for _, line := range []string{`voltage_alarmsrv_active{level="Critical"} 2`, `voltage_alarmsrv_active{level="Info"} 0`} {
			if !strings.Contains(text, line+"\n") {
				return fmt.Errorf("no line %s", line)
			}
		}
		return nil
	}, "the gauge")
	f.clock.AwaitTimers(2)
	f.redis.Stop()
	f.clock.Advance(5 * time.Second)
	testkit.Eventually(t, soon, func() error {
		if _, text := f.ask(http.MethodGet, "/metrics", "", nil); strings.Contains(text, "voltage_alarmsrv_active{") {
			return fmt.Errorf("the gauge still tells of a Redis that is away")
		}
		return nil
	}, "the gauge without Redis")
	f.awaitHealth(http.StatusServiceUnavailable)
	f.redis.Start()
	f.awaitHealth(http.StatusOK)
	same(t, f.ids("?state=active"), []string{"2", "1"})
}
