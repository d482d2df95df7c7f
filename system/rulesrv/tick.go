package rulesrv

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Pace of what the passing of time changes.
const (
	tickPeriod     = 250 * time.Millisecond
	tickRules      = 200 // evaluated by one call, which keeps others waiting
	tickCalls      = 50  // without a pause
	schedulePeriod = 24 * time.Hour
	scheduleRetry  = time.Minute
)

type tickMetrics struct {
	evaluated prometheus.Counter
	changed   prometheus.Counter
}

func newTickMetrics(registry *prometheus.Registry) tickMetrics {
	counter := func(name, help string) prometheus.Counter {
		made := prometheus.NewCounter(prometheus.CounterOpts{Name: "voltage_rulesrv_" + name, Help: help})
		registry.MustRegister(made)
		return made
	}
	return tickMetrics{
		evaluated: counter("tick_evaluations_total", "Rules evaluated because time had passed."),
		changed:   counter("tick_changes_total", "Changes of state of rules because time had passed."),
	}
}

// tick has Redis evaluate what the passing of time changes, and each day say when
// rules are in force.
func (s *Service) tick(ctx context.Context) {
	timer := s.clock.NewTimer(tickPeriod)
	defer timer.Stop()
	scheduled := s.clock.Now() // the start stores the schedules
	var lastFault ems.Code
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		err := s.tickOnce(ctx)
		if now := s.clock.Now(); err == nil && now.Sub(scheduled) >= schedulePeriod {
			scheduled = now
			if err = s.schedule(ctx); err != nil {
				scheduled = now.Add(scheduleRetry - schedulePeriod)
			}
		}
		if err != nil && ctx.Err() == nil && ems.CodeOf(err) != lastFault {
			s.logger.Warn("rules cannot be told how time passes; trying again", "error", err)
		}
		lastFault = ""
		if err != nil {
			lastFault = ems.CodeOf(err)
		}
		timer.Reset(tickPeriod)
	}
}

func (s *Service) tickOnce(ctx context.Context) error {
	for range tickCalls {
		tick, err := s.db.TickRules(ctx, tickRules)
		if err != nil {
			return err
		}
		s.ticks.evaluated.Add(float64(tick.Evaluated))
		s.ticks.changed.Add(float64(tick.Changed))
		if !tick.More {
			break
		}
	}
	return nil
}
