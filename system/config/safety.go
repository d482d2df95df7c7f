package config

import (
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of the time for which a point stays selected.
const (
	leastSelect   = time.Second
	longestSelect = 10 * time.Minute
)

// readSafety reads what a row says of the commands that its point takes.
func (r *tableRow) readSafety(point *ems.Point) {
	if !point.Type.Writable() {
		for _, column := range []string{"max_step", "max_rate", "safe_value", "select_timeout"} {
			if r.text(column) != "" {
				r.fault(column, "only points that are written have one: controls and adjustments")
			}
		}
		return
	}
	point.MaxStep, point.MaxRate = r.readChange("max_step", point.Type), r.readChange("max_rate", point.Type)
	point.SafeValue = r.bound("safe_value")
	if safe := point.SafeValue; safe != nil {
		if err := point.CheckRange(*safe); err != nil {
			r.fault("safe_value", "%v", err)
		}
		if point.Type == ems.Control && *safe != 0 && *safe != 1 {
			r.fault("safe_value", "%v of a control is neither 0 nor 1", *safe)
		}
	}
	text := r.text("select_timeout")
	if text == "" {
		return
	}
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout < leastSelect || timeout > longestSelect {
		r.fault("select_timeout", "%q is not a time from %v to %v, for example 30s", text, leastSelect, longestSelect)
		return
	}
	point.SelectTimeout = timeout
}

// readChange reads how much an adjustment may change.
func (r *tableRow) readChange(column string, kind ems.PointType) *float64 {
	most := r.bound(column)
	switch {
	case most == nil:
	case kind == ems.Control:
		r.fault(column, "only adjustments have one: a control is 0 or 1")
	case *most <= 0:
		r.fault(column, "%v is not above 0", *most)
	}
	return most
}

// parsePlace reads a writable point of a channel, "C:1" or "A:3".
func parsePlace(channel ems.ChannelID, text string) (ems.PointRef, error) {
	kindText, idText, _ := strings.Cut(text, ":")
	kind, kindErr := ems.ParsePointType(kindText)
	id, idErr := ems.ParsePointID(idText)
	if kindErr != nil || idErr != nil || !kind.Writable() {
		return ems.PointRef{}, ems.Errorf(ems.CodeInvalid, "%q is not a control or an adjustment of this channel: write for example C:1 or A:3", text)
	}
	return ems.PointRef{Channel: channel, Type: kind, Point: id}, nil
}
