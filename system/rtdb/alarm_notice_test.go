package rtdb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// raiseAbout raises an alarm about a source and returns its id.
func (b *bench) raiseAbout(t testing.TB, source string, level ems.AlarmLevel) string {
	t.Helper()
	alarm, err := b.StoreAlarm(b.ctx, ems.NewAlarm{Source: source, Level: level, Title: "about " + source})
	if err != nil {
		t.Fatal(err)
	}
	return alarm.ID
}

// notices takes the notifications since the last time for one target, in the order
// of their streams, and is done with them.
func (b *bench) notices(t testing.TB) []rtdb.Notice {
	t.Helper()
	reader := b.ReadNotifications("test", []string{"test"})
	var all []rtdb.Notice
	for range 2 { // what was taken before, of which there is none, and what is new
		list, err := reader.Next(b.ctx, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, notice := range list {
			if err := reader.Finish(b.ctx, notice); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, list...)
	}
	return all
}

// told returns the notifications since the last time, each in one line.
func (b *bench) told(t testing.TB) []string {
	t.Helper()
	lines := []string{}
	for _, n := range b.notices(t) {
		line := strings.Join([]string{n.Kind, n.Alarm, string(n.Level), n.Source, n.Reason}, " ")
		if n.Kind == ems.NotifySummary {
			line = fmt.Sprintf("summary %d: %s; %s; %s", n.Count, n.Levels, n.Sources, n.Reason)
			if n.Escalated != "" {
				line += "; to " + n.To + " " + n.Escalated
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func (b *bench) tick(t testing.TB) int {
	t.Helper()
	done, _, err := b.TickAlarms(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestAFloodIsToldInSummaries(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var want []string
	for i := range 10 {
		b.raiseAbout(t, fmt.Sprintf("pump-%d", i), ems.Minor)
		want = append(want, fmt.Sprintf("alarm %d Minor pump-%d raise", i+1, i))
		b.clock.Advance(time.Second)
	}
	expect(t, "ten alarms", b.told(t), want)
	b.raiseAbout(t, "fan", ems.Critical) // the eleventh of ten minutes
	expect(t, "no notification of its own", b.told(t), []string{})
	expect(t, "due", b.tick(t), 1)
	expect(t, "the first summary", b.told(t), []string{"summary 1: Critical 1; fan 1; flood"})
	for i := range 7 {
		b.clock.Advance(time.Second)
		b.raiseAbout(t, fmt.Sprintf("valve-%d", i), ems.Major)
	}
	for range 2 { // one source twice: it clears and returns
		b.clock.Advance(time.Second)
		if err := b.ResolveAlarm(b.ctx, "13", "Ann"); err != nil {
			t.Fatal(err)
		}
		b.raiseAbout(t, "valve-1", ems.Major)
	}
	alarms, err := b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 100})
	if err != nil || len(alarms) != 18 {
		t.Fatalf("%d alarms are listed, %v", len(alarms), err)
	}
	expect(t, "one summary a minute", b.tick(t), 0)
	b.clock.Advance(51 * time.Second)
	// Coming and going, one of them chatters too; that is not quiet yet.
	expect(t, "due", b.tick(t), 1)
	expect(t, "the second summary", b.told(t), []string{"summary 9: Major 9; valve-1 3 valve-0 1 valve-2 1 valve-3 1 valve-4 1; flood"})
	counts, err := b.AlarmCounts(b.ctx, time.Time{})
	if err != nil || counts.RaisedLately != 20 || !counts.FloodSince.Equal(start.Add(10*time.Second)) || counts.Chattering != 1 {
		t.Errorf("counts in the flood: %+v, %v", counts, err)
	}
	for range 8 {
		b.clock.Advance(time.Minute)
		b.tick(t)
	}
	expect(t, "nothing new in eight minutes", b.told(t), []string{})
	b.clock.Advance(time.Minute)
	b.tick(t)
	expect(t, "the end", b.told(t), []string{"summary 0: ; ; over"})
	b.raiseAbout(t, "fan-2", ems.Info)
	expect(t, "one by one again", b.told(t), []string{"alarm 19 Info fan-2 raise"})
}

// What nobody acknowledges in a flood escalates in the journal one by one, and to
// people by number: to everybody, and to each whom a step names.
func TestAFloodOfEscalationsIsToldInSummaries(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.escalate(t, ems.EscalationStep{Level: ems.Major, After: 30 * time.Second, To: ems.Critical},
		ems.EscalationStep{Level: ems.Critical, After: 10 * time.Second, Notify: "boss"}, ems.EscalationStep{Level: ems.Minor, After: 2 * time.Hour, Notify: "boss"})
	settings := ems.DefaultAlarmSettings()
	settings.Escalation = append(settings.Escalation, ems.EscalationStep{Level: ems.Major, After: 30 * time.Second, To: ems.Critical},
		ems.EscalationStep{Level: ems.Critical, After: 10 * time.Second, Notify: "boss"}, ems.EscalationStep{Level: ems.Minor, After: 2 * time.Hour, Notify: "boss"})
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	pass := func(length time.Duration) {
		t.Helper()
		b.clock.Advance(length)
		for b.tick(t) > 0 {
		}
	}
	for i := range 50 {
		b.raiseAbout(t, fmt.Sprintf("p-%d", i), ems.Major)
	}
	pass(0)
	expect(t, "told one by one", len(b.told(t)), 11)
	pass(30 * time.Second)
	pass(10 * time.Second)
	expect(t, "told of escalations before the summary", b.told(t), []string{})
	pass(20 * time.Second)
	expect(t, "the summary", b.told(t), []string{"summary 0: ; ; flood; to  Critical 50", "summary 0: ; ; flood; to boss Critical 50"})
	expect(t, "journalled", len(b.escalated(t)), 100)

	// They are a flood of their own where none stands.
	for i := range 50 {
		b.clock.Advance(2 * time.Minute)
		for b.tick(t) > 0 {
		}
		b.raiseAbout(t, fmt.Sprintf("q-%d", i), ems.Minor)
	}
	pass(0)
	b.told(t)
	pass(4 * time.Hour)
	told := b.told(t)
	expect(t, "told of many at once", len(told), 11)
	expect(t, "the first", told[0], "escalation 51 Minor q-0 ")
	expect(t, "the last", told[10], "summary 0: ; ; flood; to boss Minor 40")
}

func TestNotificationsAndTheJournalAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	settings := ems.DefaultAlarmSettings()
	settings.NotificationLimit, settings.JournalLimit, settings.FloodLimit = 10, 1000, 100_000
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	const raised = 1500
	for i := range raised {
		b.raiseAbout(t, fmt.Sprintf("p-%d", i), ems.Info)
	}
	counts, err := b.AlarmCounts(b.ctx, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if counts.Notifications != 10 || counts.NotificationsDropped != raised-10 {
		t.Errorf("%d notifications wait, %d were dropped", counts.Notifications, counts.NotificationsDropped)
	}
	if counts.Journal < 1000 || counts.Journal > 1200 || counts.Journal+counts.JournalTrimmed != raised {
		t.Errorf("%d entries of the journal are kept, %d were trimmed", counts.Journal, counts.JournalTrimmed)
	}
	expect(t, "active", counts.Numbers[ems.ActiveUnacknowledged][ems.Info], int64(raised))
	first := b.told(t)[0]
	expect(t, "the newest wait", first, fmt.Sprintf("alarm %d Info p-%d raise", raised-9, raised-10))
}

func TestSuppressionsAreBoundedAndLetGoInParts(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	settings := ems.DefaultAlarmSettings()
	settings.FloodLimit = 100_000
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := b.SuppressAlarms(b.ctx, ems.Suppression{ID: fmt.Sprintf("s%02d", i), Scope: ems.SuppressSource, Value: "pv:", By: "Ann", Reason: "new inverters"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SuppressAlarms(b.ctx, ems.Suppression{ID: "more", Scope: ems.SuppressAll, By: "Ann", Reason: "x"}); ems.CodeOf(err) != ems.CodeFull {
		t.Errorf("one more: %v", err)
	}
	list, err := b.Suppressions(b.ctx)
	if err != nil || len(list) != 100 {
		t.Fatalf("%d suppressions, %v", len(list), err)
	}
	expect(t, "the first", list[0], ems.Suppression{ID: "s00", Scope: ems.SuppressSource, Value: "pv:", By: "Ann", Reason: "new inverters", Since: start})
	for i := range 250 {
		b.raiseAbout(t, fmt.Sprintf("pv:%d", i), ems.Info)
	}
	b.raiseAbout(t, "load", ems.Info)
	expect(t, "what is told", b.told(t), []string{"alarm 251 Info load raise"})
	for i := range 100 {
		if err := b.EndSuppression(b.ctx, fmt.Sprintf("s%02d", i), "Ann"); err != nil {
			t.Fatal(err)
		}
	}
	told := len(b.told(t))
	for b.tick(t) > 0 {
		told += len(b.told(t))
	}
	expect(t, "told in the end", told, 250)
	if faults := recount(t, b); len(faults) > 0 {
		t.Errorf("%v", faults)
	}
}

func TestSettingsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for what, spoil := range map[string]func(*ems.AlarmSettings){
		"flood":           func(s *ems.AlarmSettings) { s.FloodLimit = 0 },
		"how often":       func(s *ems.AlarmSettings) { s.ChatterCount = 1 },
		"within":          func(s *ems.AlarmSettings) { s.ChatterPeriod = time.Millisecond },
		"shelving":        func(s *ems.AlarmSettings) { s.ShelveMax = 8 * 24 * time.Hour },
		"journal":         func(s *ems.AlarmSettings) { s.JournalLimit = 10 },
		"notifications":   func(s *ems.AlarmSettings) { s.NotificationLimit = 0 },
		"level":           func(s *ems.AlarmSettings) { s.Escalation[0].Level = "Bad" },
		"not more severe": func(s *ems.AlarmSettings) { s.Escalation[0].To = ems.Info },
		"unacknowledged":  func(s *ems.AlarmSettings) { s.Escalation[0].After = 0 },
		"a step":          func(s *ems.AlarmSettings) { s.Escalation[0].To = "" },
		"whom to notify":  func(s *ems.AlarmSettings) { s.Escalation[0].Notify = "a\nb" },
	} {
		settings := ems.DefaultAlarmSettings()
		settings.Escalation = []ems.EscalationStep{{Level: ems.Minor, After: time.Minute, To: ems.Major}}
		if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
			t.Fatal(err)
		}
		before := b.dump(t)
		spoil(&settings)
		if err := b.ConfigureAlarms(b.ctx, settings); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		expect(t, what, b.dump(t), before)
	}
}
