package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Threshold is a bound that a case must stay below.
type Threshold struct {
	Case   string
	Metric string
	Below  time.Duration // of a metric that is a duration
	Times  float64       // of the metric ratio
}

// ratio is the metric that is a number and not a duration.
const ratio = "ratio"

// metrics are what a threshold may bound, as its text names them.
var metrics = [...]string{"p50", "p95", "p99", "p99.9", "max", "server", ratio}

// DefaultThresholds are the gates of the system: a call of the hot path answers
// within a millisecond.
func DefaultThresholds() []Threshold {
	var gates []Threshold
	for _, name := range Cases() {
		if name != pingCase {
			gates = append(gates, Threshold{Case: name, Metric: "p99", Below: time.Millisecond})
		}
	}
	return gates
}

// String returns the form that ParseThreshold reads.
func (t Threshold) String() string {
	bound := shortDuration(t.Below)
	if t.Metric == ratio {
		bound = strconv.FormatFloat(t.Times, 'f', -1, 64)
	}
	return t.Case + " " + t.Metric + "<" + bound
}

// shortDuration writes a duration in one unit, the largest that leaves no
// fraction.
func shortDuration(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}} {
		if d >= unit.size && d%unit.size == 0 {
			return fmt.Sprintf("%d%s", d/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%dns", d)
}

// ParseThreshold reads 'CASE METRIC<VALUE', for example
// "comsrv_ingest_100 p99<1ms" or "model_read_50 ratio<5". INVALID says what is
// allowed instead.
func ParseThreshold(text string) (Threshold, error) {
	left, value, found := strings.Cut(text, "<")
	words := strings.Fields(left)
	value = strings.TrimSpace(value)
	if !found || len(words) != 2 || value == "" {
		return Threshold{}, ems.Errorf(ems.CodeInvalid, "threshold %q: write it as 'CASE METRIC<VALUE', for example 'comsrv_ingest_100 p99<1ms'", text)
	}
	threshold := Threshold{Case: words[0], Metric: words[1]}
	if !slices.Contains(Cases(), threshold.Case) {
		return Threshold{}, ems.Errorf(ems.CodeInvalid, "threshold %q: no case %q: use one of %s", text, threshold.Case, strings.Join(Cases(), ", "))
	}
	if !slices.Contains(metrics[:], threshold.Metric) {
		return Threshold{}, ems.Errorf(ems.CodeInvalid, "threshold %q: no metric %q: use one of %s", text, threshold.Metric, strings.Join(metrics[:], ", "))
	}
	if threshold.Metric == ratio {
		times, err := ems.ParseNumber(value)
		if err != nil || times <= 0 {
			return Threshold{}, ems.Errorf(ems.CodeInvalid, "threshold %q: %q is not a number above 0: ratio is a multiple of the p99 of ping, for example 5", text, value)
		}
		threshold.Times = times
		return threshold, nil
	}
	below, err := time.ParseDuration(value)
	if err != nil || below <= 0 {
		return Threshold{}, ems.Errorf(ems.CodeInvalid, "threshold %q: %q is not a duration above 0: use a number with one of the units ns, us, ms, s", text, value)
	}
	threshold.Below = below
	return threshold, nil
}

// Verdict is what became of a threshold.
type Verdict struct {
	Threshold Threshold
	Found     string // the value of the metric
	Passed    bool
}

// judge compares a threshold with the results. A case without result has
// crossed it.
func judge(threshold Threshold, results []Result) Verdict {
	verdict := Verdict{Threshold: threshold, Found: "not measured"}
	for _, result := range results {
		if result.Case != threshold.Case {
			continue
		}
		if threshold.Metric == ratio {
			verdict.Found = fmt.Sprintf("%.2f", result.Ratio)
			verdict.Passed = result.Ratio < threshold.Times
			return verdict
		}
		found := result.metric(threshold.Metric)
		verdict.Found = micros(found) + " us"
		verdict.Passed = found < threshold.Below
	}
	return verdict
}

// CrossedError says that the bench ran and thresholds were crossed.
type CrossedError struct{ Crossed []Threshold }

func (e *CrossedError) Error() string {
	texts := make([]string, len(e.Crossed))
	for i, threshold := range e.Crossed {
		texts[i] = threshold.String()
	}
	return "thresholds crossed: " + strings.Join(texts, ", ")
}

// ExitCode is the status with which a process ends because of this error: not
// 1, which says that the bench could not run.
func (e *CrossedError) ExitCode() int { return 2 }
