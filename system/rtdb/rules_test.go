package rtdb_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func number(value float64) *float64 { return &value }

func hot() ems.Rule {
	return ems.Rule{
		ID: "hot", Name: "Too hot",
		Conditions: []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(55)}},
		Actions: []ems.Action{
			{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Critical", "title": "Cell temperature high"}},
			{Type: ems.ActionNotify, Params: map[string]any{"message": "call somebody"}},
			{Type: ems.ActionControl, Params: map[string]any{"target": "comsrv:1001:A:2", "value": -1.5}},
		},
	}
}

func (b *bench) ingest(t testing.TB, channel ems.ChannelID, samples ...rtdb.Sample) {
	t.Helper()
	batch := rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: b.clock.Now(), Samples: samples}
	if err := b.Ingest(b.ctx, batch); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) status(t testing.TB, id string) ems.RuleStatus {
	t.Helper()
	state, err := b.Rule(b.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return state.Status
}

func TestTheValueThatTripsARuleAndWhatFollowsAreOneStep(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.UpsertRule(b.ctx, hot()); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 55}) // at the limit is not above it
	expect(t, "at the limit", b.status(t, "hot"), ems.RuleIdle)
	b.clock.Advance(time.Second)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 55.25})
	alarms, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 10})
	if err != nil {
		t.Fatal(err)
	}
	raised := start.Add(time.Second)
	want := ems.Alarm{
		ID: "1", Source: "comsrv:1001:T:1", Rule: "hot", Level: ems.Critical, Title: "Cell temperature high",
		State: ems.ActiveUnacknowledged, Value: number(55.25), Worst: number(55.25), Occurrences: 1, RaisedAt: raised, LastAt: raised,
	}
	expect(t, "the alarm", alarms, []ems.Alarm{want})
	expect(t, "the command", b.show(t, "comsrv:1001:commands"),
		"deadline=1782000006000 id=rule-hot-3-1782000001000 issued=1782000001000 origin=rule:hot point=2 type=A value=-1.500000")
	notices := b.notices(t)
	if len(notices) != 2 {
		t.Fatalf("notifications: %v", notices)
	}
	expect(t, "the alarm is told", notices[0].Notification, ems.Notification{
		Kind: ems.NotifyAlarm, Alarm: "1", Level: ems.Critical, Source: "comsrv:1001:T:1", Rule: "hot", Title: "Cell temperature high",
		Occurrence: 1, Value: number(55.25), Time: raised, Reason: "raise",
	})
	expect(t, "the rule says", notices[1].Notification, ems.Notification{Kind: ems.NotifyRule, Rule: "hot", Message: "call somebody", Time: raised})

	// Edge, not level: hotter still is the same firing.
	b.clock.Advance(time.Second)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 70})
	state, err := b.Rule(b.ctx, "hot")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the state", state, rtdb.RuleState{Rule: hot(), Status: ems.RuleActive, Since: raised, Fired: 1, LastFire: raised})
	b.clock.Advance(time.Second)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 54})
	cleared := b.clock.Now()
	want.State, want.ClearedAt, want.Worst = ems.ClearedUnacknowledged, &cleared, number(70)
	alarm, err := b.Alarm(b.ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the cleared alarm", alarm, want)
	// A return is a new occurrence, which nobody has acknowledged yet either.
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 56})
	active, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 10})
	if err != nil || len(active) != 1 || active[0].ID != "1" || active[0].Occurrences != 2 {
		t.Errorf("after the return: %+v, %v", active, err)
	}
}

func TestInputsThatMayNotBeActedOnChangeNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	both := hot()
	both.Actions = nil
	both.Conditions = append(both.Conditions, ems.Condition{Source: "comsrv:1002:T:9", Operator: "==", Value: ems.Number(1)})
	if err := b.UpsertRule(b.ctx, both); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60}) // the other point was never read
	expect(t, "never read", b.status(t, "hot"), ems.RuleIdle)
	b.ingest(t, 1002, rtdb.Sample{Point: 9, Number: 1, Quality: ems.Uncertain})
	expect(t, "uncertain", b.status(t, "hot"), ems.RuleIdle)
	b.ingest(t, 1002, rtdb.Sample{Point: 9, Number: 1})
	expect(t, "good", b.status(t, "hot"), ems.RuleActive)
	b.ingest(t, 1002, rtdb.Sample{Point: 9, Quality: ems.Bad})
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 61})
	expect(t, "a bad input leaves the rule as it is", b.status(t, "hot"), ems.RuleActive)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 20})
	expect(t, "one false decides an AND", b.status(t, "hot"), ems.RuleIdle)
}

