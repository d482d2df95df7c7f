package bench

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// trial is a case while the bench runs: a load for each of its connections, and
// what they measured.
type trial struct {
	workload
	loads    []*load
	lanes    []*samples // of the present round, one for each load
	idle     bool       // what is called is not measured
	beside   *trial     // load that is on meanwhile, and is not measured
	kept     *samples   // of all rounds
	rounds   []Round
	longest  time.Duration // call in the server, over all rounds
	missed   int64
	measured int64 // calls
}

// laneSamples bounds the calls of one connection in one round of which every
// duration is kept.
const laneSamples = 1 << 16

func newTrial(one workload, options Options, histogram prometheus.Observer) *trial {
	t := &trial{workload: one, kept: newSamples(maxSamples)}
	for lane := range one.lanes {
		t.lanes = append(t.lanes, newSamples(laneSamples))
		t.loads = append(t.loads, &load{
			clock: options.Clock, settle: one.settle, pause: pauseUntil(options.Clock),
			call: func(ctx context.Context, n int) error { return one.call(ctx, lane, n) },
			observe: func(duration time.Duration) {
				if t.idle {
					return
				}
				t.lanes[lane].add(duration)
				if histogram != nil {
					histogram.Observe(duration.Seconds())
				}
			},
		})
	}
	if one.beside != nil {
		t.beside = newTrial(*one.beside, options, nil)
		t.beside.idle = true
	}
	return t
}

// warmUp calls, and leaves nothing of it.
func (t *trial) warmUp(ctx context.Context, duration time.Duration) error {
	t.idle = true
	defer func() { t.idle = false }()
	if _, err := t.drive(ctx, duration, 0); err != nil || t.reset == nil {
		return err
	}
	return t.reset(ctx)
}

// measure calls for a while over all connections at once.
func (t *trial) measure(ctx context.Context, duration time.Duration, rate float64) (run, error) {
	for _, lane := range t.lanes {
		lane.clear()
	}
	if len(t.loads) > 1 || t.api { // what counts is how much goes through; a service is not that fast
		rate = 0
	}
	return t.drive(ctx, duration, rate)
}

// drive runs the loads together and returns what those of the case came to.
func (t *trial) drive(ctx context.Context, duration time.Duration, rate float64) (run, error) {
	group, ctx := errgroup.WithContext(ctx)
	runs := make([]run, len(t.loads))
	for lane, load := range t.loads {
		group.Go(func() (err error) {
			if rate > 0 {
				runs[lane], err = load.open(ctx, duration, rate)
			} else {
				runs[lane], err = load.closed(ctx, duration)
			}
			return err
		})
	}
	if t.beside != nil {
		group.Go(func() error {
			_, err := t.beside.drive(ctx, duration, 0)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return run{}, err
	}
	return together(runs), nil
}

// together adds what several connections came to in the same time.
func together(runs []run) run {
	var all run
	for _, one := range runs {
		all.calls += one.calls
		all.missed += one.missed
		all.elapsed += one.elapsed / time.Duration(len(runs))
	}
	return all
}

// keep notes one round.
func (t *trial) keep(done run, server time.Duration, slowest time.Duration) {
	var all []time.Duration
	for _, lane := range t.lanes {
		all = append(all, lane.kept...)
		t.kept.merge(lane)
	}
	found := percentiles(all, 50, 99)
	perS := float64(done.calls) / done.elapsed.Seconds()
	t.rounds = append(t.rounds, Round{
		Calls: done.calls, PerS: perS, Points: perS * float64(t.points),
		Server: server * time.Duration(t.perCall), P50: found[0], P99: found[1],
	})
	t.longest = max(t.longest, slowest)
	t.missed += done.missed
	t.measured += done.calls
}

// prove verifies, for every connection, that the calls of the round did their
// work.
func (t *trial) prove(ctx context.Context) error {
	for lane, load := range t.loads {
		if t.verify == nil || load.next == 0 {
			continue
		}
		if err := t.verify(ctx, lane, load.next-1); err != nil {
			return err
		}
	}
	if t.beside != nil {
		return t.beside.prove(ctx)
	}
	return nil
}

// allCommands are those of the case and of what is on beside it.
func (t *trial) allCommands() []string {
	if t.beside == nil {
		return t.commands
	}
	return append(t.beside.allCommands(), t.commands...)
}

func (t *trial) result() Result {
	return Result{
		Case: t.name, API: t.api, Connections: len(t.loads), Rounds: t.rounds, Calls: t.measured, Missed: t.missed,
		P999: percentiles(t.kept.kept, 99.9)[0], Max: t.kept.max, Slowest: t.longest,
		Sampled: t.measured+t.missed > int64(len(t.kept.kept)),
	}
}
