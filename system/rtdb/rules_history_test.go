package rtdb_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// script plays lines against real Redis: "12.5 T:1=40 T:2=bad" ingests at second
// 12.5, "12.5 tick" has rule_tick look, "12.5 custom name=3" sets a value. It
// returns every event as "second rule from>to".
func (b *bench) script(t *testing.T, channel ems.ChannelID, lines string) string {
	t.Helper()
	after := b.lastEvent()
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		words := strings.Fields(line)
		second, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		b.clock.Advance(start.Add(time.Duration(second * float64(time.Second))).Sub(b.clock.Now()))
		if err := b.play(channel, words[1:]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	events, err := b.RuleEvents(b.ctx, after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, event := range events {
		told = append(told, fmt.Sprintf("%v %s %s>%s", event.Time.Sub(start).Seconds(), event.Rule, event.From, event.To))
	}
	return strings.Join(told, "\n")
}

func (b *bench) play(channel ems.ChannelID, words []string) error {
	if words[0] == "tick" {
		_, err := b.TickRules(b.ctx, 1000)
		return err
	}
	batch := rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: b.clock.Now()}
	for _, word := range slices.DeleteFunc(words, func(word string) bool { return word == "custom" }) {
		name, text, _ := strings.Cut(word, "=")
		value, err := strconv.ParseFloat(text, 64)
		if words[0] == "custom" || !strings.HasPrefix(name, "T:") {
			if err == nil {
				_, err = b.SetCustomValue(b.ctx, name, value)
			}
			return err
		}
		point, _ := ems.ParsePointID(strings.TrimPrefix(name, "T:"))
		sample := rtdb.Sample{Point: point, Number: value}
		if err != nil {
			sample.Quality = ems.Bad
		}
		batch.Samples = append(batch.Samples, sample)
	}
	return b.Ingest(b.ctx, batch)
}

func TestScriptedHistories(t *testing.T) {
	t.Parallel()
	above := func(limit float64) []ems.Condition {
		return []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(limit)}}
	}
	for _, test := range []struct {
		name   string
		rule   ems.Rule
		script string
		want   string
	}{
		{
			"a delay that ends between values", ems.Rule{Conditions: above(50), OnDelay: "10s"},
			"0 T:1=60\n5 T:1=61\n9.999 tick\n10 T:2=1\n10 tick\n11 T:1=40",
			"0 r idle>pending\n10 r pending>active\n11 r active>idle",
		},
		{
			"a delay that is broken begins anew", ems.Rule{Conditions: above(50), OnDelay: "10s"},
			"0 T:1=60\n9 T:1=40\n9.5 T:1=60\n15 tick\n19 T:2=1\n19.499 tick\n19.5 T:1=60",
			"0 r idle>pending\n9 r pending>idle\n9.5 r idle>pending\n19.5 r pending>active",
		},
		{
			"a delay does not end while nothing is read", ems.Rule{Conditions: above(50), OnDelay: "5s"},
			"0 T:1=60\n3 T:2=1\n6 tick\n8 tick\n8.5 T:2=1\n8.6 tick",
			"0 r idle>pending\n8.6 r pending>active",
		},
		{
			"a chattering value", ems.Rule{Conditions: above(50), Hysteresis: 2, OffDelay: "3s"},
			"0 T:1=51\n1 T:1=49\n2 T:1=48\n3 T:1=51\n4 T:1=47\n6 T:2=0\n7 tick\n8 T:1=47\n8 tick\n9 T:1=51",
			"0 r idle>active\n2 r active>clearing\n3 r clearing>active\n4 r active>clearing\n8 r clearing>idle\n9 r idle>active",
		},
		{
			"a cooldown", ems.Rule{Conditions: above(50), Cooldown: "20s"},
			"0 T:1=60\n1 T:1=40\n2 T:1=60\n15 T:2=1\n19.999 tick\n20 tick\n21 T:1=40\n22 T:1=60\n30 T:1=40\n42 tick\n50 T:1=60",
			"0 r idle>active\n1 r active>idle\n20 r idle>active\n21 r active>idle\n50 r idle>active",
		},
		{
			"a bad input is ignored", ems.Rule{Conditions: above(50)},
			"0 T:1=60\n1 T:1=bad\n2 tick\n20 tick\n21 T:1=60\n22 T:1=40",
			"0 r idle>active\n22 r active>idle",
		},
		{
			"a bad input is false", ems.Rule{Conditions: above(50), BadInput: ems.BadInputFalse},
			"0 T:1=60\n1 T:1=bad\n2 tick\n3 T:1=60\n4 tick\n13 tick\n14 tick",
			"0 r idle>active\n1 r active>idle\n3 r idle>active\n14 r active>idle",
		},
		{
			"a custom value", ems.Rule{Conditions: []ems.Condition{{Source: "custom:mode", Operator: ems.In, Value: ems.Numbers(2, 3)}}},
			"0 custom mode=1\n1 custom mode=3\n2 custom mode=2\n3 custom mode=0",
			"1 r idle>active\n3 r active>idle",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "")
			test.rule.ID = "r"
			if err := b.UpsertRule(b.ctx, test.rule); err != nil {
				t.Fatal(err)
			}
			if got := b.script(t, 1, test.script); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// An edge is a moment: each fires once, whatever comes between, and the rule is idle
// again in the same step; a person finds its alarm cleared. A replay says the same.
func TestAnEdgeIsAPulse(t *testing.T) {
	t.Parallel()
	edge := func(operator string) ems.Condition { return ems.Condition{Source: "comsrv:1:T:1", Operator: operator} }
	enabled := ems.Condition{Source: "comsrv:1:T:2", Operator: ">", Value: ems.Number(0)}
	for _, test := range []struct {
		rule ems.Rule
		want string // the seconds at which it fires
	}{
		{ems.Rule{Conditions: []ems.Condition{edge(ems.Changed)}}, "1 2 3 6 7 9 10"},
		{ems.Rule{Conditions: []ems.Condition{edge(ems.Rising)}}, "1 2 3 7 10"},
		{ems.Rule{Conditions: []ems.Condition{edge(ems.Falling)}}, "6 9"},
		{ems.Rule{Conditions: []ems.Condition{edge(ems.Changed)}, Cooldown: "3s"}, "1 6 9"},
		{ems.Rule{Conditions: []ems.Condition{edge(ems.Changed), enabled}}, "3 9 10"},
		{ems.Rule{Logic: ems.Any, Conditions: []ems.Condition{edge(ems.Rising), {Conditions: []ems.Condition{edge(ems.Falling), enabled}}}}, "1 2 3 7 9 10"},
	} {
		b := newBench(t, "")
		test.rule.ID = "r"
		test.rule.Actions = []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Minor", "title": "edge"}}}
		if err := b.UpsertRule(b.ctx, test.rule); err != nil {
			t.Fatal(err)
		}
		want, fired := "", strings.Fields(test.want)
		for _, second := range fired {
			want += fmt.Sprintf("%[1]s r idle>active\n%[1]s r active>idle\n", second)
		}
		got := b.script(t, 1, "0 T:1=1 T:2=0\n1 T:1=2\n2 T:1=3\n3 T:1=4 T:2=1\n4 T:1=4\n5 T:2=0\n6 T:1=3\n7 T:1=4\n8 T:2=1\n9 T:1=3\n10 T:1=4\n12 tick\n20 tick")
		expect(t, "the events", got, strings.TrimSpace(want))
		alarm, err := b.Alarm(b.ctx, "1")
		if err != nil || alarm.State != ems.ClearedUnacknowledged || int(alarm.Occurrences) != len(fired) {
			t.Errorf("%s: the alarm is %s with %d occurrences, %v", test.want, alarm.State, alarm.Occurrences, err)
		}
		replay, err := b.NewReplay(test.rule, nil)
		if err != nil {
			t.Fatal(err)
		}
		var tried []string
		for second, value := range []string{"1 0", "2", "3", "4 1", "4", "4 0", "3", "4", "4 1", "3", "4"} {
			var values []rtdb.TrialValue
			for point, text := range strings.Fields(value) {
				number, _ := strconv.ParseFloat(text, 64)
				values = append(values, rtdb.TrialValue{Time: start.Add(time.Duration(second) * time.Second), Source: fmt.Sprintf("comsrv:1:T:%d", point+1), Number: &number})
			}
			changes, err := replay.Step(b.ctx, values)
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range changes {
				tried = append(tried, fmt.Sprintf("%v r %s>%s", change.Time.Sub(start).Seconds(), change.From, change.To))
			}
		}
		expect(t, "the replay", strings.Join(tried, "\n"), strings.TrimSpace(want))
	}
}

// The alarm of an input says which, and clears when it can be used again.
func TestBadInputRaisesAnAlarm(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rule := ems.Rule{ID: "r", BadInput: ems.BadInputAlarm, Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(5)}}}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 1})
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	if alarms, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Count: 10}); err != nil || len(alarms) > 0 {
		t.Errorf("with a good input: %v, %v", alarms, err)
	}
	expect(t, "the events", b.script(t, 1, "1 T:1=bad\n2 tick\n10.9 tick"), "")
	if alarms, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Count: 10}); err != nil || len(alarms) > 0 {
		t.Errorf("within the grace time: %v, %v", alarms, err)
	}
	expect(t, "the events", b.script(t, 1, "12 tick"), "")
	alarm, err := b.Alarm(b.ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the alarm", []string{alarm.Rule, alarm.Source, alarm.Description, fmt.Sprint(alarm.State, alarm.Occurrences)},
		[]string{"r", "rulesrv:r:input", "Rule r cannot be judged: comsrv:1:T:1 is bad, stale or unknown", "active_unacknowledged1"})
	expect(t, "the events", b.script(t, 1, "13 T:1=2"), "")
	if alarm, err = b.Alarm(b.ctx, "1"); err != nil || alarm.State != ems.ClearedUnacknowledged {
		t.Errorf("%s, %v", alarm.State, err)
	}
}

