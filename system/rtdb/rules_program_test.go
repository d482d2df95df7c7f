package rtdb_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// drawCondition draws a comparison, or a group of them down to a depth, over the
// points 1 to 5 of a channel, three names of a model of theirs of which one is
// computed and one unknown, and two custom values of which one is unknown.
func drawCondition(t *rapid.T, channel ems.ChannelID, depth int) ems.Condition {
	source := func(name string) string {
		switch place := rapid.IntRange(1, 12).Draw(t, name); place {
		case 6, 7, 8:
			return fmt.Sprintf("modsrv:m%d:%s", channel, []string{"first", "sum", "gone"}[place-6])
		case 9, 10:
			return "custom:" + []string{"set", "unset"}[place-9]
		default:
			return fmt.Sprintf("comsrv:%d:T:%d", channel, (place-1)%5+1)
		}
	}
	number := rapid.SampledFrom([]float64{-1e300, -2, -0.1, 0, 0.1, 1, 2.000001, 1e300})
	if depth > 0 && rapid.Bool().Draw(t, "group") {
		group := ems.Condition{Logic: rapid.SampledFrom([]ems.Logic{"", ems.All, ems.Any, ems.None}).Draw(t, "logic")}
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			group.Conditions = append(group.Conditions, drawCondition(t, channel, depth-1))
		}
		return group
	}
	condition := ems.Condition{Source: source("source"), Operator: rapid.SampledFrom(
		[]string{">", ">=", "<", "<=", "==", "!=", ems.Between, ems.In}).Draw(t, "operator")}
	if rapid.IntRange(0, 3).Draw(t, "minus") == 0 {
		condition.Minus = source("other")
	}
	switch {
	case condition.Operator == ems.Between:
		least, most := number.Draw(t, "least"), number.Draw(t, "most")
		condition.Value = ems.Numbers(min(least, most), max(least, most))
	case condition.Operator == ems.In:
		condition.Value = ems.Numbers(rapid.SliceOfN(number, 1, 3).Draw(t, "list")...)
	case rapid.IntRange(0, 3).Draw(t, "compare") == 0:
		condition.CompareTo = source("right")
	default:
		condition.Value = ems.Number(number.Draw(t, "value"))
	}
	return condition
}

// drawSamples draws what a poll brought of the five points, and of it what is good.
func drawSamples(t *rapid.T) (all, good []rtdb.Sample) {
	for point := range 5 {
		sample := rtdb.Sample{Point: ems.PointID(point + 1), Number: rapid.SampledFrom([]float64{-3, -2, -0.1, 0, 0.1, 1, 2.000001, 3}).Draw(t, "number")}
		switch rapid.IntRange(0, 7).Draw(t, "quality") {
		case 0: // never read
		case 1:
			sample.Quality = ems.Bad
			all = append(all, sample)
		default:
			all, good = append(all, sample), append(good, sample)
		}
	}
	return all, good
}

// storeSumModel stores a model of the points 1 and 2 of a channel.
func (b *bench) storeSumModel(t *rapid.T, channel ems.ChannelID) {
	if channel == 1 {
		sum := ems.Template{ID: "sums", Name: "sums", Data: []ems.TemplateField{{Name: "first"}, {Name: "second"}},
			Computed: []ems.ComputedField{{Name: "sum", Function: "sum", Of: []string{"first", "second"}}}}
		if err := b.UpsertTemplate(b.ctx, sum); err != nil {
			t.Fatal(err)
		}
		if _, err := b.SetCustomValue(b.ctx, "set", 0.1); err != nil {
			t.Fatal(err)
		}
	}
	model := ems.Model{ID: fmt.Sprint("m", channel), Template: "sums", Mapping: ems.ModelMapping{
		Channel: channel, Data: map[string]ems.ModelPoint{"first": "T:1", "second": "T:2"}}}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
}

