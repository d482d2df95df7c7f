package scenarios

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// The ports of Redis and InfluxDB unless free ones are asked for; the services
// have theirs in ems, the plant has its own in plant.yaml.
const (
	RedisPort     = 6379
	influxPort    = 8086
	influxRPCPort = 8088
)

// Options say what to run.
type Options struct {
	Plant    string // folder of the plant, which is the site folder too
	Data     string // folder of all that the servers store, and of the logs
	Voltage  string // path of the program voltage
	Voltlab  string // path of the program voltlab
	Redis    managed.RedisBinary
	Influx   string // path of influxd
	Separate bool   // one process for each service instead of one for all
	// FreePort provides every port of the stack; nil stands for the usual ones.
	FreePort func() (int, error)
	// RedisPort replaces the usual port of Redis where FreePort is nil and this
	// is not 0.
	RedisPort int
	Clock     ems.Clock
	Logger    *slog.Logger
}

// Stack is one local system.
type Stack struct {
	options  Options
	dir      string // the plant folder, absolute
	folder   folder
	redis    *managed.Redis
	influx   *managed.Influx
	services map[ems.Target]string // host:port
	logs     []*managed.LogFile
	lock     *managed.Lock

	supervisor *managed.Supervisor
	cancel     context.CancelFunc
	ended      chan struct{}
	result     error // of the supervision, once ended is closed
	stopOnce   sync.Once
	stopError  error
}

// New reads the plant folder and decides who listens where. It starts nothing.
func New(options Options) (*Stack, error) {
	dir, err := filepath.Abs(options.Plant)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "plant folder: %w", err)
	}
	data, err := filepath.Abs(options.Data)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "data folder: %w", err)
	}
	options.Data = data
	read, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Stack{options: options, dir: dir, folder: read, ended: make(chan struct{})}
	if err := s.assignPorts(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Stack) assignPorts() error {
	usual := map[string]int{"redis": RedisPort, "influx": influxPort, "rpc": influxRPCPort}
	if s.options.RedisPort != 0 {
		usual["redis"] = s.options.RedisPort
	}
	port := func(name string) (int, error) {
		if s.options.FreePort != nil {
			return s.options.FreePort()
		}
		return usual[name], nil
	}
	redisPort, redisErr := port("redis")
	httpPort, httpErr := port("influx")
	rpcPort, rpcErr := port("rpc")
	if err := errors.Join(redisErr, httpErr, rpcErr); err != nil {
		return err
	}
	s.redis = &managed.Redis{Binary: s.options.Redis, Dir: filepath.Join(s.options.Data, "redis"), Port: redisPort}
	s.influx = &managed.Influx{
		Binary: s.options.Influx, Dir: filepath.Join(s.options.Data, "influxdb"), Port: httpPort, RPCPort: rpcPort,
		User: "voltage", Password: "voltage", Database: "ems_data",
	}
	s.services = map[ems.Target]string{}
	for _, target := range ems.Targets {
		usual[string(target)] = target.Port()
		number, err := port(string(target))
		if err != nil {
			return err
		}
		s.services[target] = net.JoinHostPort("127.0.0.1", strconv.Itoa(number))
	}
	if s.options.FreePort != nil {
		return s.folder.moveTo(s.options.FreePort)
	}
	return nil
}

// Endpoints lists every address on which the stack is going to listen.
func (s *Stack) Endpoints() []managed.Endpoint {
	endpoints := []managed.Endpoint{
		{Name: "Redis", Address: s.redis.Addr()},
		{Name: "InfluxDB", Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.influx.Port))},
		{Name: "InfluxDB backup", Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.influx.RPCPort))},
	}
	seen := map[string]bool{}
	for _, device := range s.folder.devices {
		if device.Listen != "" && !seen[device.Listen] {
			seen[device.Listen] = true
			endpoints = append(endpoints, managed.Endpoint{Name: "device " + device.ID, Address: device.Listen})
		}
	}
	endpoints = append(endpoints, managed.Endpoint{Name: "control API of the plant", Address: s.folder.control})
	for _, target := range ems.Targets {
		endpoints = append(endpoints, managed.Endpoint{Name: string(target), Address: s.services[target]})
	}
	return endpoints
}

// RedisURL returns the address of Redis.
func (s *Stack) RedisURL() string { return s.redis.URL() }

// RedisAddr returns host:port of Redis.
func (s *Stack) RedisAddr() string { return s.redis.Addr() }

// Influx returns the InfluxDB of the stack: its URL, token, organization and
// bucket.
func (s *Stack) Influx() *managed.Influx { return s.influx }

// URL returns the base address of a service.
func (s *Stack) URL(target ems.Target) string { return "http://" + s.services[target] }

// GatewayURL returns the base address of the gateway.
func (s *Stack) GatewayURL() string { return s.URL(ems.Apigateway) }

// ControlURL returns the base address of the plant's control API.
func (s *Stack) ControlURL() string { return "http://" + s.folder.control }

