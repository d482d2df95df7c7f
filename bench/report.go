package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Result is what one case came to.
type Result struct {
	Case    string
	Calls   int64
	Missed  int64         // calls that were due and never sent; only at a rate
	PerS    float64       // calls/s
	Server  time.Duration // time in Redis per call
	P50     time.Duration
	P95     time.Duration
	P99     time.Duration
	P999    time.Duration
	Max     time.Duration
	Sampled bool    // more calls than are kept: see maxSamples
	Ratio   float64 // P99 as a multiple of that of ping
}

func newResult(name string, done run, server time.Duration, kept *samples) Result {
	found := kept.percentiles(50, 95, 99, 99.9)
	return Result{
		Case: name, Calls: done.calls, Missed: done.missed, PerS: float64(done.calls) / done.elapsed.Seconds(),
		Server: server, P50: found[0], P95: found[1], P99: found[2], P999: found[3], Max: kept.max,
		Sampled: kept.count > int64(kept.limit),
	}
}

// metric returns a duration by the name that a threshold gives it.
func (r Result) metric(name string) time.Duration {
	switch name {
	case "p50":
		return r.P50
	case "p95":
		return r.P95
	case "p99":
		return r.P99
	case "p99.9":
		return r.P999
	case "max":
		return r.Max
	default:
		return r.Server
	}
}

// Report is a whole run.
type Report struct {
	Started    time.Time
	Redis      string
	Library    string
	Processors int
	Duration   time.Duration
	Rate       float64
	Results    []Result
	Verdicts   []Verdict
}

// add appends a result and compares it with ping, which comes first.
func (r *Report) add(result Result) {
	ping := result.P99
	if len(r.Results) > 0 {
		ping = r.Results[0].P99
	}
	if ping > 0 {
		result.Ratio = float64(result.P99) / float64(ping)
	}
	r.Results = append(r.Results, result)
}

// Err returns a CrossedError if a threshold was crossed.
func (r *Report) Err() error {
	var crossed []Threshold
	for _, verdict := range r.Verdicts {
		if !verdict.Passed {
			crossed = append(crossed, verdict.Threshold)
		}
	}
	if len(crossed) == 0 {
		return nil
	}
	return &CrossedError{Crossed: crossed}
}

// WriteText writes the table and the thresholds. Times are in microseconds.
func (r *Report) WriteText(to io.Writer) error {
	var text strings.Builder
	mode := "each call when the one before is answered"
	if r.Rate > 0 {
		mode = strconv.FormatFloat(r.Rate, 'f', -1, 64) + " calls/s due, times from when a call was due"
	}
	fmt.Fprintf(&text, "\n%s, %s, %d processors, one connection, %v a case, %s\n\n", r.Redis, r.Library, r.Processors, r.Duration, mode)
	row := func(cells ...string) {
		fmt.Fprintf(&text, "%-18s", cells[0])
		for _, cell := range cells[1:] {
			fmt.Fprintf(&text, " %10s", cell)
		}
		text.WriteString("\n")
	}
	row("case (times in us)", "calls", "calls/s", "server", "p50", "p95", "p99", "p99.9", "max", "p99/ping")
	for _, result := range r.Results {
		row(result.Case, strconv.FormatInt(result.Calls, 10), fmt.Sprintf("%.0f", result.PerS), micros(result.Server),
			micros(result.P50), micros(result.P95), micros(result.P99), micros(result.P999), micros(result.Max),
			fmt.Sprintf("%.2f", result.Ratio))
	}
	for _, result := range r.Results {
		if result.Missed > 0 {
			fmt.Fprintf(&text, "%s: %d calls were due and never sent, because the answers came too slowly; they count with the time they waited\n", result.Case, result.Missed)
		}
		if result.Sampled {
			fmt.Fprintf(&text, "%s: percentiles are of a random sample of %d calls\n", result.Case, maxSamples)
		}
	}
	text.WriteString("\nthresholds\n")
	for _, verdict := range r.Verdicts {
		fmt.Fprintf(&text, "  %-4s  %s  (%s)\n", verdict.word(), verdict.Threshold, verdict.Found)
	}
	if len(r.Verdicts) == 0 {
		text.WriteString("  none\n")
	}
	_, err := io.WriteString(to, text.String())
	return err
}

func (v Verdict) word() string {
	if v.Passed {
		return "pass"
	}
	return "FAIL"
}

// micros writes a duration in microseconds with one decimal.
func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 1, 64)
}

// WriteJSON writes the report for programs: durations in microseconds.
func (r *Report) WriteJSON(to io.Writer) error {
	type resultJSON struct {
		Case    string  `json:"case"`
		Calls   int64   `json:"calls"`
		Missed  int64   `json:"missed"`
		PerS    float64 `json:"calls_per_s"`
		Server  float64 `json:"server_us"`
		P50     float64 `json:"p50_us"`
		P95     float64 `json:"p95_us"`
		P99     float64 `json:"p99_us"`
		P999    float64 `json:"p99_9_us"`
		Max     float64 `json:"max_us"`
		Sampled bool    `json:"sampled"`
		Ratio   float64 `json:"p99_per_ping_p99"`
	}
	type verdictJSON struct {
		Threshold string `json:"threshold"`
		Found     string `json:"found"`
		Passed    bool   `json:"passed"`
	}
	report := struct {
		Started    time.Time     `json:"started"`
		Redis      string        `json:"redis"`
		Library    string        `json:"library"`
		Processors int           `json:"processors"`
		Duration   float64       `json:"duration_s"`
		Rate       float64       `json:"rate_per_s"` // 0: each call when the one before is answered
		Results    []resultJSON  `json:"results"`
		Thresholds []verdictJSON `json:"thresholds"`
	}{
		Started: r.Started, Redis: r.Redis, Library: r.Library, Processors: r.Processors, Duration: r.Duration.Seconds(), Rate: r.Rate,
		Results: []resultJSON{}, Thresholds: []verdictJSON{},
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	for _, one := range r.Results {
		report.Results = append(report.Results, resultJSON{
			Case: one.Case, Calls: one.Calls, Missed: one.Missed, PerS: one.PerS, Server: us(one.Server),
			P50: us(one.P50), P95: us(one.P95), P99: us(one.P99), P999: us(one.P999), Max: us(one.Max),
			Sampled: one.Sampled, Ratio: one.Ratio,
		})
	}
	for _, one := range r.Verdicts {
		report.Thresholds = append(report.Thresholds, verdictJSON{Threshold: one.Threshold.String(), Found: one.Found, Passed: one.Passed})
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}
