package comsrv

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// command asks for a point of channel 1 within a minute.
func command(id string, kind ems.PointType, point ems.PointID, value float64) ems.Command {
	now := time.Now()
	return ems.Command{
		ID: id, Target: ems.PointRef{Channel: 1, Type: kind, Point: point}, Value: value,
		Issued: now, Deadline: now.Add(time.Minute), Origin: "test",
	}
}

func (p *plant) send(commands ...ems.Command) {
	p.t.Helper()
	for _, command := range commands {
		if err := p.DB.SendCommand(context.Background(), command); err != nil {
			p.t.Fatal(err)
		}
	}
}

// await returns how a command of channel 1 ended, without its time.
func (p *plant) await(id string) ems.CommandResult {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), servicetest.Soon)
	defer cancel()
	result, err := p.DB.AwaitCommand(ctx, 1, id)
	if err != nil {
		p.t.Fatalf("command %s: %v", id, err)
	}
	result.Time = time.Time{}
	return result
}

func (p *plant) wantEnd(command ems.Command, state ems.CommandState, readBack *float64, reason string) {
	p.t.Helper()
	want := ems.CommandResult{ID: command.ID, Target: command.Target, State: state, Value: command.Value, ReadBack: readBack, Reason: reason}
	if diff := cmp.Diff(want, p.await(command.ID)); diff != "" {
		p.t.Errorf("command %s (-want +got):\n%s", command.ID, diff)
	}
}

// wantEmptyStream: a command that has ended is in the stream no more.
func (p *plant) wantEmptyStream() {
	p.t.Helper()
	p.eventually(func() error {
		waiting, err := p.Raw.XLen(context.Background(), "comsrv:1:commands").Result()
		if err == nil && waiting != 0 {
			err = fmt.Errorf("%d commands are in the stream", waiting)
		}
		return err
	}, "the stream is empty")
}

func number(value float64) *float64 { return &value }

// TestCommandsAreDoneAndReadBack writes a point of each kind; the value is in the
// hash by the time the command is done.
func TestCommandsAreDoneAndReadBack(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.holding[20] = 0x8001 })
	long := field(1, d.address, allKinds()...)
	long.PollPeriod = time.Hour // so that no poll brings what is read back
	p := newPlant(t, long)
	p.start()
	p.awaitStatus(1, true, "")
	for _, check := range []struct {
		command ems.Command
		written string
		key     string
		stored  string
	}{
		{command("c1", ems.Control, 1, 1), "5@0=65280", "comsrv:1:C", "1.000000"},
		{command("c2", ems.Control, 2, 1), "6@20=32777", "comsrv:1:C", "1.000000"},
		{command("a1", ems.Adjustment, 1, 12.5), "6@10=25", "comsrv:1:A", "12.500000"},
		{command("a2", ems.Adjustment, 2, 99.25), "16@12=2", "comsrv:1:A", "99.250000"},
	} {
		p.send(check.command)
		p.wantEnd(check.command, ems.CommandDone, number(check.command.Value), "")
		if stored := p.hash(check.key)[fmt.Sprint(check.command.Target.Point)]; stored != check.stored {
			t.Errorf("%s holds %q when %s is done", check.key, stored, check.command.ID)
		}
		written := d.written()
		if last := written[len(written)-1]; last != check.written {
			t.Errorf("%s was written as %s, want %s", check.command.ID, last, check.written)
		}
	}
	if written := d.written(); len(written) != 4 {
		t.Errorf("writes: %v", written)
	}
	p.wantEmptyStream()
	p.eventually(func() error {
		if done := testutil.ToFloat64(p.service.metrics.commands.WithLabelValues("done")); done != 4 {
			return fmt.Errorf("%v", done)
		}
		return nil
	}, "4 commands are counted as done")
}

