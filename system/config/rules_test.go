package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
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
