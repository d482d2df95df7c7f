package managed

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Status is what is known of one child.
type Status struct {
	Name      string
	State     State
	PID       int // 0 when nothing runs
	Restarts  int // how often it was started again after it had died
	LastError string
}

// Timing of a supervisor.
const (
	firstRestartPause = 200 * time.Millisecond
	longestPause      = 15 * time.Second
	pauseJitter       = 0.2
	steadyAfter       = 30 * time.Second // a child that lived this long starts over with the first pause
)

// Supervisor starts children in the order of their needs, keeps them alive and
// stops them from the last to the first.
type Supervisor struct {
	clock    ems.Clock
	logger   *slog.Logger
	children []Child
	pauses   []*backoff.ExponentialBackOff
	events   chan event

	killContext context.Context
	kill        context.CancelFunc

	mu      sync.Mutex
	status  []Status
	ready   bool
	ended   bool
	failure error
	changed chan struct{} // closed and replaced at each change
}

type eventKind int

const (
	processStarted eventKind = iota
	childReady
	childEnded
	pauseOver
)

type event struct {
	kind  eventKind
	child int
	pid   int
	took  time.Duration // of childReady: since the start; of childEnded: since it was ready, 0 if it never was
	err   error
}

// NewSupervisor checks the list of children: names are unique, and a need names
// a child that stands earlier.
func NewSupervisor(clock ems.Clock, logger *slog.Logger, children []Child) (*Supervisor, error) {
	s := &Supervisor{
		clock: clock, logger: logger, children: slices.Clone(children),
		events: make(chan event), changed: make(chan struct{}),
	}
	s.killContext, s.kill = context.WithCancel(context.Background())
	for i, child := range s.children {
		if s.indexOf(child.Name) != i {
			return nil, ems.Errorf(ems.CodeInvalid, "two children are called %q", child.Name)
		}
		for _, need := range child.Needs {
			if at := s.indexOf(need); at < 0 || at >= i {
				return nil, ems.Errorf(ems.CodeInvalid, "%s needs %q, which does not stand before it", child.Name, need)
			}
		}
		s.pauses = append(s.pauses, &backoff.ExponentialBackOff{
			InitialInterval: firstRestartPause, MaxInterval: longestPause, Multiplier: 2, RandomizationFactor: pauseJitter,
		})
		s.status = append(s.status, Status{Name: child.Name, State: Waiting})
	}
	return s, nil
}

func (s *Supervisor) indexOf(name string) int {
	return slices.IndexFunc(s.children, func(c Child) bool { return c.Name == name })
}

// Run starts the children and supervises them until ctx ends, then stops them
// in reverse order and returns nil. When a child cannot be brought up the first
// time, Run stops the others and returns why. It is called once.
func (s *Supervisor) Run(ctx context.Context) error {
	run := supervision{
		Supervisor: s, machine: newMachine(s.needs()),
		stops: make([]context.CancelFunc, len(s.children)), quit: make(chan struct{}),
	}
	run.perform(run.machine.begin())
	stop := ctx.Done()
	for !run.machine.done() {
		select {
		case <-stop:
			stop = nil
			run.perform(run.machine.stop())
		case e := <-s.events:
			run.handle(e)
		}
		run.publish()
	}
	run.closeQuit()
	run.pending.Wait()
	s.kill()
	return s.finish()
}

func (s *Supervisor) needs() [][]int {
	needs := make([][]int, len(s.children))
	for i, child := range s.children {
		for _, name := range child.Needs {
			needs[i] = append(needs[i], s.indexOf(name))
		}
	}
	return needs
}

// Kill turns an orderly stop, under way or to come, into killing. It does not
// stop anything by itself: ending Run's context does.
func (s *Supervisor) Kill() { s.kill() }

// Status returns the standing of every child, in the order of the list.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.status)
}

// Changed returns a channel that is closed at the next change of any status.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// WaitReady returns nil when all children are ready at once, and an error when
// ctx or the supervision ends first.
func (s *Supervisor) WaitReady(ctx context.Context) error {
	for {
		s.mu.Lock()
		ready, ended, failure, changed := s.ready, s.ended, s.failure, s.changed
		s.mu.Unlock()
		switch {
		case ready:
			return nil
		case failure != nil:
			return failure
		case ended:
			return ems.Errorf(ems.CodeUnavailable, "stopped before everything was ready")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ems.Errorf(ems.CodeUnavailable, "not everything became ready: %w (%s)", context.Cause(ctx), s.unready())
		}
	}
}

