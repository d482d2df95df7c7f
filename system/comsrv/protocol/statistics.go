package protocol

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Measurable is a Driver that tells how its exchanges went. Any goroutine may ask.
type Measurable interface {
	Statistics() Statistics
}

// Statistics is how the exchanges of a channel went since comsrv began with it.
type Statistics struct {
	RoundTrip Histogram        `json:"round_trip"`
	Units     []UnitStatistics `json:"units"` // those that points name, and "other"
}

// UnitStatistics is how the exchanges with one unit of a channel went.
type UnitStatistics struct {
	Unit       string            `json:"unit"`
	State      UnitState         `json:"state"`
	Until      *time.Time        `json:"left_alone_until,omitempty"`
	Reason     string            `json:"reason,omitempty"` // why it is silent
	Requests   uint64            `json:"requests"`
	LeftOut    uint64            `json:"left_out"`   // not sent because it is left alone
	Failures   map[string]uint64 `json:"failures"`   // without an answer, by reason
	Exceptions map[string]uint64 `json:"exceptions"` // refused by the device, by code
}

// UnitState is what is known of a unit behind a connection.
type UnitState string

// The states of a unit.
const (
	UnitUnknown   UnitState = "unknown" // it was not asked yet, or not on this connection
	UnitAnswers   UnitState = "answers"
	UnitSilent    UnitState = "silent"     // it did not answer, and is asked again with the next request
	UnitLeftAlone UnitState = "left_alone" // likewise, and the others are spared from it for a while
)

// Histogram sums up durations, in milliseconds. Quantiles are estimated within
// their bucket.
type Histogram struct {
	Count   uint64   `json:"count"`
	Mean    float64  `json:"mean_ms"`
	P50     float64  `json:"p50_ms"`
	P90     float64  `json:"p90_ms"`
	P99     float64  `json:"p99_ms"`
	Buckets []Bucket `json:"buckets"` // those that are not empty
}

// Bucket counts the durations up to a limit and above that of the bucket before.
type Bucket struct {
	UpTo  *float64 `json:"up_to_ms"` // null: above all limits
	Count uint64   `json:"count"`
}

// Number reads a counter.
func Number(counter prometheus.Counter) uint64 {
	var read dto.Metric
	if counter.Write(&read) != nil {
		return 0
	}
	return uint64(read.GetCounter().GetValue())
}

// Summarize reads a histogram of seconds. One without observations is all zero.
func Summarize(observer prometheus.Observer) Histogram {
	summary := Histogram{Buckets: []Bucket{}}
	metric, isMetric := observer.(prometheus.Metric)
	var read dto.Metric
	if !isMetric || metric.Write(&read) != nil {
		return summary
	}
	counts := read.GetHistogram()
	if summary.Count = counts.GetSampleCount(); summary.Count == 0 {
		return summary
	}
	summary.Mean = 1000 * counts.GetSampleSum() / float64(summary.Count)
	before := uint64(0)
	for _, bucket := range counts.GetBucket() {
		if limit := 1000 * bucket.GetUpperBound(); bucket.GetCumulativeCount() > before && !math.IsInf(limit, 0) {
			summary.Buckets = append(summary.Buckets, Bucket{UpTo: &limit, Count: bucket.GetCumulativeCount() - before})
			before = bucket.GetCumulativeCount()
		}
	}
	if above := summary.Count - before; above > 0 {
		summary.Buckets = append(summary.Buckets, Bucket{Count: above})
	}
	for share, into := range map[float64]*float64{0.5: &summary.P50, 0.9: &summary.P90, 0.99: &summary.P99} {
		*into = quantile(counts.GetBucket(), share*float64(summary.Count))
	}
	return summary
}

// quantile returns below which duration so many lie, in milliseconds: that of the
// last limit at most.
func quantile(buckets []*dto.Bucket, rank float64) float64 {
	lower, before := 0.0, 0.0
	for _, bucket := range buckets {
		upper, count := 1000*bucket.GetUpperBound(), float64(bucket.GetCumulativeCount())
		if math.IsInf(upper, 0) {
			break
		}
		if count >= rank && count > before {
			return lower + (upper-lower)*(rank-before)/(count-before)
		}
		lower, before = upper, count
	}
	return lower
}
