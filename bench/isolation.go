package bench

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// isolatedPoints is how many points a meter has where it matters what the others
// do.
const isolatedPoints = 2

// isolatedRounds is how many rounds of a span each of the two has. In one of them a
// dozen polls make the p99, which says little of a tenth more or less.
const isolatedRounds = 7

// troubledOf is of how many meters one gets into trouble.
const troubledOf = 5

// measureIsolation measures how long it takes until Redis has told of a poll: first
// undisturbed, and then while a fifth of the devices are in trouble, a third of
// these each: nobody listens there, they never answer, they answer a byte a second.
// Only those that are never in trouble count, in both.
func (s *server) measureIsolation(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error) {
	meters, err := openMeters(s.clock, s.sizes.isolated, layout{points: isolatedPoints, changing: 1}, s.sizes.second)
	if err != nil {
		return nil, err
	}
	defer closeMeters(meters)
	var others, troubled []*meter
	for n, one := range meters {
		if n%troubledOf == 0 {
			troubled = append(troubled, one)
		} else {
			others = append(others, one)
		}
	}
	a, err := s.acquire(ctx, isolationCase, meters, s.sizes.second)
	if err != nil {
		return nil, err
	}
	calm, disturbed := newRecording(calmCase, len(others), histogram), newRecording(isolationCase, len(others), histogram)
	by := newHearing(s.clock, others)
	err = a.hear(ctx, by, func(ctx context.Context) error {
		for _, of := range []*recording{calm, disturbed} {
			if err := s.wait(ctx, 2*s.sizes.second); err != nil { // until comsrv has noticed
				return err
			}
			for range isolatedRounds {
				if err := s.hearRound(ctx, by, others, of); err != nil {
					return err
				}
			}
			if of == calm {
				err = s.verifyAcquired(ctx, a, len(meters))
				bringTrouble(troubled)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return []Result{calm.result(), disturbed.result()}, a.comsrv.end(ctx)
}

func bringTrouble(meters []*meter) {
	for n, one := range meters {
		switch n % 3 {
		case 0:
			_ = one.server.Close() // from now on nobody listens
		case 1:
			one.trouble.Store(int32(hung))
		default:
			one.trouble.Store(int32(dripping))
		}
	}
}
