package comsrv

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestHeartbeat counts while the device answers, between long polls too, and ends
// with comsrv.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.PollPeriod = time.Hour
	entry.Heartbeat = &config.Heartbeat{Point: "A:1", Period: 100 * time.Millisecond, Values: config.Count}
	entry.Points[5].Min, entry.Points[5].Max = number(2), number(4)
	p := newPlant(t, entry)
	p.start()
	p.eventually(func() error {
		if written := d.written(); len(written) < 5 {
			return fmt.Errorf("%v", written)
		}
		return nil
	}, "five beats")
	if diff := cmp.Diff([]string{"6@10=4", "6@10=6", "6@10=8", "6@10=4", "6@10=6"}, d.written()[:5]); diff != "" {
		t.Error(diff)
	}
	p.Refused(http.MethodPost, "/api/channels/1/points/A/1", `{"value": 3}`, http.StatusConflict, ems.CodeConflict, "limit is the heartbeat of channel 1, which comsrv writes")
	p.stop()
	before := len(d.written())
	entry.Heartbeat = nil
	p.site.Channels[0] = entry
	p.start()
	p.done(command("after", ems.Adjustment, 2, 1))
	if written := d.written(); len(written) != before+1 {
		t.Errorf("it beats without comsrv: %v", written[before:])
	}
}

// TestHeartbeatRests while the device does not answer.
func TestHeartbeatRests(t *testing.T) {
	t.Parallel()
	c, driver := scripted(t, nowhere, config.Channel{
		ID: 1, PollPeriod: time.Second, Timeout: time.Second, Points: allKinds(),
		Heartbeat: &config.Heartbeat{Point: "C:1", Period: 400 * time.Millisecond, Values: config.Toggle},
	})
	driver.wants = func(poll int) (time.Duration, error) {
		if poll >= 3 {
			return 0, fmt.Errorf("away")
		}
		return 0, nil
	}
	run(t, c, 0, 1)
	for range 40 {
		driver.clock.AwaitTimers(1)
		driver.clock.Advance(100 * time.Millisecond)
	}
	driver.clock.AwaitTimers(1)
	driver.mu.Lock()
	defer driver.mu.Unlock()
	log := fmt.Sprint(driver.log)
	// At 0 s poll and write, at 0.4 and 0.8 writes, at 1 s a poll, at 1.2, 1.6 and 2 s
	// writes, then a poll that fails, and from then on polls alone.
	if !regexp.MustCompile(`^\[poll write write write poll write write write poll( poll)+\]$`).MatchString(log) {
		t.Error(log)
	}
}

// TestSafeStateIsWrittenOnStop, once and in order, where the device answers.
func TestSafeStateIsWrittenOnStop(t *testing.T) {
	t.Parallel()
	d, away := newDevice(t), newDevice(t)
	entry, other := field(1, d.address, allKinds()...), field(2, away.address, allKinds()...)
	entry.SafeState = map[string]float64{"C:1": 0, "A:2": 7, "A:1": 3}
	other.SafeState = map[string]float64{"C:1": 1}
	away.off()
	p := newPlant(t, entry, other)
	p.start()
	p.awaitStatus(1, true, "")
	p.eventually(func() error {
		status, err := p.DB.Status(t.Context(), 2)
		if err == nil && status.Errors == 0 {
			err = fmt.Errorf("it was not tried yet")
		}
		return err
	}, "the device that is away")
	p.done(command("a", ems.Control, 1, 1))
	p.stop()
	if diff := cmp.Diff([]string{"5@0=65280", "6@10=6", "16@12=2", "5@0=0"}, d.written()); diff != "" {
		t.Error(diff)
	}
}
