package comsrv

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of telling Redis.
const (
	refreshPeriod  = time.Minute     // everything is told again, changed or not
	statusPeriod   = 5 * time.Second // the status is told again, changed or not
	publishTimeout = time.Second     // of what has changed
	fullTimeout    = 3 * time.Second // of everything
	turnsAtOnce    = 2               // channels that tell everything: when Redis is back all want to, and its other clients wait
	turnRetry      = 50 * time.Millisecond
	publishRetry   = 2 * time.Second // a Redis that hangs must not hold up every poll
)

// publisher keeps the newest value of each point of one channel and what Redis
// was told of it. It belongs to the goroutine of the channel, but for answered.
type publisher struct {
	db       *rtdb.Client
	clock    ems.Clock
	logger   *slog.Logger
	metrics  channelMetrics
	turns    chan struct{}
	channel  ems.ChannelID
	stale    time.Duration
	points   []pointState   // as in the channel
	brief    []briefState   // the same, as far as most polls need to look at a point
	groups   []groupState   // the shortest period first
	mu       sync.Mutex     // held where the newest value of a point changes, and where another goroutine looks at one
	doubts   map[int]doubts // of points that were not good at any time, by index; guarded by mu
	polled   bool           // the device was tried at least once: before, there is nothing to tell
	online   bool
	reason   string // why it is not online
	failures int64
	trip     time.Duration

	full     bool // everything is to be told, not only what changed
	marked   bool // Redis was told that no point could be read
	told     toldStatus
	failing  bool
	retryAt  time.Time // when to try again; zero when Redis knows everything
	scratch  []rtdb.Sample
	sentNow  []sentSample
	written  uint64 // counts values that were read back after a write
	batchBuf []rtdb.Batch
}

// pointState is the newest value of a point and the one that Redis was told.
type pointState struct {
	*config.MappedPoint
	known   bool // read at least once, or tried
	value   float64
	quality ems.Quality
	reason  string
	told    rtdb.Told
	written uint64 // which count its last value that was read back has

	raw  float64   // as the device had it, while not bad
	text string    // the digits of a raw number that is rounded, or the value of a text: the last good one
	at   time.Time // when it was last good; of a number when it became what it is
}

// briefState says of a point that there is nothing to do.
type briefState struct {
	raw    uint64 // bits of the number that the device had last
	steady bool   // a good number, which a reading of the same number leaves as it is
	told   bool   // Redis knows the newest value, or is not to be told of it
}

type toldStatus struct {
	known  bool
	online bool
	reason string
	at     time.Time
}

// sentSample remembers what a call tells, to be noted when it succeeded.
type sentSample struct {
	point   int
	value   float64
	quality ems.Quality
}

func newPublisher(channel *config.Channel, parts parts, counters channelMetrics) *publisher {
	p := &publisher{
		db: parts.db, clock: parts.clock, logger: parts.logger, metrics: counters, turns: parts.turns,
		channel: channel.ID, stale: channel.StaleAfter(ems.DefaultGroup), full: true, groups: newGroups(channel, counters.overruns),
		points: make([]pointState, len(channel.Points)), doubts: map[int]doubts{}, reason: "not polled yet",
	}
	p.brief = make([]briefState, len(p.points))
	for i := range channel.Points {
		point := &channel.Points[i]
		p.points[i] = pointState{MappedPoint: point}
	}
	return p
}

// take notes the readings of a group in engineering units and returns how many
// are bad. written is how many values had been read back when the poll began.
func (p *publisher) take(group *groupState, readings []protocol.Reading, written uint64, at time.Time) (bad int) {
	group.time, group.untold, group.failed = at, true, false
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range readings {
		reading := &readings[i]
		if p.brief[reading.Point].holds(reading) {
			continue
		}
		if p.points[reading.Point].written > written { // what was read back is newer
			continue
		}
		p.set(reading, at)
		if p.points[reading.Point].quality == ems.Bad {
			bad++
		}
	}
	return bad
}

// set notes one reading. Of a bad one the last good value stays. The caller holds
// mu.
func (p *publisher) set(reading *protocol.Reading, at time.Time) {
	point := &p.points[reading.Point]
	value, quality, reason := point.FromRaw(reading.Raw), reading.Quality, reading.Reason
	if quality != ems.Bad && (math.IsNaN(value) || math.IsInf(value, 0)) {
		quality, reason = ems.Bad, "scale and offset make the value infinite"
	}
	if quality == ems.Good && !point.Mapping.IsText() {
		if reason = point.Implausible(value); reason != "" {
			quality = ems.Uncertain
		}
	}
	point.known, point.quality, point.reason = true, quality, reason
	if quality != ems.Bad {
		point.value, point.raw, point.text, point.at = value, reading.Raw, reading.Text, at
	}
	p.brief[reading.Point] = briefState{
		raw: math.Float64bits(reading.Raw), steady: quality == ems.Good && reading.Text == "" && !point.Mapping.IsText(),
	}
	p.doubt(reading.Point)
}

