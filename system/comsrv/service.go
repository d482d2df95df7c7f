// Package comsrv is the communication service: it polls field devices, keeps
// their live values in Redis and carries out commands on them.
package comsrv

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

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
	Service config.Service
	Site    *config.Site
	// ReadSite reads the site folder again and validates all of it.
	ReadSite func() (*config.Site, error)
	DB       *rtdb.Client
	Clock    ems.Clock
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Service is comsrv.
type Service struct {
	parts
	server   *httpserver.Server
	readSite func() (*config.Site, error)
	links    *modbus.Links
	commands *commander
	waiting  chan struct{} // one for each request that waits for a command to end
	tracing  sync.Mutex    // one trace starts at a time
	scanning chan struct{} // holds a token while an address without a channel is scanned

	changing chan struct{} // holds a token while channels are changed; all that follows belongs to its holder
	life     context.Context
	settling sync.WaitGroup // all that may settle a command
	runs     map[ems.ChannelID]*polling
	phases   phases
	wanted   *wanted
	grace    time.Duration // endGrace
	loaded   bool          // Redis was asked which channels were made through the API
	// uncleared says that Redis could not be told of all channels that have gone.
	uncleared bool
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
	service := &Service{
		parts: shared, readSite: options.ReadSite, links: links, commands: newCommander(shared), waiting: make(chan struct{}, maxWaiting),
		scanning: make(chan struct{}, 1),
		changing: make(chan struct{}, 1), runs: map[ems.ChannelID]*polling{}, phases: phases{of: map[ems.ChannelID]float64{}}, grace: endGrace,
		wanted: &wanted{site: options.Site, made: map[ems.ChannelID]document{}, switches: map[ems.ChannelID]bool{}},
	}
	service.changing <- struct{}{} // until Run has begun
	entries := service.wanted.entries()
	channels := make([]*channel, len(entries))
	for i := range entries {
		if channels[i], err = service.build(&entries[i]); err != nil {
			return nil, err
		}
	}
	service.commands.roster.Store(newRoster(entries, channels...))
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
	s.settling.Go(func() { s.commands.consume(ctx) })
	s.settling.Go(func() {
		<-ctx.Done()
		s.changing <- struct{}{} // a change under way comes to its end, and no other begins
	})
	group.Go(func() error {
		newKeeper(s.parts, s.commands).run(ctx)
		return nil
	})
	s.begin(ctx)
	group.Go(func() error { return s.server.Run(ctx) }) // who asks from now on is told of all channels
	group.Go(func() error {
		s.db.Watch(ctx, s.renew)
		return nil
	})
	group.Go(func() error {
		s.settling.Wait()
		close(s.commands.outcomes)
		return nil
	})
	group.Go(func() error {
		s.commands.store(ctx)
		return nil
	})
	return group.Wait()
}

// begin starts the channels. Where Redis answers, those made through the API are
// among them, and what was stopped by hand is not; else the site folder alone
// counts until it does.
func (s *Service) begin(ctx context.Context) {
	defer func() { <-s.changing }()
	s.life, s.phases.origin = ctx, s.clock.Now()
	loading, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if err := s.load(loading); err != nil {
		s.logger.Warn("redis does not tell which channels were made through the API; beginning with those of the site folder", "error", err)
	}
	s.startAll()
}

// renew is called when Redis has newly appeared: whatever it was told before may
// be gone.
func (s *Service) renew(ctx context.Context) error {
	return s.change(ctx, func() error {
		if err := s.keep(ctx); err != nil {
			return err
		}
		if err := s.removeOld(ctx); err != nil {
			return err
		}
		for _, channel := range s.commands.roster.Load().channels {
			if err := channel.renew(ctx); err != nil {
				return err
			}
		}
		s.commands.again.Store(true)
		return nil
	})
}

// removeOld removes what is stored of channels that the site no longer has:
// their values would look like those of a device that is away.
func (s *Service) removeOld(ctx context.Context) error {
	stored, err := s.db.Channels(ctx)
	if err != nil {
		return err
	}
	for _, id := range stored {
		if s.commands.roster.Load().byID[id] != nil {
			continue
		}
		if err := s.db.RemoveChannel(ctx, id); err != nil {
			return err
		}
		s.logger.Info("channel removed: nothing names it any more", "channel", id)
	}
	s.uncleared = false
	return nil
}

func (s *Service) describeConfiguration(context.Context) (string, error) {
	points, channels := 0, s.commands.roster.Load().channels
	for _, channel := range channels {
		points += len(channel.Points)
	}
	return fmt.Sprintf("%d channels, %d points", len(channels), points), nil
}

// describeChannels informs and never fails: a device that is away does not make
// comsrv unhealthy.
func (s *Service) describeChannels(context.Context) (string, error) {
	online, enabled := 0, s.commands.roster.Load().enabled()
	for _, channel := range enabled {
		if status, _ := channel.shown(); status.Online {
			online++
		}
	}
	return fmt.Sprintf("%d of %d enabled channels online", online, len(enabled)), nil
}
