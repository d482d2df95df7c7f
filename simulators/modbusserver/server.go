package modbusserver

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/system/ems"
)

// DefaultConnections is how many clients a server serves at once unless told
// otherwise.
const DefaultConnections = 32

// retryPause is how long a server waits after a connection could not be
// accepted, as when the process has no file descriptor left.
const retryPause = 100 * time.Millisecond

// Options of a server.
type Options struct {
	Name        string        // in logs and metrics
	Framing     Framing       // TCP unless told otherwise
	Connections int           // most clients at once, DefaultConnections if 0
	Idle        time.Duration // after which a client that says nothing, or does not listen, is sent away; 0: never; not on a serial line
	Silence     time.Duration // that ends an RTU frame of unknown length, DefaultSilence if 0
	AnyUnit     bool          // the only unit answers to every unit id, as a device does that is no gateway; not with RTU
	Clock       ems.Clock
	Logger      *slog.Logger
	Metrics     prometheus.Registerer
}

// Server answers Modbus at one address for one or more units.
type Server struct {
	options  Options
	listener net.Listener
	socket   bool // clients connect, which on a serial line they do not
	units    map[byte]*Unit
	counters *counters
	faults   atomic.Pointer[faultSet] // nil if there are none
	closed   chan struct{}
	running  sync.WaitGroup

	mu          sync.Mutex
	connections map[net.Conn]struct{} // nil once closed
}

// Serve answers clients that connect to the listener until Close. The server owns
// the listener from then on, unless there is an error. A listener of TLS makes it
// Modbus TCP Security, and a Line that of a serial line.
func Serve(listener net.Listener, units map[byte]*Unit, options Options) (*Server, error) {
	if options.Connections == 0 {
		options.Connections = DefaultConnections
	}
	if options.Silence == 0 {
		options.Silence = DefaultSilence
	}
	_, line := listener.(*Line)
	if line {
		options.Idle = 0 // nobody hangs up
	}
	switch {
	case options.AnyUnit && (len(units) != 1 || options.Framing == RTU):
		return nil, ems.Errorf(ems.CodeInvalid, "Modbus server of %s: only a device that is alone at an address of Modbus TCP may answer to any unit id", options.Name)
	case line && options.Framing != RTU:
		return nil, ems.Errorf(ems.CodeInvalid, "Modbus server of %s: a serial line needs frames of RTU", options.Name)
	}
	counters, err := newCounters(options.Name, options.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: options, listener: listener, socket: !line, units: units, counters: counters,
		closed: make(chan struct{}), connections: map[net.Conn]struct{}{},
	}
	s.running.Add(1)
	go s.accept()
	return s, nil
}

// Addr returns the address at which the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close stops listening, ends every connection and returns when no goroutine of
// the server is left. A second call does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.connections == nil {
		s.mu.Unlock()
		return nil
	}
	close(s.closed)
	err := s.listener.Close()
	for connection := range s.connections {
		_ = connection.Close() // its goroutine reports what matters
	}
	s.connections = nil
	s.mu.Unlock()
	s.running.Wait()
	return err
}

func (s *Server) accept() {
	defer s.running.Done()
	for {
		connection, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.options.Logger.Warn("a client could not connect", "device", s.options.Name, "error", err)
			if !s.pause() {
				return
			}
			continue
		}
		if !s.enter(connection) {
			_ = connection.Close() // refused: there is nobody to tell
		}
	}
}

// pause waits before the next try and reports false if the server closed.
func (s *Server) pause() bool {
	timer := s.options.Clock.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-s.closed:
		return false
	}
}

// enter starts to serve a connection unless the server is full or closed.
func (s *Server) enter(connection net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connections == nil {
		return false
	}
	if s.refuses(len(s.connections)) {
		s.counters.refused.Add(1)
		reset(connection)
		return false
	}
	if len(s.connections) >= s.options.Connections {
		s.counters.refused.Add(1)
		s.options.Logger.Warn("client refused: no connection is free",
			"device", s.options.Name, "client", connection.RemoteAddr().String(), "limit", s.options.Connections)
		return false
	}
	s.connections[connection] = struct{}{}
	s.counters.connections.Add(1)
	s.counters.accepted.Add(1)
	s.running.Add(1)
	go s.serve(connection)
	return true
}

func (s *Server) leave(connection net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = connection.Close()
	delete(s.connections, connection)
	s.counters.connections.Add(-1)
}

// serve answers one connection until the client leaves or sends what cannot be read.
func (s *Server) serve(connection net.Conn) {
	defer s.running.Done()
	defer s.leave(connection)
	if err := s.handshake(connection); err != nil {
		s.counters.refused.Add(1)
		s.options.Logger.Warn("client refused: no TLS with it",
			"device", s.options.Name, "client", connection.RemoteAddr().String(), "error", err)
		return
	}
	c := &client{server: s, connection: connection, frames: s.options.frames(connection)}
	for {
		asked, err := c.frames.next()
		switch {
		case errors.Is(err, errBroken):
			s.counters.malformed.Add(1)
			continue
		case errors.Is(err, errNotModbus):
			s.counters.malformed.Add(1)
			s.options.Logger.Warn("connection ended: the client does not speak Modbus TCP",
				"device", s.options.Name, "client", connection.RemoteAddr().String())
			return
		case err != nil:
			return
		}
		if !c.answer(asked) {
			return
		}
	}
}

// answer appends the PDU that answers a request, nothing if there is to be no
// answer.
func (s *Server) answer(reply []byte, asked request) []byte {
	s.counters.request(asked.pdu[0])
	if s.options.Framing == RTU && asked.unit == broadcast {
		s.tellAll(reply, asked)
		return nil
	}
	u := s.unit(asked.unit)
	if u == nil && s.options.Framing == RTU { // there is nobody on the line to answer
		return nil
	}
	if u == nil {
		s.counters.exception(mbserver.GatewayTargetDeviceFailedtoRespond)
		return append(reply, asked.pdu[0]|0x80, byte(mbserver.GatewayTargetDeviceFailedtoRespond))
	}
	reply, served := u.answer(reply, asked.unit, asked.pdu)
	s.counters.answered(reply, served)
	return reply
}

// refuse appends an exception that a fault wants instead of an answer.
func (s *Server) refuse(reply []byte, asked request, reason byte) []byte {
	s.counters.request(asked.pdu[0])
	if s.options.Framing == RTU && s.units[asked.unit] == nil {
		return nil
	}
	s.counters.exception(mbserver.Exception(reason))
	return append(reply, asked.pdu[0]|0x80, reason)
}

// unit returns the unit of a number, nil if there is none.
func (s *Server) unit(number byte) *Unit {
	if s.options.AnyUnit {
		for _, only := range s.units {
			return only
		}
	}
	return s.units[number]
}

// tellAll lets every unit carry out what is meant for all of them.
func (s *Server) tellAll(scratch []byte, asked request) {
	if f := functionOf(asked.pdu[0]); f == nil || !f.broadcast {
		return
	}
	for number := range 256 {
		if u := s.units[byte(number)]; u != nil {
			reply, served := u.answer(scratch, byte(number), asked.pdu)
			s.counters.answered(reply, served)
		}
	}
}
