// Package netsrv is the way out of the site. It forwards what happens to one HTTP
// target: value updates, alarms and rule triggers, in batches and in order. That
// tells what is new; it is not a store, and when the target stays away the oldest
// is dropped and counted. And it tells people what they must hear of alarms and
// rules, which waits in Redis until it was delivered.
package netsrv

import (
	"context"
	"log/slog"
	"strings"

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

// Service forwards the events of one site and notifies its people.
type Service struct {
	site   *config.Site
	db     *rtdb.Client
	clock  ems.Clock
	logger *slog.Logger
	server *httpserver.Server
	post   post
	shown  string // the target without credentials
	queue  *queue
	link   link

	sent, refused prometheus.Counter

	notifiers     []*notifier
	notifyMetrics *notifyMetrics
}

// New listens and prepares the routes; nothing is forwarded before Run.
func New(options Options) (*Service, error) {
	forward := options.Site.Forward
	shown, err := withoutCredentials(forward.Target)
	if err != nil {
		return nil, err
	}
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "voltage_netsrv_dropped_total", Help: "Events that were not forwarded: the queue was full, or the target refused them.",
	}, []string{"reason"})
	service := &Service{
		site: options.Site, db: options.DB, clock: options.Clock, logger: options.Logger,
		post: newPost(forward.Target, "", forwardTimeout), shown: shown,
		queue:   newQueue(dropped.WithLabelValues("queue_full")),
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "voltage_netsrv_sent_total", Help: "Events that the target took."}),
		refused: dropped.WithLabelValues("refused"), notifyMetrics: newNotifyMetrics(options.Registry),
	}
	if service.notifiers, err = newNotifiers(options, service.notifyMetrics); err != nil {
		return nil, err
	}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Netsrv, Listen: options.Service.Listen, Logger: options.Logger,
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
	options.Registry.MustRegister(dropped, service.sent, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "voltage_netsrv_queued", Help: "Events that wait to be forwarded.",
	}, func() float64 { return float64(service.queue.length()) }))
	server.Echo.GET("/api/network/status", service.status, httpserver.Parameters())
	server.Echo.GET("/api/network/dead", service.listDead, httpserver.Parameters("limit", "after"))
	server.Echo.POST("/api/network/dead/:id/retry", service.retryDead, httpserver.Parameters())
	return service, nil
}

// Addr returns the address on which the service listens.
func (s *Service) Addr() string { return s.server.Addr() }

// Close releases the port of a service that never ran.
func (s *Service) Close() error { return s.server.Close() }

// Run serves until ctx ends. What is queued to be forwarded then is dropped.
func (s *Service) Run(ctx context.Context) error {
	defer s.post.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	if s.site.Forward.Enabled {
		group.Go(func() error { return s.db.Subscribe(ctx, s.queue.add) })
		group.Go(func() error { s.forward(ctx); return nil })
	}
	for _, notifier := range s.notifiers {
		group.Go(func() error { notifier.run(ctx); return nil })
	}
	group.Go(func() error { s.measure(ctx); return nil })
	return group.Wait()
}

// checkConfiguration is always healthy: nothing of the site is stored in Redis
// for this service, and a target that is away is no fault of it. How the links
// stand is told by /api/network/status.
func (s *Service) checkConfiguration(context.Context) (string, error) {
	detail := "forwarding is switched off"
	if s.site.Forward.Enabled {
		detail = "forwarding to " + s.shown
	}
	var notified []string
	for _, notifier := range s.notifiers {
		notified = append(notified, notifier.target.Name+" ("+notifier.shown+")")
	}
	return detail + "; notifying " + strings.Join(notified, ", "), nil
}

// status is the reply of /api/network/status.
type status struct {
	Enabled   bool   `json:"enabled"`
	Target    string `json:"target"`    // without credentials
	Connected bool   `json:"connected"` // the last batch was taken
	Queued    int    `json:"queued"`
	Sent      int64  `json:"sent"`
	Dropped   int64  `json:"dropped"` // the queue was full, or the target refused them
	LastError string `json:"last_error,omitempty"`

	Notifications notifyStatus `json:"notifications"`
}

func (s *Service) status(c echo.Context) error {
	reply := s.link.status()
	reply.Enabled, reply.Target = s.site.Forward.Enabled, s.shown
	reply.Queued = s.queue.length()
	reply.Dropped += s.queue.droppedCount()
	reply.Notifications = s.notifyStatus(c.Request().Context())
	return httpserver.OK(c, reply)
}
