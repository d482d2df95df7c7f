package features

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// The site under a flood: each device has floodPoints registers that trip and
// one more, which stays at its limit and must never raise an alarm.
const (
	floodDevices  = 10
	floodPoints   = 1000
	floodAlarms   = floodDevices * floodPoints
	firstFlooded  = ems.ChannelID(1001)
	floodSteps    = 20
	floodPeriod   = 5 * time.Second / floodSteps
	tripsAtOnce   = floodPoints / floodSteps // registers of each device that one step trips
	calmRegister  = 10000
	registerScale = 10 // registers hold tenths
)

// hotRegister is what a point trips to, and no other point has.
func hotRegister(device, point int) uint16 { return uint16(20000 + floodPoints*device + point) }

// floodSite is ten devices in this process, the folder of their site, and the
// processes that serve it: Redis, one with comsrv and rulesrv, one with alarmsrv.
type floodSite struct {
	dir         string
	voltage     string // path of the program
	environment []string
	urls        map[ems.Target]string
	logger      *slog.Logger
	units       []*modbusserver.Unit
	expected    map[string]expectedAlarm  // by rule
	tripped     [floodSteps]atomic.Int64  // when, in Unix ms; 0 before
	poured      [floodSteps]chan struct{} // closed behind each step
	redis       *testkit.RedisServer
	raw         *redis.Client
	alarmsrv    *managed.Process
}

// expectedAlarm is what a point that trips must lead to.
type expectedAlarm struct {
	source string
	level  ems.AlarmLevel
	title  string
	value  float64
	step   int
}

// startFlood brings the site up and returns when every value is in Redis, every
// rule is stored and there is no alarm.
func startFlood(t *testing.T) *floodSite {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), floodWithin)
	defer cancel()
	f := &floodSite{
		dir: t.TempDir(), voltage: filepath.Join(built, "voltage"), logger: testkit.Logger(t),
		urls: map[ems.Target]string{}, expected: map[string]expectedAlarm{}, redis: testkit.Redis(t),
	}
	for step := range f.poured {
		f.poured[step] = make(chan struct{})
	}
	f.raw = redis.NewClient(&redis.Options{Addr: f.redis.Addr, Password: f.redis.Password, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = f.raw.Close() })
	f.environment = []string{"VOLTAGE_REDIS_URL=" + f.redis.URL}
	for _, target := range []ems.Target{ems.Comsrv, ems.Rulesrv, ems.Alarmsrv} {
		address := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		f.urls[target] = "http://" + address
		f.environment = append(f.environment, strings.ToUpper(string(target))+"_LISTEN="+address)
	}
	f.writeSite(t, f.startDevices(t))
	load := exec.CommandContext(ctx, f.voltage, "functions", "load")
	load.Env = f.environment
	if output, err := load.CombinedOutput(); err != nil {
		t.Fatalf("functions load: %v\n%s", err, output)
	}
	both, err := f.serve(ctx, ems.Comsrv, ems.Rulesrv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(both.Kill)
	if f.alarmsrv, err = f.serve(ctx, ems.Alarmsrv); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.alarmsrv.Kill() })
	await(ctx, t, "the site to be up", f.isCalm)
	return f
}

