package bench

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/ems"
)

// layout says what a meter has: points in holding registers from address 0 on, of
// 16 bits each, or of 16, 32 and 64 bits in turn.
type layout struct {
	points   int
	mixed    bool
	changing int // the first registers, which take another value before each poll
	groups   int // poll groups that share the points in equal parts; 0 and 1: the default alone
}

// group returns the poll group of a point, counted from 0, which is the default.
func (l layout) group(point int) int { return point * max(1, l.groups) / l.points }

// place returns where a point is, counted from 0, and how many registers it has.
func (l layout) place(point int) (address, registers int) {
	if !l.mixed {
		return point, 1
	}
	return point/3*7 + []int{0, 1, 3}[point%3], 1 << (point % 3)
}

// registers returns how many a meter has.
func (l layout) registers() int {
	address, registers := l.place(l.points - 1)
	return address + registers
}

// trouble is what is wrong with a meter.
type trouble int32

const (
	sound    trouble = iota
	hung             // it takes requests and never answers
	dripping         // it answers a byte every second
)

// dripEvery is how long a dripping meter waits before each byte.
const dripEvery = time.Second

// recentPolls is of how many polls a meter remembers when they began.
const recentPolls = 64

// meter is a simulated Modbus device. What is asked of it is counted where it
// arrives, whatever becomes of it in the program that asks.
type meter struct {
	channel   ems.ChannelID
	address   string // host:port
	clock     ems.Clock
	period    time.Duration // with which it is polled; 0: as fast as it answers
	layout    layout
	server    *modbusserver.Server
	unit      *modbusserver.Unit
	registers atomic.Int64 // in the replies
	trouble   atomic.Int32

	mu       sync.Mutex
	requests int64
	polls    int64
	missed   int64     // polls that were due and did not come
	last     time.Time // when the newest poll began
	asked    time.Time // when the newest request arrived
	began    [recentPolls]time.Time
	gaps     *samples // between two requests
}

// gapSamples bounds the times between requests that one meter keeps.
const gapSamples = 1 << 12

// openMeter starts a meter on a free port.
func openMeter(clock ems.Clock, channel ems.ChannelID, layout layout, period time.Duration) (*meter, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "no free port for a simulated device: %w", err)
	}
	m := &meter{
		channel: channel, address: listener.Addr().String(), clock: clock, period: period, layout: layout,
		gaps: newSamples(gapSamples),
	}
	refuse := func(modbusserver.Table, uint16, []uint16) mbserver.Exception { return mbserver.IllegalFunction }
	m.unit = modbusserver.NewUnit([]modbusserver.Range{{Table: modbusserver.HoldingRegisters, Count: layout.registers()}}, refuse)
	m.unit.Update(func(image *modbusserver.Image) {
		for point := range layout.points {
			address, registers := layout.place(point)
			bits := uint64(point)
			switch registers {
			case 2:
				bits = uint64(math.Float32bits(float32(point)))
			case 4:
				bits = math.Float64bits(float64(point))
			}
			for word := range registers {
				image.Set(modbusserver.HoldingRegisters, uint16(address+word), uint16(bits>>(16*(registers-1-word))))
			}
		}
	})
	m.server, err = modbusserver.Serve(meterListener{listener, m}, map[byte]*modbusserver.Unit{1: m.unit}, modbusserver.Options{
		Name: strconv.FormatUint(uint64(channel), 10), Clock: clock, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		_ = listener.Close() // what failed is told
		return nil, err
	}
	return m, nil
}

// openMeters starts meters of the channels from 1 on, which closeMeters ends.
func openMeters(clock ems.Clock, count int, layout layout, period time.Duration) ([]*meter, error) {
	meters := make([]*meter, 0, count)
	for n := range count {
		one, err := openMeter(clock, ems.ChannelID(n+1), layout, period)
		if err != nil {
			closeMeters(meters)
			return nil, err
		}
		meters = append(meters, one)
	}
	return meters, nil
}

func closeMeters(meters []*meter) {
	for _, one := range meters {
		_ = one.server.Close() // nobody needs it any more
	}
}

