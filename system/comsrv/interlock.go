package comsrv

import (
	"context"
	"slices"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// checkInterlocks refuses a write that an interlock forbids now. Its inputs are
// those that Redis holds at this moment; one that is not good forbids too, and so
// does a Redis that cannot be asked.
func (c *channel) checkInterlocks(ctx context.Context, point *config.MappedPoint, value float64) error {
	if point.IsSafe(value) {
		return nil
	}
	for i := range c.Interlocks {
		lock := &c.Interlocks[i]
		if !lock.Guards(point.Type, point.ID, value) {
			continue
		}
		condition := lock.Condition()
		inputs, err := c.readInputs(ctx, condition.Conditions)
		if err != nil {
			return ems.Errorf(ems.CodeConflict, "an interlock forbids it: %w", err)
		}
		if inputs.hold(&condition) {
			continue
		}
		if lock.Reason != "" {
			return ems.Errorf(ems.CodeConflict, "an interlock forbids it: %s", lock.Reason)
		}
		return ems.Errorf(ems.CodeConflict, "an interlock forbids it: interlocks[%d] of channel %d does not hold", i, c.ID)
	}
	return nil
}

// inputs are the numbers that conditions compare, by source. All are good.
type inputs map[string]float64

// readInputs reads every source of conditions: those of one channel and type in
// one call.
func (c *channel) readInputs(ctx context.Context, conditions []ems.Condition) (inputs, error) {
	type place struct {
		channel ems.ChannelID
		kind    ems.PointType
	}
	wanted, places := map[place][]ems.PointID{}, []place{}
	for _, source := range (&ems.Rule{Conditions: conditions}).Sources() {
		ref, err := ems.ParsePointRef(source)
		if err != nil {
			return nil, err
		}
		at := place{ref.Channel, ref.Type}
		if !slices.Contains(places, at) {
			places = append(places, at)
		}
		wanted[at] = append(wanted[at], ref.Point)
	}
	found := inputs{}
	for _, at := range places {
		values, err := c.db.ReadPoints(ctx, at.channel, at.kind, wanted[at])
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			ref := ems.PointRef{Channel: at.channel, Type: at.kind, Point: wanted[at][i]}
			if value.Quality != ems.Good {
				return nil, ems.Errorf(ems.CodeStale, "%s is %s", ref, value.Quality)
			}
			found[ref.String()] = value.Number
		}
	}
	return found, nil
}

// hold reports whether a condition holds, as rules understand it.
func (n inputs) hold(condition *ems.Condition) bool {
	if condition.Conditions == nil {
		return n.compare(condition)
	}
	holding := 0
	for i := range condition.Conditions {
		if n.hold(&condition.Conditions[i]) {
			holding++
		}
	}
	switch condition.Logic {
	case ems.Any:
		return holding > 0
	case ems.None:
		return holding == 0
	default:
		return holding == len(condition.Conditions)
	}
}

func (n inputs) compare(condition *ems.Condition) bool {
	left := n[condition.Source]
	if condition.Minus != "" {
		left -= n[condition.Minus]
	}
	switch condition.Operator {
	case ems.Between:
		return left >= condition.Value.List[0] && left <= condition.Value.List[1]
	case ems.In:
		return slices.Contains(condition.Value.List, left)
	}
	right := n[condition.CompareTo]
	if condition.Value != nil {
		right = condition.Value.Number
	}
	switch condition.Operator {
	case ">":
		return left > right
	case ">=":
		return left >= right
	case "<":
		return left < right
	case "<=":
		return left <= right
	case "==":
		return left == right
	case "!=":
		return left != right
	default: // voltage check refuses all others
		return false
	}
}
