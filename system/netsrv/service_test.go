package netsrv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/netsrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servicetest.DriverDials()) }

type fixture struct {
	*servicetest.Fixture
	t      *testing.T
	clock  *ems.ManualClock
	target *target
}

// target is the system that events are forwarded to.
type target struct {
	*httptest.Server
	mu     sync.Mutex
	status int // of every answer
	asked  int
	taken  []string // bodies that were answered with 200
	user   string   // of the last request
}

func newTarget(t *testing.T) *target {
	made := &target{status: http.StatusOK}
	made.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		made.mu.Lock()
		defer made.mu.Unlock()
		made.asked++
		user, password, _ := r.BasicAuth()
		made.user = user + " " + password
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		if made.status == http.StatusOK {
			made.taken = append(made.taken, string(body))
		}
		if made.status == http.StatusTemporaryRedirect {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(made.status)
	}))
	t.Cleanup(made.Close)
	return made
}

func (tg *target) answer(status int) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	tg.status = status
}

func (tg *target) counts() (asked, taken int) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	return tg.asked, len(tg.taken)
}

// batches returns the number of events in each batch, and the values of all
// update events of one point, in order.
func (tg *target) batches(t *testing.T) (sizes []int, values []string) {
	t.Helper()
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for _, body := range tg.taken {
		var batch struct {
			Site   string
			Events []struct {
				Kind string
				Data struct{ Values []string }
			}
		}
		if err := json.Unmarshal([]byte(body), &batch); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(batch.Events))
		for _, event := range batch.Events {
			values = append(values, event.Data.Values[1])
		}
	}
	return sizes, values
}

// start runs the service on a Redis, a clock and a target of its own.
func start(t *testing.T, forward config.Forward) *fixture {
	t.Helper()
	return begin(t, forward, newTarget(t))
}

func begin(t *testing.T, forward config.Forward, to *target) *fixture {
	t.Helper()
	clock := ems.NewManualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	f := &fixture{Fixture: servicetest.New(t, ems.SystemClock{}), t: t, clock: clock, target: to}
	if forward.Target == "" {
		forward.Target = to.URL
	}
	service, err := netsrv.New(netsrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: &config.Site{Name: "test", Forward: forward}, DB: f.DB,
		Clock: clock, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Run(service)
	f.AwaitHealth(http.StatusOK)
	if forward.Enabled {
		f.AwaitSubscription()
	}
	return f
}

// tell publishes updates of one point whose values count from one number to
// another.
func (f *fixture) tell(from, to int) {
	f.t.Helper()
	for i := from; i <= to; i++ {
		err := f.DB.Ingest(f.t.Context(), rtdb.Batch{
			Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: time.UnixMilli(1772366400000 + int64(i)),
			Samples: []rtdb.Sample{{Point: 1, Number: float64(i)}},
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// numbers are the values that tell publishes.
func numbers(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprintf("%d.000000", i))
	}
	return list
}

// status is the wire form of the state of the link.
type status struct {
	Enabled   bool   `json:"enabled"`
	Target    string `json:"target"`
	Connected bool   `json:"connected"`
	Queued    int    `json:"queued"`
	Sent      int64  `json:"sent"`
	Dropped   int64  `json:"dropped"`
	LastError string `json:"last_error"`
}

// awaitStatus lets the clock run until the link stands as wanted.
func (f *fixture) awaitStatus(want status) {
	f.t.Helper()
	f.await(want, time.Minute) // no pause is longer
}

// awaitStill waits for what happens without the clock.
func (f *fixture) awaitStill(want status) {
	f.t.Helper()
	f.await(want, 0)
}

func (f *fixture) await(want status, step time.Duration) {
	f.t.Helper()
	want.Enabled, want.Target = true, f.target.URL
	testkit.Eventually(f.t, servicetest.Soon, func() error {
		var got status
		if code, text := f.Ask(http.MethodGet, "/api/network/status", "", &got); code != http.StatusOK {
			return errors.New(text)
		}
		if got != want {
			f.clock.Advance(step)
			return fmt.Errorf("status is %+v, not %+v", got, want)
		}
		return nil
	}, "the link")
}

func TestUpdatesAlarmsAndRulesAreForwarded(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{Enabled: true})
	limit := 20.0
	err := f.DB.UpsertRule(t.Context(), ems.Rule{
		ID: "hot", Conditions: []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(limit)}},
		Actions: []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Info", "title": "hot"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.DB.Ingest(t.Context(), rtdb.Batch{
		Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: time.UnixMilli(1772366400123),
		Samples: []rtdb.Sample{{Point: 1, Number: 23.9}, {Point: 2, Quality: ems.Bad}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.awaitStill(status{Queued: 3})
	f.awaitStatus(status{Connected: true, Sent: 3})
	servicetest.Same(t, strings.Join(f.target.taken, "\n"), `{"site":"test","events":[`+
		`{"kind":"rule","data":{"rule":"hot","from":"idle","status":"active","time":1772366400123}},`+
		`{"kind":"alarm","data":{"id":"1","from":"","state":"active_unacknowledged","level":"Info","source":"comsrv:1001:T:1","title":"hot","by":"rule:hot","time":1772366400123}},`+
		`{"kind":"update","data":{"channel":1001,"type":"T","time":1772366400123,"values":["1","23.900000"],"quality":{"2":"bad"}}}]}`)
}

func TestBatchesAreFullOrASecondOld(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{Enabled: true})
	f.tell(1, 250)
	f.awaitStill(status{Connected: true, Queued: 50, Sent: 200})
	f.awaitStatus(status{Connected: true, Sent: 250})
	sizes, values := f.target.batches(t)
	servicetest.Same(t, sizes, []int{100, 100, 50})
	servicetest.Same(t, values, numbers(1, 250))
}

func TestTargetMayGoAwayAndNothingChangesItsPlace(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{Enabled: true})
	f.target.answer(http.StatusServiceUnavailable)
	f.tell(1, 150)
	f.awaitStill(status{Queued: 50, LastError: "the target answered 503 Service Unavailable"})
	for _, code := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusTemporaryRedirect} {
		f.target.answer(code)
		// 100 are under way, 50 wait.
		f.awaitStatus(status{Queued: 50, LastError: fmt.Sprintf("the target answered %d %s", code, http.StatusText(code))})
	}
	f.target.answer(http.StatusOK)
	f.awaitStatus(status{Connected: true, Sent: 150})
	_, values := f.target.batches(t)
	servicetest.Same(t, values, numbers(1, 150))
}

