package rtdb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Each operator at, beside and far from its limit, one value after another; then
// the same with a hysteresis of 2, which beside an operator without a bound is that
// of another condition.
func TestOperators(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	values := []float64{10, 10.000001, 9.999999, 12, 12.000001, 8, 7.999999, 13, 7, 20, -10}
	for i, test := range []struct {
		operator string
		value    *ems.Operand
		plain    string // + where the rule is active after the value
		band     string
	}{
		{">", ems.Number(10), "-+-++--+-+-", "-++++--+-+-"},
		{">=", ems.Number(10), "++-++--+-+-", "++++++-+-+-"},
		{"<", ems.Number(10), "--+--++-+-+", "--+--++-+-+"},
		{"<=", ems.Number(10), "+-+--++-+-+", "++++-++-+-+"},
		{"==", ems.Number(10), "+----------", "+----------"},
		{"!=", ems.Number(10), "-++++++++++", "-++++++++++"},
		{ems.Between, ems.Numbers(8, 10), "+-+--+-----", "++++-++----"},
		{ems.In, ems.Numbers(8, 12, 20), "---+-+---+-", "---+-+---+-"},
		{ems.In, ems.Numbers(-10), "----------+", "----------+"},
	} {
		channel := ems.ChannelID(i + 1)
		for id, hysteresis := range map[string]float64{"plain": 0, "band": 2} {
			rule := ems.Rule{ID: fmt.Sprint(id, i), Hysteresis: hysteresis, Conditions: []ems.Condition{
				{Source: fmt.Sprintf("comsrv:%d:T:1", channel), Operator: test.operator, Value: test.value},
				{Source: fmt.Sprintf("comsrv:%d:T:1", channel), Operator: ">", Value: ems.Number(-100)},
			}}
			if err := b.UpsertRule(b.ctx, rule); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]string{}
		for _, value := range values {
			b.ingest(t, channel, rtdb.Sample{Point: 1, Number: value})
			for _, id := range []string{"plain", "band"} {
				mark := "-"
				if b.status(t, fmt.Sprint(id, i)) == ems.RuleActive {
					mark = "+"
				}
				got[id] += mark
			}
		}
		if got["plain"] != test.plain || got["band"] != test.band {
			t.Errorf("%s %v: %s and %s, want %s and %s", test.operator, test.value, got["plain"], got["band"], test.plain, test.band)
		}
	}
}

