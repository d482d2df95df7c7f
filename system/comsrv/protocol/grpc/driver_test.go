package grpc_test

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	remote "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// fake is a driver process whose answers each test writes by hand.
type fake struct {
	driverpb.UnimplementedDriverServer
	configure error
	read      func(*driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error)
	write     func(*driverpb.WritePointRequest) (*driverpb.WritePointResponse, error)

	mu         sync.Mutex
	configured []*driverpb.ConfigureRequest
	calls      []string // with the session each names
	writes     int
}

func (f *fake) note(call, session string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call+" "+session)
}

func (f *fake) Configure(_ context.Context, request *driverpb.ConfigureRequest) (*driverpb.ConfigureResponse, error) {
	f.note("Configure", request.GetSession())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.configured = append(f.configured, request)
	return &driverpb.ConfigureResponse{}, f.configure
}

func (f *fake) Connect(_ context.Context, request *driverpb.ConnectRequest) (*driverpb.ConnectResponse, error) {
	f.note("Connect", request.GetSession())
	return &driverpb.ConnectResponse{}, nil
}

func (f *fake) ReadBatch(_ context.Context, request *driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error) {
	f.note("ReadBatch", request.GetSession())
	return f.read(request)
}

func (f *fake) WritePoint(ctx context.Context, request *driverpb.WritePointRequest) (*driverpb.WritePointResponse, error) {
	f.note("WritePoint", request.GetSession())
	f.mu.Lock()
	f.writes++
	f.mu.Unlock()
	if f.write == nil {
		return f.UnimplementedDriverServer.WritePoint(ctx, request)
	}
	return f.write(request)
}

func (f *fake) Close(_ context.Context, request *driverpb.CloseRequest) (*driverpb.CloseResponse, error) {
	f.note("Close", request.GetSession())
	return &driverpb.CloseResponse{}, nil
}

// written returns how many writes have come.
func (f *fake) written() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// serve answers at an address until the function that it returns is called.
func (f *fake) serve(t *testing.T, address string) (at string, stop func()) {
	t.Helper()
	var listener net.Listener
	testkit.Eventually(t, time.Minute, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}, "the port")
	server := remote.NewServer()
	driverpb.RegisterDriverServer(server, f)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	stop = sync.OnceFunc(func() {
		server.Stop()
		<-ended
	})
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

// points are two of the default group and one of another.
func points() []config.MappedPoint {
	list := []config.MappedPoint{
		{Point: ems.Point{ID: 5, Type: ems.Telemetry, Name: "supply", Unit: "°C", Scale: 0.001, Group: ems.DefaultGroup}, Mapping: config.Mapping{Text: "temp1"}},
		{Point: ems.Point{ID: 6, Type: ems.Signal, Name: "pump", Scale: 1, Group: "slow"}},
		{Point: ems.Point{ID: 1, Type: ems.Adjustment, Name: "setpoint", Scale: 1, Group: ems.DefaultGroup}, Mapping: config.Mapping{Text: "set"}},
	}
	return list
}

