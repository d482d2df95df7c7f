package modbus

import (
	"context"
	"slices"
	"sync"
)

// turns lets one user at a time have a connection. Writes go before reads;
// among equals the units take turns, so that one with many requests does not
// keep the others waiting. There are never more waiting than channels.
type turns struct {
	mu      sync.Mutex
	taken   bool
	waiting []*turn // in order of arrival
	last    uint8   // the unit whose turn it was
	writes  int     // turns in a row that were given to writes while reads waited
}

// turn is one user who waits.
type turn struct {
	unit  uint8
	write bool
	given chan struct{}
}

// maxWrites bounds the writes in a row, so that they cannot keep polling off.
const maxWrites = 16

// take waits until the connection is the caller's, who calls give after use.
func (t *turns) take(ctx context.Context, unit uint8, write bool) error {
	t.mu.Lock()
	if !t.taken {
		t.taken, t.last = true, unit
		t.mu.Unlock()
		return nil
	}
	mine := &turn{unit: unit, write: write, given: make(chan struct{})}
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case <-mine.given:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	at := slices.Index(t.waiting, mine)
	if at >= 0 {
		t.waiting = slices.Delete(t.waiting, at, at+1)
	}
	t.mu.Unlock()
	if at < 0 { // it was given at the same moment
		t.give()
	}
	return ctx.Err()
}

// give hands the connection to the next one.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass is give for a caller who holds mu.
func (t *turns) pass() {
	at := t.next()
	if at < 0 {
		t.taken = false
		return
	}
	next := t.waiting[at]
	t.waiting = slices.Delete(t.waiting, at, at+1)
	t.last = next.unit
	if next.write && t.waits(false) {
		t.writes++
	} else {
		t.writes = 0
	}
	close(next.given)
}

// next returns the index of whose turn it is, -1 when nobody waits.
func (t *turns) next() int {
	writes := t.waits(true) && (t.writes < maxWrites || !t.waits(false))
	found := -1
	for i, waiter := range t.waiting {
		if waiter.write != writes {
			continue
		}
		// The subtraction wraps: the unit after the last is nearest, the last one itself farthest.
		if found < 0 || waiter.unit-t.last-1 < t.waiting[found].unit-t.last-1 {
			found = i
		}
	}
	return found
}

// waits reports whether anybody waits to write, or to read.
func (t *turns) waits(write bool) bool {
	return slices.ContainsFunc(t.waiting, func(waiter *turn) bool { return waiter.write == write })
}
