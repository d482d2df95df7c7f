package bench

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// listing returns a server whose alarms are listed by alarmsrv.
func listing(t *testing.T) *server {
	t.Helper()
	server := own(t)
	server.sizes, server.voltage = few(), voltage(t)
	if err := server.seedAlarms(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server
}

func TestAlarmsAreListedByTheService(t *testing.T) {
	t.Parallel()
	server := listing(t)
	ctx := t.Context()
	if err := server.seedAlarms(ctx); err != nil { // once is enough
		t.Fatal(err)
	}
	one := server.listAlarms()
	for n := range 3 {
		if err := one.call(ctx, 0, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.verify(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	listed, next, err := server.service.list(ctx, "", page)
	if err != nil || len(listed) != 100 || listed[0].ID != "1500" || listed[0].Rule != "raised_1499" || next != listed[99].ID {
		t.Errorf("%d alarms, the first is %+v, the next page begins after %s, %v", len(listed), listed[0], next, err)
	}
	if age := server.clock.Now().Sub(listed[99].RaisedAt); age < 100*time.Second || age > 10*time.Minute {
		t.Errorf("the hundredth alarm is %v old", age)
	}
	counts, err := server.large.db.AlarmCounts(ctx, time.Time{})
	if err != nil || !counts.FloodSince.IsZero() || counts.NotificationsDropped != 0 || counts.Journal != 1500 {
		t.Errorf("before anything is measured: %+v, %v", counts, err)
	}

	// Whatever the calls did not list is found.
	if err := server.raw.HSet(ctx, "{bench_large}:alarmsrv:alarm:1450", "title", "another").Err(); err != nil {
		t.Fatal(err)
	}
	expectFault(t, "another title", one.verify(ctx, 0, 2), "alarm 50 is not 1450")
	if err := server.large.db.ResolveAlarm(ctx, "7", "Ann"); err != nil {
		t.Fatal(err)
	}
	expectFault(t, "an alarm less", one.verify(ctx, 0, 2), "1499 alarms are active instead of 1500")
	server.raw.ZRemRangeByRank(ctx, "{bench_large}:alarmsrv:order:all", 0, 1400)
	expectFault(t, "too few", one.call(ctx, 0, 3), "alarmsrv listed 99 alarms instead of 100")
	_, _, err = server.service.get(ctx, "/api/alarms?limit=0")
	expectFault(t, "a refusal", err, "alarmsrv answered /api/alarms?limit=0 with 400: ")
}

func TestAValueIsFollowedUntilItsAlarmIsListed(t *testing.T) {
	t.Parallel()
	server := listing(t)
	ctx := t.Context()
	one := server.valueToAlarm()
	for n := 62; n < 66; n++ { // the rules are used in turn
		if err := one.call(ctx, 0, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.verify(ctx, 0, 65); err != nil {
		t.Fatal(err)
	}
	newest, err := server.large.db.Alarms(ctx, rtdb.AlarmFilter{Count: 5})
	var raised []string
	for _, alarm := range newest {
		raised = append(raised, alarm.Rule)
	}
	if want := []string{"loose_000_001", "loose_000_000", "loose_000_063", "loose_000_062", "raised_1499"}; err != nil || !slices.Equal(raised, want) || *newest[0].Value != 2_000_065 {
		t.Errorf("%v were raised, want %v, the last by %v, %v", raised, want, *newest[0].Value, err)
	}
	_, err = server.awaitAlarm(ctx, "loose_000_001", 1, 50*time.Millisecond)
	expectFault(t, "an alarm of another value", err, "the alarm of rule loose_000_001 for 1 was not listed within 50ms")

	// All of it goes away: the values, the alarms, what was fed to others.
	if err := one.settle(ctx); err != nil {
		t.Fatal(err)
	}
	if err := one.verify(ctx, 0, 65); err != nil {
		t.Error(err)
	}
	counts, err := server.large.db.AlarmCounts(ctx, time.Time{})
	if err != nil || counts.State(ems.ClearedUnacknowledged)+counts.State(ems.ActiveAcknowledged)+counts.State(ems.Closed) != 0 || counts.Notifications != 0 {
		t.Errorf("after clearing up: %+v, %v", counts, err)
	}
	if standing := server.raw.HLen(ctx, "{bench_large}:rulesrv:standing").Val() + server.raw.XLen(ctx, "{bench_large}:hissrv:stream").Val(); standing != 0 {
		t.Errorf("%d rules and entries of history are left", standing)
	}
	if err := one.reset(ctx); err != nil { // with nothing to clear up
		t.Error(err)
	}

	expectFault(t, "not raised", server.rest(ctx, []ems.Alarm{{ID: "3", Occurrences: 2}}), "has occurred 1 times, and 2 were seen")
}

func TestEveryAlarmOfAFloodIsTimedOnce(t *testing.T) {
	t.Parallel()
	server := listing(t)
	ctx := t.Context()
	histogram := durations()
	results, err := server.measureFlood(ctx, histogram)
	if err != nil || len(results) != 1 {
		t.Fatalf("%+v, %v", results, err)
	}
	result := results[0]
	round := result.Rounds[0]
	rising := []time.Duration{1, round.P50, round.P99, result.P999, result.Max, floodWithin}
	if result.Case != floodCase || !result.API || result.Calls != 1200 || round.Calls != 1200 || len(result.Rounds) != 1 || !slices.IsSorted(rising) {
		t.Errorf("%+v", result)
	}
	// The last channel is due after 550 ms.
	if round.PerS <= 0 || round.PerS > 1200/0.55 {
		t.Errorf("%v alarms/s", round.PerS)
	}
	counts, err := server.large.db.AlarmCounts(ctx, time.Time{})
	if err != nil || counts.FloodSince.IsZero() || counts.State(ems.ActiveUnacknowledged) != 2700 {
		t.Errorf("after the flood: %+v, %v", counts, err)
	}
	// No value is sent before it is due.
	server.sizes.looseChannels = 2
	if lasted, err := server.sendFlood(ctx, server.clock.Now().Add(time.Second)); err != nil || lasted < floodEvery {
		t.Errorf("two channels took %v, %v", lasted, err)
	}
	// Nothing is new the second time: no value trips a rule twice.
	again, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if result, err := server.measureFlood(again, histogram); err == nil {
		t.Errorf("a flood without alarms: %+v", result)
	}
}

func TestAFloodTakesNoAlarmForAnother(t *testing.T) {
	start := time.Unix(1_782_000_000, 0)
	raisedBy := 2 * beyond
	alarm := func(id int, rule string) ems.Alarm {
		return ems.Alarm{ID: strconv.Itoa(id), Rule: rule, Value: &raisedBy}
	}
	f := &flood{before: 9, due: map[string]time.Time{"a": start, "b": start.Add(time.Second), "c": start.Add(time.Second)}, seen: map[string]string{}}
	at := start.Add(3 * time.Second)
	for _, step := range []struct {
		page []ems.Alarm
		more bool
		says string
	}{
		{nil, false, ""},
		{[]ems.Alarm{alarm(11, "b"), alarm(10, "a")}, true, ""},
		{[]ems.Alarm{alarm(9, "x"), alarm(8, "y")}, false, ""},
		{[]ems.Alarm{alarm(12, "c"), alarm(11, "b"), alarm(9, "x")}, false, ""},
		{[]ems.Alarm{alarm(13, "a")}, false, "rule a has raised alarms 10 and 13 in one flood"},
		{[]ems.Alarm{alarm(13, "x")}, false, "alarm 13 of rule x is not of the flood"},
	} {
		more, err := f.note(step.page, at)
		if more != step.more || (err == nil) != (step.says == "") || err != nil && err.Error() != step.says {
			t.Errorf("%v: %v, %v", step.page, more, err)
		}
	}
	if diff := cmp.Diff([]time.Duration{2 * time.Second, 3 * time.Second, 2 * time.Second}, f.waited); diff != "" || len(f.seen) != 3 {
		t.Errorf("%v: %s", f.seen, diff)
	}
	delete(f.seen, "c")
	other := alarm(14, "c")
	other.Value = nil
	_, err := f.note([]ems.Alarm{other}, at)
	expectFault(t, "another value", err, "alarm 14 of the flood was not raised by 2e+06")
}

func TestTheServiceIsNotToldOfAnotherSystem(t *testing.T) {
	got := serviceEnvironment([]string{"PATH=/bin", "VOLTAGE_REDIS_URL=redis://plant", "ALARMSRV_REDIS_URL=redis://plant", "VOLTAGE_SITE_NAMESPACE=plant"},
		ems.Alarmsrv, "redis://bench", "127.0.0.1:1")
	if diff := cmp.Diff([]string{"PATH=/bin", "VOLTAGE_REDIS_URL=redis://bench", "ALARMSRV_LISTEN=127.0.0.1:1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAServiceThatDoesNotStartIsTold(t *testing.T) {
	t.Parallel()
	server := own(t)
	server.sizes, server.voltage = sizes{looseChannels: 1, alarms: 1}, "/no/voltage"
	expectFault(t, "no program", server.seedAlarms(t.Context()), "voltage cannot be started: ")
}
