package comsrv

import (
	"sync"
	"testing"
	"time"

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
