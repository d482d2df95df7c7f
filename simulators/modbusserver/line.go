package modbusserver

import (
	"net"
	"os"
	"sync"
)

// Line is a serial line, made of a pseudo-terminal: a client opens Path as it would
// a serial port, with any baud rate. It is the listener of a server with frames of
// RTU, and has one connection from its beginning to its end. Linux alone has it.
type Line struct {
	far, near *os.File // the near end stays open: else the line would be cut when a client leaves
	link      string
	taken     chan struct{} // holds what lets one caller of Accept take the connection
	closed    chan struct{}
	closing   sync.Once
}

// Path returns the name of the serial port: that of the link, if there is one.
func (l *Line) Path() string {
	if l.link != "" {
		return l.link
	}
	return l.near.Name()
}

// Accept implements net.Listener.
func (l *Line) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case <-l.taken:
		return lineConn{l.far, l}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (l *Line) Addr() net.Addr { return lineAddr(l.Path()) }

// Close ends the line and removes its link. A second call does nothing.
func (l *Line) Close() (err error) {
	l.closing.Do(func() {
		close(l.closed)
		if l.link != "" {
			err = os.Remove(l.link)
		}
		_ = l.near.Close() // nothing was written to it
		_ = l.far.Close()  // the connection may have closed it
	})
	return err
}

// lineConn is the connection of a line.
type lineConn struct {
	*os.File
	line *Line
}

// LocalAddr implements net.Conn.
func (c lineConn) LocalAddr() net.Addr { return c.line.Addr() }

// RemoteAddr implements net.Conn.
func (c lineConn) RemoteAddr() net.Addr { return c.line.Addr() }

type lineAddr string

func (lineAddr) Network() string  { return "serial" }
func (a lineAddr) String() string { return string(a) }
