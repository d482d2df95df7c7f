package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/ems"
)

// program builds voltage once for all tests of the package.
var program = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // built once, removed by TestMain
	dir, err := os.MkdirTemp("", "voltage-program-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "voltage")
	build := exec.Command("go", "build", "-o", path, "github.com/voltageems/voltageems-go/system/cmd/voltage")
	if output, err := build.CombinedOutput(); err != nil {
		return path, fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == BareCommand { // this program stands for voltlab
		if err := runBare(os.Args[2], os.Args[3:]); err != nil {
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/tbrandon/mbserver.(*Server).handler"), goleak.Cleanup(func(code int) {
		if path, _ := program(); path != "" {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		os.Exit(code)
	}))
}

func runBare(registers string, addresses []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	count, err := strconv.Atoi(registers)
	if err != nil {
		return err
	}
	return ReadBare(ctx, addresses, count)
}

// voltage returns the path of the program.
func voltage(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// progress collects what a run says.
type progress struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func options(said *progress) Options {
	return Options{
		Duration: 100 * time.Millisecond, WarmUp: 5 * time.Millisecond, Metrics: "127.0.0.1:0",
		Registry: prometheus.NewRegistry(), Clock: ems.SystemClock{}, Progress: said,
		sizes: few(), Voltage: os.Args[0], Voltlab: os.Args[0], Plants: "../scenarios", // a program, and not the former
	}
}

// few are sizes that are stored in no time.
func few() sizes {
	return sizes{
		looseChannels: 12, alarms: 1500, acquired: 6400, cycled: 4, thousand: 20, isolated: 15,
		cycle: 50 * time.Millisecond, second: 200 * time.Millisecond, span: 400 * time.Millisecond,
	}
}

// own starts a Redis like that of a bench.
func own(t *testing.T) *server {
	t.Helper()
	server, err := openServer(t.Context(), ems.SystemClock{}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server
}

func (s *server) url() string { return "redis://" + s.raw.Options().Addr }

func TestEveryCaseRunsAndIsReported(t *testing.T) {
	t.Parallel()
	for rate, names := range map[float64][]string{0: Cases(), 400: Cases()[:14]} {
		said := &progress{}
		options := options(said)
		options.Rate, options.Cases, options.Voltage = rate, names, voltage(t)
		for _, text := range []string{"ping p99<1h", "rule_evaluate p99<1ns", "poll_100_changed_10 points/native_hset_100_pipelined>=1000000"} {
			threshold, err := ParseThreshold(text)
			if err != nil {
				t.Fatal(err)
			}
			options.Thresholds = append(options.Thresholds, threshold)
		}
		report, err := Run(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		checkReport(t, report, rate, names)
		lines := []string{"20 cases: 5ms of each to warm up, then 10 rounds of 10ms of each\n", "\n2 cases: 5ms", "\na flood of 1200 alarms\n",
			"\nasking simulated devices over 16 connections\nasking simulated devices over 64 connections\n" +
				"reading 16 devices as fast as they answer\nreading 64 devices as fast as they answer\npolling 4 devices every 50ms\n" +
				"polling 20 devices every 200ms\npolling 15 devices every 200ms, and then with a fifth of them in trouble\n"}
		if rate > 0 {
			lines = []string{"14 cases: 5ms"}
		}
		for _, line := range append(lines, "\nround 1 of 10\n", "\nround 10 of 10\n") {
			if !strings.Contains(said.String(), line) {
				t.Errorf("no progress %q in:\n%s", line, said)
			}
		}
		var crossed *CrossedError
		if !errors.As(report.Err(), &crossed) || crossed.ExitCode() != 2 || len(crossed.Crossed) != 2 ||
			!strings.HasPrefix(crossed.Error(), "thresholds crossed: rule_evaluate p99<1ns (") {
			t.Errorf("the run ends with %v", report.Err())
		}
		var text bytes.Buffer
		if err := report.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"\n  pass  ping p99<3600s ", "\n  FAIL  rule_evaluate p99<1ns ", "\n  FAIL  poll_100_changed_10 points/native", "the reference machine: a native HSET"} {
			if !strings.Contains(text.String(), line) {
				t.Errorf("no %q in:\n%s", line, text.String())
			}
		}
	}
}

func checkReport(t *testing.T, report *Report, rate float64, cases []string) {
	t.Helper()
	var names []string
	for _, result := range report.Results {
		names = append(names, result.Case)
		want := 10
		switch result.Case {
		case floodCase, thousandCase:
			want = 1
		case native16Case, acquire16Case, native64Case, acquire64Case:
			want = 2
		case cycleCase:
			want = 3
		case calmCase, isolationCase:
			want = 7
		}
		if len(result.Rounds) != want {
			t.Errorf("%s has %d rounds", result.Case, len(result.Rounds))
		}
		var calls int64
		for _, round := range result.Rounds {
			calls += round.Calls
			rising := []time.Duration{1, round.P50, round.P99, result.Max}
			if !slices.IsSorted(rising) || round.Calls < 1 || round.PerS <= 0 {
				t.Errorf("rate %v: %s has a round that cannot be: %+v of %v", rate, result.Case, round, result.Max)
			}
		}
		if calls != result.Calls || result.P999 > result.Max || result.P999 < 1 {
			t.Errorf("rate %v: a result that cannot be: %+v", rate, result)
		}
		if rate > 0 && result.Connections == 1 && !result.API && result.Calls+result.Missed != 40 {
			t.Errorf("%d calls and %d missed where 40 were due: %s", result.Calls, result.Missed, result.Case)
		}
		if (strings.HasPrefix(result.Case, "poll_") || result.Polls) != (result.value(metricPoints) > 0) && result.Case != "native_hset_100_pipelined" {
			t.Errorf("%s: %v points/s", result.Case, result.value(metricPoints))
		}
		// The server's part is less than the whole, and no call of a function is free.
		server := result.value(metricServer)
		if strings.Contains(result.Case, "ingest_") && (server <= 0 || server > float64(result.Max)) {
			t.Errorf("%s: %v of %v were spent in the server", result.Case, server, result.Max)
		}
	}
	if !slices.Equal(names, cases) {
		t.Errorf("results of %v, want %v", names, cases)
	}
	poll := report.Results[slices.Index(names, "poll_1000_changed_100")]
	if first := poll.Rounds[0]; first.Points != 1000*first.PerS || poll.Connections != 8 {
		t.Errorf("%v calls/s of 1000 points are %v points/s over %d connections", first.PerS, first.Points, poll.Connections)
	}
}

// The run is made to last, scraped, and interrupted: it ends with a plain
// message, its metrics gone and its keys too.
func TestTheHistogramIsThereWhileItRunsAndAnInterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	shared := own(t)
	if err := shared.removeKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := &progress{}
	options := options(said)
	options.RedisURL, options.Duration, options.Cases = shared.url(), time.Hour, []string{pingCase}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, options)
		ended <- err
	}()
	address := awaitCount(t, said, pingCase)
	cancel()
	err := <-ended
	if ems.CodeOf(err) != ems.CodeUnavailable || !errors.Is(err, context.Canceled) ||
		err.Error() != "interrupted in round 1, case ping: nothing was judged: context canceled" {
		t.Errorf("the run ended with %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the metrics are still served")
	}
	if left, err := shared.keys(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("keys %v are left, %v", left, err)
	}
}

