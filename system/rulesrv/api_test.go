package rulesrv_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/rulesrv"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC) // a Monday

// manual is a service whose clock the test drives, on a site of its own folder.
type manual struct {
	*servicetest.Fixture
	t     *testing.T
	clock *ems.ManualClock
	site  *config.Site // what a reload finds, with the rules of its folder
}

func startManual(t *testing.T, site *config.Site, hissrv string) *manual {
	t.Helper()
	clock := ems.NewManualClock(noon)
	m := &manual{Fixture: servicetest.New(t, clock), t: t, clock: clock, site: site}
	service, err := rulesrv.New(rulesrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort, Endpoints: map[ems.Target]string{ems.Hissrv: hissrv}}, Site: site, ReadSite: m.readSite, DB: m.DB,
		Clock: clock, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Run(service)
	m.AwaitHealth(http.StatusOK)
	return m
}

func (m *manual) readSite() (*config.Site, error) { return withRules(*m.site) }

// withRules returns a site with the rules of its folder.
func withRules(site config.Site) (*config.Site, error) {
	text, err := os.ReadFile(filepath.Join(site.Dir, "rules.yaml"))
	if err != nil {
		return nil, err
	}
	site.Rules, err = site.ParseRules("rules.yaml", text, nil)
	return &site, err
}

func (m *manual) ingest(values map[ems.PointID]float64) {
	m.t.Helper()
	batch := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: m.clock.Now()}
	for point, value := range values {
		batch.Samples = append(batch.Samples, rtdb.Sample{Point: point, Number: value})
	}
	if err := m.DB.Ingest(m.t.Context(), batch); err != nil {
		m.t.Fatal(err)
	}
}

