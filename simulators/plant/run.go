package plant

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Limits of the speed, in simulated seconds for each second.
const (
	LeastSpeed = 0.1
	MostSpeed  = 1000.0
)

// MostSteps is how many ticks may be made by hand at once.
const MostSteps = 1_000_000

const (
	// mostBehind is how far the simulation may fall behind the clock and still catch
	// up. Beyond it, as after the machine slept, the time lost is dropped: simulated
	// time stands still instead of rushing.
	mostBehind = 10 * time.Second
	// showPeriod is how often the values are shown at least while the simulation
	// catches up, or is fast, and how long others wait then who want to steer it.
	showPeriod = 20 * time.Millisecond
)

// Mode is how a plant is run.
type Mode struct {
	Speed  float64 // simulated seconds for each second
	Frozen bool
}

// Runner steps a plant at a pace. The zero mode is frozen at no speed: use NewRunner.
type Runner struct {
	plant   *Plant
	clock   ems.Clock
	show    func(*Truth)
	dropped func(time.Duration)
	changed chan struct{} // holds one where the mode changed

	shown atomic.Pointer[Mode] // the mode, for who only asks

	mu      sync.Mutex // held while ticks are made, so that none comes between
	mode    Mode
	since   time.Time // when the pace began
	made    int64     // ticks since then
	history ring
}

// NewRunner returns a runner in real time. show is called with the values of ticks,
// of each one at a leisurely pace and now and then at a fast one, always of the last;
// the time that was dropped is reported to dropped.
func NewRunner(p *Plant, clock ems.Clock, show func(*Truth), dropped func(time.Duration)) *Runner {
	r := &Runner{
		plant: p, clock: clock, show: show, dropped: dropped, changed: make(chan struct{}, 1), mode: Mode{Speed: 1}, since: clock.Now(),
	}
	r.shown.Store(&Mode{Speed: 1})
	if p.Latest() != nil {
		r.history.keep(p) // where it begins
	}
	return r
}

// Run steps the plant until the context ends.
func (r *Runner) Run(ctx context.Context) {
	timer := r.clock.NewTimer(0)
	defer timer.Stop()
	for {
		due, running := r.next()
		if timer.Stop(); running {
			timer.ResetTo(due)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		case <-timer.C():
			r.catchUp(ctx)
		}
	}
}

// next returns when the next tick is due, if one is.
func (r *Runner) next() (due time.Time, running bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.due(), !r.mode.Frozen
}

func (r *Runner) due() time.Time {
	return r.since.Add(time.Duration(float64(r.made+1) * float64(r.plant.definition.Step) / r.mode.Speed))
}

// catchUp makes the ticks that are due, for a while: whoever waits comes in between,
// and a simulation that is asked for more than the machine can do is not out of reach.
func (r *Runner) catchUp(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode.Frozen {
		return
	}
	now := r.clock.Now()
	if behind := now.Sub(r.due()); behind > mostBehind {
		r.dropped(behind)
		r.since, r.made = now, -1 // one tick is due
	}
	var unseen *Truth
	began, shown := now, now
	for ; ctx.Err() == nil && !now.Before(r.due()) && now.Sub(began) < showPeriod; now = r.clock.Now() {
		unseen = r.step(now)
		if r.made++; r.mode.Speed <= 1 || now.Sub(shown) >= showPeriod {
			r.show(unseen)
			unseen, shown = nil, now
		}
	}
	if unseen != nil {
		r.show(unseen)
	}
}

func (r *Runner) step(now time.Time) *Truth {
	truth := r.plant.Step(now)
	r.history.note(r.plant, truth)
	return truth
}

// Mode returns how the plant is run now. It waits for no tick.
func (r *Runner) Mode() Mode { return *r.shown.Load() }

// SetMode freezes the plant or lets it go on, at a speed from LeastSpeed to
// MostSpeed.
func (r *Runner) SetMode(mode Mode) error {
	_, err := r.ChangeMode(func(Mode) Mode { return mode })
	return err
}

