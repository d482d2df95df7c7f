package ems

import (
	"math"
	"time"
)

// Safety is what a writable point asks of a command beside its range. A command
// that carries the safe value is held back by neither MaxStep, MaxRate nor an interlock.
type Safety struct {
	MaxStep       *float64      `json:"max_step,omitempty"`       // greatest change from the value last read, in the unit of the point; above 0
	MaxRate       *float64      `json:"max_rate,omitempty"`       // greatest change per second from one write to the next, in the unit of the point; above 0
	SafeValue     *float64      `json:"safe_value,omitempty"`     // written when a command that was to hold for a time is not renewed
	SelectTimeout time.Duration `json:"select_timeout,omitempty"` // the point must be selected before it is operated, and is for so long; 0 is no need
}

// IsSafe reports whether a value is the safe one, as numbers are stored.
func (s *Safety) IsSafe(value float64) bool {
	if s.SafeValue == nil {
		return false
	}
	const storedDecimals = 1e-6
	return math.Abs(value-*s.SafeValue) < storedDecimals/2
}

// CheckStep refuses a command that would change the point by more than its
// greatest step. last is the value that the device showed last.
func (p *Point) CheckStep(value float64, last Value) error {
	if p.MaxStep == nil || p.IsSafe(value) {
		return nil
	}
	if last.Quality != Good {
		return Errorf(CodeConflict, "the value of %s is not known now, and %v may be more than its greatest step, %v %s, away", p.Name, value, *p.MaxStep, p.Unit)
	}
	if step := math.Abs(value - last.Number); step > *p.MaxStep*(1+rounding) {
		return Errorf(CodeConflict, "%v is %v %s from the %v that %s has: its greatest step is %v", value, round(step), p.Unit, round(last.Number), p.Name, *p.MaxStep)
	}
	return nil
}

// CheckRate refuses a command that would change the point faster than its greatest
// rate. base is what it was given, or showed, so long ago.
func (p *Point) CheckRate(value, base float64, ago time.Duration) error {
	if p.MaxRate == nil || p.IsSafe(value) {
		return nil
	}
	change := math.Abs(value - base)
	if change <= *p.MaxRate*ago.Seconds()*(1+rounding) {
		return nil
	}
	return Errorf(CodeConflict, "%v is %v %s from the %v that %s had %v s ago: its greatest rate is %v a second, so send it %v s later", value, round(change), p.Unit,
		round(base), p.Name, milli(ago.Seconds()), *p.MaxRate, milli(change / *p.MaxRate - ago.Seconds()))
}

// rounding is how far a number may be from another one that is the same: what a
// device shows has gone through its data type and the scale and back.
const rounding = 1e-9

// milli leaves the milliseconds of a time in seconds, and rounds up.
func milli(seconds float64) float64 { return math.Ceil(round(seconds*1e3)) / 1e3 }

// round leaves what is stored of a number.
func round(number float64) float64 { return math.Round(number*1e6) / 1e6 }
