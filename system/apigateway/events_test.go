package apigateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// stream is one client of the event stream.
type stream struct {
	t     *testing.T
	lines *bufio.Reader
	close func()
}

// listen opens the event stream and reads its first lines.
func (f *fixture) listen() *stream {
	f.t.Helper()
	return f.listenOver(http.DefaultTransport)
}

// narrow is a way on which little is under way: what its client does not read soon
// waits at the server, and not in tens of megabytes of the kernel.
func narrow() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return connection, connection.(*net.TCPConn).SetReadBuffer(512 << 10)
	}}
}

func (f *fixture) listenOver(way http.RoundTripper) *stream {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*servicetest.Soon)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+"/api/events", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	request.Close = true
	response, err := way.RoundTrip(request)
	if err != nil {
		cancel()
		f.t.Fatal(err)
	}
	s := &stream{t: f.t, lines: bufio.NewReader(response.Body), close: func() { cancel(); _ = response.Body.Close() }}
	f.t.Cleanup(s.close)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatalf("%s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	servicetest.Same(f.t, s.next(), "retry: 2000\n")
	return s
}

// next returns one event, or comment, as it comes over the wire.
func (s *stream) next() string {
	s.t.Helper()
	var block strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		if line == "\n" {
			return block.String()
		}
		block.WriteString(line)
	}
}

func TestEventsComeAsTheLibraryToldThem(t *testing.T) {
	t.Parallel()
	f := start(t)
	first, second := f.listen(), f.listen()
	limit := 20.0
	err := f.DB.UpsertRule(t.Context(), ems.Rule{
		ID: "hot", Conditions: []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(limit)}},
		Actions: []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Info", "title": "a <title> \"quoted\""}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.DB.Ingest(t.Context(), rtdb.Batch{
		Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: time.UnixMilli(1772366400123),
		Samples: []rtdb.Sample{{Point: 1, Number: 23.9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*stream{first, second} {
		servicetest.Same(t, s.next(), "event: rule\ndata: "+`{"rule":"hot","from":"idle","status":"active","time":1772366400123}`+"\n")
		servicetest.Same(t, s.next(), "event: alarm\ndata: "+
			`{"id":"1","from":"","state":"active_unacknowledged","level":"Info","source":"comsrv:1001:T:1","title":"a <title> \"quoted\"","by":"rule:hot","time":1772366400123}`+"\n")
		servicetest.Same(t, s.next(), "event: update\ndata: "+`{"channel":1001,"type":"T","time":1772366400123,"values":["1","23.900000"],"quality":{}}`+"\n")
	}
}

func TestQuietStreamIsKeptOpen(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := f.listen()
	for range 3 {
		f.clock.AwaitTimers(1)
		f.clock.Advance(15 * time.Second)
		servicetest.Same(t, s.next(), ": still here\n")
	}
}

func TestStreamEndsWithTheService(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := f.listen()
	ended := make(chan struct{})
	go func() { f.stop(); close(ended) }()
	if rest, err := io.ReadAll(s.lines); err != nil || len(rest) > 0 {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	select {
	case <-ended:
	case <-time.After(3 * time.Second): // running requests would be cut after five
		t.Error("the open stream holds up the end of the service")
	}
}

func TestClientsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t)
	streams := make([]*stream, 100)
	for i := range streams {
		streams[i] = f.listen()
	}
	f.Refused(http.MethodGet, "/api/events", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "100 clients listen")
	streams[7].close()
	testkit.Eventually(t, servicetest.Soon, func() error {
		if got := f.metric("voltage_apigateway_event_clients"); got != "99" {
			return fmt.Errorf("%s clients", got)
		}
		return nil
	}, "the one that left is not counted")
	f.listen()
}

// metric returns the value of a metric without labels.
func (f *fixture) metric(name string) string {
	f.t.Helper()
	_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
	_, value, _ := strings.Cut(text, "\n"+name+" ")
	value, _, _ = strings.Cut(value, "\n")
	return value
}

func TestSlowClientLosesEventsAndIsTold(t *testing.T) {
	t.Parallel()
	f := start(t)
	slow, fast := f.listenOver(narrow()), f.listen()
	padding := strings.Repeat("x", 32<<10)
	payload := func(number int) string { return fmt.Sprintf(`{"number":%d,"padding":"`, number) + padding + `"}` }
	told := 0
	for f.metric("voltage_apigateway_events_dropped_total") == "0" {
		if told == 2000 {
			t.Fatal("nothing is ever dropped")
		}
		for range 50 { // the client that reads takes them as they come
			told++
			if err := f.Raw.Publish(t.Context(), "comsrv:updates:1001", payload(told)).Err(); err != nil {
				t.Fatal(err)
			}
			if got := fast.next(); got != "event: update\ndata: "+payload(told)+"\n" {
				t.Fatalf("event %d is %.60s…", told, got)
			}
		}
	}
	received, dropped, last := 0, 0, 0
	for received+dropped < told {
		kind, data, _ := strings.Cut(slow.next(), "\ndata: ")
		var content struct{ Number, Count int }
		if err := json.Unmarshal([]byte(data), &content); err != nil {
			t.Fatal(err)
		}
		switch kind {
		case "event: update":
			if content.Number <= last {
				t.Fatalf("event %d comes after %d", content.Number, last)
			}
			received, last = received+1, content.Number
		case "event: dropped":
			dropped += content.Count
		default:
			t.Fatalf("unknown %s", kind)
		}
	}
	servicetest.Same(t, fmt.Sprint(dropped), f.metric("voltage_apigateway_events_dropped_total"))
	if received+dropped != told {
		t.Errorf("%d received and %d dropped are not the %d told", received, dropped, told)
	}
}

func TestEventsGoOnAfterRedisCameBack(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := f.listen()
	f.Redis.Stop()
	f.AwaitHealth(http.StatusServiceUnavailable)
	f.Redis.Start()
	f.AwaitHealth(http.StatusOK)
	f.AwaitSubscription()
	if err := f.Raw.Publish(t.Context(), "rulesrv:triggered", `{"rule":"hot"}`).Err(); err != nil {
		t.Fatal(err)
	}
	servicetest.Same(t, s.next(), "event: rule\ndata: {\"rule\":\"hot\"}\n")
}
