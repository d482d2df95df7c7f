package managed

import (
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Child is one supervised process.
type Child struct {
	Name  string
	Needs []string // children that stand earlier in the list and must be ready first
	Start func(ctx context.Context) (*Process, error)
	// Probe is asked again and again until it answers nil: the child with that
	// process id is reachable. Nil means reachable at once.
	Probe func(ctx context.Context, pid int) error
	// Prepare runs after each start, once the child is reachable and before it
	// counts as ready. Its error is final for this start.
	Prepare     func(ctx context.Context) error
	ReadyWithin time.Duration // for Probe and Prepare together; a minute if zero
	StopWithin  time.Duration // from being asked to being killed; 15 s if zero
}

// Timing of a child where it names none, and of probing.
const (
	defaultReadyTime = time.Minute
	defaultStopTime  = 15 * time.Second
	probePeriod      = 20 * time.Millisecond
	probeTimeout     = 2 * time.Second
)

func orDefault(duration, fallback time.Duration) time.Duration {
	if duration == 0 {
		return fallback
	}
	return duration
}

// StartReady starts a child without supervising it, and returns it when it is
// ready. A child that does not become ready is gone when the error returns.
func StartReady(ctx context.Context, clock ems.Clock, child Child) (*Process, error) {
	process, err := child.Start(ctx)
	if err != nil {
		return nil, err
	}
	if err := child.becomeReady(ctx, clock, process); err != nil {
		process.Kill()
		return nil, err
	}
	return process, nil
}

// becomeReady probes and prepares. Its error names the last failure of a probe.
func (c *Child) becomeReady(ctx context.Context, clock ems.Clock, process *Process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	within := orDefault(c.ReadyWithin, defaultReadyTime)
	timer := clock.NewTimer(within)
	defer timer.Stop()
	late := ems.Errorf(ems.CodeUnavailable, "not ready within %v", within)
	go func() {
		select {
		case <-timer.C():
			cancel(late)
		case <-process.Exited():
			cancel(ems.Errorf(ems.CodeUnavailable, "ended before it was ready"))
		case <-ctx.Done():
		}
	}()
	err := c.probe(ctx, clock, process)
	if err == nil && c.Prepare != nil {
		err = c.Prepare(ctx)
	}
	if err == nil {
		return nil
	}
	if ended := process.Err(); ended != nil {
		return ended
	}
	if cause := context.Cause(ctx); cause != nil {
		return ems.Errorf(ems.CodeUnavailable, "%s: %w: %s", c.Name, cause, err.Error())
	}
	return ems.Errorf(ems.CodeOf(err), "%s: %w", c.Name, err)
}

func (c *Child) probe(ctx context.Context, clock ems.Clock, process *Process) error {
	if c.Probe == nil {
		return nil
	}
	timer := clock.NewTimer(0)
	defer timer.Stop()
	last := ems.Errorf(ems.CodeUnavailable, "it was not asked yet")
	for {
		select {
		case <-ctx.Done():
			return last
		case <-timer.C():
		}
		once, cancel := context.WithTimeout(ctx, probeTimeout)
		err := c.Probe(once, process.PID())
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		timer.Reset(probePeriod)
	}
}
