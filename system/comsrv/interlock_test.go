package comsrv

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestStepsAreBounded by the value that the device shows, whoever wrote it.
func TestStepsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Points[6].MaxStep, entry.Points[6].SafeValue = number(10), number(5)
	d.float(12, 50)
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	tooFar, far := command("too-far", ems.Adjustment, 2, 60.5), command("far", ems.Adjustment, 2, 60)
	p.send(tooFar, far)
	p.wantEnd(tooFar, ems.CommandFailed, nil, "not sent: 60.5 is 10.5 kW from the 50 that setpoint has: its greatest step is 10")
	p.wantEnd(far, ems.CommandDone, number(60), "")
	next := command("next", ems.Adjustment, 2, 70) // from what was read back, before any poll
	p.send(next)
	p.wantEnd(next, ems.CommandDone, number(70), "")
	safe := command("safe", ems.Adjustment, 2, 5)
	p.send(safe)
	p.wantEnd(safe, ems.CommandDone, number(5), "")
	if written := d.written(); len(written) != 3 {
		t.Errorf("writes: %v", written)
	}
}

// locked is a plant whose point C:1 of channel 1 may be switched on while door
// S:1 of channel 2 is open (0), and T:1 there is above 5.
func locked(t *testing.T) (p *plant, breaker, other *device) {
	breaker, other = newDevice(t), newDevice(t)
	first := field(1, breaker.address, allKinds()...)
	first.Interlocks = []config.Interlock{{
		Point: "C:1", Value: number(1), Reason: "somebody may be inside",
		Conditions: []ems.Condition{
			{Source: "comsrv:2:S:1", Operator: "==", Value: ems.Number(0)},
			{Source: "comsrv:2:T:1", Operator: ">", Value: ems.Number(5)},
		},
	}}
	return newPlant(t, first, field(2, other.address, allKinds()...)), breaker, other
}

func TestInterlocksForbid(t *testing.T) {
	t.Parallel()
	p, breaker, other := locked(t)
	other.set(func() { other.discrete[0] = true }) // reversed: 0
	other.float(0, 5)
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitHash("comsrv:2:T", map[string]string{"1": "5.000000", "2": "-40.000000"})
	const reason = "not sent: an interlock forbids it: "
	close1 := func(id, why string) {
		t.Helper()
		asked := command(id, ems.Control, 1, 1)
		p.send(asked)
		if why == "" {
			p.wantEnd(asked, ems.CommandDone, number(1), "")
			return
		}
		p.wantEnd(asked, ems.CommandFailed, nil, reason+why)
	}
	close1("not-above", "somebody may be inside")
	opened := command("open", ems.Control, 1, 0) // not guarded
	p.send(opened)
	p.wantEnd(opened, ems.CommandDone, number(0), "")
	unguarded := command("unguarded", ems.Control, 2, 1)
	p.send(unguarded)
	p.wantEnd(unguarded, ems.CommandDone, number(1), "")

	other.float(0, 5.5)
	p.awaitHash("comsrv:2:T", map[string]string{"1": "5.500000", "2": "-40.000000"})
	close1("allowed", "")
	other.set(func() { other.discrete[0] = false })
	p.awaitHash("comsrv:2:S", map[string]string{"1": "1.000000"})
	close1("inside", "somebody may be inside")
	other.off()
	p.awaitQuality(2, ems.Signal, ems.Bad, 1)
	close1("bad", "comsrv:2:S:1 is bad")
	if diff := cmp.Diff([]string{"5@0=0", "6@20=8", "5@0=65280"}, breaker.written()); diff != "" {
		t.Error(diff)
	}
}

