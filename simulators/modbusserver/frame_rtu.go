package modbusserver

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"
)

// Frames of a serial line: MODBUS over Serial Line Specification V1.02, 2.5.1.
const (
	leastRTU  = 4   // bytes: unit, function, CRC
	mostRTU   = 256 // bytes
	broadcast = 0   // the unit that means all, of which none answers
)

// DefaultSilence ends a frame whose length nobody knows, unless told otherwise. It
// is longer than 3.5 characters take at 9600 Bd, as a computer at the other end
// pauses now and then.
const DefaultSilence = 20 * time.Millisecond

// patience is the least time that a frame may stand still of which bytes are known
// to be missing.
const patience = 50 * time.Millisecond

// SilenceOf returns how long 3.5 characters of 11 bits take, or the 1.75 ms that
// the specification wants above 19200 Bd.
func SilenceOf(baudRate int) time.Duration {
	if baudRate > 19200 {
		return 1750 * time.Microsecond
	}
	return time.Duration(3.5 * 11 / float64(baudRate) * float64(time.Second))
}

// rtuFrames are those of a serial line: unit, PDU, CRC. A frame ends where its
// function says, if its CRC is right there, and else with a silence.
type rtuFrames struct {
	connection net.Conn
	silence    time.Duration
	idle       time.Duration
	buffer     [2 * mostRTU]byte
	from, to   int  // what is in the buffer and not taken yet
	armed      bool // a deadline of a silence is set
}

func newRTUFrames(connection net.Conn, silence, idle time.Duration) *rtuFrames {
	return &rtuFrames{connection: connection, silence: silence, idle: idle}
}

func (f *rtuFrames) next() (request, error) {
	for {
		have := f.buffer[f.from:f.to]
		size := rtuSize(have)
		if size > 0 && size <= len(have) && rightCRC(have[:size]) {
			return f.take(size), nil
		}
		f.to, f.from = copy(f.buffer[:], have), 0
		if f.to == len(f.buffer) {
			return request{}, f.drain()
		}
		if err := f.arm(size > f.to); err != nil {
			return request{}, err
		}
		n, err := f.connection.Read(f.buffer[f.to:])
		f.to += n
		switch {
		case n > 0 || err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && f.to >= leastRTU && f.to <= mostRTU && rightCRC(f.buffer[:f.to]):
			return f.take(f.to), nil
		case errors.Is(err, os.ErrDeadlineExceeded) && f.to > 0:
			f.from, f.to = 0, 0
			return request{}, errBroken
		default:
			return request{}, err
		}
	}
}

// take returns the frame that begins what is in the buffer.
func (f *rtuFrames) take(size int) request {
	frame := f.buffer[f.from : f.from+size]
	f.from += size
	return request{unit: frame[0], pdu: frame[1 : size-2]}
}

// arm sets how long the next bytes may take: a silence once a frame has begun,
// longer if it is known to have more. It leaves out what is as it should be: the
// deadline of a frame that comes in one piece is never touched.
func (f *rtuFrames) arm(more bool) error {
	wait := f.silence
	switch {
	case f.to == 0 && !f.armed && f.idle == 0:
		return nil
	case f.to == 0:
		wait = f.idle
	case more:
		wait = max(wait, patience)
	}
	f.armed = f.to > 0
	return f.connection.SetReadDeadline(deadline(wait))
}

// drain drops whatever comes until the line is silent.
func (f *rtuFrames) drain() error {
	f.from, f.to = 0, 0
	f.armed = true
	for {
		if err := f.connection.SetReadDeadline(deadline(f.silence)); err != nil {
			return err
		}
		if _, err := f.connection.Read(f.buffer[:]); errors.Is(err, os.ErrDeadlineExceeded) {
			return errBroken
		} else if err != nil {
			return err
		}
	}
}

func (f *rtuFrames) appendFrame(frame []byte, to request, pdu []byte) []byte {
	start := len(frame)
	frame = append(append(frame, to.unit), pdu...)
	return binary.LittleEndian.AppendUint16(frame, crc(frame[start:]))
}

// rtuSize returns how long the frame of a request is that begins so, or that it is
// longer than what there is; 0 if its function does not tell.
func rtuSize(frame []byte) int {
	counted := func(at int) int { // the byte there says how many follow
		if len(frame) <= at {
			return at + leastRTU
		}
		return min(at+1+int(frame[at])+2, mostRTU)
	}
	if len(frame) < 2 {
		return leastRTU
	}
	switch frame[1] {
	case 1, 2, 3, 4, 5, 6, 8:
		return 8
	case 7, 11, 12, 17:
		return leastRTU
	case 15, 16:
		return counted(6)
	case 20, 21:
		return counted(2)
	case 22:
		return 10
	case 23:
		return counted(10)
	case 24:
		return 6
	case 43:
		return 7
	}
	return 0
}

func rightCRC(frame []byte) bool {
	end := len(frame) - 2
	return end >= 2 && binary.LittleEndian.Uint16(frame[end:]) == crc(frame[:end])
}

// crc is the CRC-16 of the specification: polynomial 0xA001, all bits set at first.
func crc(data []byte) uint16 {
	sum := uint16(0xFFFF)
	for _, b := range data {
		sum ^= uint16(b)
		sum = sum>>4 ^ crcTable[sum&15]
		sum = sum>>4 ^ crcTable[sum&15]
	}
	return sum
}

// crcTable holds what four bits add.
var crcTable = [16]uint16{
	0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
	0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
}
