package config

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Heartbeat is a point that comsrv writes for as long as the device answers its
// polls, so that the device itself notices when comsrv is lost.
type Heartbeat struct {
	Point  string        `yaml:"point"` // of the same channel, "A:9"
	Period time.Duration `yaml:"period"`
	Values Beat          `yaml:"values"`
}

// Beat is what a heartbeat writes.
type Beat string

// The beats.
const (
	Toggle Beat = "toggle" // 0 and 1 in turn
	Count  Beat = "count"  // one more each time, from min to max of the point, or 0 to 32767
)

// Bounds of the period of a heartbeat.
const (
	leastBeat   = 100 * time.Millisecond
	longestBeat = time.Minute
)

// Point returns the index of a point that is named as "A:9", -1 if there is none.
func (c *Channel) Point(text string) int {
	ref, err := parsePlace(c.ID, text)
	if err != nil {
		return -1
	}
	return slices.IndexFunc(c.Points, func(p MappedPoint) bool { return p.Type == ref.Type && p.ID == ref.Point })
}

// checkLoss checks what a channel says for the loss of comsrv.
func (c *Channel) checkLoss(doc *document, at []any) {
	if beat := c.Heartbeat; beat != nil {
		here := append(slices.Clone(at), "heartbeat")
		point := c.writable(doc, append(slices.Clone(here), "point"), beat.Point)
		if beat.Period < leastBeat || beat.Period > longestBeat {
			doc.add(append(slices.Clone(here), "period"), "%v is not between %v and %v", beat.Period, leastBeat, longestBeat)
		}
		switch {
		case beat.Values != Toggle && beat.Values != Count:
			doc.add(append(slices.Clone(here), "values"), "unknown values %q: use toggle or count", beat.Values)
		case beat.Values == Count && point != nil && point.Type == ems.Control:
			doc.add(append(slices.Clone(here), "values"), "a control is 0 or 1: use toggle")
		case beat.Values == Toggle && point != nil && (point.CheckRange(0) != nil || point.CheckRange(1) != nil):
			doc.add(append(slices.Clone(here), "values"), "the range of %s does not hold 0 and 1", point.Name)
		}
	}
	for _, place := range slices.Sorted(maps.Keys(c.SafeState)) {
		here, value := append(slices.Clone(at), "safe_state", place), c.SafeState[place]
		point := c.writable(doc, here, place)
		switch {
		case point == nil:
		case math.IsNaN(value) || math.IsInf(value, 0):
			doc.add(here, "%v is not a finite number", value)
		case point.Type == ems.Control && value != 0 && value != 1:
			doc.add(here, "%v of a control is neither 0 nor 1", value)
		case c.Heartbeat != nil && c.Heartbeat.Point == place:
			doc.add(here, "this is the heartbeat, which ends by itself")
		default:
			err := point.CheckRange(value)
			if err == nil && IsModbus(c.Protocol) {
				err = point.CheckHeld(value)
			}
			if err != nil {
				doc.add(here, "%v", err)
			}
		}
	}
}

// writable returns a point that the file names, nil with a fault if it cannot be
// written.
func (c *Channel) writable(doc *document, at []any, text string) *MappedPoint {
	if _, err := parsePlace(c.ID, text); err != nil {
		doc.add(at, "%v", err)
		return nil
	}
	index := c.Point(text)
	if index < 0 {
		doc.addReference(pointTables, at, "channel %d has no point %s", c.ID, text)
		return nil
	}
	return &c.Points[index]
}