// A rule at rest is decided by code made of its conditions, where ingest and the
// evaluation of batches look at it, and by its conditions everywhere else: both say
// the same, whatever is unknown.
func TestProgramsDecideAsConditionsDo(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	channel, rules, holding := ems.ChannelID(0), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		channel++
		b.storeSumModel(t, channel)
		samples, good := drawSamples(t)
		batch := rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: b.clock.Now(), Samples: samples}
		if err := b.Ingest(b.ctx, batch); err != nil {
			t.Fatal(err)
		}
		batch.Samples = good
		for range 10 {
			rules++
			rule := ems.Rule{
				ID: fmt.Sprintf("r%d", rules), Enabled: new(bool), // it is looked at when it is stored, but for one that is off
				Logic:    rapid.SampledFrom([]ems.Logic{ems.All, ems.Any, ems.None}).Draw(t, "logic"),
				BadInput: rapid.SampledFrom([]ems.BadInput{"", ems.BadInputFalse}).Draw(t, "bad input"),
			}
			for range rapid.IntRange(1, 3).Draw(t, "conditions") {
				rule.Conditions = append(rule.Conditions, drawCondition(t, channel, 2))
			}
			if err := b.UpsertRule(b.ctx, rule); err != nil {
				t.Fatal(err)
			}
			// Switched on behind the library's back: nothing has looked at it yet.
			b.raw.HSet(b.ctx, "rulesrv:rule:"+rule.ID, "enabled", "1")
			b.raw.Set(b.ctx, "rulesrv:version", fmt.Sprint("forced-", rules), 0)
			tried, err := b.TryRule(b.ctx, rule)
			if err != nil {
				t.Fatal(err)
			}
			arrives := slices.ContainsFunc(good, func(sample rtdb.Sample) bool {
				return slices.Contains(rule.Sources(), fmt.Sprintf("comsrv:%d:T:%d", channel, sample.Point)) ||
					sample.Point <= 2 && slices.Contains(rule.Sources(), fmt.Sprintf("modsrv:m%d:sum", channel))
			})
			if !arrives || rapid.Bool().Draw(t, "as a batch") {
				_, err = b.EvaluateRules(b.ctx, []string{rule.ID})
			} else {
				err = b.Ingest(b.ctx, batch)
			}
			if err != nil {
				t.Fatal(err)
			}
			state, err := b.Rule(b.ctx, rule.ID)
			if err != nil || (state.Status == ems.RuleActive) != (tried.Outcome == "true") {
				t.Fatalf("rule %+v is %s (%v), and its conditions are %s", rule, state.Status, err, tried.Outcome)
			}
			if tried.Outcome == "true" {
				holding++
			}
		}
	})
	if holding*10 < rules || holding*10 > rules*9 {
		t.Errorf("%d of %d rules held: the test tells little", holding, rules)
	}
}

// A rule whose model goes away stays a rule, which nobody can decide: it never stands
// in the way of the values, of other rules or of its own end.
func TestRulesOutliveTheirModels(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	template := ems.Template{ID: "pump", Name: "pump", Data: []ems.TemplateField{{Name: "flow"}}}
	if err := b.UpsertTemplate(b.ctx, template); err != nil {
		t.Fatal(err)
	}
	model := ems.Model{ID: "m", Template: "pump", Mapping: ems.ModelMapping{Channel: 2, Data: map[string]ems.ModelPoint{"flow": "T:1"}}}
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	point, flow := "comsrv:1:T:1", "modsrv:m:flow"
	for id, condition := range map[string]ems.Condition{
		"left": {Source: flow, Operator: ">", CompareTo: point}, "right": {Source: point, Operator: ">", CompareTo: flow},
		"minus": {Source: point, Minus: flow, Operator: ">", Value: ems.Number(5)}, "other": {Source: point, Operator: ">", Value: ems.Number(5)},
	} {
		if err := b.UpsertRule(b.ctx, ems.Rule{ID: id, Conditions: []ems.Condition{condition}}); err != nil {
			t.Fatal(id, err)
		}
	}
	b.ingest(t, 2, rtdb.Sample{Point: 1, Number: 1})
	if err := b.DeleteModel(b.ctx, "m"); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 100})
	states := func() string {
		return fmt.Sprint(b.status(t, "left"), b.status(t, "right"), b.status(t, "minus"), b.status(t, "other"))
	}
	expect(t, "without the model", states(), "idleidleidleactive")
	if err := b.UpsertModel(b.ctx, model); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1, rtdb.Sample{Point: 1, Number: 101})
	expect(t, "with the model again", states(), "idleactiveactiveactive")
	if err := b.DeleteModel(b.ctx, "m"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"left", "right", "minus", "other"} {
		if err := b.DeleteRule(b.ctx, id, ""); err != nil {
			t.Error(id, err)
		}
	}
}
