package comsrv

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestRatesAreMeasuredFromTheLastWrite: from what is in force of it, and before the
// first one from what the device shows since it answers.
func TestRatesAreMeasuredFromTheLastWrite(t *testing.T) {
	t.Parallel()
	const setpoint = 6
	points := allKinds()
	points[setpoint].MaxRate, points[setpoint].SafeValue, points[setpoint].Scale = number(10), number(5), 0.5
	c, driver := scripted(t, nowhere, config.Channel{ID: 1, PollPeriod: time.Second, Timeout: time.Second, Points: points})
	shown := ems.Value{Number: 50}
	check := func(value float64, want string) {
		t.Helper()
		got := ""
		if err := c.checkRate(setpoint, value, shown); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%v: %q, want %q", value, got, want)
		}
	}
	c.succeed(7, 0, false, 0)
	driver.clock.Advance(time.Second)
	check(60, "")
	check(61, "61 is 11 kW from the 50 that setpoint had 1 s ago: its greatest rate is 10 a second, so send it 0.1 s later")
	shown.Quality = ems.Bad
	check(50, "the value of setpoint is not known now, and 50 may be too far away for its greatest rate, 10 kW a second")
	check(5, "") // the safe value

	c.noteWrite(setpoint, 60, protocol.Written{}, nil) // not read back: the device may not show it yet
	driver.clock.Advance(500 * time.Millisecond)
	check(65, "")
	check(50, "50 is 10 kW from the 60 that setpoint had 0.5 s ago: its greatest rate is 10 a second, so send it 0.5 s later")
	c.succeed(7, 0, true, 0) // a poll
	for _, fault := range []protocol.WriteFault{protocol.NotSent, protocol.Refused} {
		c.noteWrite(setpoint, 100, protocol.Written{}, &protocol.WriteError{Fault: fault, Cause: errors.New("a reason")})
	}
	check(65, "")
	c.noteWrite(setpoint, 80, protocol.Written{}, &protocol.WriteError{Fault: protocol.Unanswered, Cause: errors.New("a reason")})
	check(80, "")
	check(79, "79 is 1 kW from the 80 that setpoint had 0 s ago: its greatest rate is 10 a second, so send it 0.1 s later")
	c.noteWrite(setpoint, 80, protocol.Written{Sent: 160, ReadBack: number(140)}, nil) // the device has its own limit
	check(70, "")
	shown = ems.Value{Number: 30, Time: driver.clock.Now()} // the device had it when the write left
	check(70, "")
	driver.clock.Advance(time.Second)
	shown.Time = driver.clock.Now() // it has changed by itself
	check(70, "70 is 40 kW from the 30 that setpoint had 1 s ago: its greatest rate is 10 a second, so send it 3 s later")
	check(40, "")
	shown.Quality = ems.Bad
	check(80, "")
	c.noteWrite(0, 1, protocol.Written{}, nil)
	if len(c.rates.written) != 1 {
		t.Errorf("remembered: %v", c.rates.written)
	}

	shown = ems.Value{Number: 20}
	c.succeed(7, 0, false, 0) // it was away, and shows what it made of it
	check(20, "")
	check(70, "70 is 50 kW from the 20 that setpoint had 0 s ago: its greatest rate is 10 a second, so send it 5 s later")
}

// TestRatesHoldCommandsBack and not the safe value, from which they are measured then.
func TestRatesHoldCommandsBack(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Points[6].MaxRate, entry.Points[6].SafeValue = number(1e-6), number(5)
	entry.Points[5].MaxRate, entry.SafeState = number(1e12), map[string]float64{"A:1": 20}
	d.float(12, 50)
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	refused := func(id string, value float64, reason string) {
		t.Helper()
		asked := command(id, ems.Adjustment, 2, value)
		p.send(asked)
		if result := p.await(asked.ID); result.State != ems.CommandFailed || !strings.HasPrefix(result.Reason, reason) {
			t.Errorf("%+v", result)
		}
	}
	refused("first", 60, "not sent: 60 is 10 kW from the 50 that setpoint had ")
	safe, quick := command("safe", ems.Adjustment, 2, 5), command("quick", ems.Adjustment, 1, 12.5)
	p.send(safe, quick)
	p.wantEnd(safe, ems.CommandDone, number(5), "")
	p.wantEnd(quick, ems.CommandDone, number(12.5), "")
	refused("back", 50, "not sent: 50 is 45 kW from the 5 that setpoint had ")
	p.stop()
	if diff := cmp.Diff([]string{"16@12=2", "6@10=25", "6@10=40"}, d.written()); diff != "" {
		t.Error(diff)
	}
	written := p.service.commands.roster.Load().byID[1].rates.written
	if written[5].value != 20 || written[6].value != 5 {
		t.Errorf("remembered: %v", written)
	}
}