// An unchanged value is not sent again: when its channel can be read again, or is
// good again, the rules that wait for it are looked at all the same, in portions.
func TestWhatCanBeUsedAgainIsLookedAt(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var rules []ems.Rule
	for i := range 7 {
		rules = append(rules, ems.Rule{ID: fmt.Sprintf("r%d", i), Conditions: []ems.Condition{
			{Source: "comsrv:2:T:1", Operator: ">", Value: ems.Number(5)}, {Source: "comsrv:3:T:1", Operator: ">", Value: ems.Number(5)},
		}})
	}
	b.storeRules(t, rules)
	active := func() (count int) {
		for _, rule := range rules {
			if b.status(t, rule.ID) == ems.RuleActive {
				count++
			}
		}
		return count
	}
	tick := func(want rtdb.Tick) {
		t.Helper()
		got, err := b.TickRules(b.ctx, 3)
		if err != nil || got != want {
			t.Errorf("the tick: %+v, %v; want %+v", got, err, want)
		}
	}
	b.ingest(t, 3, rtdb.Sample{Point: 1, Number: 6})
	b.clock.Advance(10001 * time.Millisecond)
	b.ingest(t, 2, rtdb.Sample{Point: 1, Number: 6})
	tick(rtdb.Tick{})
	b.ingest(t, 3)
	expect(t, "before the tick", active(), 0)
	tick(rtdb.Tick{Evaluated: 3, Changed: 3, More: true})
	tick(rtdb.Tick{Evaluated: 3, Changed: 3, More: true})
	tick(rtdb.Tick{Evaluated: 1, Changed: 1})
	expect(t, "after the gap", active(), 7)
	b.clock.Advance(10 * time.Second)
	b.ingest(t, 3) // in time
	tick(rtdb.Tick{})

	for _, quality := range []ems.Quality{ems.Bad, ems.Good} {
		b.ingest(t, 2, rtdb.Sample{Point: 1, Number: 5})
		if err := b.Mark(b.ctx, 3, quality); err != nil {
			t.Fatal(err)
		}
		b.ingest(t, 2, rtdb.Sample{Point: 1, Number: 6})
		expect(t, "while "+quality.String(), active(), map[ems.Quality]int{ems.Bad: 0, ems.Good: 7}[quality])
	}
	b.ingest(t, 2, rtdb.Sample{Point: 1, Number: 5})
	if err := b.Mark(b.ctx, 3, ems.Bad); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 2, rtdb.Sample{Point: 1, Number: 6})
	if err := b.Mark(b.ctx, 3, ems.Good); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TickRules(b.ctx, 1000); err != nil {
		t.Fatal(err)
	}
	expect(t, "good again", active(), 7)
}

// A value that nobody refreshes is stale, and a rule of another channel that
// looks at it must not act on it.
func TestAStaleInputChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	both := hot()
	both.Actions = nil
	both.Conditions = append(both.Conditions, ems.Condition{Source: "comsrv:1002:T:9", Operator: "==", Value: ems.Number(1)})
	if err := b.UpsertRule(b.ctx, both); err != nil {
		t.Fatal(err)
	}
	if err := b.SetStatus(b.ctx, 1002, rtdb.ChannelStatus{Online: true, StaleAfter: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1002, rtdb.Sample{Point: 9, Number: 1})
	b.clock.Advance(2*time.Second + time.Millisecond)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	expect(t, "with a stale input", b.status(t, "hot"), ems.RuleIdle)
	if status, err := b.EvaluateRule(b.ctx, "hot"); err != nil || status != ems.RuleIdle {
		t.Errorf("evaluated with a stale input: %v, %v", status, err)
	}
	b.ingest(t, 1002) // nothing changed, and the group succeeded
	if status, err := b.EvaluateRule(b.ctx, "hot"); err != nil || status != ems.RuleActive {
		t.Errorf("evaluated with a fresh input: %v, %v", status, err)
	}
}

