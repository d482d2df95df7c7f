package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// fill makes a Redis believe that its memory is full; the function returned makes
// room again.
func (b *bench) fill(t *testing.T) (makeRoom func()) {
	t.Helper()
	limit := func(bytes string) {
		if err := b.raw.ConfigSet(b.ctx, "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit("1")
	return func() { limit("0") }
}

// waiting lays out a site in which an alarm, notifications, commands and a line of
// history wait for somebody.
func (b *bench) waiting(t *testing.T) (begun []rtdb.Delivery, alarmID string) {
	t.Helper()
	if err := errors.Join(b.ConfigureMapping(b.ctx, mapping()), b.UpsertRule(b.ctx, hot()), b.UpsertTemplate(b.ctx, batteryTemplate()), b.UpsertModel(b.ctx, battery("b1"))); err != nil {
		t.Fatal(err)
	}
	commands := b.ReadCommands("comsrv", []ems.ChannelID{1001})
	if _, err := commands.Next(b.ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadNotifications("test", []string{"test"}).Next(b.ctx, 0); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60}, rtdb.Sample{Point: 2, Number: 1})
	if err := b.SendCommand(b.ctx, command(t, "second")); err != nil {
		t.Fatal(err)
	}
	alarm, err := b.StoreAlarm(b.ctx, ems.NewAlarm{Source: "here", Level: "Warning", Title: "by hand"})
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := commands.Next(b.ctx, time.Second)
	if err != nil || len(deliveries) != 2 {
		t.Fatalf("%v, %v", deliveries, err)
	}
	for _, delivery := range deliveries {
		if err := b.BeginCommand(b.ctx, delivery); err != nil {
			t.Fatal(err)
		}
	}
	return deliveries, alarm.ID
}

// At maxmemory what would grow is refused as FULL and writes nothing. What drains,
// answers and acknowledges goes on, and so does everything once there is room.
func TestAFullRedisRefusesGrowthAndServesTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	deliveries, alarm := b.waiting(t)
	makeRoom := b.fill(t)
	before := b.dump(t)
	sample := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 1}}}
	for what, err := range map[string]error{
		"ingest":          b.Ingest(b.ctx, sample),
		"two batches":     b.Ingest(b.ctx, sample, sample),
		"a command":       b.SendCommand(b.ctx, command(t, "third")),
		"a rule":          b.UpsertRule(b.ctx, hot()),
		"a model":         b.UpsertModel(b.ctx, battery("b2")),
		"a mapping":       b.ConfigureMapping(b.ctx, mapping()),
		"a status":        b.SetStatus(b.ctx, 1001, rtdb.ChannelStatus{}),
		"the library":     b.Load(b.ctx),
		"a write through": second(b.WriteModel(b.ctx, "b1", "power", command(t, "fourth"))),
		"an alarm":        second(b.StoreAlarm(b.ctx, ems.NewAlarm{Source: "there", Level: "Warning", Title: "new"})),
	} {
		if ems.CodeOf(err) != ems.CodeFull || !strings.Contains(err.Error(), "redis is at its memory limit and refused ") || !strings.HasSuffix(err.Error(), ": raise maxmemory or free memory") {
			t.Errorf("%s: %s %v", what, ems.CodeOf(err), err)
		}
	}
	expect(t, "what the refused calls left", b.dump(t), before)

	b.drain(t, deliveries, alarm)
	for what, err := range map[string]error{
		"points":         second(b.ReadPoints(b.ctx, 1001, ems.Telemetry, []ems.PointID{1})),
		"a model":        second(b.ReadModel(b.ctx, "b1")),
		"a rule":         second(b.Rule(b.ctx, "hot")),
		"alarms":         second(b.Alarms(b.ctx, rtdb.AlarmFilter{Active: true, Count: 10})),
		"the channel":    second(b.Status(b.ctx, 1001)),
		"the feed":       second(b.BatchStatus(b.ctx)),
		"the functions":  second(b.CheckFunctions(b.ctx)),
		"the connection": second(b.CheckRedis(b.ctx)),
	} {
		if err != nil {
			t.Errorf("reading %s: %v", what, err)
		}
	}

	makeRoom()
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 3})
	values, err := b.ReadPoints(b.ctx, 1001, ems.Telemetry, []ems.PointID{1})
	if err != nil || values[0].Number != 3 {
		t.Errorf("with room again: %v, %v", values, err)
	}
	if err := errors.Join(b.SendCommand(b.ctx, command(t, "fifth")), b.UpsertRule(b.ctx, hot()), b.Load(b.ctx)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// second drops the first result of a call.
func second[T any](_ T, err error) error { return err }

// drain finishes everything that waits in a Redis that is full.
func (b *bench) drain(t *testing.T, deliveries []rtdb.Delivery, alarm string) {
	t.Helper()
	lines, err := b.CollectLines(b.ctx, "hissrv", false, 10)
	if err != nil || len(lines) != 1 {
		t.Fatalf("history: %v, %v", lines, err)
	}
	if err := b.FinishLines(b.ctx, lines); err != nil {
		t.Errorf("finishing history: %v", err)
	}
	if err := b.RejectLine(b.ctx, rtdb.Line{Entry: "1-1", Text: "x"}, "poison"); err != nil {
		t.Errorf("rejecting a line: %v", err)
	}
	for _, delivery := range deliveries {
		if err := b.FinishCommand(b.ctx, delivery, ems.CommandResult{State: ems.CommandDone, Time: start}); err != nil {
			t.Errorf("command %s: %v", delivery.ID, err)
		}
		if result, err := b.Command(b.ctx, 1001, delivery.ID); err != nil || result.State != ems.CommandDone {
			t.Errorf("command %s: %v, %v", delivery.ID, result, err)
		}
	}
	// A service that starts now takes what waits as well.
	if again, err := b.ReadCommands("comsrv", []ems.ChannelID{1001}).Next(b.ctx, time.Millisecond); err != nil || len(again) != 0 {
		t.Errorf("a new reader of commands: %v, %v", again, err)
	}
	if notices := b.notices(t); len(notices) != 3 {
		t.Errorf("notifications: %v", notices)
	}
	if err := errors.Join(b.AcknowledgeAlarm(b.ctx, alarm, 1, "me"), b.ResolveAlarm(b.ctx, alarm, "me")); err != nil {
		t.Errorf("the alarm: %v", err)
	}
	if removed, err := b.CleanUpAlarms(b.ctx, time.Hour, 1); err != nil || removed != 0 {
		t.Errorf("cleaning up: %d, %v", removed, err)
	}
	for key, want := range map[string]int64{"hissrv:stream": 0, "comsrv:1001:commands": 0, "rulesrv:actions": 0, "alarmsrv:notifications": 0} {
		if left := b.raw.XLen(b.ctx, key).Val(); left != want {
			t.Errorf("%d entries are left in %s", left, key)
		}
	}
}

// A service whose part of the site cannot be stored says so once, tries again,
// and goes on by itself when there is room.
func TestWatchRecoversFromAFullRedis(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.raw.Set(b.ctx, "voltage:life", "mark", 0).Err(); err != nil {
		t.Fatal(err)
	}
	makeRoom := b.fill(t)
	lines := make(firstLine, 1)
	client, err := rtdb.Open(rtdb.Options{URL: b.server.URL, Clock: ems.SystemClock{}, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Watch(ctx, func(ctx context.Context) error { return client.UpsertRule(ctx, hot()) })
	}()
	defer func() {
		cancel()
		<-ended
		_ = client.Close()
	}()
	if line := <-lines; !strings.Contains(line, "the site cannot be stored in redis; trying again") || !strings.Contains(line, "raise maxmemory or free memory") {
		t.Errorf("logged %s", line)
	}
	makeRoom()
	testkit.Eventually(t, 20*time.Second, func() error {
		if _, err := b.Rule(b.ctx, "hot"); err != nil {
			return fmt.Errorf("the site is not stored: %w", err)
		}
		return nil
	}, "Watch stores the site")
}
