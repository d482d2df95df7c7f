package bench

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestParseThreshold(t *testing.T) {
	for text, want := range map[string]Threshold{
		"comsrv_ingest_100 p99<1ms":        {Case: "comsrv_ingest_100", Metric: "p99", Below: time.Millisecond},
		"  ping   max  <  1.5s ":           {Case: "ping", Metric: "max", Below: 1500 * time.Millisecond},
		"rule_evaluate p99.9<250us":        {Case: "rule_evaluate", Metric: "p99.9", Below: 250 * time.Microsecond},
		"model_read_50 server<60\u00b5s":   {Case: "model_read_50", Metric: "server", Below: 60 * time.Microsecond},
		"comsrv_ingest_10 p99<1ns":         {Case: "comsrv_ingest_10", Metric: "p99", Below: 1},
		"comsrv_ingest_10 ratio<2.5":       {Case: "comsrv_ingest_10", Metric: "ratio", Times: 2.5},
		"comsrv_ingest_10\tp50 <1000000ns": {Case: "comsrv_ingest_10", Metric: "p50", Below: time.Millisecond},
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
	const form = "write it as 'CASE METRIC<VALUE', for example 'comsrv_ingest_100 p99<1ms'"
	const units = "is not a duration above 0: use a number with one of the units ns, us, ms, s"
	for text, want := range map[string]string{
		"":                         `threshold "": ` + form,
		"ping p99":                 `threshold "ping p99": ` + form,
		"p99<1ms":                  `threshold "p99<1ms": ` + form,
		"ping p99>1ms":             `threshold "ping p99>1ms": ` + form,
		"ping p99 latency<1ms":     `threshold "ping p99 latency<1ms": ` + form,
		"ping p99< ":               `threshold "ping p99< ": ` + form,
		"pong p99<1ms":             `threshold "pong p99<1ms": no case "pong": use one of ping, comsrv_ingest_100, comsrv_ingest_10, model_read_50, rule_evaluate`,
		"ping p98<1ms":             `threshold "ping p98<1ms": no metric "p98": use one of p50, p95, p99, p99.9, max, server, ratio`,
		"ping p99<1":               `threshold "ping p99<1": "1" ` + units,
		"ping p99<1 parsec":        `threshold "ping p99<1 parsec": "1 parsec" ` + units,
		"ping p99<0ms":             `threshold "ping p99<0ms": "0ms" ` + units,
		"ping p99<-1ms":            `threshold "ping p99<-1ms": "-1ms" ` + units,
		"ping p99<=1ms":            `threshold "ping p99<=1ms": "=1ms" ` + units,
		"rule_evaluate ratio<5ms":  `threshold "rule_evaluate ratio<5ms": "5ms" is not a number above 0: ratio is a multiple of the p99 of ping, for example 5`,
		"rule_evaluate ratio<-1.0": `threshold "rule_evaluate ratio<-1.0": "-1.0" is not a number above 0: ratio is a multiple of the p99 of ping, for example 5`,
	} {
		_, err := ParseThreshold(text)
		if err == nil || err.Error() != want || ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

func TestTheDefaultGatesAreAMillisecond(t *testing.T) {
	var texts []string
	for _, gate := range DefaultThresholds() {
		texts = append(texts, gate.String())
	}
	want := "comsrv_ingest_100 p99<1ms, comsrv_ingest_10 p99<1ms, model_read_50 p99<1ms, rule_evaluate p99<1ms"
	if got := strings.Join(texts, ", "); got != want {
		t.Errorf("gates %s\nwant  %s", got, want)
	}
}

func TestAThresholdIsCrossedAtItsBound(t *testing.T) {
	results := []Result{{
		Case: "ping", P50: 10 * time.Microsecond, P95: 20 * time.Microsecond, P99: 30 * time.Microsecond,
		P999: 40 * time.Microsecond, Max: 50 * time.Microsecond, Server: 1500 * time.Nanosecond, Ratio: 1,
	}}
	report := &Report{Results: results}
	for _, test := range []struct {
		text, found string
		passed      bool
	}{
		{"ping p50<10us", "10.0 us", false},
		{"ping p50<10001ns", "10.0 us", true},
		{"ping p95<21us", "20.0 us", true},
		{"ping p95<19us", "20.0 us", false},
		{"ping p99<1ms", "30.0 us", true},
		{"ping p99.9<31us", "40.0 us", false},
		{"ping max<41us", "50.0 us", false},
		{"ping server<2us", "1.5 us", true},
		{"ping ratio<1", "1.00", false},
		{"ping ratio<1.01", "1.00", true},
		{"rule_evaluate p99<1h", "not measured", false},
	} {
		threshold, err := ParseThreshold(test.text)
		if err != nil {
			t.Fatal(err)
		}
		verdict := judge(threshold, results)
		if verdict.Passed != test.passed || verdict.Found != test.found {
			t.Errorf("%s: passed %v with %s", test.text, verdict.Passed, verdict.Found)
		}
		report.Verdicts = append(report.Verdicts, verdict)
	}
	var crossed *CrossedError
	if !errors.As(report.Err(), &crossed) || crossed.ExitCode() != 2 {
		t.Fatalf("the report ends with %v", report.Err())
	}
	want := "thresholds crossed: ping p50<10us, ping p95<19us, ping p99.9<31us, ping max<41us, ping ratio<1, rule_evaluate p99<3600s"
	if crossed.Error() != want {
		t.Errorf("%s\nwant %s", crossed, want)
	}
	report.Verdicts = report.Verdicts[1:2]
	if err := report.Err(); err != nil {
		t.Errorf("with every threshold held: %v", err)
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, seed := range []string{
		"comsrv_ingest_100 p99<1ms", "ping max<1.5s", "rule_evaluate ratio<2.5", "ping p99<", "<", "ping p99.9<1h2m3.4us", "ping ratio<0x1p-2",
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
		if threshold.Below <= 0 && threshold.Times <= 0 {
			t.Fatalf("%q was read as a bound that nothing is below: %+v", text, threshold)
		}
		again, err := ParseThreshold(threshold.String())
		if err != nil || again != threshold {
			t.Fatalf("%q was read as %+v, whose text %q is read as %+v, %v", text, threshold, threshold, again, err)
		}
	})
}
