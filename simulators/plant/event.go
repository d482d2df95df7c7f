package plant

import "sync"

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventWrite    EventKind = "write"    // a register wrote a setpoint
	EventInput    EventKind = "input"    // the operator of the simulator set an input
	EventSignal   EventKind = "signal"   // a signal or a state of a device changed
	EventMode     EventKind = "mode"     // the simulation was frozen, went on, or got another speed
	EventSnapshot EventKind = "snapshot" // the state was saved
	EventRestored EventKind = "restored" // another state took its place
	EventFault    EventKind = "fault"    // a fault began
	EventCleared  EventKind = "cleared"  // a fault ended
)

// Event is something that happened to a plant.
type Event struct {
	Number uint64    `json:"number"` // from 1 on, without a gap
	Tick   uint64    `json:"tick"`   // at whose end it is true
	Kind   EventKind `json:"kind"`
	Device string    `json:"device,omitempty"`
	Name   string    `json:"name,omitempty"` // of the setpoint, input, signal, snapshot or fault
	From   float64   `json:"from"`
	To     float64   `json:"to"`
	By     string    `json:"by,omitempty"`
	Effect []Change  `json:"effect,omitempty"` // of a write: what changed in its device in that tick
}

// Change is a quantity of a device before and after a tick.
type Change struct {
	Name string  `json:"name"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// mostEvents is how many events a plant remembers.
const mostEvents = 4096

// Events are the last events of a plant.
type Events struct {
	mu    sync.Mutex
	last  uint64 // number
	kept  []Event
	added chan struct{} // closed when another is added
}

func newEvents() *Events { return &Events{added: make(chan struct{})} }

// Add notes events, which get the next numbers.
func (e *Events) Add(events ...Event) {
	if len(events) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range events {
		e.last++
		one.Number = e.last
		e.kept = append(e.kept, one)
	}
	if more := len(e.kept) - mostEvents; more >= mostEvents {
		e.kept = append([]Event(nil), e.kept[more:]...)
	}
	close(e.added)
	e.added = make(chan struct{})
}

// After returns the events with higher numbers, oldest first, how many of them are
// forgotten already, and what is closed when there is another.
func (e *Events) After(number uint64) (events []Event, lost uint64, more <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := e.kept[max(0, len(e.kept)-mostEvents):]
	first := e.last - uint64(len(kept)) + 1
	if number = min(number, e.last); number+1 < first {
		lost = first - number - 1
		number = first - 1
	}
	if number < e.last {
		events = append(events, kept[number+1-first:]...)
	}
	return events, lost, e.added
}

// Last returns the number of the newest event, 0 before the first.
func (e *Events) Last() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}
