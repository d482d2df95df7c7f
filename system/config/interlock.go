package config

import (
	"fmt"
	"math"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Interlock is a condition that must hold at the moment before a point is
// written. What cannot be read well then holds nothing.
type Interlock struct {
	Point      string          `yaml:"point"`      // of the same channel, "C:1"
	Value      *float64        `yaml:"value"`      // only commands that carry it are asked; nil is all
	Logic      ems.Logic       `yaml:"logic"`      // how Conditions combine; empty is all of them
	Conditions []ems.Condition `yaml:"conditions"` // as in rules, of points as they stand
	Reason     string          `yaml:"reason"`     // for who is refused
}

// Bounds of interlocks.
const (
	maxInterlocks      = 1000 // of one channel
	maxInterlockReason = 200  // bytes
)

// Guards reports whether a command for a point with that value must ask.
func (i *Interlock) Guards(kind ems.PointType, point ems.PointID, value float64) bool {
	return i.Point == fmt.Sprintf("%s:%d", kind, point) && (i.Value == nil || *i.Value == value)
}

// Condition is all of it as one.
func (i *Interlock) Condition() ems.Condition {
	return ems.Condition{Logic: i.Logic, Conditions: i.Conditions}
}

// checkInterlocks checks those of some channels, which may name points of all that
// there are.
func checkInterlocks(some []placed, channels []Channel) {
	site := &Site{Channels: channels}
	for _, channel := range some {
		if len(channel.Interlocks) > maxInterlocks {
			channel.doc.add(channel.below("interlocks"), "more than %d interlocks", maxInterlocks)
			continue
		}
		for i := range channel.Interlocks {
			channel.Interlocks[i].check(channel.doc, channel.below("interlocks", i), channel.Channel, site)
		}
	}
}

func (i *Interlock) check(doc *document, at []any, channel *Channel, site *Site) {
	below := func(path ...any) []any { return append(slices.Clone(at), path...) }
	channel.writable(doc, below("point"), i.Point)
	if i.Value != nil && (math.IsNaN(*i.Value) || math.IsInf(*i.Value, 0)) {
		doc.add(below("value"), "%v is not a finite number", *i.Value)
	}
	if err := checkText(i.Reason, maxInterlockReason); err != nil {
		doc.add(below("reason"), "%v", err)
	}
	var check ruleCheck
	check.logic(nil, i.Logic)
	check.conditions(nil, i.Conditions, 1)
	for _, fault := range check.found {
		doc.add(below(fault.Path...), "%s", fault.Message)
	}
	if len(check.found) == 0 {
		checkPresent(doc, below("conditions"), i.Conditions, site)
	}
}

// checkPresent refuses conditions that look at more than points as they stand,
// or at points that there are not.
func checkPresent(doc *document, at []any, conditions []ems.Condition, site *Site) {
	for i := range conditions {
		condition, here := &conditions[i], append(slices.Clone(at), i)
		if condition.Conditions != nil {
			checkPresent(doc, append(here, "conditions"), condition.Conditions, site)
			continue
		}
		switch condition.Operator {
		case ems.Changed, ems.Rising, ems.Falling:
			doc.add(append(here, "operator"), "an interlock looks at values as they stand: %s asks for the value before", condition.Operator)
		}
		if condition.Function != "" {
			doc.add(append(here, "function"), "an interlock looks at values as they stand: %s asks for those before", condition.Function)
		}
		for _, side := range []struct{ name, source string }{
			{"source", condition.Source}, {"minus", condition.Minus}, {"compare_to", condition.CompareTo},
		} {
			if side.source == "" {
				continue
			}
			ref, err := ems.ParsePointRef(side.source)
			if err != nil {
				doc.add(append(slices.Clone(here), side.name), "an interlock looks at points alone: %v", err)
			} else if _, found := site.Point(ref); !found {
				doc.addReference(pointTables, append(slices.Clone(here), side.name), "there is no point %s", side.source)
			}
		}
	}
}