// awaitCount scrapes until the histogram of a case has counted, and returns the
// address.
func awaitCount(t *testing.T, said *progress, name string) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	counted := regexp.MustCompile(`(?m)^voltage_bench_call_seconds_count\{case="` + name + `"\} ([0-9.e+]+)$`)
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		found := regexp.MustCompile(`(?m)^metrics: http://(\S+)/metrics$`).FindStringSubmatch(said.String())
		if found != nil {
			body := scrape(t, client, "http://"+found[1]+"/metrics")
			if count := counted.FindStringSubmatch(body); count != nil && count[1] != "0" {
				for _, bucket := range []string{`le="1e-05"`, `le="1.25e-05"`, `le="0.000315"`, `le="0.001"`, `le="0.0063"`, `le="0.1"`, `le="+Inf"`} {
					if !strings.Contains(body, bucket) {
						t.Errorf("no bucket %s in:\n%s", bucket, body)
					}
				}
				return found[1]
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("no calls of %s were counted; the run said:\n%s", name, said)
	return ""
}

func scrape(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	reply, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, reply.Status, err)
	}
	return string(body)
}

func TestAGivenRedisKeepsWhatIsNotOfTheBench(t *testing.T) {
	t.Parallel()
	shared := own(t)
	ctx := t.Context()
	if err := errors.Join(shared.removeKeys(ctx), shared.raw.Set(ctx, "comsrv:1:T", "of the plant", 0).Err()); err != nil {
		t.Fatal(err)
	}
	options := options(&progress{})
	options.RedisURL, options.Voltage = shared.url(), voltage(t)
	// For what each case stores; one of acquisition stands for all of them.
	options.Cases = slices.DeleteFunc(Cases(), func(name string) bool { return slices.Contains(acquisitionCases(), name) && name != cycleCase })
	if _, err := Run(ctx, options); err != nil {
		t.Fatal(err)
	}
	options.Cases = []string{pingCase}
	if kept, err := shared.raw.Keys(ctx, "*").Result(); err != nil || !slices.Equal(kept, []string{"comsrv:1:T"}) {
		t.Errorf("redis holds %v, %v", kept, err)
	}

	// What an interrupted run left is taken away; a site of that name is not.
	if err := shared.claim(ctx, shared.site); err != nil {
		t.Fatal(err)
	}
	if err := shared.raw.Set(ctx, "{bench}:left", "over", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(ctx, options); err == nil {
		t.Fatal("one registry took the same metric twice")
	}
	options.Registry = prometheus.NewRegistry()
	if _, err := Run(ctx, options); err != nil {
		t.Fatal(err)
	}
	if err := shared.raw.Set(ctx, "{bench}:comsrv:7:T", "of a site named bench", 0).Err(); err != nil {
		t.Fatal(err)
	}
	options.Registry = prometheus.NewRegistry()
	_, err := Run(ctx, options)
	if ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), "{bench}:comsrv:7:T") {
		t.Errorf("keys of a site named bench: %v", err)
	}
	if shared.raw.Exists(ctx, "{bench}:comsrv:7:T").Val() != 1 {
		t.Error("a key of a site named bench was deleted")
	}
}

