package hissrv_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/hissrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servicetest.DriverDials()) }

// epoch is the source time of the first sample of every test.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func testSite() *config.Site {
	return &config.Site{
		Name: "test",
		History: []ems.HistoryMapping{
			{ID: "battery", Source: "comsrv:1001:T", Measurement: "battery", Tags: map[string]string{"site": "north"},
				Fields: map[ems.PointID]string{1: "power", 2: "soc"}},
			{ID: "signals", Source: "comsrv:1001:S", Measurement: "battery"},
			{ID: "awkward", Source: "comsrv:1002:T", Measurement: `a "b" ${c}, d=é`, Tags: map[string]string{`t "g" ${x},=`: `v "l" ${y},=ü`},
				Fields: map[ems.PointID]string{1: `f "d" ${z},=ß`}},
		},
	}
}

type fixture struct {
	*servicetest.Fixture
	t      *testing.T
	influx config.Influx
}

// prepare makes a Redis that holds the library and the mappings of the site.
func prepare(t *testing.T, influx config.Influx) *fixture {
	t.Helper()
	f := &fixture{Fixture: servicetest.New(t, ems.SystemClock{}), t: t, influx: influx}
	for _, mapping := range testSite().History {
		if err := f.DB.ConfigureMapping(t.Context(), mapping); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// run runs the service until the test ends.
func (f *fixture) run() *fixture {
	f.t.Helper()
	return f.runOn(ems.SystemClock{})
}

func (f *fixture) runOn(clock ems.Clock) *fixture {
	f.t.Helper()
	return f.runLogging(clock, testkit.Logger(f.t))
}

func (f *fixture) runLogging(clock ems.Clock, logger *slog.Logger) *fixture {
	f.t.Helper()
	service, err := hissrv.New(hissrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort, Influx: f.influx, CollectionPeriod: 20 * time.Millisecond},
		Site:    testSite(), DB: f.DB, Clock: clock, Logger: logger, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.Run(service)
	return f
}

func settings(server *testkit.InfluxServer) config.Influx {
	return config.Influx{URL: server.URL, Token: server.Token, Org: server.Org, Bucket: server.Bucket}
}

// ingest stores good values of one type of channel, all of one time.
func (f *fixture) ingest(channel ems.ChannelID, kind ems.PointType, when time.Time, values ...float64) {
	f.t.Helper()
	batch := rtdb.Batch{Channel: channel, Type: kind, Group: ems.DefaultGroup, Time: when}
	for i, value := range values {
		batch.Samples = append(batch.Samples, rtdb.Sample{Point: ems.PointID(i + 1), Number: value})
	}
	if err := f.DB.Ingest(f.t.Context(), batch); err != nil {
		f.t.Fatal(err)
	}
}

// awaitStatus waits until the feed has written, rejected and left so many lines.
func (f *fixture) awaitStatus(want rtdb.HistoryStatus) {
	f.t.Helper()
	testkit.Eventually(f.t, servicetest.Soon, func() error { return f.stands(want) }, "the feed")
}

func (f *fixture) stands(want rtdb.HistoryStatus) error {
	f.t.Helper()
	var got rtdb.HistoryStatus
	if status, text := f.Ask(http.MethodGet, "/api/history/status", "", &got); status != http.StatusOK {
		return errors.New(text)
	}
	if got != want {
		return fmt.Errorf("status is %+v, not %+v", got, want)
	}
	return nil
}

type sample struct {
	Time  int64
	Value float64
}

type answer struct {
	Points    []sample
	Truncated bool
}

func (f *fixture) query(body string) answer {
	f.t.Helper()
	var found answer
	if status, text := f.Ask(http.MethodPost, "/api/history/query", body, &found); status != http.StatusOK {
		f.t.Fatalf("%s: %d %s", body, status, text)
	}
	return found
}

func ms(offset int) int64 { return at(offset).UnixMilli() }

func TestHistoryReturnsWhatRedisHeld(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t))).run()
	f.AwaitHealth(http.StatusOK)
	f.ingest(1001, ems.Telemetry, at(0), -12.345678, 50)
	f.ingest(1001, ems.Signal, at(5), 1)
	f.ingest(1001, ems.Telemetry, at(123), 23.9, 50.5)
	f.ingest(1001, ems.Telemetry, at(999), 1234567.000001, 51)
	f.awaitStatus(rtdb.HistoryStatus{Written: 4})

	span := `"start":"2026-03-01T12:00:00Z","stop":"2026-03-01T13:00:00+00:00"`
	power := []sample{{ms(0), -12.345678}, {ms(123), 23.9}, {ms(999), 1234567.000001}}
	servicetest.Same(t, f.query(`{"measurement":"battery","tags":{"site":"north"},"field":"power",`+span+`}`), answer{Points: power})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,`+span+`}`), answer{Points: power})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":2,`+span+`}`), answer{Points: []sample{{ms(0), 50}, {ms(123), 50.5}, {ms(999), 51}}})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"S","point":1,`+span+`}`), answer{Points: []sample{{ms(5), 1}}})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":3,`+span+`}`), answer{Points: []sample{}})
	servicetest.Same(t, f.query(`{"measurement":"nothing","field":"power",`+span+`}`), answer{Points: []sample{}})
	servicetest.Same(t, f.query(fmt.Sprintf(`{"channel":1001,"type":"T","point":1,"start":%d,"stop":%d}`, ms(1), ms(999))), answer{Points: power[1:2]})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,"limit":2,`+span+`}`), answer{Points: power[:2], Truncated: true})
	servicetest.Same(t, f.query(`{"channel":1001,"type":"T","point":1,"limit":3,`+span+`}`), answer{Points: power})

	_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
	for _, line := range []string{"voltage_hissrv_written_total 4", "voltage_hissrv_rejected_total 0", "voltage_hissrv_retries_total 0"} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in the metrics", line)
		}
	}
}

func TestWindowsAreAggregated(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t))).run()
	for i, value := range []float64{1, 2, 6, 10, 20} {
		f.ingest(1001, ems.Telemetry, at(4000*i), value) // 0, 4, 8, 12, 16 s
	}
	f.ingest(1001, ems.Telemetry, at(40_000), 7)
	f.awaitStatus(rtdb.HistoryStatus{Written: 6})
	for aggregate, want := range map[string][3]float64{
		"mean": {3, 15, 7}, "min": {1, 10, 7}, "max": {6, 20, 7}, "first": {1, 10, 7}, "last": {6, 20, 7}, "sum": {9, 30, 7}, "count": {3, 2, 1},
	} {
		got := f.query(`{"channel":1001,"type":"T","point":1,"every":"10s","aggregate":"` + aggregate + `","start":"2026-03-01T12:00:00Z","stop":"2026-03-01T12:01:00Z"}`)
		// The empty windows at 20 and 30 s are left out.
		if difference := cmp.Diff(answer{Points: []sample{{ms(0), want[0]}, {ms(10_000), want[1]}, {ms(40_000), want[2]}}}, got); difference != "" {
			t.Errorf("%s: -want +got:\n%s", aggregate, difference)
		}
	}
	got := f.query(`{"channel":1001,"type":"T","point":1,"every":"10s","start":"2026-03-01T12:00:00Z","stop":"2026-03-01T12:01:00Z","limit":1}`)
	servicetest.Same(t, got, answer{Points: []sample{{ms(0), 3}}, Truncated: true})
}

func TestAwkwardNamesComeBack(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t))).run()
	f.ingest(1002, ems.Telemetry, at(0), 1.5)
	f.awaitStatus(rtdb.HistoryStatus{Written: 1})
	span := `"start":"2026-03-01T12:00:00Z","stop":"2026-03-01T13:00:00Z"`
	servicetest.Same(t, f.query(`{"channel":1002,"type":"T","point":1,`+span+`}`), answer{Points: []sample{{ms(0), 1.5}}})
	// A name that tries to leave its quotes finds nothing.
	servicetest.Same(t, f.query(`{"measurement":"x\" or r._field != \"","field":"f",`+span+`}`), answer{Points: []sample{}})
}

func TestUnusableQueriesAreRefused(t *testing.T) {
	t.Parallel()
	f := prepare(t, settings(testkit.Influx(t))).run()
	series, span := `"measurement":"battery","field":"power",`, `"start":1000,"stop":2000`
	for body, message := range map[string]string{
		`{`:              "the body is not the JSON",
		`{"colour":1}`:   "colour",
		`{` + span + `}`: "name the series either",
		`{` + series + `"channel":1001,` + span + `}`:                                                "name the series either",
		`{"channel":1001,"type":"T",` + span + `}`:                                                   "are needed together",
		`{"channel":1001,"type":"Q","point":1,` + span + `}`:                                         "unknown point type",
		`{"measurement":"battery",` + span + `}`:                                                     "needs a field",
		`{"field":"power",` + span + `}`:                                                             "measurement",
		`{"measurement":"_m","field":"f",` + span + `}`:                                              "keeps for itself",
		`{"measurement":"m","field":"a\u0000b",` + span + `}`:                                        "control character",
		`{"measurement":"m","field":"f","tags":{"a\nb":"c"},` + span + `}`:                           "control character",
		`{` + series + `"stop":2000}`:                                                                "start and stop",
		`{` + series + `"start":2000,"stop":2000}`:                                                   "is not after start",
		`{` + series + `"start":"yesterday","stop":2000}`:                                            `time "yesterday" is not RFC 3339`,
		`{` + series + `"start":1.5,"stop":2000}`:                                                    "time 1.5 is not RFC 3339",
		`{` + series + `"start":-1,"stop":2000}`:                                                     "between the years 1970 and 2262",
		`{` + series + `"start":1000,"stop":99999999999999}`:                                         "between the years 1970 and 2262",
		`{` + series + `"limit":100001,` + span + `}`:                                                "limit 100001 is not between",
		`{` + series + `"limit":-1,` + span + `}`:                                                    "limit -1 is not between",
		`{` + series + `"aggregate":"mean",` + span + `}`:                                            `in "every"`,
		`{` + series + `"every":"10",` + span + `}`:                                                  `every "10" is not a duration`,
		`{` + series + `"every":"1us",` + span + `}`:                                                 "whole milliseconds",
		`{` + series + `"every":"-1s",` + span + `}`:                                                 "whole milliseconds",
		`{` + series + `"every":"1s","aggregate":"mean) |> x(",` + span + `}`:                        "unknown aggregate",
		`{` + series + `"every":"1ms","start":"2026-01-01T00:00:00Z","stop":"2026-01-02T00:00:00Z"}`: "86400001 windows are more than 100000",
	} {
		f.Refused(http.MethodPost, "/api/history/query", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	f.Refused(http.MethodPost, "/api/history/query?limit=5", `{}`, http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "limit"`)
	f.Refused(http.MethodPost, "/api/history/query", `{"channel":1001,"type":"A","point":1,`+span+`}`, http.StatusNotFound, ems.CodeNotFound, "comsrv:1001:A has no history")
}

