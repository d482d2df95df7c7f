package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Threshold is a bound that a case must keep.
type Threshold struct {
	Case     string
	Metric   string
	Relation string        // multiple or difference; empty for the metric itself
	Base     string        // the case to whose metric this one is related
	Operator string        // "<", "<=" or ">="
	Time     time.Duration // bound of a time, or of a difference of times
	Number   float64       // bound of calls/s, of points/s and of a multiple
	Goal     bool          // it is told whether this is reached, and nothing fails
}

// goalMark begins the text of a threshold that is a goal.
const goalMark = "goal "

// How the metric of a case may be related to that of another.
const (
	multiple   = "/"
	difference = "-"
)

// operators as they are looked for: the longer first.
var operators = [...]string{"<=", ">=", "<"}

// DefaultThresholds are the gates of the system and its goals, in the form that
// ParseThreshold reads. A goal is what we want to reach and have not on every
// machine; the gate beside it keeps what was reached.
func DefaultThresholds() []string {
	return []string{
		"comsrv_ingest_100 server<=250us",
		"comsrv_ingest_10 server<=100us",
		"model_read_50 server/native_hmget_50<=15",
		"rule_evaluate p99<1ms",
		"poll_1000_changed_100 points/native_hset_100_pipelined>=0.8",
		"poll_1000_changed_1000 points/native_hset_100_pipelined>=0.1",
		"ingest_10_rules_bound server-ingest_10_no_rules<=150us",
		"ingest_10_rules_elsewhere server/ingest_10_no_rules<=1.2",
		"rule_batch_1000 server/decoding_batch_1000<=0.25",
		"alarm_store server<=150us",
		"alarm_list_100 p50<=10ms",
		"value_to_alarm p50<=10ms",
		"value_to_alarm_flood p99<=4s",
		"serve_16 points/serve_bare_16>=0.9",
		"serve_64 points/serve_bare_64>=1",
		"acquire_16 points/acquire_native_16>=0.2",
		"acquire_64 points/acquire_native_64>=0.2",
		"cycle_64x10hz p50<=10ms",
		"thousand_1hz p99<=1500ms",
		"thousand_1hz cores<=1",
		"thousand_1hz MB<=400",
		"isolation p50/isolation_undisturbed<=2",
		"plant_tick p50<=50us",
		"plant_tick_microgrid calls>=10000",
		"goal comsrv_ingest_100 server<=120us",
		"goal comsrv_ingest_10 server<=35us",
		"goal comsrv_ingest_100 p99/ping<=2",
		"goal comsrv_ingest_100 p99.9<1ms",
		"goal model_read_50 server/native_hmget_50<=3",
		"goal reverse_lookup server/native_hget<=2",
		"goal poll_1000_changed_100 points/native_hset_100_pipelined>=2",
		"goal poll_1000_changed_1000 points/native_hset_100_pipelined>=0.3",
		"goal ping_under_ingest p99.9<=5ms",
		"goal ping_under_ingest slowest<=10ms",
		"goal ingest_10_rules_bound server-ingest_10_no_rules<=60us",
		"goal ingest_10_rules_elsewhere server/ingest_10_no_rules<=1.05",
		"goal rule_batch_1000 server<=500us",
		"goal rule_batch_1000 server/decoding_batch_1000<=0.1",
		"goal alarm_store server<=60us",
		"goal alarm_list_100 p99<=5ms",
		"goal value_to_alarm p99<=5ms",
		"goal value_to_alarm_flood p99<=2s",
		"goal acquire_16 points/acquire_native_16>=0.8",
		"goal acquire_64 points/acquire_native_64>=0.8",
		"goal cycle_64x10hz p99<=1ms",
		"goal thousand_1hz missed<1",
		"goal thousand_1hz p99<1100ms",
		"goal thousand_1hz cores<0.5",
		"goal thousand_1hz MB<300",
		"goal isolation missed<1",
		"goal isolation p99/isolation_undisturbed<=1.1",
	}
}

// String returns the form that ParseThreshold reads.
func (t Threshold) String() string {
	metric, bound := t.Metric, strconv.FormatFloat(t.Number, 'f', -1, 64)
	metric += t.Relation + t.Base
	if t.isTime() {
		bound = shortDuration(t.Time)
	}
	mark := ""
	if t.Goal {
		mark = goalMark
	}
	return mark + t.Case + " " + metric + t.Operator + bound
}

// isTime reports whether the bound is a time.
func (t Threshold) isTime() bool { return t.Relation != multiple && isTime(t.Metric) }

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

