package apigateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/apigateway"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// soon bounds what happens within a few steps of the programs under test.
const soon = 15 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	t        *testing.T
	redis    *testkit.RedisServer
	db       *rtdb.Client
	clock    *ems.ManualClock
	backends map[ems.Target]*backend
	url      string
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
		Target: target, Listen: "127.0.0.1:0", Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(), Clock: ems.SystemClock{},
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
	b.url = "http://" + server.Addr()
	b.stop = runUntil(t, server.Run)
	return b
}

// runUntil runs a server until the returned function is called, at the latest at
// the end of the test.
func runUntil(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// start runs the gateway with a Redis, a clock and six backends of its own.
func start(t *testing.T, origins ...string) *fixture {
	t.Helper()
	server := testkit.Redis(t)
	logger := testkit.Logger(t)
	f := &fixture{
		t: t, redis: server, clock: ems.NewManualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		backends: map[ems.Target]*backend{},
	}
	endpoints := map[ems.Target]string{}
	for _, target := range ems.Targets {
		if target != ems.Apigateway {
			f.backends[target] = startBackend(t, target)
			endpoints[target] = f.backends[target].url
		}
	}
	db, err := rtdb.Open(rtdb.Options{URL: server.URL, Clock: ems.SystemClock{}, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	f.db = db
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	service, err := apigateway.New(apigateway.Options{
		Service: config.Service{Listen: "127.0.0.1:0", Endpoints: endpoints, CORSOrigins: origins},
		Site:    &config.Site{Name: "North <b>& South"}, DB: db,
		Clock: f.clock, Logger: logger, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.stop = runUntil(t, service.Run)
	f.url = "http://" + service.Addr()
	f.awaitHealth(http.StatusOK)
	f.awaitSubscription()
	return f
}

// raw is a connection to the Redis of the test.
func (f *fixture) raw() *redis.Client {
	f.t.Helper()
	options, err := redis.ParseURL(f.redis.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	client := redis.NewClient(options)
	f.t.Cleanup(func() { _ = client.Close() })
	return client
}

// awaitSubscription waits until the gateway listens to the events.
func (f *fixture) awaitSubscription() {
	f.t.Helper()
	client := f.raw()
	testkit.Eventually(f.t, soon, func() error {
		count, err := client.PubSubNumPat(f.t.Context()).Result()
		if err == nil && count == 0 {
			err = errors.New("nobody has subscribed")
		}
		return err
	}, "the subscription")
}

func (f *fixture) awaitHealth(status int) {
	f.t.Helper()
	testkit.Eventually(f.t, soon, func() error {
		if found, text := f.ask(http.MethodGet, "/health/detailed", "", nil); found != status {
			return fmt.Errorf("health is %d: %s", found, text)
		}
		return nil
	}, "health")
}

// ask sends a request and decodes the data of the answer into the value that
// into points to, unless it is nil.
func (f *fixture) ask(method, path, body string, into any) (status int, text string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, bytes.NewBufferString(body))
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if into != nil {
		envelope := struct{ Data any }{into}
		if err := json.Unmarshal(read, &envelope); err != nil {
			f.t.Fatalf("%s %s: %d %s: %v", method, path, response.StatusCode, read, err)
		}
	}
	return response.StatusCode, string(read)
}

// refused expects an error with a code and a part of its message.
func (f *fixture) refused(method, path, body string, status int, code ems.Code, message string) {
	f.t.Helper()
	found, text := f.ask(method, path, body, nil)
	var envelope httpserver.Envelope
	if err := json.Unmarshal([]byte(text), &envelope); err != nil || envelope.Error == nil {
		f.t.Fatalf("%s %s: %d, no error in %s", method, path, found, text)
	}
	if found != status || envelope.Success || envelope.Error.Code != code || !bytes.Contains([]byte(envelope.Error.Message), []byte(message)) {
		f.t.Errorf("%s %s %s:\n got %d %s %q\nwant %d %s …%q…", method, path, body,
			found, envelope.Error.Code, envelope.Error.Message, status, code, message)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Errorf("-want +got:\n%s", difference)
	}
}

func TestRequestsArePassedOnAsTheyAre(t *testing.T) {
	t.Parallel()
	f := start(t)
	for path, service := range map[string]ems.Target{
		"/api/channels": ems.Comsrv, "/api/channels/1001/points/A/1": ems.Comsrv,
		"/api/models": ems.Modsrv, "/api/models/battery_001/values": ems.Modsrv, "/api/points/1001/T/1/models": ems.Modsrv,
		"/api/alarms": ems.Alarmsrv, "/api/alarms/7/acknowledge": ems.Alarmsrv,
		"/api/rules": ems.Rulesrv, "/api/rules/hot/enable": ems.Rulesrv,
		"/api/history/query": ems.Hissrv, "/api/network/status": ems.Netsrv,
		"/api/models/a%20b%2Fc": ems.Modsrv,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			var got asked
			status, text := f.ask(method, path+"?limit=2&after=a%26b", `{"value":-7.5}`, &got)
			if status != http.StatusCreated {
				t.Fatalf("%s %s: %d %s", method, path, status, text)
			}
			same(t, got, asked{string(service), method, path, "limit=2&after=a%26b", `{"value":-7.5}`, "127.0.0.1"})
		}
	}
	f.refused(http.MethodGet, "/api/rules/hot?fail=1", "", http.StatusConflict, ems.CodeConflict, "as asked")
	f.refused(http.MethodGet, "/api/other", "", http.StatusNotFound, ems.CodeNotFound, "not found")
	f.refused(http.MethodGet, "/api/channelsx", "", http.StatusNotFound, ems.CodeNotFound, "not found")
}

func TestBodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	for name, length := range map[string]int64{"told": 1<<20 + 1, "not told": -1} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/api/models", strings.NewReader(strings.Repeat("x", 1<<20+1)))
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
	f.refused(http.MethodPost, "/api/history/query", "{}", http.StatusServiceUnavailable, ems.CodeUnavailable, "hissrv does not answer at "+f.backends[ems.Hissrv].url)
	if status, text := f.ask(http.MethodGet, "/api/rules", "", nil); status != http.StatusCreated {
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
	f.ask(http.MethodGet, "/health/detailed", "", &got)
	same(t, got.Status, "healthy")
	for _, target := range ems.Targets {
		service := got.Services[string(target)]
		same(t, service.Service+" "+service.Status, string(target)+" healthy")
	}
	same(t, len(got.Services), len(ems.Targets))
	same(t, got.Services["rulesrv"].Checks, map[string]httpserver.CheckResult{"mood": {Status: "healthy", Detail: "well"}})

	f.backends[ems.Rulesrv].sick.Store(true)
	f.backends[ems.Netsrv].stop()
	got = overall{}
	if status, text := f.ask(http.MethodGet, "/health/detailed", "", &got); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, text)
	}
	same(t, got.Status, "unhealthy")
	same(t, got.Services["rulesrv"].Checks, map[string]httpserver.CheckResult{"mood": {Status: "unhealthy", Detail: "not well"}})
	if detail := got.Services["netsrv"].Checks["http"].Detail; !strings.HasPrefix(detail, "does not answer at "+f.backends[ems.Netsrv].url) {
		t.Errorf("netsrv: %q", detail)
	}
	for _, name := range []string{"comsrv", "modsrv", "alarmsrv", "hissrv", "apigateway"} {
		same(t, got.Services[name].Status, "healthy")
	}
	if status, text := f.ask(http.MethodGet, "/health", "", nil); status != http.StatusOK {
		t.Errorf("the gateway itself is well: %d %s", status, text)
	}
}

// send makes a request with headers and returns status and headers.
func (f *fixture) send(method, path string, headers map[string]string) (int, http.Header) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, nil)
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
	same(t, status, http.StatusForbidden)
	status, header := f.send(http.MethodGet, "/api/channels", foreign)
	same(t, status, http.StatusCreated)
	same(t, header.Get("Access-Control-Allow-Origin"), "")
	status, _ = f.send(http.MethodPost, "/api/channels/1001/points/A/1", map[string]string{"Origin": f.url, "Sec-Fetch-Site": "same-origin"})
	same(t, status, http.StatusCreated)
}

