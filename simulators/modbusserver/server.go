package modbusserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/system/ems"
)

// DefaultConnections is how many clients a server serves at once unless told
// otherwise.
const DefaultConnections = 32

// Framing of Modbus TCP: MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
const (
	headerSize = 7   // transaction, protocol, length, unit
	mostPDU    = 253 // bytes
)

// retryPause is how long a server waits after a connection could not be
// accepted, as when the process has no file descriptor left.
const retryPause = 100 * time.Millisecond

// Options of a server.
type Options struct {
	Name        string // in logs and metrics
	Connections int    // most clients at once, DefaultConnections if 0
	Clock       ems.Clock
	Logger      *slog.Logger
	Metrics     prometheus.Registerer
}

// Server answers Modbus TCP at one address for one or more units.
type Server struct {
	options  Options
	listener net.Listener
	units    map[byte]*Unit
	counters *counters
	closed   chan struct{}
	running  sync.WaitGroup

	mu          sync.Mutex
	connections map[net.Conn]struct{} // nil once closed
}

// Serve answers clients that connect to the listener until Close. The server owns
// the listener from then on.
func Serve(listener net.Listener, units map[byte]*Unit, options Options) (*Server, error) {
	if options.Connections == 0 {
		options.Connections = DefaultConnections
	}
	counters, err := newCounters(options.Name, options.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: options, listener: listener, units: units, counters: counters,
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
	if len(s.connections) >= s.options.Connections {
		s.counters.refused.Inc()
		s.options.Logger.Warn("client refused: no connection is free",
			"device", s.options.Name, "client", connection.RemoteAddr().String(), "limit", s.options.Connections)
		return false
	}
	s.connections[connection] = struct{}{}
	s.counters.connections.Inc()
	s.running.Add(1)
	go s.serve(connection)
	return true
}

func (s *Server) leave(connection net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = connection.Close()
	delete(s.connections, connection)
	s.counters.connections.Dec()
}

// serve answers the frames of one connection, however TCP has split or joined
// them, until the client leaves or sends what is not Modbus TCP.
func (s *Server) serve(connection net.Conn) {
	defer s.running.Done()
	defer s.leave(connection)
	reader := bufio.NewReaderSize(connection, headerSize+mostPDU)
	frame := make([]byte, headerSize+mostPDU)
	for {
		pdu, err := readFrame(reader, frame)
		if err != nil {
			if errors.Is(err, errNotModbus) {
				s.counters.malformed.Inc()
				s.options.Logger.Warn("connection ended: the client does not speak Modbus TCP",
					"device", s.options.Name, "client", connection.RemoteAddr().String())
			}
			return
		}
		reply := s.answer(frame[6], pdu)
		out := make([]byte, headerSize, headerSize+len(reply))
		copy(out, frame[:4]) // transaction and protocol
		binary.BigEndian.PutUint16(out[4:], uint16(1+len(reply)))
		out[6] = frame[6]
		if _, err := connection.Write(append(out, reply...)); err != nil {
			return
		}
	}
}

var errNotModbus = errors.New("not a Modbus TCP header")

// readFrame reads one frame into a buffer of full size and returns its PDU, at
// least one byte.
func readFrame(reader io.Reader, frame []byte) ([]byte, error) {
	if _, err := io.ReadFull(reader, frame[:headerSize]); err != nil {
		return nil, err
	}
	protocol := binary.BigEndian.Uint16(frame[2:])
	length := int(binary.BigEndian.Uint16(frame[4:])) // of unit and PDU
	if protocol != 0 || length < 2 || length > 1+mostPDU {
		return nil, errNotModbus
	}
	pdu := frame[headerSize : headerSize+length-1]
	if _, err := io.ReadFull(reader, pdu); err != nil {
		return nil, err
	}
	return pdu, nil
}

func (s *Server) answer(unit byte, pdu []byte) []byte {
	s.counters.request(pdu[0])
	u, ok := s.units[unit]
	if !ok {
		s.counters.exception(mbserver.GatewayTargetDeviceFailedtoRespond)
		return exception(pdu[0], mbserver.GatewayTargetDeviceFailedtoRespond)
	}
	reply, served := u.answer(pdu)
	if reply[0]&0x80 != 0 {
		s.counters.exception(mbserver.Exception(reply[1]))
	}
	s.counters.served.Add(float64(served))
	return reply
}

// counters are what a server has done, labelled with its name.
type counters struct {
	requests    *prometheus.CounterVec
	exceptions  *prometheus.CounterVec
	served      prometheus.Counter
	connections prometheus.Gauge
	refused     prometheus.Counter
	malformed   prometheus.Counter
}

func newCounters(name string, metrics prometheus.Registerer) (*counters, error) {
	counter := func(metric, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "simulator_modbus_" + metric, Help: help}
	}
	c := &counters{
		requests:    prometheus.NewCounterVec(counter("requests_total", "Requests received, by function code; other stands for unsupported ones."), []string{"function"}),
		exceptions:  prometheus.NewCounterVec(counter("exceptions_total", "Requests answered with an exception, by exception code."), []string{"exception"}),
		served:      prometheus.NewCounter(counter("registers_served_total", "Registers and bits read or written without exception.")),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "simulator_modbus_connections", Help: "Clients connected."}),
		refused:     prometheus.NewCounter(counter("connections_refused_total", "Clients sent away because the connection limit was reached.")),
		malformed:   prometheus.NewCounter(counter("malformed_frames_total", "Connections ended because of a header that is not Modbus TCP.")),
	}
	registerer := prometheus.WrapRegistererWith(prometheus.Labels{"device": name}, metrics)
	for _, collector := range []prometheus.Collector{c.requests, c.exceptions, c.served, c.connections, c.refused, c.malformed} {
		if err := registerer.Register(collector); err != nil {
			return nil, ems.Errorf(ems.CodeInternal, "metrics of the Modbus server of %s: %w", name, err)
		}
	}
	return c, nil
}

func (c *counters) request(code byte) {
	label := "other"
	if _, supported := functions[code]; supported {
		label = strconv.Itoa(int(code))
	}
	c.requests.WithLabelValues(label).Inc()
}

func (c *counters) exception(reason mbserver.Exception) {
	c.exceptions.WithLabelValues(strconv.Itoa(int(reason))).Inc()
}
