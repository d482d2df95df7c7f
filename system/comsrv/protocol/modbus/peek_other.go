//go:build !unix

package modbus

import "net"

// socket cannot look into a socket on this system: a connection that the peer has
// closed is noticed by the request that fails on it.
type socket struct{}

func newSocket(net.Conn) *socket { return &socket{} }

func (*socket) peek() error { return nil }
