package comsrv

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// stored runs store for one command that was begun, with that outcome, while
// Redis refuses for a moment what deny says. It returns how the command stands
// and how many outcomes were dropped.
func stored(t *testing.T, result ems.CommandResult, deny, allow string) (ems.CommandResult, float64) {
	t.Helper()
	fixture := servicetest.New(t, ems.SystemClock{})
	metrics, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	clock := ems.NewManualClock(time.Now())
	m := newCommander(parts{db: fixture.Open(ems.SystemClock{}), clock: clock, logger: testkit.Logger(t), metrics: metrics})
	if err := fixture.DB.SendCommand(t.Context(), command("c", ems.Adjustment, 1, 10)); err != nil {
		t.Fatal(err)
	}
	reader := fixture.DB.ReadCommands(consumer, []ems.ChannelID{1})
	var deliveries []rtdb.Delivery
	for len(deliveries) == 0 { // the first call asks for what was taken before
		if deliveries, err = reader.Next(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := fixture.DB.BeginCommand(t.Context(), deliveries[0]); err != nil {
		t.Fatal(err)
	}
	permit := func(permission string) {
		if err := fixture.Raw.Do(t.Context(), "ACL", "SETUSER", "default", permission).Err(); err != nil {
			t.Fatal(err)
		}
	}
	permit(deny)
	m.outcomes <- outcome{Delivery: deliveries[0], result: result}
	close(m.outcomes)
	ended, waits := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); m.store(context.Background()) }()
	go func() { defer close(waits); clock.AwaitTimers(1) }()
	select {
	case <-waits:
	case <-ended:
	}
	permit(allow)
	clock.Advance(commandWait)
	<-ended
	clock.NewTimer(time.Hour) // ends the wait for a timer where store never waited
	<-waits
	now, err := fixture.DB.Command(t.Context(), 1, "c")
	if err != nil {
		t.Fatal(err)
	}
	return now, testutil.ToFloat64(metrics.dropped)
}

// TestAnOutcomeOutlastsRefusedCredentials, as while a password is changed.
func TestAnOutcomeOutlastsRefusedCredentials(t *testing.T) {
	t.Parallel()
	now, dropped := stored(t, ems.CommandResult{State: ems.CommandDone, Time: time.Now()}, "-fcall", "+fcall")
	if now.State != ems.CommandDone || dropped != 0 {
		t.Errorf("the command is %s and %v outcomes were dropped", now.State, dropped)
	}
}

// TestAnOutcomeThatCannotBeStoredIsDropped and holds up no other.
func TestAnOutcomeThatCannotBeStoredIsDropped(t *testing.T) {
	t.Parallel()
	now, dropped := stored(t, ems.CommandResult{State: "finished", Time: time.Now()}, "+fcall", "+fcall")
	if now.State != ems.CommandExecuting || dropped != 1 {
		t.Errorf("the command is %s and %v outcomes were dropped", now.State, dropped)
	}
}
