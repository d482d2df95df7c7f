package bench

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// hearing subscribes to what Redis tells of the channels of some meters. The first
// point of each has another value with every poll, by which it is known when the
// poll began that an update tells of.
type hearing struct {
	clock  ems.Clock
	meters map[ems.ChannelID]*meter
	mu     sync.Mutex
	ages   []time.Duration // from the first byte of a poll at the device until its update was heard
}

func newHearing(clock ems.Clock, meters []*meter) *hearing {
	h := &hearing{clock: clock, meters: map[ems.ChannelID]*meter{}}
	for _, one := range meters {
		h.meters[one.channel] = one
	}
	return h
}

// receive takes an update. What it does not know is of others.
func (h *hearing) receive(event rtdb.Event) {
	now := h.clock.Now()
	var update struct {
		Channel ems.ChannelID `json:"channel"`
		Values  []string      `json:"values"` // point and number in turn
	}
	if event.Kind != "update" || json.Unmarshal([]byte(event.Data), &update) != nil {
		return
	}
	one := h.meters[update.Channel]
	for i := 0; one != nil && i+1 < len(update.Values); i += 2 {
		if update.Values[i] != "1" {
			continue
		}
		number, err := strconv.ParseFloat(update.Values[i+1], 64)
		if err != nil {
			return
		}
		if began, known := one.beganAt(uint16(number)); known {
			h.mu.Lock()
			h.ages = append(h.ages, now.Sub(began))
			h.mu.Unlock()
		}
	}
}

// take returns what was heard since it was called last.
func (h *hearing) take() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	ages := h.ages
	h.ages = nil
	return ages
}

// hear subscribes while something is measured.
func (a *acquisition) hear(ctx context.Context, by *hearing, measure func(ctx context.Context) error) error {
	listening, stop := context.WithCancel(ctx)
	defer stop()
	group, listening := errgroup.WithContext(listening)
	group.Go(func() error { return a.db.Subscribe(listening, by.receive) })
	err := measure(listening)
	stop()
	return firstOf(group.Wait(), err)
}

// hearRound notes one round of what is heard. That little of it was heard says that
// the rest was too late to be told, or lost.
func (s *server) hearRound(ctx context.Context, by *hearing, meters []*meter, of *recording) error {
	by.take()
	began := s.clock.Now()
	before := countAll(meters, began)
	if err := s.wait(ctx, s.sizes.span); err != nil {
		return err
	}
	ended := s.clock.Now()
	arrived, ages := countAll(meters, ended).since(before), by.take()
	if 10*int64(len(ages)) < arrived.polls {
		return ems.Errorf(ems.CodeInternal, "of %d polls %d were heard of", arrived.polls, len(ages))
	}
	return of.add(arrived, int64(len(ages)), ended.Sub(began), ages)
}

// heardRounds is how many rounds of a span a case has that is heard.
const heardRounds = 3

// cyclePoints is how many points a meter has of those that are polled often.
const cyclePoints = 100

// measureCycle measures how long it takes from the first byte of a poll until Redis
// has told of it, of devices that are polled often.
func (s *server) measureCycle(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error) {
	meters, err := openMeters(s.clock, s.sizes.cycled, layout{points: cyclePoints, changing: 1}, s.sizes.cycle)
	if err != nil {
		return nil, err
	}
	defer closeMeters(meters)
	a, err := s.acquire(ctx, cycleCase, meters, s.sizes.cycle)
	if err != nil {
		return nil, err
	}
	cycle, by := newRecording(cycleCase, len(meters), histogram), newHearing(s.clock, meters)
	err = a.hear(ctx, by, func(ctx context.Context) error {
		if err := s.wait(ctx, s.sizes.cycle); err != nil { // until the subscription stands
			return err
		}
		for range heardRounds {
			if err := s.hearRound(ctx, by, meters, cycle); err != nil {
				return err
			}
		}
		return s.verifyAcquired(ctx, a, len(meters))
	})
	if err != nil {
		return nil, err
	}
	return []Result{cycle.result()}, a.comsrv.end(ctx)
}
