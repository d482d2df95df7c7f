package modbus_test

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/conformance"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// TestConformance runs the driver against the simulator, with which it shares no
// code.
func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Subject {
		device := newSimulator(t)
		links, err := modbus.NewLinks(ems.SystemClock{}, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		return conformance.Subject{
			Factory: links.New, Device: device,
			Channel: config.Channel{ID: 1, Name: "simulator", Protocol: config.ProtocolModbusTCP, Address: device.address, Points: device.points},
		}
	})
}

// simulator is a simulated device as conformance.Device.
type simulator struct {
	t       *testing.T
	address string
	points  []config.MappedPoint
	tables  []modbusserver.Table // by point
	unit    *modbusserver.Unit
	server  *modbusserver.Server
	held    []uint16
	refused int // a point, or -1
	release func()

	mu       sync.Mutex
	executed map[int][]float64
}

func newSimulator(t *testing.T) *simulator {
	t.Helper()
	s := &simulator{t: t, refused: -1, release: func() {}, executed: map[int][]float64{}}
	for i, place := range []struct {
		kind     ems.PointType
		function uint8
		table    modbusserver.Table
		group    string
	}{
		{ems.Telemetry, 3, modbusserver.HoldingRegisters, ems.DefaultGroup},
		{ems.Telemetry, 3, modbusserver.HoldingRegisters, ems.DefaultGroup},
		{ems.Telemetry, 4, modbusserver.InputRegisters, "slow"},
		{ems.Telemetry, 3, modbusserver.HoldingRegisters, "slow"},
		{ems.Signal, 2, modbusserver.DiscreteInputs, ems.DefaultGroup},
		{ems.Signal, 1, modbusserver.Coils, "slow"},
		{ems.Control, 5, modbusserver.Coils, ems.DefaultGroup},
		{ems.Control, 15, modbusserver.Coils, "slow"},
		{ems.Adjustment, 6, modbusserver.HoldingRegisters, ems.DefaultGroup},
		{ems.Adjustment, 16, modbusserver.HoldingRegisters, "slow"},
	} {
		mapping := config.Mapping{Unit: 1, Function: place.function, Address: uint16(i), DataType: config.Uint16, ByteOrder: "AB", Bit: -1}
		if place.table.Bits() {
			mapping.DataType = config.Bool
		}
		s.points = append(s.points, config.MappedPoint{
			Point:   ems.Point{ID: ems.PointID(i + 1), Type: place.kind, Name: string(rune('a' + i)), Scale: 1, Group: place.group},
			Mapping: mapping,
		})
		s.tables = append(s.tables, place.table)
	}
	s.held = make([]uint16, len(s.points))
	s.serve("127.0.0.1:0")
	s.address = s.server.Addr().String()
	t.Cleanup(func() {
		s.release()
		_ = s.server.Close()
	})
	return s
}

// serve makes a unit that has the addresses of all points but a refused one.
func (s *simulator) serve(address string) {
	s.t.Helper()
	var ranges []modbusserver.Range
	for i, point := range s.points {
		if i != s.refused {
			ranges = append(ranges, modbusserver.Range{Table: s.tables[i], Address: point.Mapping.Address, Count: 1})
		}
	}
	s.unit = modbusserver.NewUnit(ranges, s.note)
	for i := range s.points {
		s.Hold(i, float64(s.held[i]))
	}
	var listener net.Listener
	testkit.Eventually(s.t, time.Minute, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}, "the port of the device")
	server, err := modbusserver.Serve(listener, map[byte]*modbusserver.Unit{1: s.unit}, modbusserver.Options{
		Name: "device", Clock: ems.SystemClock{}, Logger: testkit.Logger(s.t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = server
}

// note is asked before a write reaches the registers.
func (s *simulator) note(table modbusserver.Table, address uint16, values []uint16) mbserver.Exception {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, value := range values {
		point := slices.IndexFunc(s.points, func(p config.MappedPoint) bool { return p.Mapping.Address == address+uint16(i) })
		if s.tables[point] != table {
			return mbserver.IllegalDataAddress
		}
		s.executed[point] = append(s.executed[point], float64(value))
	}
	return mbserver.Success
}

func (s *simulator) Hold(point int, raw float64) {
	s.held[point] = uint16(raw)
	s.unit.Update(func(image *modbusserver.Image) {
		image.Set(s.tables[point], s.points[point].Mapping.Address, uint16(raw))
	})
}

func (s *simulator) Executed(point int) []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.executed[point])
}

func (s *simulator) Refuse(point int, refused bool) {
	s.Away(true)
	s.refused = -1
	if refused {
		s.refused = point
	}
	s.Away(false)
}

// Hang keeps the registers locked, so that requests are taken and wait.
func (s *simulator) Hang(hung bool) {
	s.release()
	s.release = func() {}
	if !hung {
		return
	}
	locked, released, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.unit.Update(func(*modbusserver.Image) {
			close(locked)
			<-released
		})
	}()
	<-locked
	s.release = sync.OnceFunc(func() {
		close(released)
		<-done
	})
}

func (s *simulator) Away(away bool) {
	if away {
		if err := s.server.Close(); err != nil {
			s.t.Error(err)
		}
		return
	}
	s.serve(s.address)
}

var _ conformance.Device = (*simulator)(nil)
