package modbusserver

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"time"
)

// headerSize is that of a frame of Modbus TCP: transaction, protocol, length and
// unit. See MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
const headerSize = 7

// tcpFrames are those of Modbus TCP: a header says how long each is.
type tcpFrames struct {
	connection net.Conn
	idle       time.Duration
	reader     *bufio.Reader
	frame      [headerSize + mostPDU]byte
}

func newTCPFrames(connection net.Conn, idle time.Duration) *tcpFrames {
	return &tcpFrames{connection: connection, idle: idle, reader: bufio.NewReaderSize(connection, headerSize+mostPDU)}
}

func (f *tcpFrames) next() (request, error) {
	if f.idle > 0 {
		if err := f.connection.SetReadDeadline(deadline(f.idle)); err != nil {
			return request{}, err
		}
	}
	if _, err := io.ReadFull(f.reader, f.frame[:headerSize]); err != nil {
		return request{}, err
	}
	protocol := binary.BigEndian.Uint16(f.frame[2:])
	length := int(binary.BigEndian.Uint16(f.frame[4:])) // of unit and PDU
	if protocol != 0 || length < 2 || length > 1+mostPDU {
		return request{}, errNotModbus
	}
	pdu := f.frame[headerSize : headerSize+length-1]
	if _, err := io.ReadFull(f.reader, pdu); err != nil {
		return request{}, err
	}
	return request{transaction: binary.BigEndian.Uint16(f.frame[:]), unit: f.frame[6], pdu: pdu}, nil
}

func (f *tcpFrames) appendFrame(frame []byte, to request, pdu []byte) []byte {
	frame = binary.BigEndian.AppendUint16(frame, to.transaction)
	frame = append(frame, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(1+len(pdu)))
	return append(append(frame, to.unit), pdu...)
}
