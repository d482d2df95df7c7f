//go:build unix

package modbus

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// socket looks into the socket of one connection.
type socket struct {
	raw   syscall.RawConn // nil where there is no socket
	look  func(descriptor uintptr)
	one   [1]byte
	found error
}

func newSocket(conn net.Conn) *socket {
	made := &socket{}
	if has, ok := conn.(syscall.Conn); ok {
		made.raw, _ = has.SyscallConn() // of one that is closed there is none
	}
	made.look = func(descriptor uintptr) {
		read, _, err := syscall.Recvfrom(int(descriptor), made.one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
			made.found = nil
		case err != nil:
			made.found = err
		case read == 0:
			made.found = io.EOF
		default:
			made.found = errStray
		}
	}
	return made
}

// peek looks, without waiting and without taking anything, whether a socket is
// open and holds nothing to read. Else it returns io.EOF, errStray, or the error
// that ended the connection.
func (s *socket) peek() error {
	if s.raw == nil {
		return nil
	}
	// Control and not Read, which would fail once the deadline of the request
	// before has passed.
	if err := s.raw.Control(s.look); err != nil {
		return err
	}
	return s.found
}
