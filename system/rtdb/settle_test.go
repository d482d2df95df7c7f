package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// brief is a command that was sent and may be begun for 50 ms.
func brief(t *testing.T, b *bench) ems.Command {
	t.Helper()
	order := command(t, "brief")
	order.Deadline = order.Issued.Add(50 * time.Millisecond)
	if err := b.SendCommand(b.ctx, order); err != nil {
		t.Fatal(err)
	}
	return order
}

func wantUnsettled(t *testing.T, err error, code ems.Code, message string) {
	t.Helper()
	var coded *ems.Error
	if !errors.As(err, &coded) || coded.Code != code || coded.Message != message {
		t.Errorf("got %s %v\nwant %s %s", ems.CodeOf(err), err, code, message)
	}
}

func TestACommandThatNobodyTakesExpires(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	order := brief(t, b)
	result, err := b.SettleCommand(b.ctx, order)
	wantUnsettled(t, err, ems.CodeExpired, "the command expired, nothing was sent: nobody took the command: is comsrv running?")
	expect(t, "the state", result.State, ems.CommandQueued)
}

func TestACommandThatWasBegunAndNotEndedIsUnknown(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	order := brief(t, b)
	reader := b.ReadCommands("comsrv", []ems.ChannelID{1001})
	if _, err := reader.Next(b.ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	deliveries, err := reader.Next(b.ctx, time.Second)
	if err != nil || len(deliveries) != 1 {
		t.Fatalf("got %v, %v", deliveries, err)
	}
	if err := b.BeginCommand(b.ctx, deliveries[0]); err != nil {
		t.Fatal(err)
	}
	result, err := b.SettleCommand(b.ctx, order)
	wantUnsettled(t, err, ems.CodeUnknown, "whether the device has executed the command is unknown: comsrv has begun it and not told yet how it ended")
	expect(t, "the state", result.State, ems.CommandExecuting)
}

func TestACallerWhoGivesUpIsNotToldThatRedisIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	order := brief(t, b)
	ctx, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
	defer cancel()
	_, err := b.SettleCommand(ctx, order)
	wantUnsettled(t, err, ems.CodeUnknown, "how the command ended is not known yet: context deadline exceeded")
	ctx, cancel = context.WithTimeout(b.ctx, 100*time.Millisecond)
	defer cancel()
	result, err := b.AwaitCommand(ctx, 1001, order.ID)
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != context.DeadlineExceeded.Error() {
		t.Errorf("got %v", err)
	}
	expect(t, "the state when it gave up", result.State, ems.CommandQueued)
}

func TestARedisThatHangsIsSaidSoWhenACommandIsAwaited(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	order := brief(t, b)
	if err := b.raw.Do(b.ctx, "CLIENT", "PAUSE", 30_000, "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := b.SettleCommand(b.ctx, order)
	if ems.CodeOf(err) != ems.CodeUnknown || !contains(err.Error(), "redis did not answer comsrv_command_get") {
		t.Errorf("got %s %v", ems.CodeOf(err), err)
	}
	b.server.Kill()
}

// TestACommandThatRedisMayHaveTakenIsUnknown, on both ways on which one is sent.
func TestACommandThatRedisMayHaveTakenIsUnknown(t *testing.T) {
	t.Parallel()
	for function, send := range map[string]func(b *bench) error{
		"comsrv_command": func(b *bench) error { return b.SendCommand(b.ctx, command(t, "c1")) },
		"model_write":    func(b *bench) error { return second(b.WriteModel(b.ctx, "m", "power", command(t, "c1"))) },
	} {
		b := newBench(t, "") // of its own: after a first timeout the next call only greets, and sends nothing
		if err := b.raw.Do(b.ctx, "CLIENT", "PAUSE", 30_000, "ALL").Err(); err != nil {
			t.Fatal(err)
		}
		if err := send(b); ems.CodeOf(err) != ems.CodeUnknown || !contains(err.Error(), "redis did not answer "+function) {
			t.Errorf("%s: %s %v", function, ems.CodeOf(err), err)
		}
		b.server.Kill()
	}
}

// TestSendErrorTellsWhatRedisMayHaveTaken, so that nobody sends it again for nothing.
func TestSendErrorTellsWhatRedisMayHaveTaken(t *testing.T) {
	t.Parallel()
	command := ems.Command{ID: "c1", Target: ems.PointRef{Channel: 7, Type: ems.Adjustment, Point: 2}}
	for _, test := range []struct {
		err  error
		code ems.Code
	}{
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, ems.CodeUnknown},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, ems.CodeUnknown},
		{io.EOF, ems.CodeUnknown},
		{io.ErrUnexpectedEOF, ems.CodeUnknown}, // within its answer
		{context.DeadlineExceeded, ems.CodeUnknown},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, ems.CodeUnavailable},
		{errors.New("redis: connection pool timeout"), ems.CodeUnavailable},
	} {
		sent := ems.Errorf(ems.CodeUnavailable, "redis did not answer comsrv_command: %w", test.err)
		err := rtdb.SendError(command, sent)
		if ems.CodeOf(err) != test.code {
			t.Errorf("%v: %v", test.err, err)
		}
		var told *ems.Error
		named := []string{"command c1 for comsrv:7:A:2", "ask GET /api/channels/7/commands/c1"}
		if test.code == ems.CodeUnknown && (!errors.As(err, &told) || !slices.Equal(told.Details, named) || told.Message != fmt.Sprint("whether the command waits for its device is unknown: ", sent)) {
			t.Errorf("%+v", told)
		}
	}
	if err := rtdb.SendError(command, ems.Errorf(ems.CodeFull, "too many")); ems.CodeOf(err) != ems.CodeFull || err.Error() != "too many" {
		t.Errorf("a refusal is told in other words: %v", err)
	}
}
