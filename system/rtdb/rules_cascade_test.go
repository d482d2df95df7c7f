package rtdb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// follows is a rule that sets one custom value to 1 when another is above 0.
func follows(id, watched, set string) ems.Rule {
	return ems.Rule{
		ID: id, Conditions: []ems.Condition{{Source: "custom:" + watched, Operator: ">", Value: ems.Number(0)}},
		Actions: []ems.Action{{Type: ems.ActionSetValue, Params: map[string]any{"name": set, "value": 1}}},
	}
}

func TestRulesThatWouldSetOffOneAnotherAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	model := ems.Model{ID: "m", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"setpoint": "A:1"}}}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	control := ems.Rule{
		ID: "c", Conditions: []ems.Condition{{Source: "custom:z", Operator: ">", Value: ems.Number(0)}},
		Actions: []ems.Action{{Type: ems.ActionControl, Params: map[string]any{"target": "comsrv:1:A:1", "value": 1}}},
	}
	back := follows("d", "unused", "x")
	back.Conditions[0].Source = "modsrv:m:setpoint"
	point := control
	point.ID, point.Conditions = "e", []ems.Condition{{Source: "comsrv:1:A:1", Operator: "<", Value: ems.Number(0)}}
	for _, test := range []struct {
		rule ems.Rule
		want string
	}{
		{follows("a", "x", "y"), ""},
		{follows("b", "y", "z"), ""},
		{follows("b2", "y", "x"), "b2 -> a -> b2"},
		{follows("self", "q", "q"), "self -> self"},
		{control, ""},
		{back, "d -> a -> b -> c -> d"}, // over what the command changes, and the model that shows it
		{point, "e -> e"},
	} {
		err := b.UpsertRule(b.ctx, test.rule)
		if test.want == "" && err != nil || test.want != "" && (ems.CodeOf(err) != ems.CodeConflict || !strings.HasSuffix(err.Error(), ": "+test.want)) {
			t.Errorf("%s: %v, want %q", test.rule.ID, err, test.want)
		}
	}
	// What would be a loop with the rule as it was is none with the rule as it is.
	if err := b.UpsertRule(b.ctx, follows("a", "x", "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := b.UpsertRule(b.ctx, follows("b2", "y", "x")); err != nil {
		t.Error(err)
	}
}

// A chain is stopped at its eighth step, with an alarm, and what it did stays.
func TestALongChainIsStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for i := range 12 {
		if err := b.UpsertRule(b.ctx, follows(fmt.Sprintf("r%02d", i), fmt.Sprintf("v%02d", i), fmt.Sprintf("v%02d", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := b.SetCustomValue(b.ctx, "v00", 1)
	if err != nil || changed != 1 {
		t.Errorf("%d rules changed, %v", changed, err)
	}
	values, err := b.CustomValues(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for i := range 9 {
		want[fmt.Sprintf("v%02d", i)] = 1
	}
	expect(t, "the values", values, want)
	alarm, err := b.Alarm(b.ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the alarm", []string{alarm.Source, alarm.Rule, string(alarm.Level), alarm.Description}, []string{
		"custom:v08", "rule_cascade", "Major", "Setting v08 was the 8th step of one chain: the rules that watch it were not evaluated",
	})
}

// A rule on a name of a model follows the mapping, and one on a computed value
// all inputs of it.
func TestAModelSourceFollowsItsMapping(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	model := ems.Model{
		ID: "m", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"power": "T:1", "loss": "T:2"}},
		Computed: []ems.ComputedField{{Name: "net", Function: "difference", Of: []string{"power", "loss"}}},
	}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"data": "modsrv:m:power", "net": "modsrv:m:net", "none": "modsrv:m:later", "nobody": "modsrv:x:y"} {
		rule := ems.Rule{ID: name, Conditions: []ems.Condition{{Source: source, Operator: ">", Value: ems.Number(10)}}}
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
	}
	states := func() string {
		texts := []string{}
		for _, id := range []string{"data", "net", "none", "nobody"} {
			texts = append(texts, string(b.status(t, id)))
		}
		return strings.Join(texts, " ")
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 12})
	expect(t, "power", states(), "active idle idle idle")
	b.ingest(t, 1, rtdb.Sample{Point: 2, Number: 1})
	expect(t, "both inputs", states(), "active active idle idle")
	b.ingest(t, 1, rtdb.Sample{Point: 2, Number: 3})
	expect(t, "more loss", states(), "active idle idle idle")

	model.Mapping.Data = map[string]ems.ModelPoint{"power": "comsrv:2:T:7", "loss": "T:2", "later": "T:1"}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 9})
	expect(t, "the old point", states(), "active idle idle idle")
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 11})
	expect(t, "the new name", states(), "active idle active idle")
	b.ingest(t, 2, rtdb.Sample{Point: 7, Number: 2})
	expect(t, "the new point", states(), "idle idle active idle")
	b.ingest(t, 2, rtdb.Sample{Point: 7, Number: 20})
	expect(t, "the new point", states(), "active active active idle")
	if err := b.DeleteModel(b.ctx, "m"); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 2, rtdb.Sample{Point: 7, Number: 1})
	expect(t, "without the model they stay as they were", states(), "active active active idle")
}

