package rtdb_test

import (
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func doorOpen() ems.NewAlarm {
	return ems.NewAlarm{Source: "room:door", Level: ems.Minor, Title: `Door "A" open`, Description: "since <b>now</b>"}
}

func TestAnAlarmLivesAndIsJournalled(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	alarm, err := b.StoreAlarm(b.ctx, doorOpen())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the alarm", alarm, ems.Alarm{
		ID: "1", Source: "room:door", Level: ems.Minor, Title: `Door "A" open`, Description: "since <b>now</b>",
		State: ems.ActiveUnacknowledged, Occurrences: 1, RaisedAt: start, LastAt: start,
	})
	b.clock.Advance(time.Second)
	again, err := b.StoreAlarm(b.ctx, doorOpen())
	if err != nil || again.ID != "1" || again.Occurrences != 2 || !again.LastAt.Equal(b.clock.Now()) || !again.RaisedAt.Equal(start) {
		t.Errorf("raised again: %+v, %v", again, err)
	}
	if err := b.AcknowledgeAlarm(b.ctx, "1", 3, "Ann"); ems.CodeOf(err) != ems.CodeConflict ||
		err.Error() != "alarm '1' has occurred 2 times, and 3 were seen: look at it again" {
		t.Errorf("an occurrence that is yet to come: %v", err)
	}
	if err := b.AcknowledgeAlarm(b.ctx, "1", 1, "Ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.AcknowledgeAlarm(b.ctx, "1", 2, "Bob"); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("acknowledged twice: %v", err)
	}
	b.clock.Advance(time.Second)
	if err := b.ResolveAlarm(b.ctx, "1", "Bob"); err != nil {
		t.Fatal(err)
	}
	if err := b.ResolveAlarm(b.ctx, "1", "Bob"); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("resolved twice: %v", err)
	}
	const about = `level=Minor occurrence=2 rule= source=room:door text= time=178200000`
	expect(t, "the journal", b.show(t, "alarmsrv:journal"), strings.Join([]string{
		`alarm=1 by=operator event=raise from= level=Minor occurrence=1 rule= source=room:door text= time=1782000000000 title=Door "A" open to=active_unacknowledged value=`,
		`alarm=1 by=Ann event=acknowledge from=active_unacknowledged ` + about + `1000 title=Door "A" open to=active_acknowledged value=`,
		`alarm=1 by=Bob event=clear from=active_acknowledged ` + about + `2000 title=Door "A" open to=closed value=`,
	}, "\n"))
	for _, err := range []error{b.AcknowledgeAlarm(b.ctx, "99", 1, "Ann"), b.ResolveAlarm(b.ctx, "99", "Ann")} {
		if ems.CodeOf(err) != ems.CodeNotFound {
			t.Errorf("an alarm that never was: %v", err)
		}
	}
	next, err := b.StoreAlarm(b.ctx, doorOpen())
	if err != nil || next.ID != "2" || next.Occurrences != 1 {
		t.Errorf("after it closed: %+v, %v", next, err)
	}
}

// What matters of what a person has seen is that it tells of this activation: an
// alarm that its rule raises again and again can be acknowledged all the same.
func TestOnlyWhatCameBeforeAnAlarmBecameActiveIsStale(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	raise := func(level ems.AlarmLevel) {
		t.Helper()
		if _, err := b.StoreAlarm(b.ctx, ems.NewAlarm{Source: "pump-1", Level: level, Title: "hot"}); err != nil {
			t.Fatal(err)
		}
	}
	acknowledge := func(seen int64, want string) {
		t.Helper()
		got := ""
		if err := b.AcknowledgeAlarm(b.ctx, "1", seen, "Ann"); err != nil {
			got = string(ems.CodeOf(err)) + " " + err.Error()
		}
		expect(t, "acknowledged", got, want)
	}
	for range 5 {
		raise(ems.Minor)
	}
	acknowledge(2, "")
	raise(ems.Major) // the sixth is worse
	raise(ems.Major)
	acknowledge(5, "CONFLICT alarm '1' has become active or worse as of occurrence 6, and 5 were seen: look at it again")
	if err := b.ResolveAlarm(b.ctx, "1", "Bob"); err != nil {
		t.Fatal(err)
	}
	raise(ems.Major) // the eighth has it return
	raise(ems.Minor)
	acknowledge(7, "CONFLICT alarm '1' has become active or worse as of occurrence 8, and 7 were seen: look at it again")
	acknowledge(8, "")
}

// A more severe raise of an active alarm is news, to whoever has acknowledged it too.
func TestAWorseAlarmIsToldAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.escalate(t, ems.EscalationStep{Level: ems.Info, After: time.Minute, To: ems.Major}, ems.EscalationStep{Level: ems.Critical, After: time.Minute, Notify: "boss"})
	raise := func(level ems.AlarmLevel, title string) (alarm ems.Alarm) {
		t.Helper()
		b.clock.Advance(time.Second)
		alarm, err := b.StoreAlarm(b.ctx, ems.NewAlarm{Source: "pump-1", Level: level, Title: title, Description: "about " + title})
		if err != nil {
			t.Fatal(err)
		}
		return alarm
	}
	want := raise(ems.Warning, "filter dirty")
	if err := b.AcknowledgeAlarm(b.ctx, "1", 1, "Ann"); err != nil {
		t.Fatal(err)
	}
	worse := raise(ems.Critical, "pump on fire")
	want.Level, want.Title, want.Description, want.Occurrences, want.LastAt = ems.Critical, "pump on fire", "about pump on fire", 2, b.clock.Now()
	expect(t, "the alarm", worse, want)
	expect(t, "told", b.told(t), []string{"alarm 1 Warning pump-1 raise", "alarm 1 Critical pump-1 worsen"})
	expect(t, "escalates from now on", b.escalations(t), []string{"1 at 1m2s"})
	milder := raise(ems.Warning, "filter dirty")
	want.Occurrences, want.LastAt = 3, b.clock.Now()
	expect(t, "a milder one", milder, want)
	entries, err := b.JournalAfter(b.ctx, "", 10)
	if err != nil || len(entries) != 3 {
		t.Fatal(entries, err)
	}
	last := entries[2]
	last.ID = ""
	expect(t, "journalled", last, ems.JournalEntry{
		Event: ems.AlarmWorsened, Alarm: "1", From: ems.ActiveAcknowledged, To: ems.ActiveUnacknowledged, Time: worse.LastAt, By: "operator",
		Level: ems.Critical, Source: "pump-1", Title: "pump on fire", Occurrence: 2, Text: "Warning to Critical",
	})
	if faults := recount(t, b); len(faults) > 0 {
		t.Error(faults)
	}
}

