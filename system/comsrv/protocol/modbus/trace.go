package modbus

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
)

// Trace implements protocol.Traceable. Channels that share a connection see their
// own exchanges alone.
func (d *Driver) Trace(show func(protocol.Frame)) {
	if show == nil {
		d.watcher.Store(nil)
		return
	}
	d.watcher.Store(&show)
}

// tracer shows the frames of one exchange. Where nobody watches it is nil, and
// its methods do nothing.
type tracer struct {
	show  func(protocol.Frame)
	heard []byte // what has arrived of the reply
	shown bool
}

func (d *Driver) tracer() *tracer {
	watcher := d.watcher.Load()
	if watcher == nil {
		return nil
	}
	return &tracer{show: *watcher}
}

// listen returns a reader that remembers what is read through it.
func (t *tracer) listen(from io.Reader) io.Reader {
	if t == nil {
		return from
	}
	return io.TeeReader(from, t)
}

// Write notes what was heard.
func (t *tracer) Write(heard []byte) (int, error) {
	t.heard = append(t.heard, heard...)
	return len(heard), nil
}

// exchange shows a request, if any of it may have left, and what came of it.
func (t *tracer) exchange(l *link, request []byte, written bool, sent, ended time.Time, err error) {
	if !written { // failure tells of it
		return
	}
	t.shown = true
	unit, asked := l.unpack(request)
	t.show(protocol.Frame{
		At: sent, Direction: protocol.Sent, Unit: unit, Function: asked[0], Bytes: append([]byte{}, request...), Summary: requestText(asked),
	})
	if err == nil && len(t.heard) == 0 { // a broadcast
		return
	}
	reply := protocol.Frame{At: ended, Direction: protocol.Received, Unit: unit, Function: asked[0], Bytes: t.heard, RoundTrip: ended.Sub(sent)}
	if err != nil {
		reply.Reason = l.broken(l.ctx, err, true).Error()
	} else {
		_, got := l.unpack(t.heard)
		reply.Function, reply.Summary = got[0], replyText(asked, got)
	}
	t.heard = nil
	t.show(reply)
}

// failure shows why no request left.
func (t *tracer) failure(at time.Time, unit uint8, err error) {
	if t != nil && !t.shown {
		t.show(protocol.Frame{At: at, Direction: protocol.Nothing, Unit: unit, Reason: err.Error()})
	}
}

// unpack returns the unit of a sound frame, and its function with what follows.
func (l *link) unpack(frame []byte) (unit uint8, pdu []byte) {
	if config.IsLine(l.protocol) {
		return frame[0], frame[1 : len(frame)-2]
	}
	return frame[headerSize-1], frame[headerSize:]
}

var tableTexts = map[byte]string{
	readCoils: "coils", readDiscreteInputs: "discrete inputs", readHolding: "holding registers", readInputs: "input registers",
}

// requestText says what a request asks for.
func requestText(pdu []byte) string {
	address, second := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	switch pdu[0] {
	case writeCoil:
		return fmt.Sprintf("write coil %d: %d", address, second>>15)
	case writeRegister:
		return fmt.Sprintf("write register %d: 0x%04X", address, second)
	case writeCoils:
		return fmt.Sprintf("write %d coils from %d: %s", second, address, bitsText(pdu[6:], int(second)))
	case writeRegisters:
		return fmt.Sprintf("write %d registers from %d: %s", second, address, wordsText(pdu[6:]))
	case maskRegister:
		return fmt.Sprintf("write bits of register %d: and 0x%04X, or 0x%04X", address, second, binary.BigEndian.Uint16(pdu[5:]))
	default:
		return fmt.Sprintf("read %d %s from %d", second, tableTexts[pdu[0]], address)
	}
}

// replyText says what a sound reply answers.
func replyText(asked, got []byte) string {
	switch {
	case got[0]&exceptionFlag != 0:
		return fmt.Sprintf("exception %d (%s)", got[1], exceptionText(got[1]))
	case isBits(got[0]):
		return bitsText(got[2:], int(binary.BigEndian.Uint16(asked[3:])))
	case got[0] <= readInputs:
		return wordsText(got[2:])
	default:
		return "confirmed"
	}
}

// maxShown bounds the registers, and the bits by eight times as many, that a
// summary shows: all are in the bytes.
const maxShown = 8

func wordsText(data []byte) string {
	var text strings.Builder
	for i := 0; i+1 < len(data); i += 2 {
		if i == 2*maxShown {
			return text.String() + " …"
		}
		if i > 0 {
			text.WriteByte(' ')
		}
		fmt.Fprintf(&text, "0x%04X", binary.BigEndian.Uint16(data[i:]))
	}
	return text.String()
}

func bitsText(packed []byte, count int) string {
	var text strings.Builder
	for i := range min(count, 8*maxShown) {
		text.WriteByte('0' + packed[i/8]>>(i%8)&1)
	}
	if count > 8*maxShown {
		text.WriteString(" …")
	}
	return text.String()
}
