package comsrv

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A Redis at its memory limit refuses what a poll brought: each refusal is
// counted, and the newest values are told by themselves when there is room.
func TestRefusalsOfAFullRedisAreCountedAndTheValuesToldLater(t *testing.T) {
	t.Parallel()
	p := newPolled(t, telemetry(2))
	limit := func(bytes string) {
		t.Helper()
		if err := p.Raw.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.device.raw = []float64{1, 2}
	p.wantSent(2, "the first poll")
	limit("1")
	for poll, want := range []float64{1, 1, 2, 2} { // after a refusal comes a pause of two seconds
		p.device.raw = []float64{float64(10 * poll), 4}
		p.device.clock.Advance(time.Second)
		p.pollAll()
		if failures := testutil.ToFloat64(p.channel.counters.ingestFailures); failures != want {
			t.Errorf("poll %d: %v refusals are counted, want %v", poll, failures, want)
		}
	}
	if diff := cmp.Diff(map[string]string{"1": "1.000000", "2": "2.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error("while it is full:", diff)
	}
	limit("0")
	p.wantSent(2, "there is room")
	if diff := cmp.Diff(map[string]string{"1": "30.000000", "2": "4.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error("when there is room:", diff)
	}
}

// After a crash of Redis all channels tell it everything at once, and every rule
// is decided anew: that takes longer than what one poll has changed, and is not to
// be given up and begun again while others do the same.
func TestTellingEverythingWaitsLongerForABusyRedis(t *testing.T) {
	t.Parallel()
	p := newPolled(t, telemetry(2))
	pause := func(length time.Duration) {
		t.Helper()
		if err := p.Raw.Do(t.Context(), "CLIENT", "PAUSE", length.Milliseconds(), "ALL").Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.device.raw = []float64{1, 2}
	pause(publishTimeout + 200*time.Millisecond)
	p.wantSent(2, "everything")
	if diff := cmp.Diff(map[string]string{"1": "1.000000", "2": "2.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
	p.device.raw = []float64{1, 3}
	pause(time.Hour) // Redis dies with the test
	p.device.clock.Advance(time.Second)
	p.pollAll()
	if failures := testutil.ToFloat64(p.channel.counters.ingestFailures); failures != 1 {
		t.Errorf("a change that Redis does not take was given up %v times, want once", failures)
	}
}

// Channels that tell everything side by side would keep all others of Redis
// waiting. One whose turn it is not goes on with its work and tries again.
func TestChannelsTellEverythingInTurn(t *testing.T) {
	t.Parallel()
	p := newPolled(t, telemetry(2))
	for range cap(p.channel.turns) { // as many others as may
		p.channel.turns <- struct{}{}
	}
	p.device.raw = []float64{1, 2}
	p.wantSent(0, "others tell everything")
	if wait := p.channel.wakeAt().Sub(p.device.clock.Now()); wait != turnRetry {
		t.Errorf("it waits %v for its turn", wait)
	}
	<-p.channel.turns
	p.device.clock.Advance(turnRetry)
	p.channel.wake(context.Background())
	if diff := cmp.Diff(map[string]string{"1": "1.000000", "2": "2.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
	if wait := p.channel.wakeAt().Sub(p.device.clock.Now()); wait != time.Second-turnRetry {
		t.Errorf("it waits %v for the next poll", wait)
	}
	if failures, taken := testutil.ToFloat64(p.channel.counters.ingestFailures), len(p.channel.turns); failures != 0 || taken != cap(p.channel.turns)-1 {
		t.Errorf("%v failures are counted, and %d turns are taken", failures, taken)
	}
}
