package comsrv

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var epoch = time.UnixMilli(1_782_000_000_000)

// drawPeriods returns the periods of one to four poll groups, the shortest first.
func drawPeriods(t *rapid.T) []time.Duration {
	periods := rapid.SliceOfN(rapid.Int64Range(int64(10*time.Millisecond), int64(24*time.Hour)), 1, 4).Draw(t, "periods")
	slices.Sort(periods)
	var made []time.Duration
	for _, period := range periods {
		made = append(made, time.Duration(period))
	}
	return made
}

// TestSlotsNeverDrift: whenever it is asked, the next slot is the first one of
// the grid that lies ahead.
func TestSlotsNeverDrift(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		channels := rapid.IntRange(1, 1000).Draw(t, "channels")
		channel := rapid.IntRange(0, channels-1).Draw(t, "channel")
		periods := drawPeriods(t)
		for i, s := range newSchedules(epoch, periods, channel, channels) {
			if phase := s.start.Sub(epoch); phase < 0 || phase >= min(periods[0], time.Second)+min(periods[i], time.Second) || i == 0 && phase >= min(periods[0], time.Second) {
				t.Fatalf("the phase of group %d is %v", i, phase)
			}
			if s.period != periods[i] {
				t.Fatalf("the period of group %d is %v", i, s.period)
			}
			now := epoch.Add(time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "now")))
			next := s.after(now)
			if !next.After(now) || next.Sub(now) > s.period && now.After(s.start) || next.Sub(s.start)%s.period != 0 {
				t.Fatalf("after %v comes %v on a grid of %v from %v", now, next, s.period, s.start)
			}
			slots := rapid.IntRange(0, 100).Draw(t, "slots")
			into := time.Duration(rapid.Int64Range(0, int64(s.period)-1).Draw(t, "into"))
			if missed := s.missed(next, next.Add(time.Duration(slots)*s.period+into)); missed != slots {
				t.Fatalf("a poll over %d slots missed %d", slots, missed)
			}
		}
	})
}

func TestChannelsAndGroupsAreSpreadEvenly(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		periods  []time.Duration
		channels int
		want     [][]time.Duration // by channel and group
	}{
		{[]time.Duration{200 * ms}, 4, [][]time.Duration{{0}, {50 * ms}, {100 * ms}, {150 * ms}}},
		{[]time.Duration{100 * ms, 100 * ms}, 1, [][]time.Duration{{0, 50 * ms}}},
		{[]time.Duration{100 * ms, 100 * ms}, 2, [][]time.Duration{{0, 75 * ms}, {50 * ms, 25 * ms}}},
		{[]time.Duration{time.Hour}, 4, [][]time.Duration{{0}, {250 * ms}, {500 * ms}, {750 * ms}}},
		// A minute has room for a second, in steps of 100 ms, and keeps to its place between two slots of the other.
		{[]time.Duration{100 * ms, time.Minute}, 2, [][]time.Duration{{0, 75 * ms}, {50 * ms, 525 * ms}}},
	} {
		for channel, want := range test.want {
			var phases []time.Duration
			for _, s := range newSchedules(epoch, test.periods, channel, test.channels) {
				phases = append(phases, s.start.Sub(epoch))
			}
			if diff := cmp.Diff(want, phases); diff != "" {
				t.Errorf("%v, channel %d of %d: %s", test.periods, channel, test.channels, diff)
			}
		}
	}
}

// TestGroupsNeverFallDueTogether, when their periods are multiples of the
// shortest, and no two of channels with the same periods do where there is room.
func TestGroupsNeverFallDueTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		channels, shortest := rapid.IntRange(1, 50).Draw(t, "channels"), time.Duration(rapid.IntRange(10, 5000).Draw(t, "shortest"))*time.Millisecond
		periods := []time.Duration{shortest}
		for range rapid.IntRange(0, 7).Draw(t, "others") {
			periods = append(periods, shortest*time.Duration(rapid.IntRange(1, 600).Draw(t, "times")))
		}
		slices.Sort(periods)
		seen := map[time.Duration]string{}
		for channel := range channels {
			for group, s := range newSchedules(epoch, periods, channel, channels) {
				place, at := fmt.Sprintf("group %d of channel %d", group, channel), s.start.Sub(epoch)%shortest
				if other, taken := seen[at]; taken {
					t.Fatalf("%s and %s fall due %v after each slot of %v", place, other, at, shortest)
				}
				seen[at] = place
			}
		}
	})
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

// TestLongPausesEndOnTheGrid, of at most a second, and others when they are over.
func TestLongPausesEndOnTheGrid(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, test := range []struct{ period, now, pause, want time.Duration }{
		{time.Second, 100 * ms, 999 * ms, 1099 * ms},
		{time.Second, 100 * ms, 1000 * ms, 1300 * ms},
		{time.Second, 5300 * ms, 2000 * ms, 8300 * ms},
		{time.Hour, 5200 * ms, 2200 * ms, 8300 * ms},
		{50 * ms, 40 * ms, 49 * ms, 89 * ms},
		{50 * ms, 310 * ms, 60 * ms, 400 * ms},
	} {
		s := schedule{start: epoch.Add(300 * ms), period: test.period}
		if at := s.retry(epoch.Add(test.now), test.pause).Sub(epoch); at != test.want {
			t.Errorf("every %v, %v after %v: at %v, want %v", test.period, test.pause, test.now, at, test.want)
		}
	}
}
