// Package protocol is the border between comsrv and the field: what a driver of
// a field protocol must do, and nothing of how. A driver is one package below
// this one and one line in the list of comsrv.Drivers.
package protocol

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Setting is what a driver is made of.
type Setting struct {
	Channel config.Channel
	Clock   ems.Clock
	Logger  *slog.Logger // names the channel already
	// Yield, where it is not nil, is called between two exchanges of ReadBatch: a
	// command that waits calls WritePoint from within it, and a poll group that is
	// due ReadBatch for another group, so that a long poll holds up neither for
	// longer than one exchange.
	Yield func(ctx context.Context)
}

// Factory initializes the driver of one channel: it checks that the protocol can
// serve every point of it and prepares the reads. It does not connect. An error
// has code INVALID and names the point.
type Factory func(setting Setting) (Driver, error)

// Driver speaks one field protocol on one channel. Its methods are called from
// one goroutine at a time. Every exchange is bounded by the timeout of the
// channel and ends early when its context does.
type Driver interface {
	// Connect opens the connection anew and forgets what earlier connections
	// taught of the device: it may have been replaced meanwhile.
	Connect(ctx context.Context) error

	// ReadBatch reads every point of one poll group, writable ones included where
	// the device can show them. It returns one reading for each point of the
	// group; the slice is valid until the next call for that group. What one point or one unit
	// behind the connection refuses is told by the quality of its readings. An
	// error means that nothing could be read at all: the device is not reachable.
	ReadBatch(ctx context.Context, group string) ([]Reading, error)

	// WritePoint writes one point, at most once, and reads it back where the
	// device can show it. An error is a *WriteError.
	WritePoint(ctx context.Context, write Write) (Written, error)

	// Close ends the connection. The driver may be connected again.
	Close() error
}

// Settable is a Driver with points that are set from outside, because no device
// measures them.
type Settable interface {
	// SetPoint gives a point a raw value, which it shows from now on. It is CONFLICT
	// where the point has its values from elsewhere, and INVALID where it cannot
	// show that one.
	SetPoint(point int, raw float64) error
}

// Addressable is a Driver of a device with numbered registers and coils, which can
// be read and written whether or not a point names them. Its methods are called as
// those of Driver are, before it is connected too, and from within Yield.
type Addressable interface {
	// ReadRange reads registers, or coils as 0 and 1, by one request. That the device
	// refuses it is CONFLICT.
	ReadRange(ctx context.Context, place Range) ([]uint16, error)
	// WriteRange writes registers, or coils as 0 and 1, by one request that is sent at
	// most once. before is asked when the next thing is that bytes leave; its error
	// stops the write. An error is a *WriteError.
	WriteRange(ctx context.Context, place Range, values []uint16, before func() error) error
}

// Range is neighbouring registers or coils of one unit.
type Range struct {
	Unit     uint8
	Function uint8 // of the protocol: 1 to 4 read, 5, 6, 15 and 16 write
	Address  uint16
	Count    int
}

// Inspectable is a Driver that keeps what it read last of each point as it
// travelled.
type Inspectable interface {
	// LastRead returns the registers of points, by index, nil of one that was not read
	// yet or has none. Any goroutine may call it; the bytes must not be changed.
	LastRead(points []int) [][]byte
}

// Traceable is a Driver that can show what travels for its channel.
type Traceable interface {
	// Trace calls show for every frame from now on, after the exchange that it
	// belongs to, until Trace is called again; nil shows nothing and costs nothing.
	// Any goroutine may call it. show must not wait, and may keep the frame.
	Trace(show func(Frame))
}

// Frame is what travelled at once between comsrv and a device, or why nothing did.
type Frame struct {
	At        time.Time // when it began to leave, or had arrived
	Direction Direction
	Unit      uint8         // behind the connection
	Function  uint8         // of the protocol; 0 where there is none
	Bytes     []byte        // all of it, as it travelled
	Summary   string        // what it says, for people
	Reason    string        // why it is no sound answer, or why nothing travelled
	RoundTrip time.Duration // from the request to the end of this reply
}

// Direction says which way a frame went.
type Direction string

// The directions of a frame.
const (
	Sent     Direction = "sent"
	Received Direction = "received"
	Nothing  Direction = "nothing" // no request left
)

// Reading is what a poll found out about one point.
type Reading struct {
	Point   int         // index within the points of the channel
	Raw     float64     // as the device has it, before scale and offset; finite when the quality is not bad
	Text    string      // the digits of an integer that Raw holds only rounded, or the value of a point that has no number
	Quality ems.Quality // Good, Uncertain or Bad
	Reason  string      // why it is not good
}

// Write asks a driver to write one point.
type Write struct {
	Point int     // index within the points of the channel
	Raw   float64 // as the device takes it, after scale and offset were undone
	// Regular is one of many writes that nobody waits for: none is worth asking a unit
	// that is left alone because it does not answer.
	Regular bool
	// Before is asked when all is prepared and the next thing is that bytes
	// leave for the device. Its error stops the write, and nothing was sent.
	Before func() error
}

// Written is a write that the device confirmed.
type Written struct {
	Sent     float64  // raw, as the data type could carry it: 12.4 in a whole number is 12
	ReadBack *float64 // raw, as the device showed it afterwards; nil when it could not be read
	Reason   string   // why it could not be read back
}

// WriteFault tells how far a write that failed has come.
type WriteFault int

// The faults of a write.
const (
	NotSent    WriteFault = iota // nothing left for the device
	Refused                      // the device said no, and has surely not acted
	Unanswered                   // bytes left, and whether the device has acted is not known
)

func (f WriteFault) String() string {
	switch f {
	case NotSent:
		return "not sent"
	case Refused:
		return "refused by the device"
	default:
		return "not confirmed"
	}
}

// WriteError is why a write failed and how far it had come.
type WriteError struct {
	Fault WriteFault
	Cause error
}

func (e *WriteError) Error() string { return fmt.Sprintf("%s: %v", e.Fault, e.Cause) }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Cause }
