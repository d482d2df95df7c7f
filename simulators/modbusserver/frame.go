package modbusserver

import (
	"errors"
	"net"
	"time"
)

// Framing is how requests and answers travel on a connection.
type Framing int

// The framings.
const (
	// TCP is that of Modbus TCP, within TLS too.
	TCP Framing = iota
	// RTU is that of a serial line, also where TCP carries its bytes.
	RTU
)

func (f Framing) String() string {
	if f == RTU {
		return "rtu"
	}
	return "tcp"
}

const mostPDU = 253 // bytes

// request is a PDU, at least one byte, and where it belongs. The PDU is valid until
// the next one is read.
type request struct {
	transaction uint16 // of TCP alone
	unit        byte
	pdu         []byte
}

// frames reads requests from one connection, however they were split or joined on
// the way, and makes the frames that answer them.
type frames interface {
	next() (request, error)
	// appendFrame appends the frame of an answer: to is what it answers.
	appendFrame(frame []byte, to request, pdu []byte) []byte
}

var (
	// errNotModbus: what follows cannot be read either.
	errNotModbus = errors.New("not a Modbus TCP header")
	// errBroken: a frame was lost, and the next one is found.
	errBroken = errors.New("a broken frame")
)

// frames returns what reads the frames of a connection.
func (o *Options) frames(connection net.Conn) frames {
	if o.Framing == RTU {
		return newRTUFrames(connection, o.Silence, o.Idle)
	}
	return newTCPFrames(connection, o.Idle)
}

// deadline returns when to give up what may take so long from now on; never if 0.
func deadline(duration time.Duration) time.Time {
	if duration == 0 {
		return time.Time{}
	}
	return time.Now().Add(duration)
}