// Within NOT a value comes back to where the comparison holds, and a NOT within a NOT
// turns that round again.
func TestHysteresisWithinNot(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	above := []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">=", Value: ems.Number(10)}}
	not := func(conditions []ems.Condition) []ems.Condition {
		return []ems.Condition{{Logic: ems.None, Conditions: conditions}}
	}
	rules := []ems.Rule{{ID: "not", Logic: ems.None, Conditions: above}, {ID: "within", Conditions: not(above)}, {ID: "twice", Logic: ems.None, Conditions: not(above)}}
	got := make([]string, len(rules))
	for i := range rules {
		rules[i].Hysteresis = 2
		if err := b.UpsertRule(b.ctx, rules[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []float64{10, 9.9, 9, 10, 11.9, 9.5, 12, 11, 9.9, 8, 7.9} {
		b.ingest(t, 1, rtdb.Sample{Point: 1, Number: value})
		for i := range rules {
			mark := "-"
			if b.status(t, rules[i].ID) == ems.RuleActive {
				mark = "+"
			}
			got[i] += mark
		}
	}
	expect(t, "where they are active", got, []string{"-+++++--+++", "-+++++--+++", "++++++++++-"})
}

// truth is the three-valued logic of groups: false, unknown, true.
func truth(logic ems.Logic, parts []string) string {
	switch {
	case logic == ems.Any && slices.Contains(parts, "true"):
		return "true"
	case logic == ems.All && slices.Contains(parts, "false"), logic == ems.None && slices.Contains(parts, "true"):
		return "false"
	case slices.Contains(parts, "unknown"):
		return "unknown"
	case logic == ems.Any:
		return "false"
	default:
		return "true"
	}
}

// Every logic of two inputs, and every logic within every logic, over all
// combinations of true, false and unknown.
func TestGroupsAreThreeValued(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for name, value := range map[string]float64{"true": 1, "false": 0} { // nobody sets "unknown"
		if _, err := b.SetCustomValue(b.ctx, name, value); err != nil {
			t.Fatal(err)
		}
	}
	words, logics := []string{"true", "false", "unknown"}, []ems.Logic{ems.All, ems.Any, ems.None}
	is := func(word string) ems.Condition {
		return ems.Condition{Source: "custom:" + word, Operator: "==", Value: ems.Number(1)}
	}
	try := func(what, want string, logic ems.Logic, bad ems.BadInput, conditions ...ems.Condition) {
		got, err := b.TryRule(b.ctx, ems.Rule{ID: "r", Logic: logic, Conditions: conditions, BadInput: bad})
		if err != nil || got.Outcome != want {
			t.Errorf("%s is %s (%v), want %s", what, got.Outcome, err, want)
		}
	}
	known := func(word string) string { return strings.ReplaceAll(word, "unknown", "false") }
	for _, outer := range logics {
		for _, x := range words {
			for _, y := range words {
				try(fmt.Sprintf("%s(%s, %s)", outer, x, y), truth(outer, []string{x, y}), outer, "", is(x), is(y))
				for _, inner := range logics {
					for _, z := range words {
						group := ems.Condition{Logic: inner, Conditions: []ems.Condition{is(y), is(z)}}
						what := fmt.Sprintf("%s(%s, %s(%s, %s))", outer, x, inner, y, z)
						try(what, truth(outer, []string{x, truth(inner, []string{y, z})}), outer, "", is(x), group)
						try(what+" with bad_input false", truth(outer, []string{known(x), truth(inner, []string{known(y), known(z)})}),
							outer, ems.BadInputFalse, is(x), group)
					}
				}
			}
		}
	}
	expect(t, "what was written", b.dump(t), map[string]string{"rulesrv:custom": "false=0.000000 true=1.000000"})
}

// The left side as the difference of two points, and the right side as a point.
func TestPointsAreComparedWithPoints(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for _, rule := range []ems.Rule{
		{ID: "apart", Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Minus: "comsrv:1:T:2", Operator: ">", Value: ems.Number(5)}}},
		{ID: "above", Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Operator: ">", CompareTo: "comsrv:1:T:2"}}},
	} {
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
	}
	states := func() string { return fmt.Sprint(b.status(t, "apart"), " ", b.status(t, "above")) }
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 20})
	expect(t, "the other is not known", states(), "idle idle")
	b.ingest(t, 1, rtdb.Sample{Point: 2, Number: 15})
	expect(t, "5 apart", states(), "idle active")
	b.ingest(t, 1, rtdb.Sample{Point: 2, Number: 14.999999})
	expect(t, "more than 5 apart", states(), "active active")
	b.ingest(t, 1, rtdb.Sample{Point: 2, Number: 20})
	expect(t, "the same", states(), "idle idle")
	firings, err := b.RuleFirings(b.ctx, "apart", 5)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the values seen", firings, []rtdb.Firing{{Time: start, Values: rtdb.SeenValues{"comsrv:1:T:1": number(20), "comsrv:1:T:2": number(14.999999)}}})
}

// A mean is that over time, not over samples, and needs a whole window; a rate is
// per second, over the window to within a thirtieth of it.
func TestWindows(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for _, rule := range []ems.Rule{
		{ID: "mean", Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Function: ems.FunctionMean, Window: "60s", Operator: ">", Value: ems.Number(50)}}},
		{ID: "rate", Conditions: []ems.Condition{{Source: "comsrv:1:T:1", Function: ems.FunctionRate, Window: "10s", Operator: ">=", Value: ems.Number(2)}}},
	} {
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	second := func(from, till int, value func(second int) float64) {
		for at := from; at < till; at++ {
			b.ingest(t, 1, rtdb.Sample{Point: 1, Number: value(at)})
			b.clock.Advance(time.Second)
		}
	}
	second(0, 120, func(int) float64 { return 20 })
	second(120, 300, func(int) float64 { return 80 })          // half of a minute of this makes 50
	second(300, 400, func(at int) float64 { return 80 - 1.9 }) // one step is no slope that lasts
	second(400, 430, func(at int) float64 { return 100 + 2*float64(at-400) })
	events, err := b.RuleEvents(b.ctx, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		got = append(got, fmt.Sprintf("%s %s %d", event.Rule, event.To, event.Time.Sub(start)/time.Second))
	}
	expect(t, "the events", got, []string{"rate active 120", "rate idle 131", "mean active 151", "rate active 400"})
	memory := b.raw.HStrLen(b.ctx, "rulesrv:memory", "mean").Val()
	if memory > 1200 {
		t.Errorf("a window is remembered in %d bytes", memory)
	}
}
