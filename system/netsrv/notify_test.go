package netsrv_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/netsrv"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// of returns the letters that came through the stream of a service.
func of(service string, letters []letter) []letter {
	return slices.DeleteFunc(slices.Clone(letters), func(one letter) bool { return !strings.HasPrefix(one.ID, "north%201:"+service+":") })
}

// produce has two alarms, an escalation, a flood with its summaries and what rules
// say happen.
func (f *told) produce() {
	f.t.Helper()
	f.raise(ems.Critical, "pump")
	f.say("first", "")
	f.raise(ems.Info, "valve")
	f.now.Advance(5 * time.Minute)
	f.tick() // the pump
	f.now.Advance(11 * time.Minute)
	for i := range 15 {
		f.raise(ems.Minor, fmt.Sprintf("inverter-%d", i))
	}
	f.tick() // the first summary
	f.say("second", "night shift")
	for range 11 {
		f.now.Advance(time.Minute)
		f.tick()
	}
	f.say("third", "")
}

// TestWhatHappenedIsWhatPeopleAreTold, through a receiver that fails in every way
// and a netsrv that is stopped again and again.
func TestWhatHappenedIsWhatPeopleAreTold(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	f := newTold(t, config.NotifyTarget{Name: "control_room", URL: r.URL, To: []string{"night shift"}, Timeout: 300 * time.Millisecond})
	f.produce()
	want := f.queued()
	kinds := map[string]int{}
	for _, one := range want {
		kinds[one.Kind]++
	}
	servicetest.Same(t, kinds, map[string]int{ems.NotifyAlarm: 12, ems.NotifyEscalation: 1, ems.NotifySummary: 2, ems.NotifyRule: 3})
	// Every letter fails three times, each time in another way.
	failures := []int{cut, http.StatusInternalServerError, hold, http.StatusBadGateway, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusNotFound}
	seen := map[string]int{}
	r.set(func(got letter, time int) int {
		if _, known := seen[got.ID]; !known {
			seen[got.ID] = len(seen)
		}
		if time > 3 {
			return http.StatusOK
		}
		return failures[(seen[got.ID]+time)%len(failures)]
	})
	for len(r.letters()) < len(want) {
		before := len(r.letters())
		stop := f.start()
		f.await(5*time.Second, func() error {
			if after := len(r.letters()); after < min(before+4, len(want)) {
				return fmt.Errorf("%d letters of %d", after, len(want))
			}
			return nil
		}, "some letters")
		stop()
	}
	for _, service := range []string{"alarmsrv", "rulesrv"} {
		servicetest.Same(t, of(service, r.letters()), of(service, want))
	}
	servicetest.Same(t, len(r.letters()), len(want))
	// One that was taken as netsrv was stopped may come once more, before it is forgotten.
	stop := f.start()
	f.await(time.Second, func() error {
		if alarms, rules := f.Raw.XLen(t.Context(), "alarmsrv:notifications").Val(), f.Raw.XLen(t.Context(), "rulesrv:actions").Val(); alarms != 0 || rules != 0 {
			return fmt.Errorf("%d and %d are there", alarms, rules)
		}
		return nil
	}, "all are forgotten")
	stop()

	// What happens while it runs arrives too, and nothing of before comes again.
	r.set(nil)
	f.start()
	f.raise(ems.Major, "fan")
	f.say("fourth", "")
	f.await(time.Second, func() error {
		if got := names(r.letters()[len(want):]); !cmp.Equal(slices.Sorted(slices.Values(got)), []string{"alarm 18", "fourth"}) {
			return fmt.Errorf("taken are %q", got)
		}
		return nil
	}, "the new ones")
	f.awaitStandings(0, standing{Name: "control_room", Target: r.URL, Connected: true, Delivered: 2})
	for _, stream := range []string{"alarmsrv:notifications", "rulesrv:actions", "netsrv:dead"} {
		servicetest.Same(t, f.Raw.XLen(t.Context(), stream).Val(), int64(0))
	}
}

func TestATargetThatIsAwayDelaysOnlyItself(t *testing.T) {
	t.Parallel()
	here, away := newReceiver(t), newReceiver(t)
	away.set(always(http.StatusServiceUnavailable))
	f := newTold(t, config.NotifyTarget{Name: "away", URL: away.URL}, config.NotifyTarget{Name: "here", URL: here.URL})
	f.settings(func(s *ems.AlarmSettings) { s.FloodLimit = 1000 })
	f.start()
	var want []string
	for i := range 120 {
		f.raise(ems.Minor, fmt.Sprintf("pump-%d", i))
		want = append(want, fmt.Sprintf("alarm %d", i+1))
	}
	f.awaitNames(here, want...)
	f.awaitStandings(0,
		standing{Name: "away", Target: away.URL, Waiting: 120, LastError: "the target answered 503 Service Unavailable"},
		standing{Name: "here", Target: here.URL, Connected: true, Delivered: 120})
	servicetest.Same(t, f.Raw.XLen(t.Context(), "alarmsrv:notifications").Val(), int64(120))
	away.set(nil)
	f.awaitNames(away, want...)
	f.awaitStandings(0,
		standing{Name: "away", Target: away.URL, Connected: true, Delivered: 120},
		standing{Name: "here", Target: here.URL, Connected: true, Delivered: 120})
	servicetest.Same(t, names(here.letters()), want)
	servicetest.Same(t, f.Raw.XLen(t.Context(), "alarmsrv:notifications").Val(), int64(0))
}