// TestCommandsThatFail: each says why, and what is refused before the device
// never reaches it.
func TestCommandsThatFail(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.refuse[6] = 3 })
	disabled := field(1, d.address, allKinds()...)
	disabled.ID, disabled.Enabled = 2, false
	p := newPlant(t, field(1, d.address, allKinds()...), disabled)
	p.start()
	p.awaitStatus(1, true, "")

	refused := command("refused", ems.Adjustment, 1, 10)
	p.send(refused)
	p.wantEnd(refused, ems.CommandFailed, nil, "refused by the device: the device answered exception 3 (illegal data value) to function 6")
	if diff := cmp.Diff([]string{"6@10=20"}, d.written()); diff != "" {
		t.Fatal(diff)
	}
	for _, check := range []struct {
		command ems.Command
		reason  string
	}{
		{command("above", ems.Adjustment, 2, 100.5), "100.5 is above the greatest value of setpoint, 100 kW"},
		{command("below", ems.Adjustment, 2, -1), "-1 is below the least value of setpoint, 0 kW"},
		{command("no-point", ems.Adjustment, 9, 1), "channel 1 has no point A:9"},
		{command("no-bit", ems.Control, 1, 2), "not sent: raw value 2 is neither 0 nor 1, and the point is a single bit"},
		{command("too-large", ems.Adjustment, 1, 40000), "not sent: raw value 80000 does not fit uint16, which holds 0 to 65535"},
	} {
		p.send(check.command)
		p.wantEnd(check.command, ems.CommandFailed, nil, check.reason)
	}
	off := command("off", ems.Adjustment, 1, 1)
	off.Target.Channel = 2
	p.send(off)
	p.eventually(func() error {
		result, err := p.DB.Command(t.Context(), 2, "off")
		if err == nil && (result.State != ems.CommandFailed || result.Reason != "channel 2 is not run: the channel is disabled; enable it where it is written") {
			err = fmt.Errorf("%+v", result)
		}
		return err
	}, "a command for a disabled channel")
	if written := d.written(); len(written) != 1 {
		t.Errorf("writes: %v", written)
	}

	d.set(func() { delete(d.refuse, 6); d.stick[10] = 3 })
	stuck := command("stuck", ems.Adjustment, 1, 10)
	p.send(stuck)
	p.wantEnd(stuck, ems.CommandFailed, number(1.5), "the device confirmed raw value 20 and shows 3")
	p.wantEmptyStream()
}

func TestCommandForADeviceThatIsAwayFails(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.off()
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	sent := command("away", ems.Control, 1, 1)
	p.send(sent)
	p.wantEnd(sent, ems.CommandFailed, nil,
		"nothing was sent, the device is not reachable: "+d.address+" cannot be reached: connect: connection refused")
	d.on()
	p.awaitStatus(1, true, "")
	if written := d.written(); len(written) != 0 {
		t.Errorf("the device that came back was written to: %v", written)
	}
}

// TestCommandWithoutAnswerIsUnknown and was executed once at most.
func TestCommandWithoutAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.silent[5] = true })
	entry := field(1, d.address, allKinds()...)
	entry.Timeout = 300 * time.Millisecond
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	sent := command("silent", ems.Control, 1, 1)
	p.send(sent)
	p.wantEnd(sent, ems.CommandUnknown, nil, "not confirmed: "+d.address+" did not answer in whole within 300ms")
	if diff := cmp.Diff([]string{"5@0=65280"}, d.written()); diff != "" {
		t.Error(diff)
	}
	// The device had executed it, as the next poll shows.
	p.eventually(func() error {
		if stored := p.hash("comsrv:1:C")["1"]; stored != "1.000000" {
			return fmt.Errorf("C:1 is %s", stored)
		}
		return nil
	}, "the poll after the write")
	p.stop()
	p.start()
	p.awaitStatus(1, true, "")
	again := command("after", ems.Control, 2, 1)
	p.send(again)
	p.wantEnd(again, ems.CommandDone, number(1), "")
	if diff := cmp.Diff([]string{"5@0=65280", "6@20=8"}, d.written()); diff != "" {
		t.Error("after a restart:", diff)
	}
}

// TestExpiredCommandIsNeverSent, whether it waited for comsrv or for its turn.
func TestExpiredCommandIsNeverSent(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	early := command("early", ems.Control, 1, 1)
	early.Deadline = early.Issued.Add(time.Millisecond)
	p.send(early)
	for !time.Now().After(early.Deadline.Add(time.Millisecond)) {
		time.Sleep(time.Millisecond)
	}
	p.start()
	p.wantEnd(early, ems.CommandExpired, nil, "the deadline of command 'early' has passed")

	p.awaitStatus(1, true, "")
	d.hold(1, 2, 3, 4)
	d.awaitHeld()
	held := command("held", ems.Control, 1, 1)
	held.Deadline = held.Issued.Add(100 * time.Millisecond)
	p.send(held)
	for !time.Now().After(held.Deadline.Add(time.Millisecond)) {
		time.Sleep(time.Millisecond)
	}
	d.release()
	p.wantEnd(held, ems.CommandExpired, nil, "the deadline of command 'held' has passed")
	if written := d.written(); len(written) != 0 {
		t.Errorf("writes: %v", written)
	}
	p.wantEmptyStream()
}

