package bench

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// timed returns a load on a clock that only its own calls move: call n takes
// what took says.
func timed(took func(n int) time.Duration) (*load, *[]time.Duration) {
	clock := ems.NewManualClock(time.Unix(1_782_000_000, 0))
	var seen []time.Duration
	return &load{
		clock:   clock,
		call:    func(_ context.Context, n int) error { clock.Advance(took(n)); return nil },
		pause:   func(_ context.Context, until time.Time) { clock.Advance(max(0, until.Sub(clock.Now()))) },
		observe: func(duration time.Duration) { seen = append(seen, duration) },
	}, &seen
}

func always(took time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return took }
}

func TestClosedLoadSendsEachCallWhenTheOneBeforeIsAnswered(t *testing.T) {
	load, seen := timed(always(3 * time.Millisecond))
	done, err := load.closed(t.Context(), 10*time.Millisecond)
	if err != nil || done != (run{calls: 4, elapsed: 12 * time.Millisecond}) {
		t.Fatalf("%+v, %v", done, err)
	}
	if want := []time.Duration{3e6, 3e6, 3e6, 3e6}; !reflect.DeepEqual(*seen, want) {
		t.Errorf("latencies %v, want %v", *seen, want)
	}
	if load.next != 4 {
		t.Errorf("the next call is %d", load.next)
	}
}

func TestTheTimeForClearingUpIsNeitherLatencyNorThroughput(t *testing.T) {
	load, seen := timed(always(time.Millisecond))
	rounds := 0
	load.settle = func(context.Context) error {
		rounds++
		load.clock.(*ems.ManualClock).Advance(50 * time.Millisecond)
		return nil
	}
	done, err := load.closed(t.Context(), 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// 64 calls, 50 ms, 64 calls, 50 ms: 228 ms have passed, 128 of them measured.
	if done.calls != 128 || done.elapsed != 128*time.Millisecond || rounds != 2 {
		t.Errorf("%+v after clearing up %d times", done, rounds)
	}
	for _, latency := range *seen {
		if latency != time.Millisecond {
			t.Fatalf("a latency of %v", latency)
		}
	}
}

func TestOpenLoadKeepsItsRateWhileAnswersAreQuick(t *testing.T) {
	load, seen := timed(always(250 * time.Microsecond))
	done, err := load.open(t.Context(), 10*time.Millisecond, 1000)
	if err != nil || done.calls != 10 || done.missed != 0 || done.elapsed != 9250*time.Microsecond {
		t.Fatalf("%+v, %v", done, err)
	}
	for n, latency := range *seen {
		if latency != 250*time.Microsecond {
			t.Errorf("latency of call %d is %v", n, latency)
		}
	}
}

// One pause of 5 ms delays the calls that are due meanwhile: they count with
// their wait, and a closed load would show one slow call.
func TestOpenLoadShowsAPauseInEveryCallItDelays(t *testing.T) {
	load, seen := timed(func(n int) time.Duration {
		if n == 2 {
			return 5 * time.Millisecond
		}
		return 500 * time.Microsecond
	})
	if _, err := load.open(t.Context(), 10*time.Millisecond, 1000); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{500e3, 500e3, 5e6, 4500e3, 4e6, 3500e3, 3e6, 2500e3, 2e6, 1500e3}
	if !reflect.DeepEqual(*seen, want) {
		t.Errorf("latencies %v, want %v", *seen, want)
	}
}

func TestOpenLoadCountsTheCallsThatItNeverSent(t *testing.T) {
	load, seen := timed(always(10 * time.Millisecond))
	done, err := load.open(t.Context(), 10*time.Millisecond, 1000)
	if err != nil || done.calls != 2 || done.missed != 8 || done.elapsed != 20*time.Millisecond {
		t.Fatalf("%+v, %v", done, err)
	}
	// Call n was due at n ms. The first ends at 10 ms and the second at 20 ms,
	// when the overtime is over too.
	want := []time.Duration{10e6, 19e6, 18e6, 17e6, 16e6, 15e6, 14e6, 13e6, 12e6, 11e6}
	if !reflect.DeepEqual(*seen, want) {
		t.Errorf("latencies %v, want %v", *seen, want)
	}
}

func TestALoadEndsWithItsContextAndWithAFailedCall(t *testing.T) {
	failure := errors.New("cut")
	for name, drive := range map[string]func(*load, context.Context) (run, error){
		"closed": func(l *load, ctx context.Context) (run, error) { return l.closed(ctx, time.Hour) },
		"open":   func(l *load, ctx context.Context) (run, error) { return l.open(ctx, time.Hour, 1000) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		load, _ := timed(func(n int) time.Duration {
			if n == 4 {
				cancel()
			}
			return time.Millisecond
		})
		if done, err := drive(load, ctx); !errors.Is(err, context.Canceled) || done.calls != 5 {
			t.Errorf("%s: %d calls and %v after the context ended in the fifth", name, done.calls, err)
		}
		load, _ = timed(always(time.Millisecond))
		load.call = func(context.Context, int) error { return failure }
		if _, err := drive(load, t.Context()); !errors.Is(err, failure) {
			t.Errorf("%s: %v after a failed call", name, err)
		}
	}
}

func TestAPauseEndsAtItsTimeOrWithItsContext(t *testing.T) {
	clock := ems.SystemClock{}
	pause := pauseUntil(clock)
	until := clock.Now().Add(2*spin + time.Millisecond)
	pause(t.Context(), until)
	if now := clock.Now(); now.Before(until) {
		t.Errorf("the pause ended %v early", until.Sub(now))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pause(ctx, clock.Now().Add(time.Hour))
}
