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
	Service config.Service
	Site    *config.Site
	// ReadSite reads the site folder again and validates all of it.
	ReadSite func() (*config.Site, error)
	DB       *rtdb.Client
	Clock    ems.Clock
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Service serves the models of one site.
type Service struct {
	folder   atomic.Pointer[config.Site] // as it was last read: whose templates and models are in use, and whose channels and points there are
	readSite func() (*config.Site, error)
	db       *rtdb.Client
	clock    ems.Clock
	logger   *slog.Logger
	server   *httpserver.Server
	// pending says why the templates and models of the folder are not in use; nil
	// when they are.
	pending atomic.Pointer[string]
	// changing holds a token while templates and models are checked and changed.
	changing chan struct{}
	// waiting holds a token for each request that waits for a command.
	waiting    chan struct{}
	expansions expansions
}

// New listens and prepares the routes; nothing is served before Run. It refuses
// a site whose templates or models bear ids that are kept for the API.
func New(options Options) (*Service, error) {
	if err := checkFolder(options.Site); err != nil {
		return nil, err
	}
	service := &Service{
		readSite: options.ReadSite, db: options.DB, clock: options.Clock, logger: options.Logger,
		changing: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting),
	}
	service.folder.Store(options.Site)
	service.expansions.db = options.DB
	service.notePending("redis was not reached yet")
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
	service.addRoutes()
	return service, nil
}

func (s *Service) addRoutes() {
	e := s.server.Echo
	e.GET("/api/templates", s.listTemplates, httpserver.Parameters("extends", "limit", "after"))
	e.POST("/api/templates", s.postTemplate, httpserver.Parameters("dry_run"))
	e.GET("/api/templates/:id", s.getTemplate, httpserver.Parameters())
	e.PUT("/api/templates/:id", s.putTemplate, httpserver.Parameters("dry_run"))
	e.DELETE("/api/templates/:id", s.deleteTemplate, httpserver.Parameters())
	e.GET("/api/models", s.listModels, httpserver.Parameters("template", "channel", "limit", "after"))
	e.POST("/api/models", s.postModel, httpserver.Parameters("dry_run"))
	e.POST("/api/models/reload", s.reload, httpserver.Parameters("dry_run"))
	e.GET("/api/models/:id", s.getModel, httpserver.Parameters())
	e.PUT("/api/models/:id", s.putModel, httpserver.Parameters("dry_run"))
	e.DELETE("/api/models/:id", s.deleteModel, httpserver.Parameters())
	e.GET("/api/models/:id/expanded", s.expandModel, httpserver.Parameters())
	e.GET("/api/models/:id/values", s.readValues, httpserver.Parameters())
	e.POST("/api/models/:id/actions/:action", s.act, httpserver.Parameters())
	e.GET("/api/points/:channel/:type/:point/models", s.modelsOfPoint, httpserver.Parameters())
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

// change runs one change of templates and models at a time: what was checked is
// still so when it is stored.
func (s *Service) change(ctx context.Context, do func() error) error {
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) notePending(reason string) { s.pending.Store(&reason) }

func (s *Service) checkConfiguration(context.Context) (string, error) {
	folder := s.folder.Load()
	detail := fmt.Sprintf("%d templates, %d models", len(folder.Templates), len(folder.Models))
	if reason := s.pending.Load(); reason != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "%s of the site are not in use: %s", detail, *reason)
	}
	return detail, nil
}
