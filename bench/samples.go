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
// percentile within 0.01 percentage points of its rank. The maximum is exact
// always.
const maxSamples = 1 << 20

// samples are the durations of the calls of one case.
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

// percentiles returns, for each percentage from above 0 to 100, the least
// duration that so many percent of the calls did not exceed (nearest rank). It
// is 0 where nothing was added.
func (s *samples) percentiles(percents ...float64) []time.Duration {
	sorted := slices.Clone(s.kept)
	slices.Sort(sorted)
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
