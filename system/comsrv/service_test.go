package comsrv

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) {
	// A life of commands takes seconds of real time; a flag asks for more of them.
	if err := flag.Set("rapid.checks", "5"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, servicetest.DriverDials())
}

// plant is a running comsrv with a Redis of its own, which the test looks at as
// other services do.
type plant struct {
	*servicetest.Fixture
	t        *testing.T
	site     *config.Site
	service  *Service
	clock    ems.Clock // of the service
	registry *prometheus.Registry
	readSite func() (*config.Site, error) // at a reload
	grace    time.Duration                // of the service, unless zero
	cancel   func()                       // tells the service to end
	stop     func()                       // tells it and waits for its end
}

// newPlant prepares everything and starts nothing but Redis.
func newPlant(t *testing.T, channels ...config.Channel) *plant {
	t.Helper()
	return &plant{Fixture: servicetest.New(t, ems.SystemClock{}), t: t, clock: ems.SystemClock{}, site: &config.Site{Name: "test", Channels: channels}}
}

// start runs the service, with a client of Redis that is not the test's, until
// the test ends or stop is called.
func (p *plant) start() {
	p.t.Helper()
	p.registry = prometheus.NewRegistry()
	service, err := New(Options{
		Service: config.Service{Target: ems.Comsrv, Listen: servicetest.AnyPort}, Site: p.site, ReadSite: p.readSite, DB: p.Open(p.clock),
		Clock: p.clock, Logger: testkit.Logger(p.t), Registry: p.registry,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if p.grace > 0 {
		service.grace = p.grace
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.t.Cleanup(cancel)
	p.service, p.cancel, p.stop = service, cancel, p.Run(cancellable{service, ctx})
}

// cancellable is a service that also ends when the test cancels it.
type cancellable struct {
	*Service
	cancelled context.Context
}

func (c cancellable) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.cancelled, cancel)()
	return c.Service.Run(ctx)
}

func (p *plant) eventually(condition func() error, what string) {
	p.t.Helper()
	testkit.Eventually(p.t, servicetest.Soon, condition, what)
}

// hash returns a hash of Redis.
func (p *plant) hash(key string) map[string]string {
	p.t.Helper()
	fields, err := p.Raw.HGetAll(context.Background(), key).Result()
	if err != nil {
		p.t.Fatal(err)
	}
	return fields
}

// awaitHash waits until a hash of Redis holds exactly that.
func (p *plant) awaitHash(key string, want map[string]string) {
	p.t.Helper()
	p.eventually(func() error {
		fields, err := p.Raw.HGetAll(context.Background(), key).Result()
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, fields); diff != "" {
			return fmt.Errorf("%s (-want +got):\n%s", key, diff)
		}
		return nil
	}, key)
}

// awaitStatus waits until a channel is told to be online, or not, for a reason.
func (p *plant) awaitStatus(channel ems.ChannelID, online bool, reason string) {
	p.t.Helper()
	p.eventually(func() error {
		status, err := p.DB.Status(context.Background(), channel)
		if err == nil && (status.Online != online || status.Reason != reason) {
			err = fmt.Errorf("online %v, %q", status.Online, status.Reason)
		}
		return err
	}, fmt.Sprintf("channel %d online %v, %q", channel, online, reason))
}

// values returns numbers and qualities of all points of a type as other services
// read them.
func (p *plant) values(channel ems.ChannelID, kind ems.PointType, ids ...ems.PointID) ([]ems.Value, error) {
	return p.DB.ReadPoints(context.Background(), channel, kind, ids)
}

// awaitQuality waits until every point of a type has a quality.
func (p *plant) awaitQuality(channel ems.ChannelID, kind ems.PointType, want ems.Quality, ids ...ems.PointID) {
	p.t.Helper()
	p.eventually(func() error {
		values, err := p.values(channel, kind, ids...)
		if err != nil {
			return err
		}
		for i, value := range values {
			if value.Quality != want {
				return fmt.Errorf("%s:%d is %s", kind, ids[i], value.Quality)
			}
		}
		return nil
	}, fmt.Sprintf("channel %d %s: all %s", channel, kind, want))
}

