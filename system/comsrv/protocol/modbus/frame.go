package modbus

import (
	"encoding/binary"
	"fmt"
)

// A frame on the wire is transaction id (2 bytes), protocol id (2, always 0),
// length of what follows (2), unit (1), function (1) and at most 252 bytes.
const (
	headerSize    = 7
	maxFrame      = 260
	exceptionFlag = 0x80
)

// replySize returns the size of the whole frame that a header announces. An
// error means that the peer does not speak Modbus TCP, or no longer.
func replySize(header []byte) (int, error) {
	if id := binary.BigEndian.Uint16(header[2:]); id != 0 {
		return 0, fmt.Errorf("protocol id %d instead of 0", id)
	}
	length := int(binary.BigEndian.Uint16(header[4:]))
	if length < 3 || length > maxFrame-headerSize+1 {
		return 0, fmt.Errorf("length %d, which is not between 3 and %d", length, maxFrame-headerSize+1)
	}
	return headerSize - 1 + length, nil
}

// checkReply compares a whole reply with its request. An error means that the
// two do not belong together, so that the connection cannot be trusted any more:
// the next reply may be the one that is missing now.
func checkReply(request, reply []byte) error {
	if asked, got := binary.BigEndian.Uint16(request), binary.BigEndian.Uint16(reply); asked != got {
		return fmt.Errorf("transaction id %d instead of %d", got, asked)
	}
	if request[6] != reply[6] {
		return fmt.Errorf("unit %d instead of %d", reply[6], request[6])
	}
	asked, got := request[headerSize:], reply[headerSize:]
	if got[0] == asked[0]|exceptionFlag {
		if len(got) != 2 {
			return fmt.Errorf("exception of %d bytes instead of 2", len(got))
		}
		return nil
	}
	if got[0] != asked[0] {
		return fmt.Errorf("function %d instead of %d", got[0], asked[0])
	}
	switch asked[0] {
	case readCoils, readDiscreteInputs, readHolding, readInputs:
		quantity := int(binary.BigEndian.Uint16(asked[3:]))
		size := 2 * quantity
		if isBits(asked[0]) {
			size = (quantity + 7) / 8
		}
		if len(got) != 2+size || int(got[1]) != size {
			return fmt.Errorf("byte count %d in a reply of %d bytes where %d were asked for", got[1], len(got), size)
		}
	case maskRegister: // echoes address and both masks
		if string(got) != string(asked) {
			return fmt.Errorf("% x instead of the echo % x", got[1:], asked[1:])
		}
	default: // a write echoes address and value or quantity
		if len(got) != 5 || string(got[1:]) != string(asked[1:5]) {
			return fmt.Errorf("% x instead of the echo % x", got[1:], asked[1:5])
		}
	}
	return nil
}
