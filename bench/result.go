package bench

import (
	"slices"
	"time"
)

// Metrics of a case, as a threshold and the table name them.
const (
	metricP50     = "p50"     // of the calls, as a client sees them: median of the rounds
	metricP99     = "p99"     // likewise
	metricP999    = "p99.9"   // of all calls of the run
	metricMax     = "max"     // of all calls of the run
	metricServer  = "server"  // time in Redis per call: median of the rounds
	metricSlowest = "slowest" // longest single command in Redis, of those above slowFrom
	metricCalls   = "calls"   // calls per second: median of the rounds
	metricPoints  = "points"  // points or registers per second: median of the rounds
	metricMissed  = "missed"  // polls that were due and did not come, in the whole run
	metricCores   = "cores"   // processors that the process which reads devices kept busy
	metricMemory  = "MB"      // 10^6 bytes of memory that comsrv had at the end
)

// metrics are what a threshold may bound.
var metrics = [...]string{metricP50, metricP99, metricP999, metricMax, metricServer, metricSlowest, metricCalls, metricPoints, metricMissed, metricCores, metricMemory}

// has reports whether a case can have a metric.
func (r *Result) has(metric string) bool {
	switch metric {
	case metricServer, metricSlowest:
		return !r.API
	case metricMissed:
		return r.Polls
	case metricCores, metricMemory:
		return r.Megabytes > 0
	default:
		return true
	}
}

// isTime reports whether a metric is a duration.
func isTime(metric string) bool {
	switch metric {
	case metricPoints, metricCalls, metricMissed, metricCores, metricMemory:
		return false
	default:
		return true
	}
}

// Round is what a slice of one case came to.
type Round struct {
	Calls  int64
	PerS   float64       // calls/s
	Points float64       // points/s, of polls registers/s; 0 where a case is not about points
	Server time.Duration // time in Redis per call
	P50    time.Duration
	P99    time.Duration
}

// Result is what one case came to.
type Result struct {
	Case        string
	API         bool // at a service: there is no time in Redis
	Connections int
	Rounds      []Round
	Calls       int64 // measured, over all rounds
	Missed      int64 // calls that were due and never sent; only at a rate, and of polls
	P999        time.Duration
	Max         time.Duration
	Slowest     time.Duration // 0 where no command took longer than slowFrom
	Sampled     bool          // more calls than are kept: see maxSamples
	Polls       bool          // calls are polls of comsrv, or its requests
	Cores       float64       // processors that the process which reads devices kept busy; only where Megabytes is known
	Megabytes   float64       // 10^6 bytes of its memory; 0 where that is not known
}

// value returns a metric of a round: nanoseconds, calls/s or points/s.
func (r Round) value(metric string) float64 {
	switch metric {
	case metricP50:
		return float64(r.P50)
	case metricP99:
		return float64(r.P99)
	case metricServer:
		return float64(r.Server)
	case metricPoints:
		return r.Points
	default:
		return r.PerS
	}
}

// value returns a metric of the run: nanoseconds, calls/s or points/s.
func (r *Result) value(metric string) float64 {
	switch metric {
	case metricP999:
		return float64(r.P999)
	case metricMax:
		return float64(r.Max)
	case metricSlowest:
		return float64(r.Slowest)
	case metricMissed:
		return float64(r.Missed)
	case metricCores:
		return r.Cores
	case metricMemory:
		return r.Megabytes
	default:
		return median(r.of(metric))
	}
}

// of returns a metric of every round, for those that rounds have.
func (r *Result) of(metric string) []float64 {
	values := make([]float64, len(r.Rounds))
	for i, round := range r.Rounds {
		values[i] = round.value(metric)
	}
	return values
}

// spread returns the least and the greatest of a metric over the rounds.
func (r *Result) spread(metric string) (least, greatest float64) {
	if len(r.Rounds) == 0 {
		return 0, 0
	}
	values := r.of(metric)
	return slices.Min(values), slices.Max(values)
}

// multiple returns a metric as a multiple of that of another case; 0 where there
// is nothing to divide by.
func (r *Result) multiple(base *Result, metric string) float64 {
	return r.related(base, metric, divide)
}

// difference returns by how much a metric is greater than that of another case;
// it is below 0 where it is less.
func (r *Result) difference(base *Result, metric string) float64 {
	return r.related(base, metric, func(number, from float64) float64 { return number - from })
}

// related relates a metric to that of another case: round by round, in each of
// which both were measured within seconds, and the median of that; or, where a
// metric is of the whole run, at once. Rounds in which the other one has nothing
// are left out.
func (r *Result) related(base *Result, metric string, relate func(number, to float64) float64) float64 {
	switch metric {
	case metricP999, metricMax, metricSlowest, metricMissed, metricCores, metricMemory:
		return relate(r.value(metric), base.value(metric))
	}
	var related []float64
	of := base.of(metric)
	for i, value := range r.of(metric) {
		if i < len(of) && of[i] > 0 {
			related = append(related, relate(value, of[i]))
		}
	}
	return median(related)
}

func divide(number, by float64) float64 {
	if by == 0 {
		return 0
	}
	return number / by
}
