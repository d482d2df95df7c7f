package netsrv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/netsrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// letter is the document that a receiver gets.
type letter struct {
	ID, Site string
	ems.Notification
}

// What a receiver does in place of answering.
const (
	cut  = -1 // closes the connection
	hold = -2 // takes its time, until the sender gives up
)

// receiver is a system that takes notifications.
type receiver struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// answer says how the request is answered that brings a letter for the time-th
	// time; nil is 200.
	answer func(got letter, time int) int
	times  map[string]int
	taken  []letter // that were answered with 200, in order
	header http.Header
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, times: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	var got letter
	err := json.Unmarshal(body, &got)
	if err != nil || request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/json" || request.Header.Get("Idempotency-Key") != got.ID || got.ID == "" {
		r.t.Errorf("%s with %v: %s: %v", request.Method, request.Header, body, err)
	}
	r.mu.Lock()
	r.times[got.ID]++
	r.header = request.Header
	status := http.StatusOK
	if r.answer != nil {
		status = r.answer(got, r.times[got.ID])
	}
	if status == http.StatusOK {
		r.taken = append(r.taken, got)
	}
	r.mu.Unlock()
	switch status {
	case cut:
		panic(http.ErrAbortHandler)
	case hold:
		<-request.Context().Done()
	default:
		w.WriteHeader(status)
	}
}

// set has every letter answered so from now on.
func (r *receiver) set(answer func(got letter, time int) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func always(status int) func(letter, int) int { return func(letter, int) int { return status } }

// letters are those that were taken, each once, in order. A repetition must be the
// same as the first.
func (r *receiver) letters() []letter {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, each := map[string]letter{}, []letter{}
	for _, one := range r.taken {
		if first, again := seen[one.ID]; !again {
			seen[one.ID] = one
			each = append(each, one)
		} else if difference := cmp.Diff(first, one); difference != "" {
			r.t.Errorf("%s is another the second time (-first +second):\n%s", one.ID, difference)
		}
	}
	return each
}

// names tells what letters are about: the alarm, the message or the number.
func names(letters []letter) []string {
	list := []string{}
	for _, one := range letters {
		switch one.Kind {
		case ems.NotifyRule:
			list = append(list, one.Message)
		case ems.NotifySummary:
			list = append(list, fmt.Sprintf("%d %s", one.Count, one.Reason))
		default:
			list = append(list, one.Kind+" "+one.Alarm)
		}
	}
	return list
}

// told is a site whose people are told of what happens in it.
type told struct {
	*servicetest.Fixture
	t      *testing.T
	clock  *ems.ManualClock // of netsrv, from the present on, because Redis says when something was queued
	now    *ems.ManualClock // of what happens
	plant  *rtdb.Client
	log    *logLines
	notify []config.NotifyTarget
}

// logLines keeps what the service logs, one JSON object a line.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var happening = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func newTold(t *testing.T, notify ...config.NotifyTarget) *told {
	t.Helper()
	f := &told{Fixture: servicetest.New(t, ems.SystemClock{}), t: t, clock: ems.NewManualClock(time.Now()), now: ems.NewManualClock(happening), log: &logLines{}, notify: notify}
	f.plant = f.Open(f.now)
	for i := range f.notify {
		if f.notify[i].Timeout == 0 {
			f.notify[i].Timeout = 10 * time.Second
		}
		if f.notify[i].GiveUpAfter == 0 {
			f.notify[i].GiveUpAfter = 7 * 24 * time.Hour
		}
	}
	f.settings(func(*ems.AlarmSettings) {})
	return f
}

// settings are those of the alarms: people are told of Critical ones again after
// five minutes.
func (f *told) settings(change func(*ems.AlarmSettings)) {
	f.t.Helper()
	settings := ems.DefaultAlarmSettings()
	settings.Escalation = []ems.EscalationStep{{Level: ems.Critical, After: 5 * time.Minute, Notify: "night shift"}}
	change(&settings)
	f.sound(f.plant.ConfigureAlarms(f.t.Context(), settings))
}

