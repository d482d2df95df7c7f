// Package conformance holds a driver, whatever its protocol, to what
// protocol.Driver promises. The test of a driver says how to reach its device and
// runs all of it:
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, func(t *testing.T) conformance.Subject {
//			device := newDevice(t)
//			return conformance.Subject{Factory: modbus.New, Channel: device.channel(), Device: device}
//		})
//	}
//
// That test must not be parallel to others, because goroutines are counted.
package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// Subject is a driver and its device. Every test gets a new one.
type Subject struct {
	Factory protocol.Factory
	// Channel has points in two poll groups or more, each of which the device can
	// show; one at least is a measurement, one a control and one an adjustment. The
	// values of signals and controls are 0 and 1, of the others any whole number up
	// to 100. The tests set the timeout.
	Channel config.Channel
	Device  Device // nil for a driver that is its own device; it is Settable
}

// Device is the far end of a driver, which a test looks into by another way.
type Device interface {
	Hold(point int, raw float64)    // makes it hold a value
	Executed(point int) []float64   // what was written to it, in order
	Refuse(point int, refused bool) // makes it refuse to show a point, and only that; or show it again
	Hang(hung bool)                 // makes it take requests and answer none; or answer again
	Away(away bool)                 // makes it unreachable; or reachable again at the same address
}

// Doubtful is a Device that can doubt what it shows.
type Doubtful interface {
	// Doubt makes it show a point with the reason why it is uncertain, and with the
	// value that it held; Hold ends that.
	Doubt(point int, reason string)
}

// Durations of the tests.
const (
	patient   = time.Minute           // the timeout where a device answers
	impatient = time.Second           // the timeout where it does not
	promptly  = 20 * time.Second      // what must not wait for the patient timeout takes a small part of this
	pause     = 50 * time.Millisecond // gives a call the time to be under way
)

// bench is a subject with a driver that is connected.
type bench struct {
	*testing.T
	Subject
	driver protocol.Driver
	held   []float64             // what the device holds, by point
	yield  func(context.Context) // of drivers that are made from now on
}

// Run holds a driver to every promise.
func Run(t *testing.T, newSubject func(t *testing.T) Subject) {
	tests := []struct {
		name    string
		timeout time.Duration
		run     func(*bench)
		device  bool // needs one
	}{
		{"every point of each group is read", patient, (*bench).readsEveryPoint, false},
		{"a group is read between two exchanges of another", patient, (*bench).readsWithin, false},
		{"a write is executed once and read back", patient, (*bench).writes, false},
		{"a write that is not wanted any more is not sent", patient, (*bench).asksBefore, false},
		{"a call that was called off before it began does nothing", patient, (*bench).isCancelledAtFirst, false},
		{"it is closed and connected any number of times", patient, (*bench).closesAndConnects, false},
		{"a point that is refused costs nothing else", patient, (*bench).isRefused, true},
		{"a point that is in doubt keeps its value", patient, (*bench).isDoubted, true},
		{"connecting forgets", patient, (*bench).forgets, true},
		{"a read ends when it is called off", patient, (*bench).cancelsRead, true},
		{"a write ends when it is called off", patient, (*bench).cancelsWrite, true},
		{"a device that hangs costs the timeout", impatient, (*bench).timesOut, true},
		{"a device that is away is told of", patient, (*bench).isAway, true},
		{"no goroutine is left", patient, (*bench).leavesNothing, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			subject := newSubject(t)
			if subject.Device == nil && test.device {
				t.Skip("it has no device")
			}
			subject.Channel.Timeout = test.timeout
			test.run(open(t, subject))
		})
	}
}

func open(t *testing.T, subject Subject) *bench {
	t.Helper()
	b := &bench{T: t, Subject: subject}
	b.driver = b.newDriver()
	t.Cleanup(func() { b.must(b.driver.Close()) })
	b.connect()
	for i, point := range b.Channel.Points {
		raw := float64(i + 3)
		if digital(point) {
			raw = float64(i % 2)
		}
		b.hold(i, raw)
	}
	return b
}

// connect connects as soon as the device is ready.
func (b *bench) connect() {
	b.Helper()
	testkit.Eventually(b, promptly, func() error { return b.driver.Connect(b.Context()) }, "connecting")
}