// ask expects success and returns the data.
func ask[T any](m *manual, method, path, body string) T {
	m.t.Helper()
	var data T
	status, text := m.Ask(method, path, body, &data)
	if status >= 300 {
		m.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return data
}

func (m *manual) status(id string) string {
	m.t.Helper()
	return ask[state](m, http.MethodGet, "/api/rules/"+id, "").Status
}

// pass lets time pass in steps in which the service looks at it.
func (m *manual) pass(length time.Duration, want func() bool) {
	m.t.Helper()
	m.clock.Advance(length)
	testkit.Eventually(m.t, servicetest.Soon, func() error {
		if want() {
			return nil
		}
		m.clock.Advance(time.Millisecond) // a timer may be armed again only now
		m.clock.Advance(250 * time.Millisecond)
		return fmt.Errorf("not yet at %v", m.clock.Now())
	}, "what time brings")
}

// folder writes a site folder with these rules.
func folder(t *testing.T, rules string) *config.Site {
	t.Helper()
	dir := t.TempDir()
	writeRules(t, dir, rules)
	site := testSite()
	site.Dir = dir
	read, err := withRules(*site)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func writeRules(t *testing.T, dir, rules string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
}

const delayed = `
rules:
  - id: delayed
    name: delayed
    conditions: [{source: "comsrv:1001:T:1", operator: ">", value: 50}]
    on_delay: 10s
    actions: [{type: create_alarm, params: {level: Major, title: hot}}]
`

func TestDelaysEndAsTimePasses(t *testing.T) {
	t.Parallel()
	m := startManual(t, folder(t, delayed), "")
	m.ingest(map[ems.PointID]float64{1: 60})
	servicetest.Same(t, m.status("delayed"), "pending")
	m.clock.Advance(10 * time.Second)
	m.ingest(nil) // the group was read and nothing had changed
	m.pass(0, func() bool { return m.status("delayed") == "active" })
	firings := ask[[]rtdb.Firing](m, http.MethodGet, "/api/rules/delayed/firings", "")
	if len(firings) != 1 || *firings[0].Values["comsrv:1001:T:1"] != 60 || firings[0].Time.Before(noon.Add(10*time.Second)) {
		t.Errorf("firings %+v", firings)
	}
	events := ask[[]rtdb.RuleEvent](m, http.MethodGet, "/api/rules/events?limit=1", "")
	rest := ask[[]rtdb.RuleEvent](m, http.MethodGet, "/api/rules/events?after="+events[0].Entry, "")
	servicetest.Same(t, []ems.RuleStatus{events[0].To, rest[0].To}, []ems.RuleStatus{ems.RulePending, ems.RuleActive})
	servicetest.Same(t, len(rest), 1)
	m.Refused(http.MethodGet, "/api/rules/events?after=x", "", http.StatusBadRequest, ems.CodeInvalid, "not the entry of an event")
	m.Refused(http.MethodGet, "/api/rules/nobody/firings", "", http.StatusNotFound, ems.CodeNotFound, "nobody")
	if _, text := m.Ask(http.MethodGet, "/metrics", "", nil); !strings.Contains(text, "\nvoltage_rulesrv_tick_changes_total 1\n") {
		t.Error("the change is not counted")
	}
}

func TestSchedulesFollowTheTimeZone(t *testing.T) {
	t.Parallel()
	m := startManual(t, folder(t, `
rules:
  - id: working_hours
    name: from 16:00 to 18:00 in Berlin, two hours ahead
    conditions: [{source: "comsrv:1001:T:1", operator: ">", value: 50}]
    schedule: {time_zone: Europe/Berlin, days: [mon], from: "16:00", to: "18:00"}
    actions: []
`), "")
	m.ingest(map[ems.PointID]float64{1: 60})
	servicetest.Same(t, m.status("working_hours"), "idle")
	m.clock.Advance(2 * time.Hour)
	m.ingest(map[ems.PointID]float64{1: 61})
	servicetest.Same(t, m.status("working_hours"), "active")
	m.pass(2*time.Hour, func() bool { return m.status("working_hours") == "idle" })
	m.clock.Advance(7*24*time.Hour - 2*time.Hour)
	m.ingest(map[ems.PointID]float64{1: 62})
	servicetest.Same(t, m.status("working_hours"), "active")
	// Six weeks on: each day it was said anew when the rule is in force.
	m.pass(35*24*time.Hour, func() bool {
		windows, err := m.Raw.HGet(t.Context(), "rulesrv:rule:working_hours", "windows").Result()
		return err == nil && strings.HasPrefix(windows, fmt.Sprint(noon.Add((42*24+2)*time.Hour).UnixMilli()))
	})
}

// A restart of the service with the same rules changes no state and tells nothing.
func TestARestartTellsNothing(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	site := folder(t, delayed+"  - {id: hot, name: hot, conditions: [{source: \"comsrv:1001:T:1\", operator: \">\", value: 50}], actions: [{type: notify, params: {message: hot}}]}\n")
	stop := f.run(site)
	f.ingest(1, 60)
	before, err := f.DB.RuleEvents(t.Context(), "", 100)
	if err != nil || len(before) != 2 {
		t.Fatalf("%v, %v", before, err)
	}
	stop()
	f.run(site)
	after, err := f.DB.RuleEvents(t.Context(), "", 100)
	if err != nil || !cmp.Equal(after, before) {
		t.Errorf("events after the restart: %+v, %v", after, err)
	}
	servicetest.Same(t, f.states(), []string{"delayed pending", "hot active"})
	servicetest.Same(t, f.notifications(), [][2]string{{"hot", "hot"}})
}

func TestReloadTakesTheWholeFileOrNothing(t *testing.T) {
	t.Parallel()
	plain := func(id, source string, more string) string {
		return fmt.Sprintf("  - {id: %s, name: %s, conditions: [{source: %q, operator: \">\", value: 50}], actions: [%s]}\n", id, id, source, more)
	}
	sets := func(name string) string { return "{type: set_value, params: {name: " + name + ", value: 1}}" }
	m := startManual(t, folder(t, "rules:\n"+plain("a", "comsrv:1001:T:1", "")+plain("b", "comsrv:1001:T:1", "")+plain("c", "custom:p", sets("q"))), "")
	m.ingest(map[ems.PointID]float64{1: 60})
	all := func() []string {
		list := []string{}
		for _, one := range ask[[]state](m, http.MethodGet, "/api/rules", "") {
			list = append(list, one.Rule.ID+" "+one.Status)
		}
		return list
	}
	reload := func(query string) [3][]string {
		found := ask[struct{ Added, Changed, Removed []string }](m, http.MethodPost, "/api/rules/reload"+query, "")
		return [3][]string{found.Added, found.Changed, found.Removed}
	}
	servicetest.Same(t, reload(""), [3][]string{{}, {}, {}})

	writeRules(t, m.site.Dir, "rules:\n"+plain("a", "comsrv:1001:T:1", "")+plain("b", "comsrv:1001:T:9", "")+plain("d", "custom:x", ""))
	m.Refused(http.MethodPost, "/api/rules/reload", "", http.StatusBadRequest, ems.CodeInvalid, "rules.yaml:3: rules[1].conditions[0].source: no point comsrv:1001:T:9")
	writeRules(t, m.site.Dir, "rules:\n"+plain("c", "custom:p", sets("q"))+plain("e", "custom:q", sets("p"))+plain("f", "custom:x", ""))
	m.Refused(http.MethodPost, "/api/rules/reload", "", http.StatusBadRequest, ems.CodeInvalid,
		"rules.yaml:2: rules[0]: rules would set off one another without end: c (line 2) -> e (line 3) -> c (line 2)")
	writeRules(t, m.site.Dir, "rules:\n"+plain("api-a", "custom:x", ""))
	m.Refused(http.MethodPost, "/api/rules/reload", "", http.StatusBadRequest, ems.CodeInvalid, "kept for rules made through the API")
	servicetest.Same(t, all(), []string{"a active", "b active", "c idle"})

	// d and c as they will be are no loop; d as it will be with c as it is would be one.
	writeRules(t, m.site.Dir, "rules:\n"+plain("d", "custom:q", sets("p"))+plain("c", "custom:p", sets("r"))+plain("a", "comsrv:1001:T:1", ""))
	want := [3][]string{{"d"}, {"c"}, {"b"}}
	servicetest.Same(t, reload("?dry_run=true"), want)
	servicetest.Same(t, all(), []string{"a active", "b active", "c idle"})
	servicetest.Same(t, reload(""), want)
	servicetest.Same(t, all(), []string{"a active", "c idle", "d idle"})
	m.Refused(http.MethodDelete, "/api/rules/d", "", http.StatusConflict, ems.CodeConflict, "belongs to the site folder")

	body := `{"id":"api-loop","name":"l","conditions":[{"source":"custom:r","operator":">","value":0}],"actions":[{"type":"set_value","params":{"name":"q","value":1}}]}`
	m.Refused(http.MethodPost, "/api/rules", body, http.StatusConflict, ems.CodeConflict, "api-loop -> d -> c -> api-loop")
	body = `{"name":"r","conditions":[{"source":"custom:r","operator":"changed"}],"actions":[{"type":"resolve_alarm","params":{"rule":"RULE"}}]}`
	m.Refused(http.MethodPost, "/api/rules", strings.Replace(body, "RULE", "b", 1), http.StatusBadRequest, ems.CodeInvalid, `actions[0].params.rule: no rule "b" in this site`)
	ask[state](m, http.MethodPut, "/api/rules/api-r", strings.Replace(body, "RULE", "a", 1))
	m.Refused(http.MethodPost, "/api/rules/reload?dry_run=maybe", "", http.StatusBadRequest, ems.CodeInvalid, "neither true nor false")
	m.Refused(http.MethodPost, "/api/rules/reload?dry_rnu=true", "", http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "dry_rnu", and nothing was done: there is only dry_run`)
}

// TestAReloadKnowsTheChannelsOfTheFolder, for rules of the folder and for those made
// through the API.
func TestAReloadKnowsTheChannelsOfTheFolder(t *testing.T) {
	t.Parallel()
	m := startManual(t, folder(t, "rules: []\n"), "")
	const rule = `{"name":"new","conditions":[{"source":"comsrv:1002:T:1","operator":">","value":50}]}`
	fresh := *m.site
	other := fresh.Channels[0]
	other.ID = 1002
	fresh.Channels = append(fresh.Channels[:1:1], other)
	m.site = &fresh
	writeRules(t, fresh.Dir, "rules:\n  - {id: a, name: a, conditions: [{source: \"comsrv:1002:T:1\", operator: \">\", value: 50}]}\n")
	ask[struct{}](m, http.MethodPost, "/api/rules/reload?dry_run=true", "")
	m.Refused(http.MethodPut, "/api/rules/api-new", rule, http.StatusBadRequest, ems.CodeInvalid, "no point comsrv:1002:T:1")
	ask[struct{}](m, http.MethodPost, "/api/rules/reload", "")
	servicetest.Same(t, m.status("a"), "idle")
	ask[state](m, http.MethodPut, "/api/rules/api-new", rule)

	moved := fresh
	moved.Namespace = "{north}:"
	m.site = &moved
	m.Refused(http.MethodPost, "/api/rules/reload", "", http.StatusConflict, ems.CodeConflict, `the namespace "north"`)
}

func TestCustomValuesTriggersAndResets(t *testing.T) {
	t.Parallel()
	m := startManual(t, testSite(), "")
	body := `{"name":"mode","conditions":[{"source":"custom:mode","operator":"in","value":[2,3]}],"actions":[{"type":"set_value","params":{"name":"seen","value":1}}]}`
	ask[state](m, http.MethodPut, "/api/rules/api-mode", body)
	m.Refused(http.MethodPut, "/api/rules/api-mode", `{"id":"api-other"}`, http.StatusBadRequest, ems.CodeInvalid, "write one id")
	m.Refused(http.MethodGet, "/api/values/mode", "", http.StatusNotFound, ems.CodeNotFound, "nobody has set")
	set := ask[struct{ Changed int }](m, http.MethodPut, "/api/values/mode", `{"value":3}`)
	servicetest.Same(t, set.Changed, 1)
	servicetest.Same(t, m.status("api-mode"), "active")
	_, text := m.Ask(http.MethodGet, "/api/values", "", nil)
	servicetest.Same(t, strings.TrimSpace(text), `{"success":true,"data":[{"name":"mode","value":3},{"name":"seen","value":1}]}`)
	servicetest.Same(t, ask[state](m, http.MethodPost, "/api/rules/api-mode/reset", "").Status, "active")
	servicetest.Same(t, ask[struct{ Actions int }](m, http.MethodPost, "/api/rules/api-mode/trigger", `{"by":"Ann"}`).Actions, 1)
	events := ask[[]rtdb.RuleEvent](m, http.MethodGet, "/api/rules/events", "")
	last := events[len(events)-1]
	servicetest.Same(t, []string{string(last.To), last.By}, []string{"triggered", "Ann"})
	ask[state](m, http.MethodPut, "/api/rules/api-zone", strings.Replace(body, `{"type":"set_value","params":{"name":"seen","value":1}}`, `{"type":"create_alarm","params":{"level":"Info","title":"Zone"}}`, 1))
	servicetest.Same(t, ask[state](m, http.MethodPost, "/api/rules/api-zone/disable?by=Ben", "").Status, "disabled")
	entries, err := m.DB.JournalAfter(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	cleared := entries[len(entries)-1]
	servicetest.Same(t, []string{cleared.Event, cleared.By, cleared.Text}, []string{"clear", "Ben", "rule disabled"})
	m.Refused(http.MethodPost, "/api/rules/api-zone/trigger", `{"by":"Ann"}`, http.StatusConflict, ems.CodeConflict, "enable it first")
	m.Refused(http.MethodPost, "/api/rules/api-mode/trigger", `{}`, http.StatusBadRequest, ems.CodeInvalid, "say who")
	if status, text := m.Ask(http.MethodPut, "/api/values/other", `{"value":1.23456789}`, nil); status != http.StatusOK || !strings.Contains(text, `"value":1.234568}`) {
		t.Errorf("the reply is not what was stored: %d %s", status, text)
	}
	m.Refused(http.MethodPut, "/api/values/mode", `{}`, http.StatusBadRequest, ems.CodeInvalid, "say which number")
	m.Refused(http.MethodPut, "/api/values/a%3Ab", `{"value":1}`, http.StatusBadRequest, ems.CodeInvalid, "unusable character")
}

// A test changes nothing, whatever it is made with.
func TestRulesAreTriedOut(t *testing.T) {
	t.Parallel()
	minute := func(n int) int64 { return noon.Add(time.Duration(n) * time.Minute).UnixMilli() }
	series := map[string]string{ // by the point that is asked for
		"1": fmt.Sprintf(`[{"time":%d,"value":10},{"time":%d,"value":60},{"time":%d,"value":40}]`, minute(-30), minute(5), minute(20)),
		"2": fmt.Sprintf(`[{"time":%d,"value":5},{"time":%d,"value":-60}]`, minute(2), minute(10)),
	}
	hissrv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		for point, points := range series {
			if strings.Contains(string(body), `"point":`+point+`,`) {
				_, _ = fmt.Fprintf(w, `{"success":true,"data":{"points":%s}}`, points)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"success":false,"error":{"code":"NOT_FOUND","message":"no mapping"}}`)
	}))
	defer hissrv.Close()
	m := startManual(t, testSite(), hissrv.URL)
	model := ems.Model{
		ID: "m", Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{"a": "T:1", "b": "T:2"}},
		Computed: []ems.ComputedField{{Name: "total", Function: "sum", Of: []string{"a", "b"}}},
	}
	if err := m.DB.UpsertModel(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	m.ingest(map[ems.PointID]float64{1: 60})
	keys := m.Raw.Keys(t.Context(), "*").Val()
	slices.Sort(keys)
	rule := func(source string) string {
		return `"rule":{"name":"try","on_delay":"2m","conditions":[{"source":"` + source + `","operator":">","value":50}],"actions":[{"type":"notify","params":{"message":"x"}}]}`
	}
	span := fmt.Sprintf(`"history":{"from":%q,"to":%q}`, noon.Format(time.RFC3339), noon.Add(time.Hour).Format(time.RFC3339))
	changes := func(body string) string {
		found := ask[struct {
			Firings int
			Changes []rtdb.TrialChange
		}](m, http.MethodPost, "/api/rules/test", "{"+body+"}")
		list := []string{fmt.Sprint(found.Firings)}
		for _, change := range found.Changes {
			list = append(list, fmt.Sprintf("%s %v", change.To, change.Time.Sub(noon).Minutes()))
		}
		return strings.Join(list, ", ")
	}
	given := `"values":[{"time":"2026-05-04T12:00:00Z","source":"comsrv:1001:T:9","value":60},{"time":"2026-05-04T12:05:00Z","source":"comsrv:1001:T:9","value":null},{"time":"2026-05-04T12:06:00Z","source":"comsrv:1001:T:9","value":1}]`
	servicetest.Same(t, changes(rule("comsrv:1001:T:9")+","+given), "1, pending 0, active 2, idle 6")
	servicetest.Same(t, changes(rule("comsrv:1001:T:1")+","+span), "1, pending 5, active 7, idle 20")
	servicetest.Same(t, changes(rule("modsrv:m:a")+","+span), "1, pending 5, active 7, idle 20")
	servicetest.Same(t, changes(rule("modsrv:m:total")+","+span), "1, pending 5, active 7, idle 10")
	live := ask[rtdb.LiveTrial](m, http.MethodPost, "/api/rules/test", "{"+rule("comsrv:1001:T:1")+`,"live":true}`)
	servicetest.Same(t, []any{live.Outcome, *live.Values["comsrv:1001:T:1"]}, []any{"true", 60.0})
	scheduled := strings.Replace(rule("comsrv:1001:T:1"), `"on_delay"`, `"schedule":{"from":"12:06","to":"12:15"},"on_delay"`, 1)
	servicetest.Same(t, changes(scheduled+","+span), "1, pending 6, active 8, idle 15")
	for body, message := range map[string]string{
		rule("comsrv:1001:T:1"):                                "test either with",
		`"live":true`:                                          "needs a rule",
		rule("comsrv:1001:T:9") + `,"live":true`:               "no point comsrv:1001:T:9",
		rule("modsrv:m:c") + `,"live":true`:                    `model "m" has no data and no computed value "c"`,
		rule("modsrv:none:c") + `,"live":true`:                 `no model "none" in this site`,
		rule("comsrv:1001:T:1") + `,"values":[{"source":"x"}]`: "the rule does not watch",
	} {
		m.Refused(http.MethodPost, "/api/rules/test", "{"+body+"}", http.StatusBadRequest, ems.CodeInvalid, message)
	}
	delete(series, "1")
	m.Refused(http.MethodPost, "/api/rules/test", "{"+rule("comsrv:1001:T:1")+","+span+"}", http.StatusNotFound, ems.CodeNotFound, "history of comsrv:1001:T:1: no mapping")
	after := m.Raw.Keys(t.Context(), "*").Val()
	slices.Sort(after)
	servicetest.Same(t, after, keys)
}