func TestAGivenRedisGetsTheLibraryOnlyIfItHasNone(t *testing.T) {
	t.Parallel()
	shared := own(t)
	ctx := t.Context()
	if err := errors.Join(shared.removeKeys(ctx), shared.raw.FunctionFlush(ctx).Err()); err != nil {
		t.Fatal(err)
	}
	options := options(&progress{})
	options.Cases = []string{"reverse_lookup"}
	options.RedisURL = shared.url()
	report, err := Run(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	if want := ":" + shared.db.Library().Hash; !strings.HasPrefix(report.Library, "library ") || !strings.HasSuffix(report.Library, want) {
		t.Errorf("measured %s, want that of %s", report.Library, want)
	}
	const newer = "#!lua name=voltage\nredis.register_function{function_name='voltage_version', callback=function() return '9.0:x' end, flags={'no-writes'}}\n"
	if err := shared.raw.FunctionLoadReplace(ctx, newer).Err(); err != nil {
		t.Fatal(err)
	}
	options.Registry = prometheus.NewRegistry()
	if _, err := Run(ctx, options); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "library version 9.0") {
		t.Errorf("with another library: %v", err)
	}
	if kept := shared.raw.FCall(ctx, "voltage_version", []string{"any"}).Val(); kept != "9.0:x" {
		t.Errorf("the library of others was replaced by %v", kept)
	}
}

