package modbus

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/config"
)

// rtuFraming is that of a serial line: unit (1 byte), function (1), data, and a
// checksum (2). Nothing in a frame tells its length or to which request it
// belongs: the length follows from what was asked, never from a pause.
type rtuFraming struct{ *modbus.RTUClientHandler }

// shortestRTU is the size of the shortest reply on a serial line, an exception.
const shortestRTU = 5

func (f rtuFraming) setUnit(unit uint8) { f.SlaveId = unit }

func (f rtuFraming) receive(from io.Reader, request, frame []byte) (int, error) {
	if _, err := io.ReadFull(from, frame[:shortestRTU]); err != nil {
		return 0, err
	}
	size, err := replySizeRTU(request, frame)
	if err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(from, frame[shortestRTU:size]); err != nil {
		return 0, err
	}
	if _, err := f.Decode(frame[:size]); err != nil {
		return 0, &frameError{text: "answered with a wrong checksum", damaged: true}
	}
	return size, checkPDU(request[1:len(request)-2], frame[1:size-2])
}

// replySizeRTU returns the size of the whole reply that begins with these bytes.
func replySizeRTU(request, start []byte) (int, error) {
	function := request[1]
	switch {
	case start[0] != request[0]:
		return 0, frameErrorf("unit %d instead of %d", start[0], request[0])
	case start[1] == function|exceptionFlag:
		return shortestRTU, nil
	case start[1] != function:
		return 0, frameErrorf("function %d instead of %d", start[1], function)
	case function > readInputs:
		return 1 + echoSize(function) + 2, nil
	}
	size := dataSize(request[1:])
	if int(start[2]) != size {
		return 0, frameErrorf("byte count %d where %d were asked for", start[2], size)
	}
	return 3 + size + 2, nil
}

// silence returns the pause of 3.5 characters that parts two frames of a serial
// line. Above 19200 baud it is fixed, as the specification has it.
func silence(line config.Serial) time.Duration {
	if line.BaudRate > 19200 {
		return 1750 * time.Microsecond
	}
	return time.Second * time.Duration(7*line.CharacterBits()) / time.Duration(2*line.BaudRate)
}

// turnaround is how long the units of a line have to act on a broadcast, which
// none of them answers.
const turnaround = 100 * time.Millisecond

// lateReplies holds, by unit, the last request on a serial line that got no
// answer in time. The answer may still come, and nothing in it tells to which of
// two requests of the same size it belongs. So that it meets no other, no other
// request to that unit leaves for a second timeout. On Modbus TCP it is nil.
type lateReplies map[uint8]lateReply

type lateReply struct {
	request []byte
	until   time.Time // it is no longer expected
}

// quiet returns when a request may leave. The same one again may leave at once:
// whichever reply is taken, it is one to that question.
func (l lateReplies) quiet(request []byte) time.Time {
	expected, found := l[request[0]]
	if !found || bytes.Equal(expected.request, request) {
		return time.Time{}
	}
	return expected.until
}

// note takes down how a request ended that was sent.
func (l lateReplies) note(request []byte, sent time.Time, timeout time.Duration, err error) {
	if l == nil {
		return
	}
	unit := request[0]
	expected, found := l[unit]
	var malformed *frameError
	switch {
	case errors.As(err, &malformed) && malformed.damaged: // the reply has come
	case err == nil && !found:
	case err == nil && !sent.Before(expected.until):
		delete(l, unit)
	default: // unanswered, or answered and one that was sent before is not
		l[unit] = lateReply{request: bytes.Clone(request), until: sent.Add(2 * timeout)}
	}
}