// Rules look at a value of a poll group for as long as that group is fresh, and
// anew when it succeeds after it was not.
func TestRulesKnowHowLongAPollGroupIsFresh(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	both := hot()
	both.Actions = nil
	both.Conditions = append(both.Conditions,
		ems.Condition{Source: "comsrv:1002:T:8", Operator: "==", Value: ems.Number(1)}, ems.Condition{Source: "comsrv:1002:T:9", Operator: "==", Value: ems.Number(1)})
	if err := b.UpsertRule(b.ctx, both); err != nil {
		t.Fatal(err)
	}
	status := rtdb.ChannelStatus{Online: true, StaleAfter: 3 * time.Second, Groups: map[string]rtdb.GroupStatus{
		"fast": {StaleAfter: 300 * time.Millisecond}, "slow": {StaleAfter: time.Hour},
	}}
	if err := b.SetStatus(b.ctx, 1002, status); err != nil {
		t.Fatal(err)
	}
	if err := b.SetStatus(b.ctx, 1001, rtdb.ChannelStatus{Online: true, StaleAfter: time.Hour}); err != nil {
		t.Fatal(err)
	}
	poll := func(group string, samples ...rtdb.Sample) {
		t.Helper()
		if err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1002, Type: ems.Telemetry, Group: group, Time: b.clock.Now(), Samples: samples}); err != nil {
			t.Fatal(err)
		}
	}
	poll("fast", rtdb.Sample{Point: 9, Number: 1})
	poll("slow", rtdb.Sample{Point: 8, Number: 1})
	b.clock.Advance(301 * time.Millisecond)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	expect(t, "with the fast group stale", b.status(t, "hot"), ems.RuleIdle)
	b.clock.Advance(30 * time.Minute)
	poll("fast") // nothing changed
	if _, err := b.TickRules(b.ctx, 10); err != nil {
		t.Fatal(err)
	}
	expect(t, "with both fresh", b.status(t, "hot"), ems.RuleActive)
}

// A rule that comes, or is switched on, while its condition holds must not wait
// for a value to change.
func TestARuleStoredWhileItsConditionHoldsIsActiveAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	rule := hot()
	rule.Actions = rule.Actions[:1]
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	expect(t, "stored", b.status(t, "hot"), ems.RuleActive)
	for _, enabled := range []bool{false, true} {
		if err := b.EnableRule(b.ctx, "hot", enabled, ""); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "switched off and on", b.status(t, "hot"), ems.RuleActive)
	active, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 10})
	if err != nil || len(active) != 1 || active[0].Occurrences != 2 {
		t.Errorf("alarms: %+v, %v", active, err)
	}
	b.clock.Advance(time.Minute) // long enough for the value to be stale
	rule.Name = "changed"
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	expect(t, "stored when the value is stale", b.status(t, "hot"), ems.RuleIdle)
}

func TestAFaultWhileACommandIsQueuedIsNotTakenForAFullQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.UpsertRule(b.ctx, hot()); err != nil {
		t.Fatal(err)
	}
	if err := b.raw.Set(b.ctx, "comsrv:1001:commands", "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 60}}})
	if ems.CodeOf(err) != ems.CodeInternal || !contains(err.Error(), "WRONGTYPE") {
		t.Errorf("got %v", err)
	}
}

func TestARuleThatStaysTheSameKeepsItsState(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.UpsertRule(b.ctx, hot()); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	if err := b.UpsertRule(b.ctx, hot()); err != nil {
		t.Fatal(err)
	}
	expect(t, "stored again", b.status(t, "hot"), ems.RuleActive)
	changed := hot()
	changed.Conditions[0].Value = ems.Number(80)
	if err := b.UpsertRule(b.ctx, changed); err != nil {
		t.Fatal(err)
	}
	expect(t, "changed", b.status(t, "hot"), ems.RuleIdle)
	if active, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 10}); err != nil || len(active) != 0 {
		t.Errorf("the alarm of the rule as it was: %v, %v", active, err)
	}
}

