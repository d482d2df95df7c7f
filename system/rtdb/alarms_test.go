package rtdb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
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
	if err := b.AcknowledgeAlarm(b.ctx, "1", "Ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.AcknowledgeAlarm(b.ctx, "1", "Bob"); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("acknowledged twice: %v", err)
	}
	b.clock.Advance(time.Second)
	if err := b.ResolveAlarm(b.ctx, "1", "Bob"); err != nil {
		t.Fatal(err)
	}
	if err := b.ResolveAlarm(b.ctx, "1", "Bob"); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("resolved twice: %v", err)
	}
	expect(t, "the journal", b.show(t, "alarmsrv:journal"), strings.Join([]string{
		"alarm=1 by=operator from= time=1782000000000 to=active_unacknowledged",
		"alarm=1 by=Ann from=active_unacknowledged time=1782000001000 to=active_acknowledged",
		"alarm=1 by=Bob from=active_acknowledged time=1782000002000 to=closed",
	}, "\n"))
	for _, err := range []error{b.AcknowledgeAlarm(b.ctx, "99", "Ann"), b.ResolveAlarm(b.ctx, "99", "Ann")} {
		if ems.CodeOf(err) != ems.CodeNotFound {
			t.Errorf("an alarm that never was: %v", err)
		}
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
	} {
		alarm := doorOpen()
		spoil(&alarm)
		if _, err := b.StoreAlarm(b.ctx, alarm); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "keys", b.dump(t), map[string]string{})
}

// Random raising, acknowledging, resolving and cleaning up against a plain
// model of the life cycle: states, lists and indexes always agree.
func TestAlarmsFollowAPlainModel(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rapid.Check(t, func(t *rapid.T) {
		if err := b.raw.FlushAll(b.ctx).Err(); err != nil {
			t.Fatal(err)
		}
		model := &alarmModel{open: map[string]string{}}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			b.clock.Advance(time.Second)
			model.step(t, b)
			model.check(t, b)
		}
	})
}

type alarmModel struct {
	alarms []*ems.Alarm // in the order of raising
	open   map[string]string
}