func TestNamedOriginsMayReadAndWrite(t *testing.T) {
	t.Parallel()
	const friend = "https://scada.example"
	f := start(t, friend)
	asking := map[string]string{"Origin": friend, "Sec-Fetch-Site": "cross-site"}
	status, header := f.send(http.MethodPost, "/api/alarms", asking)
	same(t, status, http.StatusCreated)
	same(t, header.Get("Access-Control-Allow-Origin"), friend)
	asking["Access-Control-Request-Method"] = http.MethodPost
	status, header = f.send(http.MethodOptions, "/api/alarms", asking)
	same(t, status, http.StatusNoContent)
	same(t, header.Get("Access-Control-Allow-Origin"), friend)
	same(t, header.Get("Access-Control-Allow-Methods"), "GET,HEAD,POST,PUT,PATCH,DELETE")
	foreign := map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	status, header = f.send(http.MethodPost, "/api/alarms", foreign)
	same(t, status, http.StatusForbidden)
	same(t, header.Get("Access-Control-Allow-Origin"), "")
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
		service.Listen = "127.0.0.1:0"
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
	_, page := f.ask(http.MethodGet, "/", "", nil)
	if !strings.Contains(page, "<h1>North &lt;b&gt;&amp; South ") {
		t.Error("the name of the site is missing, or not escaped")
	}
	if found := regexp.MustCompile(`(?i)<script[^>]*>[^<]|style=|\son\w+=|https?://`).FindString(page); found != "" {
		t.Errorf("the page holds %q, which its policy forbids", found)
	}
	_, script := f.ask(http.MethodGet, "/page.js", "", nil)
	if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`).FindString(script); found != "" {
		t.Errorf("the script uses %s", found)
	}
	for path, kind := range map[string]string{
		"/": "text/html; charset=UTF-8", "/page.js": "text/javascript; charset=utf-8", "/page.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
	} {
		status, header := f.send(http.MethodGet, path, nil)
		same(t, status, http.StatusOK)
		same(t, header.Get("Content-Type"), kind)
		same(t, header.Get("X-Content-Type-Options"), "nosniff")
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
