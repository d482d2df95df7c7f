package comsrv

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of a change of the channels.
const (
	endGrace  = time.Second          // for a poll under way; then it is cut
	emptyWait = time.Second          // for the commands of channels that are removed
	emptyPoll = 5 * time.Millisecond // between two looks at them
)

// differences are the ids of channels, in order.
type differences struct {
	DryRun    bool            `json:"dry_run"` // it would have become so
	Added     []ems.ChannelID `json:"added"`
	Changed   []ems.ChannelID `json:"changed"`
	Removed   []ems.ChannelID `json:"removed"`
	Unchanged []ems.ChannelID `json:"unchanged"`
	Aside     []ems.ChannelID `json:"aside"` // made through the API, and named by channels.yaml too, which counts
}

// plan is the way from one roster to another.
type plan struct {
	differences
	before   *roster
	entries  []entry
	channels []*channel // those that go on, as the entries; nil where one begins
}

// compare plans the way to other channels.
func compare(before *roster, entries []entry) *plan {
	p := &plan{before: before, entries: entries, channels: make([]*channel, len(entries)), differences: differences{
		Added: []ems.ChannelID{}, Changed: []ems.ChannelID{}, Removed: []ems.ChannelID{}, Unchanged: []ems.ChannelID{}, Aside: []ems.ChannelID{},
	}}
	stays := map[ems.ChannelID]bool{}
	for i := range entries {
		id := entries[i].ID
		stays[id] = true
		place, known := before.places[id]
		switch {
		case !known:
			p.Added = append(p.Added, id)
		case entries[i].same(&before.entries[place]):
			p.channels[i] = before.channels[place]
			p.Unchanged = append(p.Unchanged, id)
		default:
			p.Changed = append(p.Changed, id)
		}
		if entries[i].aside {
			p.Aside = append(p.Aside, id)
		}
	}
	for _, id := range before.ids {
		if !stays[id] {
			p.Removed = append(p.Removed, id)
		}
	}
	for _, ids := range [][]ems.ChannelID{p.Added, p.Changed, p.Removed, p.Unchanged, p.Aside} {
		slices.Sort(ids)
	}
	return p
}

// ends returns the channels that do not go on.
func (p *plan) ends() []*channel {
	var list []*channel
	for _, channel := range p.before.channels {
		if !slices.Contains(p.channels, channel) {
			list = append(list, channel)
		}
	}
	return list
}

// after returns what takes the place of a channel, nil where it is removed.
func (p *plan) after(id ems.ChannelID) *entry {
	for i := range p.entries {
		if p.entries[i].ID == id {
			return &p.entries[i]
		}
	}
	return nil
}

// prove makes sure that every channel which would begin has a driver that serves
// it, and leaves nothing behind.
func (s *Service) prove(p *plan) error {
	registry := prometheus.NewRegistry()
	counters, err := newMetrics(registry)
	if err != nil {
		return err
	}
	links, err := modbus.NewLinks(s.clock, registry)
	if err != nil {
		return err
	}
	trial := s.parts
	trial.metrics, trial.drivers = counters, Drivers(links)
	for i := range p.entries {
		if p.channels[i] != nil {
			continue
		}
		if _, err := newChannel(p.entries[i].Channel, trial, s.commands); err != nil {
			return err
		}
	}
	return nil
}

