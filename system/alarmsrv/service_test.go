package alarmsrv_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/alarmsrv"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servicetest.DriverDials()) }

type fixture struct {
	*servicetest.Fixture
	t     *testing.T
	clock *ems.ManualClock
	stop  func() // the service
}

// begin is what the clock of every test shows at first.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 678_000_000, time.UTC)

// start runs the service on a Redis and a clock of its own.
func start(t *testing.T, retention config.AlarmRetention, change ...func(*ems.AlarmSettings)) *fixture {
	t.Helper()
	settings := ems.DefaultAlarmSettings()
	for _, apply := range change {
		apply(&settings)
	}
	clock := ems.NewManualClock(begin)
	f := &fixture{Fixture: servicetest.New(t, clock), t: t, clock: clock}
	f.stop = f.run(retention, settings)
	return f
}

// testSite has one channel with one point.
func testSite(retention config.AlarmRetention, settings ems.AlarmSettings) *config.Site {
	return &config.Site{Name: "test", Retention: retention, Alarms: settings, Channels: []config.Channel{{
		ID: 1002, Name: "battery", Enabled: true,
		Points: []config.MappedPoint{{Point: ems.Point{ID: 51, Type: ems.Telemetry, Scale: 1, Group: ems.DefaultGroup}}},
	}}}
}