// ParseThreshold reads 'CASE METRIC<VALUE', 'CASE METRIC/CASE<VALUE' or
// 'CASE METRIC-CASE<VALUE', also with <= and >=, for example
// "comsrv_ingest_100 p99.9<1ms", "model_read_50 server/native_hmget_50<=3" or
// "comsrv_ingest_100 server-comsrv_ingest_10<=80us"; "goal " in front makes it one
// that fails nothing. INVALID says what is allowed instead.
func ParseThreshold(text string) (Threshold, error) {
	refuse := func(format string, args ...any) (Threshold, error) {
		return Threshold{}, ems.Errorf(ems.CodeInvalid, "threshold %q: %s", text, fmt.Sprintf(format, args...))
	}
	bare, isGoal := strings.CutPrefix(text, goalMark)
	left, operator, value := cutOperator(bare)
	words := strings.Fields(left)
	if len(words) != 2 || value == "" {
		return refuse("write it as 'CASE METRIC<VALUE', for example 'comsrv_ingest_100 p99<=1ms' or 'comsrv_ingest_100 p99/ping<=2'")
	}
	t := Threshold{Case: words[0], Operator: operator, Goal: isGoal}
	t.Metric = words[1]
	if at := strings.IndexAny(words[1], multiple+difference); at >= 0 {
		t.Metric, t.Relation, t.Base = words[1][:at], words[1][at:at+1], words[1][at+1:]
	}
	for _, name := range []string{t.Case, t.Base} {
		if (name != "" || t.Relation != "") && !slices.Contains(Cases(), name) {
			return refuse("%s", noCase(name).Error())
		}
	}
	if !slices.Contains(metrics[:], t.Metric) {
		return refuse("no metric %q: use one of %s", t.Metric, strings.Join(metrics[:], ", "))
	}
	var err error
	if !t.isTime() {
		if t.Number, err = ems.ParseNumber(value); err != nil || t.Number <= 0 {
			return refuse("%q is not a number above 0", value)
		}
		return t, nil
	}
	if t.Time, err = time.ParseDuration(value); err != nil || t.Time <= 0 {
		return refuse("%q is not a duration above 0: use a number with one of the units ns, us, ms, s", value)
	}
	if t.Metric == metricSlowest && t.Relation == "" && t.Time < slowFrom {
		return refuse("commands of less than %v are not in the slow log", slowFrom)
	}
	return t, nil
}

// noCase says that there is no case of a name, and which there are.
func noCase(name string) error {
	return ems.Errorf(ems.CodeInvalid, "no case %q: use one of %s", name, strings.Join(Cases(), ", "))
}

func cutOperator(text string) (left, operator, value string) {
	for _, operator := range operators {
		if left, value, found := strings.Cut(text, operator); found {
			return left, operator, strings.TrimSpace(value)
		}
	}
	return "", "", ""
}

// Verdict is what became of a threshold.
type Verdict struct {
	Threshold Threshold
	Measured  bool
	Found     float64 // as the threshold: nanoseconds, calls/s, points/s or a multiple; below 0 where a difference is
	Passed    bool
}

// judge compares a threshold with the results. A case without result has
// crossed it.
func judge(threshold Threshold, results []Result) Verdict {
	verdict := Verdict{Threshold: threshold}
	result, base := find(results, threshold.Case), find(results, threshold.Base)
	switch {
	case result == nil || !result.has(threshold.Metric):
		return verdict
	case threshold.Relation == "":
		verdict.Found, verdict.Measured = result.value(threshold.Metric), true
	case base == nil:
		return verdict
	case threshold.Relation == multiple:
		verdict.Found = result.multiple(base, threshold.Metric)
		verdict.Measured = verdict.Found > 0
	default:
		verdict.Found = result.difference(base, threshold.Metric)
		verdict.Measured = result.value(threshold.Metric) > 0 && base.value(threshold.Metric) > 0
	}
	bound := threshold.bound()
	switch threshold.Operator {
	case "<":
		verdict.Passed = verdict.Found < bound
	case "<=":
		verdict.Passed = verdict.Found <= bound
	default:
		verdict.Passed = verdict.Found >= bound
	}
	verdict.Passed = verdict.Passed && verdict.Measured
	return verdict
}

func find(results []Result, name string) *Result {
	for i := range results {
		if results[i].Case == name {
			return &results[i]
		}
	}
	return nil
}

func (t Threshold) bound() float64 {
	if t.isTime() {
		return float64(t.Time)
	}
	return t.Number
}

// Deviation is how far what was found lies above the bound, as a part of it;
// negative below it.
func (v Verdict) Deviation() float64 { return v.Found/v.Threshold.bound() - 1 }

// found writes what was found as the threshold writes its bound.
func (v Verdict) found() string {
	switch {
	case !v.Measured:
		return "not measured"
	case v.Threshold.Metric == metricSlowest && v.Threshold.Relation == "" && v.Found == 0:
		return "none above " + shortDuration(slowFrom)
	case v.Threshold.isTime():
		return micros(v.Found) + " us"
	case v.Threshold.Relation == multiple:
		return fmt.Sprintf("%.2f", v.Found)
	case v.Threshold.Metric == metricCores:
		return fmt.Sprintf("%.2f", v.Found)
	case v.Threshold.Metric == metricMissed, v.Threshold.Metric == metricMemory:
		return fmt.Sprintf("%.0f", v.Found)
	default:
		return fmt.Sprintf("%.0f/s", v.Found)
	}
}

// distance writes how far what was found is from the limit, in percent of it: a
// decimal of what is little.
func (v Verdict) distance() string {
	percent, side := 100*v.Deviation(), "above"
	if percent < 0 {
		percent, side = -percent, "below"
	}
	digits := 0
	if percent < 9.95 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %% %s", digits, percent, side)
}

// CrossedError says that the bench ran and thresholds were crossed.
type CrossedError struct{ Crossed []Verdict }

func (e *CrossedError) Error() string {
	texts := make([]string, len(e.Crossed))
	for i, verdict := range e.Crossed {
		texts[i] = verdict.Threshold.String() + " (" + verdict.found()
		if verdict.Measured {
			texts[i] += ", " + verdict.distance()
		}
		texts[i] += ")"
	}
	return "thresholds crossed: " + strings.Join(texts, ", ")
}

// ExitCode is the status with which a process ends because of this error: not
// 1, which says that the bench could not run.
func (e *CrossedError) ExitCode() int { return 2 }
