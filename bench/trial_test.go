package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// lone returns the trial of a case whose calls take what took says, on a clock
// that only they move.
func lone(one workload, took func(n int) time.Duration) (*trial, *[]int) {
	clock := ems.NewManualClock(time.Unix(1_782_000_000, 0))
	var calls []int
	one.lanes = 1
	one.call = func(_ context.Context, _, n int) error {
		calls = append(calls, n)
		clock.Advance(took(n))
		return nil
	}
	return newTrial(one, Options{Clock: clock}, nil), &calls
}

func TestAWarmUpIsNotMeasuredAndRoundsAreKeptApart(t *testing.T) {
	trial, calls := lone(workload{name: "x", perCall: 2, points: 100}, func(n int) time.Duration {
		switch {
		case n < 5:
			return time.Second
		case n < 15:
			return time.Millisecond
		default:
			return 5 * time.Millisecond
		}
	})
	resets := 0
	trial.reset = func(context.Context) error { resets++; return nil }
	if err := trial.warmUp(t.Context(), 5*time.Second); err != nil || resets != 1 {
		t.Fatalf("cleared up %d times, %v", resets, err)
	}
	for round, slowest := range []time.Duration{3, 2} {
		done, err := trial.measure(t.Context(), 10*time.Millisecond, 0)
		if err != nil {
			t.Fatal(err)
		}
		trial.keep(done, time.Duration(40*(round+1))*time.Microsecond, slowest)
	}
	want := Result{
		Case: "x", Connections: 1, Calls: 12, P999: 5 * time.Millisecond, Max: 5 * time.Millisecond, Slowest: 3,
		Rounds: []Round{
			{Calls: 10, PerS: 1000, Points: 100_000, Server: 80 * time.Microsecond, P50: time.Millisecond, P99: time.Millisecond},
			{Calls: 2, PerS: 200, Points: 20_000, Server: 160 * time.Microsecond, P50: 5 * time.Millisecond, P99: 5 * time.Millisecond},
		},
	}
	if diff := cmp.Diff(want, trial.result()); diff != "" {
		t.Error(diff)
	}
	for n, call := range *calls {
		if n != call {
			t.Fatalf("call %d has number %d", n, call)
		}
	}
}

// A service is asked as fast as it answers: a rate is for what takes microseconds.
func TestARateIsNotForAService(t *testing.T) {
	for _, api := range []bool{false, true} {
		trial, calls := lone(workload{name: "x", api: api}, always(time.Millisecond))
		one := trial.loads[0]
		one.pause = func(_ context.Context, until time.Time) {
			one.clock.(*ems.ManualClock).Advance(max(0, until.Sub(one.clock.Now())))
		}
		if _, err := trial.measure(t.Context(), 100*time.Millisecond, 50); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 5, true: 100}[api]; len(*calls) != want || trial.result().API != api {
			t.Errorf("at a service %v: %d calls instead of %d", api, len(*calls), want)
		}
	}
}

func TestConnectionsTogetherAreTheirSumInTheSameTime(t *testing.T) {
	all := together([]run{{calls: 10, elapsed: 4 * time.Second, missed: 1}, {calls: 20, elapsed: 6 * time.Second}})
	if all != (run{calls: 30, elapsed: 5 * time.Second, missed: 1}) {
		t.Errorf("%+v", all)
	}
}

// What is on beside a case runs, is proved, and leaves no trace in the figures.
func TestLoadBesideACase(t *testing.T) {
	var counted atomic.Int64
	proved := 0
	beside := workload{
		commands: []string{"fcall"}, lanes: 1,
		call:   func(context.Context, int, int) error { counted.Add(1); return nil },
		verify: func(context.Context, int, int) error { proved++; return nil },
	}
	trial := newTrial(workload{
		name: "x", commands: []string{"ping"}, perCall: 1, lanes: 2, beside: &beside,
		call: func(context.Context, int, int) error { time.Sleep(time.Millisecond); return nil },
	}, Options{Clock: ems.SystemClock{}}, nil)
	if err := trial.prove(t.Context()); err != nil || proved != 0 {
		t.Errorf("before any call %d proofs were made, %v", proved, err)
	}
	done, err := trial.measure(t.Context(), 20*time.Millisecond, 0)
	if err != nil {
		t.Fatal(err)
	}
	trial.keep(done, 0, 0)
	if err := trial.prove(t.Context()); err != nil || proved != 1 {
		t.Errorf("%d proofs, %v", proved, err)
	}
	if result := trial.result(); result.Connections != 2 || result.Calls != done.calls || done.calls < 2 || done.calls > 60 || counted.Load() == 0 {
		t.Errorf("%d calls with %d beside: %+v", done.calls, counted.Load(), result)
	}
	if diff := cmp.Diff([]string{"fcall", "ping"}, trial.allCommands()); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedCallEndsAllConnections(t *testing.T) {
	cut := errors.New("cut")
	trial := newTrial(workload{
		name: "x", lanes: 3, call: func(_ context.Context, lane, n int) error {
			if lane == 1 && n == 3 {
				return cut
			}
			return nil
		},
	}, Options{Clock: ems.SystemClock{}}, nil)
	if _, err := trial.measure(t.Context(), time.Hour, 0); !errors.Is(err, cut) {
		t.Errorf("%v", err)
	}
}

func TestARoundThatDidNotDoItsWorkIsAnError(t *testing.T) {
	idle := errors.New("idle")
	trial, _ := lone(workload{name: "x", verify: func(_ context.Context, lane, n int) error {
		if lane == 0 && n == 2 {
			return idle
		}
		return nil
	}}, always(time.Millisecond))
	if _, err := trial.measure(t.Context(), 3*time.Millisecond, 0); err != nil {
		t.Fatal(err)
	}
	if err := trial.prove(t.Context()); !errors.Is(err, idle) {
		t.Errorf("%v", err)
	}
}
