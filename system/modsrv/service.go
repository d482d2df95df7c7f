// Package modsrv names the points of channels: models of equipment, the
// templates they follow, their live values and their actions.
package modsrv

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
	logger *slog.Logger
	server *httpserver.Server
	stored atomic.Bool // the templates and models of the site are in Redis, and no models of an older folder
	// waiting holds a token for each request that waits for a command.
	waiting chan struct{}
}

// New listens and prepares the routes; nothing is served before Run. It refuses
// a site whose models bear ids that are kept for the API.
func New(options Options) (*Service, error) {
	for _, model := range options.Site.Models {
		if ems.MadeByAPI(model.ID) {
			return nil, ems.Errorf(ems.CodeInvalid, "models.yaml: model id %q begins with %q, which is kept for models made through the API: rename it", model.ID, ems.APIPrefix)
		}
	}
	service := &Service{
		site: options.Site, db: options.DB, clock: options.Clock, logger: options.Logger, waiting: make(chan struct{}, maxWaiting),
	}
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

// Close releases the port of a service that never ran.
func (s *Service) Close() error { return s.server.Close() }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { s.db.Watch(ctx, s.store); return nil })
	return group.Wait()
}

func (s *Service) ofSite(id string) bool {
	return slices.ContainsFunc(s.site.Models, func(model ems.Model) bool { return model.ID == id })
}

// store puts the templates of the site folder into Redis and makes its models the
// ones there. Models made through the API stay; others that the folder does not
// name were taken out of it. A template that it no longer names stays, and says
// nothing without a model.
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
	if err := s.removeOld(ctx); err != nil {
		return err
	}
	s.stored.Store(true)
	return nil
}

// removeOld deletes every model that belongs to neither the site folder nor the
// API.
func (s *Service) removeOld(ctx context.Context) error {
	for after := ""; ; {
		models, err := s.db.Models(ctx, after, httpserver.LargestPage)
		if err != nil {
			return err
		}
		for _, model := range models {
			after = model.ID
			if s.ofSite(after) || ems.MadeByAPI(after) {
				continue
			}
			if err := s.db.DeleteModel(ctx, after); err != nil && ems.CodeOf(err) != ems.CodeNotFound {
				return err
			}
			s.logger.Info("model removed: models.yaml no longer names it", "model", after)
		}
		if len(models) < httpserver.LargestPage {
			return nil
		}
	}
}

func (s *Service) checkConfiguration(context.Context) (string, error) {
	detail := fmt.Sprintf("%d templates, %d models", len(s.site.Templates), len(s.site.Models))
	if !s.stored.Load() {
		return "", ems.Errorf(ems.CodeUnavailable, "%s of the site are not stored in redis yet", detail)
	}
	return detail, nil
}
