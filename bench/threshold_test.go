package bench

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestParseThreshold(t *testing.T) {
	for text, want := range map[string]Threshold{
		"comsrv_ingest_100 p99<1ms":              {Case: "comsrv_ingest_100", Metric: "p99", Operator: "<", Time: time.Millisecond},
		"  ping   max  <  1.5s ":                 {Case: "ping", Metric: "max", Operator: "<", Time: 1500 * time.Millisecond},
		"rule_evaluate p99.9<=250us":             {Case: "rule_evaluate", Metric: "p99.9", Operator: "<=", Time: 250 * time.Microsecond},
		"model_read_50 server <=60\u00b5s":       {Case: "model_read_50", Metric: "server", Operator: "<=", Time: 60 * time.Microsecond},
		"comsrv_ingest_10 p99<1ns":               {Case: "comsrv_ingest_10", Metric: "p99", Operator: "<", Time: 1},
		"comsrv_ingest_10 p99/ping<2.5":          {Case: "comsrv_ingest_10", Metric: "p99", Relation: "/", Base: "ping", Operator: "<", Number: 2.5},
		"comsrv_ingest_10\tp50 <1000000ns":       {Case: "comsrv_ingest_10", Metric: "p50", Operator: "<", Time: time.Millisecond},
		"ping_under_ingest slowest<=10ms":        {Case: "ping_under_ingest", Metric: "slowest", Operator: "<=", Time: 10 * time.Millisecond},
		"ping slowest/native_hget<=3":            {Case: "ping", Metric: "slowest", Relation: "/", Base: "native_hget", Operator: "<=", Number: 3},
		"ping calls>=10000":                      {Case: "ping", Metric: "calls", Operator: ">=", Number: 10000},
		"poll_100_changed_10 points>=1e6":        {Case: "poll_100_changed_10", Metric: "points", Operator: ">=", Number: 1e6},
		"poll_100_changed_10 points/ping >= 0.3": {Case: "poll_100_changed_10", Metric: "points", Relation: "/", Base: "ping", Operator: ">=", Number: 0.3},
		"comsrv_ingest_100 server-ping<=60us":    {Case: "comsrv_ingest_100", Metric: "server", Relation: "-", Base: "ping", Operator: "<=", Time: 60 * time.Microsecond},
		"ping p99.9-native_hget<1ms":             {Case: "ping", Metric: "p99.9", Relation: "-", Base: "native_hget", Operator: "<", Time: time.Millisecond},
		"ping slowest-native_hget<=3us":          {Case: "ping", Metric: "slowest", Relation: "-", Base: "native_hget", Operator: "<=", Time: 3 * time.Microsecond},
		"ping calls-native_hget >= 100":          {Case: "ping", Metric: "calls", Relation: "-", Base: "native_hget", Operator: ">=", Number: 100},
	} {
		got, err := ParseThreshold(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestThresholdsThatCannotBeReadSayWhatIsAllowed(t *testing.T) {
	const form = "write it as 'CASE METRIC<VALUE', for example 'comsrv_ingest_100 p99<=1ms' or 'comsrv_ingest_100 p99/ping<=2'"
	const units = "is not a duration above 0: use a number with one of the units ns, us, ms, s"
	cases := "use one of " + strings.Join(Cases(), ", ")
	for text, want := range map[string]string{
		"":                            form,
		"ping p99":                    form,
		"p99<1ms":                     form,
		"ping p99>1ms":                form,
		"ping p99 latency<1ms":        form,
		"ping p99< ":                  form,
		"pong p99<1ms":                `no case "pong": ` + cases,
		"ping p99/pong<1":             `no case "pong": ` + cases,
		"ping p99/<1":                 `no case "": ` + cases,
		"ping p99-pong<1us":           `no case "pong": ` + cases,
		"ping p99-<1us":               `no case "": ` + cases,
		"ping p99-ping/ping<1us":      `no case "ping/ping": ` + cases,
		"ping p99-native_hget<2":      `"2" ` + units,
		"ping calls-native_hget>=1us": `"1us" is not a number above 0`,
		"ping p98<1ms":                `no metric "p98": use one of p50, p99, p99.9, max, server, slowest, calls, points, missed, cores, MB`,
		"ping p99<1":                  `"1" ` + units,
		"ping p99<1 parsec":           `"1 parsec" ` + units,
		"ping p99<0ms":                `"0ms" ` + units,
		"ping p99<-1ms":               `"-1ms" ` + units,
		"ping p99<==1ms":              `"=1ms" ` + units,
		"ping slowest<=999us":         "commands of less than 1ms are not in the slow log",
		"rule_evaluate p99/ping<5ms":  `"5ms" is not a number above 0`,
		"rule_evaluate p99/ping<-1.0": `"-1.0" is not a number above 0`,
		"ping points>=1ms":            `"1ms" is not a number above 0`,
		"ping calls>=NaN":             `"NaN" is not a number above 0`,
	} {
		_, err := ParseThreshold(text)
		if want := `threshold "` + text + `": ` + want; err == nil || err.Error() != want || ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

// The gates are the promise of the system: they are written here once more, so
// that none of them is loosened by accident.
func TestTheDefaultGates(t *testing.T) {
	want := []string{
		"comsrv_ingest_100 server<=250us", "comsrv_ingest_10 server<=100us", "model_read_50 server/native_hmget_50<=15", "rule_evaluate p99<1ms",
		"poll_1000_changed_100 points/native_hset_100_pipelined>=0.8", "poll_1000_changed_1000 points/native_hset_100_pipelined>=0.1",
		"ingest_10_rules_bound server-ingest_10_no_rules<=150us", "ingest_10_rules_elsewhere server/ingest_10_no_rules<=1.2",
		"rule_batch_1000 server/decoding_batch_1000<=0.25", "alarm_store server<=150us",
		"alarm_list_100 p50<=10ms", "value_to_alarm p50<=10ms", "value_to_alarm_flood p99<=4s",
		"serve_16 points/serve_bare_16>=0.9", "serve_64 points/serve_bare_64>=1",
		"acquire_16 points/acquire_native_16>=0.2", "acquire_64 points/acquire_native_64>=0.2", "cycle_64x10hz p50<=10ms",
		"thousand_1hz p99<=1500ms", "thousand_1hz cores<=1", "thousand_1hz MB<=400", "isolation p50/isolation_undisturbed<=2",
		"plant_tick p50<=50us", "plant_tick_microgrid calls>=10000",
		"goal comsrv_ingest_100 server<=120us", "goal comsrv_ingest_10 server<=35us", "goal comsrv_ingest_100 p99/ping<=2", "goal comsrv_ingest_100 p99.9<1ms",
		"goal model_read_50 server/native_hmget_50<=3", "goal reverse_lookup server/native_hget<=2",
		"goal poll_1000_changed_100 points/native_hset_100_pipelined>=2", "goal poll_1000_changed_1000 points/native_hset_100_pipelined>=0.3",
		"goal ping_under_ingest p99.9<=5ms", "goal ping_under_ingest slowest<=10ms",
		"goal ingest_10_rules_bound server-ingest_10_no_rules<=60us", "goal ingest_10_rules_elsewhere server/ingest_10_no_rules<=1.05",
		"goal rule_batch_1000 server<=500us", "goal rule_batch_1000 server/decoding_batch_1000<=0.1", "goal alarm_store server<=60us",
		"goal alarm_list_100 p99<=5ms", "goal value_to_alarm p99<=5ms", "goal value_to_alarm_flood p99<=2s",
		"goal acquire_16 points/acquire_native_16>=0.8", "goal acquire_64 points/acquire_native_64>=0.8", "goal cycle_64x10hz p99<=1ms",
		"goal thousand_1hz missed<1", "goal thousand_1hz p99<1100ms", "goal thousand_1hz cores<0.5", "goal thousand_1hz MB<300",
		"goal isolation missed<1", "goal isolation p99/isolation_undisturbed<=1.1",
	}
	if diff := cmp.Diff(want, DefaultThresholds()); diff != "" {
		t.Error(diff)
	}
	for _, text := range want {
		if gate, err := ParseThreshold(text); err != nil || gate.String() != text {
			t.Errorf("%q is read as %q, %v", text, gate, err)
		}
	}
}

func TestAGoalThatIsMissedFailsNothing(t *testing.T) {
	missed := func(goal bool) *Report {
		return &Report{Verdicts: []Verdict{{Threshold: Threshold{Case: "ping", Metric: "p99", Operator: "<", Time: time.Microsecond, Goal: goal}, Measured: true, Found: 2000}}}
	}
	var crossed *CrossedError
	if err := missed(false).Err(); !errors.As(err, &crossed) || len(crossed.Crossed) != 1 {
		t.Errorf("a gate: %v", err)
	}
	if err := missed(true).Err(); err != nil {
		t.Errorf("a goal: %v", err)
	}
}

// judged are results whose metrics are easy to see: in each round the second
// case is three times the first, and in the last one both are ten times slower:
// of the differences in between, the one in the middle is what counts.
func judged() []Result {
	us := func(n float64) time.Duration { return time.Duration(n * 1000) }
	return []Result{
		{
			Case: "ping", P999: us(40), Max: us(50),
			Rounds: []Round{
				{PerS: 30, Server: us(1), P50: us(10), P99: us(30)},
				{PerS: 20, Server: us(2), P50: us(10), P99: us(30)},
				{PerS: 10, Server: us(20), P50: us(100), P99: us(300)},
			},
		},
		{
			Case: "poll_100_changed_10", P999: us(100), Slowest: us(3000),
			Rounds: []Round{
				{Points: 1000, Server: us(3), P99: us(90)},
				{Points: 3000, Server: us(6), P99: us(90)},
				{Points: 2000, Server: us(60), P99: us(900)},
			},
		},
	}
}

func TestAThresholdIsCrossedAtItsBound(t *testing.T) {
	report := &Report{Results: judged()}
	for _, test := range []struct {
		text, found, distance string
		passed                bool
	}{
		{"ping p50<10us", "10.0 us", "0.0 % above", false},
		{"ping p50<=10us", "10.0 us", "0.0 % above", true},
		{"ping p50>=10us", "10.0 us", "0.0 % above", true},
		{"ping p50<=9us", "10.0 us", "11 % above", false},
		{"ping p50<10500ns", "10.0 us", "4.8 % below", true},
		{"ping p99<1ms", "30.0 us", "97 % below", true},
		{"ping p99.9<31us", "40.0 us", "29 % above", false},
		{"ping max<41us", "50.0 us", "22 % above", false},
		{"ping server<4us", "2.00 us", "50 % below", true},
		{"ping calls>=20", "20/s", "0.0 % above", true},
		{"ping slowest<=1ms", "none above 1ms", "100 % below", true},
		{"poll_100_changed_10 slowest<=1ms", "3000.0 us", "200 % above", false},
		{"poll_100_changed_10 points>=2500", "2000/s", "20 % below", false},
		{"poll_100_changed_10 server/ping<=3", "3.00", "0.0 % above", true},
		{"poll_100_changed_10 server/ping<3", "3.00", "0.0 % above", false},
		{"poll_100_changed_10 p99/ping<=2", "3.00", "50 % above", false},
		{"poll_100_changed_10 p99.9/ping<=2.6", "2.50", "3.8 % below", true},
		{"poll_100_changed_10 points/ping>=1", "not measured", "", false}, // ping has no points
		{"rule_evaluate p99<1h", "not measured", "", false},
		{"ping p99/rule_evaluate<5", "not measured", "", false},
		{"poll_100_changed_10 server-ping<=4us", "4.00 us", "0.0 % above", true}, // of 2, 4 and 40
		{"poll_100_changed_10 server-ping<4us", "4.00 us", "0.0 % above", false},
		{"poll_100_changed_10 p99.9-ping<=50us", "60.0 us", "20 % above", false},
		{"ping server-poll_100_changed_10<=8us", "-4.00 us", "150 % below", true},
		{"ping p99.9-poll_100_changed_10<=8us", "-60.0 us", "850 % below", true},
		{"poll_100_changed_10 points-ping>=1", "not measured", "", false},
		{"ping points-poll_100_changed_10>=1", "not measured", "", false},
		{"ping p99-rule_evaluate<5us", "not measured", "", false},
	} {
		threshold, err := ParseThreshold(test.text)
		if err != nil {
			t.Fatal(err)
		}
		verdict := judge(threshold, report.Results)
		if verdict.Passed != test.passed || verdict.found() != test.found || verdict.Measured && verdict.distance() != test.distance {
			t.Errorf("%s: passed %v with %s, %s", test.text, verdict.Passed, verdict.found(), verdict.distance())
		}
		if verdict.Measured != (test.distance != "") {
			t.Errorf("%s: measured %v", test.text, verdict.Measured)
		}
		report.Verdicts = append(report.Verdicts, verdict)
	}
}

func TestCrossedThresholdsAreTheErrorOfTheReport(t *testing.T) {
	report := &Report{Results: judged()}
	for _, text := range []string{"ping p50<=9us", "ping p99<1ms", "poll_100_changed_10 server/ping<3", "rule_evaluate p99<1h"} {
		threshold, err := ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		report.judge([]Threshold{threshold})
	}
	var crossed *CrossedError
	if !errors.As(report.Err(), &crossed) || crossed.ExitCode() != 2 {
		t.Fatalf("the report ends with %v", report.Err())
	}
	want := "thresholds crossed: ping p50<=9us (10.0 us, 11 % above), poll_100_changed_10 server/ping<3 (3.00, 0.0 % above), " +
		"rule_evaluate p99<3600s (not measured)"
	if crossed.Error() != want {
		t.Errorf("%s\nwant %s", crossed, want)
	}
	report.Verdicts = slices.DeleteFunc(report.Verdicts, func(v Verdict) bool { return !v.Passed })
	if err := report.Err(); err != nil || len(report.Verdicts) != 1 {
		t.Errorf("with every threshold held: %v", err)
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, seed := range []string{
		"comsrv_ingest_100 p99<1ms", "ping max<1.5s", "rule_evaluate p99/ping<=2.5", "ping p99<", "<", "ping p99.9<1h2m3.4us",
		"ping p50/ping>=0x1p-2", "ping p50-ping<=2us", "ping points>=1e300", "ping slowest<=10ms",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		threshold, err := ParseThreshold(text)
		if err != nil {
			if ems.CodeOf(err) != ems.CodeInvalid {
				t.Fatalf("%q: %v has code %s", text, err, ems.CodeOf(err))
			}
			return
		}
		if threshold.Time <= 0 && threshold.Number <= 0 {
			t.Fatalf("%q was read as a bound that nothing keeps: %+v", text, threshold)
		}
		again, err := ParseThreshold(threshold.String())
		if err != nil || again != threshold {
			t.Fatalf("%q was read as %+v, whose text %q is read as %+v, %v", text, threshold, threshold, again, err)
		}
	})
}