// After a restart everything is stale until the first poll: that is no alarm.
func TestARestartRaisesNoAlarmOfInputs(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var rules []ems.Rule
	for i := range 50 {
		rules = append(rules, ems.Rule{ID: fmt.Sprintf("r%02d", i), BadInput: ems.BadInputAlarm, Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(5)}}})
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 1})
	b.storeRules(t, rules)
	b.server.Restart()
	b.clock.Advance(30 * time.Second)
	for range 9 {
		if tick, err := b.TickRules(b.ctx, 1000); err != nil || tick.Evaluated != 50 {
			t.Fatalf("%+v, %v", tick, err)
		}
		b.clock.Advance(time.Second)
	}
	b.ingest(t, 1) // the first poll
	b.clock.Advance(5 * time.Second)
	if _, err := b.TickRules(b.ctx, 1000); err != nil {
		t.Fatal(err)
	}
	if alarms, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Count: 100}); err != nil || len(alarms) > 0 {
		t.Errorf("%d alarms, %v", len(alarms), err)
	}
}

// Windows of a schedule switch a rule on and off within a second of their edge.
func TestSchedules(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rule := ems.Rule{ID: "r", Schedule: &ems.Schedule{}, Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(5)}}}
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	expect(t, "without windows", b.script(t, 1, "0 T:1=6"), "")
	windows := []ems.Window{{From: start.Add(10 * time.Second), Till: start.Add(20 * time.Second)}, {From: start.Add(30 * time.Second), Till: start.Add(40 * time.Second)}}
	if _, err := b.ScheduleRule(b.ctx, "r", windows); err != nil {
		t.Fatal(err)
	}
	expect(t, "the events", b.script(t, 1, "9.999 T:1=6\n10 tick\n19.5 tick\n20 T:1=7\n29 T:1=7\n30 tick\n35 T:1=1\n36 T:1=7\n40 tick\n41 tick"),
		"10 r idle>active\n20 r active>idle\n30 r idle>active\n35 r active>idle\n36 r idle>active\n40 r active>idle")
	if _, err := b.ScheduleRule(b.ctx, "nobody", windows); ems.CodeOf(err) != ems.CodeNotFound {
		t.Error(err)
	}
	_, err := b.ScheduleRule(b.ctx, "r", []ems.Window{{From: start, Till: start}})
	if ems.CodeOf(err) != ems.CodeInvalid {
		t.Error(err)
	}
}

