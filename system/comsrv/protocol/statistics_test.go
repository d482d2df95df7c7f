package protocol_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
)

func TestHistogramsAreSummedUp(t *testing.T) {
	t.Parallel()
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "trip", Buckets: []float64{0.001, 0.002, 0.004, 0.008}})
	if diff := cmp.Diff(protocol.Histogram{Buckets: []protocol.Bucket{}}, protocol.Summarize(histogram)); diff != "" {
		t.Error(diff)
	}
	for milliseconds, count := range map[float64]int{0.5: 40, 1.5: 40, 6: 18, 100: 2} {
		for range count {
			histogram.Observe(milliseconds / 1000)
		}
	}
	limit := func(ms float64) *float64 { return &ms }
	want := protocol.Histogram{
		Count: 100, Mean: 3.88, P50: 1.25, P90: 4 + 4*10.0/18, P99: 8,
		Buckets: []protocol.Bucket{{limit(1), 40}, {limit(2), 40}, {limit(8), 18}, {nil, 2}},
	}
	got := protocol.Summarize(histogram)
	same := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "requests"})
	counter.Add(7)
	if got := protocol.Number(counter); got != 7 {
		t.Errorf("%d", got)
	}
}
