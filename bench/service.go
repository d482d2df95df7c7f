package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// alarmsrv is that service as a process of its own, as it goes to production, and
// the one connection over which it is asked.
type alarmsrv struct {
	address string // host:port
	client  *http.Client
	pid     int
}

// Bounds of asking and starting a service.
const (
	askWithin     = 5 * time.Second
	largestAnswer = 4 << 20 // bytes
)

// serviceFiles are the folder of the large site, as far as alarmsrv needs one.
// Nothing there is a flood, but where the bench makes one.
func serviceFiles(name string) map[string]string {
	return map[string]string{
		"site.yaml":     fmt.Sprintf("site:\n  name: %s\n  namespace: %s\n", name, name),
		"channels.yaml": "channels: []\n",
		"alarms.yaml":   fmt.Sprintf("flood: {limit: %d}\n", calmLimit),
	}
}

// startService runs alarmsrv for a site on a free port until the end of the run.
func (s *server) startService(ctx context.Context, of *site) (*alarmsrv, error) {
	dir, err := os.MkdirTemp("", "voltage-bench-site-")
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "no folder for the site: %w", err)
	}
	s.closers = append(s.closers, func(context.Context) error { return os.RemoveAll(dir) })
	for name, text := range serviceFiles(of.name) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, ems.Errorf(ems.CodeUnavailable, "the site cannot be written: %w", err)
		}
	}
	port, release, err := managed.ReservePort()
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func(context.Context) error { return release() })
	service := &alarmsrv{
		address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		client:  &http.Client{Transport: &http.Transport{MaxIdleConns: 1, DisableCompression: true}, Timeout: askWithin},
	}
	s.closers = append(s.closers, func(context.Context) error { service.client.CloseIdleConnections(); return nil })
	command := managed.Command{
		Name: "voltage", Path: s.voltage, Args: []string{"serve", "--site", dir, "--target=" + string(ems.Alarmsrv)},
		Env: serviceEnvironment(os.Environ(), s.address, service.address),
	}
	process, err := managed.StartReady(ctx, s.clock, managed.Child{
		Name:  command.Name,
		Start: func(context.Context) (*managed.Process, error) { return managed.StartProcess(command) },
		Probe: func(ctx context.Context, _ int) error {
			_, _, err := service.get(ctx, "/health")
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, process.Stop)
	service.pid = process.PID()
	return service, nil
}

// serviceEnvironment is that of the service: without what a person has set for
// another system.
func serviceEnvironment(own []string, redis, listen string) []string {
	kept := slices.DeleteFunc(slices.Clone(own), func(entry string) bool {
		return strings.HasPrefix(entry, "VOLTAGE_") || strings.HasPrefix(entry, "ALARMSRV_")
	})
	return append(kept, "VOLTAGE_REDIS_URL="+redis, "ALARMSRV_LISTEN="+listen)
}

// get returns the body of a reply with status 200, and its header.
func (a *alarmsrv) get(ctx context.Context, path string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+path, nil)
	if err != nil {
		return nil, nil, ems.Errorf(ems.CodeInvalid, "%w", err)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, nil, ems.Errorf(ems.CodeUnavailable, "alarmsrv: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return nil, nil, ems.Errorf(ems.CodeUnavailable, "alarmsrv: %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, ems.Errorf(ems.CodeUnavailable, "alarmsrv answered %s with %d: %.300s", path, response.StatusCode, body)
	}
	return body, response.Header, nil
}

// nextHeader tells the ?after= of the next page.
const nextHeader = "X-Next-After"

// list returns the newest alarms after one (of all, where that is empty), and
// after which one the next page begins.
func (a *alarmsrv) list(ctx context.Context, after string, limit int) (alarms []ems.Alarm, next string, err error) {
	path := "/api/alarms?limit=" + strconv.Itoa(limit)
	if after != "" {
		path += "&after=" + after
	}
	body, header, err := a.get(ctx, path)
	if err != nil {
		return nil, "", err
	}
	alarms, err = readAlarms(body)
	return alarms, header.Get(nextHeader), err
}

func readAlarms(body []byte) ([]ems.Alarm, error) {
	var envelope struct {
		Data []ems.Alarm `json:"data"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "alarmsrv answered %.300s: %w", body, err)
	}
	return envelope.Data, nil
}