// envelope is a reply of the API.
type envelope struct {
	Success bool            `json:"success"`
	Data    json.RawMessage `json:"data"`
	Next    string          `json:"next"`
	Error   struct {
		Code    ems.Code `json:"code"`
		Message string   `json:"message"`
		Details []string `json:"details"`
	} `json:"error"`
}

func (p *plant) call(method, path, body string) (int, envelope) {
	p.t.Helper()
	status, reply, err := p.request(method, path, body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, reply
}

// request is call for goroutines that may not end the test.
func (p *plant) request(method, path, body string) (status int, reply envelope, err error) {
	status, text, err := p.Request(method, path, body)
	if err == nil {
		err = json.Unmarshal([]byte(text), &reply)
	}
	return status, reply, err
}

// field is a channel of the test: polled often, with a time-out that only a
// silent device reaches.
func field(id ems.ChannelID, address string, points ...config.MappedPoint) config.Channel {
	return config.Channel{
		ID: id, Name: fmt.Sprintf("channel %d", id), Protocol: "modbus_tcp", Address: address,
		PollPeriod: 50 * time.Millisecond, Timeout: 10 * time.Second, Enabled: true, Points: points,
	}
}

func TestValuesAreExactInRedis(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.float(0, 23.456789)
	d.float(12, 12.5)
	d.set(func() {
		d.inputs[0] = 0xff85 // -123
		d.discrete[0] = true
		d.coils[0] = true
		d.holding[10], d.holding[20] = 7, 0x0008
	})
	p := newPlant(t, field(1001, d.address, allKinds()...))
	p.start()
	p.awaitHash("comsrv:1001:T", map[string]string{"1": "23.456789", "2": "-52.300000"})
	p.awaitHash("comsrv:1001:S", map[string]string{"1": "0.000000"})
	p.awaitHash("comsrv:1001:C", map[string]string{"1": "1.000000", "2": "1.000000"})
	p.awaitHash("comsrv:1001:A", map[string]string{"1": "3.500000", "2": "12.500000"})
	p.awaitHash("comsrv:1001:T:q", map[string]string{})
	p.awaitStatus(1001, true, "")
	status, err := p.DB.Status(t.Context(), 1001)
	if err != nil || status.StaleAfter != 10100*time.Millisecond || status.Errors != 0 {
		t.Errorf("%+v, %v", status, err)
	}
	values, err := p.values(1001, ems.Telemetry, 1, 2)
	if err != nil || time.Since(values[0].Time) > servicetest.Soon || values[0].Time.After(time.Now()) || values[0].Quality != ems.Good {
		t.Errorf("%+v, %v", values, err)
	}
}

// TestOnlyWhatChangedIsSent: the time of a value that stays is the time when it
// was sent last.
func TestOnlyWhatChangedIsSent(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitHash("comsrv:1:T", map[string]string{"1": "0.000000", "2": "-40.000000"})
	raw := uint16(400)
	p.eventually(func() error { // more than once only if the refresh after the start falls into it
		before, err := p.values(1, ems.Telemetry, 1, 2)
		if err != nil {
			return err
		}
		raw++
		d.set(func() { d.inputs[0] = raw })
		p.awaitHash("comsrv:1:T", map[string]string{"1": "0.000000", "2": fmt.Sprintf("0.%d00000", raw-400)})
		after, err := p.values(1, ems.Telemetry, 1, 2)
		if err == nil && (!after[1].Time.After(before[1].Time) || !after[0].Time.Equal(before[0].Time)) {
			err = fmt.Errorf("%+v, then %+v", before, after)
		}
		return err
	}, "a change of one value")
}

// TestUnchangedValuesStayFresh: nothing is sent for long enough to be stale, and
// the success of the poll group keeps the values good.
func TestUnchangedValuesStayFresh(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Timeout = 50 * time.Millisecond // stale after 150 ms
	p := newPlant(t, entry)
	p.start()
	p.awaitHash("comsrv:1:T", map[string]string{"1": "0.000000", "2": "-40.000000"})
	p.eventually(func() error {
		values, err := p.values(1, ems.Telemetry, 1)
		if err == nil && time.Since(values[0].Time) < time.Second {
			err = fmt.Errorf("the value is %v old", time.Since(values[0].Time))
		}
		return err
	}, "a value much older than the limit")
	p.awaitQuality(1, ems.Telemetry, ems.Good, 1, 2)
	p.stop()
	p.awaitQuality(1, ems.Telemetry, ems.Stale, 1, 2)
	p.awaitStatus(1, false, "comsrv was stopped")
}

// TestChannelsOfOneAddressShareAConnection: many gateways take one and no more.
func TestChannelsOfOneAddressShareAConnection(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.float(0, 1)
	entries := []config.Channel{field(1, d.address, allKinds()...), field(2, d.address, allKinds()...), field(3, d.address, allKinds()...)}
	entries[2].Modbus.OwnConnection = true
	p := newPlant(t, entries...)
	p.start()
	for id := range ems.ChannelID(3) {
		p.awaitHash(fmt.Sprintf("comsrv:%d:T", id+1), map[string]string{"1": "1.000000", "2": "-40.000000"})
	}
	connections := 0
	d.set(func() { connections = len(d.open) })
	if connections != 2 {
		t.Errorf("%d connections", connections)
	}
	d.off()
	for id := range ems.ChannelID(3) {
		p.awaitQuality(id+1, ems.Telemetry, ems.Bad, 1, 2)
	}
	d.on()
	for id := range ems.ChannelID(3) {
		p.awaitQuality(id+1, ems.Telemetry, ems.Good, 1, 2)
	}
}

func TestUnreachableDeviceLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	silent, gone, good := newDevice(t), newDevice(t), newDevice(t)
	silent.hold(1, 2, 3, 4)
	gone.off()
	good.float(0, 1)
	slow := field(1, silent.address, allKinds()...)
	slow.Timeout = 300 * time.Millisecond
	p := newPlant(t, slow, field(2, gone.address, allKinds()...), field(3, good.address, allKinds()...))
	p.start()
	p.awaitStatus(1, false, silent.address+" did not answer in whole within 300ms")
	p.awaitStatus(2, false, gone.address+" cannot be reached: connect: connection refused")
	p.awaitStatus(3, true, "")
	before := good.polled()
	p.eventually(func() error {
		if polls := good.polled() - before; polls < 40 {
			return fmt.Errorf("%d requests", polls)
		}
		return nil
	}, "the good device goes on being polled")
	p.awaitQuality(3, ems.Telemetry, ems.Good, 1, 2)
	p.awaitQuality(1, ems.Telemetry, ems.Bad, 1, 2)

	status, reply := p.call(http.MethodGet, "/health/detailed", "")
	var health struct {
		Checks map[string]struct{ Status, Detail string }
	}
	if err := json.Unmarshal(reply.Data, &health); err != nil {
		t.Fatal(err)
	}
	if channels := health.Checks["channels"]; status != http.StatusOK || channels.Detail != "1 of 3 enabled channels online" {
		t.Errorf("%d %+v", status, health)
	}
	if found := health.Checks["configuration"].Detail; found != "3 channels, 21 points" {
		t.Errorf("configuration: %q", found)
	}
}

