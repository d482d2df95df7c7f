// Package rulesrv keeps the rules of a site, which are evaluated inside Redis as
// values arrive, and carries out the notifications that they ask for.
package rulesrv

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

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

// Service serves the rules of one site.
type Service struct {
	site          *config.Site
	db            *rtdb.Client
	clock         ems.Clock
	logger        *slog.Logger
	server        *httpserver.Server
	notifications prometheus.Counter
	stored        atomic.Bool // the rules of the site are in Redis, and no others of an older folder
}

// New listens and prepares the routes; nothing is served before Run. It refuses
// a site whose rules bear ids that are kept for the API.
func New(options Options) (*Service, error) {
	for _, rule := range options.Site.Rules {
		if ems.MadeByAPI(rule.ID) {
			return nil, ems.Errorf(ems.CodeInvalid, "rules.yaml: rule id %q begins with %q, which is kept for rules made through the API: rename it", rule.ID, ems.APIPrefix)
		}
	}
	service := &Service{
		site: options.Site, db: options.DB, clock: options.Clock, logger: options.Logger,
		notifications: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_rulesrv_notifications_total", Help: "Notifications that rules asked for and that were given.",
		}),
	}
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
	options.Registry.MustRegister(service.notifications)
	server.Echo.GET("/api/rules", service.listRules)
	server.Echo.POST("/api/rules", service.putRule)
	server.Echo.GET("/api/rules/:id", service.getRule)
	server.Echo.DELETE("/api/rules/:id", service.deleteRule)
	server.Echo.POST("/api/rules/:id/enable", service.enableRule)
	server.Echo.POST("/api/rules/:id/disable", service.disableRule)
	server.Echo.POST("/api/rules/:id/evaluate", service.evaluateRule)
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
	group.Go(func() error { s.notify(ctx); return nil })
	return group.Wait()
}

func (s *Service) ofSite(id string) bool {
	return slices.ContainsFunc(s.site.Rules, func(rule ems.Rule) bool { return rule.ID == id })
}

// store makes the rules of the site folder the ones in Redis. Rules made through
// the API stay; others that the folder does not name were taken out of it.
func (s *Service) store(ctx context.Context) error {
	s.stored.Store(false)
	for _, rule := range s.site.Rules {
		if err := s.db.UpsertRule(ctx, rule); err != nil {
			return err
		}
	}
	for after := ""; ; {
		states, err := s.db.Rules(ctx, after, httpserver.LargestPage)
		if err != nil {
			return err
		}
		for _, state := range states {
			after = state.Rule.ID
			if s.ofSite(after) || ems.MadeByAPI(after) {
				continue
			}
			if err := s.db.DeleteRule(ctx, after); err != nil && ems.CodeOf(err) != ems.CodeNotFound {
				return err
			}
			s.logger.Info("rule removed: rules.yaml no longer names it", "rule", after)
		}
		if len(states) < httpserver.LargestPage {
			break
		}
	}
	s.stored.Store(true)
	return nil
}

func (s *Service) checkConfiguration(context.Context) (string, error) {
	detail := fmt.Sprintf("%d rules", len(s.site.Rules))
	if !s.stored.Load() {
		return "", ems.Errorf(ems.CodeUnavailable, "%s of the site are not stored in redis yet", detail)
	}
	return detail, nil
}

// Pace of the notifications.
const (
	notifyWait  = time.Second // how long one call waits for the next notification
	notifyPause = time.Second // after an error
)

// consumer names this service among the readers of the stream of actions. It
// stays the same over restarts, so that what was taken and not given comes again.
const consumer = "rulesrv"

// notify gives the notifications that rules asked for: first those that were
// taken before and never acknowledged. One may be given twice when the service
// stops in between, and none is lost.
func (s *Service) notify(ctx context.Context) {
	timer := s.clock.NewTimer(notifyPause)
	defer timer.Stop()
	fresh := false
	var lastFault ems.Code // the text of a fault may name another port each time
	for ctx.Err() == nil {
		events, err := s.db.NextActions(ctx, consumer, fresh, notifyWait)
		if err == nil {
			fresh = fresh || len(events) == 0
			err = s.give(ctx, events)
		}
		if err == nil {
			lastFault = ""
			continue
		}
		fresh = false // Redis may have come back empty, or with what was taken
		if ctx.Err() == nil && ems.CodeOf(err) != lastFault {
			lastFault = ems.CodeOf(err)
			s.logger.Warn("notifications cannot be read; trying again", "error", err)
		}
		timer.Reset(notifyPause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
	}
}

func (s *Service) give(ctx context.Context, events []rtdb.ActionEvent) error {
	for _, event := range events {
		if event.Type == ems.ActionNotify {
			s.logger.Info("notification", "rule", event.Rule, "message", event.Message, "time", event.Time)
		} else {
			s.logger.Error("action of an unknown type is dropped", "rule", event.Rule, "type", event.Type)
		}
		if err := s.db.AcknowledgeAction(ctx, event.Entry); err != nil {
			return err
		}
		if event.Type == ems.ActionNotify {
			s.notifications.Inc()
		}
	}
	return nil
}
