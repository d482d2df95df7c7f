package ems_test

import (
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
)

var noon = time.Date(2026, 6, 21, 12, 0, 0, 0, time.UTC)

func TestManualClockFiresTimersInOrderOfTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := ems.NewManualClock(noon)
		delays := rapid.SliceOfN(rapid.IntRange(1, 50), 1, 10).Draw(t, "delays")
		timers := make([]ems.Timer, len(delays))
		for i, delay := range delays {
			timers[i] = clock.NewTimer(time.Duration(delay) * time.Second)
		}
		total := 0
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 30), 1, 6).Draw(t, "steps") {
			clock.Advance(time.Duration(step) * time.Second)
			total += step
			for i, delay := range delays {
				select {
				case at := <-timers[i].C():
					if delay > total || !at.Equal(noon.Add(time.Duration(delay)*time.Second)) {
						t.Fatalf("timer of %d s fired at %v after %d s", delay, at, total)
					}
					delays[i] = 1 << 30 // it must not fire again
				default:
					if delay <= total {
						t.Fatalf("timer of %d s has not fired after %d s", delay, total)
					}
				}
			}
		}
		if !clock.Now().Equal(noon.Add(time.Duration(total) * time.Second)) {
			t.Fatalf("the clock shows %v after %d s", clock.Now(), total)
		}
	})
}

func TestManualTimerResetAndStopDiscardAFiring(t *testing.T) {
	clock := ems.NewManualClock(noon)
	timer := clock.NewTimer(time.Second)
	clock.Advance(2 * time.Second)
	timer.Reset(time.Second)
	select {
	case at := <-timer.C():
		t.Fatalf("the firing of before the reset came through: %v", at)
	default:
	}
	clock.Advance(time.Second)
	if at := <-timer.C(); !at.Equal(noon.Add(3 * time.Second)) {
		t.Errorf("fired at %v", at)
	}
	timer.Reset(time.Second)
	timer.Stop()
	clock.Advance(time.Minute)
	select {
	case <-timer.C():
		t.Error("a stopped timer fired")
	default:
	}
}

// A clock that moves between a look at it and the arming of a timer makes it no
// later.
func TestATimerFiresAtItsTime(t *testing.T) {
	clock := ems.NewManualClock(noon)
	timer := clock.NewTimer(0)
	at := clock.Now().Add(3 * time.Second)
	clock.Advance(2 * time.Second)
	timer.ResetTo(at)
	select {
	case fired := <-timer.C():
		t.Fatalf("fired at %v", fired)
	default:
	}
	clock.Advance(time.Second)
	if fired := <-timer.C(); !fired.Equal(at) {
		t.Errorf("fired at %v", fired)
	}
	timer.ResetTo(at)
	if fired := <-timer.C(); !fired.Equal(at) {
		t.Errorf("a time that is past: fired at %v", fired)
	}
}

func TestAwaitTimersSeesAnotherGoroutineWait(t *testing.T) {
	clock := ems.NewManualClock(noon)
	fired := make(chan time.Time)
	for _, delay := range []time.Duration{2 * time.Second, time.Second} {
		go func() { fired <- <-clock.NewTimer(delay).C() }()
	}
	clock.AwaitTimers(2)
	clock.Advance(5 * time.Second)
	got := []time.Time{<-fired, <-fired}
	sort.Slice(got, func(i, j int) bool { return got[i].Before(got[j]) })
	if !got[0].Equal(noon.Add(time.Second)) || !got[1].Equal(noon.Add(2*time.Second)) {
		t.Errorf("fired at %v", got)
	}
}

func TestSystemClock(t *testing.T) {
	var clock ems.Clock = ems.SystemClock{}
	before := time.Now()
	timer := clock.NewTimer(time.Hour)
	timer.Reset(time.Millisecond)
	<-timer.C()
	timer.Stop()
	if clock.Now().Sub(before) < time.Millisecond {
		t.Error("the timer fired early")
	}
	later := time.Now().Add(time.Millisecond)
	timer.ResetTo(later)
	<-timer.C()
	timer.Stop()
	if clock.Now().Before(later) {
		t.Error("the timer fired before its time")
	}
}
