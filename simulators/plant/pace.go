package plant

import (
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// mostBehind is how far the simulation may fall behind the clock and still catch
// up. Beyond it, as after the machine slept, the time lost is dropped: simulated
// time stands still instead of rushing.
const mostBehind = 10 * time.Second

// Run steps the plant at the pace of the clock until the context ends. after is
// called with the values of each tick, before the next one begins. The time
// dropped is reported to dropped.
func (p *Plant) Run(ctx context.Context, clock ems.Clock, after func(*Snapshot), dropped func(time.Duration)) {
	step := p.definition.Step
	due := clock.Now().Add(step)
	timer := clock.NewTimer(step)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		if behind := clock.Now().Sub(due); behind > mostBehind {
			lost := behind.Truncate(step)
			due = due.Add(lost)
			dropped(lost)
		}
		for !clock.Now().Before(due) && ctx.Err() == nil {
			after(p.Step(clock.Now()))
			due = due.Add(step)
		}
		timer.Reset(due.Sub(clock.Now()))
	}
}
