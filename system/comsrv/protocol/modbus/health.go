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
	until   time.Time // left alone until then
	reason  string    // why; empty when it does not fail
	pauses  *backoff.ExponentialBackOff
}

// longestPause bounds for how long a unit is left alone.
const longestPause = 30 * time.Second

// restError says that a unit was not asked, and why.
type restError struct {
	reason string
	until  time.Time
}

func (e *restError) Error() string {
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

// answering reports whether a unit did answer when it was asked last.
func (h *health) answering(unit uint8) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(unit).answers
}

// answer notes that a unit answers.
func (h *health) answer(unit uint8) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.of(unit) = unitHealth{answers: true}
}

// fail notes that a unit does not answer. The first pause is about the timeout
// that an attempt costs, and each further one twice as long.
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
	known.until = h.clock.Now().Add(known.pauses.NextBackOff())
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