// holds reports whether a reading is just what the device had before, and good.
func (b *briefState) holds(reading *protocol.Reading) bool {
	return b.steady && reading.Quality == ems.Good && reading.Text == "" && math.Float64bits(reading.Raw) == b.raw
}

// doubt keeps why a point is not good, if it is not. The caller holds mu.
func (p *publisher) doubt(index int) {
	point := &p.points[index]
	if point.quality == ems.Good || point.reason == "" {
		return
	}
	known := p.doubts[index]
	if point.quality == ems.Uncertain {
		known.uncertain = point.reason
	} else {
		known.bad = point.reason
	}
	p.doubts[index] = known
}

// distrust makes a point bad. The caller holds mu.
func (p *publisher) distrust(index int, reason string) {
	p.points[index].quality, p.points[index].reason = ems.Bad, reason
	p.brief[index] = briefState{}
	p.doubt(index)
}

// answered returns what the device last answered for points, by index, as any
// goroutine may ask.
func (p *publisher) answered(indexes []int) []latest {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]latest, len(indexes))
	for i, index := range indexes {
		point := &p.points[index]
		list[i] = latest{quality: point.quality, raw: point.raw, text: point.text, at: point.at, doubts: p.doubts[index]}
	}
	return list
}

// succeed notes that the device answered.
func (p *publisher) succeed(trip time.Duration) {
	if !p.online { // whatever was told of the device before, tell everything
		p.full = true
	}
	p.polled, p.online, p.reason, p.trip = true, true, "", trip
}

// lose notes that one group cannot be read, though the device is there.
func (p *publisher) lose(group *groupState, err error) {
	group.failed, group.untold = true, true
	p.failures++
	reason := clip(err.Error())
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range group.types {
		for _, index := range of.points {
			p.distrust(index, reason)
		}
	}
}

// reads reports whether another group than that one can be read.
func (p *publisher) reads(except *groupState) bool {
	return slices.ContainsFunc(p.groups, func(g groupState) bool { return g.name != except.name && !g.failed && !g.time.IsZero() })
}

// fail notes that the device cannot be reached.
func (p *publisher) fail(err error) {
	p.polled, p.online, p.reason = true, false, clip(err.Error())
	p.failures++
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.points {
		p.distrust(i, p.reason)
	}
}

// forget is called when Redis has newly appeared: it may know nothing.
func (p *publisher) forget() {
	p.full, p.marked, p.told.known, p.retryAt = true, false, false, time.Time{}
}

