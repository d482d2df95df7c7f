// Package comsrv is the communication service: it polls field devices, keeps
// their live values in Redis and carries out commands on them.
package comsrv

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Options are what the service is made of. The caller closes DB after Run.
type Options struct {
	Service  config.Service
	Site     *config.Site
	DB       *rtdb.Client
	Clock    ems.Clock
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Service is comsrv.
type Service struct {
	parts
	server   *httpserver.Server
	channels []*channel // in the order of the site
	commands *commander
	waiting  chan struct{} // one for each request that waits for a command to end
	tracing  sync.Mutex    // one trace starts at a time
}

// New validates the channels, listens and prepares everything. Nothing is polled
// before Run.
func New(options Options) (*Service, error) {
	counters, err := newMetrics(options.Registry)
	if err != nil {
		return nil, err
	}
	links, err := modbus.NewLinks(options.Clock, options.Registry)
	if err != nil {
		return nil, err
	}
	shared := parts{
		db: options.DB, clock: options.Clock, logger: options.Logger, metrics: counters, turns: make(chan struct{}, turnsAtOnce),
		drivers: Drivers(links),
	}
	service := &Service{parts: shared, commands: newCommander(shared), waiting: make(chan struct{}, maxWaiting)}
	for _, entry := range options.Site.Channels {
		made, err := newChannel(entry, shared, service.commands)
		if err != nil {
			return nil, err
		}
		service.channels = append(service.channels, made)
		service.commands.channels[entry.ID] = made
		service.commands.ids = append(service.commands.ids, entry.ID)
	}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Comsrv, Listen: options.Service.Listen, Logger: options.Logger, Registry: options.Registry, Clock: options.Clock,
		Checks: []httpserver.Check{
			{Name: "redis", Probe: options.DB.CheckRedis},
			{Name: "functions", Probe: options.DB.CheckFunctions},
			{Name: "configuration", Probe: service.describeConfiguration},
			{Name: "channels", Probe: service.describeChannels},
		},
	})
	if err != nil {
		return nil, err
	}
	service.server = server
	service.addRoutes()
	return service, nil
}

// Addr returns the address of the HTTP server, host:port.
func (s *Service) Addr() string { return s.server.Addr() }

// Close releases the port of a service that never ran.
func (s *Service) Close() error { return s.server.Close() }

// Run polls and serves until ctx ends. A write under way then is finished, and
// the outcomes of commands are stored.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error {
		s.db.Watch(ctx, s.renew)
		return nil
	})
	var settling sync.WaitGroup // all that may settle a command
	settling.Go(func() { s.commands.consume(ctx) })
	group.Go(func() error {
		newKeeper(s.parts, s.commands).run(ctx)
		return nil
	})
	enabled := s.enabled()
	for place, channel := range enabled {
		settling.Go(func() { channel.run(ctx, place, len(enabled)) })
	}
	group.Go(func() error {
		settling.Wait()
		close(s.commands.outcomes)
		return nil
	})
	group.Go(func() error {
		s.commands.store(ctx)
		return nil
	})
	return group.Wait()
}

// renew is called when Redis has newly appeared: whatever it was told before may
// be gone.
func (s *Service) renew(ctx context.Context) error {
	if err := s.removeOld(ctx); err != nil {
		return err
	}
	for _, channel := range s.channels {
		if err := channel.renew(ctx); err != nil {
			return err
		}
	}
	s.commands.again.Store(true)
	return nil
}

// removeOld removes what is stored of channels that the site no longer has:
// their values would look like those of a device that is away.
func (s *Service) removeOld(ctx context.Context) error {
	stored, err := s.db.Channels(ctx)
	if err != nil {
		return err
	}
	for _, id := range stored {
		if slices.ContainsFunc(s.channels, func(c *channel) bool { return c.ID == id }) {
			continue
		}
		if err := s.db.RemoveChannel(ctx, id); err != nil {
			return err
		}
		s.logger.Info("channel removed: channels.yaml no longer names it", "channel", id)
	}
	return nil
}

func (s *Service) enabled() []*channel {
	var list []*channel
	for _, channel := range s.channels {
		if channel.Enabled {
			list = append(list, channel)
		}
	}
	return list
}

func (s *Service) describeConfiguration(context.Context) (string, error) {
	points := 0
	for _, channel := range s.channels {
		points += len(channel.Points)
	}
	return fmt.Sprintf("%d channels, %d points", len(s.channels), points), nil
}

// describeChannels informs and never fails: a device that is away does not make
// comsrv unhealthy.
func (s *Service) describeChannels(context.Context) (string, error) {
	online, enabled := 0, s.enabled()
	for _, channel := range enabled {
		if status, _ := channel.shown(); status.Online {
			online++
		}
	}
	return fmt.Sprintf("%d of %d enabled channels online", online, len(enabled)), nil
}
