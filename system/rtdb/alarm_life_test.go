package rtdb_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Every kind of call, at random, against the model: alarms, journal,
// notifications, indexes and counts always agree, also after Redis restarted.
func TestAlarmsFollowAPlainModel(test *testing.T) {
	test.Parallel()
	b := newBench(test, "")
	settings := ems.DefaultAlarmSettings()
	settings.FloodLimit, settings.ChatterPeriod = 100_000, 90*time.Second
	settings.Escalation = lifeSteps[0]
	restarts, steps, events := 4, 0, map[string]int{}
	rapid.Check(test, func(t *rapid.T) {
		if err := b.raw.FlushAll(b.ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
			t.Fatal(err)
		}
		run := &lifeRun{t: t, test: test, b: b, model: newAlarmModel(settings)}
		length := rapid.IntRange(200, 400).Draw(t, "steps")
		for i := range length {
			b.clock.Advance(time.Duration(rapid.SampledFrom([]int{1, 700, 700, 3000, 11000}).Draw(t, "ms")) * time.Millisecond)
			run.model.now = b.clock.Now()
			run.step()
			if restarts > 0 && i == length/2 {
				restarts--
				b.server.Restart()
				run.model.restarted = true
			}
			if i%25 == 0 {
				run.compare()
			}
		}
		steps += length
		run.compare()
		run.compareStreams()
		for _, line := range run.model.journal {
			event, _, _ := strings.Cut(line, " ")
			events[event]++
		}
	})
	test.Logf("%d steps: %v", steps, events)
	for _, event := range []string{
		ems.AlarmRaised, ems.AlarmReturned, ems.AlarmWorsened, ems.AlarmCleared, ems.AlarmAcknowledged, ems.AlarmShelved, ems.AlarmUnshelved, ems.AlarmSuppressed,
		ems.AlarmUnsuppressed, ems.AlarmCommented, ems.AlarmEscalated, ems.AlarmChatters, ems.AlarmQuiet,
	} {
		if events[event] == 0 {
			test.Errorf("no step led to the event %s", event)
		}
	}
}

// lifeSteps are the escalations that take turns.
var lifeSteps = [][]ems.EscalationStep{
	{
		{Level: ems.Major, After: 50 * time.Second, To: ems.Critical},
		{Level: ems.Major, After: 30 * time.Second, Notify: "shift lead"},
		{Level: ems.Minor, After: 20 * time.Second, To: ems.Major, Notify: "workshop"},
	},
	{
		{Level: ems.Minor, After: 10 * time.Second, Notify: "workshop"},
		{Level: ems.Minor, After: 40 * time.Second, Notify: "shift lead"},
		{Level: ems.Major, After: 45 * time.Second, Notify: "shift lead"},
	},
	nil,
}

type lifeRun struct {
	t     *rapid.T
	test  testing.TB
	b     *bench
	model *alarmModel
}

func (r *lifeRun) sound(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// agree compares whether Redis refused with a code with what the model says.
func (r *lifeRun) agree(what string, err error, done bool, code ems.Code) {
	r.t.Helper()
	if done != (err == nil) || err != nil && ems.CodeOf(err) != code {
		r.t.Fatalf("%s: %v, and the model says %v", what, err, done)
	}
}

func (r *lifeRun) step() {
	t, m := r.t, r.model
	actions := []string{"raise", "raise", "raise", "clear", "clear", "acknowledge", "acknowledge", "shelve", "unshelve",
		"suppress", "unsuppress", "tick", "tick", "tick", "comment", "clean up", "configure"}
	action := rapid.SampledFrom(actions).Draw(t, "action")
	switch action {
	case "raise":
		r.raise()
		return
	case "suppress", "unsuppress":
		r.suppression(action)
		return
	case "tick":
		done, more, err := r.b.TickAlarms(r.b.ctx)
		r.sound(err)
		if want, wantMore := m.tick(); done != want || more != wantMore {
			t.Fatalf("%d were due, want %d (more: %v, want %v)", done, want, more, wantMore)
		}
		return
	case "configure":
		settings := m.settings
		settings.Escalation = rapid.SampledFrom(lifeSteps).Draw(t, "escalation")
		r.sound(r.b.ConfigureAlarms(r.b.ctx, settings))
		m.configure(settings)
		return
	case "clean up":
		keep := rapid.IntRange(0, 5).Draw(t, "keep")
		removed, err := r.b.CleanUpAlarms(r.b.ctx, time.Hour, keep)
		r.sound(err)
		if want := m.cleanUp(keep); removed != want {
			t.Fatalf("%d alarms were removed, want %d", removed, want)
		}
		return
	}
	if len(m.alarms) == 0 {
		return
	}
	newest := m.alarms[max(0, len(m.alarms)-6):]
	r.act(action, rapid.SampledFrom(newest).Draw(t, "alarm"))
}

func (r *lifeRun) act(action string, a *modelAlarm) {
	t, m, b := r.t, r.model, r.b
	switch action {
	case "clear":
		err := b.ResolveAlarm(b.ctx, a.ID, "Ann")
		r.agree("clear "+a.ID, err, m.clear(a, "Ann"), ems.CodeConflict)
	case "acknowledge":
		seen := max(1, a.Occurrences+rapid.SampledFrom([]int64{-2, -1, 0, 0, 0, 1}).Draw(t, "stale"))
		err := b.AcknowledgeAlarm(b.ctx, a.ID, seen, "Bob")
		r.agree("acknowledge "+a.ID, err, m.acknowledge(a, seen, "Bob"), ems.CodeConflict)
	case "shelve":
		until := m.now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "for")) * time.Second)
		err := b.ShelveAlarm(b.ctx, a.ID, "Ann B", "it is known", until)
		r.agree("shelve "+a.ID, err, m.shelve(a, "Ann B", "it is known", until), ems.CodeConflict)
	case "unshelve":
		err := b.UnshelveAlarm(b.ctx, a.ID, "Ann")
		r.agree("unshelve "+a.ID, err, m.unshelve(a.definition(), "Ann", ""), ems.CodeConflict)
	case "comment":
		r.sound(b.CommentAlarm(b.ctx, a.ID, "Ann", "a remark"))
		a.Comments++
		m.note(ems.AlarmCommented, a, a.State, "Ann", "a remark")
	}
}

