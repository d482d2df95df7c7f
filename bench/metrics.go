package bench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// buckets are the upper bounds of the histogram, in seconds: ten a decade from
// 10 us to 100 ms, at preferred numbers (series R10), so that 1 ms is a bound.
func buckets() []float64 {
	var bounds []float64
	for unit := 1e7; unit >= 1e4; unit /= 10 {
		for _, step := range []float64{100, 125, 160, 200, 250, 315, 400, 500, 630, 800} {
			bounds = append(bounds, step/unit) // one rounding: the label stays short
		}
	}
	return append(bounds, 0.1)
}

func newHistogram(registry prometheus.Registerer) (*prometheus.HistogramVec, error) {
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "voltage_bench_call_seconds",
		Help:    "Time of the measured calls by case, as a client of Redis sees it.",
		Buckets: buckets(),
	}, []string{"case"})
	if err := registry.Register(histogram); err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "metrics of the bench: %w", err)
	}
	return histogram, nil
}

// exposition serves /metrics while the bench runs.
type exposition struct {
	address string
	server  *http.Server
	ended   chan error
}

func expose(address string, registry *prometheus.Registry) (*exposition, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "metrics cannot be served on %s: %w; name another address, or port 0 for a free one", address, err)
	}
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	served := &exposition{
		address: listener.Addr().String(),
		server:  &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second},
		ended:   make(chan error, 1),
	}
	go func() { served.ended <- served.server.Serve(listener) }()
	return served, nil
}

// close lets a scrape that is under way finish.
func (e *exposition) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := e.server.Shutdown(ctx); err != nil {
		_ = e.server.Close() // the deadline has passed; what still runs is cut
	}
	if err := <-e.ended; !errors.Is(err, http.ErrServerClosed) {
		return ems.Errorf(ems.CodeInternal, "serving the metrics of the bench: %w", err)
	}
	return nil
}