// run runs the service, which has ended when the returned function has.
func (f *fixture) run(retention config.AlarmRetention, settings ems.AlarmSettings) (stop func()) {
	f.t.Helper()
	service, err := alarmsrv.New(alarmsrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: testSite(retention, settings), DB: f.DB,
		Clock: f.clock, Logger: testkit.Logger(f.t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	stop = f.Run(service)
	f.AwaitHealth(http.StatusOK)
	return stop
}

// waiting is how many timers are armed while the service has nothing to do: three
// periodic tasks and the watch of Redis.
const waiting = 4

// pass lets time pass and returns when what that set off is done.
func (f *fixture) pass(d time.Duration) {
	f.clock.AwaitTimers(waiting)
	f.clock.Advance(d)
	f.clock.AwaitTimers(waiting)
}

var ample = config.AlarmRetention{MaxAge: 24 * time.Hour, MaxCount: 1000}

// raise raises an alarm and returns its id.
func (f *fixture) raise(source string, level ems.AlarmLevel) string {
	f.t.Helper()
	var alarm ems.Alarm
	body := fmt.Sprintf(`{"source":%q,"level":%q,"title":"test"}`, source, level)
	if status, text := f.Ask(http.MethodPost, "/api/alarms", body, &alarm); status != http.StatusCreated {
		f.t.Fatalf("%d %s", status, text)
	}
	return alarm.ID
}

// closeAlarm acknowledges and resolves an alarm.
func (f *fixture) closeAlarm(id string) {
	f.t.Helper()
	f.do(id, "acknowledge", `{"by":"ann","occurrence":1}`)
	f.do(id, "resolve", `{"by":"ann"}`)
}

// fill raises many alarms about sources of a name, all in one go.
func (f *fixture) fill(name string, count int) {
	f.t.Helper()
	pipeline := f.Raw.Pipeline()
	for i := range count {
		pipeline.FCall(f.t.Context(), "alarm_store", []string{"new"}, fmt.Sprintf("%s:%d", name, i), "", "Info", "t", "", "", "", f.clock.Now().UnixMilli())
	}
	if _, err := pipeline.Exec(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// do does something to an alarm and returns the alarm as it is then.
func (f *fixture) do(id, what, body string) (alarm ems.Alarm) {
	f.t.Helper()
	if status, text := f.Ask(http.MethodPost, "/api/alarms/"+id+"/"+what, body, &alarm); status != http.StatusOK {
		f.t.Fatalf("%s %s: %d %s", what, id, status, text)
	}
	return alarm
}

// ids lists the alarms that a query finds.
func (f *fixture) ids(query string) []string {
	f.t.Helper()
	var alarms []ems.Alarm
	if status, text := f.Ask(http.MethodGet, "/api/alarms"+query, "", &alarms); status != http.StatusOK {
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
	if status, text := f.Ask(http.MethodPost, "/api/alarms", body, &alarm); status != http.StatusCreated {
		t.Fatal(text)
	}
	servicetest.Same(t, alarm, raised)

	f.clock.Advance(time.Second)
	f.Ask(http.MethodPost, "/api/alarms", body, &alarm)
	raised.Occurrences, raised.LastAt = 2, begin.Add(time.Second)
	servicetest.Same(t, alarm, raised)

	f.clock.Advance(time.Second)
	f.Refused(http.MethodPost, "/api/alarms/1/acknowledge", `{"by":"ann","occurrence":3}`, http.StatusConflict, ems.CodeConflict,
		"has occurred 2 times, and 3 were seen")
	acknowledged := begin.Add(2 * time.Second)
	if status, text := f.Ask(http.MethodPost, "/api/alarms/1/acknowledge", `{"by":"ann","occurrence":2}`, &alarm); status != http.StatusOK {
		t.Fatal(text)
	}
	raised.State, raised.Acknowledged, raised.AckedBy = ems.ActiveAcknowledged, &acknowledged, "ann"
	servicetest.Same(t, alarm, raised)
	f.Refused(http.MethodPost, "/api/alarms/1/acknowledge", `{"by":"bob","occurrence":2}`, http.StatusConflict, ems.CodeConflict, "nothing to acknowledge")

	f.clock.Advance(time.Second)
	cleared := begin.Add(3 * time.Second)
	if status, text := f.Ask(http.MethodPost, "/api/alarms/1/resolve", `{"by":"bob"}`, &alarm); status != http.StatusOK {
		t.Fatal(text)
	}
	raised.State, raised.ClearedAt = ems.Closed, &cleared
	servicetest.Same(t, alarm, raised)
	f.Refused(http.MethodPost, "/api/alarms/1/resolve", `{"by":"bob"}`, http.StatusConflict, ems.CodeConflict, "not active")

	f.Ask(http.MethodGet, "/api/alarms/1", "", &alarm)
	servicetest.Same(t, alarm, raised)
	f.Refused(http.MethodGet, "/api/alarms/99", "", http.StatusNotFound, ems.CodeNotFound, "99")
	f.Refused(http.MethodPost, "/api/alarms/99/acknowledge", `{"by":"ann","occurrence":1}`, http.StatusNotFound, ems.CodeNotFound, "99")
	f.Refused(http.MethodGet, "/api/alarms/a%20b", "", http.StatusBadRequest, ems.CodeInvalid, "alarm id")

	f.Ask(http.MethodPost, "/api/alarms", body, &alarm)
	if alarm.ID != "2" || alarm.Occurrences != 1 {
		t.Errorf("an alarm that returns is %s with %d occurrences, not a new one", alarm.ID, alarm.Occurrences)
	}
}

// Steps of escalation that came with a new alarms.yaml hold for the alarms that
// stand; a restart with the same ones changes nothing.
func TestARestartWithOtherStepsEscalatesWhatStands(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	f.raise("pump", ems.Major)
	settings := ems.DefaultAlarmSettings()
	settings.Escalation = []ems.EscalationStep{{Level: ems.Major, After: 15 * time.Minute, To: ems.Critical}}
	escalated := func() (times []time.Duration) {
		for _, entry := range f.journal("") {
			if entry.Event == ems.AlarmEscalated {
				times = append(times, entry.Time.Sub(begin))
			}
		}
		return times
	}
	f.pass(10 * time.Minute)
	f.stop()
	f.stop = f.run(ample, settings)
	f.pass(4 * time.Minute)
	servicetest.Same(t, escalated(), []time.Duration(nil))
	f.pass(time.Minute)
	servicetest.Same(t, escalated(), []time.Duration{15 * time.Minute})
	f.stop()
	f.run(ample, settings)
	f.pass(time.Hour)
	servicetest.Same(t, escalated(), []time.Duration{15 * time.Minute})
}

func TestAlarmsAreListedNewestFirstAndNarrowed(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	for i, level := range []ems.AlarmLevel{ems.Critical, ems.Major, ems.Critical, ems.Info} {
		f.raise(fmt.Sprintf("device:%d", i+1), level)
		f.clock.Advance(time.Millisecond)
	}
	f.closeAlarm("3")
	servicetest.Same(t, f.ids(""), []string{"4", "3", "2", "1"})
	servicetest.Same(t, f.ids("?state=all"), []string{"4", "3", "2", "1"})
	servicetest.Same(t, f.ids("?state=active"), []string{"4", "2", "1"})
	servicetest.Same(t, f.ids("?state=active&limit=2"), []string{"4", "2"})
	servicetest.Same(t, f.ids("?level=Critical"), []string{"3", "1"})
	servicetest.Same(t, f.ids("?level=Critical&state=active"), []string{"1"})
	servicetest.Same(t, f.ids("?source=device:2"), []string{"2"})
	servicetest.Same(t, f.ids("?source=device:2&level=Info"), []string{})
	servicetest.Same(t, f.ids("?state=closed"), []string{"3"})
	servicetest.Same(t, f.ids("?state=open&from=2026-03-01T12:00:00.679Z"), []string{"4", "2"})
	servicetest.Same(t, f.ids("?to=2026-03-01T12:00:00.679Z"), []string{"1"})
	servicetest.Same(t, f.ids("/active?limit=1&after=4"), []string{"2"})
	servicetest.Same(t, f.ids("?shelved=true"), []string{})
	servicetest.Same(t, f.ids("?suppressed=false&rule=none"), []string{})
	f.Refused(http.MethodGet, "/api/alarms?state=opened", "", http.StatusBadRequest, ems.CodeInvalid, "use all, open, active,")
	f.Refused(http.MethodGet, "/api/alarms?after=x", "", http.StatusBadRequest, ems.CodeInvalid, "cursor")
	f.Refused(http.MethodGet, "/api/alarms?from=yesterday", "", http.StatusBadRequest, ems.CodeInvalid, `from "yesterday" is not a time`)
	f.Refused(http.MethodGet, "/api/alarms?from=2026-03-01T12:00:00Z&to=2026-03-01T12:00:00Z", "", http.StatusBadRequest, ems.CodeInvalid, "to must be after from")
	f.Refused(http.MethodPost, "/api/alarms", `{"source":"pump","level":"Minor","title":" "}`, http.StatusBadRequest, ems.CodeInvalid, "title is missing")
	f.Refused(http.MethodGet, "/api/alarms?shelved=maybe", "", http.StatusBadRequest, ems.CodeInvalid, "neither true nor false")
	f.Refused(http.MethodGet, "/api/alarms/active?state=open", "", http.StatusBadRequest, ems.CodeInvalid, "state active")
	f.Refused(http.MethodGet, "/api/alarms?level=critical", "", http.StatusBadRequest, ems.CodeInvalid, "alarm level")
	f.Refused(http.MethodGet, "/api/alarms?limit=1001", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.Refused(http.MethodGet, "/api/alarms?limit=x", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	f.Refused(http.MethodGet, "/api/alarms?source=a%0Ab", "", http.StatusBadRequest, ems.CodeInvalid, "control character")
}

func TestUnusableAlarmsAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	long := func(count int) string { return string(bytes.Repeat([]byte("x"), count)) }
	for body, message := range map[string]string{
		``:                            "the body is empty: send JSON, an object of source, rule, level,",
		`{"level":"Info","colour":1}`: "colour",
		`{"source":"a","level":"Bad","title":"t"}`:                                     `unknown alarm level "Bad"`,
		`{"level":"Info","title":"t"}`:                                                 "source is missing",
		`{"source":"` + long(201) + `","level":"Info","title":"t"}`:                    "source has 201 bytes",
		`{"source":"a","level":"Info"}`:                                                "title is missing",
		`{"source":"a","level":"Info","title":"` + long(201) + `"}`:                    "title has 201 bytes",
		`{"source":"a","level":"Info","title":"a\u0007b"}`:                             "title holds a control character",
		`{"source":"a","level":"Info","title":"a\nb"}`:                                 "title holds a control character",
		`{"source":"a","level":"Info","title":"a\u0085b"}`:                             "title holds a control character",
		`{"source":"a","level":"Info","title":"t","description":"a\u0000b"}`:           "description holds a control character",
		`{"source":"a","level":"Info","title":"t","description":"` + long(2001) + `"}`: "description has 2001 bytes",
		`{"source":"a","level":"Info","title":"t","rule":"x y"}`:                       "rule",
		`{"source":"a","level":"Info","title":"t","by":"a\u0007b"}`:                    `"by", the name of who acts, holds a control character`,
	} {
		f.Refused(http.MethodPost, "/api/alarms", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	id := f.raise("a", ems.Info)
	for _, body := range []string{`{}`, `{"by":""}`, `{"by":"a\u001bb"}`, `{"by":"` + long(101) + `"}`} {
		f.Refused(http.MethodPost, "/api/alarms/"+id+"/acknowledge", body, http.StatusBadRequest, ems.CodeInvalid, `"by"`)
	}
	servicetest.Same(t, f.ids("?state=active"), []string{id})
}

// Texts come back as they were given, whatever they look like, up to the last byte
// that fits.
func TestTextsAreKeptAsTheyWereGiven(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	fill := func(text string, most int) string { return text + strings.Repeat("x", most-len(text)) }
	title := fill(`<b>Größe</b> & "5%" \n %s {{.}} ${x} =cmd()|' ; -- `, ems.MaxAlarmTitle)
	description := fill("\tline 1\n</script><script>alert(1)</script>\nline 3 \\ \u2028 😀 ", ems.MaxAlarmDescription)
	by, reason, remark := fill(`Ann <ann@x> "A" `, ems.MaxAlarmActor), fill("=1+1 <i>why</i> ", ems.MaxAlarmReason), fill("@remark <u>\nnext ", ems.MaxAlarmComment)
	body := func(fields map[string]any) string {
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var alarm ems.Alarm
	raised := body(map[string]any{"source": "a", "level": "Info", "title": title, "description": description, "by": by})
	if status, text := f.Ask(http.MethodPost, "/api/alarms", raised, &alarm); status != http.StatusCreated {
		t.Fatal(text)
	}
	f.do("1", "comment", body(map[string]any{"by": by, "text": remark}))
	f.do("1", "shelve", body(map[string]any{"by": by, "reason": reason, "for": "1h"}))
	f.Ask(http.MethodGet, "/api/alarms/1", "", &alarm)
	servicetest.Same(t, []string{alarm.Title, alarm.Description, alarm.Shelved.By, alarm.Shelved.Reason}, []string{title, description, by, reason})
	var told []string
	for _, entry := range f.journal("") {
		told = append(told, entry.Event, entry.Title, entry.By, entry.Text)
	}
	servicetest.Same(t, told, []string{"raise", title, by, "", "comment", title, by, remark, "shelve", title, by, reason})
	_, table := f.Ask(http.MethodGet, "/api/alarms/export.csv", "", nil)
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%v %v", rows, err)
	}
	// What a spreadsheet would take for a formula has an apostrophe in front.
	servicetest.Same(t, []string{rows[1][4], rows[1][5], rows[1][16], rows[1][17]}, []string{title, "'" + description, by, "'" + reason})
	for field, most := range map[string]int{"title": ems.MaxAlarmTitle, "description": ems.MaxAlarmDescription} {
		fields := map[string]any{"source": "a", "level": "Info", "title": "t", field: fill("é", most+1)}
		f.Refused(http.MethodPost, "/api/alarms", body(fields), http.StatusBadRequest, ems.CodeInvalid, fmt.Sprintf("%s has %d bytes", field, most+1))
	}
}

func TestClosedAlarmsAreRemovedByAgeAndCount(t *testing.T) {
	t.Parallel()
	f := start(t, config.AlarmRetention{MaxAge: 30 * time.Minute, MaxCount: 2})
	open := f.raise("open", ems.Info)
	for i := range 4 {
		f.clock.Advance(time.Millisecond)
		f.closeAlarm(f.raise(fmt.Sprintf("device:%d", i), ems.Info))
	}
	servicetest.Same(t, f.ids(""), []string{"5", "4", "3", "2", open})
	f.pass(time.Minute)
	servicetest.Same(t, f.ids(""), []string{"5", "4", open})
	f.pass(30 * time.Minute)
	servicetest.Same(t, f.ids(""), []string{open})
}

func TestActiveAlarmsAreCountedByLevel(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	f.raise("a", ems.Critical)
	f.raise("b", ems.Critical)
	f.closeAlarm(f.raise("c", ems.Info))
	f.pass(5 * time.Second)
	testkit.Eventually(t, servicetest.Soon, func() error {
		_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
		for _, line := range []string{`voltage_alarmsrv_active{level="Critical"} 2`, `voltage_alarmsrv_active{level="Info"} 0`} {
			if !strings.Contains(text, line+"\n") {
				return fmt.Errorf("no line %s", line)
			}
		}
		return nil
	}, "the gauge")
	f.Redis.Stop()
	f.pass(5 * time.Second)
	testkit.Eventually(t, servicetest.Soon, func() error {
		if _, text := f.Ask(http.MethodGet, "/metrics", "", nil); strings.Contains(text, "voltage_alarmsrv_active{") {
			return fmt.Errorf("the gauge still tells of a Redis that is away")
		}
		return nil
	}, "the gauge without Redis")
	f.AwaitHealth(http.StatusServiceUnavailable)
	f.Redis.Start()
	f.pass(time.Second)
	f.AwaitHealth(http.StatusOK)
	servicetest.Same(t, f.ids("?state=active"), []string{"2", "1"})
}