// Channels returns the channels of the site, in the order of channels.yaml.
func (s *Stack) Channels() []ems.ChannelID {
	ids := make([]ems.ChannelID, len(s.folder.channels))
	for i, channel := range s.folder.channels {
		ids[i] = channel.ID
	}
	return ids
}

// DeviceAddress returns host:port of a device of the plant, "" if there is none
// of that id.
func (s *Stack) DeviceAddress(id string) string {
	for _, device := range s.folder.devices {
		if device.ID == id {
			return device.Listen
		}
	}
	return ""
}

// LogDir returns the folder of the logs, one file for each child.
func (s *Stack) LogDir() string { return filepath.Join(s.options.Data, "logs") }

// Status returns the standing of every child, in the order in which they start:
// redis, influxdb, plant, then voltage or one child for each service.
func (s *Stack) Status() []managed.Status {
	if s.supervisor == nil {
		return nil
	}
	return s.supervisor.Status()
}

// Start takes the data folder for itself, makes sure that every port is free
// and the site folder sound, and then starts everything. It returns at once: WaitHealthy tells when all runs, Stop must
// follow.
func (s *Stack) Start(ctx context.Context) error {
	lock, err := managed.TryLock(filepath.Join(s.options.Data, "lock"))
	if ems.CodeOf(err) == ems.CodeConflict {
		return ems.Errorf(ems.CodeConflict, "the data folder %s is in use: %w; stop that one or use another folder", s.options.Data, err)
	}
	if err != nil {
		return err
	}
	s.lock = lock
	if err := s.startSupervised(ctx); err != nil {
		return errors.Join(err, s.release())
	}
	return nil
}

func (s *Stack) startSupervised(ctx context.Context) error {
	if err := managed.CheckFree(s.Endpoints()); err != nil {
		return err
	}
	if err := s.checkSite(ctx); err != nil {
		return err
	}
	children, err := s.children()
	if err != nil {
		return err
	}
	s.supervisor, err = managed.NewSupervisor(s.options.Clock, s.options.Logger, children)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		s.result = s.supervisor.Run(running)
	}()
	return nil
}

// Ended is closed when nothing runs any more.
func (s *Stack) Ended() <-chan struct{} { return s.ended }

// Stop stops everything in reverse order and frees the data folder. When ctx
// ends first, what is left is killed. The error says why the start failed, if
// it did. A stack that did not start is left alone.
func (s *Stack) Stop(ctx context.Context) error {
	if s.supervisor == nil {
		return nil
	}
	s.cancel()
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.supervisor.Kill()
		<-s.ended
	}
	s.stopOnce.Do(func() { s.stopError = errors.Join(s.result, s.release()) })
	return s.stopError
}

// Kill turns a stop, under way or to come, into killing.
func (s *Stack) Kill() {
	if s.supervisor != nil {
		s.supervisor.Kill()
	}
}

// release closes the logs and frees the data folder.
func (s *Stack) release() error {
	var err error
	for _, log := range s.logs {
		if lost := log.Lost(); lost > 0 {
			s.options.Logger.Warn("lines of a log were lost", "lines", lost, "folder", s.LogDir())
		}
		err = errors.Join(err, log.Close())
	}
	s.logs = nil
	if s.lock != nil {
		err = errors.Join(err, s.lock.Release())
		s.lock = nil
	}
	return err
}

// largestLog bounds each log file; two of them are kept for each child.
const largestLog = 16 << 20 // bytes

func (s *Stack) openLog(name string) (func(string), error) {
	log, err := managed.OpenLogFile(filepath.Join(s.LogDir(), name+".log"), largestLog)
	if err != nil {
		return nil, err
	}
	s.logs = append(s.logs, log)
	return log.Line, nil
}

// FindPlant returns the folder of a plant: a path, or the name of a folder
// below scenarios in one of the given checkouts.
func FindPlant(name string, checkouts ...string) (string, error) {
	candidates := []string{name}
	if filepath.Base(name) == name {
		for _, checkout := range checkouts {
			candidates = append(candidates, filepath.Join(checkout, "scenarios", name))
		}
	}
	for _, candidate := range candidates {
		if _, err := os.Stat(filepath.Join(candidate, "plant.yaml")); err == nil {
			return candidate, nil
		}
	}
	var known []string
	for _, checkout := range checkouts {
		found, err := filepath.Glob(filepath.Join(checkout, "scenarios", "*", "plant.yaml"))
		if err != nil {
			return "", ems.Errorf(ems.CodeInvalid, "plant %q: %w", name, err)
		}
		for _, path := range found {
			if name := filepath.Base(filepath.Dir(path)); !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
	}
	text := fmt.Sprintf("no plant %q: name a folder that holds plant.yaml", name)
	if len(known) > 0 {
		text += ", or one of: " + strings.Join(known, ", ")
	}
	return "", ems.Errorf(ems.CodeNotFound, "%s", text)
}