func TestSeveralSeriesAreRefused(t *testing.T) {
	t.Parallel()
	influx := testkit.Influx(t)
	f := prepare(t, settings(influx)).run()
	writeLines(t, influx, fmt.Sprintf("battery,channel=1,type=T power=1 %d\nbattery,channel=2,type=T power=2 %d\nbattery,channel=2,type=T word=\"x\" %d", ms(0), ms(0), ms(0)))
	span := `"start":"2026-03-01T12:00:00Z","stop":"2026-03-01T13:00:00Z"`
	f.Refused(http.MethodPost, "/api/history/query", `{"measurement":"battery","field":"power",`+span+`}`, http.StatusBadRequest, ems.CodeInvalid, "several series match")
	f.Refused(http.MethodPost, "/api/history/query", `{"measurement":"battery","field":"word",`+span+`}`, http.StatusBadRequest, ems.CodeInvalid, "not numbers")
	servicetest.Same(t, f.query(`{"measurement":"battery","field":"power","tags":{"channel":"2"},`+span+`}`), answer{Points: []sample{{ms(0), 2}}})
}

// writeLines writes past the service.
func writeLines(t *testing.T, server *testkit.InfluxServer, lines string) {
	t.Helper()
	address := server.URL + "/api/v2/write?" + url.Values{"org": {server.Org}, "bucket": {server.Bucket}, "precision": {"ms"}}.Encode()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Token "+server.Token)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("write: %s %s", response.Status, text)
	}
}