func TestARuleIsDisabledEnabledAndDeletedWithoutTrace(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	plain := hot()
	plain.Actions = plain.Actions[:1]
	if err := b.UpsertRule(b.ctx, plain); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	if err := b.EnableRule(b.ctx, "hot", false, ""); err != nil {
		t.Fatal(err)
	}
	expect(t, "disabled", b.status(t, "hot"), ems.RuleDisabled)
	if active, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 10}); err != nil || len(active) != 0 {
		t.Errorf("the alarm of a disabled rule: %v, %v", active, err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 61})
	if status, err := b.EvaluateRule(b.ctx, "hot"); err != nil || status != ems.RuleDisabled {
		t.Errorf("evaluated while disabled: %v, %v", status, err)
	}
	if err := b.EnableRule(b.ctx, "hot", true, ""); err != nil {
		t.Fatal(err)
	}
	if status, err := b.EvaluateRule(b.ctx, "hot"); err != nil || status != ems.RuleActive {
		t.Errorf("evaluated against the stored values: %v, %v", status, err)
	}
	if err := b.DeleteRule(b.ctx, "hot", ""); err != nil {
		t.Fatal(err)
	}
	for key, content := range b.dump(t) {
		switch key {
		case "rulesrv:rule:hot", "rulesrv:rules", "rulesrv:index:1001:T", "rulesrv:state:hot", "rulesrv:standing", "rulesrv:firings:hot", "alarmsrv:order:active", "alarmsrv:alarms:active":
			t.Errorf("%s is left: %s", key, content)
		}
	}
	for _, err := range []error{b.DeleteRule(b.ctx, "hot", ""), b.EnableRule(b.ctx, "hot", true, "")} {
		if ems.CodeOf(err) != ems.CodeNotFound {
			t.Errorf("a rule that is gone: %v", err)
		}
	}
}

func TestBadRulesAreRefusedWithThePathOfTheFault(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for path, spoil := range map[string]func(*ems.Rule){
		"conditions[0].source":       func(r *ems.Rule) { r.Conditions[0].Source = "comsrv:1:T" },
		"conditions[0].operator":     func(r *ems.Rule) { r.Conditions[0].Operator = "=>" },
		"conditions[0].value":        func(r *ems.Rule) { r.Conditions[0].Value = nil },
		"conditions":                 func(r *ems.Rule) { r.Conditions = nil },
		"logic":                      func(r *ems.Rule) { r.Logic = "XOR" },
		"actions[0].params.title":    func(r *ems.Rule) { r.Actions[0].Params["title"] = "" },
		"Awful":                      func(r *ems.Rule) { r.Actions[0].Params["level"] = "Awful" },
		"actions[1].type":            func(r *ems.Rule) { r.Actions[1].Type = "shout" },
		"actions[2].params.value":    func(r *ems.Rule) { r.Actions[2].Params["value"] = "x" },
		"cannot be written":          func(r *ems.Rule) { r.Actions[2].Params["target"] = "comsrv:1001:T:1" },
		"conditions[0].conditions[0": func(r *ems.Rule) { r.Conditions[0] = ems.Condition{Conditions: []ems.Condition{{Source: "x"}}} },
	} {
		rule := hot()
		spoil(&rule)
		err := b.UpsertRule(b.ctx, rule)
		if ems.CodeOf(err) != ems.CodeInvalid || !contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	expect(t, "keys", b.dump(t), map[string]string{})
}

// storeRules stores rules of which none is refused.
func (b *bench) storeRules(t testing.TB, rules []ems.Rule) {
	t.Helper()
	refusals, err := b.UpsertRules(b.ctx, rules)
	if err != nil || slices.ContainsFunc(refusals, func(refusal error) bool { return refusal != nil }) {
		t.Fatal(refusals, err)
	}
}
