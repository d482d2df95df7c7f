package comsrv

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// traced is a driver of which only the frames count.
type traced struct{ show func(protocol.Frame) }

func (d *traced) Trace(show func(protocol.Frame)) { d.show = show }

func numbers(view traceView) (list []uint64) {
	for _, frame := range view.Frames {
		list = append(list, frame.Number)
	}
	return list
}

// TestTraceIsBounded by frames, by bytes and by time; the numbers go on, so that a
// cursor tells what it missed.
func TestTraceIsBounded(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	var kept trace
	var driver traced
	kept.start(&driver, clock, clock.Now().Add(time.Minute))
	for range maxFrames + 5 {
		driver.show(protocol.Frame{Bytes: []byte{1}})
	}
	view, more := kept.page(3, 2, clock.Now())
	if got := numbers(view); !slices.Equal(got, []uint64{6, 7}) || view.Missed != 2 || !more || !view.Active {
		t.Errorf("%v, missed %d, more %v", got, view.Missed, more)
	}
	view, more = kept.page(maxFrames+4, 1, clock.Now())
	if got := numbers(view); !slices.Equal(got, []uint64{maxFrames + 5}) || view.Missed != 0 || more {
		t.Errorf("%v, missed %d, more %v", got, view.Missed, more)
	}
	if view, more = kept.page(1<<63-1, 1, clock.Now()); len(view.Frames) > 0 || more || view.Missed > 0 {
		t.Errorf("after the last one: %+v", view)
	}
	for range 600 {
		driver.show(protocol.Frame{Bytes: make([]byte, 260), Reason: strings.Repeat("x", 1000)})
	}
	if view, _ = kept.page(0, maxFrames, clock.Now()); len(view.Frames) != maxTraceBytes/(frameOverhead+260+403) || len(view.Frames[0].Reason) != 403 {
		t.Errorf("%d frames, a reason of %d bytes", len(view.Frames), len(view.Frames[0].Reason))
	}
	clock.Advance(time.Minute)
	driver.show(protocol.Frame{})
	if after, _ := kept.page(0, maxFrames, clock.Now()); driver.show != nil || after.Active || len(after.Frames) != len(view.Frames) {
		t.Errorf("after its end: watched %v, %d frames", driver.show != nil, len(after.Frames))
	}
	kept.start(&driver, clock, clock.Now().Add(time.Minute))
	driver.show(protocol.Frame{})
	if view, _ = kept.page(0, 10, clock.Now()); !slices.Equal(numbers(view), []uint64{maxFrames + 606}) {
		t.Errorf("begun anew: %v", numbers(view))
	}
}

// TestTraceOverHTTP: frames of a device as they come, by pages, until it is ended.
func TestTraceOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.holding[0] = 0x1234 })
	p := newPlant(t, field(1, d.address, mapped(ems.Telemetry, 1, "power", config.Mapping{Function: 3, Address: 0, DataType: config.Uint16})))
	p.start()
	p.awaitStatus(1, true, "")
	const path = "/api/channels/1/trace"
	status, reply := p.call(http.MethodPost, path, `{"duration_ms": 30000}`)
	if view := decode[traceView](t, reply); status != http.StatusOK || !view.Active || view.Until == nil {
		t.Fatalf("%d %s", status, reply.Data)
	}
	var view traceView
	p.eventually(func() error {
		_, reply := p.call(http.MethodGet, path+"?limit=4", "")
		if view = decode[traceView](t, reply); len(view.Frames) < 4 {
			return fmt.Errorf("%d frames", len(view.Frames))
		}
		return nil
	}, "two exchanges")
	for i, frame := range view.Frames {
		if age := time.Since(time.UnixMilli(int64(frame.Time))); age < 0 || age > time.Minute {
			t.Errorf("frame %d is %v old", i, age)
		}
		if (frame.RoundTripMS != nil) != (i%2 == 1) {
			t.Errorf("frame %d: %+v", i, frame)
		}
		view.Frames[i].Time, view.Frames[i].RoundTripMS, view.Frames[i].Bytes = 0, nil, frame.Bytes[4:]
	}
	request := frameView{Direction: "sent", Unit: 1, Function: 3, Bytes: "00000006010300000001", Summary: "read 1 holding registers from 0"}
	answer := frameView{Direction: "received", Unit: 1, Function: 3, Bytes: "000000050103021234", Summary: "0x1234"}
	want := []frameView{request, answer, request, answer}
	for i := range want {
		want[i].Number = uint64(i + 1)
	}
	if diff := cmp.Diff(want, view.Frames); diff != "" {
		t.Error(diff)
	}
	_, reply = p.call(http.MethodGet, path+"?limit=1&after=2", "")
	if got := numbers(decode[traceView](t, reply)); !slices.Equal(got, []uint64{3}) || reply.Next != "3" {
		t.Errorf("%v, next %q", got, reply.Next)
	}
	if _, reply = p.call(http.MethodDelete, path, ""); decode[traceView](t, reply).Active {
		t.Errorf("ended and active: %s", reply.Data)
	}
	_, reply = p.call(http.MethodGet, path, "")
	if view := decode[traceView](t, reply); view.Active || view.Until != nil || len(view.Frames) > 0 {
		t.Errorf("%s", reply.Data)
	}
}