// What has escalated beyond how severe its rule says it is stays there, and is
// told all the same when the rule says that it is worse.
func TestAnEscalatedAlarmWorsens(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.escalate(t, ems.EscalationStep{Level: ems.Info, After: time.Minute, To: ems.Major})
	b.raiseAbout(t, "pump-1", ems.Info)
	b.clock.Advance(time.Minute)
	b.tick(t)
	for _, level := range []ems.AlarmLevel{ems.Info, ems.Minor, ems.Minor, ems.Major, ems.Critical} {
		b.raiseAbout(t, "pump-1", level)
		alarm, err := b.Alarm(b.ctx, "1")
		if err != nil {
			t.Fatal(err)
		}
		own, shown := map[ems.AlarmLevel]ems.AlarmLevel{ems.Info: ems.Info, ems.Minor: ems.Minor}[level], ems.Major
		if level == ems.Critical {
			shown = level
		}
		expect(t, "level and own level after "+string(level), []ems.AlarmLevel{alarm.Level, alarm.EscalatedFrom}, []ems.AlarmLevel{shown, own})
	}
	expect(t, "told", b.told(t), []string{
		"alarm 1 Info pump-1 raise", "escalation 1 Major pump-1 ", "alarm 1 Major pump-1 worsen", "alarm 1 Major pump-1 worsen", "alarm 1 Critical pump-1 worsen",
	})
	if faults := recount(t, b); len(faults) > 0 {
		t.Error(faults)
	}
}

// One that stands aside worsens in the journal alone.
func TestAWorseAlarmThatStandsAsideIsNotTold(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.raiseAbout(t, "shelved", ems.Info)
	b.raiseAbout(t, "covered", ems.Info)
	if err := b.ShelveAlarm(b.ctx, "1", "Ann", "known", start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := b.SuppressAlarms(b.ctx, ems.Suppression{ID: "s", Scope: ems.SuppressSource, Value: "covered", By: "Ann", Reason: "repair"}); err != nil {
		t.Fatal(err)
	}
	b.told(t)
	b.raiseAbout(t, "shelved", ems.Major)
	b.raiseAbout(t, "covered", ems.Major)
	expect(t, "told", b.told(t), []string{})
	entries, err := b.JournalAfter(b.ctx, "", 10)
	if err != nil || len(entries) != 6 {
		t.Fatal(entries, err)
	}
	expect(t, "journalled", []string{entries[4].Text, entries[5].Text}, []string{"Info to Major, shelved", "Info to Major, suppressed"})
	if faults := recount(t, b); len(faults) > 0 {
		t.Error(faults)
	}
	if err := b.EndSuppression(b.ctx, "s", "Ann"); err != nil {
		t.Fatal(err)
	}
	expect(t, "in the end", b.told(t), []string{"alarm 2 Major covered unsuppress"})
}

func TestBadAlarmsAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for name, spoil := range map[string]func(*ems.NewAlarm){
		"unknown level":     func(a *ems.NewAlarm) { a.Level = "Awful" },
		"no title":          func(a *ems.NewAlarm) { a.Title = "" },
		"long title":        func(a *ems.NewAlarm) { a.Title = strings.Repeat("x", 201) },
		"control character": func(a *ems.NewAlarm) { a.Title = "a\x1b[31m" },
		"no source":         func(a *ems.NewAlarm) { a.Source = "" },
		"source in braces":  func(a *ems.NewAlarm) { a.Source = "{x}" },
		"rule with colon":   func(a *ems.NewAlarm) { a.Rule = "a:b" },
		"worse":             func(a *ems.NewAlarm) { a.Worse = "up" },
	} {
		alarm := doorOpen()
		spoil(&alarm)
		if _, err := b.StoreAlarm(b.ctx, alarm); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "keys", b.dump(t), map[string]string{})
}

// A Redis that forgets its last second when it is killed must not give the ids of the
// alarms in it again: somebody has seen them, and would acknowledge others.
func TestAnIDIsNotGivenAgainAfterACrash(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	raise := func(source string) string {
		t.Helper()
		alarm, err := b.StoreAlarm(b.ctx, ems.NewAlarm{Source: source, Level: ems.Minor, Title: "x"})
		if err != nil {
			t.Fatal(err)
		}
		return alarm.ID
	}
	expect(t, "the first", raise("a"), "1")
	if err := b.raw.ConfigSet(b.ctx, "appendonly", "no").Err(); err != nil { // nothing is kept from now on
		t.Fatal(err)
	}
	expect(t, "the one that is lost", raise("b"), "2")
	b.server.Kill()
	b.server.Start()
	expect(t, "the next", raise("c"), "100002")
	expect(t, "the one after", raise("d"), "100003")
	if err := b.AcknowledgeAlarm(b.ctx, "2", 1, "Ann"); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("the lost one is acknowledged: %v", err)
	}
}