func (m *alarmModel) step(t *rapid.T, b *bench) {
	switch action := rapid.SampledFrom([]string{"raise", "raise", "acknowledge", "resolve", "clean up"}).Draw(t, "action"); action {
	case "raise":
		source := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "source")
		level := rapid.SampledFrom(ems.AlarmLevels[:]).Draw(t, "level")
		got, err := b.StoreAlarm(b.ctx, ems.NewAlarm{Source: source, Level: level, Title: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if id, exists := m.open[source]; exists {
			if alarm := m.find(id); alarm != nil {
				alarm.Occurrences++
				alarm.LastAt = b.clock.Now()
			}
			return
		}
		m.open[source] = got.ID
		m.alarms = append(m.alarms, &ems.Alarm{
			ID: got.ID, Source: source, Level: level, Title: "t", State: ems.ActiveUnacknowledged,
			Occurrences: 1, RaisedAt: b.clock.Now(), LastAt: b.clock.Now(),
		})
	case "clean up":
		keep := rapid.IntRange(0, 3).Draw(t, "keep")
		removed, err := b.CleanUpAlarms(b.ctx, time.Hour, keep)
		if err != nil {
			t.Fatal(err)
		}
		if want := m.cleanUp(keep); removed != want {
			t.Fatalf("%d alarms were removed, want %d", removed, want)
		}
	default:
		if len(m.alarms) == 0 {
			return
		}
		alarm := rapid.SampledFrom(m.alarms).Draw(t, "alarm")
		err := m.move(alarm, action, b)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// move acknowledges or resolves in both worlds and compares whether it may be.
func (m *alarmModel) move(alarm *ems.Alarm, action string, b *bench) error {
	now, before := b.clock.Now(), alarm.State
	var err error
	switch action {
	case "resolve":
		err = b.ResolveAlarm(b.ctx, alarm.ID, "Ann")
		if before.Active() {
			alarm.ClearedAt = &now
			alarm.State = ems.ClearedUnacknowledged
			if before == ems.ActiveAcknowledged {
				alarm.State = ems.Closed
			}
			delete(m.open, alarm.Source)
		}
	default:
		err = b.AcknowledgeAlarm(b.ctx, alarm.ID, "Ann")
		switch before {
		case ems.ActiveUnacknowledged:
			alarm.State = ems.ActiveAcknowledged
		case ems.ClearedUnacknowledged:
			alarm.State = ems.Closed
		}
		if alarm.State != before {
			alarm.Acknowledged, alarm.AckedBy = &now, "Ann"
		}
	}
	if refused := ems.CodeOf(err) == ems.CodeConflict; refused != (alarm.State == before) || err != nil && !refused {
		return fmt.Errorf("%s of a %s alarm: %w", action, before, err)
	}
	return nil
}

func (m *alarmModel) find(id string) *ems.Alarm {
	for _, alarm := range m.alarms {
		if alarm.ID == id {
			return alarm
		}
	}
	return nil
}

// closedAt is when an alarm closed: the later of clearing and acknowledging.
func closedAt(alarm *ems.Alarm) time.Time {
	if alarm.Acknowledged.After(*alarm.ClearedAt) {
		return *alarm.Acknowledged
	}
	return *alarm.ClearedAt
}

func (m *alarmModel) cleanUp(keep int) int {
	var closed []*ems.Alarm
	for _, alarm := range m.alarms {
		if alarm.State == ems.Closed {
			closed = append(closed, alarm)
		}
	}
	slices.SortStableFunc(closed, func(a, b *ems.Alarm) int { return closedAt(a).Compare(closedAt(b)) })
	surplus := max(0, len(closed)-keep)
	for _, gone := range closed[:surplus] {
		m.alarms = slices.DeleteFunc(m.alarms, func(a *ems.Alarm) bool { return a == gone })
	}
	return surplus
}

func (m *alarmModel) check(t *rapid.T, b *bench) {
	t.Helper()
	for _, filter := range []rtdb.AlarmFilter{
		{Count: 100}, {Active: true, Count: 100}, {Level: ems.Major, Count: 100}, {Source: "a", Active: true, Count: 100}, {Count: 2},
		{Source: "b", Level: ems.Info, Count: 100},
	} {
		var want []ems.Alarm
		for _, alarm := range slices.Backward(m.alarms) {
			matches := (!filter.Active || alarm.State.Active()) && (filter.Level == "" || alarm.Level == filter.Level) && (filter.Source == "" || alarm.Source == filter.Source)
			if matches && len(want) < filter.Count {
				want = append(want, *alarm)
			}
		}
		got, err := b.Alarms(b.ctx, filter)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 && len(want) == 0 {
			continue
		}
		expectAlarms(t, filter, got, want)
	}
	if members := b.raw.SCard(b.ctx, "alarmsrv:alarms:active").Val(); int(members) != len(m.open) {
		t.Fatalf("the set of active alarms has %d members, want %d", members, len(m.open))
	}
}

func expectAlarms(t *rapid.T, filter rtdb.AlarmFilter, got, want []ems.Alarm) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%+v: %d alarms, want %d", filter, len(got), len(want))
	}
	for i := range got {
		if g, w := fmt.Sprintf("%+v %v %v", plain(got[i]), got[i].ClearedAt, got[i].Acknowledged), fmt.Sprintf("%+v %v %v", plain(want[i]), want[i].ClearedAt, want[i].Acknowledged); g != w {
			t.Fatalf("%+v: alarm %d is\n%s\nwant\n%s", filter, i, g, w)
		}
	}
}

func plain(alarm ems.Alarm) ems.Alarm {
	alarm.ClearedAt, alarm.Acknowledged = nil, nil
	return alarm
}