func (f *told) sound(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// start runs netsrv until stop is called.
func (f *told) start() (stop func()) {
	f.t.Helper()
	service, err := netsrv.New(netsrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: &config.Site{Name: "north 1", Forward: config.Forward{Notify: f.notify}},
		DB: f.DB, Clock: f.clock, Logger: slog.New(slog.NewJSONHandler(f.log, nil)), Registry: prometheus.NewRegistry(),
	})
	f.sound(err)
	stop = f.Run(service)
	f.AwaitHealth(http.StatusOK)
	return stop
}

// raise raises an alarm about each source, a second apart.
func (f *told) raise(level ems.AlarmLevel, sources ...string) {
	f.t.Helper()
	for _, source := range sources {
		f.now.Advance(time.Second)
		_, err := f.plant.StoreAlarm(f.t.Context(), ems.NewAlarm{Source: source, Level: level, Title: "about " + source})
		f.sound(err)
	}
}

// say has a rule tell people something.
func (f *told) say(message, to string) {
	f.t.Helper()
	params := map[string]any{"message": message}
	if to != "" {
		params["to"] = to
	}
	f.sound(f.plant.UpsertRule(f.t.Context(), ems.Rule{
		ID: "r", Conditions: []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(1e6)}},
		Actions: []ems.Action{{Type: ems.ActionNotify, Params: params}},
	}))
	_, err := f.plant.TriggerRule(f.t.Context(), "r", "test")
	f.sound(err)
}

func (f *told) tick() {
	f.t.Helper()
	_, _, err := f.plant.TickAlarms(f.t.Context())
	f.sound(err)
}

// queued returns what waits in both streams as the letters that are to come of it,
// those of alarms first.
func (f *told) queued() (letters []letter) {
	f.t.Helper()
	reader := f.plant.ReadNotifications("witness", []string{"witness"})
	for range 2 {
		notices, err := reader.Next(f.t.Context(), time.Millisecond)
		f.sound(err)
		for _, notice := range notices {
			letters = append(letters, letter{ID: "north%201:" + notice.ID, Site: "north 1", Notification: notice.Notification})
		}
	}
	return letters
}

// await lets the clock of netsrv run until the condition holds.
func (f *told) await(step time.Duration, condition func() error, what string) {
	f.t.Helper()
	testkit.Eventually(f.t, servicetest.Soon, func() error {
		err := condition()
		if err != nil {
			f.clock.Advance(step)
		}
		return err
	}, what)
}

// awaitNames waits until a receiver has taken letters about that, in that order.
func (f *told) awaitNames(r *receiver, want ...string) {
	f.t.Helper()
	f.await(time.Second, func() error {
		if got := names(r.letters()); !cmp.Equal(got, want) {
			return fmt.Errorf("taken are %q, not %q", got, want)
		}
		return nil
	}, "the letters")
}

// standing is the wire form of how a target stands.
type standing struct {
	Name, Target            string
	Connected               bool
	Delivered, Dead         int64
	Waiting, Lost           int64
	LastError               string `json:"last_error"`
	DeadLetters, AllDropped int64  `json:"-"` // of all targets
}

func (f *told) standings() (found []standing) {
	f.t.Helper()
	var reply struct {
		Notifications struct {
			Targets     []standing
			DeadLetters int64 `json:"dead_letters"`
			Dropped     int64
		}
	}
	if code, text := f.Ask(http.MethodGet, "/api/network/status", "", &reply); code != http.StatusOK {
		f.t.Fatal(text)
	}
	for _, one := range reply.Notifications.Targets {
		one.DeadLetters, one.AllDropped = reply.Notifications.DeadLetters, reply.Notifications.Dropped
		found = append(found, one)
	}
	return found
}

// awaitStandings lets the clock run until the targets stand as wanted.
func (f *told) awaitStandings(step time.Duration, want ...standing) {
	f.t.Helper()
	f.await(step, func() error {
		if difference := cmp.Diff(want, f.standings()); difference != "" {
			return errors.New(difference)
		}
		return nil
	}, "the targets")
}

// closed returns the URL of a port that refuses connections.
func closed(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}