// TestRulesOfMadeChannels: rules may watch and write what was made through the API
// of comsrv, within its limits.
func TestRulesOfMadeChannels(t *testing.T) {
	t.Parallel()
	m := startManual(t, folder(t, "rules: []\n"), "")
	rule := func(source string, value float64) string {
		return fmt.Sprintf(`{"id": "api-a", "name": "a", "conditions": [{"source": %q, "operator": ">", "value": 1}],
			"actions": [{"type": "control", "params": {"target": "comsrv:77:A:2", "value": %v}}]}`, source, value)
	}
	m.Refused(http.MethodPost, "/api/rules", rule("comsrv:77:T:1", 5), http.StatusBadRequest, ems.CodeInvalid, "comsrv:77:T:1")
	const header = `point_id,signal_name,scale,offset,unit,reverse,data_type,max\n`
	document := `{"id": 77, "name": "made", "protocol": "virtual", "points": {"telemetry": "` + header + `1,power,1,0,MW,,,\n", "adjustment": "` + header + `2,limit,1,0,MW,,,5\n"}}`
	if err := m.DB.StoreMade(t.Context(), rtdb.MadeChannel{ID: 77, Document: document}); err != nil {
		t.Fatal(err)
	}
	m.Refused(http.MethodPost, "/api/rules", rule("comsrv:77:T:3", 5), http.StatusBadRequest, ems.CodeInvalid, "comsrv:77:T:3")
	m.Refused(http.MethodPost, "/api/rules", rule("comsrv:77:T:1", 6), http.StatusBadRequest, ems.CodeInvalid, "6 is above the greatest value of limit, 5")
	ask[state](m, http.MethodPost, "/api/rules", rule("comsrv:77:T:1", 5))
	found := ask[map[string]any](m, http.MethodPost, "/api/rules/import", "rules:\n  - {id: api-b, name: b, conditions: [{source: \"comsrv:77:T:1\", operator: \">\", value: 1}], actions: []}\n")
	servicetest.Same(t, fmt.Sprint(found["added"]), "[api-b]")
}
