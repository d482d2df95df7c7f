package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of starting and of clearing up after a run.
const (
	startAttempts = 3 // another program may take the free port first
	stopWithin    = 10 * time.Second
)

// server is the Redis under load: the typed calls, and a bare client for the
// native cases and for everything that is not measured.
type server struct {
	db      *rtdb.Client
	raw     *redis.Client
	owned   bool // started for this run
	local   bool // on this machine
	version string
	library string
	devices []*device                         // of each size, one for each connection
	fields  [][]any                           // what native writes carry
	ids     []string                          // of the points of the model
	closers []func(ctx context.Context) error // run last to first
}

// openServer prepares a Redis with an empty namespace of the bench: one of its
// own if url is empty.
func openServer(ctx context.Context, clock ems.Clock, url string) (*server, error) {
	s := &server{}
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
	namespace, err := ems.NewNamespace(siteName)
	if err != nil {
		return err
	}
	s.db, err = rtdb.Open(rtdb.Options{URL: url, Namespace: namespace, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func(context.Context) error { return s.db.Close() })
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
	if err := s.claim(ctx); err != nil {
		return err
	}
	s.closers = append(s.closers, s.removeKeys)
	return nil
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

// marker is the key by which the bench knows its own namespace again.
const marker = "bench:marker"

// claim empties the namespace of what an interrupted run left, and refuses it
// where its keys are not those of a bench.
func (s *server) claim(ctx context.Context) error {
	mark := s.db.Namespace().Of(marker)
	marked, err := s.raw.Exists(ctx, mark).Result()
	if err != nil {
		return s.fault(err)
	}
	if marked == 0 {
		found, err := s.keys(ctx)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return ems.Errorf(ems.CodeConflict, "redis holds keys of a site named %s, such as %s: the bench would delete them; name another Redis", siteName, found[0])
		}
	}
	if err := s.removeKeys(ctx); err != nil {
		return err
	}
	return s.fault(s.raw.Set(ctx, mark, "keys of this namespace are of voltlab bench and may be deleted", 0).Err())
}

// keys lists the keys of the namespace.
func (s *server) keys(ctx context.Context) ([]string, error) {
	var found []string
	var cursor uint64
	for {
		page, next, err := s.raw.Scan(ctx, cursor, s.db.Namespace().Of("*"), 1000).Result()
		if err != nil {
			return nil, s.fault(err)
		}
		found = append(found, page...)
		if cursor = next; cursor == 0 {
			return found, nil
		}
	}
}

// removeKeys deletes the keys of the namespace, the marker last, so that an
// interrupted removal can be taken up again.
func (s *server) removeKeys(ctx context.Context) error {
	found, err := s.keys(ctx)
	if err != nil || len(found) == 0 {
		return err
	}
	mark := s.db.Namespace().Of(marker)
	for _, key := range found {
		if key == mark {
			continue
		}
		if err := s.raw.Unlink(ctx, key).Err(); err != nil {
			return s.fault(err)
		}
	}
	return s.fault(s.raw.Unlink(ctx, mark).Err())
}

func (s *server) fault(err error) error {
	if err == nil {
		return nil
	}
	return ems.Errorf(ems.CodeUnavailable, "redis of the bench: %w", err)
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
