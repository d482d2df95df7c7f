package httpserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 6, 21, 12, 0, 0, 0, time.UTC)

// front is a server that does not run yet, with a clock and a log of its own.
type front struct {
	*httpserver.Server
	clock *ems.ManualClock
	log   *log
}

func newFront(t *testing.T, checks ...httpserver.Check) *front {
	t.Helper()
	f := &front{clock: ems.NewManualClock(noon), log: &log{}}
	server, err := httpserver.New(httpserver.Options{
		Target: ems.Modsrv, Listen: servicetest.AnyPort, Clock: f.clock, Checks: checks,
		Logger: slog.New(slog.NewTextHandler(f.log, nil)), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = server
	return f
}

// log keeps what the server logs.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// send sends a request and returns the answer with its whole body.
func send(t *testing.T, request *http.Request, err error) (response *http.Response, text string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err = http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(read)
}

func TestPortInUseIsOneClearError(t *testing.T) {
	t.Parallel()
	taken := newFront(t)
	defer taken.Close()
	_, err := httpserver.New(httpserver.Options{
		Target: ems.Hissrv, Listen: taken.Addr(), Clock: ems.SystemClock{}, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
	})
	servicetest.Same(t, ems.CodeOf(err), ems.CodeUnavailable)
	servicetest.Same(t, fmt.Sprint(err), fmt.Sprintf("hissrv cannot listen on %[1]s: listen tcp %[1]s: bind: address already in use; "+
		"stop what uses the port or set HISSRV_LISTEN", taken.Addr()))
}

func TestPortIsFreeAfterCloseAndAfterRun(t *testing.T) {
	t.Parallel()
	closed := newFront(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	stopped := newFront(t)
	_, stop := servicetest.Start(t, stopped)
	stop()
	late := newFront(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := late.Run(ended); err != nil {
		t.Errorf("told to stop before it began: %v", err)
	}
	for _, address := range []string{closed.Addr(), stopped.Addr(), late.Addr()} {
		// A process that another test starts at this moment holds a copy of the socket for an instant.
		testkit.Eventually(t, servicetest.Soon, func() error {
			listener, err := net.Listen("tcp", address)
			if err == nil {
				err = listener.Close()
			}
			return err
		}, "the port of "+address)
	}
}

func TestListenerThatFailsEndsTheServer(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	err := f.Run(t.Context())
	if ems.CodeOf(err) != ems.CodeInternal || !strings.HasPrefix(fmt.Sprint(err), "modsrv stopped serving: ") {
		t.Errorf("Run: %v", err)
	}
}

// awaitRefusal waits until the server takes no connection any more.
func awaitRefusal(t *testing.T, address string) {
	t.Helper()
	testkit.Eventually(t, servicetest.Soon, func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil
		}
		_ = conn.Close()
		return fmt.Errorf("%s still takes connections", address)
	}, "the end of listening")
}

func TestStopLetsARunningRequestFinish(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	f.Echo.GET("/slow", func(c echo.Context) error {
		close(begun)
		<-finish
		return httpserver.OK(c, "done")
	})
	api, stop := servicetest.Start(t, f)
	answered, stopped := make(chan string, 1), make(chan struct{})
	go func() {
		status, text, err := api.Request(http.MethodGet, "/slow", "")
		answered <- fmt.Sprint(status, " ", text, err)
	}()
	<-begun
	go func() { stop(); close(stopped) }()
	awaitRefusal(t, f.Addr())
	select {
	case <-stopped:
		t.Error("the server ended before its request")
	default:
	}
	close(finish)
	servicetest.Same(t, <-answered, `200 {"success":true,"data":"done"}`+"\n<nil>")
	<-stopped
}

func TestStopEndsAnOpenStream(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.GET("/stream", func(c echo.Context) error {
		_, _ = io.WriteString(c.Response(), "first\n")
		c.Response().Flush()
		<-c.Request().Context().Done()
		_, err := io.WriteString(c.Response(), "last\n")
		return err
	})
	api, stop := servicetest.Start(t, f)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request) // a connection that would be kept open
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); line != "first\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	// One that is cut instead, five seconds later, does not end with EOF.
	if rest, err := io.ReadAll(lines); string(rest) != "last\n" || err != nil {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	<-stopped
}

func TestRequestThatTheStopInterruptsIsUnavailable(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	begun := make(chan struct{})
	f.Echo.GET("/wait", func(c echo.Context) error {
		close(begun)
		<-c.Request().Context().Done()
		return fmt.Errorf("half way: %w", c.Request().Context().Err())
	})
	api, stop := servicetest.Start(t, f)
	answered := make(chan string, 1)
	go func() {
		status, text, err := api.Request(http.MethodGet, "/wait", "")
		answered <- fmt.Sprint(status, " ", text, err)
	}()
	<-begun
	stop()
	servicetest.Same(t, <-answered, `503 {"success":false,"error":{"code":"UNAVAILABLE","message":"the service is stopping, the request was not finished"}}`+"\n<nil>")
	if text := f.log.String(); strings.Contains(text, "request failed") {
		t.Errorf("it is logged as a fault: %s", text)
	}
}

// counted returns the lines of one series of the metrics, sorted.
func counted(t *testing.T, api servicetest.API, series string) []string {
	t.Helper()
	status, text := api.Ask(http.MethodGet, "/metrics", "", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	lines := []string{}
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, series); found {
			lines = append(lines, strings.TrimSpace(rest))
		}
	}
	slices.Sort(lines)
	return lines
}

