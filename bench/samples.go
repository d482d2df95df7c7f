package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// maxSamples bounds the memory of one case. Up to so many calls every duration
// is kept and the percentiles are exact; beyond, the durations kept are a
// uniform random sample of all (Vitter's algorithm R), which places the 99.9th
// percentile within 0.02 percentage points of its rank. The maximum is exact
// always.
const maxSamples = 1 << 18

// samples are the durations of calls.
type samples struct {
	kept   []time.Duration
	limit  int
	count  int64
	max    time.Duration
	random *rand.Rand
}

func newSamples(limit int) *samples {
	return &samples{kept: make([]time.Duration, 0, limit), limit: limit, random: rand.New(rand.NewPCG(1, 2))}
}

func (s *samples) add(duration time.Duration) {
	s.count++
	s.max = max(s.max, duration)
	if len(s.kept) < s.limit {
		s.kept = append(s.kept, duration)
		return
	}
	if at := s.random.Int64N(s.count); at < int64(s.limit) {
		s.kept[at] = duration
	}
}

// merge adds what others keep.
func (s *samples) merge(others *samples) {
	for _, duration := range others.kept {
		s.add(duration)
	}
	s.max = max(s.max, others.max)
}

// clear forgets all.
func (s *samples) clear() { s.kept, s.count, s.max = s.kept[:0], 0, 0 }

// percentiles returns, for each percentage from above 0 to 100, the least
// duration that so many percent of all did not exceed (nearest rank). It is 0
// where there are none.
func percentiles(durations []time.Duration, percents ...float64) []time.Duration {
	sorted := slices.Sorted(slices.Values(durations))
	found := make([]time.Duration, len(percents))
	for i, percent := range percents {
		if len(sorted) == 0 {
			continue
		}
		// One part in 10^9 is taken off so that 99.9 % of 1000 is rank 999,
		// whatever the binary fraction makes of 99.9.
		rank := int(math.Ceil(percent/100*float64(len(sorted)) - 1e-9*float64(len(sorted))))
		found[i] = sorted[min(max(rank, 1), len(sorted))-1]
	}
	return found
}

// median returns the middle number, the mean of the two in the middle of an even
// count, and 0 of none.
func median(numbers []float64) float64 {
	if len(numbers) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(numbers))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
