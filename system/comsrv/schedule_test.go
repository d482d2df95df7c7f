package comsrv

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var epoch = time.UnixMilli(1_782_000_000_000)

// TestSlotsNeverDrift: whenever it is asked, the next slot is the first one of
// the grid that lies ahead.
func TestSlotsNeverDrift(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		period := time.Duration(rapid.Int64Range(int64(10*time.Millisecond), int64(24*time.Hour)).Draw(t, "period"))
		channels := rapid.IntRange(1, 1000).Draw(t, "channels")
		channel := rapid.IntRange(0, channels-1).Draw(t, "channel")
		s := newSchedule(epoch, period, channel, channels)
		phase := s.start.Sub(epoch)
		if phase < 0 || phase >= min(period, time.Second) {
			t.Fatalf("the phase is %v", phase)
		}
		now := epoch.Add(time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "now")))
		next := s.after(now)
		if !next.After(now) || next.Sub(now) > period && now.After(s.start) || next.Sub(s.start)%period != 0 {
			t.Fatalf("after %v comes %v on a grid of %v from %v", now, next, period, s.start)
		}
		slots := rapid.IntRange(0, 100).Draw(t, "slots")
		into := time.Duration(rapid.Int64Range(0, int64(period)-1).Draw(t, "into"))
		if missed := s.missed(next, next.Add(time.Duration(slots)*period+into)); missed != slots {
			t.Fatalf("a poll over %d slots missed %d", slots, missed)
		}
	})
}

func TestChannelsAreSpreadEvenly(t *testing.T) {
	var phases []time.Duration
	for i := range 4 {
		phases = append(phases, newSchedule(epoch, 200*time.Millisecond, i, 4).start.Sub(epoch))
	}
	want := []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond}
	if diff := cmp.Diff(want, phases); diff != "" {
		t.Error(diff)
	}
	if phase := newSchedule(epoch, time.Hour, 3, 4).start.Sub(epoch); phase != 750*time.Millisecond {
		t.Errorf("a slow channel waits %v for its first poll", phase)
	}
}

// TestRetriesGrowWithFullJitter: pauses lie between none and a bound that doubles
// up to half a minute, and use the whole of it.
func TestRetriesGrowWithFullJitter(t *testing.T) {
	t.Parallel()
	const rounds = 400
	longest := make([]time.Duration, 9)
	shortest := make([]time.Duration, 9)
	for i := range shortest {
		shortest[i] = time.Hour
	}
	retry := newRetry()
	for range rounds {
		retry.Reset()
		for i := range longest {
			pause := retry.NextBackOff()
			longest[i], shortest[i] = max(longest[i], pause), min(shortest[i], pause)
		}
	}
	bound := firstRetry
	for i := range longest {
		// 400 draws all miss the upper or lower tenth once in 10^18 runs.
		if longest[i] > bound+1 || longest[i] < bound*9/10 || shortest[i] < 0 || shortest[i] > bound/10 {
			t.Errorf("pause %d lies between %v and %v, want 0 to %v", i, shortest[i], longest[i], bound)
		}
		bound = min(2*bound, longestRetry)
	}
}