func TestRequestsAreMeasuredByRoute(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.GET("/api/things/:id", func(c echo.Context) error {
		f.clock.Advance(250 * time.Millisecond)
		return httpserver.OK(c, c.Param("id"))
	})
	f.Echo.POST("/api/things/:id", func(echo.Context) error { panic("overboard") })
	f.Echo.Any("/proxy/*", func(c echo.Context) error { return ems.Errorf(ems.CodeConflict, "no") })
	api, _ := servicetest.Start(t, f)
	for _, request := range [][2]string{
		{http.MethodGet, "/api/things/1"}, {http.MethodGet, "/api/things/2?page=3"}, {http.MethodPost, "/api/things/4"},
		{http.MethodPut, "/api/things/5"}, {http.MethodDelete, "/proxy/6/7"}, {http.MethodHead, "/health"},
		{http.MethodGet, "/nothing"}, {http.MethodGet, "/nowhere/8"}, {http.MethodGet, "/api/things"}, {"BREW", "/pot"}, {"STEAM", "/pot"},
	} {
		api.Ask(request[0], request[1], "", nil)
	}
	// The request for the metrics itself is counted only once it is answered.
	servicetest.Same(t, counted(t, api, "voltage_http_request_seconds_count"), []string{
		`{method="DELETE",route="/proxy/*",service="modsrv",status="Conflict"} 1`,
		`{method="GET",route="/api/things/:id",service="modsrv",status="OK"} 2`,
		`{method="GET",route="unmatched",service="modsrv",status="Not Found"} 3`,
		`{method="HEAD",route="/health",service="modsrv",status="OK"} 1`,
		`{method="POST",route="/api/things/:id",service="modsrv",status="Internal Server Error"} 1`,
		`{method="PUT",route="/api/things/:id",service="modsrv",status="Method Not Allowed"} 1`,
		`{method="other",route="unmatched",service="modsrv",status="Not Found"} 2`,
	})
	servicetest.Same(t, counted(t, api, `voltage_http_request_seconds_sum{method="GET",route="/api/things/:id",`), []string{`service="modsrv",status="OK"} 0.5`})
	servicetest.Same(t, counted(t, api, `voltage_http_request_seconds_count{method="GET",route="/metrics",`), []string{`service="modsrv",status="OK"} 2`})
}