// publish tells Redis what it does not know. A failure is counted and noted; the
// newest values are kept, and everything is told at the next attempt, not before
// retryAt.
func (p *publisher) publish(ctx context.Context) {
	if !p.polled || p.clock.Now().Before(p.retryAt) {
		return
	}
	timeout := publishTimeout
	if p.full && p.online {
		select {
		case p.turns <- struct{}{}:
			defer func() { <-p.turns }()
		default:
			p.retryAt = p.clock.Now().Add(turnRetry)
			return
		}
		timeout = fullTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := p.tell(ctx)
	now := p.clock.Now()
	switch {
	case errors.Is(err, context.Canceled): // comsrv is stopping
	case err != nil:
		p.metrics.ingestFailures.Inc()
		p.full, p.retryAt = true, now.Add(publishRetry)
		if !p.failing {
			p.logger.Warn("redis cannot be told of the channel; the newest values are kept", "error", err)
		}
		p.failing = true
	default:
		if p.failing {
			p.logger.Info("redis knows the channel again")
		}
		p.failing, p.retryAt = false, time.Time{}
	}
}

func (p *publisher) tell(ctx context.Context) error {
	if p.online {
		if err := p.tellValues(ctx); err != nil {
			return err
		}
	} else if !p.marked {
		if err := p.db.Mark(ctx, p.channel, ems.Bad); err != nil {
			return err
		}
		p.marked = true
	}
	now := p.clock.Now()
	if p.told.known && p.told.online == p.online && p.told.reason == p.reason && now.Sub(p.told.at) < statusPeriod {
		return nil
	}
	if err := p.db.SetStatus(ctx, p.channel, p.status()); err != nil {
		return err
	}
	p.told = toldStatus{known: true, online: p.online, reason: p.reason, at: now}
	return nil
}

// status is the channel as Redis and the API show it.
func (p *publisher) status() rtdb.ChannelStatus {
	status := rtdb.ChannelStatus{
		Online: p.online, Reason: p.reason, Errors: p.failures, RoundTrip: p.trip, StaleAfter: p.stale,
		Groups: make(map[string]rtdb.GroupStatus, len(p.groups)),
	}
	for i := range p.groups {
		group := &p.groups[i]
		status.Groups[group.name] = rtdb.GroupStatus{StaleAfter: group.stale, LastSuccess: group.time}
		if group.time.After(status.LastSuccess) {
			status.LastSuccess = group.time
		}
	}
	return status
}

// tellValues sends one batch for each type of each poll group that was polled, even
// when nothing has changed: the success of its group keeps a value fresh.
func (p *publisher) tellValues(ctx context.Context) error {
	now := p.clock.Now()
	p.scratch, p.sentNow, p.batchBuf = p.scratch[:0], p.sentNow[:0], p.batchBuf[:0]
	for i := range p.groups {
		if group := &p.groups[i]; p.full || group.untold {
			p.addGroup(group, now)
		}
	}
	if err := p.ingest(ctx); err != nil {
		return err
	}
	for i := range p.groups {
		group := &p.groups[i]
		if p.isFull(group, now) {
			group.fullAt = now
		}
		group.untold = false
	}
	p.full, p.marked = false, false
	return nil
}

// isFull reports whether all of a group is told, not only what changed.
func (p *publisher) isFull(group *groupState, now time.Time) bool {
	return p.full || group.untold && now.Sub(group.fullAt) >= refreshPeriod
}

// addGroup appends a group to what is sent: as of its last success, and as of now
// where it can no longer be read.
func (p *publisher) addGroup(group *groupState, now time.Time) {
	full, name, at := p.isFull(group, now), group.name, group.time
	if group.failed {
		name, at = "", now
	} else if at.IsZero() {
		return
	}
	for _, of := range group.types {
		first := len(p.scratch)
		for _, index := range of.points {
			p.add(index, full)
		}
		if group.failed && len(p.scratch) == first {
			continue
		}
		p.batchBuf = append(p.batchBuf, rtdb.Batch{
			Channel: p.channel, Type: of.kind, Group: name, Time: at, Samples: p.scratch[first:len(p.scratch):len(p.scratch)],
		})
	}
}

// add appends a point to what is sent, if there is anything to tell of it. A text
// is not: Redis keeps numbers, and the API shows it from here.
func (p *publisher) add(index int, full bool) {
	if p.brief[index].told && !full {
		return // of most points there is nothing to tell
	}
	point := &p.points[index]
	if !point.known {
		return
	}
	if point.Mapping.IsText() || !full && !point.told.Changed(point.value, point.quality, point.Deadband) {
		p.brief[index].told = true
		return
	}
	p.scratch = append(p.scratch, rtdb.Sample{Point: point.ID, Number: point.value, Quality: point.quality})
	p.sentNow = append(p.sentNow, sentSample{point: index, value: point.value, quality: point.quality})
}

// ingest sends what was gathered in one exchange with Redis and notes it.
func (p *publisher) ingest(ctx context.Context) error {
	if err := p.db.Ingest(ctx, p.batchBuf...); err != nil {
		return err
	}
	p.metrics.sent.Add(float64(len(p.sentNow)))
	for _, sent := range p.sentNow {
		p.points[sent.point].told.Note(sent.value, sent.quality)
		p.brief[sent.point].told = true
	}
	return nil
}

// publishPoint tells one value at once: what was read back after a write.
func (p *publisher) publishPoint(ctx context.Context, index int, raw float64) {
	p.mu.Lock()
	p.set(&protocol.Reading{Point: index, Raw: raw, Quality: ems.Good}, p.clock.Now())
	p.mu.Unlock()
	p.written++
	p.points[index].written = p.written
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	p.scratch, p.sentNow, p.batchBuf = p.scratch[:0], p.sentNow[:0], p.batchBuf[:0]
	p.add(index, true)
	p.batchBuf = append(p.batchBuf, rtdb.Batch{
		Channel: p.channel, Type: p.points[index].Type, Time: p.clock.Now(), Samples: p.scratch,
	})
	if err := p.ingest(ctx); err != nil {
		p.metrics.ingestFailures.Inc()
		p.full, p.retryAt = true, p.clock.Now().Add(publishRetry)
		p.logger.Warn("redis cannot be told what was read back; it will be with the next refresh", "point", p.points[index].Name, "error", err)
	}
}

// clip makes a reason fit for Redis, which takes 500 bytes without control
// characters.
func clip(reason string) string {
	const most = 400
	if len(reason) > most {
		reason = strings.ToValidUTF8(reason[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, reason)
}
