package virtual

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// wave generates the values of a point from nothing but the time, and for a walk
// the seed and the time at which it began.
type wave struct {
	config.VirtualPoint
	walk *walk
}

// walk is a random walk up to the latest value asked for. What it shows at a time
// does not depend on when it was asked before.
type walk struct {
	random *rand.Rand
	began  time.Time
	steps  int64
	value  float64
}

// maxCatchUp bounds how many steps of a walk one poll makes up for. After a longer
// pause the walk goes on from where it stood.
const maxCatchUp = 100_000

func newWave(source config.VirtualPoint, seed uint64, point *ems.Point, now time.Time) *wave {
	made := &wave{VirtualPoint: source}
	if source.Wave == config.Walk {
		stream := uint64(point.Type)<<32 | uint64(point.ID) // each point walks its own way
		made.walk = &walk{random: rand.New(rand.NewPCG(seed, stream)), began: now, value: source.Offset}
	}
	return made
}

// at returns the value at a time, in the unit of the point. Products are rounded
// before they are used, so that it is the same number on every processor.
func (w *wave) at(now time.Time) float64 {
	switch w.Wave {
	case config.Sine:
		return w.Offset + float64(w.Amplitude*math.Sin(2*math.Pi*w.share(now)))
	case config.Ramp:
		return w.Offset + float64(w.Amplitude*w.share(now))
	case config.Square:
		if w.share(now) < 0.5 {
			return w.Offset + w.Amplitude
		}
		return w.Offset
	case config.Steps:
		return w.step(now)
	case config.Walk:
		return w.walkTo(now)
	default:
		return w.Offset
	}
}

// elapsed returns how much of the period has passed.
func (w *wave) elapsed(now time.Time) time.Duration {
	passed := (now.UnixNano()%int64(w.Period) + int64(w.Phase)) % int64(w.Period)
	if passed < 0 { // before 1970
		passed += int64(w.Period)
	}
	return time.Duration(passed)
}

// share is elapsed as a part of the period, from 0 to less than 1.
func (w *wave) share(now time.Time) float64 { return float64(w.elapsed(now)) / float64(w.Period) }

func (w *wave) step(now time.Time) float64 {
	elapsed, value := w.elapsed(now), 0.0
	for _, step := range w.Steps {
		if step.At > elapsed {
			break
		}
		value = step.Value
	}
	return value
}

func (w *wave) walkTo(now time.Time) float64 {
	target := int64(now.Sub(w.walk.began) / w.Period)
	w.walk.steps = max(w.walk.steps, target-maxCatchUp)
	for ; w.walk.steps < target; w.walk.steps++ {
		next := w.walk.value + float64(w.Step*(2*w.walk.random.Float64()-1))
		most, least := w.Offset+w.Amplitude, w.Offset-w.Amplitude
		switch { // a wall throws the walk back
		case next > most:
			next = 2*most - next
		case next < least:
			next = 2*least - next
		}
		w.walk.value = next
	}
	return w.walk.value
}
