// Package rulesrv keeps the rules of a site, which are evaluated inside Redis as
// values arrive, tells Redis how time passes, and tries rules out.
package rulesrv

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

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
	Service config.Service
	Site    *config.Site
	// ReadSite reads the site folder again and validates all of it.
	ReadSite func() (*config.Site, error)
	DB       *rtdb.Client
	Clock    ems.Clock
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Service serves the rules of one site.
type Service struct {
	folder   atomic.Pointer[config.Site] // as it was last read: whose channels and points there are
	readSite func() (*config.Site, error)
	db       *rtdb.Client
	clock    ems.Clock
	logger   *slog.Logger
	server   *httpserver.Server
	history  *historyClient
	ticks    tickMetrics
	stored   atomic.Bool // the rules of the site are in Redis, and no others of an older folder

	changing sync.Mutex // held while rules are stored: what is checked stays true until it is
	mu       sync.Mutex
	rules    []ems.Rule // of the site folder, as they are in use
}

// New listens and prepares the routes; nothing is served before Run. It refuses
// a site whose rules bear ids that are kept for the API.
func New(options Options) (*Service, error) {
	if err := checkSiteIDs(options.Site.Rules); err != nil {
		return nil, err
	}
	service := &Service{
		readSite: options.ReadSite, db: options.DB, clock: options.Clock, logger: options.Logger, rules: options.Site.Rules,
		history: newHistoryClient(options.Service.Endpoints[ems.Hissrv]), ticks: newTickMetrics(options.Registry),
	}
	service.folder.Store(options.Site)
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Rulesrv, Listen: options.Service.Listen, Logger: options.Logger,
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
	service.route(server.Echo)
	return service, nil
}

func (s *Service) route(e *echo.Echo) {
	e.GET("/api/rules", s.listRules, httpserver.Parameters("limit", "after"))
	e.POST("/api/rules", s.putRule, httpserver.Parameters("by"))
	e.GET("/api/rules/events", s.listEvents, httpserver.Parameters("limit", "after"))
	e.POST("/api/rules/test", s.testRule, httpserver.Parameters())
	e.POST("/api/rules/reload", s.reload, httpserver.Parameters("dry_run"))
	e.GET("/api/rules/export", s.exportRules, httpserver.Parameters())
	e.POST("/api/rules/import", s.importRules, httpserver.Parameters("dry_run"))
	e.GET("/api/rules/:id", s.getRule, httpserver.Parameters())
	e.PUT("/api/rules/:id", s.putRule, httpserver.Parameters("by"))
	e.DELETE("/api/rules/:id", s.deleteRule, httpserver.Parameters("by"))
	e.POST("/api/rules/:id/enable", s.enableRule, httpserver.Parameters("by"))
	e.POST("/api/rules/:id/disable", s.disableRule, httpserver.Parameters("by"))
	e.POST("/api/rules/:id/evaluate", s.evaluateRule, httpserver.Parameters())
	e.POST("/api/rules/:id/trigger", s.triggerRule, httpserver.Parameters())
	e.POST("/api/rules/:id/reset", s.resetRule, httpserver.Parameters("by"))
	e.GET("/api/rules/:id/firings", s.listFirings, httpserver.Parameters())
	e.GET("/api/values", s.listValues, httpserver.Parameters())
	e.GET("/api/values/:name", s.getValue, httpserver.Parameters())
	e.PUT("/api/values/:name", s.putValue, httpserver.Parameters())
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
	group.Go(func() error { s.tick(ctx); return nil })
	defer s.history.close()
	return group.Wait()
}

func (s *Service) checkConfiguration(context.Context) (string, error) {
	detail := fmt.Sprintf("%d rules", len(s.siteRules()))
	if !s.stored.Load() {
		return "", ems.Errorf(ems.CodeUnavailable, "%s of the site are not stored in redis yet", detail)
	}
	return detail, nil
}
