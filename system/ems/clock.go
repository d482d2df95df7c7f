package ems

import "time"

// Clock is the only source of time for whatever waits or stamps. Production
// uses SystemClock; a test drives a ManualClock.
type Clock interface {
	Now() time.Time
	NewTimer(d time.Duration) Timer
}

// Timer fires once, after the duration it was made or last reset with.
type Timer interface {
	C() <-chan time.Time
	// Reset arms the timer anew. A firing that was not received is discarded.
	Reset(d time.Duration)
	// ResetTo arms the timer anew, to fire at a time: at once where that is past. A
	// clock that is moved between a look at it and this call makes it no later.
	ResetTo(at time.Time)
	Stop()
}

// SystemClock is the wall clock of the machine.
type SystemClock struct{}

// Now returns the current time.
func (SystemClock) Now() time.Time { return time.Now() }

// NewTimer returns a running timer.
func (SystemClock) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ timer *time.Timer }

func (t systemTimer) C() <-chan time.Time   { return t.timer.C }
func (t systemTimer) Reset(d time.Duration) { t.timer.Reset(d) }
func (t systemTimer) ResetTo(at time.Time)  { t.timer.Reset(time.Until(at)) }
func (t systemTimer) Stop()                 { t.timer.Stop() }
