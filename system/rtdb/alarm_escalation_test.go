package rtdb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// escalate gives the site these steps and does what follows at once, call by call:
// it returns how many escalations each call of alarm_tick had left scheduled.
func (b *bench) escalate(t *testing.T, steps ...ems.EscalationStep) (scheduled []int) {
	t.Helper()
	settings := ems.DefaultAlarmSettings()
	settings.FloodLimit, settings.Escalation = 100_000, steps
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var err error
		if _, more, err = b.TickAlarms(b.ctx); err != nil {
			t.Fatal(err)
		}
		scheduled = append(scheduled, len(b.escalations(t)))
	}
	return scheduled
}

// escalations lists when which alarm is to escalate: "17 at 20s" after the start.
func (b *bench) escalations(t *testing.T) []string {
	t.Helper()
	members, err := b.raw.ZRangeWithScores(b.ctx, "alarmsrv:due", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, member := range members {
		if id, found := strings.CutPrefix(member.Member.(string), "escalate:"); found {
			list = append(list, fmt.Sprintf("%s at %v", id, time.UnixMilli(int64(member.Score)).Sub(start)))
		}
	}
	return list
}

// escalated lists what the journal tells of escalations, and when.
func (b *bench) escalated(t *testing.T) []string {
	t.Helper()
	entries, err := b.JournalAfter(b.ctx, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, entry := range entries {
		if entry.Event == ems.AlarmEscalated {
			list = append(list, fmt.Sprintf("%s %s %v", entry.Alarm, entry.Text, entry.Time.Sub(start)))
		}
	}
	return list
}

// Settings with other steps of escalation hold for the alarms that stand, from the
// time that each has waited; the same settings once more change nothing.
func TestOtherStepsOfEscalationHoldForStandingAlarms(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	sound := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.escalate(t)
	b.raiseAbout(t, "stands", ems.Minor)
	b.raiseAbout(t, "acknowledged", ems.Minor)
	sound(b.AcknowledgeAlarm(b.ctx, "2", 1, "Ann"))
	b.raiseAbout(t, "shelved", ems.Minor)
	sound(b.ShelveAlarm(b.ctx, "3", "Ann", "known", start.Add(time.Hour)))
	b.raiseAbout(t, "cleared", ems.Minor)
	sound(b.ResolveAlarm(b.ctx, "4", "Ann"))
	sound(b.SuppressAlarms(b.ctx, ems.Suppression{ID: "pv", Scope: ems.SuppressSource, Value: "pv", By: "Ann", Reason: "new"}))
	b.raiseAbout(t, "pv", ems.Minor)
	b.clock.Advance(10 * time.Second)
	b.raiseAbout(t, "stands-later", ems.Minor)
	b.raiseAbout(t, "critical", ems.Critical)
	expect(t, "without steps", b.escalations(t), []string{})

	told := ems.EscalationStep{Level: ems.Minor, After: 20 * time.Second, Notify: "workshop"}
	raised := ems.EscalationStep{Level: ems.Minor, After: time.Minute, To: ems.Major}
	b.escalate(t, told, raised)
	expect(t, "with steps", b.escalations(t), []string{"1 at 20s", "6 at 30s"})
	b.clock.Advance(15 * time.Second)
	b.tick(t)
	expect(t, "told of", b.escalated(t), []string{"1 workshop 25s"})
	expect(t, "what follows", b.escalations(t), []string{"6 at 30s", "1 at 1m0s"})

	before := b.dump(t)
	expect(t, "the calls after a restart", b.escalate(t, told, raised), []int{2})
	expect(t, "what a restart changes", b.dump(t), before)
	b.escalate(t, raised, told)
	expect(t, "in another order", b.escalations(t), []string{"6 at 30s", "1 at 1m0s"})

	// One has been told of later than this says, two are overdue by it.
	b.escalate(t, ems.EscalationStep{Level: ems.Minor, After: 10 * time.Second, Notify: "manager"},
		ems.EscalationStep{Level: ems.Minor, After: 40 * time.Second, To: ems.Major}, ems.EscalationStep{Level: ems.Critical, After: 5 * time.Second, Notify: "boss"})
	expect(t, "overdue", b.escalated(t), []string{"1 workshop 25s", "7 boss 25s", "6 manager 25s"})
	expect(t, "by other steps", b.escalations(t), []string{"1 at 40s", "6 at 50s"})
	sound(b.UnshelveAlarm(b.ctx, "3", "Ann"))
	sound(b.EndSuppression(b.ctx, "pv", "Ann"))
	expect(t, "shown again", b.escalations(t), []string{"3 at 35s", "5 at 35s", "1 at 40s", "6 at 50s"})

	b.escalate(t)
	expect(t, "without steps again", b.escalations(t), []string{})
	b.clock.Advance(25 * time.Second)
	b.escalate(t, raised)
	expect(t, "escalated in the end", b.escalated(t), []string{"1 workshop 25s", "7 boss 25s", "6 manager 25s"})
	expect(t, "scheduled in the end", b.escalations(t), []string{"1 at 1m0s", "6 at 1m10s", "3 at 1m25s", "5 at 1m25s"})
	b.clock.Advance(10 * time.Second)
	b.tick(t)
	expect(t, "to another level", b.escalated(t)[3:], []string{"1 Minor to Major 1m0s"})
	if faults := recount(t, b); len(faults) > 0 {
		t.Error(faults)
	}
}

// A site with many alarms takes other steps in small parts.
func TestManyStandingAlarmsAreScheduledInParts(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.escalate(t)
	for i := range 250 {
		b.raiseAbout(t, fmt.Sprintf("p-%d", i), ems.Minor)
	}
	hourly := ems.EscalationStep{Level: ems.Minor, After: time.Hour, To: ems.Major}
	expect(t, "scheduled", b.escalate(t, hourly), []int{100, 200, 250})
	expect(t, "once more", b.escalate(t, hourly), []int{250})
	expect(t, "taken back", b.escalate(t), []int{150, 50, 0})
}