func (b *bench) newDriver() protocol.Driver {
	b.Helper()
	driver, err := b.Factory(protocol.Setting{Channel: b.Channel, Clock: ems.SystemClock{}, Logger: testkit.Logger(b), Yield: b.yield})
	b.must(err)
	return driver
}

func digital(point config.MappedPoint) bool {
	return point.Type == ems.Signal || point.Type == ems.Control
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// hold makes the device, or the driver that is one, hold a value.
func (b *bench) hold(point int, raw float64) {
	b.Helper()
	if b.Device != nil {
		b.Device.Hold(point, raw)
	} else {
		b.must(b.driver.(protocol.Settable).SetPoint(point, raw))
	}
	if b.held == nil {
		b.held = make([]float64, len(b.Channel.Points))
	}
	b.held[point] = raw
}

// other returns a value that the device does not hold at a point.
func (b *bench) other(point int) float64 {
	if digital(b.Channel.Points[point]) {
		return 1 - b.held[point]
	}
	return b.held[point] + 20
}

func (b *bench) groups() []string {
	var names []string
	seen := map[string]bool{}
	for _, point := range b.Channel.Points {
		if !seen[point.Group] {
			seen[point.Group] = true
			names = append(names, point.Group)
		}
	}
	return names
}

func (b *bench) writable() []int {
	var points []int
	for i, point := range b.Channel.Points {
		if point.Type.Writable() {
			points = append(points, i)
		}
	}
	return points
}

// read polls every group and returns the readings by point.
func (b *bench) read() ([]protocol.Reading, error) {
	b.Helper()
	all := make([]protocol.Reading, len(b.Channel.Points))
	for _, name := range b.groups() {
		if err := b.readGroup(b.Context(), name, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readGroup polls one group, which must give its own points, each once.
func (b *bench) readGroup(ctx context.Context, name string, all []protocol.Reading) error {
	b.Helper()
	readings, err := b.driver.ReadBatch(ctx, name)
	if err != nil {
		return err
	}
	seen := map[int]bool{}
	for _, reading := range readings {
		if reading.Point < 0 || reading.Point >= len(all) || b.Channel.Points[reading.Point].Group != name {
			b.Fatalf("group %s gave %+v, which is none of its points", name, reading)
		}
		if seen[reading.Point] {
			b.Fatalf("group %s gave point %d twice", name, reading.Point)
		}
		seen[reading.Point] = true
		all[reading.Point] = reading
	}
	for i, point := range b.Channel.Points {
		if point.Group == name && !seen[i] {
			b.Fatalf("group %s did not give point %d", name, i)
		}
	}
	return nil
}

// expect polls and expects what the device holds, but for a point that is refused;
// none is where that is -1.
func (b *bench) expect(refused int) {
	b.Helper()
	readings, err := b.read()
	b.must(err)
	for i, reading := range readings {
		if i == refused {
			if reading.Quality != ems.Bad || reading.Reason == "" {
				b.Fatalf("the device refuses point %d, and it was read as %+v", i, reading)
			}
			continue
		}
		if want := (protocol.Reading{Point: i, Raw: b.held[i]}); reading != want {
			b.Fatalf("the device holds %+v, and was read as %+v", want, reading)
		}
	}
}

// executed expects what the device was written at a point.
func (b *bench) executed(point int, want ...float64) {
	b.Helper()
	if b.Device == nil {
		return
	}
	if difference := cmp.Diff(want, b.Device.Executed(point)); difference != "" {
		b.Fatalf("executed writes of point %d: %s", point, difference)
	}
}

// write writes once and returns how often Before was asked.
func (b *bench) write(ctx context.Context, point int, raw float64, before error) (protocol.Written, int, error) {
	asked := 0
	written, err := b.driver.WritePoint(ctx, protocol.Write{Point: point, Raw: raw, Before: func() error {
		asked++
		return before
	}})
	return written, asked, err
}

// fault expects that a write failed, and returns how far it had come.
func (b *bench) fault(err error) protocol.WriteFault {
	b.Helper()
	var failed *protocol.WriteError
	if !errors.As(err, &failed) {
		b.Fatalf("a write ended with %v, which is no *WriteError", err)
	}
	return failed.Fault
}
