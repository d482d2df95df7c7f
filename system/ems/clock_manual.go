package ems

import (
	"fmt"
	"sync"
	"time"
)

// ManualClock stands still until it is advanced. It drives tests and simulated
// time.
type ManualClock struct {
	mu      sync.Mutex
	changed *sync.Cond
	now     time.Time
	timers  map[*manualTimer]struct{}
}

// NewManualClock returns a clock that shows start.
func NewManualClock(start time.Time) *ManualClock {
	clock := &ManualClock{now: start, timers: map[*manualTimer]struct{}{}}
	clock.changed = sync.NewCond(&clock.mu)
	return clock
}

// Now returns the time that the clock shows.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// NewTimer returns a timer that fires when the clock has been advanced by d.
func (c *ManualClock) NewTimer(d time.Duration) Timer {
	timer := &manualTimer{clock: c, fired: make(chan time.Time, 1)}
	timer.Reset(d)
	return timer
}

// Advance moves the clock and fires, in order of time, every timer that falls
// due on the way.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.now.Add(d)
	for {
		var next *manualTimer
		for timer := range c.timers {
			if !timer.due.After(end) && (next == nil || timer.due.Before(next.due)) {
				next = timer
			}
		}
		if next == nil {
			break
		}
		c.now = laterOf(c.now, next.due)
		next.fire(c.now)
	}
	c.now = end
}

// timersWithin is the real time that AwaitTimers takes at most.
const timersWithin = time.Minute

// AwaitTimers blocks until at least n timers are armed: the moment at which the
// code under test is known to wait, so that advancing will wake it. It panics
// where that never comes, because the test would hang and say nothing.
func (c *ManualClock) AwaitTimers(n int) {
	late := false
	stop := time.AfterFunc(timersWithin, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.changed.Broadcast()
	})
	defer stop.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.timers) < n {
		if late {
			panic(fmt.Sprintf("%d timers are armed and not %d, after %v", len(c.timers), n, timersWithin))
		}
		c.changed.Wait()
	}
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

type manualTimer struct {
	clock *ManualClock
	due   time.Time
	fired chan time.Time
}

func (t *manualTimer) C() <-chan time.Time { return t.fired }

func (t *manualTimer) Reset(d time.Duration) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.arm(t.clock.now.Add(d))
}

func (t *manualTimer) ResetTo(at time.Time) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.arm(at)
}

// arm needs the clock's lock.
func (t *manualTimer) arm(at time.Time) {
	select {
	case <-t.fired:
	default:
	}
	t.due = at
	if !at.After(t.clock.now) {
		t.fire(t.clock.now)
		return
	}
	t.clock.timers[t] = struct{}{}
	t.clock.changed.Broadcast()
}

func (t *manualTimer) Stop() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	delete(t.clock.timers, t)
	select {
	case <-t.fired:
	default:
	}
}

// fire needs the clock's lock.
func (t *manualTimer) fire(now time.Time) {
	delete(t.clock.timers, t)
	select {
	case t.fired <- now:
	default:
	}
}
