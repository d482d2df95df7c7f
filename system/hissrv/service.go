// Package hissrv moves samples from Redis into InfluxDB and answers questions
// about them. A sample leaves Redis only when InfluxDB holds it, or has refused
// it for what it is; then it becomes a dead letter.
package hissrv

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
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

// Service keeps the history of one site.
type Service struct {
	site   *config.Site
	db     *rtdb.Client
	clock  ems.Clock
	logger *slog.Logger
	server *httpserver.Server
	influx *influx
	period time.Duration
	stored atomic.Bool           // the mappings of the site are in Redis
	fault  atomic.Pointer[error] // why the last write could not be made; nil when it was

	written, rejected, retries prometheus.Counter
	waiting, dropped, dead     prometheus.Gauge
}

// New listens and prepares the routes; nothing is served before Run.
func New(options Options) (*Service, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "voltage_hissrv_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "voltage_hissrv_" + name, Help: help})
	}
	service := &Service{
		site: options.Site, db: options.DB, clock: options.Clock, logger: options.Logger,
		influx: openInflux(options.Service.Influx), period: options.Service.CollectionPeriod,
		written:  counter("written_total", "Lines that InfluxDB took."),
		rejected: counter("rejected_total", "Lines that InfluxDB refused and that became dead letters."),
		retries:  counter("retries_total", "Writes that failed and were tried again."),
		waiting:  gauge("waiting", "Lines in Redis that InfluxDB does not hold yet."),
		// Gauges, because Redis counts: it knows more than the life of this process.
		dropped: gauge("dropped", "Lines lost since Redis began to count, because its stream of lines was full."),
		dead:    gauge("dead_letters", "Lines that InfluxDB refused and that Redis keeps."),
	}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Hissrv, Listen: options.Service.Listen, Logger: options.Logger,
		Registry: options.Registry, Clock: options.Clock,
		Checks: []httpserver.Check{
			{Name: "redis", Probe: options.DB.CheckRedis},
			{Name: "functions", Probe: options.DB.CheckFunctions},
			{Name: "influxdb", Probe: service.checkInflux},
			{Name: "configuration", Probe: service.checkConfiguration},
		},
	})
	if err != nil {
		service.influx.close()
		return nil, err
	}
	service.server = server
	options.Registry.MustRegister(service.written, service.rejected, service.retries, service.waiting, service.dropped, service.dead)
	server.Echo.POST("/api/history/query", service.query, httpserver.Parameters())
	server.Echo.GET("/api/history/status", service.status, httpserver.Parameters())
	return service, nil
}

// Addr returns the address on which the service listens.
func (s *Service) Addr() string { return s.server.Addr() }

// Close releases what a service that never ran holds: its port and its client of
// InfluxDB.
func (s *Service) Close() error {
	s.influx.close()
	return s.server.Close()
}

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.influx.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { s.db.Watch(ctx, s.store); return nil })
	group.Go(func() error { s.feed(ctx); return nil })
	group.Go(func() error { s.observe(ctx); return nil })
	return group.Wait()
}

// store puts the history mappings of the site folder into Redis.
func (s *Service) store(ctx context.Context) error {
	s.stored.Store(false)
	ids := make([]string, len(s.site.History))
	for i, mapping := range s.site.History {
		if err := s.db.ConfigureMapping(ctx, mapping); err != nil {
			return err
		}
		ids[i] = mapping.ID
	}
	if err := s.db.RetainMappings(ctx, ids); err != nil {
		return err
	}
	s.stored.Store(true)
	return nil
}

func (s *Service) checkConfiguration(context.Context) (string, error) {
	detail := fmt.Sprintf("%d history mappings", len(s.site.History))
	if !s.stored.Load() {
		return "", ems.Errorf(ems.CodeUnavailable, "%s of the site are not stored in redis yet", detail)
	}
	return detail, nil
}

// checkInflux asks whether InfluxDB can be used: the last write was taken, and a
// query is answered.
func (s *Service) checkInflux(ctx context.Context) (string, error) {
	if fault := s.fault.Load(); fault != nil {
		return "", *fault
	}
	return s.influx.check(ctx)
}

// observePeriod is how often the gauges are brought up to date.
const observePeriod = 5 * time.Second

// observe shows how the feed stands, and says so when lines begin to be lost:
// once, and again when it happened anew after a period without loss.
func (s *Service) observe(ctx context.Context) {
	var dropped int64
	losing := false
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		// Redis that does not answer is told by the feed and by the health check.
		if status, err := s.db.BatchStatus(ctx); err == nil {
			s.waiting.Set(float64(status.Waiting))
			s.dropped.Set(float64(status.Dropped))
			s.dead.Set(float64(status.Dead))
			grown := status.Dropped > dropped
			if grown && !losing {
				s.logger.Warn("history has lost samples: the stream in redis was full, because influxdb did not take them in time", "dropped", status.Dropped)
			}
			losing, dropped = grown, status.Dropped
		}
		timer.Reset(observePeriod)
	}
}

func (s *Service) status(c echo.Context) error {
	status, err := s.db.BatchStatus(c.Request().Context())
	if err != nil {
		return err
	}
	return httpserver.OK(c, status)
}
