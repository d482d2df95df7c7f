package conformance

import (
	"context"
	"errors"
	"math"
	"time"

	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
)

func (b *bench) readsEveryPoint() {
	if len(b.groups()) < 2 {
		b.Fatal("the channel has no two poll groups")
	}
	for range 3 {
		b.expect(-1)
	}
	for i := range b.Channel.Points {
		b.hold(i, b.other(i))
	}
	b.expect(-1)
	if readings, err := b.driver.ReadBatch(b.Context(), "a group without points"); err != nil || len(readings) > 0 {
		b.Errorf("a group without points gave %+v, %v", readings, err)
	}
}

// readsWithin reads the last group from within the polls of the others, wherever
// the driver yields.
func (b *bench) readsWithin() {
	groups := b.groups()
	last, within := groups[len(groups)-1], true
	b.yield = func(ctx context.Context) {
		if within {
			return
		}
		within = true
		all := make([]protocol.Reading, len(b.Channel.Points))
		b.must(b.readGroup(ctx, last, all))
		for i, point := range b.Channel.Points {
			if want := (protocol.Reading{Point: i, Raw: b.held[i]}); point.Group == last && all[i] != want {
				b.Errorf("the device holds %+v, and was read as %+v", want, all[i])
			}
		}
		within = false
	}
	b.must(b.driver.Close())
	b.driver = b.newDriver()
	b.connect()
	for i, raw := range b.held {
		b.hold(i, raw)
	}
	within = false
	b.expect(-1)
}

func (b *bench) writes() {
	for _, point := range b.writable() {
		raw := b.other(point)
		written, asked, err := b.write(b.Context(), point, raw, nil)
		b.must(err)
		if asked != 1 {
			b.Errorf("point %d: Before was asked %d times", point, asked)
		}
		if written.Sent != raw || written.ReadBack == nil || *written.ReadBack != raw {
			b.Errorf("point %d: wrote %v: %+v", point, raw, written)
		}
		b.executed(point, raw)
		b.held[point] = raw
		b.expect(-1)
	}
	if _, err := b.driver.WritePoint(b.Context(), protocol.Write{Point: b.writable()[0], Raw: math.NaN()}); b.fault(err) != protocol.NotSent {
		b.Errorf("a write of what is no number: %v", err)
	}
	b.expect(-1)
}

func (b *bench) asksBefore() {
	unwanted := errors.New("not wanted any more")
	for _, point := range b.writable() {
		_, asked, err := b.write(b.Context(), point, b.other(point), unwanted)
		if !errors.Is(err, unwanted) || b.fault(err) != protocol.NotSent || asked != 1 {
			b.Errorf("point %d: %v; Before was asked %d times", point, err, asked)
		}
		b.executed(point)
	}
	b.expect(-1)
}

func (b *bench) isCancelledAtFirst() {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for _, name := range b.groups() {
		if readings, err := b.driver.ReadBatch(ctx, name); !errors.Is(err, context.Canceled) || readings != nil {
			b.Errorf("group %s gave %+v, %v", name, readings, err)
		}
	}
	for _, point := range b.writable() {
		_, asked, err := b.write(ctx, point, b.other(point), nil)
		if b.fault(err) != protocol.NotSent || asked != 0 {
			b.Errorf("point %d: %v; Before was asked %d times", point, err, asked)
		}
		b.executed(point)
	}
	b.expect(-1)
}

func (b *bench) closesAndConnects() {
	b.must(b.newDriver().Close())
	for range 3 {
		b.must(b.driver.Close())
		b.must(b.driver.Close())
		b.must(b.driver.Connect(b.Context()))
		b.must(b.driver.Connect(b.Context()))
		b.expect(-1)
	}
}

// refusedPoint is the measurement that the device refuses to show.
func (b *bench) refusedPoint() int {
	for i, point := range b.Channel.Points {
		if !point.Type.Writable() && !digital(point) {
			return i
		}
	}
	b.Fatal("the channel has no measurement")
	return 0
}

func (b *bench) isRefused() {
	refused := b.refusedPoint()
	b.expect(-1)
	b.Device.Refuse(refused, true)
	for range 5 {
		b.expect(refused)
	}
}

func (b *bench) isDoubted() {
	device, can := b.Device.(Doubtful)
	if !can {
		b.Skip("its device has no doubts")
	}
	for i := range b.Channel.Points {
		device.Doubt(i, "warming up")
	}
	readings, err := b.read()
	b.must(err)
	for i, reading := range readings {
		if want := (protocol.Reading{Point: i, Raw: b.held[i], Quality: ems.Uncertain, Reason: "warming up"}); reading != want {
			b.Errorf("the device doubts %+v, and was read as %+v", want, reading)
		}
	}
	for i, raw := range b.held {
		b.hold(i, raw)
	}
	b.expect(-1)
}

