package plant

import "time"

// The history holds a state every historyPeriod of simulated time, and those of an hour.
const (
	historyPeriod = time.Minute
	mostHistory   = 61
)

// ring is the last states of a plant, for going back.
type ring struct {
	kept []*Snapshot // oldest first
}

// note keeps the state of a tick if the period has come.
func (h *ring) note(p *Plant, truth *Truth) {
	every := uint64(max(1, historyPeriod/p.definition.Step))
	if truth.Tick%every == 1%every {
		h.keep(p)
	}
}

// keep keeps the present state.
func (h *ring) keep(p *Plant) {
	snapshot, err := p.Save()
	if err != nil {
		return // a state that cannot be saved is one that cannot be gone back to
	}
	if len(h.kept) == mostHistory {
		h.kept = append(h.kept[:0], h.kept[1:]...)
	}
	h.kept = append(h.kept, snapshot)
}

// before returns the newest state of a tick or of one before it, nil if there is none.
func (h *ring) before(tick uint64) *Snapshot {
	for i := len(h.kept) - 1; i >= 0; i-- {
		if h.kept[i].Tick <= tick {
			return h.kept[i]
		}
	}
	return nil
}

// forget drops the states that come after a tick, which will be others now.
func (h *ring) forget(tick uint64) {
	for len(h.kept) > 0 && h.kept[len(h.kept)-1].Tick > tick {
		h.kept = h.kept[:len(h.kept)-1]
	}
}

// reach returns how long before a tick the oldest state is.
func (h *ring) reach(tick uint64, step time.Duration) time.Duration {
	if len(h.kept) == 0 {
		return 0
	}
	return time.Duration(tick-h.kept[0].Tick) * step
}
