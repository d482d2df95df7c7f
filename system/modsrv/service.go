// Package modsrv names the points of channels: models of equipment, the
// templates they follow, their live values and their actions.
package modsrv

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

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

// Service serves the models of one site.
type Service struct {
	site   *config.Site
	db     *rtdb.Client
	clock  ems.Clock
	server *httpserver.Server
	stored atomic.Bool // the templates and models of the site are in Redis
	// waiting holds a token for each request that waits for a command.
	waiting chan struct{}
}

// New listens and prepares the routes; nothing is served before Run.
func New(options Options) (*Service, error) {
	service := &Service{site: options.Site, db: options.DB, clock: options.Clock, waiting: make(chan struct{}, maxWaiting)}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Modsrv, Listen: options.Service.Listen, Logger: options.Logger,
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
	server.Echo.GET("/api/models", service.listModels)
	server.Echo.POST("/api/models", service.putModel)
	server.Echo.GET("/api/models/:id", service.getModel)
	server.Echo.DELETE("/api/models/:id", service.deleteModel)
	server.Echo.GET("/api/models/:id/values", service.readValues)
	server.Echo.POST("/api/models/:id/actions/:action", service.act)
	server.Echo.GET("/api/points/:channel/:type/:point/models", service.modelsOfPoint)
	return service, nil
}

// Addr returns the address on which the service listens.
func (s *Service) Addr() string { return s.server.Addr() }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { s.db.Watch(ctx, s.store); return nil })
	return group.Wait()
}

// store puts the templates and models of the site folder into Redis. What the
// folder does not name stays: it was made through the API.
func (s *Service) store(ctx context.Context) error {
	s.stored.Store(false)
	for _, template := range s.site.Templates {
		if err := s.db.UpsertTemplate(ctx, template); err != nil {
			return err
		}
	}
	for _, model := range s.site.Models {
		if err := s.db.UpsertModel(ctx, model); err != nil {
			return err
		}
	}
	s.stored.Store(true)
	return nil
}

func (s *Service) checkConfiguration(context.Context) (string, error) {
	detail := fmt.Sprintf("%d templates, %d models", len(s.site.Templates), len(s.site.Models))
	if !s.stored.Load() {
		return "", ems.Errorf(ems.CodeUnavailable, "%s of the site are not stored in redis yet", detail)
	}
	return detail, nil
}
