package bench

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/ems"
)

// The cases of serving: how many registers a simulated device serves, and how many a
// bare server of mbserver does to the same clients. It is those that count, as a bare
// server counts nothing.
const (
	bare16Case  = "serve_bare_16"
	serve16Case = "serve_16"
	bare64Case  = "serve_bare_64"
	serve64Case = "serve_64"
)

func servingCases() []string { return []string{bare16Case, serve16Case, bare64Case, serve64Case} }

// Each of the two serves so many rounds, in turn: many short ones, as others on the
// machine are to disturb both alike.
const (
	servingRounds = 10
	servingSlices = 6 // of those that the span of a round makes
)

// servedRead is how many registers each request asks for: as many as one may.
const servedRead = 125

// measureServing lets clients ask both servers in turn.
func (s *server) measureServing(ctx context.Context, bare, served *recording) ([]Result, error) {
	bareAddress, closeBare, err := openBare()
	if err != nil {
		return nil, err
	}
	defer closeBare()
	ours, err := s.openServed()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	for round := range 2 * servingRounds {
		address, of := bareAddress, bare
		if round%4 == 1 || round%4 == 2 { // neither is always the first
			address, of = ours.Addr().String(), served
		}
		if err := s.ask(ctx, address, of); err != nil {
			return nil, err
		}
	}
	return []Result{bare.result(), served.result()}, nil
}

// openBare starts a server of mbserver. It leaves one goroutine behind, which it has
// no way to end.
func openBare() (address string, end func(), err error) {
	for range startAttempts {
		port, failed := freePort()
		if failed != nil {
			return "", nil, failed
		}
		address = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
		bare := mbserver.NewServer()
		if err = bare.ListenTCP(address); err == nil {
			return address, bare.Close, nil
		}
		bare.Close()
	}
	return "", nil, ems.Errorf(ems.CodeUnavailable, "a bare server: %w", err)
}

// openServed starts a simulated device with as many registers as are asked for. It
// serves the clients of one round while it sees those of the last one go.
func (s *server) openServed() (*modbusserver.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "no free port for a simulated device: %w", err)
	}
	unit := modbusserver.NewUnit([]modbusserver.Range{{Table: modbusserver.HoldingRegisters, Count: servedRead}}, nil)
	ours, err := modbusserver.Serve(listener, map[byte]*modbusserver.Unit{1: unit}, modbusserver.Options{
		Name: "served", Connections: 2 * 64, Clock: s.clock, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		_ = listener.Close() // what failed is told
	}
	return ours, err
}

// ask lets as many clients as a case has ask a server for a round, each for all
// registers as soon as it has the answer before.
func (s *server) ask(ctx context.Context, address string, of *recording) error {
	group, ctx := errgroup.WithContext(ctx)
	asked := make([]*samples, of.Connections)
	began := s.clock.Now()
	for i := range asked {
		asked[i] = newSamples(gapSamples)
		group.Go(func() error { return s.askUntil(ctx, address, began.Add(s.sizes.span/servingSlices), asked[i]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	elapsed, all, durations := s.clock.Now().Sub(began), count{}, []time.Duration(nil)
	for _, one := range asked {
		all.requests += one.count
		durations = append(durations, one.kept...)
	}
	all.registers = servedRead * all.requests
	return of.add(all, all.requests, elapsed, durations)
}

// askUntil asks on one connection, once at least, and holds each answer to what it is
// to be.
func (s *server) askUntil(ctx context.Context, address string, end time.Time, durations *samples) error {
	connection, err := (&net.Dialer{Timeout: askWithin}).DialContext(ctx, "tcp", address)
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "a simulated device: %w", err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(askWithin + s.sizes.span)); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "a simulated device: %w", err)
	}
	request := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, servedRead}
	want := append([]byte{0, 1, 0, 0, 0, 3 + 2*servedRead, 1, 3, 2 * servedRead}, make([]byte, 2*servedRead)...)
	got := make([]byte, len(want))
	for before := s.clock.Now(); ctx.Err() == nil && (durations.count == 0 || before.Before(end)); {
		if _, err := connection.Write(request); err != nil {
			return ems.Errorf(ems.CodeUnavailable, "a simulated device: %w", err)
		}
		if _, err := io.ReadFull(connection, got); err != nil {
			return ems.Errorf(ems.CodeUnavailable, "a simulated device: %w", err)
		}
		if !bytes.Equal(got, want) {
			return ems.Errorf(ems.CodeInternal, "a simulated device answered % X", got)
		}
		now := s.clock.Now()
		durations.add(now.Sub(before))
		before = now
	}
	return ctx.Err()
}
