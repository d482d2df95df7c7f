package apigateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/apigateway"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servicetest.DriverDials()) }

type fixture struct {
	*servicetest.Fixture
	t        *testing.T
	clock    *ems.ManualClock
	backends map[ems.Target]*backend
	stop     func() // ends the service and waits for it
}

// backend stands for one service: it tells its health as they all do, and
// answers every other request with what it was asked.
type backend struct {
	service ems.Target
	url     string
	sick    atomic.Bool
	stop    func()
}

// asked is what a backend tells of a request.
type asked struct {
	Service, Method, Path, Query, Body, For string
}

func startBackend(t *testing.T, target ems.Target) *backend {
	t.Helper()
	b := &backend{service: target}
	server, err := httpserver.New(httpserver.Options{
		Target: target, Listen: servicetest.AnyPort, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(), Clock: ems.SystemClock{},
		Checks: []httpserver.Check{{Name: "mood", Probe: func(context.Context) (string, error) {
			if b.sick.Load() {
				return "", errors.New("not well")
			}
			return "well", nil
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Echo.Any("/api/*", func(c echo.Context) error {
		if c.QueryParam("fail") != "" {
			return ems.Errorf(ems.CodeConflict, "as asked")
		}
		request := c.Request()
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return err
		}
		return httpserver.Created(c, asked{
			string(target), request.Method, request.URL.EscapedPath(), request.URL.RawQuery, string(body), request.Header.Get("X-Forwarded-For"),
		})
	})
	api, stop := servicetest.Start(t, server)
	b.url, b.stop = api.URL, stop
	return b
}

// start runs the gateway with a Redis, a clock and six backends of its own.
func start(t *testing.T, origins ...string) *fixture {
	t.Helper()
	clock := ems.NewManualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	f := &fixture{Fixture: servicetest.New(t, ems.SystemClock{}), t: t, clock: clock, backends: map[ems.Target]*backend{}}
	endpoints := map[ems.Target]string{}
	for _, target := range ems.Targets {
		if target != ems.Apigateway {
			f.backends[target] = startBackend(t, target)
			endpoints[target] = f.backends[target].url
		}
	}
	service, err := apigateway.New(apigateway.Options{
		Service: config.Service{Listen: servicetest.AnyPort, Endpoints: endpoints, CORSOrigins: origins},
		Site:    &config.Site{Name: "North <b>& South"}, DB: f.DB,
		Clock: clock, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.stop = f.Run(service)
	f.AwaitHealth(http.StatusOK)
	f.AwaitSubscription()
	return f
}

func TestRequestsArePassedOnAsTheyAre(t *testing.T) {
	t.Parallel()
	f := start(t)
	for path, service := range map[string]ems.Target{
		"/api/channels": ems.Comsrv, "/api/commands": ems.Comsrv, "/api/channels/1001/points/A/1": ems.Comsrv, "/api/sunspec/scan": ems.Comsrv,
		"/api/templates": ems.Modsrv, "/api/templates/battery": ems.Modsrv,
		"/api/models": ems.Modsrv, "/api/models/battery_001/values": ems.Modsrv, "/api/points/1001/T/1/models": ems.Modsrv,
		"/api/alarms": ems.Alarmsrv, "/api/alarms/7/acknowledge": ems.Alarmsrv,
		"/api/rules": ems.Rulesrv, "/api/rules/hot/enable": ems.Rulesrv, "/api/values/mode": ems.Rulesrv,
		"/api/history/query": ems.Hissrv, "/api/network/status": ems.Netsrv,
		"/api/models/a%20b%2Fc": ems.Modsrv,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			var got asked
			status, text := f.Ask(method, path+"?limit=2&after=a%26b", `{"value":-7.5}`, &got)
			if status != http.StatusCreated {
				t.Fatalf("%s %s: %d %s", method, path, status, text)
			}
			servicetest.Same(t, got, asked{string(service), method, path, "limit=2&after=a%26b", `{"value":-7.5}`, "127.0.0.1"})
		}
	}
	var got asked
	const unreadable = "dry_run=true;" // the service refuses it; without it a trial would be done
	if status, text := f.Ask(http.MethodPost, "/api/channels?"+unreadable, "", &got); status != http.StatusCreated || got.Query != unreadable {
		t.Errorf("%d %s", status, text)
	}
	f.Refused(http.MethodGet, "/api/rules/hot?fail=1", "", http.StatusConflict, ems.CodeConflict, "as asked")
	f.Refused(http.MethodGet, "/api/other", "", http.StatusNotFound, ems.CodeNotFound, "not found")
	f.Refused(http.MethodGet, "/api/channelsx", "", http.StatusNotFound, ems.CodeNotFound, "not found")
}

func TestBodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	for name, length := range map[string]int64{"told": 1<<20 + 1, "not told": -1} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL+"/api/models", strings.NewReader(strings.Repeat("x", 1<<20+1)))
		if err != nil {
			t.Fatal(err)
		}
		request.ContentLength = length
		request.Close = true
		if length > 0 {
			request.Header.Set("Expect", "100-continue") // the answer comes instead of the permission to send
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatalf("length %s: %v", name, err)
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(strings.ToLower(string(text)), "too large") {
			t.Errorf("length %s: %s %s %v", name, response.Status, text, err)
		}
	}
}

func TestServiceThatIsDownIsNamed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.backends[ems.Hissrv].stop()
	f.Refused(http.MethodPost, "/api/history/query", "{}", http.StatusServiceUnavailable, ems.CodeUnavailable, "hissrv does not answer at "+f.backends[ems.Hissrv].url)
	if status, text := f.Ask(http.MethodGet, "/api/rules", "", nil); status != http.StatusCreated {
		t.Errorf("the others suffer: %d %s", status, text)
	}
}

// overall is the wire form of the health of the suite.
type overall struct {
	Status   string
	Services map[string]struct {
		Service, Status string
		Checks          map[string]httpserver.CheckResult
	}
}

func TestHealthIsThatOfAllServices(t *testing.T) {
	t.Parallel()
	f := start(t)
	var got overall
	f.Ask(http.MethodGet, "/health/detailed", "", &got)
	servicetest.Same(t, got.Status, "healthy")
	for _, target := range ems.Targets {
		service := got.Services[string(target)]
		servicetest.Same(t, service.Service+" "+service.Status, string(target)+" healthy")
	}
	servicetest.Same(t, len(got.Services), len(ems.Targets))
	servicetest.Same(t, got.Services["rulesrv"].Checks, map[string]httpserver.CheckResult{"mood": {Status: "healthy", Detail: "well"}})

	f.backends[ems.Rulesrv].sick.Store(true)
	f.backends[ems.Netsrv].stop()
	got = overall{}
	status, text := f.Ask(http.MethodGet, "/health/detailed", "", &got)
	servicetest.Same(t, status, http.StatusServiceUnavailable)
	fault := struct{ Error httpserver.Fault }{}
	if err := json.Unmarshal([]byte(text), &fault); err != nil {
		t.Fatal(err)
	}
	faults := []string{"rulesrv: mood: not well", "netsrv: http: " + got.Services["netsrv"].Checks["http"].Detail}
	servicetest.Same(t, fault.Error, httpserver.Fault{Code: ems.CodeUnavailable, Message: faults[0] + "; " + faults[1], Details: faults})
	expectOnPage(t, f, []string{
		"comsrv healthy", "modsrv healthy", "alarmsrv healthy", "rulesrv unhealthy", "mood: not well",
		"hissrv healthy", "apigateway healthy", "netsrv unhealthy", "http: " + got.Services["netsrv"].Checks["http"].Detail,
	})
	servicetest.Same(t, got.Status, "unhealthy")
	servicetest.Same(t, got.Services["rulesrv"].Checks, map[string]httpserver.CheckResult{"mood": {Status: "unhealthy", Detail: "not well"}})
	if detail := got.Services["netsrv"].Checks["http"].Detail; !strings.HasPrefix(detail, "does not answer at "+f.backends[ems.Netsrv].url) {
		t.Errorf("netsrv: %q", detail)
	}
	for _, name := range []string{"comsrv", "modsrv", "alarmsrv", "hissrv", "apigateway"} {
		servicetest.Same(t, got.Services[name].Status, "healthy")
	}
	if status, text := f.Ask(http.MethodGet, "/health", "", nil); status != http.StatusOK {
		t.Errorf("the gateway itself is well: %d %s", status, text)
	}
}

// send makes a request with headers and returns status and headers.
func (f *fixture) send(method, path string, headers map[string]string) (int, http.Header) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.URL+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode, response.Header
}

func TestPagesOfOtherSitesMayDoNothingByDefault(t *testing.T) {
	t.Parallel()
	f := start(t)
	foreign := map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	status, _ := f.send(http.MethodPost, "/api/channels/1001/points/A/1", foreign)
	servicetest.Same(t, status, http.StatusForbidden)
	status, header := f.send(http.MethodGet, "/api/channels", foreign)
	servicetest.Same(t, status, http.StatusCreated)
	servicetest.Same(t, header.Get("Access-Control-Allow-Origin"), "")
	status, _ = f.send(http.MethodPost, "/api/channels/1001/points/A/1", map[string]string{"Origin": f.URL, "Sec-Fetch-Site": "same-origin"})
	servicetest.Same(t, status, http.StatusCreated)
}

func TestNamedOriginsMayReadAndWrite(t *testing.T) {
	t.Parallel()
	const friend = "https://scada.example"
	f := start(t, friend)
	asking := map[string]string{"Origin": friend, "Sec-Fetch-Site": "cross-site"}
	status, header := f.send(http.MethodPost, "/api/alarms", asking)
	servicetest.Same(t, status, http.StatusCreated)
	servicetest.Same(t, header.Get("Access-Control-Allow-Origin"), friend)
	asking["Access-Control-Request-Method"] = http.MethodPost
	status, header = f.send(http.MethodOptions, "/api/alarms", asking)
	servicetest.Same(t, status, http.StatusNoContent)
	servicetest.Same(t, header.Get("Access-Control-Allow-Origin"), friend)
	servicetest.Same(t, header.Get("Access-Control-Allow-Methods"), "GET,HEAD,POST,PUT,PATCH,DELETE")
	foreign := map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	status, header = f.send(http.MethodPost, "/api/alarms", foreign)
	servicetest.Same(t, status, http.StatusForbidden)
	servicetest.Same(t, header.Get("Access-Control-Allow-Origin"), "")
}

func TestUnusableSettingsAreRefused(t *testing.T) {
	t.Parallel()
	db, err := rtdb.Open(rtdb.Options{URL: "redis://127.0.0.1:1", Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	endpoints := map[ems.Target]string{}
	for _, target := range ems.Targets {
		endpoints[target] = "http://127.0.0.1:1"
	}
	build := func(service config.Service) error {
		service.Listen = servicetest.AnyPort
		_, err := apigateway.New(apigateway.Options{
			Service: service, Site: &config.Site{}, DB: db, Clock: ems.SystemClock{}, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
		})
		return err
	}
	err = build(config.Service{Endpoints: endpoints, CORSOrigins: []string{"scada.example"}})
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), "cors_origins") {
		t.Errorf("an origin without scheme: %v", err)
	}
	endpoints[ems.Rulesrv] = "nowhere"
	err = build(config.Service{Endpoints: endpoints})
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), "rulesrv") {
		t.Errorf("an endpoint without host: %v", err)
	}
}

