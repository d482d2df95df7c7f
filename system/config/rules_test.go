package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// readWith reads the sound site with files replaced.
func readWith(t *testing.T, files map[string]string) (*config.Site, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.ReadSite(dir, nil, protocols())
}

// Two rules that set off one another: each sets a value, or writes a point, that
// the other one watches, by itself or through a model.
func TestRulesThatSetOffOneAnotherAreNamedWithTheirLines(t *testing.T) {
	t.Parallel()
	const setpoint = "models: [{id: pcs, mapping: {channel: 1001, data: {setpoint: A:1}}, computed: [{name: twice, expression: 2 * setpoint}]}]"
	rule := func(id, source, action string) string {
		return "  - id: " + id + "\n    name: " + id + "\n    conditions: [{source: \"" + source + "\", operator: \">\", value: 1}]\n    actions: [" + action + "]\n"
	}
	sets := func(name string) string { return "{type: set_value, params: {name: " + name + ", value: 2}}" }
	const writes = "{type: control, params: {target: \"comsrv:1001:A:1\", value: 2}}"
	for what, test := range map[string]struct{ first, second, want string }{
		"through custom values": {
			rule("a", "custom:x", sets("y")), rule("b", "custom:y", sets("x")),
			"rules.yaml:2: rules[0]: rules would set off one another without end: a (line 2) -> b (line 6) -> a (line 2)",
		},
		"through a point": {
			rule("a", "custom:x", writes), rule("b", "comsrv:1001:A:1", sets("x")),
			"rules.yaml:2: rules[0]: rules would set off one another without end: a (line 2) -> b (line 6) -> a (line 2)",
		},
		"through a model": {
			rule("a", "modsrv:pcs:setpoint", sets("x")), rule("b", "custom:x", writes),
			"rules.yaml:2: rules[0]: rules would set off one another without end: a (line 2) -> b (line 6) -> a (line 2)",
		},
		"through a computed value": {
			rule("a", "modsrv:pcs:twice", sets("x")), rule("b", "custom:x", writes),
			"rules.yaml:2: rules[0]: rules would set off one another without end: a (line 2) -> b (line 6) -> a (line 2)",
		},
		"one of them alone": {
			rule("a", "custom:x", sets("y")), rule("b", "custom:y", sets("y")),
			"rules.yaml:6: rules[1]: rules would set off one another without end: b (line 6) -> b (line 6)",
		},
		"none": {rule("a", "custom:x", sets("y")), rule("b", "custom:y", sets("z")), ""},
	} {
		_, err := readWith(t, map[string]string{"models.yaml": setpoint, "rules.yaml": "rules:\n" + test.first + test.second})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, test.want)
		}
	}
	many := "rules:\n" + strings.Repeat(rule("a", "custom:x", ""), 20_001)
	if _, err := readWith(t, map[string]string{"rules.yaml": many}); err == nil || err.Error() != "rules.yaml:2: rules: 20001 rules are more than the 20000 that fit" {
		t.Errorf("too many: %.200v", err)
	}
	rules := "rules:\n" + rule("a", "custom:x", sets("y")) + rule("a", "custom:y", sets("x"))
	if _, err := readWith(t, map[string]string{"rules.yaml": rules}); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), `rules.yaml:6: rules[1].id: "a" stands twice`) {
		t.Errorf("two of one id: %v", err)
	}
}

// badRule is a rule that is refused everywhere with the path of its fault.
type badRule struct {
	What string
	Path string
	Rule json.RawMessage
	Site bool // it depends on the points and models of the site: the function library cannot tell
	Kind bool // a value is of another kind than expected: of YAML the rule is not told
}

// Every bad rule is told with its line, its id and the path of the fault by the
// check of a site, and refused with the same path by the function library. The
// HTTP interface is held to the same list in system/rulesrv.
func TestBadRulesAreToldWithThePathOfTheFault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/bad_rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []badRule
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	server := testkit.Redis(t)
	db, err := rtdb.Open(rtdb.Options{URL: server.URL, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	options, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(options)
	defer raw.Close()
	for _, bad := range list {
		rule := `{"id":"bad",` + strings.TrimSpace(strings.TrimSpace(string(bad.Rule))[1:])
		_, err := readWith(t, map[string]string{"rules.yaml": "rules:\n- {id: good, name: good, conditions: [{source: \"custom:x\", operator: changed}], actions: []}\n- " +
			strings.ReplaceAll(rule, "\n", " ") + "\n"})
		where, who := "rules.yaml:3: rules[1]."+bad.Path+": ", "(rule bad)"
		if bad.Kind {
			who = ""
		}
		if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), who) {
			t.Errorf("%s, as YAML:\n got %v\nwant %s… %s", bad.What, err, where, who)
		}
		err = raw.FCall(t.Context(), "rule_upsert", []string{"bad"}, rule, "1000").Err()
		if bad.Site {
			continue
		}
		rest, found := "", false
		if err != nil {
			rest, found = strings.CutPrefix(err.Error(), "INVALID "+bad.Path)
		}
		if !found || !strings.ContainsAny(rest[:1], " :[") {
			t.Errorf("%s, by the library:\n got %v\nwant INVALID %s …", bad.What, err, bad.Path)
		}
	}
}

// What only all rules of a file together tell: the alarm of a rule that there is
// not, and more rules on one source than it may have.
func TestRulesAreHeldAgainstOneAnother(t *testing.T) {
	t.Parallel()
	const resolves = "rules:\n" +
		"  - {id: a, name: a, conditions: [{source: \"custom:x\", operator: changed}], actions: []}\n" +
		"  - id: b\n    name: b\n    conditions: [{source: \"custom:x\", operator: changed}]\n    actions:\n" +
		"      - {type: resolve_alarm, params: {rule: a}}\n      - {type: resolve_alarm, params: {rule: api-later}}\n" +
		"      - type: resolve_alarm\n        params: {rule: c}\n"
	_, err := readWith(t, map[string]string{"rules.yaml": resolves})
	if err == nil || err.Error() != `rules.yaml:10: rules[1].actions[2].params.rule: no rule "c" in this site` {
		t.Errorf("the alarm of no rule: %v", err)
	}
	crowd := func(rules int) string {
		text := strings.Builder{}
		text.WriteString("rules:\n")
		for i := range rules {
			fmt.Fprintf(&text, "  - {id: r%d, name: r, conditions: [{source: \"custom:x\", operator: \">\", value: 1, compare_to: \"\"}, {source: \"custom:x\", operator: \"<\", value: 9}], actions: []}\n", i)
		}
		return text.String()
	}
	_, err = readWith(t, map[string]string{"rules.yaml": crowd(1001)})
	if err == nil || err.Error() != "rules.yaml:1002: rules[1000].conditions: custom:x is watched by 1000 rules already, as many as one source may have" {
		t.Errorf("too many of one source: %v", err)
	}
	if _, err = readWith(t, map[string]string{"rules.yaml": crowd(1000)}); err != nil {
		t.Errorf("as many as fit: %v", err)
	}
}
