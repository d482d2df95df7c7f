package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is a whole run.
type Report struct {
	Started    time.Time
	Redis      string
	Library    string
	Processors int
	Rounds     int
	Slice      time.Duration // of each case in each round
	Rate       float64
	Neighbours Neighbours
	Results    []Result
	Verdicts   []Verdict
}

func (r *Report) judge(thresholds []Threshold) {
	for _, threshold := range thresholds {
		r.Verdicts = append(r.Verdicts, judge(threshold, r.Results))
	}
}

// Err returns a CrossedError if a threshold was crossed that is no goal.
func (r *Report) Err() error {
	var crossed []Verdict
	for _, verdict := range r.Verdicts {
		if !verdict.Passed && !verdict.Threshold.Goal {
			crossed = append(crossed, verdict)
		}
	}
	if len(crossed) == 0 {
		return nil
	}
	return &CrossedError{Crossed: crossed}
}

// WriteText writes the table, the machine and the thresholds. Times are in
// microseconds.
func (r *Report) WriteText(to io.Writer) error {
	var text strings.Builder
	mode := "each call is sent when the one before is answered"
	if r.Rate > 0 {
		mode = strconv.FormatFloat(r.Rate, 'f', -1, 64) + " calls/s due on one connection, times from when a call was due"
	}
	fmt.Fprintf(&text, "\n%s, %s, hash-max-listpack-entries %s, %d processors; %d rounds of %v a case; %s\n\n",
		r.Redis, r.Library, hashEntries, r.Processors, r.Rounds, r.Slice, mode)
	r.writeTable(&text)
	text.WriteString("\nthe machine was\n")
	for _, line := range r.Neighbours.describe(r.Processors, find(r.Results, hsetCase)) {
		fmt.Fprintf(&text, "  %s\n", line)
	}
	text.WriteString("\nthresholds, and how far from them\n")
	r.writeVerdicts(&text)
	_, err := io.WriteString(to, text.String())
	return err
}

// writeTable writes one row for each case.
func (r *Report) writeTable(text *strings.Builder) {
	row := func(cells ...string) {
		line := fmt.Sprintf("%-26s %4s %9s %9s %9s %15s", cells[0], cells[1], cells[2], cells[3], cells[4], cells[5])
		for _, cell := range cells[6:] {
			line += fmt.Sprintf(" %9s", cell)
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row("case (times in us)", "conn", "calls/s", "Mpoints/s", "server", "of rounds", "p50", "p99", "p99.9", "max", "slowest", "p99/ping")
	ping := find(r.Results, pingCase)
	for i := range r.Results {
		result := &r.Results[i]
		millions, slowest, multiple, server, spread := "", "", "", "", ""
		if points := result.value(metricPoints); points > 0 {
			millions = fmt.Sprintf("%.2f", points/1e6)
		}
		if !result.API {
			least, most := result.spread(metricServer)
			server, spread, slowest = micros(result.value(metricServer)), micros(least)+"-"+micros(most), "<"+micros(float64(slowFrom))
		}
		if result.Slowest > 0 {
			slowest = micros(result.value(metricSlowest))
		}
		if ping != nil && result.Connections == 1 && !result.API {
			multiple = fmt.Sprintf("%.2f", result.multiple(ping, metricP99))
		}
		row(result.Case, strconv.Itoa(result.Connections), fmt.Sprintf("%.0f", result.value(metricCalls)), millions,
			server, spread, micros(result.value(metricP50)), micros(result.value(metricP99)),
			micros(result.value(metricP999)), micros(result.value(metricMax)), slowest, multiple)
	}
	text.WriteString("server is the time in Redis of a call, and slowest the longest that one command took there; calls, points, server, p50, p99\n" +
		"and multiples are medians of the rounds; p99.9, max and slowest are of all calls; what goes through a service has no server time\n")
	if slices.ContainsFunc(r.Results, func(one Result) bool { return one.Polls }) {
		text.WriteString("calls of what reads devices are requests, with the time until the next one of a connection (acquire_… and serve_…), or polls, with the time until\n" +
			"Redis told of them, or of thousand_1hz the age at which values are found there; points are registers\n")
	}
	for _, result := range r.Results {
		switch {
		case result.Missed > 0 && result.Polls:
			fmt.Fprintf(text, "%s: %d polls were due and did not come\n", result.Case, result.Missed)
		case result.Missed > 0:
			fmt.Fprintf(text, "%s: %d calls were due and never sent, because the answers came too slowly; they count with the time they waited\n", result.Case, result.Missed)
		}
		if result.Megabytes > 0 {
			fmt.Fprintf(text, "%s: who reads kept %.2f processors busy and had %.0f MB of memory\n", result.Case, result.Cores, result.Megabytes)
		}
		if result.Sampled {
			fmt.Fprintf(text, "%s: p99.9 is of a random sample of the calls\n", result.Case)
		}
	}
}

// writeVerdicts writes one row for each threshold. Beside a bound on the server's
// own time stands what was found in the time of the reference machine: it decides
// nothing, and tells a slow machine from a slow library.
func (r *Report) writeVerdicts(text *strings.Builder) {
	factor := machineFactor(find(r.Results, hsetCase))
	for _, verdict := range r.Verdicts {
		word, distance, hint := "FAIL", "", ""
		switch {
		case verdict.Passed:
			word = "pass"
		case verdict.Threshold.Goal:
			word = "miss"
		}
		if verdict.Measured {
			distance = verdict.distance()
		}
		if t := verdict.Threshold; verdict.Measured && t.Metric == metricServer && t.isTime() && factor > 0 {
			hint = fmt.Sprintf("  %s us in the time of the reference machine", micros(verdict.Found/factor))
			switch {
			case verdict.Passed:
			case verdict.Found/factor < t.bound():
				hint += ": within the limit there"
			default:
				hint += ": above the limit there too"
			}
		}
		line := fmt.Sprintf("  %s  %-60s %14s  %12s%s", word, verdict.Threshold, verdict.found(), distance, hint)
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if len(r.Verdicts) == 0 {
		text.WriteString("  none\n")
	}
}

// micros writes nanoseconds as microseconds with one decimal, or two where there
// are few.
func micros(ns float64) string {
	digits := 1
	if math.Abs(ns) < 10_000 {
		digits = 2
	}
	return strconv.FormatFloat(ns/float64(time.Microsecond), 'f', digits, 64)
}
