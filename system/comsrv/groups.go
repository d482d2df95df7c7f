package comsrv

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// groupState is one poll group: its points by type, when it is read, and what
// came of it.
type groupState struct {
	name  string
	types []groupType
	stale time.Duration // how long its values stay fresh after a success

	slots    schedule
	due      time.Time // of the next poll: a slot, maybe in the past
	missed   int64     // slots that were left out
	overruns prometheus.Counter

	time   time.Time // of the last success; zero if there was none
	fullAt time.Time // when all of it was told
	untold bool      // polled since Redis was told
	failed bool      // it could not be read last, though others could
}

// groupType are the points of one type, as indexes.
type groupType struct {
	kind   ems.PointType
	points []int
}

// newGroups returns the poll groups of a channel, the shortest period first. A
// channel without points has the default group, so that it is known whether its
// device is there.
func newGroups(channel *config.Channel, overruns func(group string) prometheus.Counter) []groupState {
	var groups []groupState
	of := func(name string) *groupState {
		at := slices.IndexFunc(groups, func(g groupState) bool { return g.name == name })
		if at < 0 {
			at = len(groups)
			groups = append(groups, groupState{
				name: name, stale: channel.StaleAfter(name), slots: schedule{period: channel.Period(name)}, overruns: overruns(name),
			})
		}
		return &groups[at]
	}
	for i := range channel.Points {
		point := &channel.Points[i]
		of(point.Group).add(point.Type, i)
	}
	if len(groups) == 0 {
		of(ems.DefaultGroup)
	}
	slices.SortStableFunc(groups, func(a, b groupState) int { return cmp.Compare(a.slots.period, b.slots.period) })
	return groups
}

func (g *groupState) add(kind ems.PointType, point int) {
	for i := range g.types {
		if g.types[i].kind == kind {
			g.types[i].points = append(g.types[i].points, point)
			return
		}
	}
	g.types = append(g.types, groupType{kind: kind, points: []int{point}})
}

// advance sets the time of the next poll to the first slot after now, and counts
// the slots between it and the one that is over.
func (g *groupState) advance(now time.Time) {
	missed := g.slots.missed(g.due, now)
	g.missed += int64(missed)
	g.overruns.Add(float64(missed))
	g.due = g.slots.after(now)
}

// earliest returns the group that is due first, the one with the shorter period
// where two are; nil where there is none. The one that was polled last is due
// after now, and so no group that is due waits for the same other one twice.
func earliest(groups []groupState) *groupState {
	var first *groupState
	for i := range groups {
		if first == nil || groups[i].due.Before(first.due) {
			first = &groups[i]
		}
	}
	return first
}

// shorter returns the groups with a shorter period than that one.
func shorter(groups []groupState, than *groupState) []groupState {
	count := 0
	for count < len(groups) && groups[count].slots.period < than.slots.period {
		count++
	}
	return groups[:count]
}

// groupView is a poll group of a channel.
type groupView struct {
	Name         string  `json:"name"`
	PeriodMS     float64 `json:"period_ms"`
	StaleAfterMS float64 `json:"stale_after_ms"`
	Points       int     `json:"points"`
	LastSuccess  *int64  `json:"last_success"` // null if never
	Overruns     int64   `json:"overruns"`     // polls left out since comsrv started, because one before took too long
}

// groupViews shows the default poll group and those of channels.yaml, by name.
func (c *channel) groupViews(states []groupState) []groupView {
	var views []groupView
	for _, name := range append([]string{ems.DefaultGroup}, slices.Sorted(maps.Keys(c.PollGroups))...) {
		view := groupView{Name: name, PeriodMS: milliseconds(c.Period(name)), StaleAfterMS: milliseconds(c.StaleAfter(name))}
		for i := range c.Points {
			if c.Points[i].Group == name {
				view.Points++
			}
		}
		for i := range states {
			if states[i].name == name {
				view.LastSuccess, view.Overruns = unixMS(states[i].time), states[i].missed
			}
		}
		views = append(views, view)
	}
	return views
}