// TestTracesThatAreRefused: bounds, channels without frames, and too many at once.
func TestTracesThatAreRefused(t *testing.T) {
	t.Parallel()
	disabled := field(2, "192.0.2.1:502")
	disabled.Enabled = false
	channels := []config.Channel{{ID: 1, Name: "site", Protocol: "virtual", Enabled: true, PollPeriod: time.Second, Timeout: time.Second}, disabled}
	for id := range maxTraces + 1 {
		channels = append(channels, field(ems.ChannelID(id+10), "127.0.0.1:1", mapped(ems.Telemetry, 1, "power", config.Mapping{Function: 3, DataType: config.Uint16})))
	}
	p := newPlant(t, channels...)
	p.start()
	for id := range maxTraces {
		if status, reply := p.call(http.MethodPost, fmt.Sprintf("/api/channels/%d/trace", id+10), ""); status != http.StatusOK {
			t.Fatalf("%d %+v", status, reply.Error)
		}
	}
	for _, test := range []struct{ method, path, body, want string }{
		{http.MethodPost, "1/trace", "", "409 channel 1 has protocol virtual, which has no frames to show"},
		{http.MethodPost, "2/trace", "", "409 channel 2 is not run: the channel is disabled; enable it where it is written"},
		{http.MethodPost, "3/trace", "", "404 there is no channel 3"},
		{http.MethodPost, "10/trace", `{"duration_ms": 600001}`, "400 duration_ms 600001 is not between 1 and 600000"},
		{http.MethodPost, "10/trace", `{"duration_ms": 0}`, "400 duration_ms 0 is not between 1 and 600000"},
		{http.MethodPost, "10/trace", `{`, "400 the body is not the JSON that is expected: it ends in the middle, after 1 bytes"},
		{http.MethodGet, "10/trace?after=x", "", `400 after "x" is not the number of a frame`},
		{http.MethodGet, "10/trace?limit=0", "", `400 limit "0" is not a whole number from 1 to 1000`},
		{http.MethodGet, "2/trace", "", "200 "},
		{http.MethodDelete, "1/trace", "", "200 "},
		{http.MethodPost, "26/trace", "", "507 16 channels are traced already: end one with DELETE"},
		{http.MethodPost, "10/trace", "", "200 "},
		{http.MethodPost, "11/trace", `{"duration_ms": 1}`, "200 "},
	} {
		status, reply := p.call(test.method, "/api/channels/"+test.path, test.body)
		if got := fmt.Sprintf("%d %s", status, reply.Error.Message); got != test.want {
			t.Errorf("%s %s %s: %s", test.method, test.path, test.body, got)
		}
	}
	p.eventually(func() error { // one that is over makes room
		if status, reply := p.call(http.MethodPost, "/api/channels/26/trace", ""); status != http.StatusOK {
			return fmt.Errorf("%d %+v", status, reply.Error)
		}
		return nil
	}, "room")
	p.eventually(func() error { // a device that is away shows why nothing leaves
		_, reply := p.call(http.MethodGet, "/api/channels/10/trace", "")
		frames := decode[traceView](t, reply).Frames
		if len(frames) == 0 || frames[0].Direction != "nothing" || frames[0].Reason != "127.0.0.1:1 cannot be reached: connect: connection refused" {
			return fmt.Errorf("%+v", frames)
		}
		return nil
	}, "the reason")
}

// TestATraceGoesOn over a change of its channel, with the numbers that follow.
func TestATraceGoesOn(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, f := newFolderPlant(t)
	f.channels(f.field(1, d, ""))
	p.site, _ = p.readSite()
	p.start()
	p.ok(http.MethodPost, "/api/channels/1/trace", `{"duration_ms": 600000}`)
	page := func(after uint64) (view traceView) {
		t.Helper()
		p.eventually(func() error {
			view = decode[traceView](t, p.ok(http.MethodGet, fmt.Sprintf("/api/channels/1/trace?after=%d", after), ""))
			if len(view.Frames) == 0 {
				return fmt.Errorf("no frames after %d", after)
			}
			return nil
		}, "frames")
		return view
	}
	page(0)
	for _, what := range []string{"other", ", enabled: false", ""} {
		f.channels(f.field(1, d, strings.Replace(what, "other", ", description: other", 1)))
		p.reload()
		view := decode[traceView](t, p.ok(http.MethodGet, "/api/channels/1/trace", ""))
		if !view.Active || len(view.Frames) == 0 || view.Frames[0].Number != 1 {
			t.Fatalf("%q: active %v, %d frames", what, view.Active, len(view.Frames))
		}
		if strings.Contains(what, "enabled") {
			continue
		}
		last := view.Frames[len(view.Frames)-1].Number
		if more := page(last); more.Missed != 0 || more.Frames[0].Number != last+1 {
			t.Errorf("%q: missed %d, the next frame is %d and not %d", what, more.Missed, more.Frames[0].Number, last+1)
		}
	}
}
