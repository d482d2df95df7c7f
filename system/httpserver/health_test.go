package httpserver_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func well(name, detail string) httpserver.Check {
	return httpserver.Check{Name: name, Probe: func(context.Context) (string, error) { return detail, nil }}
}

func TestHealthIsThatOfTheChecks(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	f := newFront(t, well("redis", "answers"), httpserver.Check{Name: "influxdb", Probe: func(context.Context) (string, error) {
		if sick.Load() {
			return "a detail that does not count", errors.New("connection refused")
		}
		return "writes", nil
	}})
	api, _ := servicetest.Start(t, f)
	f.clock.Advance(90*time.Second + 500*time.Millisecond)
	expect := func(path string, status int, body string) {
		t.Helper()
		found, text := api.Ask(http.MethodGet, path, "", nil)
		servicetest.Same(t, found, status)
		servicetest.Same(t, text, body+"\n")
	}
	expect("/health", http.StatusOK, `{"success":true,"data":{"service":"modsrv","status":"healthy","uptime_s":90.5}}`)
	expect("/health/detailed", http.StatusOK, `{"success":true,"data":{"service":"modsrv","status":"healthy","uptime_s":90.5,"checks":{`+
		`"influxdb":{"status":"healthy","detail":"writes"},"redis":{"status":"healthy","detail":"answers"}}}}`)
	sick.Store(true)
	const fault = `"error":{"code":"UNAVAILABLE","message":"influxdb: connection refused","details":["influxdb: connection refused"]}`
	expect("/health", http.StatusServiceUnavailable, `{"success":false,"data":{"service":"modsrv","status":"unhealthy","uptime_s":90.5},`+fault+`}`)
	expect("/health/detailed", http.StatusServiceUnavailable, `{"success":false,"data":{"service":"modsrv","status":"unhealthy","uptime_s":90.5,"checks":{`+
		`"influxdb":{"status":"unhealthy","detail":"connection refused"},"redis":{"status":"healthy","detail":"answers"}}},`+fault+`}`)
	sick.Store(false)
	expect("/health", http.StatusOK, `{"success":true,"data":{"service":"modsrv","status":"healthy","uptime_s":90.5}}`)
}

func TestProbeReturnsWhatTheChecksFound(t *testing.T) {
	t.Parallel()
	f := newFront(t, well("redis", "answers"), httpserver.Check{Name: "functions", Probe: func(context.Context) (string, error) {
		return "", errors.New("not loaded")
	}})
	defer f.Close()
	f.clock.Advance(time.Second)
	servicetest.Same(t, f.Probe(t.Context()), httpserver.Health{
		Service: "modsrv", Status: httpserver.Unhealthy, Uptime: 1,
		Checks: map[string]httpserver.CheckResult{
			"redis":     {Status: httpserver.Healthy, Detail: "answers"},
			"functions": {Status: httpserver.Unhealthy, Detail: "not loaded"},
		},
	})
	bare := newFront(t)
	defer bare.Close()
	servicetest.Same(t, bare.Probe(t.Context()), httpserver.Health{Service: "modsrv", Status: httpserver.Healthy, Checks: map[string]httpserver.CheckResult{}})
}

func TestEveryFailedCheckIsNamedInOrder(t *testing.T) {
	t.Parallel()
	sick := func(detail string) httpserver.CheckResult {
		return httpserver.CheckResult{Status: httpserver.Unhealthy, Detail: detail}
	}
	for _, one := range []struct {
		health httpserver.Health
		want   []string
	}{
		{httpserver.Health{Status: httpserver.Healthy, Checks: map[string]httpserver.CheckResult{"redis": {Status: httpserver.Healthy, Detail: "answers"}}}, nil},
		{httpserver.Health{Status: httpserver.Unhealthy, Checks: map[string]httpserver.CheckResult{
			"redis": sick("away"), "functions": sick("not loaded"), "configuration": {Status: httpserver.Healthy},
		}}, []string{"functions: not loaded", "redis: away"}},
		{httpserver.Health{Status: httpserver.Unhealthy}, []string{"not healthy, and no check says why"}},
		{httpserver.Health{}, []string{"not healthy, and no check says why"}},
	} {
		servicetest.Same(t, one.health.Failed(), one.want)
	}
}

func TestChecksAreAskedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		meeting := make(chan string)
		f := newFront(t, httpserver.Check{Name: "one", Probe: func(ctx context.Context) (string, error) {
			select {
			case said := <-meeting:
				return said, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}}, httpserver.Check{Name: "two", Probe: func(ctx context.Context) (string, error) {
			select {
			case meeting <- "both are here":
				return "so am I", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}})
		defer f.Close()
		servicetest.Same(t, f.Probe(t.Context()).Checks, map[string]httpserver.CheckResult{
			"one": {Status: httpserver.Healthy, Detail: "both are here"}, "two": {Status: httpserver.Healthy, Detail: "so am I"},
		})
	})
}

// TestCheckThatHangsIsCutOff runs in simulated time: checks that hang end after
// two seconds, no sooner and no later.
func TestCheckThatHangsIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		f := newFront(t, httpserver.Check{Name: "one", Probe: hangs}, well("redis", "answers"), httpserver.Check{Name: "two", Probe: hangs})
		defer f.Close()
		for _, path := range []string{"/health", "/health/detailed"} {
			begun, recorder := time.Now(), httptest.NewRecorder()
			f.Echo.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			servicetest.Same(t, time.Since(begun), 2*time.Second)
			servicetest.Same(t, recorder.Code, http.StatusServiceUnavailable)
		}
		begun := time.Now()
		cut := httpserver.CheckResult{Status: httpserver.Unhealthy, Detail: "context deadline exceeded"}
		servicetest.Same(t, f.Probe(t.Context()).Checks, map[string]httpserver.CheckResult{
			"one": cut, "two": cut, "redis": {Status: httpserver.Healthy, Detail: "answers"},
		})
		servicetest.Same(t, time.Since(begun), 2*time.Second)
	})
}

func TestChecksEndWithTheOneWhoAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, httpserver.Check{Name: "slow", Probe: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}})
		defer f.Close()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		servicetest.Same(t, f.Probe(ctx).Status, httpserver.Unhealthy)
		servicetest.Same(t, time.Since(begun), time.Second)
	})
}

func TestCheckThatPanicsIsUnhealthyAndTheProcessLives(t *testing.T) {
	t.Parallel()
	f := newFront(t, well("redis", "answers"), httpserver.Check{Name: "functions", Probe: func(context.Context) (string, error) {
		panic("overboard")
	}})
	api, _ := servicetest.Start(t, f)
	for range 2 {
		status, text := api.Ask(http.MethodGet, "/health/detailed", "", nil)
		servicetest.Same(t, status, http.StatusServiceUnavailable)
		servicetest.Same(t, text, `{"success":false,"data":{"service":"modsrv","status":"unhealthy","uptime_s":0,"checks":{`+
			`"functions":{"status":"unhealthy","detail":"an internal fault: see the log of modsrv"},"redis":{"status":"healthy","detail":"answers"}}},`+
			`"error":{"code":"UNAVAILABLE","message":"functions: an internal fault: see the log of modsrv","details":["functions: an internal fault: see the log of modsrv"]}}`+"\n")
	}
	for _, part := range []string{`msg="panic in a health check"`, "check=functions", "error=overboard", "health_test.go"} {
		if text := f.log.String(); !strings.Contains(text, part) {
			t.Errorf("no %s in the log %s", part, text)
		}
	}
}
