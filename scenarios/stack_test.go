package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
	"github.com/voltageems/voltageems-go/system/testkit"
)

const plantYAML = `name: test
control: 127.0.0.1:5020
devices:
  - {id: pv, type: pv, listen: "127.0.0.1:5021"}
  - {id: battery, type: battery, listen: "127.0.0.1:5022", unit: 1}
  - {id: pcs, type: battery, listen: "127.0.0.1:5022", unit: 2}
`

const channelsYAML = `channels:
  - {id: 1001, name: pv, protocol: modbus_tcp, address: "127.0.0.1:5021"}
  - {id: 1002, name: battery, protocol: modbus_tcp, address: "127.0.0.1:5022"}
  - {id: 1003, name: elsewhere, protocol: modbus_tcp, address: "192.0.2.1:502"}
`

func writePlant(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Plant: writePlant(t, map[string]string{"plant.yaml": plantYAML, "channels.yaml": channelsYAML}),
		Data:  t.TempDir(), Voltage: os.Args[0], Voltlab: os.Args[0],
		Clock: ems.SystemClock{}, Logger: testkit.Logger(t),
	}
}

// withServers adds the real servers and free ports.
func (o Options) withServers(t *testing.T) Options {
	t.Helper()
	ctx := context.Background()
	var err error
	if o.Redis, err = managed.FindRedis(ctx); err != nil {
		t.Fatal(err)
	}
	checkout, err := managed.FindCheckout(".")
	if err != nil {
		t.Fatal(err)
	}
	if o.Influx, err = managed.FindInflux(ctx, managed.BinaryFolder(checkout)); err != nil {
		t.Fatal(err)
	}
	o.FreePort = func() (int, error) { return testkit.FreePort(t), nil }
	return o
}

func newStack(t *testing.T, options Options) *Stack {
	t.Helper()
	stack, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return stack
}

func TestUsualPorts(t *testing.T) {
	t.Parallel()
	options := newOptions(t)
	options.RedisPort = 6400
	stack := newStack(t, options)
	want := []managed.Endpoint{
		{Name: "Redis", Address: "127.0.0.1:6400"},
		{Name: "InfluxDB", Address: "127.0.0.1:8086"},
		{Name: "InfluxDB backup", Address: "127.0.0.1:8088"},
		{Name: "device pv", Address: "127.0.0.1:5021"},
		{Name: "device battery", Address: "127.0.0.1:5022"},
		{Name: "control API of the plant", Address: "127.0.0.1:5020"},
		{Name: "comsrv", Address: "127.0.0.1:6000"},
		{Name: "modsrv", Address: "127.0.0.1:6001"},
		{Name: "alarmsrv", Address: "127.0.0.1:6002"},
		{Name: "rulesrv", Address: "127.0.0.1:6003"},
		{Name: "hissrv", Address: "127.0.0.1:6004"},
		{Name: "netsrv", Address: "127.0.0.1:6006"},
		{Name: "apigateway", Address: "127.0.0.1:6005"},
	}
	if difference := cmp.Diff(want, stack.Endpoints()); difference != "" {
		t.Error(difference)
	}
	if got, want := stack.plantArguments(), []string{"serve", options.Plant}; !slices.Equal(got, want) {
		t.Errorf("plant arguments %q, want %q", got, want)
	}
	environment := strings.Join(stack.environment(), "\n")
	if strings.Contains(environment, "COMSRV_CHANNEL_") {
		t.Error("a channel is redirected although nothing moved")
	}
}

