//go:build unix

package modbus

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// errStray says that a peer sent what nobody asked for, for example a reply that
// came after its time.
var errStray = errors.New("bytes wait that nobody asked for")

// checkIdle looks, without waiting, whether a connection on which nothing is
// under way is as it should be: open, with nothing to read. A request that is
// written to a connection which the peer has closed would be lost, and whether
// it was executed could not be told.
func checkIdle(conn net.Conn) error {
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
