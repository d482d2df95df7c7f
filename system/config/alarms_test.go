package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// readAlarms reads the sound site with another alarms.yaml.
func readAlarms(t *testing.T, text string) (*config.Site, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "alarms.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.ReadSite(dir, nil, protocols())
}

func TestAlarmSettingsAreReadAndHaveDefaults(t *testing.T) {
	t.Parallel()
	site, err := readAlarms(t, `
retention: {max_age: 48h, max_count: 7}
flood: {limit: 20}
chattering: {count: 4, period: 2m}
shelving: {longest: 8h}
journal: {entries: 5000}
notifications: {waiting: 50}
escalation:
  - {level: Major, after: 15m, to: Critical}
  - {level: Critical, after: 5m, notify: "shift lead"}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := ems.AlarmSettings{
		FloodLimit: 20, ChatterCount: 4, ChatterPeriod: 2 * time.Minute, ShelveMax: 8 * time.Hour, JournalLimit: 5000, NotificationLimit: 50,
		Escalation: []ems.EscalationStep{
			{Level: ems.Major, After: 15 * time.Minute, To: ems.Critical}, {Level: ems.Critical, After: 5 * time.Minute, Notify: "shift lead"},
		},
	}
	if difference := cmp.Diff(want, site.Alarms); difference != "" || site.Retention != (config.AlarmRetention{MaxAge: 48 * time.Hour, MaxCount: 7}) {
		t.Errorf("%+v %s", site.Retention, difference)
	}
	site, err = readAlarms(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if difference := cmp.Diff(ems.DefaultAlarmSettings(), site.Alarms); difference != "" {
		t.Error(difference)
	}
}

func TestFaultsOfAlarmSettingsAreToldWithTheirLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"flood: {limit: 0}":                                           "alarms.yaml:1: flood.limit: 0 is not between 1 and 100000",
		"\nchattering:\n  count: 1":                                   "alarms.yaml:3: chattering.count: 1 is not between 2 and 20",
		"chattering: {period: 1ms}":                                   "alarms.yaml:1: chattering.period: 1ms is not between 1s and 1h0m0s",
		"shelving: {longest: 200h}":                                   "alarms.yaml:1: shelving.longest: 200h0m0s is not between 1m0s and 168h0m0s",
		"journal: {entries: 10}":                                      "alarms.yaml:1: journal.entries: 10 is not between 1000 and 10000000",
		"notifications: {waiting: 1}":                                 "alarms.yaml:1: notifications.waiting: 1 is not between 10 and 1000000",
		"retention: {max_count: 0}":                                   "alarms.yaml:1: retention.max_count: 0 is not between 1 and 1000000",
		"escalation:\n- {level: Awful, after: 1m, notify: a}":         `alarms.yaml:2: escalation[0].level: unknown alarm level "Awful"`,
		"escalation:\n- {level: Major, after: 1m, to: Awful}":         `alarms.yaml:2: escalation[0].to: unknown alarm level "Awful"`,
		"escalation:\n- {level: Major, after: 1m, to: Minor}":         "alarms.yaml:2: escalation[0].to: Minor is not more severe than Major",
		"escalation:\n- {level: Major, to: Critical}":                 "alarms.yaml:2: escalation[0].after: 0s is not between 1s and 168h0m0s",
		"escalation:\n- {level: Major, after: 1m}":                    "alarms.yaml:2: escalation[0]: a step needs a level (to) or somebody to tell (notify)",
		"escalation:\n- {level: Major, after: 1m, notify: \"a\\tb\"}": "alarms.yaml:2: escalation[0].notify: \"a\\tb\" holds a control character",
		"escalation:\n- {level: Major, after: 1m, to: Critical}\n- {level: Major, after: 2m, notify: a}": "alarms.yaml:3: escalation[1]: it never comes to this: " +
			"after 1m0s escalation[0] has given the alarm the level Critical",
		"escalation:\n- {level: Major, after: 1m, notify: b}\n- {level: Major, after: 1m, notify: a}": "alarms.yaml:3: escalation[1].after: escalation[0] comes at the same time",
		"escalate: []": `alarms.yaml:1: unknown key "escalate"`,
	} {
		if _, err := readAlarms(t, text); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
