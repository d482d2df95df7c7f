package hissrv_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

const wholeSpan = `"start":"2026-03-01T12:00:00Z","stop":"2026-03-01T13:00:00Z"`

// dead returns line and reason of every dead letter.
func (f *fixture) dead() [][2]string {
	f.t.Helper()
	entries, err := f.Raw.XRange(f.t.Context(), "hissrv:dead", "-", "+").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	letters := [][2]string{}
	for _, entry := range entries {
		letters = append(letters, [2]string{fmt.Sprint(entry.Values["line"]), fmt.Sprint(entry.Values["reason"])})
	}
	return letters
}

func TestPoisonLinesAreFoundAndTheOthersWritten(t *testing.T) {
	t.Parallel()
	influx := testkit.Influx(t)
	f := prepare(t, settings(influx))
	// A field keeps the type of its first write: numbers for it are refused.
	writeLines(t, influx, fmt.Sprintf("battery,channel=1001,type=S p1=\"text\" %d", ms(0)))
	var want []sample
	for i := range 50 {
		f.ingest(1001, ems.Telemetry, at(i), float64(i)/8)
		want = append(want, sample{ms(i), float64(i) / 8})
		if i == 0 || i == 17 || i == 18 || i == 49 {
			f.ingest(1001, ems.Signal, at(i), 1)
		}
	}
	f.run()
	f.awaitStatus(rtdb.HistoryStatus{Written: 50, Dead: 4})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,`+wholeSpan+`}`), answer{Points: want})
	letters := f.dead()
	lines := []string{}
	for _, letter := range letters {
		lines = append(lines, letter[0])
		if !strings.Contains(letter[1], "InfluxDB refused a write: ") || !strings.Contains(letter[1], "field type conflict") {
			t.Errorf("the reason of a dead letter is %q", letter[1])
		}
	}
	slices.Sort(lines)
	wantLines := []string{}
	for _, i := range []int{0, 17, 18, 49} {
		wantLines = append(wantLines, fmt.Sprintf("battery,channel=1001,type=S p1=1.000000 %d", ms(i)))
	}
	servicetest.Same(t, lines, wantLines)
	if _, text := f.Ask(http.MethodGet, "/metrics", "", nil); !strings.Contains(text, "voltage_hissrv_rejected_total 4\n") {
		t.Error("the rejected lines are not counted")
	}
	f.AwaitHealth(http.StatusOK)
}

func TestInfluxMayGoAwayAndComeBack(t *testing.T) {
	t.Parallel()
	influx := testkit.InfluxAlone(t)
	f := prepare(t, settings(influx)).run()
	var want []sample
	feed := func(from, to int) {
		for i := from; i < to; i++ {
			f.ingest(1001, ems.Telemetry, at(i), float64(i))
			want = append(want, sample{ms(i), float64(i)})
		}
	}
	feed(0, 10)
	f.awaitStatus(rtdb.HistoryStatus{Written: 10})
	f.AwaitHealth(http.StatusOK)
	influx.Kill()
	feed(10, 30)
	testkit.Eventually(t, servicetest.Soon, func() error {
		if _, text := f.Ask(http.MethodGet, "/metrics", "", nil); strings.Contains(text, "voltage_hissrv_retries_total 0\n") {
			return fmt.Errorf("nothing was tried again")
		}
		return nil
	}, "the feed meets the outage")
	f.AwaitHealth(http.StatusServiceUnavailable)
	f.awaitStatus(rtdb.HistoryStatus{Waiting: 20, Written: 10})
	f.Refused(http.MethodPost, "/api/history/query", `{"channel":1001,"type":"T","point":1,`+wholeSpan+`}`,
		http.StatusServiceUnavailable, ems.CodeUnavailable, "did not answer a query")
	influx.Start()
	f.awaitStatus(rtdb.HistoryStatus{Written: 30})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,`+wholeSpan+`}`), answer{Points: want})
	f.AwaitHealth(http.StatusOK)
}

func TestWhatWasTakenAndNotFinishedComesFirst(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t)))
	var want []sample
	for i := range 1250 {
		f.ingest(1001, ems.Telemetry, at(i), float64(i))
		want = append(want, sample{ms(i), float64(i)})
	}
	taken, err := f.DB.CollectLines(t.Context(), "hissrv", false, 50)
	if err != nil || len(taken) != 50 {
		t.Fatalf("%d lines, %v", len(taken), err)
	}
	f.run()
	f.awaitStatus(rtdb.HistoryStatus{Written: 1250})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,`+wholeSpan+`}`), answer{Points: want})
}

func TestRedisMayGoAwayAndComeBackEmpty(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t))).run()
	f.ingest(1001, ems.Telemetry, at(0), 1)
	f.awaitStatus(rtdb.HistoryStatus{Written: 1})
	f.Empty()
	f.Redis.Stop()
	f.AwaitHealth(http.StatusServiceUnavailable)
	f.Redis.Start()
	f.Load()
	testkit.Eventually(t, servicetest.Soon, func() error {
		return f.Raw.HGet(t.Context(), "hissrv:sources", "comsrv:1002:T").Err() // the last of the site
	}, "the mappings of the site")
	f.AwaitHealth(http.StatusOK)
	f.ingest(1001, ems.Telemetry, at(1), 2)
	f.awaitStatus(rtdb.HistoryStatus{Written: 1}) // the counter began anew
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,`+wholeSpan+`}`), answer{Points: []sample{{ms(0), 1}, {ms(1), 2}}})
}