func TestATargetGetsWhatIsMeantForIt(t *testing.T) {
	t.Parallel()
	all, severe, rules, duty := newReceiver(t), newReceiver(t), newReceiver(t), newReceiver(t)
	f := newTold(t,
		config.NotifyTarget{Name: "all", URL: all.URL},
		config.NotifyTarget{Name: "severe", URL: severe.URL, Levels: []ems.AlarmLevel{ems.Critical, ems.Major}},
		config.NotifyTarget{Name: "rules", URL: rules.URL, Kinds: []string{ems.NotifyRule, ems.NotifySummary}},
		config.NotifyTarget{Name: "duty", URL: duty.URL, Kinds: []string{ems.NotifyEscalation}, Levels: []ems.AlarmLevel{ems.Info}, To: []string{"night shift"}})
	f.raise(ems.Critical, "pump")
	f.raise(ems.Minor, "valve")
	f.say("to all", "")
	f.say("to one by name", "rules")
	f.say("to a name that is gone", "retired")
	f.now.Advance(5 * time.Minute)
	f.tick() // the pump, to the night shift
	f.now.Advance(11 * time.Minute)
	for i := range 11 {
		f.raise(ems.Minor, fmt.Sprintf("inverter-%d", i))
	}
	f.tick() // a summary of one Minor
	f.raise(ems.Major, "fan")
	f.raise(ems.Critical, "boiler")
	f.now.Advance(time.Minute)
	f.tick() // a summary of one Major and one Critical, which escalates in the flood
	for range 11 {
		f.now.Advance(time.Minute)
		f.tick()
	}
	f.start()
	alarms := []string{"alarm 1", "alarm 2"}
	for i := range 10 {
		alarms = append(alarms, fmt.Sprintf("alarm %d", i+3))
	}
	alarms = append(alarms, "1 flood", "2 flood", "0 over")
	for _, test := range []struct {
		to          *receiver
		alarms, say []string
	}{
		{all, alarms, []string{"to all", "to a name that is gone"}},
		{severe, []string{"alarm 1", "2 flood", "0 over"}, []string{"to all", "to a name that is gone"}},
		{rules, []string{"1 flood", "2 flood", "0 over"}, []string{"to all", "to one by name", "to a name that is gone"}},
		{duty, []string{"escalation 1", "0 flood"}, nil},
	} {
		f.await(time.Second, func() error {
			got := test.to.letters()
			if difference := cmp.Diff([][]string{test.alarms, test.say}, [][]string{names(of("alarmsrv", got)), names(of("rulesrv", got))}, cmpEmpty); difference != "" {
				return errors.New(difference)
			}
			return nil
		}, "the letters of "+test.to.URL)
	}
	f.await(0, func() error {
		for _, one := range f.standings() {
			if one.Waiting != 0 {
				return fmt.Errorf("%s has %d waiting", one.Name, one.Waiting)
			}
		}
		return nil
	}, "what is for others not to wait")
	if got := duty.letters()[1]; got.Escalated != "Critical 1" || got.To != "night shift" {
		t.Errorf("the summary of what has escalated is %+v", got)
	}
	if got := severe.letters(); !strings.Contains(got[1].Levels, "Major 1") && !strings.Contains(got[2].Levels, "Major 1") {
		t.Errorf("the summary for severe levels is %+v", got)
	}
}

// cmpEmpty takes no letters for no letters.
var cmpEmpty = cmp.Transformer("empty", func(list []string) []any {
	out := []any{}
	for _, one := range list {
		out = append(out, one)
	}
	return out
})

func TestWithoutTargetsEverythingIsLogged(t *testing.T) {
	t.Parallel()
	f := newTold(t)
	f.raise(ems.Critical, "pump")
	f.say("look at it", "whoever")
	f.start()
	f.awaitStandings(0, standing{Name: "log", Target: "log", Connected: true, Delivered: 2})
	for _, want := range []string{
		`"level":"WARN","msg":"notification","target":"log","notification":{"id":"north%201:alarmsrv:`,
		`,"site":"north 1","kind":"alarm","alarm":"1","level":"Critical","source":"pump","title":"about pump","occurrence":1,"time":"2026-05-04T12:00:01Z","reason":"raise"}}`,
		`,"site":"north 1","kind":"rule","to":"whoever","rule":"r","time":"2026-05-04T12:00:01Z","message":"look at it"}}`,
	} {
		if text := f.log.String(); strings.Count(text, want) != 1 {
			t.Errorf("not once %s in\n%s", want, text)
		}
	}
	_, text := f.Ask(http.MethodGet, "/health/detailed", "", nil)
	if !strings.Contains(text, "notifying log (log)") {
		t.Errorf("health says %s", text)
	}
}