// unready names what is not ready, and why as far as known.
func (s *Supervisor) unready() string {
	var text string
	for _, status := range s.Status() {
		if status.State == Ready {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += status.Name + " " + string(status.State)
		if status.LastError != "" {
			text += ": " + status.LastError
		}
	}
	return text
}

func (s *Supervisor) change(apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Supervisor) finish() error {
	s.change(func() { s.ended, s.ready = true, false })
	return s.failure
}

// supervision is one call of Run. Its fields belong to the goroutine of Run,
// but for what is handed to attempts.
type supervision struct {
	*Supervisor
	machine *machine
	stops   []context.CancelFunc // by child: ask its present attempt to end
	quit    chan struct{}        // closed when no pause matters any more
	pending sync.WaitGroup
}

func (r *supervision) handle(e event) {
	name := r.children[e.child].Name
	switch e.kind {
	case processStarted:
		r.change(func() { r.status[e.child].PID = e.pid })
	case childReady:
		r.logger.Info("ready", "child", name, "after", e.took.Round(time.Millisecond).String())
		r.perform(r.machine.ready(e.child))
	case childEnded:
		r.noteEnd(e)
		r.perform(r.machine.ended(e.child))
	case pauseOver:
		r.change(func() { r.status[e.child].Restarts++ })
		r.perform(r.machine.retry(e.child))
	}
}

func (r *supervision) noteEnd(e event) {
	if e.took >= steadyAfter {
		r.pauses[e.child].Reset()
	}
	r.change(func() {
		r.status[e.child].PID = 0
		if e.err != nil {
			r.status[e.child].LastError = e.err.Error()
		}
		if !r.machine.stopping && !r.machine.everReady[e.child] {
			r.failure = e.err
		}
	})
	if r.machine.stopping {
		r.logger.Info("stopped", "child", r.children[e.child].Name)
		if e.err != nil {
			r.logger.Warn("did not stop cleanly", "child", r.children[e.child].Name, "error", e.err.Error())
		}
	}
}

func (r *supervision) perform(actions []action) {
	if r.machine.stopping {
		r.closeQuit()
	}
	for _, act := range actions {
		switch act.kind {
		case startChild:
			ctx, cancel := context.WithCancel(context.Background())
			r.stops[act.child] = cancel
			attempt := attempt{Supervisor: r.Supervisor, index: act.child, child: r.children[act.child]}
			r.pending.Go(func() { attempt.run(ctx) })
		case stopChild:
			r.stops[act.child]()
		case retryChild:
			r.pause(act.child)
		}
	}
	r.publish()
}

func (r *supervision) pause(child int) {
	pause := r.pauses[child].NextBackOff()
	r.logger.Warn("died, will be started again", "child", r.children[child].Name,
		"in", pause.Round(time.Millisecond).String(), "error", r.Status()[child].LastError)
	timer := r.clock.NewTimer(pause)
	r.pending.Go(func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			select {
			case r.events <- event{kind: pauseOver, child: child}:
			case <-r.quit:
			}
		case <-r.quit:
		}
	})
}

func (r *supervision) closeQuit() {
	select {
	case <-r.quit:
	default:
		close(r.quit)
	}
}

// publish copies what the machine decided to where others may read it.
func (r *supervision) publish() {
	r.change(func() {
		for i, state := range r.machine.states {
			r.status[i].State = state
		}
		r.ready = r.machine.allReady()
	})
}

// attempt is one life of one child: it reports a start and a readiness at most
// once each, and its end exactly once.
type attempt struct {
	*Supervisor
	index   int
	child   Child
	readyAt time.Time // zero until then
}

// run returns when the process is gone. The end of ctx asks it to stop.
func (a *attempt) run(ctx context.Context) {
	began := a.clock.Now()
	process, err := a.child.Start(ctx)
	if err != nil {
		a.tellEnd(err)
		return
	}
	a.tell(event{kind: processStarted, pid: process.PID()})
	if err := a.child.becomeReady(ctx, a.clock, process); err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		a.end(process, err)
		return
	}
	a.readyAt = a.clock.Now()
	a.tell(event{kind: childReady, took: a.readyAt.Sub(began)})
	select {
	case <-process.Exited():
		err := process.Err()
		if err == nil {
			err = ems.Errorf(ems.CodeUnavailable, "%s ended by itself", a.child.Name)
		}
		a.tellEnd(err)
	case <-ctx.Done():
		a.end(process, nil)
	}
}

// end stops the process and reports why it had to.
func (a *attempt) end(process *Process, why error) {
	ctx, cancel := context.WithCancel(a.killContext)
	defer cancel()
	timer := a.clock.NewTimer(orDefault(a.child.StopWithin, defaultStopTime))
	defer timer.Stop()
	go func() {
		select {
		case <-timer.C():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := process.Stop(ctx); why == nil {
		why = err
	}
	a.tellEnd(why)
}

func (a *attempt) tellEnd(err error) {
	e := event{kind: childEnded, err: err}
	if !a.readyAt.IsZero() {
		e.took = a.clock.Now().Sub(a.readyAt)
	}
	a.tell(e)
}

func (a *attempt) tell(e event) {
	e.child = a.index
	a.events <- e
}