// change does one thing to the channels at a time.
func (s *Service) change(ctx context.Context, do func() error) error {
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// alter puts other channels in the place of those that there are. Before anything
// is touched the drivers must take all of them, and what is to outlast a restart
// must be stored. Once begun it is brought to an end. The caller is in change.
func (s *Service) alter(ctx context.Context, next *wanted, dryRun bool, store func(context.Context) error) (differences, error) {
	p := compare(s.commands.roster.Load(), next.entries())
	p.DryRun = dryRun
	if err := s.prove(p); err != nil || dryRun {
		return p.differences, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := store(ctx); err != nil {
		return differences{}, err
	}
	s.wanted = next
	s.carry(ctx, p)
	return p.differences, nil
}

// carry goes the way. Channels that end stay in the roster until they have, and
// refuse commands; then the new roster takes the place of the old one in one step.
func (s *Service) carry(ctx context.Context, p *plan) {
	ends := p.ends()
	s.endAll(p, ends)
	s.commands.turn(func() {}) // whoever was about to send a command to one has
	waiting, cancel := context.WithTimeout(ctx, emptyWait)
	defer cancel()
	for _, channel := range ends {
		s.links.Forget(channel.ID)
		s.commands.selections.leave(channel.ID)
		if p.after(channel.ID) == nil {
			s.awaitEmpty(waiting, channel)
		}
	}
	for i := range p.entries {
		if p.channels[i] != nil {
			continue
		}
		made, err := s.build(&p.entries[i])
		if err != nil { // of what was not proved, because it was there before comsrv
			s.logger.Error("a channel cannot be used", "channel", p.entries[i].ID, "error", err)
			p.entries[i].unfit, p.entries[i].Enabled = err.Error(), false
			made, _ = s.build(&p.entries[i]) // without a driver nothing can fail
		}
		if former := p.before.byID[made.ID]; former != nil {
			if made.trace = former.trace; former.Enabled && made.Enabled {
				s.metrics.forgetGroups(former, made)
			}
			if driver, can := made.driver.(protocol.Traceable); can {
				made.trace.resume(driver, s.clock)
			}
		}
		p.channels[i] = made
	}
	s.commands.turn(func() { s.commands.roster.Store(newRoster(p.entries, p.channels...)) })
	s.commands.changed.Store(true)
	s.startAll()
	for _, channel := range ends {
		if next := p.after(channel.ID); next == nil || !next.Enabled {
			s.metrics.forget(channel.ID)
		}
	}
	for _, channel := range ends {
		if err := s.clear(ctx, p, channel); err != nil { // and would not take more
			s.uncleared = true
			s.logger.Warn("redis still holds what channels have left; it is removed when it answers", "error", err)
			break
		}
	}
	if len(p.Added)+len(p.Changed)+len(p.Removed) > 0 {
		s.logger.Info("channels changed", "added", p.Added, "changed", p.Changed, "removed", p.Removed)
	}
}

// build makes the channel of an entry.
func (s *Service) build(entry *entry) (*channel, error) {
	made, err := newChannel(entry.Channel, s.parts, s.commands)
	switch {
	case err != nil:
		return nil, err
	case entry.unfit != "":
		made.rest("it cannot be used: "+entry.unfit, "replace or remove it, or mend the site and POST /api/channels/reload")
	case entry.switched && !entry.Enabled:
		made.rest("the channel was stopped by hand", fmt.Sprintf("start it with POST /api/channels/%d/start", entry.ID))
	}
	return made, nil
}

// endAll ends channels and waits for that.
func (s *Service) endAll(p *plan, ends []*channel) {
	for _, channel := range ends {
		next, reason := p.after(channel.ID), "the channel was changed"
		switch {
		case next == nil:
			reason = "the channel was removed"
		case !next.Enabled:
			reason = "the channel was stopped"
		}
		var successor *config.Channel // at the same device
		if next != nil && next.Enabled && next.Protocol == channel.Protocol && config.PlainAddress(next.Address) == config.PlainAddress(channel.Address) {
			successor = &next.Channel
		}
		channel.end(reason, successor)
	}
	timer := s.clock.NewTimer(s.grace)
	defer timer.Stop()
	late := false
	for _, channel := range ends {
		run := s.runs[channel.ID]
		if run == nil {
			continue
		}
		if !late {
			select {
			case <-run.done:
			case <-timer.C():
				late = true
				for _, other := range ends { // all at once: each may take its time to give up
					if running := s.runs[other.ID]; running != nil {
						running.cancel()
					}
				}
			}
		}
		run.cancel()
		<-run.done
		delete(s.runs, channel.ID)
	}
}

// awaitEmpty waits for a while until every command for a channel that is removed
// has ended and whoever waited for it knows.
func (s *Service) awaitEmpty(ctx context.Context, channel *channel) {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
		case <-ctx.Done():
			return
		}
		count, err := s.db.CommandsWaiting(ctx, channel.ID)
		if err != nil || count == 0 && channel.leave.callers.Load() == 0 {
			return
		}
		timer.Reset(emptyPoll)
	}
}

// clear takes away what a channel that has ended leaves behind.
func (s *Service) clear(ctx context.Context, p *plan, channel *channel) error {
	next := p.after(channel.ID)
	if next == nil {
		return s.db.RemoveChannel(ctx, channel.ID)
	}
	for kind, points := range lost(channel.Points, next.Points) {
		if err := s.db.DropPoints(ctx, channel.ID, kind, points); err != nil {
			return err
		}
	}
	if !next.Enabled {
		return s.commands.roster.Load().byID[channel.ID].renew(ctx)
	}
	return nil
}
