package testkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// InfluxServer is an InfluxDB with an empty bucket that belongs to one test
// until it ends.
type InfluxServer struct {
	URL    string
	Token  string
	Org    string
	Bucket string // "database/retention-policy" on version 1.8

	test   testing.TB
	server *server // nil where it is not this test's own
}

// Influx returns an empty bucket for this test. The server behind it is shared
// with the tests that run beside this one, because it takes seconds to start;
// a test that stops the server asks for InfluxAlone.
func Influx(t testing.TB) *InfluxServer {
	t.Helper()
	if os.Getenv(influxVariable) != "" {
		return sharedInflux(t)
	}
	binary, err := findInflux()
	if err != nil {
		return influxContainer(t, err)
	}
	configured, err := common.take(binary)
	if err != nil {
		t.Fatalf("InfluxDB does not start: %v", err)
	}
	t.Cleanup(func() {
		if err := common.giveBack(); err != nil {
			t.Errorf("InfluxDB: %v", err)
		}
	})
	return influxOf(t, configured)
}

// InfluxAlone returns an InfluxDB of this test's own, which may be stopped and
// started again.
func InfluxAlone(t testing.TB) *InfluxServer {
	t.Helper()
	binary, err := findInflux()
	if os.Getenv(influxVariable) != "" || err != nil {
		return Influx(t)
	}
	configured := newInflux(binary, t.TempDir(), FreePort(t), FreePort(t))
	configured.Line = managed.LogLines(Logger(t).With("server", "influxdb"), slog.LevelDebug)
	i := influxOf(t, configured)
	i.server = &server{child: influxChild(configured)}
	t.Cleanup(i.server.kill)
	i.Start()
	return i
}

// Start starts the server again after Stop or Kill, with its data, and returns
// when it is ready.
func (i *InfluxServer) Start() {
	i.test.Helper()
	startAgain(i.test, i.server, "InfluxDB")
}

// Stop ends the server in an orderly way. The test fails where it cannot.
func (i *InfluxServer) Stop() {
	i.test.Helper()
	stopOrderly(i.test, i.server, "InfluxDB")
}

// Kill ends the server at once, as a crash does.
func (i *InfluxServer) Kill() {
	i.test.Helper()
	needOwn(i.test, i.server, "InfluxDB").kill()
}

// Restart stops the server and starts it again.
func (i *InfluxServer) Restart() {
	i.test.Helper()
	i.Stop()
	i.Start()
}

func findInflux() (string, error) {
	var folders []string
	if checkout, err := managed.FindCheckout("."); err == nil {
		folders = append(folders, managed.BinaryFolder(checkout))
	}
	return managed.FindInflux(context.Background(), folders...)
}

func newInflux(binary, folder string, port, rpcPort int) *managed.Influx {
	return &managed.Influx{
		Binary: binary, Dir: folder, Port: port, RPCPort: rpcPort,
		User: "voltage", Password: "voltage", Database: "ems_data",
	}
}

func influxOf(t testing.TB, configured *managed.Influx) *InfluxServer {
	return &InfluxServer{
		URL: configured.URL(), Token: configured.Token(), Org: configured.Organization(), Bucket: configured.Bucket(), test: t,
	}
}

func influxChild(configured *managed.Influx) managed.Child {
	return managed.Child{Name: "influxdb", Start: configured.Start, Probe: configured.Probe, Prepare: configured.Prepare}
}

// common is the server of the tests that run at the same time in this process:
// it runs while at least one of them holds it.
var common commonInflux

type commonInflux struct {
	mu         sync.Mutex
	holders    int
	databases  int
	configured *managed.Influx
	server     *server
	release    []func() error
}

// take returns the server with a database that nobody else has.
func (c *commonInflux) take(binary string) (*managed.Influx, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holders == 0 {
		if err := c.start(binary); err != nil {
			return nil, errors.Join(err, c.end())
		}
	}
	c.databases++
	own := *c.configured
	own.Database = fmt.Sprintf("ems_data_%d", c.databases)
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	if err := own.Prepare(ctx); err != nil {
		if c.holders == 0 {
			err = errors.Join(err, c.end())
		}
		return nil, err
	}
	c.holders++
	return &own, nil
}

func (c *commonInflux) giveBack() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holders--; c.holders > 0 {
		return nil
	}
	return c.end()
}

// start needs the lock.
func (c *commonInflux) start(binary string) error {
	folder, err := os.MkdirTemp("", "voltage-test-influxdb-")
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "folder for InfluxDB: %w", err)
	}
	c.release = append(c.release, func() error { return os.RemoveAll(folder) })
	var ports [2]int
	for i := range ports {
		port, release, err := managed.ReservePort()
		if err != nil {
			return err
		}
		ports[i] = port
		c.release = append(c.release, release)
	}
	c.configured = newInflux(binary, folder, ports[0], ports[1])
	c.server = &server{child: influxChild(c.configured)}
	return c.server.start()
}

// end needs the lock.
func (c *commonInflux) end() error {
	if c.server != nil {
		c.server.kill()
	}
	var err error
	for _, release := range c.release {
		err = errors.Join(err, release())
	}
	c.server, c.release = nil, nil
	return err
}
