package netsrv

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/rtdb"
)

// queueLimit bounds the events that wait.
const queueLimit = 1000

// queue holds events in order, between the subscription, which must never wait,
// and the target, which may. When it is full the oldest goes: a screen far away
// wants to know what is, before what was.
type queue struct {
	mu      sync.Mutex
	events  []rtdb.Event
	dropped int64
	counter prometheus.Counter
	arrived chan struct{} // holds one token while events may wait
}

func newQueue(dropped prometheus.Counter) *queue {
	return &queue{counter: dropped, arrived: make(chan struct{}, 1)}
}

// add never blocks.
func (q *queue) add(event rtdb.Event) {
	q.mu.Lock()
	if len(q.events) == queueLimit {
		q.events = q.events[1:]
		q.dropped++
		q.counter.Inc()
	}
	q.events = append(q.events, event)
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

// take removes up to most events, oldest first.
func (q *queue) take(most int) []rtdb.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	count := min(most, len(q.events))
	taken := append([]rtdb.Event(nil), q.events[:count]...)
	q.events = q.events[count:]
	return taken
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)
}

func (q *queue) droppedCount() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