func open(t *testing.T, address string, timeout time.Duration) protocol.Driver {
	t.Helper()
	driver, err := grpc.New(protocol.Setting{
		Channel: config.Channel{
			ID: 3001, Name: "chiller", Protocol: grpc.Name, Address: address, PollPeriod: 2 * timeout, Timeout: timeout, Points: points(),
			GRPC: config.GRPC{Settings: map[string]string{"model": "X1"}},
		},
		Clock: ems.SystemClock{}, Logger: testkit.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

// connected returns a driver in a session with a fake.
func connected(t *testing.T, f *fake) protocol.Driver {
	t.Helper()
	address, _ := f.serve(t, "127.0.0.1:0")
	driver := open(t, address, time.Minute)
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return driver
}

func TestASessionIsBegunWithEverythingThatADriverNeeds(t *testing.T) {
	t.Parallel()
	f := &fake{read: func(request *driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error) {
		return &driverpb.ReadBatchResponse{}, nil
	}}
	driver := connected(t, f)
	if _, err := driver.ReadBatch(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := driver.Close(); err != nil {
		t.Fatal(err)
	}
	first, second := f.configured[0].GetSession(), f.configured[1].GetSession()
	if first == second || first == "" {
		t.Fatalf("sessions %q and %q", first, second)
	}
	want := &driverpb.ConfigureRequest{
		Session: first, Channel: 3001, Name: "chiller", Settings: map[string]string{"model": "X1"}, PollPeriodMs: 120_000, TimeoutMs: 60_000,
		Points: []*driverpb.Point{
			{Type: driverpb.PointType_POINT_TYPE_TELEMETRY, Id: 5, Name: "supply", Address: "temp1", Group: "default", Unit: "°C"},
			{Type: driverpb.PointType_POINT_TYPE_SIGNAL, Id: 6, Name: "pump", Group: "slow"},
			{Type: driverpb.PointType_POINT_TYPE_ADJUSTMENT, Id: 1, Name: "setpoint", Address: "set", Group: "default"},
		},
	}
	if difference := cmp.Diff(want, f.configured[0], protocmp.Transform()); difference != "" {
		t.Error(difference)
	}
	calls := []string{"Configure " + first, "Connect " + first, "ReadBatch " + first, "Configure " + second, "Connect " + second, "Close " + second}
	if difference := cmp.Diff(calls, f.calls); difference != "" {
		t.Error(difference)
	}
}

func TestWhatADriverRefusesOfItsConfigurationIsTold(t *testing.T) {
	t.Parallel()
	f := &fake{configure: status.Error(codes.InvalidArgument, "setting model: there is no X1")}
	address, _ := f.serve(t, "127.0.0.1:0")
	driver := open(t, address, time.Minute)
	if err := driver.Connect(t.Context()); err == nil || err.Error() != address+": the driver process answered InvalidArgument: setting model: there is no X1" {
		t.Error(err)
	}
	if _, err := driver.ReadBatch(t.Context(), ems.DefaultGroup); err == nil || err.Error() != "the driver process is not connected" {
		t.Error(err)
	}
}

func TestAnswersThatDoNotFollowTheContract(t *testing.T) {
	t.Parallel()
	reading := func(point uint32, raw float64) *driverpb.Reading { return &driverpb.Reading{Point: point, Raw: raw} }
	good := func(point int, raw float64) protocol.Reading { return protocol.Reading{Point: point, Raw: raw} }
	badly := func(point int, reason string) protocol.Reading {
		return protocol.Reading{Point: point, Quality: ems.Bad, Reason: reason}
	}
	many := make([]*driverpb.Reading, 50_000)
	for i := range many {
		many[i] = reading(uint32(i+1), 1)
	}
	for _, test := range []struct {
		name   string
		answer []*driverpb.Reading
		fails  error
		want   []protocol.Reading
		err    string // what the error ends with, without the address
	}{
		{"sound", []*driverpb.Reading{reading(2, -4), reading(0, 21500)}, nil, []protocol.Reading{good(0, 21500), good(2, -4)}, ""},
		{"none", nil, nil, []protocol.Reading{badly(0, "the driver process did not tell of it"), badly(2, "the driver process did not tell of it")}, ""},
		{"not numbers", []*driverpb.Reading{reading(0, math.NaN()), reading(2, math.Inf(1))}, nil, []protocol.Reading{
			badly(0, "the driver process told NaN, which is not a finite number"), badly(2, "the driver process told +Inf, which is not a finite number"),
		}, ""},
		{"a reason", []*driverpb.Reading{{Point: 0, Raw: 7, Reason: "sensor broken"}, reading(2, 1)}, nil, []protocol.Reading{badly(0, "sensor broken"), good(2, 1)}, ""},
		{"a long reason", []*driverpb.Reading{{Point: 0, Reason: strings.Repeat("é", 300)}, reading(2, 1)}, nil, []protocol.Reading{badly(0, strings.Repeat("é", 100)+"…"), good(2, 1)}, ""},
		{"a point of another group", []*driverpb.Reading{reading(0, 1), reading(1, 1)}, nil, nil, "the driver process answered for point 1, which is not in the group that it was asked for"},
		{"a point that is none", []*driverpb.Reading{reading(math.MaxUint32, 1)}, nil, nil, "the driver process answered for point 4294967295, which is not in the group that it was asked for"},
		{"twice", []*driverpb.Reading{reading(0, 1), reading(0, 2)}, nil, nil, "the driver process answered twice for point 0"},
		{"too many", many, nil, nil, "the answer is too large or the driver process has no room: grpc: received message larger than max (733490 vs. 67072)"},
		{"no device", nil, status.Error(codes.Unavailable, "no route to host"), nil, "the driver process or its device cannot be reached: no route to host"},
		{"an error", nil, errors.New("oops"), nil, "the driver process answered Unknown: oops"},
		{"a long error", nil, status.Error(codes.Internal, strings.Repeat("x", 1000)), nil, "the driver process answered Internal: " + strings.Repeat("x", 200) + "…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{read: func(*driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error) {
				return &driverpb.ReadBatchResponse{Readings: test.answer}, test.fails
			}}
			driver := connected(t, f)
			got, err := driver.ReadBatch(t.Context(), ems.DefaultGroup)
			if difference := cmp.Diff(test.want, got); difference != "" {
				t.Error(difference)
			}
			if (err != nil) != (test.err != "") || err != nil && !strings.HasSuffix(err.Error(), test.err) {
				t.Errorf("got %v\nwant %s", err, test.err)
			}
		})
	}
}

// What one answer told is forgotten with the next.
func TestAnAnswerTellsNothingOfTheNext(t *testing.T) {
	t.Parallel()
	told := []*driverpb.Reading{{Point: 0, Raw: 1}, {Point: 2, Raw: 2}}
	driver := connected(t, &fake{read: func(*driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error) {
		return &driverpb.ReadBatchResponse{Readings: told}, nil
	}})
	for _, test := range []struct {
		told []*driverpb.Reading
		bad  []int
	}{{told, nil}, {told[:1], []int{2}}, {told[1:], []int{0}}, {told, nil}} {
		told = test.told
		readings, err := driver.ReadBatch(t.Context(), ems.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		var bad []int
		for _, reading := range readings {
			if reading.Quality == ems.Bad {
				bad = append(bad, reading.Point)
			}
		}
		if difference := cmp.Diff(test.bad, bad); difference != "" {
			t.Error(difference)
		}
	}
}

func TestOutcomesOfAWrite(t *testing.T) {
	t.Parallel()
	number := func(value float64) *float64 { return proto.Float64(value) }
	const written = driverpb.WriteOutcome_WRITE_OUTCOME_WRITTEN
	for _, test := range []struct {
		name   string
		answer *driverpb.WritePointResponse
		fails  error
		want   protocol.Written
		fault  protocol.WriteFault
		err    string // what the error ends with; empty for a write that was confirmed
	}{
		{"written", &driverpb.WritePointResponse{Outcome: written, Sent: 12, ReadBack: number(12)}, nil, protocol.Written{Sent: 12, ReadBack: number(12)}, 0, ""},
		{"not read back", &driverpb.WritePointResponse{Outcome: written, Sent: 12, Reason: "write only"}, nil, protocol.Written{Sent: 12, Reason: "write only"}, 0, ""},
		{"not read back without a reason", &driverpb.WritePointResponse{Outcome: written, Sent: 12}, nil, protocol.Written{Sent: 12, Reason: "the driver process does not say why"}, 0, ""},
		{"read back as no number", &driverpb.WritePointResponse{Outcome: written, Sent: 12, ReadBack: number(math.NaN())}, nil, protocol.Written{Sent: 12, Reason: "it was read back as NaN"}, 0, ""},
		{"sent no number", &driverpb.WritePointResponse{Outcome: written, Sent: math.Inf(1)}, nil, protocol.Written{}, protocol.Unanswered, "not confirmed: the driver process says that it wrote +Inf"},
		{"not sent", &driverpb.WritePointResponse{Outcome: driverpb.WriteOutcome_WRITE_OUTCOME_NOT_SENT, Reason: "no such file"}, nil, protocol.Written{}, protocol.NotSent, "not sent: no such file"},
		{"refused", &driverpb.WritePointResponse{Outcome: driverpb.WriteOutcome_WRITE_OUTCOME_REFUSED, Reason: "locked"}, nil, protocol.Written{}, protocol.Refused, "refused by the device: locked"},
		{"unanswered", &driverpb.WritePointResponse{Outcome: driverpb.WriteOutcome_WRITE_OUTCOME_UNANSWERED}, nil, protocol.Written{}, protocol.Unanswered, "not confirmed: the driver process does not say why"},
		{"nothing said", &driverpb.WritePointResponse{}, nil, protocol.Written{}, protocol.Unanswered, "not confirmed: the driver process does not say why"},
		{"an outcome of a later version", &driverpb.WritePointResponse{Outcome: 77}, nil, protocol.Written{}, protocol.Unanswered, "not confirmed: the driver process does not say why"},
		{"not implemented", nil, status.Error(codes.Unimplemented, "read only"), protocol.Written{}, protocol.Refused, "the driver process answered Unimplemented: read only"},
		{"no such session", nil, status.Error(codes.FailedPrecondition, "configure it"), protocol.Written{}, protocol.Refused, "the driver process answered FailedPrecondition: configure it"},
		{"no such point", nil, status.Error(codes.InvalidArgument, "point 2"), protocol.Written{}, protocol.Refused, "the driver process answered InvalidArgument: point 2"},
		{"unavailable", nil, status.Error(codes.Unavailable, "lost it"), protocol.Written{}, protocol.Unanswered, "the driver process or its device cannot be reached: lost it"},
		{"internal", nil, status.Error(codes.Internal, "oops"), protocol.Written{}, protocol.Unanswered, "the driver process answered Internal: oops"},
		{"too late", nil, status.Error(codes.DeadlineExceeded, "too late"), protocol.Written{}, protocol.Unanswered, "the driver process did not answer within 1m0s"},
		{"aborted", nil, status.Error(codes.Aborted, "again"), protocol.Written{}, protocol.Unanswered, "the driver process answered Aborted: again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{write: func(request *driverpb.WritePointRequest) (*driverpb.WritePointResponse, error) {
				if request.GetPoint() != 2 || request.GetRaw() != 12.4 {
					t.Errorf("point %d, raw %v", request.GetPoint(), request.GetRaw())
				}
				return test.answer, test.fails
			}}
			driver := connected(t, f)
			got, err := driver.WritePoint(t.Context(), protocol.Write{Point: 2, Raw: 12.4})
			if difference := cmp.Diff(test.want, got); difference != "" {
				t.Error(difference)
			}
			var failed *protocol.WriteError
			switch {
			case test.err == "" && err != nil:
				t.Error(err)
			case test.err != "" && (!errors.As(err, &failed) || failed.Fault != test.fault || !strings.HasSuffix(err.Error(), test.err)):
				t.Errorf("got %v\nwant %s", err, test.err)
			}
			if f.written() != 1 {
				t.Errorf("%d writes have come", f.written())
			}
		})
	}
}

