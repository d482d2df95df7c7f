// Package features holds the behaviour of the whole system: Gherkin features
// with their steps, and the walk of one register value from end to end. All of
// it runs against the real programs, a real Redis, a real InfluxDB and the
// simulated plant on real sockets.
package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/scenarios"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// Deadlines. They bound a broken run; a sound one takes a small part of them.
const (
	buildWithin  = 10 * time.Minute // of the two programs, with cold caches
	healthWithin = 2 * time.Minute
	stopWithin   = 30 * time.Second
	seenWithin   = 20 * time.Second // a change at the plant is seen everywhere
)

// site is a running system: the microgrid with the whole suite.
type site struct {
	stack *scenarios.Stack
	redis *redis.Client
}

// programs builds voltage and voltlab once for all tests of the package.
var programs = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // built once, removed by TestMain
	dir, err := os.MkdirTemp("", "voltage-programs-")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildWithin)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir,
		"github.com/voltageems/voltageems-go/system/cmd/voltage", "github.com/voltageems/voltageems-go/simulators/cmd/voltlab")
	if output, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, output)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// startSite brings everything up on free ports and waits until all is healthy.
// separate runs each service in a process of its own.
func startSite(t testing.TB, separate bool) *site {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), healthWithin)
	defer cancel()
	binary, err := managed.FindRedis(ctx)
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := managed.FindCheckout(".")
	if err != nil {
		t.Fatal(err)
	}
	influx, err := managed.FindInflux(ctx, managed.BinaryFolder(checkout))
	if err != nil {
		t.Fatal(err)
	}
	stack, err := scenarios.New(scenarios.Options{
		Plant: "../scenarios/microgrid", Data: t.TempDir(),
		Voltage: filepath.Join(dir, "voltage"), Voltlab: filepath.Join(dir, "voltlab"),
		Redis: binary, Influx: influx, Separate: separate,
		FreePort: func() (int, error) { return testkit.FreePort(t), nil },
		Clock:    ems.SystemClock{}, Logger: testkit.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Start(ctx); err != nil {
		t.Fatal(err)
	}
	running := &site{stack: stack, redis: redis.NewClient(&redis.Options{Addr: stack.RedisAddr()})}
	t.Cleanup(func() { running.stop(t) })
	if err := stack.WaitHealthy(ctx); err != nil {
		t.Fatalf("%v\n%s", err, running.logs())
	}
	return running
}

// stop ends everything; nothing may be left behind.
func (s *site) stop(t testing.TB) {
	t.Helper()
	_ = s.redis.Close()
	children := s.stack.Status()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := s.stack.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, child := range children {
		if child.PID > 0 {
			if process, err := os.FindProcess(child.PID); err == nil && alive(process) {
				t.Errorf("%s (process %d) outlived the stack", child.Name, child.PID)
			}
		}
	}
	if t.Failed() {
		t.Log(s.logs())
	}
}

// logs returns the end of every child's log.
func (s *site) logs() string {
	const most = 3000
	var all bytes.Buffer
	files, _ := filepath.Glob(filepath.Join(s.stack.LogDir(), "*.log"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(file), text[max(0, len(text)-most):])
	}
	return all.String()
}

// call sends a request and decodes the data of the envelope. A refusal is an
// error that carries the code and the text of the reply.
func call(ctx context.Context, method, address string, body, into any) error {
	_, err := exchange(ctx, method, address, body, into)
	return err
}

// exchange is call for who needs the header of the reply, too.
func exchange(ctx context.Context, method, address string, body, into any) (http.Header, error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, address, &sent)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var envelope struct {
		Success bool            `json:"success"`
		Data    json.RawMessage `json:"data"`
		Error   *struct {
			Code    ems.Code `json:"code"`
			Message string   `json:"message"`
		} `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&envelope); err != nil {
		return nil, fmt.Errorf("%s %s: status %d: %w", method, address, response.StatusCode, err)
	}
	if envelope.Error != nil {
		return nil, ems.Errorf(envelope.Error.Code, "%s %s: status %d: %s", method, address, response.StatusCode, envelope.Error.Message)
	}
	if !envelope.Success {
		return nil, fmt.Errorf("%s %s: status %d without success", method, address, response.StatusCode)
	}
	if into == nil {
		return response.Header, nil
	}
	return response.Header, json.Unmarshal(envelope.Data, into)
}

// gateway sends a request to the gateway.
func (s *site) gateway(ctx context.Context, method, path string, body, into any) error {
	return call(ctx, method, s.stack.GatewayURL()+path, body, into)
}

// setInput changes what only the operator of the plant can change.
func (s *site) setInput(ctx context.Context, device, input string, value float64) error {
	return call(ctx, http.MethodPut, s.stack.ControlURL()+"/inputs/"+device+"/"+input, map[string]float64{"value": value}, nil)
}

// truth returns one true value of the plant.
func (s *site) truth(ctx context.Context, device, quantity string) (float64, error) {
	var truth struct {
		Devices map[string]struct {
			Values map[string]float64 `json:"values"`
		} `json:"devices"`
	}
	if err := call(ctx, http.MethodGet, s.stack.ControlURL()+"/truth", nil, &truth); err != nil {
		return 0, err
	}
	value, known := truth.Devices[device].Values[quantity]
	if !known {
		return 0, fmt.Errorf("the plant has no %s.%s", device, quantity)
	}
	return value, nil
}

// pointValue is a value as the gateway shows it, of a channel or of a model.
type pointValue struct {
	ID      ems.PointID `json:"id"`
	Name    string      `json:"name"`
	Unit    string      `json:"unit"`
	Value   *float64    `json:"value"`
	Time    *int64      `json:"time"`
	Quality ems.Quality `json:"quality"`
}

func (v pointValue) String() string {
	if v.Value == nil || v.Time == nil {
		return v.Name + " never read"
	}
	return fmt.Sprintf("%s = %v %s (%s) at %d", v.Name, *v.Value, v.Unit, v.Quality, *v.Time)
}

func (s *site) channelPoint(ctx context.Context, ref ems.PointRef) (pointValue, error) {
	var points []pointValue
	path := fmt.Sprintf("/api/channels/%d/points?type=%s&limit=1000", ref.Channel, ref.Type)
	if err := s.gateway(ctx, http.MethodGet, path, nil, &points); err != nil {
		return pointValue{}, err
	}
	for _, point := range points {
		if point.ID == ref.Point {
			return point, nil
		}
	}
	return pointValue{}, fmt.Errorf("%s does not list point %d", path, ref.Point)
}

func (s *site) modelValue(ctx context.Context, model, name string) (pointValue, error) {
	var values []pointValue
	if err := s.gateway(ctx, http.MethodGet, "/api/models/"+model+"/values", nil, &values); err != nil {
		return pointValue{}, err
	}
	for _, value := range values {
		if value.Name == name {
			return value, nil
		}
	}
	return pointValue{}, fmt.Errorf("model %s has no %s", model, name)
}

// storedValue returns number and source time as Redis holds them.
func (s *site) storedValue(ctx context.Context, ref ems.PointRef) (text string, ms int64, err error) {
	var keys ems.Namespace
	field := strconv.FormatUint(uint64(ref.Point), 10)
	pipeline := s.redis.TxPipeline()
	value := pipeline.HGet(ctx, keys.Values(ref.Channel, ref.Type), field)
	at := pipeline.HGet(ctx, keys.Times(ref.Channel, ref.Type), field)
	if _, err := pipeline.Exec(ctx); err != nil {
		return "", 0, fmt.Errorf("%s: %w", ref, err)
	}
	ms, err = strconv.ParseInt(at.Val(), 10, 64)
	return value.Val(), ms, err
}

func (s *site) activeAlarm(ctx context.Context, rule string) (ems.Alarm, error) {
	var alarms []ems.Alarm
	if err := s.gateway(ctx, http.MethodGet, "/api/alarms?state=active", nil, &alarms); err != nil {
		return ems.Alarm{}, err
	}
	for _, alarm := range alarms {
		if alarm.Rule == rule {
			return alarm, nil
		}
	}
	return ems.Alarm{}, fmt.Errorf("no active alarm of rule %s among %d", rule, len(alarms))
}

type sample struct {
	Time  int64   `json:"time"`
	Value float64 `json:"value"`
}

// history asks for the last minute of a point.
func (s *site) history(ctx context.Context, ref ems.PointRef) ([]sample, error) {
	var answer struct {
		Points []sample `json:"points"`
	}
	now := time.Now()
	err := s.gateway(ctx, http.MethodPost, "/api/history/query", map[string]any{
		"channel": ref.Channel, "type": ref.Type, "point": ref.Point,
		"start": now.Add(-time.Minute).UnixMilli(), "stop": now.Add(time.Second).UnixMilli(),
	}, &answer)
	return answer.Points, err
}

// eventually polls a condition until it holds or the deadline passes.
func eventually(ctx context.Context, condition func(ctx context.Context) error) error {
	return eventuallyWithin(ctx, seenWithin, condition)
}

func eventuallyWithin(ctx context.Context, within time.Duration, condition func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", within, last)
		}
	}
}

// address returns where a channel reaches its device.
func (s *site) address(ctx context.Context, channel ems.ChannelID) (string, error) {
	var shown struct {
		Address string `json:"address"`
	}
	if err := s.gateway(ctx, http.MethodGet, fmt.Sprintf("/api/channels/%d", channel), nil, &shown); err != nil {
		return "", err
	}
	_, _, err := net.SplitHostPort(shown.Address)
	return shown.Address, err
}
