// Package alarmsrv is the front of the alarms: raising them by hand, listing,
// acknowledging, shelving and suppressing them, their journal as pages and as
// live events, what they say of the alarm system itself, and all that becomes due
// for them as time passes.
package alarmsrv

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
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
	settings  ems.AlarmSettings
	site      *config.Site
	db        *rtdb.Client
	clock     ems.Clock
	logger    *slog.Logger
	server    *httpserver.Server
	metrics   *metrics
	feed      *feed
	stored    atomic.Bool // the settings are in Redis
}

// New listens and prepares the routes; nothing is served before Run.
func New(options Options) (*Service, error) {
	service := &Service{
		retention: options.Site.Retention, settings: options.Site.Alarms, site: options.Site, db: options.DB, clock: options.Clock, logger: options.Logger,
		metrics: newMetrics(options.Registry), feed: newFeed(options.Registry),
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
	service.routes()
	return service, nil
}

func (s *Service) routes() {
	api := s.server.Echo.Group("/api/alarms")
	api.GET("", s.listAlarms, httpserver.Parameters("state", "level", "source", "rule", "from", "to", "shelved", "suppressed", "limit", "after"))
	api.POST("", s.raiseAlarm, httpserver.Parameters())
	api.GET("/active", s.listActive, httpserver.Parameters("state", "level", "source", "rule", "from", "to", "shelved", "suppressed", "limit", "after"))
	api.GET("/counts", s.countAlarms, httpserver.Parameters())
	api.GET("/kpi", s.judge, httpserver.Parameters("from", "to", "operators"))
	api.GET("/export.csv", s.exportAlarms, httpserver.Parameters("state", "level", "source", "rule", "from", "to", "shelved", "suppressed", "limit", "after"))
	api.GET("/journal", s.listJournal, httpserver.Parameters("alarm", "order", "limit", "after"))
	api.GET("/events", s.streamEvents, httpserver.Parameters("after"))
	api.GET("/suppressions", s.listSuppressions, httpserver.Parameters())
	api.POST("/suppressions", s.suppress, httpserver.Parameters())
	api.DELETE("/suppressions/:id", s.unsuppress, httpserver.Parameters("by"))
	api.GET("/:id", s.getAlarm, httpserver.Parameters())
	api.POST("/:id/acknowledge", s.acknowledgeAlarm, httpserver.Parameters())
	api.POST("/:id/resolve", s.resolveAlarm, httpserver.Parameters())
	api.POST("/:id/shelve", s.shelveAlarm, httpserver.Parameters())
	api.POST("/:id/unshelve", s.unshelveAlarm, httpserver.Parameters())
	api.POST("/:id/comment", s.commentAlarm, httpserver.Parameters())
}

// Addr returns the address on which the service listens.
func (s *Service) Addr() string { return s.server.Addr() }

// Close releases the port of a service that never ran.
func (s *Service) Close() error { return s.server.Close() }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { s.db.Watch(ctx, s.configure); return nil })
	group.Go(func() error { s.follow(ctx); return nil })
	group.Go(func() error { s.every(ctx, tickPeriod, s.tick); return nil })
	group.Go(func() error { s.every(ctx, countPeriod, s.measure); return nil })
	group.Go(func() error { s.every(ctx, retentionPeriod, s.retain); return nil })
	return group.Wait()
}

// configure stores what the alarms of the site are treated by.
func (s *Service) configure(ctx context.Context) error {
	s.stored.Store(false)
	if err := s.db.ConfigureAlarms(ctx, s.settings); err != nil {
		return err
	}
	s.stored.Store(true)
	return nil
}

func (s *Service) checkConfiguration(context.Context) (string, error) {
	if !s.stored.Load() {
		return "", ems.Errorf(ems.CodeUnavailable, "the alarm settings of the site are not stored in redis yet")
	}
	return fmt.Sprintf("closed alarms stay %v, at most %d; %d steps of escalation", s.retention.MaxAge, s.retention.MaxCount, len(s.settings.Escalation)), nil
}

// How often it is looked what is due, closed alarms are removed, and the numbers
// of the metrics are read.
const (
	tickPeriod      = time.Second
	countPeriod     = 5 * time.Second
	retentionPeriod = time.Minute
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

// ticksAtOnce bounds what one period does of what is due; the rest follows in
// the next.
const ticksAtOnce = 100

// tick does what has become due. The function library does each thing once,
// however many services ask.
func (s *Service) tick(ctx context.Context) error {
	for range ticksAtOnce {
		done, more, err := s.db.TickAlarms(ctx)
		if err != nil {
			return err
		}
		s.metrics.due.Add(float64(done))
		if !more {
			break
		}
	}
	return nil
}

// retain removes closed alarms beyond the site's retention. One call removes a
// bounded number, so that others of Redis need not wait long.
func (s *Service) retain(ctx context.Context) error {
	for {
		removed, err := s.db.CleanUpAlarms(ctx, s.retention.MaxAge, s.retention.MaxCount)
		if err != nil || removed == 0 {
			return err
		}
		s.metrics.removed.Add(float64(removed))
		s.logger.Info("closed alarms removed", "count", removed)
	}
}
