package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// watch runs Watch on the wall clock and returns the calls of ready.
func watch(t *testing.T, server *testkit.RedisServer, ready func() error) (calls <-chan struct{}) {
	t.Helper()
	client, err := rtdb.Open(rtdb.Options{URL: server.URL, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Watch(ctx, func(context.Context) error {
			called <- struct{}{}
			return ready()
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = client.Close()
	})
	return called
}

func await(t *testing.T, calls <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(20 * time.Second):
		t.Fatal("ready was not called: " + what)
	}
}

func TestWatchCallsReadyForEachLifeOfRedis(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.raw.FunctionFlush(b.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	calls := watch(t, b.server, func() error { return nil })
	if err := b.Load(b.ctx); err != nil {
		t.Fatal(err)
	}
	await(t, calls, "the library was loaded")
	b.server.Kill()
	b.server.Start()
	await(t, calls, "redis restarted with its library")
	if err := b.raw.FlushAll(b.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	await(t, calls, "redis was emptied")
	select {
	case <-calls:
		t.Error("ready was called twice for one life")
	default:
	}
}

func TestWatchCallsReadyAgainAfterItFailed(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	failures := 2
	calls := watch(t, b.server, func() error {
		if failures > 0 {
			failures--
			return errors.New("not yet")
		}
		return nil
	})
	for _, what := range []string{"first", "second", "third"} {
		await(t, calls, what)
	}
}

// A Redis that is late has lost nothing: if all services told it everything again,
// it would be later still.
func TestWatchTakesALateRedisForTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	lines := make(logLines, 10)
	client, err := rtdb.Open(rtdb.Options{URL: b.server.URL, Clock: ems.SystemClock{}, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	called, ended := make(chan struct{}, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		client.Watch(ctx, func(context.Context) error { called <- struct{}{}; return nil })
	}()
	defer func() {
		cancel()
		<-ended
		_ = client.Close()
	}()
	await(t, called, "redis is there")
	if err := b.raw.Do(b.ctx, "CLIENT", "PAUSE", 4000, "ALL").Err(); err != nil { // longer than a reply may take
		t.Fatal(err)
	}
	for _, want := range []string{"redis is not usable; trying again", "redis is usable again"} {
		select {
		case line := <-lines:
			if !strings.Contains(line, want) {
				t.Errorf("the log has %s, want %s", line, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the log lacks %q", want)
		}
	}
	if len(called) > 0 {
		t.Error("ready was called for a Redis that was only late")
	}
}

// logLines keeps the lines of a log.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestSubscribeDeliversUpdatesAlarmsAndRules(t *testing.T) {
	t.Parallel()
	b := newBench(t, "{north}:")
	ctx, cancel := context.WithCancel(b.ctx)
	events := make(chan rtdb.Event, 100)
	ended := make(chan error, 1)
	go func() { ended <- b.Subscribe(ctx, func(event rtdb.Event) { events <- event }) }()
	testkit.Eventually(t, 10*time.Second, func() error {
		if patterns := b.raw.PubSubNumPat(ctx).Val(); patterns != 3 {
			return errors.New("not subscribed yet")
		}
		return nil
	}, "the subscription")
	rule := hot()
	rule.Actions = rule.Actions[:1]
	if err := b.UpsertRule(b.ctx, rule); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	var got []rtdb.Event
	for range 3 {
		got = append(got, <-events)
	}
	expect(t, "the events", got, []rtdb.Event{
		{Kind: "rule", Data: `{"rule":"hot","from":"idle","status":"active","time":1782000000000}`},
		{Kind: "alarm", Data: `{"id":"1","from":"","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Cell temperature high","by":"rule:hot","time":1782000000000}`},
		{Kind: "update", Data: `{"channel":1001,"type":"T","time":1782000000000,"values":["1","60.000000"],"quality":{}}`},
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// warnings runs Watch against a URL and returns the first line of its log.
func warnings(t *testing.T, url string, ready func() error) string {
	t.Helper()
	lines := make(firstLine, 1)
	client, err := rtdb.Open(rtdb.Options{URL: url, Clock: ems.SystemClock{}, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Watch(ctx, func(context.Context) error { return ready() })
	}()
	defer func() {
		cancel()
		<-ended
		_ = client.Close()
	}()
	select {
	case line := <-lines:
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("Watch has logged nothing")
		return ""
	}
}

// firstLine keeps the first line that is written to it.
type firstLine chan string

func (l firstLine) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}

func TestWatchTellsARedisThatIsAwayFromASiteThatCannotBeStored(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	line := warnings(t, b.server.URL, func() error { return errors.New("rule hot: no") })
	if !strings.Contains(line, `msg="the site cannot be stored in redis; trying again" error="rule hot: no"`) {
		t.Errorf("the site: %s", line)
	}
	if err := b.raw.FunctionFlush(b.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	line = warnings(t, b.server.URL, func() error { return nil })
	if !strings.Contains(line, `msg="redis is not usable; trying again" error="redis does not hold function`) {
		t.Errorf("the library: %s", line)
	}
}

func TestWatchTellsThatRedisIsTooOld(t *testing.T) {
	t.Parallel()
	url := speaking(t, func(command []string) string {
		if strings.EqualFold(command[0], "INFO") {
			const text = "redis_version:6.2.14\r\nrun_id:1\r\n"
			return fmt.Sprintf("$%d\r\n%s", len(text), text)
		}
		return "-ERR unknown command '" + command[0] + "'"
	})
	line := warnings(t, url, func() error { return nil })
	if !strings.Contains(line, `error="redis 6.2.14 is too old: functions need redis 7 or newer"`) {
		t.Errorf("got %s", line)
	}
}