// TestWriteUnderWayOutlivesTheStop: comsrv is stopped while the device has not
// answered yet, and the command ends as done.
func TestWriteUnderWayOutlivesTheStop(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	d.hold(6)
	last := command("last", ems.Adjustment, 1, 10)
	p.send(last)
	d.awaitHeld()
	p.cancel()
	d.release()
	p.stop()
	p.wantEnd(last, ems.CommandDone, number(10), "")
	p.wantEmptyStream()
}

func TestSameIDIsExecutedOnce(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	once := command("once", ems.Adjustment, 1, 10)
	p.send(once, once)
	p.wantEnd(once, ems.CommandDone, number(10), "")
	p.send(once)
	// The same id in the stream again, as a caller that goes around the library
	// would put it there.
	err := p.Raw.Do(t.Context(), "XADD", "comsrv:1:commands", "*", "id", "once", "type", "A", "point", "1", "value", "10.000000",
		"issued", "1", "deadline", "9999999999999", "origin", "test").Err()
	if err != nil {
		t.Fatal(err)
	}
	after := command("after", ems.Adjustment, 1, 20)
	p.send(after)
	p.wantEnd(after, ems.CommandDone, number(20), "")
	p.wantEmptyStream()
	p.wantEnd(once, ems.CommandDone, number(10), "")
	if diff := cmp.Diff([]string{"6@10=20", "6@10=40"}, d.written()); diff != "" {
		t.Error(diff)
	}
}

// TestCommandBegunBeforeACrashIsUnknown: one that an earlier run had begun may
// have reached the device and is not sent; one that it had only taken is.
func TestCommandBegunBeforeACrashIsUnknown(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	begun, taken := command("begun", ems.Adjustment, 1, 10), command("taken", ems.Adjustment, 1, 20)
	p.send(begun, taken)
	reader := p.DB.ReadCommands(consumer, []ems.ChannelID{1})
	var deliveries []rtdb.Delivery
	p.eventually(func() (err error) { // the first call asks for what was taken before
		deliveries, err = reader.Next(t.Context(), time.Second)
		if err == nil && len(deliveries) != 2 {
			err = fmt.Errorf("%d commands", len(deliveries))
		}
		return err
	}, "two commands")
	if err := p.DB.BeginCommand(t.Context(), deliveries[0]); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.wantEnd(begun, ems.CommandUnknown, nil, "it was begun before comsrv was restarted and may have reached the device")
	p.wantEnd(taken, ems.CommandDone, number(20), "")
	if diff := cmp.Diff([]string{"6@10=40"}, d.written()); diff != "" {
		t.Error(diff)
	}
	p.wantEmptyStream()
}

// TestStreamReadAnew: when Redis has newly appeared the stream is read from the
// beginning. What is under way is left alone, and what was handed out and never
// arrived is carried out.
func TestStreamReadAnew(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	d.hold(6)
	underWay := command("under-way", ems.Adjustment, 1, 10)
	p.send(underWay)
	d.awaitHeld()
	lost := command("lost", ems.Adjustment, 1, 20)
	_, err := p.Raw.TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.FCall(t.Context(), "comsrv_command", []string{"1"}, lost.ID, "A", "1", "20.000000",
			lost.Issued.UnixMilli(), lost.Deadline.UnixMilli(), lost.Origin)
		pipe.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: "comsrv", Consumer: consumer, Streams: []string{"comsrv:1:commands", ">"}, Count: 1, Block: -1,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.service.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.eventually(func() error {
		if waiting := len(p.service.commands.roster.Load().byID[1].orders); waiting != 1 {
			return fmt.Errorf("%d commands wait", waiting)
		}
		return nil
	}, "the lost command waits for its turn")
	d.release()
	p.wantEnd(underWay, ems.CommandDone, number(10), "")
	p.wantEnd(lost, ems.CommandDone, number(20), "")
	if diff := cmp.Diff([]string{"6@10=20", "6@10=40"}, d.written()); diff != "" {
		t.Error(diff)
	}
	p.wantEmptyStream()
}

