package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// readForward reads the sound site, whose alarms and rules name people, with
// another forward.yaml.
func readForward(t *testing.T, text string, environment ...string) (*config.Site, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "forward.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.ReadSite(dir, environment, protocols())
}

// both are targets for everybody whom the sound site names.
const both = "notify:\n- {name: control_room, log: true}\n- {name: d.u-ty, to: [shift lead], "

func TestTheEnvironmentGivesTargetsAddressAndSecret(t *testing.T) {
	t.Parallel()
	site, err := readForward(t, both+"url: \"http://here.example\"}", "NETSRV_NOTIFY_CONTROL_ROOM_URL=https://user:pass@there.example/x?key=1",
		"NETSRV_NOTIFY_CONTROL_ROOM_AUTHORIZATION=Bearer abc", "NETSRV_NOTIFY_D_U_TY_AUTHORIZATION=Basic def")
	if err != nil {
		t.Fatal(err)
	}
	var got [][]any
	for _, target := range site.Forward.Notify {
		got = append(got, []any{target.Name, target.URL, target.Log, target.Authorization})
	}
	if difference := cmp.Diff([][]any{
		{"control_room", "https://user:pass@there.example/x?key=1", false, "Bearer abc"}, {"d.u-ty", "http://here.example", false, "Basic def"},
	}, got); difference != "" {
		t.Error(difference)
	}
}

func TestWhoeverIsNamedIsToldByATarget(t *testing.T) {
	t.Parallel()
	// Nobody is told of anything by name where no target is given.
	_, err := readForward(t, "")
	want := "2 faults:\n" +
		"  alarms.yaml:5: escalation[0].notify: nobody is told as \"shift lead\": make it the name of a target under notify in forward.yaml, or list it in the to of one\n" +
		"  rules.yaml:26: rule.actions[1].params.to: nobody is told as \"control_room\": make it the name of a target under notify in forward.yaml, or list it in the to of one (rule rule_001)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// While the targets are at fault it is not known who is missing.
	_, err = readForward(t, "notify:\n- {name: other, log: true, kinds: [bell]}")
	if want := `forward.yaml:2: notify[0].kinds[0]: unknown kind "bell": use one of alarm, summary, escalation, rule`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	site, err := readForward(t, both+"log: true}")
	if err != nil {
		t.Fatal(err)
	}
	rule := ems.Rule{
		ID: "r", Conditions: []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(1)}},
		Actions: []ems.Action{{Type: ems.ActionNotify, Params: map[string]any{"message": "x", "to": "night"}}},
	}
	if faults := site.RuleFaults(&rule, nil); len(faults) != 1 || !strings.HasPrefix(faults[0].String(), `actions[0].params.to: nobody is told as "night"`) {
		t.Errorf("a rule of the API: %v", faults)
	}
	rule.Actions[0].Params["to"] = "shift lead"
	if faults := append(site.RuleFaults(&rule, nil), config.RuleFaults(&rule)...); len(faults) > 0 {
		t.Errorf("a rule of the API: %v", faults)
	}
}

func TestFaultsOfTargetsAreToldWithTheirLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"notify:\n- {name: a b, log: true}":                                         `forward.yaml:2: notify[0].name: target name "a b" has an unusable character ' '`,
		"notify:\n- {log: true}":                                                    `forward.yaml:2: notify[0].name: target name "" has 0 characters`,
		"notify:\n- {name: a-b, log: true}\n- {name: A.b, log: true}":               `forward.yaml:3: notify[1].name: "A.b" is already the name of notify[0], in the environment at least`,
		"notify:\n- name: a":                                                        "forward.yaml:2: notify[0]: a target needs a url or log: true, also where NETSRV_NOTIFY_A_URL says where it is",
		"notify:\n- name: a\n  log: true\n  url: http://h":                          "forward.yaml:3: notify[0].log: a target has a url or logs, not both",
		"notify:\n- name: a\n  url: ftp://u:s3cret@h/":                              `forward.yaml:3: notify[0].url: "ftp://xxxxx@h/" is not a URL of the form http://host:port`,
		"notify:\n- name: a\n  log: true\n  levels: [Critical, Awful]":              `forward.yaml:4: notify[0].levels[1]: unknown alarm level "Awful"`,
		"notify:\n- name: a\n  log: true\n  to: [\"a\\tb\"]":                        `forward.yaml:4: notify[0].to[0]: "a\tb" holds a control character`,
		"notify:\n- name: a\n  log: true\n  to: [\"\"]":                             `forward.yaml:4: notify[0].to[0]: the name is empty`,
		"notify:\n- name: a\n  log: true\n  to: [" + strings.Repeat("x", 201) + "]": "forward.yaml:4: notify[0].to[0]: 201 bytes are more than the 200 that fit",
		"notify:\n- name: a\n  log: true\n  timeout: 1ms":                           "forward.yaml:4: notify[0].timeout: 1ms is not between 100ms and 1m0s",
		"notify:\n- name: a\n  log: true\n  give_up_after: 1s":                      "forward.yaml:4: notify[0].give_up_after: 1s is not between 1m0s and 168h0m0s",
		"notify:\n- name: a\n  log: true\n  authorization: x":                       `forward.yaml:4: unknown key "authorization"`,
		"notify: [" + strings.Repeat("{name: a, log: true}, ", 11) + "]":            "forward.yaml:1: notify: 11 targets are more than the 10 that fit",
		"notify:\n- {name: a, log: true, to: [" + strings.Repeat("b, ", 51) + "]}":  "forward.yaml:2: notify[0].to: 51 names are more than the 50 that fit",
	} {
		if _, err := readForward(t, text); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	for entry, want := range map[string]string{
		"NETSRV_NOTIFY_CONTROL_ROOM_URL=ftp://u:s3cret@h":                       `environment: NETSRV_NOTIFY_CONTROL_ROOM_URL: "ftp://xxxxx@h" is not a URL of the form http://host:port`,
		"NETSRV_NOTIFY_CONTROL_ROOM_AUTHORIZATION=s3cret\n":                     "environment: NETSRV_NOTIFY_CONTROL_ROOM_AUTHORIZATION is not the value of a header",
		"NETSRV_NOTIFY_D_U_TY_AUTHORIZATION=s3cret" + strings.Repeat("x", 8192): "environment: NETSRV_NOTIFY_D_U_TY_AUTHORIZATION is not the value of a header",
	} {
		if _, err := readForward(t, both+"log: true}", entry); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q:\n got %v\nwant %s", entry, err, want)
		}
	}
}