// TestOnly204IsSuccess puts a proxy before InfluxDB that answers writes itself.
func TestOnly204IsSuccess(t *testing.T) {
	t.Parallel()
	influx := testkit.Influx(t)
	target, err := url.Parse(influx.URL)
	if err != nil {
		t.Fatal(err)
	}
	var status, asked atomic.Int64
	pass := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := status.Load(); code != 0 && strings.HasSuffix(r.URL.Path, "/write") {
			asked.Add(1)
			w.WriteHeader(int(code))
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	reached := settings(influx)
	reached.URL = proxy.URL
	status.Store(http.StatusOK)
	f := prepare(t, reached)
	f.ingest(1001, ems.Telemetry, at(0), 23.9)
	clock := ems.NewManualClock(epoch)
	f.runOn(clock)
	for _, next := range []int64{http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusUnauthorized, http.StatusNotFound} {
		status.Store(next)
		before := asked.Load()
		// The second answer after the change is surely one of the new kind.
		testkit.Eventually(t, servicetest.Soon, func() error {
			clock.Advance(time.Minute) // no pause is longer
			if asked.Load() < before+2 {
				return fmt.Errorf("%d writes", asked.Load()-before)
			}
			return nil
		}, fmt.Sprintf("writes answered with %d", next))
		f.awaitStatus(rtdb.HistoryStatus{Waiting: 1})
	}
	status.Store(0)
	testkit.Eventually(t, servicetest.Soon, func() error {
		clock.Advance(time.Minute) // the pause may begin only after one of these
		return f.stands(rtdb.HistoryStatus{Written: 1})
	}, "the write that succeeds")
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,`+wholeSpan+`}`), answer{Points: []sample{{ms(0), 23.9}}})
}

func TestWrongCredentialsAreToldAndNothingIsLost(t *testing.T) {
	t.Parallel()
	influx := testkit.Influx(t)
	wrong := settings(influx)
	wrong.Token = "voltage:wrong"
	f := prepare(t, wrong).run()
	f.ingest(1001, ems.Telemetry, at(0), 23.9)
	testkit.Eventually(t, servicetest.Soon, func() error {
		_, text := f.Ask(http.MethodGet, "/health/detailed", "", nil)
		if !strings.Contains(text, "refused the credentials for a write: check influx.token") {
			return fmt.Errorf("health says %s", text)
		}
		return nil
	}, "the health names the credentials")
	f.awaitStatus(rtdb.HistoryStatus{Waiting: 1})
}

func TestWrongBucketIsTold(t *testing.T) {
	t.Parallel()
	wrong := settings(testkit.Influx(t))
	wrong.Bucket = "nothing/autogen"
	f := prepare(t, wrong).run()
	f.ingest(1001, ems.Telemetry, at(0), 23.9)
	testkit.Eventually(t, servicetest.Soon, func() error {
		_, text := f.Ask(http.MethodGet, "/health/detailed", "", nil)
		if !strings.Contains(text, "has no bucket nothing/autogen") {
			return fmt.Errorf("health says %s", text)
		}
		return nil
	}, "the health names the bucket")
	f.awaitStatus(rtdb.HistoryStatus{Waiting: 1})
}

// log keeps what a service logs.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// losses returns the counts of the warnings that samples were lost.
func (l *log) losses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var counts []string
	for _, found := range regexp.MustCompile(`level=WARN msg="history has lost samples:[^"]*" dropped=(\d+)`).FindAllStringSubmatch(l.text.String(), -1) {
		counts = append(counts, found[1])
	}
	return counts
}

// Redis counts what it drops. The service shows the count, and says so once when
// it begins to grow, not each time it looks.
func TestLostSamplesAreCountedAndTold(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t)))
	clock, kept := ems.NewManualClock(epoch), &log{}
	count := func(dropped int, dead ...string) {
		t.Helper()
		if err := f.Raw.HSet(t.Context(), "hissrv:counters", "dropped", dropped).Err(); err != nil {
			t.Fatal(err)
		}
		for _, line := range dead {
			if err := f.Raw.XAdd(t.Context(), &redis.XAddArgs{Stream: "hissrv:dead", Values: []string{"line", line}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	shows := func(dropped, dead int, losses ...string) {
		t.Helper()
		clock.AwaitTimers(2) // of the feed and of the one who looks
		clock.Advance(5 * time.Second)
		clock.AwaitTimers(2)
		_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
		for _, want := range []string{fmt.Sprintf("\nvoltage_hissrv_dropped %d\n", dropped), fmt.Sprintf("\nvoltage_hissrv_dead_letters %d\n", dead)} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in the metrics", want)
			}
		}
		servicetest.Same(t, kept.losses(), losses)
	}
	f.runLogging(clock, slog.New(slog.NewTextHandler(kept, nil)))
	shows(0, 0)
	count(3, "a", "b")
	shows(3, 2, "3")
	count(5)
	shows(5, 2, "3") // it goes on
	shows(5, 2, "3")
	count(6, "c")
	shows(6, 3, "3", "6")
	count(0) // Redis began anew
	shows(0, 3, "3", "6")
	count(1)
	shows(1, 3, "3", "6", "1")
}