// What is behind a name may hold already when the models change: no value need come.
func TestRulesOfModelsAreLookedAtWhenModelsChange(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	model := ems.Model{ID: "m", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"power": "T:1"}}}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"r1", "r2", "r3"} {
		rule := ems.Rule{ID: id, Conditions: []ems.Condition{{Source: "modsrv:m:power", Operator: ">", Value: ems.Number(5)}}}
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 1}, rtdb.Sample{Point: 2, Number: 6})
	var ticks []rtdb.Tick
	tick := func() {
		got, err := b.TickRules(b.ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		ticks = append(ticks, got)
	}
	tick()
	tick()
	tick()
	model.Mapping.Data["power"] = "T:2"
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	tick()
	tick()
	tick()
	expect(t, "the ticks", ticks, []rtdb.Tick{{Evaluated: 2, More: true}, {Evaluated: 1}, {}, {Evaluated: 2, Changed: 2, More: true}, {Evaluated: 1, Changed: 1}, {}})
}

// Every action, on becoming active and on becoming idle.
func TestActions(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	published := b.raw.PSubscribe(b.ctx, "rulesrv:published:*")
	defer published.Close()
	if _, err := published.Receive(b.ctx); err != nil {
		t.Fatal(err)
	}
	action := func(kind, when string, params map[string]any) ems.Action {
		return ems.Action{Type: kind, When: when, Params: params}
	}
	other := hot()
	other.ID, other.Actions = "other", other.Actions[:1]
	rule := hot()
	rule.ID = "r"
	rule.Actions = []ems.Action{
		action(ems.ActionResolveAlarm, "active", map[string]any{"rule": "other"}),
		action(ems.ActionControl, "", map[string]any{"target": "comsrv:1001:A:2", "value": 2, "deadline": "1m"}),
		action(ems.ActionControl, "idle", map[string]any{"target": "comsrv:1001:C:1", "value": 0}),
		action(ems.ActionPublish, "idle", map[string]any{"channel": "screens", "message": "over"}),
		action(ems.ActionSetValue, "active", map[string]any{"name": "hot", "value": 1.5}),
		action(ems.ActionSetValue, "idle", map[string]any{"name": "hot", "value": -1}),
		action(ems.ActionNotify, "idle", map[string]any{"message": "cool"}),
	}
	for _, one := range []ems.Rule{other, rule} {
		if err := b.UpsertRule(b.ctx, one); err != nil {
			t.Fatal(err)
		}
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60}) // "other" acts first: its id is
	alarm, err := b.Alarm(b.ctx, "1")
	if err != nil || alarm.State != ems.ClearedUnacknowledged {
		t.Errorf("the alarm of the other rule: %+v, %v", alarm, err)
	}
	expect(t, "the value", b.show(t, "rulesrv:custom"), "hot=1.500000")
	b.clock.Advance(time.Second)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 50})
	expect(t, "the value", b.show(t, "rulesrv:custom"), "hot=-1.000000")
	expect(t, "the commands", b.show(t, "comsrv:1001:commands"),
		"deadline=1782000060000 id=rule-r-2-1782000000000 issued=1782000000000 origin=rule:r point=2 type=A value=2.000000\n"+
			"deadline=1782000006000 id=rule-r-3-1782000001000 issued=1782000001000 origin=rule:r point=1 type=C value=0.000000")
	expect(t, "the notification", b.show(t, "rulesrv:actions"), "message=cool rule=r time=1782000001000 to= type=notify")
	message, err := published.ReceiveMessage(b.ctx)
	if err != nil || message.Channel != "rulesrv:published:screens" || message.Payload != "over" {
		t.Errorf("published: %+v, %v", message, err)
	}
	done, err := b.TriggerRule(b.ctx, "r", "Ann")
	if err != nil || done != 3 {
		t.Errorf("%d actions by hand, %v", done, err)
	}
	expect(t, "by hand", b.status(t, "r"), ems.RuleIdle)
	events, err := b.RuleEvents(b.ctx, "", 100)
	if err != nil || len(events) != 5 {
		t.Fatalf("%+v, %v", events, err)
	}
	last := events[4]
	last.Entry = ""
	seen := 50.0
	expect(t, "the event", last, rtdb.RuleEvent{Rule: "r", To: rtdb.Triggered, Time: b.clock.Now(), By: "Ann", Values: rtdb.SeenValues{"comsrv:1001:T:1": &seen}})
}

