package comsrv

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// schedule says when a channel is polled: at fixed slots counted from one start,
// so that neither the duration of a poll nor a late timer adds up.
type schedule struct {
	start  time.Time
	period time.Duration
}

// longestSpread bounds how far the first polls of channels lie apart.
const longestSpread = time.Second

// newSchedule spreads channels of equal period evenly, because devices polled in
// phase wait for each other at Redis.
func newSchedule(now time.Time, period time.Duration, channel, channels int) schedule {
	spread := min(period, longestSpread)
	return schedule{start: now.Add(spread * time.Duration(channel) / time.Duration(channels)), period: period}
}

// after returns the first slot after now.
func (s schedule) after(now time.Time) time.Time {
	since := now.Sub(s.start)
	if since < 0 {
		return s.start
	}
	return s.start.Add(since/s.period*s.period + s.period)
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
