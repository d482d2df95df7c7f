package testkit

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// RedisServer is an empty Redis that belongs to one test until it ends.
type RedisServer struct {
	URL      string // redis://[:password@]host:port
	Addr     string // host:port
	Password string

	test   testing.TB
	server *server // nil where this process did not start it
}

// Redis returns an empty Redis for this test. It is configured like the one of
// a site: every write goes to the append-only file.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	if shared := os.Getenv(redisVariable); shared != "" {
		return sharedRedis(t, shared)
	}
	binary, err := managed.FindRedis(context.Background())
	if err != nil {
		return redisContainer(t, err)
	}
	return ownRedis(t, &managed.Redis{Binary: binary, Port: FreePort(t)})
}

// ownRedis starts a Redis of this test in a new folder.
func ownRedis(t testing.TB, configured *managed.Redis) *RedisServer {
	t.Helper()
	configured.Dir = t.TempDir()
	configured.Line = managed.LogLines(Logger(t).With("server", "redis"), slog.LevelDebug)
	r := &RedisServer{
		URL: configured.URL(), Addr: configured.Addr(), test: t,
		server: &server{child: managed.Child{Name: "redis", Start: configured.Start, Probe: configured.Probe}},
	}
	t.Cleanup(r.server.kill)
	r.Start()
	return r
}

// Start starts the server again after Stop or Kill, with its data, and returns
// when it is ready.
func (r *RedisServer) Start() {
	r.test.Helper()
	startAgain(r.test, r.server, "Redis")
}

// Stop ends the server in an orderly way. The test fails where it cannot.
func (r *RedisServer) Stop() {
	r.test.Helper()
	stopOrderly(r.test, r.server, "Redis")
}

// Kill ends the server at once, as a crash does.
func (r *RedisServer) Kill() {
	r.test.Helper()
	needOwn(r.test, r.server, "Redis").kill()
}

// Restart stops the server and starts it again.
func (r *RedisServer) Restart() {
	r.test.Helper()
	r.Stop()
	r.Start()
}

func needOwn(t testing.TB, s *server, name string) *server {
	t.Helper()
	if s == nil {
		t.Fatalf("this test stops its %s, which is not its own: run it with a local program (make setup) and without %s and %s", name, redisVariable, influxVariable)
	}
	return s
}

func startAgain(t testing.TB, s *server, name string) {
	t.Helper()
	if err := needOwn(t, s, name).start(); err != nil {
		t.Fatalf("%s does not start: %v", name, err)
	}
}

func stopOrderly(t testing.TB, s *server, name string) {
	t.Helper()
	if err := needOwn(t, s, name).stop(); err != nil {
		t.Fatalf("%s does not stop: %v", name, err)
	}
}

// redisOfURL takes host:port and password out of the address of a Redis that
// runs elsewhere.
func redisOfURL(t testing.TB, address string) *RedisServer {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(ems.Errorf(ems.CodeInvalid, "Redis address: %w; write redis://[:password@]host:port", err))
	}
	password, _ := parsed.User.Password()
	return &RedisServer{URL: address, Addr: parsed.Host, Password: password, test: t}
}
