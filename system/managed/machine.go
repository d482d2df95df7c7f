package managed

// State is where a supervised child stands.
type State string

// The states of a child. It runs in starting, ready and stopping only.
const (
	Waiting    State = "waiting"  // for the children that it needs
	Starting   State = "starting" // started, not ready yet
	Ready      State = "ready"
	BackingOff State = "backing off" // died; will be started again
	Stopping   State = "stopping"
	Stopped    State = "stopped"
)

// running reports whether there is, or is about to be, a process.
func (s State) running() bool { return s == Starting || s == Ready || s == Stopping }

// machine decides what a supervisor does next. It knows no time, no process and
// no goroutine: events go in as calls, actions come out.
//
// Rules: a child is started only while everything that it needs is ready; a
// child that ends before it was ever ready fails the whole start; one that ends
// later is started again; stopping goes from the last child to the first, one
// at a time, and is final.
type machine struct {
	needs     [][]int // by child: smaller indices
	states    []State
	everReady []bool
	stopping  bool
	failed    int // index of the child that failed the start, -1 if none
}

type actionKind int

const (
	startChild actionKind = iota
	stopChild
	retryChild // after a pause
)

type action struct {
	kind  actionKind
	child int
}

func newMachine(needs [][]int) *machine {
	m := &machine{needs: needs, states: make([]State, len(needs)), everReady: make([]bool, len(needs)), failed: -1}
	for i := range m.states {
		m.states[i] = Waiting
	}
	return m
}

// begin starts whatever needs nothing.
func (m *machine) begin() []action { return m.startable() }

// ready takes note that a started child became ready.
func (m *machine) ready(child int) []action {
	if m.states[child] != Starting {
		return nil
	}
	m.states[child] = Ready
	m.everReady[child] = true
	return m.startable()
}

// ended takes note that the process of a child is gone, for whatever reason.
func (m *machine) ended(child int) []action {
	switch {
	case m.stopping:
		wasNext := m.states[child] == Stopping
		m.states[child] = Stopped
		if wasNext {
			return m.stopNext()
		}
		return nil
	case !m.everReady[child]:
		m.states[child] = Stopped
		m.failed = child
		return m.stop()
	default:
		m.states[child] = BackingOff
		return []action{{retryChild, child}}
	}
}

// retry takes note that the pause of a child that died is over.
func (m *machine) retry(child int) []action {
	if m.states[child] != BackingOff {
		return nil
	}
	m.states[child] = Waiting
	return m.startable()
}

// stop begins the orderly end.
func (m *machine) stop() []action {
	if m.stopping {
		return nil
	}
	m.stopping = true
	for i, state := range m.states {
		if !state.running() {
			m.states[i] = Stopped
		}
	}
	return m.stopNext()
}

func (m *machine) stopNext() []action {
	for i := len(m.states) - 1; i >= 0; i-- {
		if m.states[i].running() {
			m.states[i] = Stopping
			return []action{{stopChild, i}}
		}
	}
	return nil
}

// startable moves every waiting child whose needs are ready to starting.
func (m *machine) startable() []action {
	if m.stopping {
		return nil
	}
	var actions []action
	for i, state := range m.states {
		if state == Waiting && m.needsReady(i) {
			m.states[i] = Starting
			actions = append(actions, action{startChild, i})
		}
	}
	return actions
}

func (m *machine) needsReady(child int) bool {
	for _, need := range m.needs[child] {
		if m.states[need] != Ready {
			return false
		}
	}
	return true
}

func (m *machine) allReady() bool {
	for _, state := range m.states {
		if state != Ready {
			return false
		}
	}
	return true
}

// done reports that nothing runs and nothing will.
func (m *machine) done() bool {
	for _, state := range m.states {
		if state != Stopped {
			return false
		}
	}
	return true
}
