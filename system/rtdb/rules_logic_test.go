package rtdb_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Random nested conditions over random values and qualities, against three-
// valued logic written in Go.
func TestConditionsFollowThreeValuedLogic(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		id, channel := fmt.Sprintf("r%d", run), ems.ChannelID(run)
		rule := ems.Rule{ID: id, Logic: drawLogic(t), Conditions: drawConditions(t, channel, 3)}
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
		status := ems.RuleIdle
		for range 4 {
			values := map[ems.PointID]*float64{}
			batch := rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: b.clock.Now()}
			for point := ems.PointID(1); point <= 4; point++ {
				sample := rtdb.Sample{Point: point, Number: float64(rapid.IntRange(0, 2).Draw(t, "value"))}
				if rapid.IntRange(0, 4).Draw(t, "quality") == 0 {
					sample.Quality = ems.Bad
				} else {
					values[point] = &sample.Number
				}
				batch.Samples = append(batch.Samples, sample)
			}
			if err := b.Ingest(b.ctx, batch); err != nil {
				t.Fatal(err)
			}
			// Undecided leaves the rule as it was; evaluating it by itself, which
			// reads everything from Redis, must agree with what ingest did.
			if outcome := evaluate(rule.Conditions, rule.Logic, values); outcome != nil {
				status = ems.RuleIdle
				if *outcome {
					status = ems.RuleActive
				}
			}
			state, err := b.Rule(b.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.EvaluateRule(b.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if state.Status != status {
				t.Fatalf("%+v with %v is %s after ingest, want %s", rule.Conditions, values, state.Status, status)
			}
			if got != status {
				t.Fatalf("%+v with %v is %s, want %s", rule.Conditions, values, got, status)
			}
		}
	})
}

func drawLogic(t *rapid.T) ems.Logic {
	return rapid.SampledFrom([]ems.Logic{"", ems.All, ems.Any, ems.None}).Draw(t, "logic")
}

func drawConditions(t *rapid.T, channel ems.ChannelID, depth int) []ems.Condition {
	conditions := make([]ems.Condition, rapid.IntRange(1, 3).Draw(t, "conditions"))
	for i := range conditions {
		if depth > 1 && rapid.IntRange(0, 2).Draw(t, "group") == 0 {
			conditions[i] = ems.Condition{Logic: drawLogic(t), Conditions: drawConditions(t, channel, depth-1)}
			continue
		}
		conditions[i] = ems.Condition{
			Source:   fmt.Sprintf("comsrv:%d:T:%d", channel, rapid.IntRange(1, 4).Draw(t, "point")),
			Operator: rapid.SampledFrom(ems.Operators[:6]).Draw(t, "operator"),
			Value:    ems.Number(float64(rapid.IntRange(0, 2).Draw(t, "limit"))),
		}
	}
	return conditions
}

// evaluate returns nil when a missing value decides.
func evaluate(conditions []ems.Condition, logic ems.Logic, values map[ems.PointID]*float64) *bool {
	if logic == ems.None {
		outcome := evaluate(conditions, ems.Any, values)
		if outcome != nil {
			negated := !*outcome
			outcome = &negated
		}
		return outcome
	}
	unknown, anyOf := false, logic == ems.Any
	for _, condition := range conditions {
		var outcome *bool
		if len(condition.Conditions) > 0 {
			outcome = evaluate(condition.Conditions, condition.Logic, values)
		} else if at, err := ems.ParsePointRef(condition.Source); err == nil && values[at.Point] != nil {
			left, right := *values[at.Point], condition.Value.Number
			result := map[string]bool{">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right, "==": left == right, "!=": left != right}[condition.Operator]
			outcome = &result
		}
		if outcome == nil {
			unknown = true
		} else if *outcome == anyOf {
			return &anyOf
		}
	}
	if unknown {
		return nil
	}
	result := !anyOf
	return &result
}