func (r *lifeRun) raise() {
	t := r.t
	raised := ems.NewAlarm{
		Source: rapid.SampledFrom([]string{"a", "a:1", "b"}).Draw(t, "source"), Rule: rapid.SampledFrom([]string{"", "hot"}).Draw(t, "rule"),
		Level: rapid.SampledFrom([]ems.AlarmLevel{ems.Major, ems.Minor, ems.Info}).Draw(t, "level"), Title: rapid.SampledFrom([]string{"t", "u"}).Draw(t, "title"),
		Worse: rapid.SampledFrom([]string{"", "high", "low"}).Draw(t, "worse"),
	}
	if rapid.Bool().Draw(t, "valued") {
		value := float64(rapid.IntRange(-20, 20).Draw(t, "value"))
		raised.Value = &value
	}
	got, err := r.b.StoreAlarm(r.b.ctx, raised)
	r.sound(err)
	if want := r.model.raise(raised); got.ID != want.ID {
		t.Fatalf("raised %s, want %s", got.ID, want.ID)
	}
}

func (r *lifeRun) suppression(action string) {
	t, m, b := r.t, r.model, r.b
	id := rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "suppression")
	if action == "unsuppress" {
		err := b.EndSuppression(b.ctx, id, "Ann")
		r.agree(action, err, m.unsuppress(id, "Ann"), ems.CodeNotFound)
		return
	}
	s := rapid.SampledFrom([]ems.Suppression{
		{Scope: ems.SuppressAll}, {Scope: ems.SuppressSource, Value: "a"}, {Scope: ems.SuppressRule, Value: "hot"},
	}).Draw(t, "scope")
	s.ID, s.By, s.Reason = id, "Ann B", "maintenance 7"
	if rapid.Bool().Draw(t, "ends") {
		until := m.now.Add(20 * time.Second)
		s.Until = &until
	}
	err := b.SuppressAlarms(b.ctx, s)
	r.agree(action, err, m.suppress(s), ems.CodeConflict)
}

// compare holds lists, indexes and counts against the model.
func (r *lifeRun) compare() {
	t, b := r.t, r.b
	yes, no := true, false
	for _, filter := range []rtdb.AlarmFilter{
		{}, {Active: true}, {State: "open"}, {State: "closed"}, {State: "active_acknowledged"}, {State: "cleared_unacknowledged", Level: ems.Major},
		{Level: ems.Major}, {Level: ems.Critical, State: "open"}, {Source: "a"}, {Source: "a", Active: true, Level: ems.Minor}, {Rule: "hot"},
		{Shelved: &yes}, {Shelved: &no, State: "open"}, {Suppressed: &yes}, {Suppressed: &no, Source: "b"}, {From: r.model.now.Add(-20 * time.Second)},
		{To: r.model.now.Add(-20 * time.Second), Active: true}, {After: "5"},
	} {
		filter.Count = 1000
		want := []ems.Alarm{}
		for _, a := range slices.Backward(r.model.alarms) {
			if matches(&a.Alarm, filter) {
				want = append(want, a.Alarm)
			}
		}
		got, next, err := b.AlarmPage(b.ctx, filter)
		r.sound(err)
		if difference := cmp.Diff(want, got, cmpopts.EquateApproxTime(0)); difference != "" || next != "" {
			t.Fatalf("%+v (-want +got), next %q:\n%s", filter, next, difference)
		}
	}
	if faults := recount(r.test, b); len(faults) > 0 {
		t.Fatalf("indexes or counts are wrong:\n%s", strings.Join(faults, "\n"))
	}
}