// Of the rules that one change sets off the highest priority acts first, and of equal
// ones the lowest id; so it is where they are evaluated together.
func TestPriority(t *testing.T) {
	t.Parallel()
	for name, setOff := range map[string]func(b *bench) error{
		"ingest": func(b *bench) error {
			return b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: b.clock.Now(), Samples: []rtdb.Sample{{Point: 1, Number: 60}}})
		},
		"together": func(b *bench) error {
			if err := b.raw.HSet(b.ctx, "comsrv:1001:T", "1", "60.000000").Err(); err != nil { // no rule has seen it
				return err
			}
			states, err := b.EvaluateRules(b.ctx, []string{"a", "nobody", "d", "off", "e", "c", "b", "cold"})
			expect(t, "the states, as asked", fmt.Sprint(states), "[active missing active disabled idle active active idle]")
			return err
		},
	} {
		b := newBench(t, "")
		b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 55})
		off := false
		edge := []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ems.Changed}, {Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(55)}}
		cold := []ems.Condition{{Source: "comsrv:1001:T:1", Operator: "<", Value: ems.Number(55)}}
		var rules []ems.Rule
		for _, r := range []struct {
			id       string
			priority int
			enabled  *bool
			of       []ems.Condition
		}{{"a", 0, nil, hot().Conditions}, {"b", 500, nil, hot().Conditions}, {"c", 1000, nil, hot().Conditions}, {"d", 500, nil, hot().Conditions},
			{"e", 700, nil, edge}, {"off", 900, &off, hot().Conditions}, {"cold", 800, nil, cold}} {
			rules = append(rules, ems.Rule{ID: r.id, Name: r.id, Priority: r.priority, Enabled: r.enabled, Conditions: r.of})
		}
		refusals, err := b.UpsertRules(b.ctx, rules)
		if err != nil {
			t.Fatal(refusals, err)
		}
		if err := setOff(b); err != nil {
			t.Fatal(err)
		}
		events, err := b.RuleEvents(b.ctx, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		order := ""
		for _, event := range events {
			order += event.Rule
		}
		expect(t, "the order, "+name, order, "ceebda") // e is idle again at once
	}
}