func TestPageIsServedAndKeepsToItself(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, page := f.Ask(http.MethodGet, "/", "", nil)
	if !strings.Contains(page, "<h1>North &lt;b&gt;&amp; South ") {
		t.Error("the name of the site is missing, or not escaped")
	}
	if found := regexp.MustCompile(`(?i)<script[^>]*>[^<]|style=|\son\w+=|https?://`).FindString(page); found != "" {
		t.Errorf("the page holds %q, which its policy forbids", found)
	}
	_, script := f.Ask(http.MethodGet, "/page.js", "", nil)
	if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`).FindString(script); found != "" {
		t.Errorf("the script uses %s", found)
	}
	for path, kind := range map[string]string{
		"/": "text/html; charset=UTF-8", "/page.js": "text/javascript; charset=utf-8", "/page.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
	} {
		status, header := f.send(http.MethodGet, path, nil)
		servicetest.Same(t, status, http.StatusOK)
		servicetest.Same(t, header.Get("Content-Type"), kind)
		servicetest.Same(t, header.Get("X-Content-Type-Options"), "nosniff")
		if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") {
			t.Errorf("%s: policy %q", path, policy)
		}
		for _, reference := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(page, -1) {
			if strings.HasPrefix(reference[1], "/api/") {
				continue
			}
			if status, _ := f.send(http.MethodGet, reference[1], nil); status != http.StatusOK {
				t.Errorf("the page needs %s, which is %d", reference[1], status)
			}
		}
	}
}
