package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// Bounds of starting and of clearing up after a run.
const (
	startAttempts = 3 // another program may take the free port first
	stopWithin    = 10 * time.Second
)

// server is the Redis under load, with the sites of the bench. The first site is
// what most cases are about; each of the others is for the cases that its name
// tells of.
type server struct {
	*site
	plain   *site  // no rules
	bound   *site  // many rules on the points of a channel
	large   *site  // many more rules, none of them on that channel
	raised  *site  // alarms, and nothing else
	address string // redis://…
	clock   ems.Clock
	owned   bool // started for this run
	local   bool // on this machine
	version string
	library string
	sizes   sizes
	voltage string                            // path of the program
	voltlab string                            // the same
	plants  string                            // folder
	service *service                          // alarmsrv of the large site, once it runs
	devices []*device                         // of each size, one for each connection
	fields  [][]any                           // what native writes carry
	ids     []string                          // of the points of the model
	closers []func(ctx context.Context) error // run last to first
	process *managed.Process                  // the Redis of this run, where it is owned
}

// sizes are how much is stored of what makes a site large.
type sizes struct {
	looseChannels int // each with looseRules
	alarms        int
	acquired      int           // points of all devices that are read as fast as they answer
	cycled        int           // devices that are polled often
	thousand      int           // devices that are many
	isolated      int           // devices, of which some get into trouble
	cycle         time.Duration // how often the former are polled
	second        time.Duration // how often the others are
	span          time.Duration // of a round in which devices are polled
}

func fullSizes() sizes {
	return sizes{
		looseChannels: 100, alarms: 100_000,
		acquired: 400_000, cycled: 64, thousand: 1000, isolated: 500,
		cycle: 100 * time.Millisecond, second: time.Second, span: 3 * time.Second,
	}
}

// openServer prepares a Redis with an empty namespace of the bench: one of its
// own if url is empty.
func openServer(ctx context.Context, clock ems.Clock, url string) (*server, error) {
	s := &server{
		site: newSite(siteName), plain: newSite(siteName + "_plain"), bound: newSite(siteName + "_bound"),
		large: newSite(siteName + "_large"), raised: newSite(siteName + "_raised"), sizes: fullSizes(),
	}
	if err := s.open(ctx, clock, url); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

func (s *server) open(ctx context.Context, clock ems.Clock, url string) error {
	if s.owned = url == ""; s.owned {
		var err error
		if url, err = s.start(ctx, clock); err != nil {
			return err
		}
	}
	s.address, s.clock = url, clock
	if err := s.connect(s.site); err != nil {
		return err
	}
	parsed, err := redis.ParseURL(url)
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "redis address: %w", err)
	}
	parsed.MaxRetries, parsed.DisableIdentity, parsed.PoolSize = -1, true, 2*connections
	s.raw = redis.NewClient(parsed)
	s.closers = append(s.closers, func(context.Context) error { return s.raw.Close() })
	if s.version, err = s.db.CheckRedis(ctx); err != nil {
		return err
	}
	s.local = isLocal(parsed.Addr)
	if err := s.configure(ctx); err != nil {
		return err
	}
	if err := s.ensureLibrary(ctx); err != nil {
		return err
	}
	return s.claim(ctx, s.site)
}

// isLocal reports whether an address is of this machine itself.
func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil { // the path of a socket
		return true
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// start runs a Redis in a folder of its own on a free port.
func (s *server) start(ctx context.Context, clock ems.Clock) (string, error) {
	binary, err := managed.FindRedis(ctx)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "voltage-bench-")
	if err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "no folder for the data of Redis: %w", err)
	}
	s.closers = append(s.closers, func(context.Context) error { return os.RemoveAll(dir) })
	var last error
	for range startAttempts {
		port, err := freePort()
		if err != nil {
			return "", err
		}
		instance := &managed.Redis{Binary: binary, Dir: dir, Port: port}
		process, err := managed.StartReady(ctx, clock, managed.Child{Name: "redis-server", Start: instance.Start, Probe: instance.Probe})
		if err == nil {
			s.process = process
			s.closers = append(s.closers, process.Stop)
			return instance.URL(), nil
		}
		last = err
	}
	return "", last
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = listener.Close()
	}
	if err != nil {
		return 0, ems.Errorf(ems.CodeUnavailable, "no free port for Redis: %w", err)
	}
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// libraryName is that of the function library.
const libraryName = "voltage"

// ensureLibrary loads this binary's library where there is none. It does not
// replace another version in a Redis that others use.
func (s *server) ensureLibrary(ctx context.Context) error {
	loaded, err := s.raw.FunctionList(ctx, redis.FunctionListQuery{LibraryNamePattern: libraryName}).Result()
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "redis did not list its functions: %w", err)
	}
	if s.owned || len(loaded) == 0 {
		if err := s.db.Load(ctx); err != nil {
			return err
		}
	}
	s.library, err = s.db.CheckFunctions(ctx)
	return err
}

// endSeen is how long a Redis that has cut a connection may take to be gone.
const endSeen = time.Second

// explain adds to a fault how the Redis of this run ended, if it did.
func (s *server) explain(fault error) error {
	if s.process == nil || ems.CodeOf(fault) != ems.CodeUnavailable || errors.Is(fault, context.Canceled) {
		return fault
	}
	timer := s.clock.NewTimer(endSeen)
	defer timer.Stop()
	select {
	case <-s.process.Exited():
	case <-timer.C():
		return fault
	}
	if err := s.process.Err(); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "%w: %s", fault, err.Error())
	}
	return ems.Errorf(ems.CodeUnavailable, "%w: redis-server was told to end", fault)
}

// close takes away the keys and whatever was started, also after ctx has ended.
func (s *server) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	var faults []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i](ctx); err != nil {
			faults = append(faults, fmt.Errorf("clearing up: %w", err))
		}
	}
	s.closers = nil
	return errors.Join(faults...)
}