// A driver process that was restarted knows no session: what is asked of it fails
// until comsrv connects anew, and nothing is written meanwhile.
func TestARestartedDriverProcessIsConfiguredAnew(t *testing.T) {
	t.Parallel()
	answers := func() *fake {
		f := &fake{}
		known := func(session string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.configured) == 0 || f.configured[len(f.configured)-1].GetSession() != session {
				return status.Error(codes.FailedPrecondition, "this session is not known")
			}
			return nil
		}
		f.read = func(request *driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error) {
			return &driverpb.ReadBatchResponse{Readings: []*driverpb.Reading{{Point: 1, Raw: 1}}}, known(request.GetSession())
		}
		f.write = func(request *driverpb.WritePointRequest) (*driverpb.WritePointResponse, error) {
			return &driverpb.WritePointResponse{Outcome: driverpb.WriteOutcome_WRITE_OUTCOME_WRITTEN}, known(request.GetSession())
		}
		return f
	}
	address, stop := answers().serve(t, "127.0.0.1:0")
	driver := open(t, address, time.Minute)
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	answers().serve(t, address)
	testkit.Eventually(t, time.Minute, func() error { // until the end of the old connection has come through
		_, err := driver.WritePoint(t.Context(), protocol.Write{Point: 2, Raw: 1})
		var failed *protocol.WriteError
		if !errors.As(err, &failed) || failed.Fault != protocol.Refused {
			return err
		}
		return nil
	}, "a write that is refused")
	if _, err := driver.ReadBatch(t.Context(), "slow"); err == nil || !strings.HasSuffix(err.Error(), "answered FailedPrecondition: this session is not known") {
		t.Error(err)
	}
	if err := driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if readings, err := driver.ReadBatch(t.Context(), "slow"); err != nil || readings[0] != (protocol.Reading{Point: 1, Raw: 1}) {
		t.Error(readings, err)
	}
}
