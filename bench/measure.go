package bench

import (
	"context"
	"runtime"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// settleEvery is how many calls pass between two rounds of clearing up behind
// them. Few, so that one round is short.
const settleEvery = 64

// load drives one case and takes the time of its calls.
type load struct {
	clock   ems.Clock
	call    func(ctx context.Context, n int) error
	settle  func(ctx context.Context) error // nil if nothing need be cleared up
	pause   func(ctx context.Context, until time.Time)
	observe func(duration time.Duration)
	next    int // number of the next call, from the warm-up on
}

// run is what one phase of a load came to.
type run struct {
	calls   int64
	elapsed time.Duration // without the time for clearing up
	missed  int64         // open load: calls that were never sent
}

// overtime is how many times its duration an open load may take before calls
// that are still waiting count as missed.
const overtime = 2

// closed sends each call as soon as the one before is answered. It shows what
// one synchronous client gets; a pause of the server delays calls that then are
// not made, so that it counts once.
func (l *load) closed(ctx context.Context, duration time.Duration) (run, error) {
	var done run
	var cleared time.Duration
	began := l.clock.Now()
	for {
		start := l.clock.Now()
		if start.Sub(began) >= duration {
			done.elapsed = start.Sub(began) - cleared
			return done, ctx.Err()
		}
		if err := l.once(ctx, start); err != nil {
			return done, err
		}
		done.calls++
		took, err := l.clearUp(ctx)
		if err != nil {
			return done, err
		}
		cleared += took
	}
}

// open sends calls at a fixed rate per second over one connection, whatever the
// answers do. A call's time counts from when it was due, so that a pause of the
// server shows in every call that it delays. Calls that the overtime leaves
// unsent count with the time for which they waited.
func (l *load) open(ctx context.Context, duration time.Duration, rate float64) (run, error) {
	var done run
	began := l.clock.Now()
	planned := int64(rate * duration.Seconds())
	due := func(n int64) time.Time { return began.Add(time.Duration(float64(n) / rate * float64(time.Second))) }
	for done.calls < planned && l.clock.Now().Sub(began) < overtime*duration {
		l.pause(ctx, due(done.calls))
		if err := l.once(ctx, due(done.calls)); err != nil {
			return done, err
		}
		done.calls++
		if _, err := l.clearUp(ctx); err != nil {
			return done, err
		}
	}
	end := l.clock.Now()
	done.elapsed = end.Sub(began)
	done.missed = planned - done.calls
	for n := done.calls; n < planned; n++ {
		l.observe(end.Sub(due(n)))
	}
	return done, ctx.Err()
}

func (l *load) once(ctx context.Context, start time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.call(ctx, l.next); err != nil {
		return err
	}
	l.observe(l.clock.Now().Sub(start))
	l.next++
	return nil
}

func (l *load) clearUp(ctx context.Context) (time.Duration, error) {
	if l.settle == nil || l.next%settleEvery != 0 {
		return 0, nil
	}
	start := l.clock.Now()
	err := l.settle(ctx)
	return l.clock.Now().Sub(start), err
}

// spin is how long before a call is due that waiting turns into spinning: a
// timer may be a millisecond late, which would count as time of the call.
const spin = 2 * time.Millisecond

// pauseUntil returns a pause that is exact to a few microseconds.
func pauseUntil(clock ems.Clock) func(ctx context.Context, until time.Time) {
	return func(ctx context.Context, until time.Time) {
		if left := until.Sub(clock.Now()); left > spin {
			timer := clock.NewTimer(left - spin)
			defer timer.Stop()
			select {
			case <-timer.C():
			case <-ctx.Done():
			}
		}
		for ctx.Err() == nil && clock.Now().Before(until) {
			runtime.Gosched()
		}
	}
}
