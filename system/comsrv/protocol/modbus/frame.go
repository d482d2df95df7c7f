package modbus

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/goburrow/modbus"
)

// framing is how requests and replies are packed on a connection.
type framing interface {
	modbus.Packager
	setUnit(unit uint8)
	// receive reads the reply to a request into frame, which has maxFrame bytes,
	// and not a byte after one that it takes. It returns the size of the reply, which surely
	// belongs to the request, or the error of the connection or a *frameError.
	receive(from io.Reader, request, frame []byte) (int, error)
}

// frameError says that what was received is no reply to what was asked. The
// connection cannot be trusted any more: the next reply may be the one that is
// missing now.
type frameError struct {
	text string
	// damaged: it was the reply, and arrived with other bits.
	damaged bool
}

func (e *frameError) Error() string { return e.text }

func frameErrorf(format string, args ...any) error {
	return &frameError{text: fmt.Sprintf("answered with "+format, args...)}
}

// A frame of Modbus TCP is transaction id (2 bytes), protocol id (2, always 0),
// length of what follows (2), unit (1), function (1) and at most 252 bytes.
const (
	headerSize    = 7
	maxFrame      = 260
	exceptionFlag = 0x80
)

// tcpFraming is that of Modbus TCP. The client of the library gives it its
// packing alone; it never connects.
type tcpFraming struct{ *modbus.TCPClientHandler }

func (f tcpFraming) setUnit(unit uint8) { f.SlaveId = unit }

// receive mostly needs one look into the socket: what a sound reply has tells the
// request. Of an exception, which is shorter, it may read more than there should be.
func (f tcpFraming) receive(from io.Reader, request, frame []byte) (int, error) {
	count, err := io.ReadAtLeast(from, frame[:expectedSize(request)], headerSize)
	if err != nil {
		return 0, err
	}
	size, err := replySize(frame)
	switch {
	case err != nil:
		return 0, err
	case count > size:
		return 0, frameErrorf("%d bytes after a reply of %d", count-size, size)
	case count < size:
		if _, err := io.ReadFull(from, frame[count:size]); err != nil {
			return 0, err
		}
	}
	return size, checkReply(request, frame[:size])
}

// expectedSize returns the size of a reply to a request that is no exception.
func expectedSize(request []byte) int {
	if asked := request[headerSize:]; asked[0] <= readInputs {
		return headerSize + 2 + dataSize(asked)
	}
	return headerSize + echoSize(request[headerSize])
}

// replySize returns the size of the whole frame that a header announces. An
// error means that the peer does not speak Modbus TCP, or no longer.
func replySize(header []byte) (int, error) {
	if id := binary.BigEndian.Uint16(header[2:]); id != 0 {
		return 0, frameErrorf("protocol id %d instead of 0", id)
	}
	length := int(binary.BigEndian.Uint16(header[4:]))
	if length < 3 || length > maxFrame-headerSize+1 {
		return 0, frameErrorf("length %d, which is not between 3 and %d", length, maxFrame-headerSize+1)
	}
	return headerSize - 1 + length, nil
}

// checkReply compares a whole reply with its request.
func checkReply(request, reply []byte) error {
	if asked, got := binary.BigEndian.Uint16(request), binary.BigEndian.Uint16(reply); asked != got {
		return frameErrorf("transaction id %d instead of %d", got, asked)
	}
	if request[6] != reply[6] {
		return frameErrorf("unit %d instead of %d", reply[6], request[6])
	}
	return checkPDU(request[headerSize:], reply[headerSize:])
}

// checkPDU compares function and data of a reply with those of its request. The
// reply has at least two bytes.
func checkPDU(asked, got []byte) error {
	switch {
	case got[0] == asked[0]|exceptionFlag:
		if len(got) != 2 {
			return frameErrorf("exception of %d bytes instead of 2", len(got))
		}
	case got[0] != asked[0]:
		return frameErrorf("function %d instead of %d", got[0], asked[0])
	case asked[0] <= readInputs:
		if size := dataSize(asked); len(got) != 2+size || int(got[1]) != size {
			return frameErrorf("byte count %d in a reply of %d bytes where %d were asked for", got[1], len(got), size)
		}
	default:
		if echo := asked[:echoSize(asked[0])]; string(got) != string(echo) {
			return frameErrorf("% x instead of the echo % x", got[1:], echo[1:])
		}
	}
	return nil
}

// echoSize returns how much of the PDU of a write its reply repeats: function,
// address, and value or quantity; of some bits of a register both masks.
func echoSize(function byte) int {
	if function == maskRegister {
		return 7
	}
	return 5
}

// dataSize returns how many bytes of data the PDU of a read asks for.
func dataSize(asked []byte) int {
	quantity := int(binary.BigEndian.Uint16(asked[3:]))
	if isBits(asked[0]) {
		return (quantity + 7) / 8
	}
	return 2 * quantity
}
