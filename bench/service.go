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

// service is one of the system as a process of its own, as it goes to production,
// and the one connection over which it is asked.
type service struct {
	target  ems.Target
	address string // host:port
	client  *http.Client
	process *managed.Process
}

// Bounds of asking and starting a service.
const (
	askWithin     = 5 * time.Second
	largestAnswer = 4 << 20 // bytes
)

// siteFile names the site of a folder.
func siteFile(name string) string {
	return fmt.Sprintf("site:\n  name: %s\n  namespace: %s\n", name, name)
}

// alarmFiles are the folder of the large site, as far as alarmsrv needs one.
// Nothing there is a flood, but where the bench makes one.
func alarmFiles(name string) map[string]string {
	return map[string]string{
		"site.yaml":     siteFile(name),
		"channels.yaml": "channels: []\n",
		"alarms.yaml":   fmt.Sprintf("flood: {limit: %d}\n", calmLimit),
	}
}

// writeFiles writes a folder; its files may lie in folders below.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			return ems.Errorf(ems.CodeUnavailable, "the site cannot be written: %w", err)
		}
	}
	return nil
}

// startService runs a service for a site on a free port, until the end of the run
// unless it is stopped before.
func (s *server) startService(ctx context.Context, target ems.Target, files map[string]string) (*service, error) {
	dir, err := os.MkdirTemp("", "voltage-bench-site-")
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "no folder for the site: %w", err)
	}
	s.closers = append(s.closers, func(context.Context) error { return os.RemoveAll(dir) })
	if err := writeFiles(dir, files); err != nil {
		return nil, err
	}
	port, release, err := managed.ReservePort()
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func(context.Context) error { return release() })
	started := &service{
		target: target, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		client: &http.Client{Transport: &http.Transport{MaxIdleConns: 1, DisableCompression: true}, Timeout: askWithin},
	}
	s.closers = append(s.closers, func(context.Context) error { started.client.CloseIdleConnections(); return nil })
	command := managed.Command{
		Name: "voltage", Path: s.voltage, Args: []string{"serve", "--site", dir, "--target=" + string(target)},
		Env: serviceEnvironment(os.Environ(), target, s.address, started.address),
	}
	process, err := managed.StartReady(ctx, s.clock, managed.Child{
		Name:  command.Name,
		Start: func(context.Context) (*managed.Process, error) { return managed.StartProcess(command) },
		Probe: func(ctx context.Context, _ int) error {
			_, _, err := started.get(ctx, "/health")
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, process.Stop)
	started.process = process
	return started, nil
}

// serviceEnvironment is that of the service: without what a person has set for
// another system.
func serviceEnvironment(own []string, target ems.Target, redis, listen string) []string {
	prefix := strings.ToUpper(string(target)) + "_"
	kept := slices.DeleteFunc(slices.Clone(own), func(entry string) bool {
		return strings.HasPrefix(entry, "VOLTAGE_") || strings.HasPrefix(entry, prefix)
	})
	return append(kept, "VOLTAGE_REDIS_URL="+redis, prefix+"LISTEN="+listen)
}

// get returns the body of a reply with status 200, and its header.
func (s *service) get(ctx context.Context, path string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		return nil, nil, ems.Errorf(ems.CodeInvalid, "%w", err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, ems.Errorf(ems.CodeUnavailable, "%s: %w", s.target, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return nil, nil, ems.Errorf(ems.CodeUnavailable, "%s: %s: %w", s.target, path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, ems.Errorf(ems.CodeUnavailable, "%s answered %s with %d: %.300s", s.target, path, response.StatusCode, body)
	}
	return body, response.Header, nil
}

// nextHeader tells the ?after= of the next page.
const nextHeader = "X-Next-After"

// end stops the service before the end of the run.
func (s *service) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	return s.process.Stop(ctx)
}

// list returns the newest alarms after one (of all, where that is empty), and
// after which one the next page begins.
func (s *service) list(ctx context.Context, after string, limit int) (alarms []ems.Alarm, next string, err error) {
	path := "/api/alarms?limit=" + strconv.Itoa(limit)
	if after != "" {
		path += "&after=" + after
	}
	body, header, err := s.get(ctx, path)
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
