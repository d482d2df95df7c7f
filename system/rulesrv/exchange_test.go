package rulesrv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// The rules that the check of a site refuses are refused over HTTP, too, with the
// path of the fault, and none of them is stored.
func TestBadRulesAreRefusedWithThePathOfTheFault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../config/testdata/bad_rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		What string
		Path string
		Rule json.RawMessage
	}
	if err := json.Unmarshal(text, &list); err != nil || len(list) < 30 {
		t.Fatalf("%d bad rules, %v", len(list), err)
	}
	site, least, most := testSite(), -50.0, 50.0
	site.Channels[0].Points = append(site.Channels[0].Points, config.MappedPoint{Point: ems.Point{
		ID: 1, Type: ems.Adjustment, Name: "power_setpoint", Unit: "kW", Scale: 1, Group: ems.DefaultGroup, Min: &least, Max: &most,
	}})
	m := startManual(t, site, "")
	for _, bad := range list {
		rule := `{"id":"api-bad",` + strings.TrimSpace(strings.TrimSpace(string(bad.Rule))[1:])
		for path, body := range map[string]string{"/api/rules": rule, "/api/rules/test": `{"live":true,"rule":` + rule + `}`} {
			status, text := m.Ask(http.MethodPost, path, body, nil)
			var answer httpserver.Envelope
			if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Error == nil || status != http.StatusBadRequest || answer.Error.Code != ems.CodeInvalid {
				t.Errorf("%s, %s: %d %s", bad.What, path, status, text)
				continue
			}
			// In a test the path of what cannot be read at all begins at the body.
			if !strings.Contains(answer.Error.Message, ": "+bad.Path+": ") && !strings.Contains(answer.Error.Message, ": rule."+bad.Path+": ") {
				t.Errorf("%s, %s: no %s in %s", bad.What, path, bad.Path, answer.Error.Message)
			}
		}
	}
	servicetest.Same(t, len(ask[[]state](m, http.MethodGet, "/api/rules", "")), 1)
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	m := startManual(t, folder(t, delayed), "")
	request := func(method, path, body string) (int, string) {
		status, text, err := m.Request(method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		return status, text
	}
	status, text := request(http.MethodGet, "/api/rules/export", "")
	want := `rules:
    - id: delayed
      name: delayed
      conditions:
        - source: comsrv:1001:T:1
          operator: '>'
          value: 50
      on_delay: 10s
      actions:
        - type: create_alarm
          params:
            level: Major
            title: hot
`
	if status != http.StatusOK || text != want {
		t.Fatalf("%d\n%s", status, text)
	}
	if status, reply := request(http.MethodPost, "/api/rules/import", text); status != http.StatusOK || !strings.Contains(reply, `"added":[],"changed":[],"removed":[]`) {
		t.Errorf("what was exported: %d %s", status, reply)
	}
	m.Refused(http.MethodPost, "/api/rules/import", strings.Replace(text, "Major", "Minor", 1), http.StatusBadRequest, ems.CodeInvalid, `for example "api-delayed"`)
	mine := strings.ReplaceAll(text, "id: delayed", "id: api-delayed")
	for _, nothing := range []string{"", " \n", "\xff\xfe"} {
		m.Refused(http.MethodPost, "/api/rules/import", nothing, http.StatusBadRequest, ems.CodeInvalid, "send rules as YAML")
	}
	m.Refused(http.MethodPost, "/api/rules/import", mine+strings.ReplaceAll(mine[len("rules:\n"):], ">", "=>"), http.StatusBadRequest, ems.CodeInvalid,
		"body:14: rules[1].id: \"api-delayed\" stands twice")
	if status, text := request(http.MethodPost, "/api/rules/import?dry_run=true", mine); status != http.StatusOK || !strings.Contains(text, `"added":["api-delayed"]`) {
		t.Fatalf("%d %s", status, text)
	}
	servicetest.Same(t, len(ask[[]state](m, http.MethodGet, "/api/rules", "")), 1)
	if status, text := request(http.MethodPost, "/api/rules/import", mine); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	made := ask[state](m, http.MethodGet, "/api/rules/api-delayed", "")
	servicetest.Same(t, made.Rule.OnDelay, ems.Duration("10s"))
	_, again := request(http.MethodPost, "/api/rules/import", mine)
	if !strings.Contains(again, `"added":[],"changed":[],"removed":[]`) {
		t.Errorf("the same once more: %s", again)
	}
}

