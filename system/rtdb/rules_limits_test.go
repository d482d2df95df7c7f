package rtdb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// alarmStates returns "rule source state" of all alarms, the newest first.
func (b *bench) alarmStates(t *testing.T) []string {
	t.Helper()
	alarms, _, err := b.AlarmPage(b.ctx, rtdb.AlarmFilter{Count: 100})
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, alarm := range alarms {
		list = append(list, alarm.Rule+" "+alarm.Source+" "+string(alarm.State))
	}
	return list
}

// A model is mapped to what the rule controls after the rule was stored, so that
// the rule sets off itself over the device. It is held back, and an alarm says so,
// until it is quiet for a while.
func TestARuleThatSetsOffItselfOverTheDeviceIsHeldBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	set := func(when string, value float64) ems.Action {
		return ems.Action{Type: ems.ActionControl, When: when, Params: map[string]any{"target": "comsrv:1:A:1", "value": value}}
	}
	rule := ems.Rule{
		ID: "loop", Conditions: []ems.Condition{{Source: "modsrv:m:limit", Operator: ">", Value: ems.Number(10)}},
		Actions: []ems.Action{set("active", 0), set("idle", 20)},
	}
	model := ems.Model{ID: "m", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"limit": "A:1"}}}
	for _, err := range []error{b.UpsertRule(b.ctx, rule), b.UpsertModel(b.ctx, model)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	commands := func() int64 { return b.raw.XLen(b.ctx, "comsrv:1:commands").Val() }
	turn := func(value float64) {
		b.clock.Advance(time.Second)
		err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1, Type: ems.Adjustment, Time: b.clock.Now(), Samples: []rtdb.Sample{{Point: 1, Number: value}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 25 { // 50 seconds
		turn(20)
		turn(0)
	}
	// 19 times on and off; at the 20th it is held back, and so it stays.
	expect(t, "commands", commands(), int64(38))
	expect(t, "alarms", b.alarmStates(t), []string{"rule_cascade rulesrv:loop:control active_unacknowledged"})
	b.clock.Advance(time.Minute)
	turn(20)
	expect(t, "commands after a quiet minute", commands(), int64(39))
	if err := b.EnableRule(b.ctx, "loop", false, "Ann"); err != nil {
		t.Fatal(err)
	}
	expect(t, "alarms once it is disabled", b.alarmStates(t), []string{"rule_cascade rulesrv:loop:control cleared_unacknowledged"})
}

// The alarm that is resolved is about what the other rule watches first.
func TestARuleResolvesTheAlarmOfAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	calm := ems.Rule{
		ID: "calm", Conditions: []ems.Condition{{Source: "custom:calm", Operator: ">", Value: ems.Number(0)}},
		Actions: []ems.Action{
			{Type: ems.ActionResolveAlarm, Params: map[string]any{"rule": "hot"}},
			{Type: ems.ActionResolveAlarm, Params: map[string]any{"rule": "nobody"}},
		},
	}
	for _, err := range []error{b.UpsertRule(b.ctx, hot()), b.UpsertRule(b.ctx, calm)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	expect(t, "hot", b.alarmStates(t), []string{"hot comsrv:1001:T:1 active_unacknowledged"})
	if _, err := b.SetCustomValue(b.ctx, "calm", 1); err != nil {
		t.Fatal(err)
	}
	expect(t, "calm", b.alarmStates(t), []string{"hot comsrv:1001:T:1 cleared_unacknowledged"})
}

// Carried out by hand, a rule raises an alarm of a moment, as nothing else would
// clear it; one that is active keeps its alarm.
func TestAnAlarmRaisedByHandDoesNotStandForEver(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rule := hot()
	rule.Actions = []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Major", "title": "Too hot"}}}
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct{ value, want string }{
		{"", "cleared_unacknowledged"}, {"60", "active_unacknowledged"}, {"50", "cleared_unacknowledged"},
	} {
		if test.value != "" {
			b.clock.Advance(time.Second)
			if err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Time: b.clock.Now(), Samples: []rtdb.Sample{{Point: 1, Number: float64(70 - 10*i)}}}); err != nil {
				t.Fatal(err)
			}
		}
		if done, err := b.TriggerRule(b.ctx, "hot", "Ann"); err != nil || done != 1 {
			t.Fatalf("%d, %v", done, err)
		}
		expect(t, "after "+test.value, b.alarmStates(t), []string{"hot comsrv:1001:T:1 " + test.want})
	}
	if err := b.EnableRule(b.ctx, "hot", false, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TriggerRule(b.ctx, "hot", "Ann"); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("a disabled one: %v", err)
	}
}

func TestASourceHasRoomForSoManyRules(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rules := make([]ems.Rule, ems.MaxWatchers+1)
	for i := range rules {
		rules[i] = ems.Rule{ID: fmt.Sprintf("r%04d", i), Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(float64(i))}}}
	}
	refusals, err := b.UpsertRules(b.ctx, rules)
	if err != nil {
		t.Fatal(err)
	}
	for i, refusal := range refusals {
		if i < ems.MaxWatchers && refusal != nil || i == ems.MaxWatchers && ems.CodeOf(refusal) != ems.CodeFull {
			t.Fatalf("rule %d: %v", i, refusal)
		}
	}
	rules[0].Name = "still one of them"
	if err := b.UpsertRule(b.ctx, rules[0]); err != nil {
		t.Errorf("one that is there already: %v", err)
	}
}