func TestRedisMayStopOrLoseEverything(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	f := newTold(t, config.NotifyTarget{Name: "duty", URL: r.URL})
	f.start()
	f.raise(ems.Info, "one")
	f.awaitNames(r, "alarm 1")
	r.set(always(http.StatusServiceUnavailable))
	f.raise(ems.Info, "two", "three")
	f.awaitStandings(time.Second, standing{Name: "duty", Target: r.URL, Delivered: 1, Waiting: 2, LastError: "the target answered 503 Service Unavailable"})
	f.Redis.Restart()
	f.AwaitHealth(http.StatusOK)
	r.set(nil)
	f.awaitNames(r, "alarm 1", "alarm 2", "alarm 3")
	f.Empty()
	f.sound(f.DB.Load(t.Context()))
	f.raise(ems.Info, "four") // the first alarm of this life
	f.awaitNames(r, "alarm 1", "alarm 2", "alarm 3", "alarm 1")
	f.Redis.Stop()
	var status struct {
		Notifications struct{ Targets []map[string]any }
	}
	if code, text := f.Ask(http.MethodGet, "/api/network/status", "", &status); code != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, status.Notifications.Targets, []map[string]any{{"name": "duty", "target": r.URL, "connected": true, "delivered": 4.0, "dead": 0.0}})
	f.Redis.Start()
	f.AwaitHealth(http.StatusOK)
}

func TestWhatIsLostIsCountedAndTold(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	f := newTold(t, config.NotifyTarget{Name: "duty", URL: r.URL})
	f.settings(func(s *ems.AlarmSettings) { s.FloodLimit, s.NotificationLimit = 1000, 10 })
	r.set(always(http.StatusServiceUnavailable))
	stop := f.start()
	f.raise(ems.Info, "first")
	away := standing{Name: "duty", Target: r.URL, Waiting: 1, LastError: "the target answered 503 Service Unavailable"}
	f.awaitStandings(0, away) // it has the first
	for i := range 25 {
		f.raise(ems.Info, fmt.Sprintf("pump-%d", i))
	}
	away.Waiting, away.Lost, away.AllDropped = 11, 15, 16
	f.awaitStandings(0, away)
	f.await(5*time.Second, func() error {
		_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
		for _, line := range []string{`voltage_netsrv_notifications_lost{target="duty"} 15`, `voltage_netsrv_notifications_waiting{target="duty"} 11`} {
			if !strings.Contains(text, "\n"+line+"\n") {
				return errors.New("no line " + line)
			}
		}
		return nil
	}, "the metrics")
	stop()
	r.set(nil)
	f.start() // the first was taken and is gone
	f.awaitStandings(0, standing{Name: "duty", Target: r.URL, Connected: true, Delivered: 10, Lost: 16, AllDropped: 16})
	servicetest.Same(t, names(r.letters())[0], "alarm 17")
}

func TestSecretsAreSentAndNotShown(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	url := strings.Replace(r.URL, "http://", "http://ann:s3cret@", 1) + "/in?key=s3cret"
	f := newTold(t, config.NotifyTarget{Name: "duty", URL: url, Authorization: "Bearer s3cret"})
	f.start()
	f.raise(ems.Info, "pump")
	f.awaitNames(r, "alarm 1")
	servicetest.Same(t, r.header.Get("Authorization"), "Bearer s3cret")
	r.set(always(http.StatusUnprocessableEntity))
	f.raise(ems.Info, "fan")
	f.awaitStandings(0, standing{Name: "duty", Target: r.URL + "/in", Delivered: 1, Dead: 1, DeadLetters: 1, LastError: "the target refused it: 422 Unprocessable Entity"})
	r.CloseClientConnections()
	r.Close()
	f.raise(ems.Info, "valve")
	f.await(0, func() error {
		if got := f.standings()[0].LastError; !strings.Contains(got, "connection refused") {
			return errors.New(got)
		}
		return nil
	}, "the outage is told")
	for _, path := range []string{"/api/network/status", "/api/network/dead", "/health/detailed", "/metrics"} {
		if _, text := f.Ask(http.MethodGet, path, "", nil); strings.Contains(text, "s3cret") || strings.Contains(text, "ann") {
			t.Errorf("%s says %s", path, text)
		}
	}
	if text := f.log.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "connection refused") {
		t.Errorf("the log says %s", text)
	}
}

func TestAnUnusableTargetIsRefused(t *testing.T) {
	t.Parallel()
	f := newTold(t)
	_, err := netsrv.New(netsrv.Options{
		Service: config.Service{Listen: servicetest.AnyPort}, Site: &config.Site{Name: "x", Forward: config.Forward{Notify: []config.NotifyTarget{{Name: "a", URL: "http://a\x00s3cret"}}}},
		DB: f.DB, Clock: f.clock, Logger: testkit.Logger(t), Registry: prometheus.NewRegistry(),
	})
	if ems.CodeOf(err) != ems.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}
