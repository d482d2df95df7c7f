package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func command(t testing.TB, id string) ems.Command {
	return ems.Command{ID: id, Target: ref(t, "comsrv:1001:A:2"), Value: -12.5, Issued: start, Deadline: start.Add(5 * time.Second), Origin: "api"}
}

func TestACommandIsQueuedBegunAndFinishedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for range 2 { // the same id again is the same command
		if err := b.SendCommand(b.ctx, command(t, "c1")); err != nil {
			t.Fatal(err)
		}
	}
	other := command(t, "c1")
	other.Value = 3
	if err := b.SendCommand(b.ctx, other); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("another command of the same id: %v", err)
	}
	reader := b.ReadCommands("comsrv", []ems.ChannelID{1001, 1002})
	if again, err := reader.Next(b.ctx, time.Millisecond); err != nil || len(again) != 0 {
		t.Fatalf("nothing was delivered before: %v, %v", again, err)
	}
	deliveries, err := reader.Next(b.ctx, time.Second)
	if err != nil || len(deliveries) != 1 {
		t.Fatalf("got %v, %v", deliveries, err)
	}
	expect(t, "the command", deliveries[0].Command, command(t, "c1"))
	if err := b.BeginCommand(b.ctx, deliveries[0]); err != nil {
		t.Fatal(err)
	}
	if err := b.BeginCommand(b.ctx, deliveries[0]); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("begun twice: %v", err)
	}

	// A process that died here comes back and is given the same entry.
	again, err := b.ReadCommands("comsrv", []ems.ChannelID{1001}).Next(b.ctx, time.Millisecond)
	if err != nil || len(again) != 1 || again[0].ID != "c1" {
		t.Fatalf("after a restart: %v, %v", again, err)
	}

	waiting := make(chan ems.CommandResult, 1)
	go func() {
		result, err := b.AwaitCommand(b.ctx, 1001, "c1")
		if err != nil {
			result.Reason = err.Error()
		}
		waiting <- result
	}()
	readBack := -12.5
	want := ems.CommandResult{ID: "c1", Target: ref(t, "comsrv:1001:A:2"), Value: -12.5, State: ems.CommandDone, ReadBack: &readBack, Time: start.Add(time.Second)}
	if err := b.FinishCommand(b.ctx, deliveries[0], want); err != nil {
		t.Fatal(err)
	}
	expect(t, "the awaited result", <-waiting, want)
	// The first final state stands, and the entry is gone.
	late := want
	late.State, late.ReadBack = ems.CommandUnknown, nil
	if err := b.FinishCommand(b.ctx, again[0], late); err != nil {
		t.Fatal(err)
	}
	result, err := b.Command(b.ctx, 1001, "c1")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the stored result", result, want)
	if left := b.raw.XLen(b.ctx, "comsrv:1001:commands").Val(); left != 0 {
		t.Errorf("%d entries are left in the stream", left)
	}
	if told := b.raw.XLen(b.ctx, "comsrv:1001:commands:results").Val(); told != 1 {
		t.Errorf("%d results were told", told)
	}
}

func TestAllThatWasDeliveredBeforeARestartComesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	const many = 250 // more than one exchange carries
	want := map[string]bool{}
	for i := range many {
		order := command(t, fmt.Sprintf("c%d", i))
		order.Target.Channel = ems.ChannelID(1001 + i%2)
		want[order.ID] = true
		if err := b.SendCommand(b.ctx, order); err != nil {
			t.Fatal(err)
		}
	}
	channels := []ems.ChannelID{1001, 1002}
	drain := func(reader *rtdb.CommandReader) map[string]bool {
		got := map[string]bool{}
		for range 10 {
			deliveries, err := reader.Next(b.ctx, time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, delivery := range deliveries {
				if got[delivery.ID] {
					t.Errorf("%s was delivered twice", delivery.ID)
				}
				got[delivery.ID] = true
			}
		}
		return got
	}
	expect(t, "delivered at first", drain(b.ReadCommands("comsrv", channels)), want)
	expect(t, "delivered again", drain(b.ReadCommands("comsrv", channels)), want)
}

func TestACommandIsNotBegunAfterItsDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.SendCommand(b.ctx, command(t, "late")); err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(5*time.Second + time.Millisecond)
	reader := b.ReadCommands("comsrv", []ems.ChannelID{1001})
	if _, err := reader.Next(b.ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	deliveries, err := reader.Next(b.ctx, time.Second)
	if err != nil || len(deliveries) != 1 {
		t.Fatalf("got %v, %v", deliveries, err)
	}
	if err := b.BeginCommand(b.ctx, deliveries[0]); ems.CodeOf(err) != ems.CodeExpired {
		t.Errorf("got %v, want EXPIRED", err)
	}
}

func TestCommandsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for name, spoil := range map[string]func(*ems.Command){
		"a telemetry point":  func(c *ems.Command) { c.Target.Type = ems.Telemetry },
		"no id":              func(c *ems.Command) { c.ID = "" },
		"an id with a colon": func(c *ems.Command) { c.ID = "a:b" },
		"point 0":            func(c *ems.Command) { c.Target.Point = 0 },
		"no origin":          func(c *ems.Command) { c.Origin = "" },
	} {
		spoilt := command(t, "c")
		spoil(&spoilt)
		if err := b.SendCommand(b.ctx, spoilt); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	dead := command(t, "dead")
	dead.Deadline = dead.Issued
	if err := b.SendCommand(b.ctx, dead); ems.CodeOf(err) != ems.CodeExpired {
		t.Errorf("a deadline that has passed: %v", err)
	}
	expect(t, "keys", b.dump(t), map[string]string{})
	if _, err := b.Command(b.ctx, 1001, "none"); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("an unknown command: %v", err)
	}
}

func TestAFullCommandQueueRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for i := range 1000 {
		if err := b.SendCommand(b.ctx, command(t, "c"+string(rune('a'+i%26))+time.Duration(i).String())); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SendCommand(b.ctx, command(t, "one-more")); ems.CodeOf(err) != ems.CodeFull {
		t.Errorf("got %v, want FULL", err)
	}
}

func TestTheEndOfACommandIsToldByItsCode(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for state, want := range map[ems.CommandState]ems.Code{
		ems.CommandFailed: ems.CodeConflict, ems.CommandExpired: ems.CodeExpired, ems.CommandUnknown: ems.CodeUnknown,
	} {
		order := command(t, string(state))
		if err := b.SendCommand(b.ctx, order); err != nil {
			t.Fatal(err)
		}
		reader := b.ReadCommands("comsrv", []ems.ChannelID{1001})
		var deliveries []rtdb.Delivery
		for len(deliveries) == 0 {
			var err error
			if deliveries, err = reader.Next(b.ctx, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.FinishCommand(b.ctx, deliveries[0], ems.CommandResult{State: state, Reason: "because", Time: start}); err != nil {
			t.Fatal(err)
		}
		_, err := b.SettleCommand(b.ctx, order)
		var coded *ems.Error
		if !errors.As(err, &coded) || coded.Code != want || !contains(coded.Message, "because") || !contains(coded.Details[0], order.ID) {
			t.Errorf("%s: %+v", state, err)
		}
	}
}

func TestWaitingForACommandEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.SendCommand(b.ctx, command(t, "slow")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, 50*time.Millisecond)
	defer cancel()
	if result, err := b.AwaitCommand(ctx, 1001, "slow"); err == nil {
		t.Errorf("got %+v", result)
	}
}

func TestACommandThatCannotBeReadIsDroppedAndTheNextComes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.raw.XAdd(b.ctx, &redis.XAddArgs{Stream: "comsrv:1001:commands", Values: []string{"id", "x", "type", "Q"}}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.SendCommand(b.ctx, command(t, "good")); err != nil {
		t.Fatal(err)
	}
	reader := b.ReadCommands("comsrv", []ems.ChannelID{1001})
	var got []rtdb.Delivery
	for len(got) == 0 {
		next, err := reader.Next(b.ctx, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, next...)
	}
	if len(got) != 1 || got[0].ID != "good" {
		t.Errorf("got %+v", got)
	}
	if length := b.raw.XLen(b.ctx, "comsrv:1001:commands").Val(); length != 1 {
		t.Errorf("the stream holds %d entries, want the good one alone", length)
	}
}