// arrived takes down a request: one for the first address begins a poll. It makes
// what changes take the number of the poll as its value.
func (m *meter) arrived(first uint16) {
	now := m.clock.Now()
	m.mu.Lock()
	if m.requests++; !m.asked.IsZero() {
		m.gaps.add(now.Sub(m.asked))
	}
	m.asked = now
	if first != 0 {
		m.mu.Unlock()
		return
	}
	if m.polls++; m.period > 0 && !m.last.IsZero() {
		m.missed += slotsMissed(now.Sub(m.last), m.period)
	}
	m.last = now
	number := uint16(m.polls)
	m.began[number%recentPolls] = now
	m.mu.Unlock()
	m.unit.Update(func(image *modbusserver.Image) {
		for address := range m.layout.changing {
			image.Set(modbusserver.HoldingRegisters, uint16(address), number)
		}
	})
}

// slotsMissed returns how many polls are missing between two that lie so far
// apart.
func slotsMissed(apart, period time.Duration) int64 {
	return max(0, int64(math.Round(float64(apart)/float64(period)))-1)
}

// beganAt returns when the poll began that brought a value of what changes; false
// where that is no longer known.
func (m *meter) beganAt(number uint16) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if behind := uint16(m.polls) - number; behind >= recentPolls || int64(behind) >= m.polls {
		return time.Time{}, false
	}
	return m.began[number%recentPolls], true
}

// count is what has arrived at meters.
type count struct {
	registers, requests, polls, missed int64
}

func (c count) since(before count) count {
	return count{c.registers - before.registers, c.requests - before.requests, c.polls - before.polls, c.missed - before.missed}
}

// countAll adds up what has arrived, a poll that should have come by now among what
// is missed.
func countAll(meters []*meter, now time.Time) count {
	var all count
	for _, one := range meters {
		all.registers += one.registers.Load()
		one.mu.Lock()
		all.requests, all.polls, all.missed = all.requests+one.requests, all.polls+one.polls, all.missed+one.missed
		if one.period > 0 && !one.last.IsZero() {
			all.missed += slotsMissed(now.Sub(one.last), one.period)
		}
		one.mu.Unlock()
	}
	return all
}

// takeGaps returns the times between two requests since it was called last.
func takeGaps(meters []*meter) []time.Duration {
	var all []time.Duration
	for _, one := range meters {
		one.mu.Lock()
		all = append(all, one.gaps.kept...)
		one.gaps.clear()
		one.mu.Unlock()
	}
	return all
}

// meterListener and meterConn look at what a server of Modbus TCP receives and
// sends. Who asks waits for each answer, so that each arrives alone.
type meterListener struct {
	net.Listener
	meter *meter
}

// Accept implements net.Listener.
func (l meterListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	closing, cancel := context.WithCancel(context.Background())
	return &meterConn{Conn: connection, meter: l.meter, closing: closing, cancel: cancel}, nil
}

type meterConn struct {
	net.Conn
	meter   *meter
	closing context.Context // ends when the connection is closed
	cancel  context.CancelFunc
}

// Where a request holds its first address, and a reply its function and how many
// bytes follow.
const (
	addressAt  = 8
	functionAt = 7
	sizeAt     = 8
)

// Read implements net.Conn.
func (c *meterConn) Read(into []byte) (int, error) {
	size, err := c.Conn.Read(into)
	if size >= addressAt+2 {
		c.meter.arrived(binary.BigEndian.Uint16(into[addressAt:]))
	}
	return size, err
}

// Write implements net.Conn.
func (c *meterConn) Write(reply []byte) (int, error) {
	switch trouble(c.meter.trouble.Load()) {
	case hung:
		return len(reply), nil
	case dripping:
		return c.drip(reply)
	}
	if reply[functionAt]&0x80 == 0 {
		c.meter.registers.Add(int64(reply[sizeAt]) / 2)
	}
	return c.Conn.Write(reply)
}

func (c *meterConn) drip(reply []byte) (int, error) {
	timer := c.meter.clock.NewTimer(dripEvery)
	defer timer.Stop()
	for sent := range reply {
		select {
		case <-c.closing.Done():
			return sent, net.ErrClosed
		case <-timer.C():
		}
		timer.Reset(dripEvery)
		if _, err := c.Conn.Write(reply[sent : sent+1]); err != nil {
			return sent, err
		}
	}
	return len(reply), nil
}

// Close implements net.Conn.
func (c *meterConn) Close() error {
	c.cancel()
	return c.Conn.Close()
}