// A replay moves as the rule in service does when rule_tick comes often.
func TestAReplayMovesAsTheRuleDoes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rule := ems.Rule{
		ID: "r", OnDelay: "4s", OffDelay: "2500ms", Cooldown: "15s", Hysteresis: 1,
		Conditions: []ems.Condition{
			{Source: "comsrv:1:T:1", Operator: ">", Value: ems.Number(5)},
			{Source: "comsrv:1:T:1", Minus: "comsrv:1:T:2", Operator: ">", Value: ems.Number(1)},
		},
	}
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	var values []rtdb.TrialValue
	numbers := [2]float64{}
	for second := range 200 {
		at := start.Add(time.Duration(second) * time.Second)
		b.clock.Advance(at.Sub(b.clock.Now()))
		batch := rtdb.Batch{Channel: 1, Type: ems.Telemetry, Group: "default", Time: at}
		for i := range numbers {
			if next := float64(second * (i + 7) / 11 % (8 - i)); next != numbers[i] || second == 0 {
				numbers[i] = next
				value := next
				values = append(values, rtdb.TrialValue{Time: at, Source: fmt.Sprintf("comsrv:1:T:%d", i+1), Number: &value})
				batch.Samples = append(batch.Samples, rtdb.Sample{Point: ems.PointID(i + 1), Number: next})
			}
		}
		if err := b.Ingest(b.ctx, batch); err != nil {
			t.Fatal(err)
		}
		for range 9 {
			b.clock.Advance(100 * time.Millisecond)
			if err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1, Type: ems.Telemetry, Group: "default", Time: b.clock.Now()}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.TickRules(b.ctx, 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	events, err := b.RuleEvents(b.ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	var live []rtdb.TrialChange
	for _, event := range events {
		live = append(live, rtdb.TrialChange{Time: event.Time, From: event.From, To: event.To, Values: event.Values})
	}
	before := b.dump(t)
	replay, err := b.NewReplay(rule, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tried []rtdb.TrialChange
	for part := range slices.Chunk(values, 37) {
		changes, err := replay.Step(b.ctx, part)
		if err != nil {
			t.Fatal(err)
		}
		tried = append(tried, changes...)
	}
	expect(t, "what a replay wrote", b.dump(t), before)
	if len(live) < 20 {
		t.Errorf("only %d changes: %v", len(live), live)
	}
	expect(t, "the changes", tried, live)
}
