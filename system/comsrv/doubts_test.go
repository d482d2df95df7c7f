package comsrv

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// shownPoint is what the API shows of a point.
type shownPoint struct {
	Value   float64
	Quality ems.Quality
	Reason  string
}

// points returns what the API shows of the telemetry of the channel that a test
// polls.
func (p *polled) points() []shownPoint {
	p.t.Helper()
	service := &Service{parts: p.channel.parts}
	indexes, err := p.channel.pointsOf(pointFilter{kind: ems.Telemetry}, "")
	if err != nil {
		p.t.Fatal(err)
	}
	views, err := service.readPoints(p.t.Context(), p.channel, indexes)
	if err != nil {
		p.t.Fatal(err)
	}
	var list []shownPoint
	for _, view := range views {
		one := shownPoint{Quality: view.Quality, Reason: view.Reason}
		if view.Value != nil {
			one.Value = *view.Value
		}
		list = append(list, one)
	}
	return list
}

func (p *polled) wantPoints(what string, want ...shownPoint) {
	p.t.Helper()
	if diff := cmp.Diff(want, p.points()); diff != "" {
		p.t.Errorf("%s: %s", what, diff)
	}
}

// TestEveryDoubtHasItsReason: a value that is not good says why, from the poll on
// that found it out, and one that is good says nothing.
func TestEveryDoubtHasItsReason(t *testing.T) {
	t.Parallel()
	points := telemetry(3)
	least, most := -40.0, 120.0
	points[0].Min, points[0].Max, points[0].Unit = &least, &most, "°C"
	p := newPolled(t, points)
	never := shownPoint{Quality: ems.Bad, Reason: "not polled yet"}
	p.wantPoints("before the first poll", never, never, never)

	p.device.raw, p.device.bad = []float64{120, 2, 3}, map[int]string{2: "exception 4"}
	p.poll()
	p.wantPoints("at the limit", shownPoint{Value: 120}, shownPoint{Value: 2}, shownPoint{Quality: ems.Bad, Reason: "exception 4"})

	p.device.raw, p.device.bad = []float64{120.5, 2, 3}, nil
	p.poll()
	above := shownPoint{120.5, ems.Uncertain, "above the plausible range of -40 to 120 °C"}
	p.wantPoints("above the limit", above, shownPoint{Value: 2}, shownPoint{Value: 3})
	if diff := cmp.Diff(map[string]string{"1": "uncertain"}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
	p.device.clock.Advance(3 * time.Second) // nobody polls
	p.wantPoints("at the limit of freshness", above, shownPoint{Value: 2}, shownPoint{Value: 3})
	p.device.clock.Advance(time.Millisecond)
	late := "poll group default was read last 3.001s ago, and its values are stale after 3s"
	p.wantPoints("nobody polls", above, shownPoint{2, ems.Stale, late}, shownPoint{3, ems.Stale, late})

	p.device.raw[0] = -41
	p.poll()
	p.wantPoints("below the limit", shownPoint{-41, ems.Uncertain, "below the plausible range of -40 to 120 °C"}, shownPoint{Value: 2}, shownPoint{Value: 3})
	p.device.raw[0] = 20
	p.poll()
	p.wantPoints("all good", shownPoint{Value: 20}, shownPoint{Value: 2}, shownPoint{Value: 3})

	p.device.wants = func(int) (time.Duration, error) { return 0, errors.New("no answer") }
	p.poll()
	silent := func(value float64) shownPoint { return shownPoint{value, ems.Bad, "no answer"} }
	p.wantPoints("the device is away", silent(20), silent(2), silent(3))
}

// TestAReasonIsThereWheneverADoubtIs: comsrv may know better by now than Redis, and
// Redis better than comsrv, which may have begun anew.
func TestAReasonIsThereWheneverADoubtIs(t *testing.T) {
	t.Parallel()
	points := telemetry(2)
	most := 10.0
	points[1].Max = &most
	p := newPolled(t, points)
	p.device.raw, p.device.bad = []float64{1, 11}, map[int]string{0: "torn off"}
	p.poll()
	bad, doubted := shownPoint{Quality: ems.Bad, Reason: "torn off"}, shownPoint{11, ems.Uncertain, "above the greatest plausible value of 10"}
	p.wantPoints("both know", bad, doubted)
	p.channel.publisher.retryAt = p.device.clock.Now().Add(time.Minute)
	p.device.raw, p.device.bad = []float64{1, 1}, nil
	p.poll()
	p.wantPoints("comsrv knows better", bad, doubted)
	p.channel.publisher.retryAt = time.Time{}
	p.poll()
	p.wantPoints("both know that all is good", shownPoint{Value: 1}, shownPoint{Value: 1})

	if err := p.Raw.HSet(t.Context(), "comsrv:1:T:q", "1", "uncertain", "2", "bad").Err(); err != nil {
		t.Fatal(err)
	}
	unknown := "Redis does not know yet what was read last"
	p.wantPoints("Redis tells of what comsrv never knew", shownPoint{1, ems.Uncertain, unknown}, shownPoint{1, ems.Bad, unknown})
}

// TestPlausibleIsWhatIsRead, and not what may be written.
func TestPlausibleIsWhatIsRead(t *testing.T) {
	t.Parallel()
	points := allKinds()
	points[5].Min, points[5].Max = points[6].Min, points[6].Max
	text := mapped(ems.Telemetry, 3, "serial number", config.Mapping{Function: 3, Address: 30, DataType: config.String, Length: 2})
	text.Min = points[6].Max
	p := newPolled(t, append(points, text))
	p.device.raw = []float64{0, 0, 0, 0, 0, 300, 300, 0}
	p.poll()
	for i := range p.channel.publisher.points {
		if point := &p.channel.publisher.points[i]; point.quality != ems.Good || point.reason != "" {
			t.Errorf("%s:%d is %s: %s", point.Type, point.ID, point.quality, point.reason)
		}
	}
}
