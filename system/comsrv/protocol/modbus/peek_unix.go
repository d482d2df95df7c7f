//go:build unix

package modbus

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// peek looks, without waiting and without taking anything, whether a socket is
// open and holds nothing to read. Else it returns io.EOF, errStray, or the error
// that ended the connection.
func peek(conn net.Conn) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var found error
	// Control and not Read, which would fail once the deadline of the request
	// before has passed.
	err = raw.Control(func(descriptor uintptr) {
		var one [1]byte
		read, _, err := syscall.Recvfrom(int(descriptor), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		case err != nil:
			found = err
		case read == 0:
			found = io.EOF
		default:
			found = errStray
		}
	})
	return errors.Join(err, found)
}