// TestAStaleInputForbids: the values look good, and nobody polls them any more.
func TestAStaleInputForbids(t *testing.T) {
	t.Parallel()
	p, breaker, other := locked(t)
	other.set(func() { other.discrete[0] = true })
	other.float(0, 6)
	p.start()
	p.awaitHash("comsrv:2:S", map[string]string{"1": "0.000000"})
	p.stop()
	p.site.Channels = p.site.Channels[:1]
	p.site.Channels = append(p.site.Channels, config.Channel{ID: 2, Name: "off", Protocol: "modbus_tcp", PollPeriod: time.Hour})
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitQuality(2, ems.Signal, ems.Stale, 1)
	asked := command("stale", ems.Control, 1, 1)
	p.send(asked)
	p.wantEnd(asked, ems.CommandFailed, nil, "not sent: an interlock forbids it: comsrv:2:S:1 is stale")
	if written := breaker.written(); len(written) != 0 {
		t.Errorf("writes: %v", written)
	}
}

// TestInterlockIsAskedLast: what it allowed when the command came does not count,
// only what holds when the bytes are about to leave.
func TestInterlockIsAskedLast(t *testing.T) {
	t.Parallel()
	p, breaker, other := locked(t)
	p.site.Channels[0].Interlocks[0].Point = "C:2" // its register is read before it is written
	other.set(func() { other.discrete[0] = true })
	other.float(0, 6)
	p.site.Channels[0].PollPeriod = time.Hour
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitHash("comsrv:2:S", map[string]string{"1": "0.000000"})
	p.awaitHash("comsrv:2:T", map[string]string{"1": "6.000000", "2": "-40.000000"})
	breaker.hold(3)
	asked := command("late", ems.Control, 2, 1)
	p.send(asked)
	breaker.awaitHeld()
	other.set(func() { other.discrete[0] = false })
	p.awaitHash("comsrv:2:S", map[string]string{"1": "1.000000"})
	breaker.release()
	p.wantEnd(asked, ems.CommandFailed, nil, "not sent: an interlock forbids it: somebody may be inside")
	if written := breaker.written(); len(written) != 0 {
		t.Errorf("writes: %v", written)
	}
}

func TestConditionsOfInterlocks(t *testing.T) {
	t.Parallel()
	values := inputs{"a": 3, "b": 5}
	one := func(operator string, value *ems.Operand) ems.Condition {
		return ems.Condition{Source: "a", Operator: operator, Value: value}
	}
	yes, no := one("==", ems.Number(3)), one("!=", ems.Number(3))
	for i, test := range []struct {
		condition ems.Condition
		want      bool
	}{
		{one(">", ems.Number(2)), true},
		{one(">", ems.Number(3)), false},
		{one(">=", ems.Number(3)), true},
		{one(">=", ems.Number(3.1)), false},
		{one("<", ems.Number(3)), false},
		{one("<", ems.Number(3.1)), true},
		{one("<=", ems.Number(3)), true},
		{one("<=", ems.Number(2)), false},
		{yes, true},
		{no, false},
		{one("between", ems.Numbers(3, 4)), true},
		{one("between", ems.Numbers(2, 2.9)), false},
		{one("between", ems.Numbers(3.1, 4)), false},
		{one("in", ems.Numbers(1, 3)), true},
		{one("in", ems.Numbers(1, 4)), false},
		{one("rising", nil), false},
		{ems.Condition{Source: "b", Minus: "a", Operator: "==", Value: ems.Number(2)}, true},
		{ems.Condition{Source: "a", Operator: "<", CompareTo: "b"}, true},
		{ems.Condition{Source: "b", Operator: "<", CompareTo: "a"}, false},
		{ems.Condition{Conditions: []ems.Condition{yes, no}}, false},
		{ems.Condition{Conditions: []ems.Condition{yes, yes}}, true},
		{ems.Condition{Logic: ems.Any, Conditions: []ems.Condition{no, yes}}, true},
		{ems.Condition{Logic: ems.Any, Conditions: []ems.Condition{no, no}}, false},
		{ems.Condition{Logic: ems.None, Conditions: []ems.Condition{no, no}}, true},
		{ems.Condition{Logic: ems.None, Conditions: []ems.Condition{no, yes}}, false},
	} {
		if got := values.hold(&test.condition); got != test.want {
			t.Error(fmt.Sprintf("%d: %+v", i, test.condition), got)
		}
	}
}