// TestCommandsGoBeforeAPoll that is due.
func TestCommandsGoBeforeAPoll(t *testing.T) {
	t.Parallel()
	p := newPolled(t, allKinds())
	p.poll()
	const count = 16
	for i := range count {
		asked := command(fmt.Sprintf("c%d", i), ems.Adjustment, 1, float64(i))
		asked.Issued, asked.Deadline = p.device.clock.Now(), p.device.clock.Now().Add(time.Minute)
		p.send(asked)
	}
	reader := p.channel.db.ReadCommands(consumer, []ems.ChannelID{1})
	for len(p.channel.orders) < count {
		deliveries, err := reader.Next(t.Context(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, delivery := range deliveries {
			p.channel.orders <- order{Delivery: delivery, point: 5}
		}
	}
	run(t, p.channel, 0, 1)
	p.eventually(func() error {
		p.device.mu.Lock()
		defer p.device.mu.Unlock()
		if len(p.device.log) < count+2 {
			return fmt.Errorf("only %v", p.device.log)
		}
		return nil
	}, "all commands and a poll")
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	want := "poll" + strings.Repeat(" write", count) + " poll"
	if got := strings.Join(p.device.log[:count+2], " "); got != want {
		t.Errorf("the device saw %s", got)
	}
}

// TestSlowChannelDelaysNoOther: while a channel waits for its device, commands of
// another are carried out, and those that it cannot hold fail.
func TestSlowChannelDelaysNoOther(t *testing.T) {
	t.Parallel()
	slow, quick := newDevice(t), newDevice(t)
	entry := field(1, slow.address, allKinds()...)
	entry.PollPeriod, entry.Timeout = time.Minute, time.Minute
	p := newPlant(t, entry, field(2, quick.address, allKinds()...))
	slow.hold(1, 2, 3, 4)
	p.start()
	p.awaitStatus(2, true, "")
	var sent []ems.Command
	for i := range maxOrders + 8 {
		sent = append(sent, command(fmt.Sprintf("slow-%d", i), ems.Adjustment, 1, float64(i)))
	}
	p.send(sent...)
	// Those above the bound fail while the others still wait.
	p.eventually(func() error {
		if full := testutil.ToFloat64(p.service.commands.roster.Load().byID[1].counters.queueFull); full < 7 {
			return fmt.Errorf("%v commands were refused", full)
		}
		return nil
	}, "the queue is full")
	fast := command("fast", ems.Adjustment, 1, 5)
	fast.Target.Channel = 2
	p.send(fast)
	ctx, cancel := context.WithTimeout(t.Context(), servicetest.Soon)
	defer cancel()
	if result, err := p.DB.AwaitCommand(ctx, 2, "fast"); err != nil || result.State != ems.CommandDone {
		t.Errorf("%+v, %v", result, err)
	}
	if written := slow.written(); len(written) != 0 {
		t.Errorf("the slow device was written to: %v", written)
	}
	slow.release()
	done, full := 0, 0
	for _, command := range sent {
		result := p.await(command.ID)
		switch {
		case result.State == ems.CommandDone:
			done++
		case result.State == ems.CommandFailed && strings.HasPrefix(result.Reason, "32 commands are waiting for channel 1 already"):
			full++
		default:
			t.Errorf("%+v", result)
		}
	}
	if done+full != len(sent) || full < 7 || len(slow.written()) != done {
		t.Errorf("%d done, %d refused, %d writes", done, full, len(slow.written()))
	}
}

// TestCommandsOutliveRedis: commands that wait in Redis while it is down are
// carried out when it is back, and once.
func TestCommandsOutliveRedis(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	for round := range 3 {
		before := command(fmt.Sprintf("before-%d", round), ems.Adjustment, 1, 10)
		p.send(before)
		p.Redis.Restart()
		if state := p.await(before.ID).State; state != ems.CommandDone && state != ems.CommandUnknown {
			t.Errorf("the command before the restart is %s", state)
		}
		after := command(fmt.Sprintf("after-%d", round), ems.Adjustment, 1, 20)
		p.send(after)
		p.wantEnd(after, ems.CommandDone, number(20), "")
	}
	count := map[string]int{}
	for _, write := range d.written() {
		count[write]++
	}
	if count["6@10=20"] > 3 || count["6@10=40"] != 3 {
		t.Errorf("writes: %v", count)
	}
	p.wantEmptyStream()
}

func TestFailedState(t *testing.T) {
	for fault, want := range map[error]ems.CommandState{
		&protocol.WriteError{Fault: protocol.NotSent, Cause: errDeadline}:              ems.CommandExpired,
		&protocol.WriteError{Fault: protocol.NotSent, Cause: context.Canceled}:         ems.CommandFailed,
		&protocol.WriteError{Fault: protocol.Refused, Cause: context.Canceled}:         ems.CommandFailed,
		&protocol.WriteError{Fault: protocol.Unanswered, Cause: context.Canceled}:      ems.CommandUnknown,
		fmt.Errorf("a driver that does not say how far it came: %w", context.Canceled): ems.CommandUnknown,
	} {
		if got := failedState(fault); got != want {
			t.Errorf("%v: %s, want %s", fault, got, want)
		}
	}
}