// ChangeMode changes a part of the mode, and returns all of it. One that stays as it
// is leaves the pace alone.
func (r *Runner) ChangeMode(change func(Mode) Mode) (Mode, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, mode := r.mode, change(r.mode)
	if err := mode.Check(); err != nil {
		return before, err
	}
	if mode == before {
		return mode, nil
	}
	r.mode, r.since, r.made = mode, r.clock.Now(), 0
	r.shown.Store(&mode)
	r.plant.events.Add(Event{Tick: r.plant.now(), Kind: EventMode, Name: mode.name(), From: before.pace(), To: mode.pace()})
	select {
	case r.changed <- struct{}{}:
	default: // told already
	}
	return mode, nil
}

// Check says that a speed is out of range.
func (m Mode) Check() error {
	if m.Speed >= LeastSpeed && m.Speed <= MostSpeed {
		return nil
	}
	return ems.Errorf(ems.CodeInvalid, "the speed cannot be %v: use %v to %v simulated seconds for each second", m.Speed, LeastSpeed, MostSpeed)
}

func (m Mode) name() string {
	if m.Frozen {
		return "frozen"
	}
	return "running"
}

func (m Mode) pace() float64 {
	if m.Frozen {
		return 0
	}
	return m.Speed
}

// Advance makes so many ticks at once while the plant is frozen, as long as the
// context lasts, and returns the last.
func (r *Runner) Advance(ctx context.Context, ticks int) (*Truth, error) {
	if ticks < 1 || ticks > MostSteps {
		return nil, ems.Errorf(ems.CodeInvalid, "%d ticks cannot be made at once: use 1 to %d", ticks, MostSteps)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mode.Frozen {
		return nil, ems.Errorf(ems.CodeConflict, "the plant runs by itself: freeze it before it is stepped by hand")
	}
	var truth *Truth
	for made := 0; made < ticks; made++ {
		if err := ctx.Err(); err != nil {
			r.show(r.plant.Latest())
			return nil, ems.Errorf(ems.CodeUnavailable, "%d of %d ticks are made: %w", made, ticks, err)
		}
		truth = r.step(r.clock.Now())
	}
	r.show(truth)
	return truth, nil
}

// Save returns the state after the last tick.
func (r *Runner) Save(name string) (*Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	snapshot, err := r.plant.Save()
	if err == nil {
		r.plant.events.Add(Event{Tick: snapshot.Tick, Kind: EventSnapshot, Name: name})
	}
	return snapshot, err
}

// Restore puts a snapshot in the place of the present state.
func (r *Runner) Restore(name string, snapshot *Snapshot) (*Truth, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.restore(name, snapshot)
}

func (r *Runner) restore(name string, snapshot *Snapshot) (*Truth, error) {
	from := r.plant.now()
	truth, err := r.plant.Restore(snapshot, r.clock.Now())
	if err != nil {
		return nil, err
	}
	if truth.Tick > from { // which the states that are kept did not lead to
		r.history.forget(0)
	}
	r.history.forget(truth.Tick)
	if r.history.before(truth.Tick) == nil {
		r.history.keep(r.plant)
	}
	r.plant.events.Add(Event{Tick: truth.Tick, Kind: EventRestored, Name: name, From: float64(from), To: float64(truth.Tick)})
	r.show(truth)
	return truth, nil
}

// Back goes back to the newest state that the history holds of at least so long ago,
// in simulated time.
func (r *Runner) Back(ago time.Duration) (*Truth, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ticks := uint64(max(0, ago) / r.plant.definition.Step)
	now := r.plant.now()
	snapshot := r.history.before(now - min(now, ticks))
	if snapshot == nil {
		return nil, ems.Errorf(ems.CodeNotFound, "the history does not reach back %v: its oldest state is that of %v ago", ago, r.history.reach(now, r.plant.definition.Step))
	}
	return r.restore("history", snapshot)
}
