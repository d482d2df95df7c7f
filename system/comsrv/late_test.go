package comsrv

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// TestChannelsThatAreLateAreCutTogether: each may take its time to give up, and all
// take it at once.
func TestChannelsThatAreLateAreCutTogether(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(epoch)
	s := &Service{parts: parts{clock: clock}, runs: map[ems.ChannelID]*polling{}}
	var ends []*channel
	var cut sync.WaitGroup
	for id := ems.ChannelID(1); id <= 3; id++ {
		ends = append(ends, &channel{Channel: config.Channel{ID: id}, leave: leave{quit: make(chan struct{})}})
		run, once := &polling{done: make(chan struct{})}, sync.Once{}
		cut.Add(1)
		run.cancel = func() {
			once.Do(func() {
				cut.Done()
				go func() { cut.Wait(); close(run.done) }() // it gives up when all are told to
			})
		}
		s.runs[id] = run
	}
	ended := make(chan struct{})
	go func() { defer close(ended); s.endAll(&plan{}, ends) }()
	clock.AwaitTimers(1)
	clock.Advance(endGrace)
	select {
	case <-ended:
	case <-time.After(servicetest.Soon):
		t.Fatal("one is waited for before the next is told")
	}
	if len(s.runs) != 0 || ends[2].leave.reason != "the channel was removed" {
		t.Errorf("%v, %q", s.runs, ends[2].leave.reason)
	}
}

// TestASilentGatewayIsLeftBetweenTwoExchanges when its channel is to end: each further
// unit would cost a timeout.
func TestASilentGatewayIsLeftBetweenTwoExchanges(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.hold(3)
	d.set(func() { d.refuse[3] = 11 }) // as a gateway does whose target does not respond
	entry := config.Channel{ID: 1, PollPeriod: time.Second, Timeout: time.Minute, Address: d.address, Points: telemetry(3)}
	for i := range entry.Points {
		entry.Points[i].Mapping.Unit = uint8(i + 1)
	}
	c, _ := scripted(t, nowhere, entry)
	driver, err := c.drivers[c.Protocol](protocol.Setting{Channel: c.Channel, Clock: c.clock, Logger: c.logger, Yield: c.yield})
	if err != nil {
		t.Fatal(err)
	}
	c.driver = driver
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.run(context.Background(), 0, 1)
	}()
	d.awaitHeld()
	c.end("it was removed", nil)
	d.release()
	<-ended
	if polls := d.polled(); polls != 1 {
		t.Errorf("%d requests to a device whose channel was to end after the first", polls)
	}
}
