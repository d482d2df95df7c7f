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
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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
	ended    chan struct{}
}

// Serve answers at the listener until Close. The server owns the listener from
// then on.
func Serve(listener net.Listener, p *plant.Plant, metrics prometheus.Gatherer, logger *slog.Logger) *Server {
	s := &Server{
		listener: listener,
		server:   &http.Server{Handler: newHandler(p, metrics), ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)},
		ended:    make(chan struct{}),
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.ended
	return err
}

func newHandler(p *plant.Plant, metrics prometheus.Gatherer) http.Handler {
	api := &api{plant: p}
	e := echo.New()
	e.HTTPErrorHandler = writeError
	e.GET("/health", api.health)
	e.GET("/truth", api.truth)
	e.GET("/inputs", api.inputs)
	e.PUT("/inputs/:device/:input", api.setInput)
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})))
	return e
}
