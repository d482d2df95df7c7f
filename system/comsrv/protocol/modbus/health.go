package modbus

import (
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
)

// health knows which units behind a connection answer. One that does not is left
// alone for a while that grows, because each attempt costs the others a timeout;
// where none answers there is nobody to be spared, and none is left alone.
type health struct {
	clock ems.Clock
	mu    sync.Mutex
	units map[uint8]*unitHealth
}

// unitHealth is what is known of one unit.
type unitHealth struct {
	answers bool      // it did when it was asked last, and is still asked
	at      time.Time // when it did last
	until   time.Time // left alone until then
	reason  string    // why; empty when it does not fail
	pauses  *backoff.ExponentialBackOff
	tried   bool      // a command is under way to it, or waits for its turn, while it is left alone
	spared  time.Time // no further one goes to it until then
}

// longestPause bounds for how long a unit is left alone.
const longestPause = 30 * time.Second

// restError says that a unit was not asked, and why.
type restError struct {
	reason  string
	until   time.Time
	command bool // which is refused because another one has just found the unit silent, or waits for it
}

func (e *restError) Error() string {
	if e.command {
		return fmt.Sprintf("the unit does not answer (%s), and another command tries it or has just done so", e.reason)
	}
	return fmt.Sprintf("%s; it is left alone until %s", e.reason, e.until.Format(time.TimeOnly))
}

// of returns a unit. The caller holds mu.
func (h *health) of(unit uint8) *unitHealth {
	known := h.units[unit]
	if known == nil {
		known = &unitHealth{}
		h.units[unit] = known
	}
	return known
}

// check returns a *restError while a unit is left alone.
func (h *health) check(unit uint8) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(unit)
	if known.until.IsZero() || !h.clock.Now().Before(known.until) {
		return nil
	}
	for other, at := range h.units {
		if other != unit && at.answers {
			return &restError{reason: known.reason, until: known.until}
		}
	}
	return nil
}

// try lets a command go to a unit that is left alone: somebody wants it now, and the
// answer ends the rest. One at a time may go, and none for a timeout after one that had
// no answer, so that commands to a dead unit take the connection from the others for no
// more than half of the time. What try lets through ends with tried.
func (h *health) try(unit uint8) (tries bool, err error) {
	err = h.check(unit)
	if err == nil {
		return false, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(unit)
	if known.tried || h.clock.Now().Before(known.spared) {
		return false, &restError{reason: known.reason, until: known.until, command: true}
	}
	known.tried = true
	return true, nil
}

// tried ends what try let through.
func (h *health) tried(unit uint8) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(unit).tried = false
}

// state tells what is known of a unit.
func (h *health) state(unit uint8) (state protocol.UnitState, until time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.units[unit]
	switch {
	case known == nil || known.reason == "" && !known.answers:
		return protocol.UnitUnknown, time.Time{}, ""
	case known.reason == "":
		return protocol.UnitAnswers, time.Time{}, ""
	}
	if h.clock.Now().Before(known.until) {
		for other, at := range h.units {
			if other != unit && at.answers {
				return protocol.UnitLeftAlone, known.until, known.reason
			}
		}
	}
	return protocol.UnitSilent, time.Time{}, known.reason
}

// failing reports whether a unit did not answer when it was asked last.
func (h *health) failing(unit uint8) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(unit).reason != ""
}

// answered reports whether a unit did when it was asked last, and when that was.
func (h *health) answered(unit uint8) (answers bool, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(unit)
	return known.answers, known.at
}

// answer notes that a unit answers.
func (h *health) answer(unit uint8) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(unit)
	*known = unitHealth{answers: true, at: h.clock.Now(), tried: known.tried}
}

// fail notes that a unit does not answer. The first pause is about the timeout
// that an attempt costs, and each further one twice as long. A command that was tried
// meanwhile changes nothing of when it is polled again.
func (h *health) fail(unit uint8, timeout time.Duration, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(unit)
	if known.pauses == nil {
		known.pauses = &backoff.ExponentialBackOff{
			InitialInterval: timeout, MaxInterval: max(timeout, longestPause), Multiplier: 2, RandomizationFactor: 0.2,
		}
	}
	known.answers, known.reason = false, reason
	now := h.clock.Now()
	if known.tried {
		known.spared = now.Add(timeout)
		if now.Before(known.until) {
			return
		}
	}
	known.until = now.Add(known.pauses.NextBackOff())
}

// wake lets a unit be asked at once. When it fails again, its next pause is the
// longer for it.
func (h *health) wake(unit uint8) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(unit).until = time.Time{}
}

// forget notes that a channel no longer asks a unit.
func (h *health) forget(unit uint8) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(unit).answers = false
}