func TestWhatCannotRunSaysWhy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, test := range map[string]struct {
		change func(*Options)
		code   ems.Code
		says   string
	}{
		"short":     {func(o *Options) { o.Duration = time.Millisecond }, ems.CodeInvalid, "duration 1ms is not between 10ms and 1h0m0s"},
		"warm-up":   {func(o *Options) { o.WarmUp = -1 }, ems.CodeInvalid, "warm-up -1ns is not between 0 and 1h0m0s"},
		"rate":      {func(o *Options) { o.Rate = 0.5 }, ems.CodeInvalid, "rate 0.5 is not between 1 and 1000000 calls/s"},
		"few calls": {func(o *Options) { o.Rate = 99 }, ems.CodeInvalid, "no call is due within the 10ms of a round at 99 calls/s: measure longer or faster"},
		"metrics":   {func(o *Options) { o.Metrics = taken.Addr().String() }, ems.CodeUnavailable, "metrics cannot be served on " + taken.Addr().String()},
		"case":      {func(o *Options) { o.Cases = []string{"ping", "pong"} }, ems.CodeInvalid, `no case "pong": use one of ping, native_hset_100, `},
		"voltage":   {func(o *Options) { o.Voltage = "/no/voltage" }, ems.CodeNotFound, "no program voltage: stat /no/voltage: no such file or directory; run make build"},
		"redis":     {func(o *Options) { o.RedisURL = "redis://127.0.0.1:1" }, ems.CodeUnavailable, "redis did not answer"},
		"address":   {func(o *Options) { o.RedisURL = "127.0.0.1:6379" }, ems.CodeInvalid, "write redis://"},
	} {
		options := options(&progress{})
		test.change(&options)
		report, err := Run(t.Context(), options)
		if report != nil || ems.CodeOf(err) != test.code || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is left of the default thresholds are those of the cases that run.
func TestSomeCasesRunAlone(t *testing.T) {
	t.Parallel()
	said := &progress{}
	options := options(said)
	options.Cases, options.Voltage = []string{"native_hmget_50", "model_read_50", "comsrv_ingest_10", "reverse_lookup"}, "/not/needed"
	report, err := Run(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	var ran, judged []string
	for _, result := range report.Results {
		ran = append(ran, result.Case)
	}
	for _, verdict := range report.Verdicts {
		judged = append(judged, verdict.Threshold.String())
		if !verdict.Measured {
			t.Errorf("%s was not measured", verdict.Threshold)
		}
	}
	if want := []string{"comsrv_ingest_10", "native_hmget_50", "model_read_50", "reverse_lookup"}; !slices.Equal(ran, want) || !strings.Contains(said.String(), "\n4 cases: ") {
		t.Errorf("%v ran, want %v; the run said\n%s", ran, want, said)
	}
	if want := []string{
		"comsrv_ingest_10 server<=100us", "model_read_50 server/native_hmget_50<=15", "goal comsrv_ingest_10 server<=35us",
		"goal model_read_50 server/native_hmget_50<=3",
	}; !slices.Equal(judged, want) {
		t.Errorf("judged by %q, want %q", judged, want)
	}
}

func TestRoundsAreTenOrAsManyAsTheSlowLogCanHold(t *testing.T) {
	for duration, want := range map[time.Duration]struct {
		count int
		slice time.Duration
	}{
		5 * time.Second: {10, 500 * time.Millisecond}, 100 * time.Second: {10, 10 * time.Second}, 101 * time.Second: {11, 101 * time.Second / 11}, time.Hour: {360, 10 * time.Second},
	} {
		if count, slice := (&Options{Duration: duration}).rounds(); count != want.count || slice != want.slice {
			t.Errorf("%v: %d rounds of %v", duration, count, slice)
		}
	}
}
