package modbus

import (
	"context"
	"sync"
	"time"

	"github.com/goburrow/modbus"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Links hands out connections to the channels of a site. Many gateways take one
// connection and no more, so channels of the same address share one, unless they
// say that they want their own.
type Links struct {
	clock   ems.Clock
	metrics *metrics

	mu     sync.Mutex
	shared map[place]*link
}

// NewLinks returns the factory of the drivers of a site. Its metrics go to
// registry.
func NewLinks(clock ems.Clock, registry prometheus.Registerer) (*Links, error) {
	counters, err := newMetrics(registry)
	if err != nil {
		return nil, err
	}
	return &Links{clock: clock, metrics: counters, shared: map[place]*link{}}, nil
}

// Forget removes the metrics of a channel whose driver is closed for good.
func (l *Links) Forget(channel ems.ChannelID) { l.metrics.forget(channel) }

// place is where a connection leads and all that those who share it agree upon.
type place struct {
	protocol, address string
	spacing           time.Duration
	tls               config.TLS
	serial            config.Serial
}

// plain returns the same place, however its address is written.
func (p place) plain() place {
	p.address = config.PlainAddress(p.address)
	return p
}

// take returns the connection of a channel, which must be returned with leave.
func (l *Links) take(channel *config.Channel) *link {
	at := place{
		protocol: channel.Protocol, address: channel.Address,
		spacing: channel.Modbus.Spacing, tls: channel.Modbus.TLS, serial: channel.Serial,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.shared[at.plain()]
	if taken == nil || channel.Modbus.OwnConnection {
		taken = newLink(at, l.clock)
	}
	if !channel.Modbus.OwnConnection {
		l.shared[at.plain()] = taken
	}
	taken.holders++
	return taken
}

// leave ends what take began. The last one to leave closes the connection.
func (l *Links) leave(left *link) {
	l.mu.Lock()
	left.holders--
	last := left.holders == 0
	if at := left.plain(); last && l.shared[at] == left {
		delete(l.shared, at)
	}
	l.mu.Unlock()
	if last {
		left.close()
	}
}

// link is one connection and the turns that its channels take upon it.
type link struct {
	place
	clock   ems.Clock
	holders int // channels that use it; guarded by Links.mu
	turns   turns
	health  health
	framing framing
	client  modbus.Client
	silence time.Duration // that parts two frames of a serial line

	// All that follows belongs to whoever has the turn.
	tries  bool  // the turn is that of a command to a unit that is left alone
	unit   uint8 // which
	port   port
	free   time.Time // no request leaves earlier
	late   lateReplies
	refuse dialFailure
	cut    cut
	ctx    context.Context // of the request under way, because the interface
	ask    *ask            // of the Modbus library carries neither
}

// dialFailure is the last attempt to connect, when it failed.
type dialFailure struct {
	at    time.Time
	cause error
}

func newLink(at place, clock ems.Clock) *link {
	made := &link{
		place: at, clock: clock,
		health: health{clock: clock, units: map[uint8]*unitHealth{}},
	}
	if config.IsLine(at.protocol) {
		made.framing, made.late = rtuFraming{modbus.NewRTUClientHandler("")}, lateReplies{}
	} else {
		made.framing = tcpFraming{modbus.NewTCPClientHandler("")}
	}
	if made.isSerial() {
		made.silence = silence(at.serial)
	}
	made.client = modbus.NewClient2(made.framing, made)
	return made
}

// purpose is what a turn is for.
type purpose int

const (
	reading purpose = iota
	writing
	commanding // a write that somebody waits for
)

// take waits for a turn to talk to a unit, which ends with give. A unit that is
// left alone gets none, but for a command now and then.
func (l *link) take(ctx context.Context, unit uint8, of purpose) error {
	tries, err := l.admit(unit, of)
	if err != nil {
		return err
	}
	if err = l.turns.take(ctx, unit, of != reading); err == nil {
		if !tries { // what was known of the unit may have changed meanwhile
			tries, err = l.admit(unit, of)
		}
		if err == nil {
			l.tries, l.unit = tries, unit
			return nil
		}
		l.turns.give()
	}
	if tries {
		l.health.tried(unit)
	}
	return err
}

// admit returns a *restError for a unit that is to be left alone, and whether a
// command tries it all the same.
func (l *link) admit(unit uint8, of purpose) (tries bool, err error) {
	if of == commanding {
		return l.health.try(unit)
	}
	return false, l.health.check(unit)
}

func (l *link) give() {
	if l.tries {
		l.tries = false
		l.health.tried(l.unit)
	}
	l.turns.give()
}

// connect makes sure of a connection, unless one stands.
func (l *link) connect(ctx context.Context, unit uint8, timeout time.Duration) error {
	began := l.clock.Now()
	if err := l.turns.take(ctx, unit, false); err != nil {
		return err
	}
	defer l.give()
	return l.prepare(ctx, began, timeout)
}

// ask is one request to a unit. Whoever makes it has the turn.
type ask struct {
	unit     uint8
	timeout  time.Duration // for dialling, and again for the request and its whole reply
	since    time.Time     // when the wait for the turn began
	before   func() error  // asked when the next thing is that bytes leave; may be nil
	call     func(modbus.Client) ([]byte, error)
	counters *unitMetrics
	trace    *tracer // nil: nobody watches
	frame    []byte  // of maxFrame bytes, for the reply, which is part of it
}

// exchange makes one request. Its errors are those of before and of ctx, a
// *modbus.ModbusError for an exception, errBroadcast, or a *brokenError.
func (l *link) exchange(ctx context.Context, ask *ask) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.framing.setUnit(ask.unit)
	l.ctx, l.ask = ctx, ask
	defer func() { l.ctx, l.ask = nil, nil }()
	reply, err := ask.call(l.client)
	if err != nil {
		ask.counters.count(err)
	}
	return reply, err
}