// What was made through the API of modsrv counts as much as what stands in
// models.yaml, also in the search for loops.
func TestImportedRulesMayWatchModelsMadeThroughTheAPI(t *testing.T) {
	t.Parallel()
	m := startManual(t, testSite(), "")
	model := ems.Model{
		ID: "api-m", Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{"a": "T:1", "b": "T:2", "on": "C:1"}},
		Computed: []ems.ComputedField{{Name: "total", Function: "sum", Of: []string{"a", "b"}}},
	}
	if err := m.DB.UpsertModel(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	rule := func(id, source, action string) string {
		return fmt.Sprintf("  - id: %s\n    name: %s\n    conditions: [{source: %q, operator: \">\", value: 50}]\n    actions: [%s]\n", id, id, source, action)
	}
	all := func() []string {
		list := []string{}
		for _, one := range ask[[]state](m, http.MethodGet, "/api/rules", "") {
			list = append(list, one.Rule.ID+" "+one.Status)
		}
		return list
	}
	for text, message := range map[string]string{
		rule("api-total", "modsrv:api-m:total", "") + rule("api-more", "modsrv:api-m:more", ""): `body:8: rules[1].conditions[0].source: model "api-m" has no data and no computed value "more"`,
		rule("api-none", "modsrv:api-none:total", ""):                                           `body:4: rules[0].conditions[0].source: no model "api-none" in this site`,
	} {
		m.Refused(http.MethodPost, "/api/rules/import", "rules:\n"+text, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	servicetest.Same(t, all(), []string{"hot idle"})
	if status, text := m.Ask(http.MethodPost, "/api/rules/import", "rules:\n"+rule("api-total", "modsrv:api-m:total", "")+rule("api-a", "modsrv:api-m:a", ""), nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	m.ingest(map[ems.PointID]float64{1: 20, 2: 31})
	servicetest.Same(t, all(), []string{"api-a idle", "api-total active", "hot idle"})

	const writes, sets = `{type: control, params: {target: "comsrv:1001:C:1", value: 1}}`, "{type: set_value, params: {name: x, value: 60}}"
	pair := rule("api-on", "modsrv:api-m:on", sets) + rule("api-x", "custom:x", writes)
	m.Refused(http.MethodPost, "/api/rules/import", "rules:\n"+rule("api-b", "modsrv:api-m:b", "")+pair, http.StatusBadRequest, ems.CodeInvalid,
		"body:6: rules[1]: rules would set off one another without end: api-on (line 6) -> api-x (line 10) -> api-on (line 6)")
	if status, text := m.Ask(http.MethodPost, "/api/rules/import", "rules:\n"+rule("api-x", "custom:x", writes), nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	m.Refused(http.MethodPost, "/api/rules/import", "rules:\n"+rule("api-b", "modsrv:api-m:b", "")+rule("api-on", "modsrv:api-m:on", sets), http.StatusConflict, ems.CodeConflict,
		"rules would set off one another without end: api-on -> api-x -> api-on")
	servicetest.Same(t, all(), []string{"api-a idle", "api-total active", "api-x idle", "hot idle"})

	m.Redis.Stop()
	m.Refused(http.MethodPost, "/api/rules/import", "rules:\n"+rule("api-b", "modsrv:api-m:b", ""), http.StatusServiceUnavailable, ems.CodeUnavailable, "redis did not answer")
}

// An import for which there is no room changes nothing, not even the rules that
// there were.
func TestAnImportIntoAFullSiteChangesNothing(t *testing.T) {
	t.Parallel()
	m := startManual(t, testSite(), "")
	const crowd = `for i = 1, 19999 do
		local id, source = 'api-' .. i, 'custom:y' .. i % 20
		redis.call('HSET', 'rulesrv:rule:' .. id, 'enabled', '1', 'sources', source,
			'config', '{"id":"' .. id .. '","name":"n","conditions":[{"source":"' .. source .. '","operator":">","value":1}],"actions":[]}')
		redis.call('ZADD', 'rulesrv:rules', 0, id)
	end`
	if err := m.Raw.Eval(t.Context(), crowd, nil).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	replaces := "rules:\n  - {id: api-1, name: other, conditions: [{source: \"custom:y1\", operator: \">\", value: 2}], actions: []}\n"
	adds := "  - {id: api-new, name: new, conditions: [{source: \"custom:y\", operator: \">\", value: 2}], actions: []}\n"
	moves := "  - {id: api-2, name: other, conditions: [{source: \"custom:y1\", operator: \">\", value: 2}], actions: []}\n"
	m.Refused(http.MethodPost, "/api/rules/import", replaces+moves, http.StatusInsufficientStorage, ems.CodeFull, "custom:y1 is watched by 1000 rules already")
	m.Refused(http.MethodPost, "/api/rules/import", replaces+adds, http.StatusInsufficientStorage, ems.CodeFull, "there would be 20001 rules: a site has at most 20000")
	servicetest.Same(t, ask[state](m, http.MethodGet, "/api/rules/api-1", "").Rule.Name, "n")
	if status, text := m.Ask(http.MethodPost, "/api/rules/import", replaces, nil); status != http.StatusOK || !strings.Contains(text, `"added":[],"changed":["api-1"],"removed":[]`) {
		t.Fatalf("%d %s", status, text)
	}
	servicetest.Same(t, ask[state](m, http.MethodGet, "/api/rules/api-1", "").Rule.Name, "other")
}
