package bench

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// The flood: every rule of the large site trips, one channel after the other,
// while somebody lists the newest alarms again and again.
const (
	floodEvery  = 50 * time.Millisecond // between two channels: 100 of them take 5 s
	floodLook   = 100 * time.Millisecond
	floodWithin = 30 * time.Second // from the last value to the last alarm listed
)

// flood is what is known while it lasts.
type flood struct {
	before int64 // id of the newest alarm of before
	began  time.Time
	due    map[string]time.Time // when the value of a rule was due
	seen   map[string]string    // the alarm of each rule
	waited []time.Duration      // from that value until the alarm was listed
}

// measureFlood lets the flood come once, and returns how long after its value each
// alarm was listed.
func (s *server) measureFlood(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error) {
	if err := s.seedAlarms(ctx); err != nil {
		return nil, err
	}
	if err := s.large.db.ConfigureAlarms(ctx, ems.DefaultAlarmSettings()); err != nil {
		return nil, err
	}
	newest, err := s.large.db.Alarms(ctx, rtdb.AlarmFilter{Count: 1})
	if err != nil {
		return nil, err
	}
	f := &flood{began: s.clock.Now(), due: map[string]time.Time{}, seen: map[string]string{}}
	for channel := range s.sizes.looseChannels {
		for rule := range looseRules {
			f.due[looseID(channel, rule)] = f.began.Add(time.Duration(channel) * floodEvery)
		}
	}
	for _, alarm := range newest {
		f.before = idNumber(alarm.ID)
	}
	var lasted time.Duration
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) { lasted, err = s.sendFlood(both, f.began); return err })
	group.Go(func() error { return s.watchFlood(both, f) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := s.verifyStanding(ctx, len(f.due)); err != nil {
		return nil, err
	}
	for _, wait := range f.waited {
		histogram.WithLabelValues(floodCase).Observe(wait.Seconds())
	}
	found := percentiles(f.waited, 50, 99, 99.9)
	count := int64(len(f.waited))
	return []Result{{
		Case: floodCase, API: true, Connections: 2, Calls: count, P999: found[2], Max: slices.Max(f.waited),
		Rounds: []Round{{Calls: count, PerS: float64(count) / lasted.Seconds(), P50: found[0], P99: found[1]}},
	}}, nil
}

// sendFlood sends the values of a channel whenever they are due, and returns how
// long that took.
func (s *server) sendFlood(ctx context.Context, began time.Time) (time.Duration, error) {
	pause := pauseUntil(s.clock)
	for channel := range s.sizes.looseChannels {
		pause(ctx, began.Add(time.Duration(channel)*floodEvery))
		if err := s.large.db.Ingest(ctx, s.tripping(channel, 0, looseRules, 2*beyond)); err != nil {
			return 0, err
		}
	}
	return s.clock.Now().Sub(began), nil
}

// watchFlood lists the newest alarms until each that is due has been listed.
func (s *server) watchFlood(ctx context.Context, f *flood) error {
	timer := s.clock.NewTimer(floodLook)
	defer timer.Stop()
	deadline := f.began.Add(time.Duration(s.sizes.looseChannels)*floodEvery + floodWithin)
	for len(f.seen) < len(f.due) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C():
		}
		timer.Reset(floodLook)
		for after, more := "", true; more; {
			alarms, next, err := s.service.list(ctx, after, page)
			if err != nil {
				return err
			}
			if more, err = f.note(alarms, s.clock.Now()); err != nil {
				return err
			}
			after, more = next, more && next != ""
		}
		if s.clock.Now().After(deadline) {
			return ems.Errorf(ems.CodeInternal, "%d of %d alarms of the flood were not listed within %v", len(f.due)-len(f.seen), len(f.due), floodWithin)
		}
	}
	return nil
}

// note takes a page of the list, newest first. It returns whether all of it was
// new, so that there may be more behind it.
func (f *flood) note(alarms []ems.Alarm, at time.Time) (more bool, err error) {
	for _, alarm := range alarms {
		due, known := f.due[alarm.Rule]
		switch former := f.seen[alarm.Rule]; {
		case idNumber(alarm.ID) <= f.before || former == alarm.ID:
			return false, nil
		case !known:
			return false, ems.Errorf(ems.CodeInternal, "alarm %s of rule %s is not of the flood", alarm.ID, alarm.Rule)
		case former != "":
			return false, ems.Errorf(ems.CodeInternal, "rule %s has raised alarms %s and %s in one flood", alarm.Rule, former, alarm.ID)
		case alarm.Value == nil || *alarm.Value != 2*beyond:
			return false, ems.Errorf(ems.CodeInternal, "alarm %s of the flood was not raised by %v", alarm.ID, 2*beyond)
		}
		f.seen[alarm.Rule] = alarm.ID
		f.waited = append(f.waited, at.Sub(due))
	}
	return len(alarms) > 0, nil
}

// idNumber is by what alarms are ordered.
func idNumber(id string) int64 {
	number, _ := strconv.ParseInt(id, 10, 64) // one that is no number is older than all
	return number
}