// startDevices serves the registers on sockets of their own and returns where.
func (f *floodSite) startDevices(t *testing.T) (addresses []string) {
	t.Helper()
	readOnly := func(modbusserver.Table, uint16, []uint16) mbserver.Exception { return mbserver.IllegalDataAddress }
	for device := range floodDevices {
		unit := modbusserver.NewUnit([]modbusserver.Range{{Table: modbusserver.HoldingRegisters, Count: floodPoints + 1}}, readOnly)
		unit.Update(func(image *modbusserver.Image) {
			for register := range floodPoints + 1 {
				image.Set(modbusserver.HoldingRegisters, uint16(register), calmRegister)
			}
		})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server, err := modbusserver.Serve(listener, map[byte]*modbusserver.Unit{1: unit}, modbusserver.Options{
			Name: fmt.Sprint(device), Clock: ems.SystemClock{}, Logger: f.logger, Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
		f.units, addresses = append(f.units, unit), append(addresses, listener.Addr().String())
	}
	return addresses
}

// writeSite writes the site folder: a channel for each device, and a rule and
// what is expected of it for each point.
func (f *floodSite) writeSite(t *testing.T, addresses []string) {
	t.Helper()
	var channels, rules strings.Builder
	channels.WriteString("channels:\n")
	rules.WriteString("rules:\n")
	files := map[string]string{"site.yaml": "site: {name: flood}\n"}
	for device, address := range addresses {
		channel := firstFlooded + ems.ChannelID(device)
		fmt.Fprintf(&channels, "  - {id: %d, name: device_%d, protocol: modbus_tcp, address: %q, poll_period: 500ms, timeout: 500ms}\n", channel, device, address)
		var points, places strings.Builder
		points.WriteString("point_id,signal_name,scale,offset,unit,reverse,data_type\n")
		places.WriteString("point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n")
		for point := 1; point <= floodPoints+1; point++ {
			fmt.Fprintf(&points, "%d,temperature_%d,0.1,0,°C,0,uint16\n", point, point)
			fmt.Fprintf(&places, "%d,1,3,%d,uint16,AB,\n", point, point-1)
			rule := fmt.Sprintf("hot_%d_%d", channel, point)
			expected := expectedAlarm{
				source: fmt.Sprintf("comsrv:%d:T:%d", channel, point), level: ems.AlarmLevels[(device+point)%len(ems.AlarmLevels)],
				title: fmt.Sprintf("Temperature %d of device %d above its limit", point, device),
				value: float64(hotRegister(device, point)) / registerScale, step: (point - 1) / tripsAtOnce,
			}
			fmt.Fprintf(&rules, "  - {id: %s, name: %s, conditions: [{source: %q, operator: %q, value: %d}], actions: [{type: create_alarm, params: {level: %s, title: %q}}]}\n",
				rule, rule, expected.source, ">", calmRegister/registerScale, expected.level, expected.title)
			if point <= floodPoints {
				f.expected[rule] = expected
			}
		}
		folder := fmt.Sprintf("points/%d/", channel)
		files[folder+"telemetry.csv"], files[folder+"telemetry_mapping.csv"] = points.String(), places.String()
	}
	files["channels.yaml"], files["rules.yaml"] = channels.String(), rules.String()
	for name, text := range files {
		path := filepath.Join(f.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// serve runs services in one process and returns when each answers over HTTP.
func (f *floodSite) serve(ctx context.Context, targets ...ems.Target) (*managed.Process, error) {
	var names []string
	for _, target := range targets {
		names = append(names, string(target))
	}
	name := strings.Join(names, ",")
	command := managed.Command{
		Name: name, Path: f.voltage, Args: []string{"serve", "--site", f.dir, "--target=" + name}, Env: f.environment,
		Line: managed.LogLines(f.logger.With("process", name), slog.LevelDebug),
	}
	return managed.StartReady(ctx, ems.SystemClock{}, managed.Child{
		Name:  name,
		Start: func(context.Context) (*managed.Process, error) { return managed.StartProcess(command) },
		Probe: func(ctx context.Context, _ int) error {
			for _, target := range targets {
				connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(f.urls[target], "http://"))
				if err != nil {
					return err
				}
				_ = connection.Close() // nothing was sent
			}
			return nil
		},
	})
}

// isCalm returns nil when all is up and nothing has tripped.
func (f *floodSite) isCalm(ctx context.Context) error {
	for target, url := range f.urls {
		if err := call(ctx, "GET", url+"/health/detailed", nil, nil); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	var keys ems.Namespace
	for device := range floodDevices {
		channel := firstFlooded + ems.ChannelID(device)
		known, err := f.raw.HLen(ctx, keys.Values(channel, ems.Telemetry)).Result()
		if err != nil {
			return err
		}
		if known != floodPoints+1 {
			return fmt.Errorf("channel %d has %d values", channel, known)
		}
	}
	return f.listIsWhole(ctx)
}

// pour trips all points in steps, at their pace.
func (f *floodSite) pour(ctx context.Context, behind func(ctx context.Context, step int) error) error {
	tick := time.NewTicker(floodPeriod)
	defer tick.Stop()
	for step := range floodSteps {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		f.tripped[step].Store(time.Now().UnixMilli())
		for device, unit := range f.units {
			unit.Update(func(image *modbusserver.Image) {
				for point := step*tripsAtOnce + 1; point <= (step+1)*tripsAtOnce; point++ {
					image.Set(modbusserver.HoldingRegisters, uint16(point-1), hotRegister(device, point))
				}
			})
		}
		if err := behind(ctx, step); err != nil {
			return err
		}
		close(f.poured[step])
	}
	return nil
}
