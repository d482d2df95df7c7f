package comsrv

import (
	"encoding/hex"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of the traces of frames.
const (
	defaultTrace   = time.Minute
	longestTrace   = 10 * time.Minute
	maxTraces      = 16 // channels of which frames are kept
	maxFrames      = 1000
	maxTraceBytes  = 128 << 10 // of one channel
	frameOverhead  = 64        // bytes that a kept frame takes beside what it says
	maxFrameReason = 400
)

// trace keeps the last frames of one channel while somebody wants them.
type trace struct {
	mu     sync.Mutex
	until  time.Time // nothing is kept from then on; zero: nobody wants any
	frames []protocol.Frame
	first  uint64 // the number of the oldest one kept; the first of all has 1
	size   int
}

// start keeps the frames of a driver anew. The numbers go on.
func (t *trace) start(driver protocol.Traceable, clock ems.Clock, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first, t.frames, t.size, t.until = t.next(), nil, 0, until
	t.watch(driver, clock)
}

func (t *trace) watch(driver protocol.Traceable, clock ems.Clock) {
	driver.Trace(func(frame protocol.Frame) { t.add(driver, frame, clock.Now()) })
}

// resume goes on with the frames of another driver, if somebody wants them still.
func (t *trace) resume(driver protocol.Traceable, clock ems.Clock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if clock.Now().Before(t.until) {
		t.watch(driver, clock)
	}
}

// stop forgets all frames. driver is nil where there is none.
func (t *trace) stop(driver protocol.Traceable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first, t.frames, t.size, t.until = t.next(), nil, 0, time.Time{}
	if driver != nil {
		driver.Trace(nil)
	}
}

// next returns the number of the next frame. The caller holds mu.
func (t *trace) next() uint64 { return max(1, t.first) + uint64(len(t.frames)) }

// add keeps a frame, and forgets the oldest ones where there are too many. The
// first one that nobody wants any more is the last one that the driver shows.
func (t *trace) add(driver protocol.Traceable, frame protocol.Frame, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !now.Before(t.until) {
		driver.Trace(nil)
		return
	}
	if len(frame.Reason) > maxFrameReason {
		frame.Reason = clip(frame.Reason)
	}
	t.frames = append(t.frames, frame)
	t.size += sizeOf(&frame)
	for len(t.frames) > maxFrames || t.size > maxTraceBytes {
		t.size -= sizeOf(&t.frames[0])
		t.frames[0] = protocol.Frame{}
		t.frames = t.frames[1:]
		t.first++
	}
}

func sizeOf(frame *protocol.Frame) int {
	return frameOverhead + len(frame.Bytes) + len(frame.Summary) + len(frame.Reason)
}

// state reports whether frames are kept, and whether more come.
func (t *trace) state(now time.Time) (kept, active bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.until.IsZero(), now.Before(t.until)
}

// frameView is a frame as the API shows it.
type frameView struct {
	Number      uint64             `json:"number"` // counts the frames of a channel
	Time        float64            `json:"time"`   // Unix ms, with microseconds
	Direction   protocol.Direction `json:"direction"`
	Unit        uint8              `json:"unit"`
	Function    uint8              `json:"function,omitempty"`
	Bytes       string             `json:"bytes"` // hex
	Summary     string             `json:"summary,omitempty"`
	Reason      string             `json:"reason,omitempty"` // why it is no answer, or why nothing left
	RoundTripMS *float64           `json:"round_trip_ms,omitempty"`
}

// traceView is a trace, or a page of it.
type traceView struct {
	Active bool        `json:"active"`
	Until  *int64      `json:"until"`  // Unix ms; null when there is none
	Missed uint64      `json:"missed"` // frames after the cursor that are no longer kept
	Frames []frameView `json:"frames"` // oldest first
}

// page returns at most limit frames after number after, and whether there are
// more.
func (t *trace) page(after uint64, limit int, now time.Time) (view traceView, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	view = traceView{Active: now.Before(t.until), Until: unixMS(t.until), Frames: []frameView{}}
	first := max(1, t.first)
	skip := 0
	if after >= first {
		skip = int(min(after-first+1, uint64(len(t.frames))))
	} else if after > 0 {
		view.Missed = first - after - 1
	}
	for i := skip; i < len(t.frames); i++ {
		if len(view.Frames) == limit {
			return view, true
		}
		view.Frames = append(view.Frames, viewFrame(first+uint64(i), &t.frames[i]))
	}
	return view, false
}

func viewFrame(number uint64, frame *protocol.Frame) frameView {
	view := frameView{
		Number: number, Time: float64(frame.At.UnixMicro()) / 1000, Direction: frame.Direction, Unit: frame.Unit, Function: frame.Function,
		Bytes: hex.EncodeToString(frame.Bytes), Summary: frame.Summary, Reason: frame.Reason,
	}
	if frame.Direction == protocol.Received {
		trip := milliseconds(frame.RoundTrip)
		view.RoundTripMS = &trip
	}
	return view
}

// traceable returns the driver of a channel, if that has frames to show.
func (c *channel) traceable() (protocol.Traceable, error) {
	if !c.Enabled {
		return nil, c.rests
	}
	driver, can := c.driver.(protocol.Traceable)
	if !can {
		return nil, ems.Errorf(ems.CodeConflict, "channel %d has protocol %s, which has no frames to show", c.ID, c.Protocol)
	}
	return driver, nil
}

func (s *Service) addTraceRoutes() {
	const path = "/api/channels/:channel/trace"
	s.server.Echo.POST(path, s.startTrace, httpserver.Parameters())
	s.server.Echo.GET(path, s.readTrace, httpserver.Parameters("limit", "after"))
	s.server.Echo.DELETE(path, s.stopTrace, httpserver.Parameters())
}

// startTrace keeps the frames of a channel for a time.
func (s *Service) startTrace(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	var request struct {
		DurationMS *int64 `json:"duration_ms"`
	}
	if c.Request().ContentLength != 0 {
		if err := httpserver.Body(c, &request); err != nil {
			return err
		}
	}
	length := defaultTrace
	if ms := request.DurationMS; ms != nil {
		if *ms < 1 || *ms > longestTrace.Milliseconds() {
			return ems.Errorf(ems.CodeInvalid, "duration_ms %d is not between 1 and %d", *ms, longestTrace.Milliseconds())
		}
		length = time.Duration(*ms) * time.Millisecond
	}
	driver, err := channel.traceable()
	if err != nil {
		return err
	}
	s.tracing.Lock()
	defer s.tracing.Unlock()
	if err := s.makeRoom(channel); err != nil {
		return err
	}
	channel.trace.start(driver, s.clock, s.clock.Now().Add(length))
	view, _ := channel.trace.page(0, 0, s.clock.Now())
	return httpserver.OK(c, view)
}

// makeRoom makes sure that not too many frames are kept: those of traces that are
// over go first. The caller holds tracing.
func (s *Service) makeRoom(wanted *channel) error {
	now, count := s.clock.Now(), 0
	var over *channel
	for _, other := range s.commands.roster.Load().channels {
		kept, active := other.trace.state(now)
		if kept && other != wanted {
			count++
			if !active {
				over = other
			}
		}
	}
	switch {
	case count < maxTraces:
	case over == nil:
		return ems.Errorf(ems.CodeFull, "%d channels are traced already: end one with DELETE", maxTraces)
	default:
		over.trace.stop(nil)
	}
	return nil
}

// readTrace replies with frames in order: at most ?limit=, those after number
// ?after=.
func (s *Service) readTrace(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	text, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	after := uint64(0)
	if text != "" {
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			return ems.Errorf(ems.CodeInvalid, "after %q is not the number of a frame", text)
		}
	}
	view, more := channel.trace.page(after, limit, s.clock.Now())
	next := ""
	if more {
		next = strconv.FormatUint(view.Frames[len(view.Frames)-1].Number, 10)
	}
	return httpserver.OKPage(c, view, next)
}

// stopTrace ends a trace and forgets its frames.
func (s *Service) stopTrace(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	driver, _ := channel.traceable() // where it has none there is nothing to forget either
	channel.trace.stop(driver)
	view, _ := channel.trace.page(0, 0, s.clock.Now())
	return httpserver.OK(c, view)
}
