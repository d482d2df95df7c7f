package modbus

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
)

// port is an open connection to devices.
type port interface {
	io.ReadWriteCloser
	SetDeadline(deadline time.Time) error
	// idle looks, without waiting, whether a connection on which nothing is under
	// way is as it should be: open, with nothing to read. A request that is written
	// to a connection which the peer has closed would be lost, and whether it was
	// executed could not be told. It returns errStray where bytes wait; what was
	// looked at may be gone then.
	idle() error
}

// errStray says that a peer sent what nobody asked for, for example a reply that
// came after its time.
var errStray = errors.New("bytes wait that nobody asked for")

// dial opens a connection within a timeout, which covers the handshake of TLS.
func (p place) dial(ctx context.Context, timeout time.Duration) (port, error) {
	if p.protocol == config.ProtocolModbusRTU {
		return openSerial(p.address, p.serial)
	}
	dialer := &net.Dialer{Timeout: timeout}
	if p.protocol != config.ProtocolModbusTLS {
		conn, err := dialer.DialContext(ctx, "tcp", p.address)
		if err != nil {
			return nil, err
		}
		return tcpPort{conn, newSocket(conn)}, nil
	}
	settings, err := p.tls.Client()
	if err != nil {
		return nil, err
	}
	dialled, err := (&tls.Dialer{NetDialer: dialer, Config: settings}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	conn := dialled.(*tls.Conn)
	return tlsPort{conn, newSocket(conn.NetConn())}, nil
}

type tcpPort struct {
	net.Conn
	socket *socket
}

func (p tcpPort) idle() error { return p.socket.peek() }

type tlsPort struct {
	*tls.Conn
	socket *socket
}

// Close does not say goodbye, for which it might have to wait.
func (p tlsPort) Close() error { return p.NetConn().Close() }

// idle looks into what was received already, which may hold more than the last
// reply, and then into the socket. What waits there is read: most of it is not
// meant for us, for example a session ticket that follows the handshake.
func (p tlsPort) idle() error {
	if err := p.glance(time.Unix(1, 0)); err != nil {
		return err
	}
	if err := p.socket.peek(); !errors.Is(err, errStray) {
		return err
	}
	return p.glance(time.Now().Add(time.Millisecond))
}

// glance reads until a deadline, and returns nil when there was nothing for us.
func (p tlsPort) glance(deadline time.Time) error {
	if err := p.SetReadDeadline(deadline); err != nil {
		return err
	}
	var one [1]byte
	_, err := p.Read(one[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err == nil:
		return errStray
	default:
		return err
	}
}