func TestDeviceThatComesBackIsGoodAgain(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.float(0, 1)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitHash("comsrv:1:T", map[string]string{"1": "1.000000", "2": "-40.000000"})
	for round := range 3 {
		d.off()
		p.awaitStatus(1, false, d.address+" cannot be reached: connect: connection refused")
		for _, kind := range []string{"T", "S", "C", "A"} {
			values, marks := p.hash("comsrv:1:"+kind), p.hash("comsrv:1:"+kind+":q")
			for id := range values {
				if marks[id] != "bad" {
					t.Errorf("%s:%s is %q while the device is off", kind, id, marks[id])
				}
			}
		}
		d.float(0, float32(10+round))
		d.on()
		p.awaitStatus(1, true, "")
		p.awaitHash("comsrv:1:T", map[string]string{"1": fmt.Sprintf("%d.000000", 10+round), "2": "-40.000000"})
		for _, kind := range []string{"T", "S", "C", "A"} {
			p.awaitHash("comsrv:1:"+kind+":q", map[string]string{})
		}
	}
}

// TestRedisThatComesBackKnowsEverything: polling goes on meanwhile, and also a
// Redis that lost everything is filled again.
func TestRedisThatComesBackKnowsEverything(t *testing.T) {
	t.Parallel()
	d, gone := newDevice(t), newDevice(t)
	gone.off()
	d.float(0, 1)
	long := field(2, d.address, allKinds()...)
	long.PollPeriod = time.Hour
	p := newPlant(t, field(1, d.address, allKinds()...), long, field(3, gone.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitStatus(2, true, "")
	offline := gone.address + " cannot be reached: connect: connection refused"
	p.awaitStatus(3, false, offline)

	p.Redis.Stop()
	before := d.polled()
	d.float(0, 2)
	p.eventually(func() error {
		if polls := d.polled() - before; polls < 40 {
			return fmt.Errorf("%d requests", polls)
		}
		return nil
	}, "polling goes on without Redis")
	p.Redis.Start()
	p.awaitHash("comsrv:1:T", map[string]string{"1": "2.000000", "2": "-40.000000"})

	if err := p.Raw.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.Redis.Restart()
	p.awaitHash("comsrv:1:T", map[string]string{"1": "2.000000", "2": "-40.000000"})
	p.awaitHash("comsrv:1:A", map[string]string{"1": "0.000000", "2": "0.000000"})
	p.awaitStatus(1, true, "")
	// What is polled once an hour and what is away are told again, too.
	p.awaitHash("comsrv:2:T", map[string]string{"1": "1.000000", "2": "-40.000000"})
	p.awaitStatus(2, true, "")
	p.awaitStatus(3, false, offline)
}

func TestPartOfTheDeviceRefuses(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.float(0, 5)
	d.set(func() { d.refuse[4] = 4 })
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitHash("comsrv:1:T", map[string]string{"1": "5.000000"})
	p.awaitHash("comsrv:1:T:q", map[string]string{"2": "bad"})
	p.awaitStatus(1, true, "")
	var points []map[string]any
	status, reply := p.call(http.MethodGet, "/api/channels/1/points?type=T", "")
	if err := json.Unmarshal(reply.Data, &points); err != nil || status != http.StatusOK || len(points) != 2 {
		t.Fatal(status, string(reply.Data), err)
	}
	delete(points[1], "mapping")
	want := map[string]any{
		"id": 2.0, "type": "T", "name": "temperature", "unit": "", "value": nil, "time": nil, "quality": "bad",
		"reason": "the device answered exception 4 (device failure) to function 4",
	}
	if diff := cmp.Diff(want, points[1]); diff != "" {
		t.Error(diff)
	}
	d.set(func() { delete(d.refuse, 4) })
	p.awaitHash("comsrv:1:T", map[string]string{"1": "5.000000", "2": "-40.000000"})
	p.awaitHash("comsrv:1:T:q", map[string]string{})
}

func TestNewRefusesWhatCannotRun(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	for name, check := range map[string]struct {
		change func(options *Options)
		code   ems.Code
	}{
		"unknown protocol": {func(options *Options) {
			entry := field(1, "127.0.0.1:1")
			entry.Protocol = "telepathy"
			options.Site = &config.Site{Channels: []config.Channel{entry}}
		}, ems.CodeInvalid},
		"point that no driver can serve": {func(options *Options) {
			options.Site = &config.Site{Channels: []config.Channel{
				field(1, "127.0.0.1:1", mapped(ems.Telemetry, 1, "power", config.Mapping{Function: 9, DataType: config.Int16})),
			}}
		}, ems.CodeInvalid},
		"port in use": {func(options *Options) { options.Service.Listen = p.Redis.Addr }, ems.CodeUnavailable},
	} {
		options := Options{
			Service: config.Service{Target: ems.Comsrv, Listen: servicetest.AnyPort}, Site: p.site, DB: p.DB,
			Clock: ems.SystemClock{}, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
		}
		check.change(&options)
		if _, err := New(options); ems.CodeOf(err) != check.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff([]string{"grpc", "modbus_rtu", "modbus_rtu_over_tcp", "modbus_tcp", "modbus_tls", "virtual"}, Protocols()); diff != "" {
		t.Error(diff)
	}
}
