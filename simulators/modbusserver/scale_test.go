package modbusserver

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

//nolint:gochecknoglobals // flags of these tests
var (
	scaleServers = flag.Int("servers", 50, "how many servers with a unit each are opened")
	scalePorts   = flag.Int("ports", 5, "behind how many ports many units lie")
	scaleIdle    = flag.Duration("idle", 100*time.Millisecond, "how long they are left alone")
)

// What the units of this test have, and what they may cost.
const (
	unitsOfPort     = 100
	scaleRegisters  = 500
	mostBytes       = 40 << 10 // of a device, beside its registers
	mostIdleCores   = 0.5
	registersOfUnit = 2 * scaleRegisters
)

// TestManyServers opens a server for each device, and then many devices behind a few
// servers, with a client at each server: what a device costs in memory, and what
// doing nothing costs in time. `make soak` opens 1,000 servers and 100 ports.
func TestManyServers(t *testing.T) { //nolint:paralleltest // it counts the memory of the whole process
	t.Run("a port each", func(t *testing.T) { openMany(t, *scaleServers, 1) })
	t.Run("a hundred behind each port", func(t *testing.T) { openMany(t, *scalePorts, unitsOfPort) })
}

func openMany(t *testing.T, servers, units int) {
	t.Helper()
	registry := prometheus.NewRegistry()
	opened := make([]*Server, 0, servers)
	clients := make([]net.Conn, 0, servers)
	defer func() {
		for i, s := range opened {
			_ = clients[i].Close()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	before := memory()
	for n := range servers {
		all := map[byte]*Unit{}
		for id := range units {
			all[byte(id+1)] = NewUnit([]Range{{HoldingRegisters, 40000, scaleRegisters}}, nil)
		}
		s, err := Serve(listen(t), all, Options{
			Name: fmt.Sprintf("device_%d", n), Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Metrics: registry,
		})
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		opened, clients = append(opened, s), append(clients, client)
	}
	for i := range clients {
		for id := range units {
			expectScaled(t, clients[i], byte(id+1))
		}
	}
	devices := int64(servers * units)
	cost := (memory()-before)/devices - registersOfUnit
	cores := idleCores(t, *scaleIdle)
	t.Logf("%d devices at %d ports: %d bytes each beside its registers, %.3f cores idle", devices, servers, cost, cores)
	if cost > mostBytes {
		t.Errorf("a device costs %d bytes beside its registers, and is to cost %d", cost, mostBytes)
	}
	if *scaleIdle >= time.Second && cores > mostIdleCores { // less is no measure of anything
		t.Errorf("idle devices keep %.2f cores busy", cores)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 6 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

func expectScaled(t *testing.T, client net.Conn, unit byte) {
	t.Helper()
	if err := client.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(frameOf(1, unit, []byte{3, 0x9C, 0x40, 0, 2})); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 13)); err != nil {
		t.Fatal(err)
	}
}

// memory returns how many bytes are in use, those of stacks too.
func memory() int64 {
	runtime.GC()
	runtime.GC() // what the first one freed of pools
	var found runtime.MemStats
	runtime.ReadMemStats(&found)
	return int64(found.HeapAlloc + found.StackInuse)
}

// idleCores returns how many processors the process keeps busy while nobody asks
// anything.
func idleCores(t *testing.T, span time.Duration) float64 {
	t.Helper()
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	began, before := time.Now(), used()
	<-time.After(span)
	return float64(used()-before) / float64(time.Since(began))
}