func TestOldestAreDroppedWhenTheTargetStaysAway(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{Enabled: true})
	f.target.answer(http.StatusServiceUnavailable)
	f.tell(1, 100)
	f.awaitStill(status{LastError: "the target answered 503 Service Unavailable"})
	f.tell(101, 1130)
	f.awaitStill(status{Queued: 1000, Dropped: 30, LastError: "the target answered 503 Service Unavailable"})
	f.target.answer(http.StatusOK)
	f.awaitStatus(status{Connected: true, Sent: 1100, Dropped: 30})
	_, values := f.target.batches(t)
	servicetest.Same(t, values, append(numbers(1, 100), numbers(131, 1130)...))
	_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
	for _, line := range []string{`voltage_netsrv_dropped_total{reason="queue_full"} 30`, "voltage_netsrv_sent_total 1100", "voltage_netsrv_queued 0"} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in the metrics", line)
		}
	}
}

func TestRefusedBatchDoesNotStopTheNext(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{Enabled: true})
	f.target.answer(http.StatusUnprocessableEntity)
	f.tell(1, 100)
	f.awaitStill(status{Dropped: 100, LastError: "the target refused it: 422 Unprocessable Entity"})
	f.target.answer(http.StatusOK)
	f.tell(101, 200)
	f.awaitStill(status{Connected: true, Sent: 100, Dropped: 100})
	_, values := f.target.batches(t)
	servicetest.Same(t, values, numbers(101, 200))
}

func TestCredentialsAreSentAndNotShown(t *testing.T) {
	t.Parallel()
	to := newTarget(t)
	f := begin(t, config.Forward{Enabled: true, Target: strings.Replace(to.URL, "http://", "http://ann:secret@", 1) + "/in?token=hidden"}, to)
	f.tell(1, 100)
	testkit.Eventually(t, servicetest.Soon, func() error {
		if _, taken := to.counts(); taken != 1 {
			return errors.New("no batch")
		}
		return nil
	}, "a batch")
	servicetest.Same(t, to.user, "ann secret")
	to.CloseClientConnections()
	to.Close()
	f.tell(1, 100)
	testkit.Eventually(t, servicetest.Soon, func() error {
		var got status
		f.Ask(http.MethodGet, "/api/network/status", "", &got)
		if !strings.Contains(got.LastError, "connection refused") {
			return fmt.Errorf("last error is %q", got.LastError)
		}
		return nil
	}, "the outage is told")
	for _, path := range []string{"/api/network/status", "/health/detailed"} {
		_, text := f.Ask(http.MethodGet, path, "", nil)
		if !strings.Contains(text, to.URL+"/in") || strings.Contains(text, "secret") || strings.Contains(text, "hidden") || strings.Contains(text, "ann") {
			t.Errorf("%s says %s", path, text)
		}
	}
}

func TestSwitchedOffIsIdleAndHealthy(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{})
	f.tell(1, 100)
	var got status
	f.Ask(http.MethodGet, "/api/network/status", "", &got)
	servicetest.Same(t, got, status{Target: f.target.URL})
	if asked, _ := f.target.counts(); asked != 0 {
		t.Errorf("the target was asked %d times", asked)
	}
	_, text := f.Ask(http.MethodGet, "/health/detailed", "", nil)
	if !strings.Contains(text, "forwarding is switched off") {
		t.Errorf("health says %s", text)
	}
}

func TestRedisMayGoAwayAndComeBack(t *testing.T) {
	t.Parallel()
	f := start(t, config.Forward{Enabled: true})
	f.tell(1, 100)
	f.awaitStill(status{Connected: true, Sent: 100})
	f.Redis.Restart()
	f.AwaitSubscription()
	f.AwaitHealth(http.StatusOK)
	f.tell(101, 200)
	f.awaitStill(status{Connected: true, Sent: 200})
	_, values := f.target.batches(t)
	servicetest.Same(t, values, numbers(1, 200))
}
