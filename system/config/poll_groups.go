package config

import (
	"maps"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// PollGroups are the periods of poll groups, by name.
type PollGroups map[string]time.Duration

// maxPollGroups bounds the poll groups of a channel beside the default one: each
// has metrics of its own.
const maxPollGroups = 8

// Period returns how often a poll group is read. That of the default group is the
// poll period of the channel.
func (c *Channel) Period(group string) time.Duration {
	if period, own := c.PollGroups[group]; own {
		return period
	}
	return c.PollPeriod
}

// ShortestPeriod is that of the group which is read most often.
func (c *Channel) ShortestPeriod() time.Duration {
	shortest := c.PollPeriod
	for _, period := range c.PollGroups {
		shortest = min(shortest, period)
	}
	return shortest
}

// StaleAfter returns how long values stay fresh after their poll group was read:
// over one poll that fails, and the timeout of the next.
func (c *Channel) StaleAfter(group string) time.Duration { return 2*c.Period(group) + c.Timeout }

// checkPeriods checks how often a channel is read. A group may be without points,
// because a channel is there before its tables.
func (c *Channel) checkPeriods(doc *document, at []any) {
	check := func(at []any, period time.Duration) {
		if period < leastPollPeriod || period > longestPollPeriod {
			doc.add(at, "%v is not between %v and %v", period, leastPollPeriod, longestPollPeriod)
		}
	}
	check(append(at, "poll_period"), c.PollPeriod)
	groups := append(at, "poll_groups")
	if len(c.PollGroups) > maxPollGroups {
		doc.add(groups, "%d poll groups are more than the %d that a channel may have", len(c.PollGroups), maxPollGroups)
	}
	for _, name := range slices.Sorted(maps.Keys(c.PollGroups)) {
		here := append(slices.Clone(groups), name)
		if name == ems.DefaultGroup {
			doc.add(here, "this is the group of points that name none: poll_period is its period")
		} else if err := ems.CheckID("poll group", name); err != nil {
			doc.add(here, "%v", err)
		}
		check(here, c.PollGroups[name])
	}
	if shortest := c.ShortestPeriod(); shortest >= leastPollPeriod && (c.Timeout < time.Millisecond || c.Timeout > shortest) {
		doc.add(append(at, "timeout"), "%v is not between 1ms and the shortest poll period of %v", c.Timeout, shortest)
	}
}

// readGroup takes the poll group of a point, which its channel must have.
func (r *tableRow) readGroup(channel *Channel) string {
	group := r.text("poll_group")
	if group == "" {
		return ems.DefaultGroup
	}
	if err := ems.CheckID("poll_group", group); err != nil {
		r.faults.add(r.file, r.line, "%v", err)
	} else if _, known := channel.PollGroups[group]; !known && group != ems.DefaultGroup {
		r.fault("poll_group", "channel %d has no poll group %q: give it a period under poll_groups of the channel, or use one of %s",
			channel.ID, group, listText(append([]string{ems.DefaultGroup}, slices.Sorted(maps.Keys(channel.PollGroups))...)))
	}
	return group
}