// forgets after each of some numbers of polls, because a driver may try a refused
// point again now and then.
func (b *bench) forgets() {
	refused := b.refusedPoint()
	for polls := range 6 {
		b.Device.Refuse(refused, true)
		for range polls + 1 {
			b.expect(refused)
		}
		b.Device.Refuse(refused, false)
		b.must(b.driver.Connect(b.Context()))
		b.expect(-1)
	}
}

// calledOff runs a call that is called off while it is under way, and expects it to
// end promptly.
func (b *bench) calledOff(call func(ctx context.Context)) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	timer := time.AfterFunc(pause, cancel)
	defer timer.Stop()
	defer cancel()
	began := time.Now()
	call(ctx)
	if took := time.Since(began); took > promptly {
		b.Errorf("it was called off and went on for %v", took)
	}
}

func (b *bench) cancelsRead() {
	b.Device.Hang(true)
	b.calledOff(func(ctx context.Context) {
		if readings, err := b.driver.ReadBatch(ctx, b.groups()[0]); !errors.Is(err, context.Canceled) || readings != nil {
			b.Errorf("%+v, %v", readings, err)
		}
	})
	b.Device.Hang(false)
	b.must(b.driver.Connect(b.Context()))
	b.expect(-1)
}

func (b *bench) cancelsWrite() {
	point := b.writable()[0]
	raw := b.other(point)
	b.Device.Hang(true)
	b.calledOff(func(ctx context.Context) {
		if _, asked, err := b.write(ctx, point, raw, nil); b.fault(err) != protocol.Unanswered || asked != 1 {
			b.Errorf("%v; Before was asked %d times", err, asked)
		}
	})
	b.settle(point, raw)
}

// settle ends the hanging of the device and expects that a write without an
// answer was executed once or never, and is not sent again.
func (b *bench) settle(point int, raw float64) {
	b.Helper()
	b.Device.Hang(false)
	for range 3 {
		b.must(b.driver.Connect(b.Context()))
		if _, err := b.read(); err != nil {
			b.Fatal(err)
		}
	}
	switch executed := b.Device.Executed(point); {
	case len(executed) > 1 || len(executed) == 1 && executed[0] != raw:
		b.Errorf("%v was written once, and the device executed %v", raw, executed)
	case len(executed) == 1:
		b.held[point] = raw
	}
	b.expect(-1)
}

func (b *bench) timesOut() {
	point := b.writable()[0]
	raw := b.other(point)
	b.Device.Hang(true)
	began := time.Now()
	if readings, err := b.driver.ReadBatch(b.Context(), b.groups()[0]); err == nil || readings != nil {
		b.Errorf("a device that hangs was read as %+v, %v", readings, err)
	}
	if _, asked, err := b.write(b.Context(), point, raw, nil); b.fault(err) == protocol.Refused || asked > 1 {
		b.Errorf("%v; Before was asked %d times", err, asked)
	}
	if took := time.Since(began); took > promptly {
		b.Errorf("two calls with a timeout of %v took %v", impatient, took)
	}
	b.must(b.driver.Close())
	b.Channel.Timeout = patient
	b.driver = b.newDriver()
	b.settle(point, raw)
}

func (b *bench) isAway() {
	point := b.writable()[0]
	b.Device.Away(true)
	for _, name := range b.groups() {
		if readings, err := b.driver.ReadBatch(b.Context(), name); err == nil || readings != nil {
			b.Errorf("a device that is away was read as %+v, %v", readings, err)
		}
	}
	if _, asked, err := b.write(b.Context(), point, b.other(point), nil); b.fault(err) != protocol.NotSent || asked != 0 {
		b.Errorf("%v; Before was asked %d times", err, asked)
	}
	if err := b.driver.Connect(b.Context()); err == nil {
		b.Error("a device that is away was connected")
	}
	b.must(b.newDriver().Close()) // it is made without the device
	b.Device.Away(false)
	b.connect()
	b.expect(-1)
	b.executed(point)
}

func (b *bench) leavesNothing() {
	b.must(b.driver.Close())
	before := goleak.IgnoreCurrent()
	b.driver = b.newDriver()
	for range 3 {
		b.must(b.driver.Connect(b.Context()))
		_, err := b.read()
		b.must(err)
		if b.Device == nil {
			continue
		}
		b.Device.Hang(true)
		b.calledOff(func(ctx context.Context) { _, _ = b.driver.ReadBatch(ctx, b.groups()[0]) })
		b.calledOff(func(ctx context.Context) { _, _, _ = b.write(ctx, b.writable()[0], 1, nil) })
		b.Device.Hang(false)
	}
	b.must(b.driver.Close())
	if err := goleak.Find(before); err != nil {
		b.Error(err)
	}
}
