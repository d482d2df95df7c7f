package comsrv

import (
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
)

// rates is what the greatest rates of points are measured from. It belongs to the
// goroutine of the channel.
type rates struct {
	since   time.Time           // the device answers
	written map[int]writtenOnce // meanwhile, by index of the point
}

// writtenOnce is the last value that may have reached the device.
type writtenOnce struct {
	value float64
	at    time.Time
}

// checkRate refuses what would change a point faster than its table says. shown is
// what the device shows of it, and since when.
func (c *channel) checkRate(index int, value float64, shown ems.Value) error {
	point := &c.Points[index]
	last, known := c.rates.written[index]
	switch {
	case !known:
		last = writtenOnce{value: shown.Number, at: c.rates.since}
	case shown.Quality == ems.Good && shown.Time.After(last.at): // it may have begun anew behind its gateway
		last.value = shown.Number
	}
	if point.MaxRate != nil && !known && shown.Quality != ems.Good && !point.IsSafe(value) {
		return ems.Errorf(ems.CodeConflict, "the value of %s is not known now, and %v may be too far away for its greatest rate, %v %s a second", point.Name, value, *point.MaxRate, point.Unit)
	}
	return point.CheckRate(value, last.value, c.clock.Now().Sub(last.at))
}

// noteWrite remembers a write of a point with a greatest rate, unless nothing of it
// reached the device.
func (c *channel) noteWrite(index int, value float64, written protocol.Written, err error) {
	point := &c.Points[index]
	if point.MaxRate == nil || err != nil && failedState(err) != ems.CommandUnknown {
		return
	}
	if written.ReadBack != nil {
		value = point.FromRaw(*written.ReadBack)
	}
	c.rates.written[index] = writtenOnce{value: value, at: c.clock.Now()}
}
