// Package alarmsrv is the front of the alarms: raising them by hand, listing,
// acknowledging and resolving them, and forgetting the closed ones in time.
package alarmsrv

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Options are what the service works with.
type Options struct {
	Service  config.Service
	Site     *config.Site
	DB       *rtdb.Client
	Clock    ems.Clock
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Service serves the alarms of one site.
type Service struct {
	retention config.AlarmRetention
	db        *rtdb.Client
	clock     ems.Clock
	logger    *slog.Logger
	server    *httpserver.Server
	active    *prometheus.GaugeVec
	removed   prometheus.Counter
}

// New listens and prepares the routes; nothing is served before Run.
func New(options Options) (*Service, error) {
	service := &Service{
		retention: options.Site.Retention, db: options.DB, clock: options.Clock, logger: options.Logger,
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "voltage_alarmsrv_active",
			Help: "Alarms whose condition holds, by level; at most 1000 of a level are counted, and none while Redis cannot be asked.",
		}, []string{"level"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_alarmsrv_removed_total", Help: "Closed alarms removed by retention.",
		}),
	}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Alarmsrv, Listen: options.Service.Listen, Logger: options.Logger,
		Registry: options.Registry, Clock: options.Clock,
		Checks: []httpserver.Check{
			{Name: "redis", Probe: options.DB.CheckRedis},
			{Name: "functions", Probe: options.DB.CheckFunctions},
			{Name: "configuration", Probe: service.checkConfiguration},
		},
	})
	if err != nil {
		return nil, err
	}
	service.server = server
	options.Registry.MustRegister(service.active, service.removed)
	server.Echo.GET("/api/alarms", service.listAlarms)
	server.Echo.POST("/api/alarms", service.raiseAlarm)
	server.Echo.GET("/api/alarms/:id", service.getAlarm)
	server.Echo.POST("/api/alarms/:id/acknowledge", service.acknowledgeAlarm)
	server.Echo.POST("/api/alarms/:id/resolve", service.resolveAlarm)
	return service, nil
}

// Addr returns the address on which the service listens.
func (s *Service) Addr() string { return s.server.Addr() }

// Close releases the port of a service that never ran.
func (s *Service) Close() error { return s.server.Close() }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { s.every(ctx, countPeriod, s.countActive); return nil })
	group.Go(func() error { s.every(ctx, retentionPeriod, s.retain); return nil })
	return group.Wait()
}

// checkConfiguration is always healthy: the site's retention is all there is to
// know, and it is applied from here, not stored in Redis.
func (s *Service) checkConfiguration(context.Context) (string, error) {
	return fmt.Sprintf("closed alarms stay %v, at most %d", s.retention.MaxAge, s.retention.MaxCount), nil
}

// How often closed alarms are removed and active ones counted.
const (
	retentionPeriod = time.Minute
	countPeriod     = 5 * time.Second
)

// every runs a task at once and then periodically until ctx ends.
func (s *Service) every(ctx context.Context, period time.Duration, task func(context.Context) error) {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	var lastFault ems.Code // the text of a fault may name another port each time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		var fault ems.Code
		if err := task(ctx); err != nil && ctx.Err() == nil {
			if fault = ems.CodeOf(err); fault != lastFault {
				s.logger.Warn("alarms cannot be looked after; trying again", "error", err)
			}
		}
		lastFault = fault
		timer.Reset(period)
	}
}

// retain removes closed alarms beyond the site's retention. One call removes a
// bounded number, so that others of Redis need not wait long.
func (s *Service) retain(ctx context.Context) error {
	for {
		removed, err := s.db.CleanUpAlarms(ctx, s.retention.MaxAge, s.retention.MaxCount)
		if err != nil || removed == 0 {
			return err
		}
		s.removed.Add(float64(removed))
		s.logger.Info("closed alarms removed", "count", removed)
	}
}

// countActive brings the gauge of active alarms up to date.
func (s *Service) countActive(ctx context.Context) error {
	for _, level := range ems.AlarmLevels {
		alarms, err := s.db.Alarms(ctx, rtdb.AlarmFilter{Active: true, Level: level, Count: longestList})
		if err != nil {
			s.active.Reset()
			return err
		}
		s.active.WithLabelValues(string(level)).Set(float64(len(alarms)))
	}
	return nil
}
