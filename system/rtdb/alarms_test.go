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
	if err := b.AcknowledgeAlarm(b.ctx, "1", 1, "Ann"); ems.CodeOf(err) != ems.CodeConflict ||
		err.Error() != "alarm '1' has occurred 2 times, and 1 were seen: look at it again" {
		t.Errorf("an occurrence that is not the last: %v", err)
	}
	if err := b.AcknowledgeAlarm(b.ctx, "1", 2, "Ann"); err != nil {
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