func matches(a *ems.Alarm, f rtdb.AlarmFilter) bool {
	state := f.State
	if f.Active {
		state = "active"
	}
	number, _ := strconv.Atoi(a.ID)
	limit, _ := strconv.Atoi(f.After)
	return (state == "" || state == string(a.State) || state == "active" && a.State.Active() || state == "open" && a.State != ems.Closed) &&
		(f.Level == "" || f.Level == a.Level) && (f.Source == "" || f.Source == a.Source) && (f.Rule == "" || f.Rule == a.Rule) &&
		(f.From.IsZero() || !a.RaisedAt.Before(f.From)) && (f.To.IsZero() || a.RaisedAt.Before(f.To)) &&
		(f.Shelved == nil || *f.Shelved == (a.Shelved != nil)) && (f.Suppressed == nil || *f.Suppressed == a.Suppressed) &&
		(limit == 0 || number < limit)
}

// compareStreams holds the journal and the notifications against the model.
func (r *lifeRun) compareStreams() {
	entries, err := r.b.JournalAfter(r.b.ctx, "", 10_000)
	r.sound(err)
	var journal []string
	for _, e := range entries {
		journal = append(journal, fmt.Sprintf("%s %s %s>%s by %s %s #%d %q at %d", e.Event, e.Alarm, e.From, e.To, e.By, e.Level, e.Occurrence, e.Text, e.Time.UnixMilli()))
	}
	if difference := cmp.Diff(r.model.journal, journal); difference != "" {
		r.t.Fatalf("journal (-want +got):\n%s", difference)
	}
	messages, err := r.b.raw.XRange(r.b.ctx, "alarmsrv:notifications", "-", "+").Result()
	r.sound(err)
	var notices []string
	for _, message := range messages {
		v := message.Values
		notices = append(notices, fmt.Sprintf("%v %v %v %q", v["kind"], v["alarm"], v["level"], v["text"]))
	}
	if difference := cmp.Diff(r.model.notices, notices); difference != "" {
		r.t.Fatalf("notifications (-want +got):\n%s", difference)
	}
}

// recount compares every index and count with the alarms themselves.
func recount(t testing.TB, b *bench) []string {
	t.Helper()
	want, counts := map[string][]string{}, map[string]int64{}
	index := func(key, member string) { want["alarmsrv:"+key] = append(want["alarmsrv:"+key], member) }
	keys, err := b.raw.Keys(b.ctx, "alarmsrv:alarm:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for _, key := range keys {
		a, err := b.raw.HGetAll(b.ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		id := strings.TrimPrefix(key, "alarmsrv:alarm:")
		number, _ := strconv.Atoi(id)
		definition := a["rule"] + "|" + a["source"]
		last[definition] = max(last[definition], number)
		counts[a["state"]+":"+a["level"]]++
		ordered := id + "@" + id
		index("alarms:by_level:"+a["level"], id)
		index("alarms:by_source:"+a["source"], id)
		index("order:all", ordered)
		index("order:time", fmt.Sprintf("%015d@%s", number, a["raised_at"]))
		index("order:source:"+a["source"], ordered)
		if a["state"] == "closed" {
			index("order:closed", fmt.Sprintf("%s@%d", id, max(milli(a["cleared_at"]), milli(a["acknowledged_at"]))))
			continue
		}
		index("order:open", ordered)
		index("order:level:"+a["level"], ordered)
		if ems.AlarmState(a["state"]).Active() {
			index("alarms:active", id)
			index("order:active", ordered)
			if a["shelved_until"] == "" && a["suppressed"] == "" {
				recent := strings.Fields(a["recent"])
				index("order:standing", id+"@"+recent[len(recent)-1])
			}
		}
		for field, name := range map[string]string{"shelved_until": "shelved", "suppressed": "suppressed", "chattering": "chattering"} {
			if a[field] != "" {
				counts[name]++
			}
		}
		if a["suppressed"] != "" {
			index("order:suppressed", ordered)
		}
	}
	for definition, number := range last {
		index("definitions", definition+"="+strconv.Itoa(number))
	}
	return compareIndexes(b, t, want, counts)
}

func milli(text string) int64 {
	number, _ := strconv.ParseInt(text, 10, 64)
	return number
}

func compareIndexes(b *bench, t testing.TB, want map[string][]string, counts map[string]int64) (faults []string) {
	t.Helper()
	got := map[string][]string{}
	for _, pattern := range []string{"alarmsrv:alarms:*", "alarmsrv:order:*", "alarmsrv:definitions"} {
		for _, key := range b.raw.Keys(b.ctx, pattern).Val() {
			got[key] = strings.Split(b.show(t, key), " ")
		}
	}
	for _, side := range []map[string][]string{want, got} {
		for _, members := range side {
			slices.Sort(members)
		}
	}
	if difference := cmp.Diff(want, got); difference != "" {
		faults = append(faults, difference)
	}
	stored := map[string]int64{}
	for name, text := range b.raw.HGetAll(b.ctx, "alarmsrv:counts").Val() {
		stored[name] = milli(text)
	}
	maps.DeleteFunc(stored, func(_ string, number int64) bool { return number == 0 })
	if difference := cmp.Diff(counts, stored); difference != "" {
		faults = append(faults, "counts: "+difference)
	}
	return faults
}
