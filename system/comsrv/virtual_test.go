package comsrv

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// plain is a point without a place in a device.
func plain(kind ems.PointType, id ems.PointID, name string) config.MappedPoint {
	return config.MappedPoint{Point: ems.Point{ID: id, Type: kind, Name: name, Scale: 1, Group: ems.DefaultGroup}}
}

// without is a channel without a device, polled once in the time of a test: what is
// set must not wait for the next poll.
func without(id ems.ChannelID) config.Channel {
	least, most := 0.0, 200.0
	channel := config.Channel{
		ID: id, Name: "virtual", Protocol: "virtual", PollPeriod: time.Hour, Timeout: time.Second, Enabled: true,
		Points: []config.MappedPoint{
			plain(ems.Telemetry, 1, "load"), plain(ems.Telemetry, 2, "double"), plain(ems.Signal, 1, "door"),
			plain(ems.Control, 1, "run"), plain(ems.Adjustment, 1, "limit"),
		},
		Virtual: config.Virtual{Points: map[string]config.VirtualPoint{"double": {Expression: "2 * load"}}},
	}
	channel.Points[0].Scale, channel.Points[0].Min, channel.Points[0].Max = 0.5, &least, &most
	channel.Points[2].Reverse = true
	return channel
}

func TestVirtualPointsAreSetAndWritten(t *testing.T) {
	t.Parallel()
	p := newPlant(t, without(2001))
	p.start()
	p.awaitStatus(2001, true, "")
	p.awaitQuality(2001, ems.Telemetry, ems.Bad, 1, 2)
	for path, value := range map[string]string{"T/1": "120.5", "S/1": "1"} {
		status, reply := p.call(http.MethodPut, "/api/channels/2001/points/"+path, `{"value": `+value+`}`)
		view := decode[pointView](t, reply)
		if status != http.StatusOK || *view.Value != map[string]float64{"T/1": 120.5, "S/1": 1}[path] || view.Quality != ems.Good {
			t.Errorf("%s: %d %+v", path, status, view)
		}
	}
	// It is in Redis when the answer is there.
	if got := p.hash("comsrv:2001:T"); got["1"] != "120.500000" {
		t.Error(got)
	}
	if got := p.hash("comsrv:2001:S"); got["1"] != "1.000000" {
		t.Error(got)
	}
	_, reply := p.call(http.MethodPost, "/api/channels/2001/points/A/1", `{"value": 30.25}`)
	if result := decode[ems.CommandResult](t, reply); result.State != ems.CommandDone || result.ReadBack == nil || *result.ReadBack != 30.25 {
		t.Errorf("%+v", result)
	}
	if diff := cmp.Diff(map[string]string{"1": "30.250000"}, p.hash("comsrv:2001:A")); diff != "" {
		t.Error(diff)
	}
}

// What is computed follows with the next poll.
func TestComputedPointsFollowWhatIsSet(t *testing.T) {
	t.Parallel()
	channel := without(2001)
	channel.PollPeriod = 20 * time.Millisecond
	p := newPlant(t, channel)
	p.start()
	p.awaitStatus(2001, true, "")
	for value, want := range map[string]string{"40": "80.000000", "41": "82.000000"} {
		p.call(http.MethodPut, "/api/channels/2001/points/T/1", `{"value": `+value+`}`)
		p.awaitHash("comsrv:2001:T", map[string]string{"1": value + ".000000", "2": want})
	}
}

func TestWhatCannotBeSetIsRefused(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	disabled := without(2002)
	disabled.Enabled = false
	p := newPlant(t, without(2001), disabled, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(2001, true, "")
	p.awaitStatus(1, true, "")
	for _, test := range []struct {
		path, body string
		status     int
		code       ems.Code
		message    string
	}{
		{"2001/points/T/1", `{}`, http.StatusBadRequest, ems.CodeInvalid, `the body has no value: send {"value": 12.5}`},
		{"2001/points/T/1", `{"value": 200.5}`, http.StatusBadRequest, ems.CodeInvalid, "200.5 is above the greatest value of load, 200"},
		{"2001/points/T/1", `{"value": -1}`, http.StatusBadRequest, ems.CodeInvalid, "-1 is below the least value of load, 0"},
		{"2001/points/T/2", `{"value": 1}`, http.StatusConflict, ems.CodeConflict, "double is computed from other points: its expression says how"},
		{"2001/points/A/1", `{"value": 1}`, http.StatusConflict, ems.CodeConflict, "limit is written by a command: use POST in place of PUT"},
		{"2001/points/T/3", `{"value": 1}`, http.StatusNotFound, ems.CodeNotFound, "channel 2001 has no point T:3"},
		{"2001/points/X/1", `{"value": 1}`, http.StatusBadRequest, ems.CodeInvalid, `unknown point type "X"`},
		{"2001/points/T/01", `{"value": 1}`, http.StatusBadRequest, ems.CodeInvalid, `point "01" is not a number of 1 or more`},
		{"2002/points/T/1", `{"value": 1}`, http.StatusConflict, ems.CodeConflict, "channel 2002 is not run: the channel is disabled; enable it where it is written"},
		{"2003/points/T/1", `{"value": 1}`, http.StatusNotFound, ems.CodeNotFound, "there is no channel 2003"},
		{"1/points/T/1", `{"value": 1}`, http.StatusConflict, ems.CodeConflict, "the points of channel 1 come from its device: only those of a virtual channel can be set"},
	} {
		p.Refused(http.MethodPut, "/api/channels/"+test.path, test.body, test.status, test.code, test.message)
	}
	if got := p.hash("comsrv:2001:T:q"); got["1"] != "bad" || got["2"] != "bad" {
		t.Errorf("qualities %v", got)
	}
}

// A channel whose goroutine is held up takes so many values and no more.
func TestValuesToBeSetAreBounded(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, nowhere, config.Channel{Points: telemetry(1)}) // not running: nobody takes them
	c.driver = settable{c.driver}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxSettings {
		if err := c.set(gone, 0, 1); ems.CodeOf(err) != ems.CodeUnavailable {
			t.Fatal(err)
		}
	}
	if err := c.set(gone, 0, 1); ems.CodeOf(err) != ems.CodeFull {
		t.Error(err)
	}
}

// settable is a driver whose points can be set.
type settable struct{ protocol.Driver }

func (settable) SetPoint(int, float64) error { return nil }
