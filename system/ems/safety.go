package ems

import (
	"math"
	"time"
)

// Safety is what a writable point asks of a command beside its range. A command
// that carries the safe value is held back by neither MaxStep nor an interlock.
type Safety struct {
	MaxStep       *float64      `json:"max_step,omitempty"`       // greatest change from the value last read, in the unit of the point; above 0
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
	// What a device shows has gone through its data type and the scale and back.
	const rounding = 1e-9
	if step := math.Abs(value - last.Number); step > *p.MaxStep*(1+rounding) {
		return Errorf(CodeConflict, "%v is %v %s from the %v that %s has: its greatest step is %v", value, round(step), p.Unit, round(last.Number), p.Name, *p.MaxStep)
	}
	return nil
}

// round leaves what is stored of a number.
func round(number float64) float64 { return math.Round(number*1e6) / 1e6 }
