package comsrv

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// schedule says when a poll group is read: at fixed slots counted from one start,
// so that neither the duration of a poll nor a late timer adds up.
type schedule struct {
	start  time.Time
	period time.Duration
}

// longestSpread bounds how far the first polls of channels lie apart.
const longestSpread = time.Second

// newSchedules spreads groups over time: those of one channel, whose periods are
// given, the shortest first, evenly over the shortest period, and those of
// channels evenly within, because devices polled in phase wait for each other at
// Redis. A group whose period is a multiple of the shortest never falls due
// together with another one of its channel.
func newSchedules(now time.Time, periods []time.Duration, channel, channels int) []schedule {
	spread := min(periods[0], longestSpread)
	count := len(periods)
	made := make([]schedule, count)
	for i, period := range periods {
		place := (channel+i*channels/count)%channels*count + i
		start := now.Add(spread * time.Duration(place) / time.Duration(channels*count))
		// Groups with a long period have more room, in whole steps of the shortest.
		room := min(period, longestSpread) * time.Duration(channel) / time.Duration(channels)
		made[i] = schedule{start: start.Add(room / spread * spread), period: period}
	}
	return made
}

// after returns the first slot after now.
func (s schedule) after(now time.Time) time.Time {
	since := now.Sub(s.start)
	if since < 0 {
		return s.start
	}
	return s.start.Add(since/s.period*s.period + s.period)
}

// retry returns when a device is tried again after a pause. After a longer one it is a
// time that lies as far from the polls of other channels as a slot does, because an
// attempt takes its time and many devices may be away for long.
func (s schedule) retry(now time.Time, pause time.Duration) time.Time {
	grid := schedule{start: s.start, period: min(s.period, longestSpread)}
	if pause < grid.period {
		return now.Add(pause)
	}
	return grid.after(now.Add(pause))
}

// missed returns how many slots lie between the one that a poll began with and
// the first one after its end.
func (s schedule) missed(began, ended time.Time) int {
	return int(s.after(ended).Sub(s.after(began)) / s.period)
}

// The first and the longest pause before a device is tried again.
const (
	firstRetry   = 500 * time.Millisecond
	longestRetry = 30 * time.Second
)

// newRetry returns pauses that double from firstRetry to longestRetry with full
// jitter: each is taken at random between none and the whole. The library spreads
// around a middle, hence the halves.
func newRetry() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: firstRetry / 2, MaxInterval: longestRetry / 2, Multiplier: 2, RandomizationFactor: 1,
	}
}
