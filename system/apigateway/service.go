// Package apigateway is the one address that screens and other systems talk to:
// it passes requests on to the services, tells their health as one, streams what
// happens and serves the first page.
package apigateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Options are what the service works with. Service.Endpoints says where the
// other services are.
type Options struct {
	Service  config.Service
	Site     *config.Site
	DB       *rtdb.Client
	Clock    ems.Clock
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Service is the gateway of one site.
type Service struct {
	db        *rtdb.Client
	clock     ems.Clock
	logger    *slog.Logger
	server    *httpserver.Server
	endpoints map[ems.Target]*url.URL
	transport *http.Transport
	hub       *hub
	page      []byte
}

// routes says which service answers what; each stands for the path and for all
// that is below it.
var routes = map[string]ems.Target{
	"/api/channels":  ems.Comsrv,
	"/api/commands":  ems.Comsrv,
	"/api/sunspec":   ems.Comsrv,
	"/api/templates": ems.Modsrv,
	"/api/models":    ems.Modsrv,
	"/api/points":    ems.Modsrv,
	"/api/alarms":    ems.Alarmsrv,
	"/api/rules":     ems.Rulesrv,
	"/api/values":    ems.Rulesrv,
	"/api/history":   ems.Hissrv,
	"/api/network":   ems.Netsrv,
}

// methods are those that the services know.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// New listens and prepares the routes; nothing is served before Run.
func New(options Options) (*Service, error) {
	service := &Service{
		db: options.DB, clock: options.Clock, logger: options.Logger,
		endpoints: map[ems.Target]*url.URL{}, transport: newTransport(), hub: newHub(options.Registry),
	}
	for _, target := range ems.Targets {
		endpoint, err := url.Parse(options.Service.Endpoints[target])
		if target != ems.Apigateway && (err != nil || endpoint.Host == "") {
			return nil, ems.Errorf(ems.CodeInvalid, "the address of %s, %q, is not a URL of the form http://host:port", target, options.Service.Endpoints[target])
		}
		service.endpoints[target] = endpoint
	}
	page, err := renderPage(options.Site)
	if err != nil {
		return nil, err
	}
	service.page = page
	guards, err := guards(options.Service.CORSOrigins)
	if err != nil {
		return nil, err
	}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Apigateway, Listen: options.Service.Listen, Logger: options.Logger,
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
	service.addRoutes(guards)
	return service, nil
}

func (s *Service) addRoutes(guards []echo.MiddlewareFunc) {
	e := s.server.Echo
	e.Use(guards...)
	// In place of the detailed health of this service alone.
	e.GET("/health/detailed", s.detailedHealth)
	for path, target := range routes {
		pass := echo.WrapHandler(s.proxy(target))
		e.Match(methods, path, pass)
		e.Match(methods, path+"/*", pass)
	}
	e.GET("/api/events", s.streamEvents)
	e.GET("/", s.servePage)
	e.GET("/page.js", s.serveAsset)
	e.GET("/page.css", s.serveAsset)
	e.GET("/icon.svg", s.serveAsset)
}

// Addr returns the address on which the service listens.
func (s *Service) Addr() string { return s.server.Addr() }

// Close releases the port of a service that never ran.
func (s *Service) Close() error { return s.server.Close() }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.transport.CloseIdleConnections()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { return s.db.Subscribe(ctx, s.hub.publish) })
	return group.Wait()
}

// checkConfiguration is always healthy: nothing of the site is stored in Redis
// for this service.
func (s *Service) checkConfiguration(context.Context) (string, error) {
	return fmt.Sprintf("%d services", len(s.endpoints)), nil
}

// guards keep pages of other sites from using a visitor's browser against the
// plant. Origins that are named may read and write; all others may do neither.
func guards(origins []string) ([]echo.MiddlewareFunc, error) {
	if slices.Contains(origins, "*") {
		return []echo.MiddlewareFunc{cors([]string{"*"})}, nil
	}
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, ems.Errorf(ems.CodeInvalid, "cors_origins: %w; write scheme://host[:port], for example https://scada.example.com", err)
		}
	}
	sameSite := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := protection.Check(c.Request()); err != nil {
				return ems.Errorf(ems.CodeDenied, "a page of another site may not change anything here (%w): name its origin in cors_origins to allow it", err)
			}
			return next(c)
		}
	}
	if len(origins) == 0 { // for the middleware none would mean all
		return []echo.MiddlewareFunc{sameSite}, nil
	}
	return []echo.MiddlewareFunc{cors(origins), sameSite}, nil
}

func cors(origins []string) echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins: origins, AllowMethods: methods, AllowHeaders: []string{echo.HeaderContentType}, MaxAge: 600,
	})
}
