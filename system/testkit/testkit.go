// Package testkit gives tests real servers on free ports: the ones that the
// environment names, else local programs, else containers. A test that can
// have none of them fails and says what to type; it is never skipped.
//
//	VOLTAGE_TEST_REDIS_URL       a shared Redis of version 7 or newer
//	VOLTAGE_TEST_INFLUX_URL      a shared InfluxDB 2, or 1.8 with Flux, with
//	VOLTAGE_TEST_INFLUX_TOKEN,   _ORG and _BUCKET
//
// Tests take turns on shared servers, under a lock that is kept in that Redis,
// and find them empty. Servers that testkit starts die with the test process.
package testkit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// pollPeriod is how often Eventually looks.
const pollPeriod = 10 * time.Millisecond

// Eventually polls a condition until it returns nil, and fails the test with
// the last error when it does not within that time.
func Eventually(t testing.TB, within time.Duration, condition func() error, what string) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(pollPeriod)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
	}
}

// FreePort returns a TCP port of the loopback address that belongs to this test
// until it ends, also while a server of the test that uses it is stopped.
func FreePort(t testing.TB) int {
	t.Helper()
	port, release, err := managed.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Errorf("port %d: %v", port, err)
		}
	})
	return port
}

// FreePorts returns that many ports as FreePort does.
func FreePorts(t testing.TB, count int) []int {
	t.Helper()
	ports := make([]int, count)
	for i := range ports {
		ports[i] = FreePort(t)
	}
	return ports
}

// Logger returns a logger of every level into the log of the test. What comes
// after the end of the test is dropped.
func Logger(t testing.TB) *slog.Logger {
	writer := &testWriter{test: t}
	t.Cleanup(writer.close)
	return slog.New(slog.NewTextHandler(writer, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct {
	mu   sync.Mutex
	test testing.TB // nil once the test has ended
}

func (w *testWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.test != nil {
		w.test.Log(strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}

func (w *testWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.test = nil
}

// Bounds for a server on a busy machine.
const (
	readyWithin = 90 * time.Second
	stopWithin  = 30 * time.Second
)

// server is one child of this test process.
type server struct {
	child   managed.Child
	process *managed.Process // nil while it does not run
}

// start returns when the server is ready.
func (s *server) start() error {
	if s.process != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	process, err := managed.StartReady(ctx, ems.SystemClock{}, s.child)
	if err == nil {
		s.process = process
	}
	return err
}

// stop ends the server in an orderly way, if it runs.
func (s *server) stop() error {
	if s.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	err := s.process.Stop(ctx)
	s.process = nil
	return err
}

// kill ends the server at once, as a crash does, if it runs.
func (s *server) kill() {
	if s.process != nil {
		s.process.Kill()
		s.process = nil
	}
}
