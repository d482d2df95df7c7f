package comsrv

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
)

// TestStatisticsOverHTTP counts polls, and what went over the wire for them.
func TestStatisticsOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.refuse[2] = 1 })
	disabled := field(2, "192.0.2.1:502")
	disabled.Enabled = false
	site := config.Channel{ID: 3, Name: "site", Protocol: "virtual", Enabled: true, PollPeriod: time.Second, Timeout: time.Second}
	p := newPlant(t, field(1, d.address, allKinds()...), disabled, site)
	p.start()
	var view statisticsView
	p.eventually(func() error {
		_, reply := p.call(http.MethodGet, "/api/channels/1/statistics", "")
		if view = decode[statisticsView](t, reply); view.Polls[pollPartial] < 3 {
			return fmt.Errorf("%+v", view)
		}
		return nil
	}, "three polls")
	polls := view.Polls[pollPartial]
	unit := view.Exchanges.Units[0]
	if view.Polls[pollComplete]+view.Polls[pollFailed] > 0 || view.Points < 7*polls || view.PointsSent < 7 || view.IngestFailures+view.CommandsRefused > 0 ||
		len(view.Overruns) != 1 || view.Overruns["default"] < 0 {
		t.Errorf("%+v", view)
	}
	if trips := view.Exchanges.RoundTrip; trips.Count < 4*polls || trips.P50 <= 0 || trips.P50 > trips.P99 || view.Poll.Count < polls || view.Poll.Mean <= 0 {
		t.Errorf("%+v and %+v", trips, view.Poll)
	}
	if refused := unit.Exceptions["1"]; refused < polls || len(unit.Exceptions) != 1 || unit.Requests < 4*polls {
		t.Errorf("%+v", unit)
	}
	unit.Exceptions, unit.Requests = nil, 0
	want := protocol.UnitStatistics{Unit: "1", State: protocol.UnitAnswers, Failures: map[string]uint64{"timeout": 0, "malformed": 0, "connection": 0}}
	if diff := cmp.Diff(want, unit); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{
		"2": "409 channel 2 is not run: the channel is disabled; enable it where it is written", "4": "404 there is no channel 4", "x": `400 channel "x" is not a number of 1 or more`,
	} {
		status, reply := p.call(http.MethodGet, "/api/channels/"+path+"/statistics", "")
		if got := fmt.Sprintf("%d %s", status, reply.Error.Message); got != want {
			t.Error(got)
		}
	}
	if _, reply := p.call(http.MethodGet, "/api/channels/3/statistics", ""); decode[statisticsView](t, reply).Exchanges != nil {
		t.Errorf("a channel without a device has exchanges: %s", reply.Data)
	}
	d.off()
	p.eventually(func() error { // a device that is away
		_, reply := p.call(http.MethodGet, "/api/channels/1/statistics", "")
		if view := decode[statisticsView](t, reply); view.Polls[pollFailed] == 0 || view.Exchanges.Units[0].State != protocol.UnitUnknown {
			return fmt.Errorf("%s", reply.Data)
		}
		return nil
	}, "a failed poll")
}
