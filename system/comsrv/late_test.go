package comsrv

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// TestChannelsThatAreLateAreCutTogether: each may take its time to give up, and all
// take it at once.
func TestChannelsThatAreLateAreCutTogether(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(epoch)
	s := &Service{parts: parts{clock: clock}, grace: endGrace, runs: map[ems.ChannelID]*polling{}}
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

// silent returns a channel, not running, with three units behind a gateway that
// reaches none of them.
func silent(t *testing.T) (c *channel, d *device) {
	t.Helper()
	d = newDevice(t)
	d.set(func() { d.refuse[3] = 11 }) // the target does not respond
	entry := config.Channel{ID: 1, PollPeriod: time.Second, Timeout: time.Minute, Address: d.address, Points: telemetry(3)}
	for i := range entry.Points {
		entry.Points[i].Mapping.Unit = uint8(i + 1)
	}
	c, _ = scripted(t, nowhere, entry)
	driver, err := c.drivers[c.Protocol](protocol.Setting{Channel: c.Channel, Clock: c.clock, Logger: c.logger, Yield: c.yield})
	if err != nil {
		t.Fatal(err)
	}
	c.driver = driver
	return c, d
}

// runSilent runs such a channel until the first unit is asked. It goes on when the
// device is released.
func runSilent(t *testing.T) (c *channel, d *device, ended <-chan struct{}) {
	t.Helper()
	c, d = silent(t)
	d.hold(3)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(context.Background(), 0, 1)
	}()
	d.awaitHeld()
	return c, d, done
}

// TestASilentGatewayIsLeftBetweenTwoExchanges when its channel is to end: each further
// unit would cost a timeout.
func TestASilentGatewayIsLeftBetweenTwoExchanges(t *testing.T) {
	t.Parallel()
	c, d, ended := runSilent(t)
	c.end("it was removed", nil)
	d.release()
	<-ended
	if polls := d.polled(); polls != 1 {
		t.Errorf("%d requests to a device whose channel was to end after the first", polls)
	}
}

// TestPeopleDoNotWaitForASilentGateway to be asked for all of its units.
func TestPeopleDoNotWaitForASilentGateway(t *testing.T) {
	t.Parallel()
	c, d, ended := runSilent(t)
	polls := make(chan int, 1)
	if err := c.offerTask(func(context.Context) { polls <- d.polled() }); err != nil {
		t.Fatal(err)
	}
	d.release()
	if before := <-polls; before != 1 {
		t.Errorf("%d units were asked before what somebody waits for", before)
	}
	c.end("it was removed", nil)
	<-ended
}

// TestWhatIsDoneWhileConnectingIsNotWaitedForAgain: a command that comes after the first
// of two requests connects, and the second one goes within.
func TestWhatIsDoneWhileConnectingIsNotWaitedForAgain(t *testing.T) {
	t.Parallel()
	c, _ := silent(t)
	order := order{Delivery: rtdb.Delivery{Command: command("early", ems.Control, 1, 1)}}
	done := make(chan struct{})
	tasks := []func(context.Context){
		func(context.Context) {
			if err := c.offer(order); err != nil {
				t.Error(err)
			}
		},
		func(context.Context) {},
	}
	for _, task := range tasks {
		if err := c.offerTask(task); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		defer close(done)
		c.executeWaiting(context.Background())
	}()
	select {
	case <-done:
	case <-time.After(servicetest.Soon):
		t.Fatal("the channel waits for what was done already")
	}
	if !c.publisher.polled || len(c.tasks) > 0 {
		t.Errorf("tried %t, %d requests wait", c.publisher.polled, len(c.tasks))
	}
}

// TestACommandWaitsForTheEndOfConnecting and is sent then, unless its deadline has
// passed meanwhile.
func TestACommandWaitsForTheEndOfConnecting(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.hold(1)
	entry := field(1, d.address, allKinds()...)
	entry.Timeout = time.Minute
	p := newPlant(t, entry)
	p.start()
	d.awaitHeld()
	late, early := command("late", ems.Adjustment, 1, 10), command("early", ems.Adjustment, 1, 20)
	late.Deadline = time.Now().Add(200 * time.Millisecond)
	p.send(late, early)
	passed(late.Deadline)
	d.release()
	p.wantEnd(early, ems.CommandDone, number(20), "")
	p.wantEnd(late, ems.CommandExpired, nil, "the deadline of command 'late' has passed")
	if diff := cmp.Diff([]string{"6@10=40"}, d.written()); diff != "" {
		t.Error(diff)
	}
}
