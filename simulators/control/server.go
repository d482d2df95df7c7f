// Package control is the door through which the operator of a simulated plant
// sees the truth about it and changes what no register can: clouds, a grid that
// fails, a cell that overheats. It asks for no password and is meant for loopback
// alone.
package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/voltageems/voltageems-go/simulators/fault"
	"github.com/voltageems/voltageems-go/simulators/plant"
)

// Bounds of the HTTP server.
const (
	headerTimeout = 5 * time.Second
	closeTimeout  = 2 * time.Second // for requests under way when it closes
	mostBody      = 4 << 10         // bytes
)

// Server answers the control API of one plant.
type Server struct {
	listener net.Listener
	server   *http.Server
	closing  chan struct{} // closed when streams are to end
	close    sync.Once
	ended    chan struct{}
	routes   []*echo.Route
}

// Options are what a server shows and steers.
type Options struct {
	Plant      *plant.Plant
	Runner     *plant.Runner
	Faults     *fault.Registry
	Conditions string // folder of the named initial conditions, which need not be there
	Metrics    prometheus.Gatherer
	Logger     *slog.Logger
}

// Serve answers at the listener until Close. The server owns the listener from
// then on.
func Serve(listener net.Listener, options Options) *Server {
	s := &Server{listener: listener, closing: make(chan struct{}), ended: make(chan struct{})}
	logger := options.Logger
	s.server = &http.Server{Handler: s.handler(options), ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the control API ended", "error", err)
		}
	}()
	return s
}

// Addr returns the address at which the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close lets requests under way finish for a moment, ends all connections and
// returns when the server's goroutine is gone.
func (s *Server) Close() error {
	s.close.Do(func() { close(s.closing) })
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.ended
	return err
}

func (s *Server) handler(options Options) http.Handler {
	a := &api{
		plant: options.Plant, runner: options.Runner, faults: options.Faults, closed: s.closing,
		snapshots: &snapshots{folder: options.Conditions, kept: map[string]*plant.Snapshot{}},
	}
	e := echo.New()
	e.HTTPErrorHandler = writeError
	e.GET("/health", bare(a.health))
	e.GET("/truth", bare(a.truth))
	e.GET("/truth/:device", bare(a.deviceTruth))
	e.GET("/inputs", bare(a.inputs))
	e.PUT("/inputs/:device/:input", a.setInput)
	e.GET("/mode", bare(a.mode))
	e.PUT("/mode", a.setMode)
	e.POST("/steps", a.step)
	e.POST("/back", a.back)
	e.GET("/snapshots", bare(a.listSnapshots))
	e.GET("/snapshots/:name", bare(a.snapshot))
	e.PUT("/snapshots/:name", a.save)
	e.DELETE("/snapshots/:name", bare(a.dropSnapshot))
	e.POST("/snapshots/:name/restore", bare(a.restore))
	e.GET("/faults", bare(a.listFaults))
	e.GET("/faults/kinds", bare(a.faultKinds))
	e.POST("/faults", a.inject)
	e.DELETE("/faults", bare(a.clearAll))
	e.DELETE("/faults/:id", bare(a.clear))
	e.GET("/events", a.events)
	e.GET("/openapi.yaml", bare(openAPI))
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(options.Metrics, promhttp.HandlerOpts{})))
	s.routes = e.Routes()
	return e
}