// A rule that there is not stops none of the others.
func TestManyRulesAreEvaluatedInOneStep(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	off, one := false, hot()
	one.ID, one.Actions = "one", nil
	two := one
	two.ID, two.Enabled = "two", &off
	refusals, err := b.UpsertRules(b.ctx, []ems.Rule{one, {ID: "bad"}, two})
	if err != nil || len(refusals) != 3 || refusals[0] != nil || refusals[2] != nil || ems.CodeOf(refusals[1]) != ems.CodeInvalid {
		t.Fatalf("%v, %v", refusals, err)
	}
	states, err := b.EvaluateRules(b.ctx, []string{"two", "nobody", "one", "bad", "one"})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the states", states, []ems.RuleStatus{ems.RuleDisabled, ems.RuleMissing, ems.RuleActive, ems.RuleMissing, ems.RuleActive})
}

func TestResetForgetsTheLastFiring(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rule := hot()
	rule.Actions, rule.Cooldown = nil, "1h"
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 50})
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	expect(t, "within the cooldown", b.status(t, "hot"), ems.RuleIdle)
	if status, err := b.ResetRule(b.ctx, "hot", ""); err != nil || status != ems.RuleActive {
		t.Errorf("%s, %v", status, err)
	}
}

// So many rules may stand that they are not read in one go.
func TestManyRulesStandAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var rules []ems.Rule
	for i := range 120 {
		rule := hot()
		rule.ID, rule.Actions = fmt.Sprintf("r%03d", i), nil
		rules = append(rules, rule)
	}
	b.storeRules(t, rules)
	for _, value := range []float64{60, 61, 50, 49, 60, 50} {
		b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: value})
	}
	events, err := b.RuleEvents(b.ctx, "", 1000)
	if err != nil || len(events) != 4*len(rules) {
		t.Errorf("%d events, %v", len(events), err)
	}
	if left := b.raw.HLen(b.ctx, "rulesrv:standing").Val(); left != 0 {
		t.Errorf("%d rules stand", left)
	}
}

// An id that leads to no rule, wherever it stands, stops none of the others.
func TestAnIDWithoutItsRuleStopsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	model := ems.Model{ID: "m", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"a": "T:1"}}}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	point := ems.Rule{ID: "point", Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(5)}}}
	ofModel := ems.Rule{ID: "model", Conditions: []ems.Condition{{Source: "modsrv:m:a", Operator: ">", Value: ems.Number(5)}}}
	for _, rule := range []ems.Rule{point, ofModel, follows("custom", "x", "y"), {ID: "late", OnDelay: "1s", Conditions: point.Conditions}} {
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]any{
		{"HSET", "rulesrv:index:1:T", "1", "gone1 point gone2 late"}, {"HSET", "rulesrv:index:modsrv", "m:a", "gone3 model"},
		{"HSET", "rulesrv:index:custom", "x", "gone4 custom"}, {"ZADD", "rulesrv:due", "1", "gone5"}, {"ZADD", "rulesrv:rules", "0", "gone6"},
		{"HSET", "rulesrv:standing", "gone7", "active 1"}, {"SET", "rulesrv:version", "another"},
	} {
		if err := b.raw.Do(b.ctx, command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 6})
	if changed, err := b.SetCustomValue(b.ctx, "x", 1); err != nil || changed != 1 {
		t.Errorf("a custom value: %d, %v", changed, err)
	}
	b.clock.Advance(time.Second)
	b.ingest(t, 1, rtdb.Sample{Point: 2, Number: 0})
	if _, err := b.TickRules(b.ctx, 10); err != nil {
		t.Error(err)
	}
	ids := []string{"gone8", "point", "model", "gone9", "custom", "late"}
	states, err := b.EvaluateRules(b.ctx, ids)
	if want := "[missing active active missing active active]"; err != nil || fmt.Sprint(states) != want {
		t.Errorf("%v, %v; want %s", states, err, want)
	}
	listed, err := b.Rules(b.ctx, "", 4)
	if err != nil || len(listed) != 4 {
		t.Errorf("%d rules are listed, %v", len(listed), err)
	}
	if err := b.UpsertRule(b.ctx, follows("circle", "y", "z")); err != nil {
		t.Errorf("one more: %v", err)
	}
}
