package config_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// siteWith returns the verdict on the sound site with one file replaced.
func siteWith(t *testing.T, file string, content any) error {
	t.Helper()
	return siteWithAll(t, map[string]any{file: content})
}

// siteWithAll returns the verdict on the sound site with files replaced.
func siteWithAll(t *testing.T, files map[string]any) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	for file, content := range files {
		text, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := config.ReadSite(dir, nil, protocols())
	return err
}

// bound is one thing at or beyond a bound.
type bound struct {
	what  string
	sound bool
	read  func(t *testing.T, sound *config.Site) error // by config, as a file of that site
	store func(t *testing.T, db *rtdb.Client) error    // by the function library
}

func ruleBound(what string, sound bool, change func(*ems.Rule)) bound {
	rule := ems.Rule{
		ID:         "r",
		Conditions: []ems.Condition{{Source: "comsrv:1001:T:2", Operator: ">", Value: ems.Number(55)}},
		Actions: []ems.Action{
			{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Major", "title": "hot", "description": "too hot"}},
			{Type: ems.ActionNotify, Params: map[string]any{"message": "look"}},
		},
	}
	change(&rule)
	return bound{
		what: "rule: " + what, sound: sound,
		read: func(t *testing.T, sound *config.Site) error { // there are too many to read a whole site for each
			text, err := yaml.Marshal(map[string]any{"rules": []ems.Rule{rule}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = sound.ParseRules("rules.yaml", text, nil)
			return err
		},
		store: func(t *testing.T, db *rtdb.Client) error { return db.UpsertRule(t.Context(), rule) },
	}
}

// textBound puts a text into a parameter of an action of a rule.
func textBound(action int, param, text string, sound bool) bound {
	return ruleBound(fmt.Sprintf("%s of %d bytes ending in %q", param, len(text), text[max(0, len(text)-3):]), sound, func(r *ems.Rule) {
		r.Actions[action].Params[param] = text
	})
}

func historyBound(what string, sound bool, change func(*ems.HistoryMapping)) bound {
	mapping := ems.HistoryMapping{
		ID: "h", Source: "comsrv:1001:T", Measurement: "m", Tags: map[string]string{"device": "battery"},
		Fields: map[ems.PointID]string{1: "one", 2: "two"},
	}
	change(&mapping)
	return bound{
		what: "history: " + what, sound: sound,
		read: func(t *testing.T, _ *config.Site) error {
			return siteWith(t, "history.yaml", map[string]any{"mappings": []ems.HistoryMapping{mapping}})
		},
		store: func(t *testing.T, db *rtdb.Client) error { return db.ConfigureMapping(t.Context(), mapping) },
	}
}

// signalBound gives a point of a mapping the field of its signal's name.
func signalBound(name string, sound bool) bound {
	b := historyBound(fmt.Sprintf("signal name %q", name), sound, func(m *ems.HistoryMapping) { m.Fields = map[ems.PointID]string{2: name} })
	b.read = func(t *testing.T, _ *config.Site) error {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("testdata/site")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "points", "1001", "telemetry.csv")
		table, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(table), "cell_temperature", `"`+name+`"`, 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		history := strings.NewReplacer("fields:", "", "2: hottest_cell", "").Replace(readText(t, filepath.Join(dir, "history.yaml")))
		if err := os.WriteFile(filepath.Join(dir, "history.yaml"), []byte(history), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = config.ReadSite(dir, nil, protocols())
		return err
	}
	return b
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func modelBound(what string, sound bool, change func(*ems.Model)) bound {
	model := ems.Model{ID: "m", Mapping: ems.ModelMapping{
		Channel: 1001, Data: map[string]ems.ModelPoint{"soc": "1"}, Action: map[string]ems.ModelPoint{"power": "A:1"},
	}}
	change(&model)
	return bound{
		what: "model: " + what, sound: sound,
		read: func(t *testing.T, _ *config.Site) error {
			return siteWith(t, "models.yaml", map[string]any{"models": []ems.Model{model}})
		},
		store: func(t *testing.T, db *rtdb.Client) error { return db.UpsertModel(t.Context(), model) },
	}
}

func templateBound(what string, sound bool, change func(*ems.Template)) bound {
	template := ems.Template{ID: "t", Name: "t", Data: []ems.TemplateField{{Name: "soc"}}}
	change(&template)
	return bound{
		what: "template: " + what, sound: sound,
		read:  func(t *testing.T, _ *config.Site) error { return siteWith(t, "templates/more.yaml", template) },
		store: func(t *testing.T, db *rtdb.Client) error { return db.UpsertTemplate(t.Context(), template) },
	}
}

// mappingsBound is a site with that many history mappings.
func mappingsBound(count int, sound bool) bound {
	channels, mappings := "channels:\n", "mappings:\n"
	var ids []string
	for i := range count {
		channel, id := 1001+i/4, fmt.Sprint("h", i)
		if i%4 == 0 {
			channels += fmt.Sprintf("- {id: %d, name: c%d, protocol: virtual}\n", channel, channel)
		}
		ids = append(ids, id)
		mappings += fmt.Sprintf("- {id: %s, source: comsrv:%d:%s, measurement: m}\n", id, channel, ems.PointTypes[i%4])
	}
	return bound{
		what: fmt.Sprintf("%d history mappings", count), sound: sound,
		read: func(t *testing.T, _ *config.Site) error {
			dir := t.TempDir()
			for name, text := range map[string]string{"site.yaml": "site: {name: x}", "channels.yaml": channels, "history.yaml": mappings} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := config.ReadSite(dir, nil, protocols())
			return err
		},
		store: func(t *testing.T, db *rtdb.Client) error { return db.RetainMappings(t.Context(), ids) },
	}
}

func tags(count int) map[string]string {
	made := map[string]string{}
	for i := range count {
		made[fmt.Sprint("tag", i)] = "x"
	}
	return made
}

func names(count int, point ems.ModelPoint) map[string]ems.ModelPoint {
	made := map[string]ems.ModelPoint{}
	for i := range count {
		made[fmt.Sprint("n", i)] = point
	}
	return made
}

func nested(depth int) []ems.Condition {
	conditions := []ems.Condition{{Source: "comsrv:1001:T:2", Operator: ">", Value: ems.Number(55)}}
	for range depth - 1 {
		conditions = []ems.Condition{{Logic: ems.Any, Conditions: conditions}}
	}
	return conditions
}

func repeated[E any](count int, item E) []E {
	list := make([]E, count)
	for i := range list {
		list[i] = item
	}
	return list
}

const mebibyte = 1 << 20

// wide has six bytes in JSON, which is what counts: YAML of a mebibyte takes long.
const wide = "<"

func ruleBounds() []bound {
	notify := ems.Action{Type: ems.ActionNotify, Params: map[string]any{"message": "look"}}
	bounds := []bound{
		ruleBound("as it is", true, func(*ems.Rule) {}),
		ruleBound("id of 64", true, func(r *ems.Rule) { r.ID = strings.Repeat("r", 64) }),
		ruleBound("id of 65", false, func(r *ems.Rule) { r.ID = strings.Repeat("r", 65) }),
		ruleBound("id with a colon", false, func(r *ems.Rule) { r.ID = "r:1" }),
		ruleBound("id in another alphabet", false, func(r *ems.Rule) { r.ID = "größe" }),
		ruleBound("100 conditions", true, func(r *ems.Rule) { r.Conditions = repeated(100, r.Conditions[0]) }),
		ruleBound("101 conditions", false, func(r *ems.Rule) { r.Conditions = repeated(101, r.Conditions[0]) }),
		ruleBound("no condition", false, func(r *ems.Rule) { r.Conditions = nil }),
		ruleBound("nested 8 deep", true, func(r *ems.Rule) { r.Conditions = nested(8) }),
		ruleBound("nested 9 deep", false, func(r *ems.Rule) { r.Conditions = nested(9) }),
		ruleBound("20 actions", true, func(r *ems.Rule) { r.Actions = repeated(20, notify) }),
		ruleBound("21 actions", false, func(r *ems.Rule) { r.Actions = repeated(21, notify) }),
		ruleBound("less than 1 MiB", true, func(r *ems.Rule) { r.Name = strings.Repeat(wide, (mebibyte-1000)/6) }),
		ruleBound("more than 1 MiB", false, func(r *ems.Rule) { r.Name = strings.Repeat(wide, mebibyte/6) }),
		ruleBound("infinite value", false, func(r *ems.Rule) { r.Conditions[0].Value = ems.Number(math.Inf(1)) }),
		textBound(0, "title", "", false),
		textBound(0, "title", strings.Repeat("x", 200), true),
		textBound(0, "title", strings.Repeat("x", 201), false),
		textBound(0, "title", strings.Repeat("é", 101), false),
		textBound(0, "description", "", true),
		textBound(0, "description", strings.Repeat("x", 2000), true),
		textBound(0, "description", strings.Repeat("x", 2001), false),
		textBound(1, "message", "", false),
		textBound(1, "message", strings.Repeat("x", 2000), true),
		textBound(1, "message", strings.Repeat("x", 2001), false),
	}
	for _, word := range []string{"events", "export", "import", "reload", "test"} {
		bounds = append(bounds,
			ruleBound("id "+word, false, func(r *ems.Rule) { r.ID = word }),
			ruleBound("id "+word+"s_1", true, func(r *ems.Rule) { r.ID = word + "s_1" }))
	}
	bounds = append(bounds, settingBounds()...)
	bounds = append(bounds, comparisonBounds()...)
	for character := range rune(0x20) {
		allowed := character == '\n' || character == '\t'
		bounds = append(bounds,
			ruleBound(fmt.Sprintf("name with %q", character), allowed, func(r *ems.Rule) { r.Name = "x" + string(character) }),
			ruleBound(fmt.Sprintf("description with %q", character), allowed, func(r *ems.Rule) { r.Description = "x" + string(character) }))
		bounds = append(bounds, textBound(0, "title", "x"+string(character), false))
	}
	for _, character := range []rune{0x7f, 0x80, 0x9f, 0xa0, 'é', '\u2028', '😀'} {
		for action, param := range []string{"description", "message"} {
			bounds = append(bounds, textBound(action, param, "x"+string(character), character > 0x9f))
		}
	}
	return bounds
}

func settingBounds() []bound {
	bounds := []bound{
		ruleBound("priority 1000", true, func(r *ems.Rule) { r.Priority = 1000 }),
		ruleBound("priority 1001", false, func(r *ems.Rule) { r.Priority = 1001 }),
		ruleBound("priority -1", false, func(r *ems.Rule) { r.Priority = -1 }),
		ruleBound("hysteresis", true, func(r *ems.Rule) { r.Hysteresis = 0.5 }),
		ruleBound("hysteresis below 0", false, func(r *ems.Rule) { r.Hysteresis = -0.5 }),
		ruleBound("hysteresis of one of two", true, func(r *ems.Rule) {
			r.Hysteresis, r.Conditions = 0.5, append(r.Conditions, ems.Condition{Source: "comsrv:1001:T:2", Operator: "==", Value: ems.Number(1)})
		}),
		ruleBound("logic NOT", true, func(r *ems.Rule) { r.Logic = ems.None }),
		ruleBound("logic XOR", false, func(r *ems.Rule) { r.Logic = "XOR" }),
		ruleBound("schedule", true, func(r *ems.Rule) { r.Schedule = &ems.Schedule{TimeZone: "Europe/Berlin", From: "22:00", To: "06:00"} }),
		ruleBound("action when idle", true, func(r *ems.Rule) { r.Actions[1].When = "idle" }),
		ruleBound("alarm when idle", false, func(r *ems.Rule) { r.Actions[0].When = "idle" }),
		ruleBound("action sometimes", false, func(r *ems.Rule) { r.Actions[1].When = "sometimes" }),
		ruleBound("two functions of a group", false, func(r *ems.Rule) {
			r.Conditions = []ems.Condition{{Operator: ">", Conditions: r.Conditions}}
		}),
	}
	for _, test := range []struct {
		hysteresis   float64
		outer, inner ems.Logic
		sound        bool
	}{{0.49, ems.None, ems.All, true}, {0.5, ems.None, ems.Any, false}, {0.5, ems.All, ems.None, false}, {0.5, ems.None, ems.None, true}, {0.5, ems.All, "", true}, {0, ems.None, "", true}} {
		bounds = append(bounds, ruleBound(fmt.Sprint("hysteresis ", test), test.sound, func(r *ems.Rule) {
			r.Conditions[0].Operator, r.Conditions[0].Value = ems.Between, ems.Numbers(1, 2)
			r.Hysteresis, r.Logic, r.Conditions = test.hysteresis, test.outer, []ems.Condition{{Logic: test.inner, Conditions: r.Conditions}}
		}))
	}
	for _, operator := range ems.Operators {
		bounds = append(bounds, ruleBound("hysteresis of "+operator, slices.Contains([]string{">", ">=", "<", "<=", ems.Between}, operator), func(r *ems.Rule) {
			r.Hysteresis, r.Conditions[0].Operator = 0.5, operator
			switch operator {
			case ems.Between, ems.In:
				r.Conditions[0].Value = ems.Numbers(1, 2)
			case ems.Changed, ems.Rising, ems.Falling:
				r.Conditions[0].Value = nil
			}
		}))
	}
	for choice, sound := range map[ems.BadInput]bool{"ignore": true, "false": true, "alarm": true, "true": false, "Ignore": false} {
		bounds = append(bounds, ruleBound("bad_input "+string(choice), sound, func(r *ems.Rule) { r.BadInput = choice }))
	}
	for text, sound := range map[ems.Duration]bool{
		"0s": true, "250ms": true, "1m30s": true, "1.5h": true, "24h": true, "24h1ms": false, "10": false, "-1s": false, "1d": false, " 1s": false,
		"1s ": false, ".5s": false, "1e3s": false, "1us": false, "s": false,
	} {
		bounds = append(bounds,
			ruleBound("on_delay "+string(text), sound, func(r *ems.Rule) { r.OnDelay = text }),
			ruleBound("cooldown "+string(text), sound, func(r *ems.Rule) { r.Cooldown = text }))
	}
	for _, action := range []struct {
		what   string
		sound  bool
		action ems.Action
	}{
		{"publish", true, ems.Action{Type: ems.ActionPublish, Params: map[string]any{"channel": "c", "message": "m"}}},
		{"publish to a name with a colon", false, ems.Action{Type: ems.ActionPublish, Params: map[string]any{"channel": "a:b", "message": "m"}}},
		{"set_value", true, ems.Action{Type: ems.ActionSetValue, Params: map[string]any{"name": "n", "value": -1.5}}},
		{"set_value to a text", false, ems.Action{Type: ems.ActionSetValue, Params: map[string]any{"name": "n", "value": "1"}}},
		{"set_value without a name", false, ems.Action{Type: ems.ActionSetValue, Params: map[string]any{"value": 1}}},
		{"control", true, ems.Action{Type: ems.ActionControl, Params: map[string]any{"target": "comsrv:1001:A:1", "value": 50, "deadline": "1h"}}},
		{"control for too long", false, ems.Action{Type: ems.ActionControl, Params: map[string]any{"target": "comsrv:1001:A:1", "value": 50, "deadline": "61m"}}},
		{"control of what is read", false, ems.Action{Type: ems.ActionControl, Params: map[string]any{"target": "comsrv:1001:T:1", "value": 50}}},
	} {
		bounds = append(bounds, ruleBound(action.what, action.sound, func(r *ems.Rule) { r.Actions[1] = action.action }))
	}
	return bounds
}

func comparisonBounds() []bound {
	var bounds []bound
	for _, test := range []struct {
		what      string
		sound     bool
		condition ems.Condition
	}{
		{"between", true, ems.Condition{Operator: ems.Between, Value: ems.Numbers(1, 1)}},
		{"between the wrong way", false, ems.Condition{Operator: ems.Between, Value: ems.Numbers(2, 1)}},
		{"between one", false, ems.Condition{Operator: ems.Between, Value: ems.Numbers(2)}},
		{"between a number", false, ems.Condition{Operator: ems.Between, Value: ems.Number(2)}},
		{"in 100", true, ems.Condition{Operator: ems.In, Value: &ems.Operand{List: make([]float64, 100)}}},
		{"in 101", false, ems.Condition{Operator: ems.In, Value: &ems.Operand{List: make([]float64, 101)}}},
		{"in nothing", false, ems.Condition{Operator: ems.In, Value: ems.Numbers()}},
		{"above a list", false, ems.Condition{Operator: ">", Value: ems.Numbers(1)}},
		{"above a text", false, ems.Condition{Operator: ">", Value: &ems.Operand{Wrong: "much"}}},
		{"above nothing", false, ems.Condition{Operator: ">"}},
		{"changed", true, ems.Condition{Operator: ems.Changed}},
		{"changed to", false, ems.Condition{Operator: ems.Changed, Value: ems.Number(1)}},
		{"above a point", true, ems.Condition{Operator: ">", CompareTo: "comsrv:1001:T:1"}},
		{"above a point and a number", false, ems.Condition{Operator: ">", CompareTo: "comsrv:1001:T:1", Value: ems.Number(1)}},
		{"in a point", false, ems.Condition{Operator: ems.In, CompareTo: "comsrv:1001:T:1"}},
		{"a difference", true, ems.Condition{Operator: ">", Minus: "modsrv:battery_001:soc", Value: ems.Number(1)}},
		{"a custom value", true, ems.Condition{Operator: ">", Minus: "custom:x", Value: ems.Number(1)}},
		{"a custom value without a name", false, ems.Condition{Operator: ">", Minus: "custom:", Value: ems.Number(1)}},
		{"mean", true, ems.Condition{Function: ems.FunctionMean, Window: "24h", Operator: ">", Value: ems.Number(1)}},
		{"mean over nothing", false, ems.Condition{Function: ems.FunctionMean, Operator: ">", Value: ems.Number(1)}},
		{"mean over a moment", false, ems.Condition{Function: ems.FunctionMean, Window: "999ms", Operator: ">", Value: ems.Number(1)}},
		{"a window alone", false, ems.Condition{Window: "10s", Operator: ">", Value: ems.Number(1)}},
		{"median", false, ems.Condition{Function: "median", Window: "10s", Operator: ">", Value: ems.Number(1)}},
		{"an unknown operator", false, ems.Condition{Operator: "=>", Value: ems.Number(1)}},
	} {
		test.condition.Source = "comsrv:1001:T:2"
		bounds = append(bounds, ruleBound(test.what, test.sound, func(r *ems.Rule) { r.Conditions[0] = test.condition }))
	}
	return bounds
}

func historyBounds() []bound {
	tag := func(name, value string) func(*ems.HistoryMapping) {
		return func(m *ems.HistoryMapping) { m.Tags = map[string]string{name: value} }
	}
	bounds := []bound{
		historyBound("as it is", true, func(*ems.HistoryMapping) {}),
		historyBound("id of 65", false, func(m *ems.HistoryMapping) { m.ID = strings.Repeat("h", 65) }),
		historyBound("id with a space", false, func(m *ems.HistoryMapping) { m.ID = "h h" }),
		historyBound("source of a point", false, func(m *ems.HistoryMapping) { m.Source = "comsrv:1001:T:1" }),
		historyBound("source with a leading zero", false, func(m *ems.HistoryMapping) { m.Source = "comsrv:01001:T" }),
		historyBound("50 tags", true, func(m *ems.HistoryMapping) { m.Tags = tags(50) }),
		historyBound("51 tags", false, func(m *ems.HistoryMapping) { m.Tags = tags(51) }),
		historyBound("tag channel", false, tag("channel", "x")),
		historyBound("tag type", false, tag("type", "x")),
		historyBound("tag Type", true, tag("Type", "x")),
		historyBound("tag without a value", false, tag("device", "")),
		historyBound("tag value channel", true, tag("device", "channel")),
		mappingsBound(5000, true),
		mappingsBound(5001, false),
		signalBound(strings.Repeat("x", 100), true),
		signalBound(`a\b`, false),
		signalBound("a\x7fb", false),
	}
	for text, sound := range map[string]bool{
		"": false, strings.Repeat("x", 100): true, strings.Repeat("x", 101): false, `a\b`: false, "a\x01b": false, "a\x7fb": false,
		"a b,c=d": true, "größe": true,
	} {
		bounds = append(bounds,
			historyBound(fmt.Sprintf("measurement %q", text), sound, func(m *ems.HistoryMapping) { m.Measurement = text }),
			historyBound(fmt.Sprintf("tag %q", text), sound, tag(text, "x")),
			historyBound(fmt.Sprintf("tag value %q", text), sound, tag("device", text)),
			historyBound(fmt.Sprintf("field %q", text), sound, func(m *ems.HistoryMapping) { m.Fields[1] = text }))
	}
	return bounds
}

func modelBounds() []bound {
	point := func(text ems.ModelPoint) func(*ems.Model) { return func(m *ems.Model) { m.Mapping.Data["soc"] = text } }
	return []bound{
		modelBound("as it is", true, func(*ems.Model) {}),
		modelBound("id of 64", true, func(m *ems.Model) { m.ID = strings.Repeat("m", 64) }),
		modelBound("id of 65", false, func(m *ems.Model) { m.ID = strings.Repeat("m", 65) }),
		modelBound("id with a slash", false, func(m *ems.Model) { m.ID = "m/1" }),
		modelBound("no id", false, func(m *ems.Model) { m.ID = "" }),
		modelBound("1000 values", true, func(m *ems.Model) { m.Mapping.Data = names(1000, "1") }),
		modelBound("1001 values", false, func(m *ems.Model) { m.Mapping.Data = names(1001, "1") }),
		modelBound("1000 actions", true, func(m *ems.Model) { m.Mapping.Action = names(1000, "A:1") }),
		modelBound("1001 actions", false, func(m *ems.Model) { m.Mapping.Action = names(1001, "A:1") }),
		modelBound("name with a space", false, func(m *ems.Model) { m.Mapping.Data["a b"] = "1" }),
		modelBound("name of 65", false, func(m *ems.Model) { m.Mapping.Data[strings.Repeat("n", 65)] = "1" }),
		modelBound("point with a type", true, point("S:1")),
		modelBound("point 0", false, point("0")),
		modelBound("point with a leading zero", false, point("01")),
		modelBound("point of another type", false, point("X:1")),
		modelBound("action that reads", false, func(m *ems.Model) { m.Mapping.Action["power"] = "T:1" }),
		modelBound("less than 1 MiB", true, func(m *ems.Model) { m.Name = strings.Repeat("x", mebibyte-1000) }),
		modelBound("more than 1 MiB", false, func(m *ems.Model) { m.Name = strings.Repeat("x", mebibyte) }),
		modelBound("less than 1 MiB, more in JSON", false, func(m *ems.Model) { m.Name = strings.Repeat(wide, mebibyte/4) }),
		modelBound("metadata", true, func(m *ems.Model) { m.Metadata = map[string]any{"a": []any{1, "x", nil}} }),
		modelBound("metadata without JSON", false, func(m *ems.Model) { m.Metadata = map[string]any{"a": math.NaN()} }),
		modelBound("metadata with a list as a key", false, func(m *ems.Model) { m.Metadata = map[string]any{"a": map[any]any{1: 2, true: 3}} }),
		templateBound("as it is", true, func(*ems.Template) {}),
		templateBound("id of 65", false, func(m *ems.Template) { m.ID = strings.Repeat("t", 65) }),
		templateBound("name of 64", true, func(m *ems.Template) { m.Data[0].Name = strings.Repeat("n", 64) }),
		templateBound("name of 65", false, func(m *ems.Template) { m.Data[0].Name = strings.Repeat("n", 65) }),
		templateBound("name with a space", false, func(m *ems.Template) { m.Data[0].Name = "a b" }),
		templateBound("more than 1 MiB", false, func(m *ems.Template) { m.Description = strings.Repeat(wide, mebibyte/6) }),
	}
}

// TestWhatIsSoundCanBeStored: the check of a site and the function library agree
// on every bound.
func TestWhatIsSoundCanBeStored(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	db, err := rtdb.Open(rtdb.Options{URL: server.URL, Clock: ems.NewManualClock(time.UnixMilli(1_782_000_000_000)), Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	site, err := config.ReadSite(sound, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	for _, bounds := range [][]bound{ruleBounds(), historyBounds(), modelBounds(), expansionBounds()} {
		for _, bound := range bounds {
			var stored error
			testkit.Eventually(t, time.Minute, func() error { // a busy machine takes longer for a MiB than the client waits
				if stored = bound.store(t, db); ems.CodeOf(stored) == ems.CodeUnavailable {
					return stored
				}
				return nil
			}, bound.what)
			for who, err := range maps.All(map[string]error{"config": bound.read(t, site), "the library": stored}) {
				refused := ems.CodeOf(err) == ems.CodeInvalid || ems.CodeOf(err) == ems.CodeNotFound
				if bound.sound != (err == nil) || err != nil && !refused {
					t.Errorf("%s: %s says %.300v, want sound %v", bound.what, who, err, bound.sound)
				}
			}
		}
	}
}
