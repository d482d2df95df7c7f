// Package httpserver is the HTTP front that every service shares: health,
// metrics, the reply envelope, errors and a clean shutdown.
package httpserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Options say who serves, where, and what its health depends on.
type Options struct {
	Target   ems.Target
	Listen   string // host:port; port 0 takes a free one
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Clock    ems.Clock
	Checks   []Check
}

// Server is an HTTP server that listens from the moment it is made, so that a
// port in use is known before anything else starts.
type Server struct {
	Echo     *echo.Echo // routes are added here before Run
	listener net.Listener
	logger   *slog.Logger
	checks   []Check
	clock    ems.Clock
	target   ems.Target
	started  time.Time
}

// Bounds of one request.
const (
	maxBody           = 1 << 20
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 5 * time.Second
)

// New listens and prepares the shared routes: /health, /health/detailed and
// /metrics.
func New(options Options) (*Server, error) {
	listener, err := net.Listen("tcp", options.Listen)
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "%s cannot listen on %s: %w; stop what uses the port or set %s",
			options.Target, options.Listen, err, listenVariable(options.Target))
	}
	server := &Server{
		Echo: echo.New(), listener: listener, logger: options.Logger, checks: options.Checks,
		clock: options.Clock, target: options.Target, started: options.Clock.Now(),
	}
	server.Echo.HideBanner, server.Echo.HidePort = true, true
	server.Echo.JSONSerializer = plainJSON{}
	server.Echo.HTTPErrorHandler = server.handleError
	server.Echo.Use(
		server.measure(options.Registry),
		middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: server.logPanic}),
		middleware.BodyLimit(strconv.Itoa(maxBody)),
	)
	probed := []string{http.MethodGet, http.MethodHead} // a load balancer may want the status alone
	server.Echo.Match(probed, "/health", server.health)
	server.Echo.Match(probed, "/health/detailed", server.detailedHealth)
	server.Echo.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(options.Registry, promhttp.HandlerOpts{})))
	return server, nil
}

// Addr returns the address on which the server listens, host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, then lets running requests finish.
func (s *Server) Run(ctx context.Context) error {
	// Requests end with ctx, or an open event stream would hold up the shutdown.
	server := &http.Server{
		Handler: s.Echo, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.listener) }()
	s.logger.Info("listening", "address", s.Addr())
	select {
	case err := <-failed:
		return ems.Errorf(ems.CodeInternal, "%s stopped serving: %w", s.target, err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		_ = server.Close() // the deadline has passed; what still runs is cut
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return ems.Errorf(ems.CodeInternal, "%s stopped serving: %w", s.target, err)
	}
	return nil
}

// Close releases the port of a server that never ran.
func (s *Server) Close() error { return s.listener.Close() }

// measure records the duration of every request by route and status. The route
// is the pattern, not the path, so that the labels stay few.
func (s *Server) measure(registry *prometheus.Registry) echo.MiddlewareFunc {
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "voltage_http_request_seconds",
		Help:    "Duration of HTTP requests.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		ConstLabels: prometheus.Labels{
			"service": string(s.target),
		},
	}, []string{"method", "route", "status"})
	registry.MustRegister(durations)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := s.clock.Now()
			if err := next(c); err != nil {
				c.Error(err)
			}
			route := c.Path()
			if route == "" {
				route = "unmatched"
			}
			durations.WithLabelValues(methodLabel(c.Request().Method), route, http.StatusText(c.Response().Status)).
				Observe(s.clock.Now().Sub(start).Seconds())
			return nil
		}
	}
}

// methodLabel bounds what a caller can make of the label.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodHead:
		return method
	default:
		return "other"
	}
}

func (s *Server) logPanic(c echo.Context, err error, stack []byte) error {
	s.logger.Error("panic in a request", "route", c.Path(), "error", err, "stack", string(stack))
	return ems.Errorf(ems.CodeInternal, "%s", s.faultText())
}