func TestFreePortsAreTheSameOnBothSides(t *testing.T) {
	t.Setenv("COMSRV_REDIS_URL", "redis://elsewhere:1")
	t.Setenv("HISSRV_INFLUX_URL", "http://elsewhere:2")
	t.Setenv("COMSRV_LOG_LEVEL", "debug")
	options := newOptions(t)
	port := 20000
	options.FreePort = func() (int, error) { port++; return port, nil }
	stack := newStack(t, options)
	if got, want := stack.plantArguments(), []string{
		"serve", options.Plant, "--listen", "pv=127.0.0.1:20011", "--listen", "battery=127.0.0.1:20012", "--listen", "pcs=127.0.0.1:20012", "--control", "127.0.0.1:20013",
	}; !slices.Equal(got, want) {
		t.Errorf("plant arguments %q\nwant %q", got, want)
	}
	environment := stack.environment()
	for _, want := range []string{
		"VOLTAGE_REDIS_URL=redis://127.0.0.1:20001", "VOLTAGE_INFLUX_URL=http://127.0.0.1:20002",
		"VOLTAGE_INFLUX_TOKEN=voltage:voltage", "VOLTAGE_INFLUX_ORG=voltage", "VOLTAGE_INFLUX_BUCKET=ems_data/autogen",
		"COMSRV_LISTEN=127.0.0.1:20004", "COMSRV_URL=http://127.0.0.1:20004", "APIGATEWAY_LISTEN=127.0.0.1:20010",
		"COMSRV_CHANNEL_1001_ADDRESS=127.0.0.1:20011", "COMSRV_CHANNEL_1002_ADDRESS=127.0.0.1:20012",
		"COMSRV_CHANNEL_1003_ADDRESS=192.0.2.1:502", "COMSRV_LOG_LEVEL=debug",
	} {
		if !slices.Contains(environment, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	if text := strings.Join(environment, "\n"); strings.Contains(text, "elsewhere") {
		t.Error("a service is led out of the stack")
	}
	if stack.GatewayURL() != "http://127.0.0.1:20010" || stack.ControlURL() != "http://127.0.0.1:20013" || stack.DeviceAddress("pcs") != "127.0.0.1:20012" || stack.DeviceAddress("none") != "" {
		t.Errorf("gateway %s, control %s, pcs %s", stack.GatewayURL(), stack.ControlURL(), stack.DeviceAddress("pcs"))
	}
	if got := stack.Channels(); !slices.Equal(got, []ems.ChannelID{1001, 1002, 1003}) {
		t.Errorf("channels %v", got)
	}
}

func TestPlantFolderAtFault(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no plant":     {nil, "plant.yaml is missing: a plant folder holds plant.yaml and the files of a site"},
		"no channels":  {map[string]string{"plant.yaml": plantYAML}, "channels.yaml is missing"},
		"no YAML":      {map[string]string{"plant.yaml": "control: x\ndevices: {\n"}, "plant.yaml: yaml: line 2"},
		"wrong type":   {map[string]string{"plant.yaml": plantYAML, "channels.yaml": "channels:\n  - id: many\n"}, "line 2: cannot unmarshal"},
		"no interface": {map[string]string{"plant.yaml": "name: x\n", "channels.yaml": channelsYAML}, "plant.yaml names no control address: add a line like control: 127.0.0.1:5020"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := newOptions(t)
			options.Plant = writePlant(t, test.files)
			_, err := New(options)
			if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestFindPlant(t *testing.T) {
	t.Parallel()
	checkout := t.TempDir()
	for _, name := range []string{"island", "microgrid"} {
		dir := filepath.Join(checkout, "scenarios", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "plant.yaml"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(checkout, "scenarios", "island")
	for _, name := range []string{"island", want} {
		if got, err := FindPlant(name, checkout); got != want || err != nil {
			t.Errorf("%s: %q (%v)", name, got, err)
		}
	}
	_, err := FindPlant("desert", checkout)
	if want := `no plant "desert": name a folder that holds plant.yaml, or one of: island, microgrid`; ems.CodeOf(err) != ems.CodeNotFound || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestSiteAtFaultStartsNothing(t *testing.T) {
	t.Parallel()
	options := newOptions(t).withServers(t)
	if err := os.WriteFile(filepath.Join(options.Plant, "faults"), []byte("rules.yaml:3: bad\nchannels.yaml:9: worse"), 0o600); err != nil {
		t.Fatal(err)
	}
	stack := newStack(t, options)
	err := stack.Start(context.Background())
	if want := "rules.yaml:3: bad\nchannels.yaml:9: worse"; ems.CodeOf(err) != ems.CodeInvalid || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if entries, err := os.ReadDir(options.Data); err != nil || len(entries) != 0 {
		t.Errorf("left in the data folder: %v (%v)", entries, err)
	}
	if err := stack.Stop(context.Background()); err != nil || stack.Status() != nil {
		t.Errorf("stop of what did not start: %v, %v", err, stack.Status())
	}
}

func TestTakenPortStartsNothing(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	options := newOptions(t)
	options.RedisPort = 0
	stack := newStack(t, options)
	stack.redis.Port = portOf(t, server.Addr)
	err := stack.Start(context.Background())
	if ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), server.Addr+" (Redis)") {
		t.Errorf("error %v", err)
	}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	var port int
	if _, err := fmt.Sscanf(address, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}

func start(t *testing.T, stack *Stack) {
	t.Helper()
	if err := stack.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stack.Kill()
		_ = stack.Stop(context.Background())
	})
	awaitHealthy(t, stack)
}

func awaitHealthy(t *testing.T, stack *Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := stack.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, stack *Stack) {
	t.Helper()
	if err := stack.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func events(t *testing.T, stack *Stack) map[string]string {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: stack.RedisAddr()})
	defer client.Close()
	got, err := client.HGetAll(context.Background(), "events").Result()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// awaitDurable returns when Redis has handed all writes to the system: with
// appendfsync everysec it holds them back while an fsync runs.
func awaitDurable(t *testing.T, stack *Stack) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: stack.RedisAddr()})
	defer client.Close()
	testkit.Eventually(t, 20*time.Second, func() error {
		info, err := client.Info(context.Background(), "persistence").Result()
		if err == nil && (!strings.Contains(info, "aof_buffer_length:0\r\n") || !strings.Contains(info, "aof_pending_bio_fsync:0\r\n")) {
			err = ems.Errorf(ems.CodeUnavailable, "writes are held back")
		}
		return err
	}, "durable writes")
}

func names(stack *Stack) []string {
	var names []string
	for _, status := range stack.Status() {
		names = append(names, status.Name)
	}
	return names
}

func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") Z ")
}

func TestEveryKilledChildComesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	options := newOptions(t).withServers(t)
	stack := newStack(t, options)
	start(t, stack)
	if got := names(stack); !slices.Equal(got, []string{"redis", "influxdb", "plant", "voltage"}) {
		t.Errorf("children %q", got)
	}
	if alarms, err := stack.ActiveAlarms(ctx); alarms != 2 || err != nil {
		t.Errorf("%d alarms (%v)", alarms, err)
	}
	if text, err := stack.Metrics(ctx, ems.Comsrv); text != "voltage_comsrv_points_total{channel=\"1001\"} 7\n" || err != nil {
		t.Errorf("metrics %q (%v)", text, err)
	}
	second := newStack(t, options)
	if err := second.Start(ctx); ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), fmt.Sprintf("held by process %d", os.Getpid())) {
		t.Errorf("a second stack on the same data: %v", err)
	}

	for i, status := range stack.Status() {
		awaitDurable(t, stack)
		if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, time.Minute, func() error {
			if now := stack.Status()[i]; now.Restarts != 1 {
				return fmt.Errorf("%+v", now)
			}
			return nil
		}, "restart of "+status.Name)
		awaitHealthy(t, stack)
	}
	var pids []int
	for _, status := range stack.Status() {
		if status.Restarts != 1 || status.State != managed.Ready {
			t.Errorf("after all: %+v", status)
		}
		pids = append(pids, status.PID)
	}
	if got, want := events(t, stack), map[string]string{"loads": "2", "started all": "2"}; !cmp.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	stop(t, stack)
	for _, pid := range pids {
		if !gone(pid) {
			t.Errorf("process %d is left behind", pid)
		}
	}
	if logs, err := filepath.Glob(filepath.Join(stack.LogDir(), "*.log")); err != nil || len(logs) != 4 {
		t.Errorf("logs %v (%v)", logs, err)
	}

	third := newStack(t, options)
	start(t, third)
	if got, want := events(t, third), map[string]string{"loads": "3", "started all": "3", "stopped all": "1"}; !cmp.Equal(got, want) {
		t.Errorf("events %v, want %v: Redis must be stopped last and keep all", got, want)
	}
	stop(t, third)
}

func TestSeparateProcesses(t *testing.T) {
	t.Parallel()
	options := newOptions(t).withServers(t)
	options.Separate = true
	stack := newStack(t, options)
	start(t, stack)
	if got, want := names(stack), []string{"redis", "influxdb", "plant", "comsrv", "modsrv", "alarmsrv", "rulesrv", "hissrv", "netsrv", "apigateway"}; !slices.Equal(got, want) {
		t.Errorf("children %q, want %q", got, want)
	}
	want := map[string]string{"loads": "1"}
	for _, target := range ems.Targets {
		want["started "+string(target)] = "1"
	}
	if got := events(t, stack); !cmp.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	stop(t, stack)
}

func TestServiceThatCannotStart(t *testing.T) {
	t.Parallel()
	options := newOptions(t).withServers(t)
	stack := newStack(t, options)
	stack.services[ems.Netsrv] = "192.0.2.1:1"
	stack.options.Voltlab = filepath.Join(t.TempDir(), "missing")
	err := stack.Start(context.Background())
	if ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), "no listening possible: netsrv: ") {
		t.Errorf("an address of another machine: %v", err)
	}
	stack.services[ems.Netsrv] = fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	if err := stack.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	err = stack.WaitHealthy(context.Background())
	if err == nil || !strings.HasPrefix(err.Error(), "plant cannot be started: ") {
		t.Errorf("error %v", err)
	}
	<-stack.Ended()
	if stopped := stack.Stop(context.Background()); stopped == nil || stopped.Error() != err.Error() {
		t.Errorf("stop tells %v, want %v", stopped, err)
	}
}
