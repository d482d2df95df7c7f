package rtdb_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// twoConditions is a rule on two points that never fires.
func twoConditions(id string, channel, first, second int) ems.Rule {
	source := func(point int) string { return fmt.Sprintf("comsrv:%d:T:%d", channel, point) }
	return ems.Rule{ID: id, Logic: ems.Any, Conditions: []ems.Condition{
		{Source: source(first), Operator: ">", Value: ems.Number(1e6)},
		{Source: source(second), Operator: "<=", Value: ems.Number(-1e6)},
	}}
}

func (b *bench) storeRules(t testing.TB, rules []ems.Rule) {
	t.Helper()
	refusals, err := b.UpsertRules(b.ctx, rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, refusal := range refusals {
		if refusal != nil {
			t.Fatal(refusal)
		}
	}
}

// serverMicroseconds makes calls and returns the median of what Redis itself
// spent on each: the mean would tell of whatever else the machine does.
func (b *bench) serverMicroseconds(t testing.TB, command string, calls int, run func(i int)) float64 {
	t.Helper()
	if err := b.raw.ConfigResetStat(b.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		run(i)
	}
	text, err := b.raw.Info(b.ctx, "latencystats").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(text, "latency_percentiles_usec_"+command+":p50=")
	number, _, _ := strings.Cut(line, ",")
	median, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatalf("latencystats %q: %v", line, err)
	}
	return median
}

// BenchmarkRulesOfABatch measures 10 changed points of a channel of 1,000, with no
// rule, with 1,000 rules on other channels, with 10,000 of them, and with 1,000
// rules on the channel.
func BenchmarkRulesOfABatch(b *testing.B) {
	const points = 1000
	for _, test := range []struct {
		name         string
		bound, loose int
	}{{"none", 0, 0}, {"1000 loose", 0, 1000}, {"10000 loose", 0, 10_000}, {"1000 bound", 1000, 0}} {
		b.Run(test.name, func(b *testing.B) {
			bed := newBench(b, "")
			var rules []ems.Rule
			for i := range test.bound {
				rules = append(rules, twoConditions(fmt.Sprint("bound", i), 1, i+1, (i+points/2)%points+1))
			}
			for i := range test.loose {
				rules = append(rules, twoConditions(fmt.Sprint("loose", i), 2, i%points+1, (i+1)%points+1))
			}
			bed.storeRules(b, rules)
			ingest := func(first, count int) {
				batch := rtdb.Batch{Channel: 1, Type: ems.Telemetry, Group: "default", Time: bed.clock.Now()}
				for i := range count {
					batch.Samples = append(batch.Samples, rtdb.Sample{Point: ems.PointID((first+i)%points + 1), Number: float64(first%977) + 0.5})
				}
				if err := bed.Ingest(bed.ctx, batch); err != nil {
					b.Fatal(err)
				}
				bed.clock.Advance(time.Millisecond)
			}
			ingest(0, points)
			ingest(0, 10)
			b.ResetTimer()
			b.ReportMetric(bed.serverMicroseconds(b, "fcall", b.N, func(i int) { ingest(i*10, 10) }), "server-us/op")
		})
	}
}

// BenchmarkRuleBatchEvaluate measures 1,000 rules of two conditions in one call, on
// as many points as a channel commonly has, and on as many as there are rules;
// beside it, what it takes to decode each rule alone, without a look at any value.
func BenchmarkRuleBatchEvaluate(b *testing.B) {
	for _, points := range []int{100, 1000} {
		b.Run(fmt.Sprint(points, " points"), func(b *testing.B) { benchmarkBatch(b, points) })
	}
}

func benchmarkBatch(b *testing.B, points int) {
	const count = 1000
	bed := newBench(b, "")
	var rules []ems.Rule
	var ids []string
	batch := rtdb.Batch{Channel: 1, Type: ems.Telemetry, Group: "default", Time: start}
	for i := range count {
		ids = append(ids, fmt.Sprint("r", i))
		rules = append(rules, twoConditions(ids[i], 1, i%points+1, (i+points/2)%points+1))
		if i < points {
			batch.Samples = append(batch.Samples, rtdb.Sample{Point: ems.PointID(i + 1), Number: float64(i)})
		}
	}
	bed.storeRules(b, rules)
	if err := bed.Ingest(bed.ctx, batch); err != nil {
		b.Fatal(err)
	}
	evaluate := func(int) {
		states, err := bed.EvaluateRules(bed.ctx, ids)
		if err != nil || len(states) != count || states[count-1] != ems.RuleIdle {
			b.Fatal(states, err)
		}
	}
	evaluate(0)
	b.ResetTimer()
	b.ReportMetric(bed.serverMicroseconds(b, "fcall", b.N, evaluate), "server-us/op")
	b.StopTimer()
	decode := `for i = 1, #ARGV do cjson.decode(redis.call('HGET', 'rulesrv:rule:' .. ARGV[i], 'config')) end return #ARGV`
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	b.ReportMetric(bed.serverMicroseconds(b, "eval", 50, func(int) {
		if err := bed.raw.Eval(bed.ctx, decode, nil, args...).Err(); err != nil {
			b.Fatal(err)
		}
	}), "decoding-us/op")
}
