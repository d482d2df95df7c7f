package comsrv

import (
	"context"
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// polling is the goroutine of a channel.
type polling struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startAll starts every channel of the roster that is to run and does not. The
// caller is in change.
func (s *Service) startAll() {
	enabled := s.commands.roster.Load().enabled()
	s.phases.take(enabled)
	for _, channel := range enabled {
		if s.runs[channel.ID] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(s.life)
		started := &polling{cancel: cancel, done: make(chan struct{})}
		s.runs[channel.ID] = started
		place := s.phases.place(channel.ID, s.clock.Now(), channel.publisher.groups[0].slots.period) // the shortest
		s.settling.Go(func() {
			defer close(started.done)
			channel.run(ctx, place, phasePlaces)
		})
	}
}

// phases spread the polls of channels over time, so that devices polled in phase
// do not wait for each other at Redis. Each channel has a phase from 0 to 1 of its
// period, counted from one origin, and keeps it when it is started again.
type phases struct {
	origin time.Time
	of     map[ems.ChannelID]float64
}

// phasePlaces is into how many places a period is divided.
const phasePlaces = 1 << 20

// take gives a phase to every channel that has none, and takes back those of
// channels that are no more. The first ones lie evenly, others in the middle of the
// widest gap.
func (p *phases) take(channels []*channel) {
	stays := map[ems.ChannelID]bool{}
	for _, channel := range channels {
		stays[channel.ID] = true
	}
	var taken []float64
	for id, phase := range p.of {
		if !stays[id] {
			delete(p.of, id)
			continue
		}
		taken = append(taken, phase)
	}
	slices.Sort(taken)
	first := len(taken) == 0
	for i, channel := range channels {
		if _, has := p.of[channel.ID]; has {
			continue
		}
		phase := float64(i) / float64(len(channels))
		if !first {
			phase = widest(taken)
			at, _ := slices.BinarySearch(taken, phase)
			taken = slices.Insert(taken, at, phase)
		}
		p.of[channel.ID] = phase
	}
}

// widest returns the middle of the widest gap between phases in order, round the
// end to the beginning.
func widest(taken []float64) float64 {
	middle, width := 0.0, 0.0
	for i, phase := range taken {
		next := taken[0] + 1
		if i+1 < len(taken) {
			next = taken[i+1]
		}
		if next-phase > width {
			middle, width = (phase+next)/2, next-phase
		}
	}
	if middle >= 1 {
		middle--
	}
	return middle
}

// place returns where from now on the next slot of a channel lies, in parts of
// phasePlaces of the time over which first polls are spread.
func (p *phases) place(id ems.ChannelID, now time.Time, period time.Duration) int {
	spread := float64(min(period, longestSpread))
	since := float64(now.Sub(p.origin)) / spread
	ahead := p.of[id] - (since - float64(int64(since)))
	if ahead < 0 {
		ahead++
	}
	return int(ahead * phasePlaces)
}
