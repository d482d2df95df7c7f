package comsrv

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// slow is a driver whose poll is many exchanges that take their time by the clock
// of the test.
type slow struct {
	clock     *ems.ManualClock
	exchanges int
	each      time.Duration
	yield     func(context.Context)
	during    func(exchange int)
	shown     float64 // of point 5, as a poll that began before a write sees it
	wrote     []time.Time
}

func (s *slow) Connect(context.Context) error { return nil }
func (s *slow) Close() error                  { return nil }

func (s *slow) ReadBatch(ctx context.Context, _ string) ([]protocol.Reading, error) {
	before := s.shown
	for i := range s.exchanges {
		s.yield(ctx)
		s.clock.Advance(s.each / 2)
		s.during(i)
		s.clock.Advance(s.each / 2)
	}
	return []protocol.Reading{{Point: 5, Raw: before}}, nil
}

func (s *slow) WritePoint(_ context.Context, write protocol.Write) (protocol.Written, error) {
	if err := write.Before(); err != nil {
		return protocol.Written{}, &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	s.wrote, s.shown = append(s.wrote, s.clock.Now()), write.Raw
	return protocol.Written{Sent: write.Raw, ReadBack: &write.Raw}, nil
}

// TestWriteGoesBetweenTwoExchangesOfAPoll: of twenty writes that come at any time
// of a poll that takes ten seconds, none waits longer than one exchange; and what
// the poll had seen before does not cover what was read back.
func TestWriteGoesBetweenTwoExchangesOfAPoll(t *testing.T) {
	t.Parallel()
	p := newPolled(t, allKinds())
	driver := &slow{clock: p.device.clock, exchanges: 20, each: 500 * time.Millisecond, yield: p.channel.yield, during: func(int) {}}
	p.channel.driver = driver
	p.poll()
	var arrived []time.Time
	reader := p.channel.db.ReadCommands(consumer, []ems.ChannelID{1})
	driver.during = func(exchange int) {
		asked := command(fmt.Sprintf("c%d", exchange), ems.Adjustment, 1, float64(exchange))
		asked.Issued, asked.Deadline = driver.clock.Now(), driver.clock.Now().Add(time.Minute)
		p.send(asked)
		var deliveries []rtdb.Delivery
		p.eventually(func() (err error) {
			if deliveries, err = reader.Next(t.Context(), time.Second); err == nil && len(deliveries) != 1 {
				err = fmt.Errorf("%d commands", len(deliveries))
			}
			return err
		}, "the command")
		p.channel.orders <- order{Delivery: deliveries[0], point: 5}
		arrived = append(arrived, driver.clock.Now())
	}
	p.poll()
	if shown := p.hash("comsrv:1:A")["1"]; shown != "18.000000" {
		t.Errorf("A:1 is %s after a poll that began before the writes", shown)
	}
	driver.during = func(int) {}
	p.poll()
	var worst time.Duration
	for i, at := range driver.wrote {
		worst = max(worst, at.Sub(arrived[i]))
	}
	if len(driver.wrote) != 20 || worst > time.Second+driver.each/2 {
		t.Fatalf("%d writes, the worst after %v", len(driver.wrote), worst)
	}
	// The last one came in the last exchange, and the next poll began a second later.
	for i, at := range driver.wrote[:19] {
		if delay := at.Sub(arrived[i]); delay != driver.each/2 {
			t.Errorf("write %d waited %v", i, delay)
		}
	}
}

// TestWriteGoesBetweenTwoRequestsOnTheWire.
func TestWriteGoesBetweenTwoRequestsOnTheWire(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	d.hold(1)
	d.awaitHeld()
	d.set(func() { d.order = nil })
	asked := command("between", ems.Adjustment, 1, 10)
	p.send(asked)
	p.eventually(func() error {
		if waiting := len(p.service.commands.roster.Load().byID[1].orders); waiting != 1 {
			return fmt.Errorf("%d commands wait", waiting)
		}
		return nil
	}, "the command waits for its turn")
	d.release()
	p.wantEnd(asked, ems.CommandDone, number(10), "")
	d.mu.Lock()
	defer d.mu.Unlock()
	if !bytes.HasPrefix(d.order, []byte{6, 3}) {
		t.Errorf("after the request that was held came functions %v", d.order)
	}
}
