package modbusserver

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// client is one connection of a server, with the buffers that its requests share.
type client struct {
	server     *Server
	connection net.Conn
	frames     frames
	reply      [mostPDU]byte
	frame      []byte // the answer, and
	before     []byte // the one before
}

// answer carries out one request and sends what answers it, with what the faults
// that are set make of that. It reports false if the connection is to end.
func (c *client) answer(asked request) bool {
	made := c.server.strike(asked)
	if made.has(Deaf) {
		return true
	}
	var reply []byte
	if made.has(Exception) {
		reply = c.server.refuse(c.reply[:0], asked, made.exception)
	} else {
		reply = c.server.answer(c.reply[:0], asked)
	}
	if len(reply) == 0 || made.has(Silence) {
		return true
	}
	if made != nil {
		made.forge(&asked, reply)
	}
	c.frame, c.before = c.frames.appendFrame(c.before[:0], asked, reply), c.frame
	if made == nil {
		return c.write(c.frame)
	}
	return c.disturb(made)
}

// disturb sends what the faults make of an answer.
func (c *client) disturb(made *trouble) bool {
	for _, one := range made.waits {
		if !c.server.wait(one.duration, one.cleared) {
			return false
		}
	}
	wire := made.damage(c.frame, c.before)
	for made.drip != nil && len(wire) > 1 {
		if !c.write(wire[:1]) || !c.server.wait(dripPause, made.drip) {
			return false
		}
		wire = wire[1:]
		select {
		case <-made.drip:
			made.drip = nil
		default:
		}
	}
	if !c.write(wire) {
		return false
	}
	if made.has(Reset) {
		reset(c.connection)
		return false
	}
	return true
}

// unreadFor is how long an answer waits for room on a serial line, of which nobody has
// read some 20 KB, before it is lost.
const unreadFor = 20 * time.Millisecond

// write sends bytes and reports false if the connection is to end: it is gone, or the
// client has not read for as long as it may be idle.
func (c *client) write(data []byte) bool {
	limit := c.server.options.Idle
	if !c.server.socket {
		limit = unreadFor
	}
	if limit > 0 {
		if err := c.connection.SetWriteDeadline(deadline(limit)); err != nil {
			return false
		}
	}
	_, err := c.connection.Write(data)
	return err == nil || !c.server.socket && errors.Is(err, os.ErrDeadlineExceeded)
}

// wait lets time pass until it is over or the fault is cleared, and reports false if
// the server closes before.
func (s *Server) wait(duration time.Duration, cleared <-chan struct{}) bool {
	timer := s.options.Clock.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-cleared:
		return true
	case <-s.closed:
		return false
	}
}

// reset ends a connection so that the client sees it as reset, if it is one of TCP.
func reset(connection net.Conn) {
	if secured, ok := connection.(*tls.Conn); ok {
		connection = secured.NetConn()
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be gone already
	}
	_ = connection.Close()
}
